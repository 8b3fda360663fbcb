"""Where the time of one event goes: what each thread does for it, in order, beside the floor.

Events are posted one by one at a set pace by one producer, who waits for each answer, so each event has a commit and
all wake-ups of its own. The servers take turns. What their threads do is recorded (see `recording.py`): each system
call, each stretch of own code between two of them, and how long it had a core.

The way of an event is the same in djactors and in the floor, so its parts can be set side by side: the loop is woken by
the post, reads it and gives it to the writer; the writer writes and syncs; the loop is woken again, tells the user and
answers. The figure of a part is the median of all events, since a few of them fall together with somebody else's work.

With ``--each`` every stretch is shown in order, for those events that went the most usual way.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Final

import click
import msgspec

from bench.builds import AT_ONCE, OTHER
from bench.driver import Driver, load_on
from bench.floor import floor_server
from bench.load.commands import Connect, Connected, Done, Know, Pace, Phase
from bench.plot import bar_plot
from bench.recording import OWN, Stretch, recording, stretches
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_server

US: Final = "djactors"
FLOOR: Final = "floor"
WARMUP_SECONDS: Final = 1.0

LOOP: Final = (
    "loop: woken by the post, up to its bytes",
    "loop: the post is read, judged, and given to the writer",
    "loop: woken by the writer",
    "loop: the delivery, up to the user's socket",
    "loop: the answer, up to the sender's socket",
    "loop: ready for the next post",
)
WRITER: Final = (
    "writer: woken by the loop, up to the transaction",
    "writer: the statements",
    "writer: the pages, into the log",
    "writer: fsync",
    "writer: the end of the commit, up to waking the loop",
    "writer: ready for the next commit",
)
OTHERS: Final = "other threads"

LEAST_OF_A_POST: Final = 100
"""Bytes. Whatever else the loop receives is shorter: wake-ups of its own threads."""


class Event(msgspec.Struct):
    """What was done from the moment at which a post woke the loop until the next one did, by thread.

    Attributes:
        began: in µs of the machine's clock.
    """

    began: float
    loop: list[Stretch]
    writer: list[Stretch]
    others: list[Stretch]


class Part(msgspec.Struct):
    """What a part of an event took: µs on a core in own code and in system calls, calls, and how often a core was lost.

    It is lost where a thread waits, or where it has to give way.
    """

    own: float = 0.0
    called: float = 0.0
    calls: float = 0.0
    lost: float = 0.0

    @property
    def busy(self) -> float:
        """µs on a core."""
        return self.own + self.called


@click.command()
@click.option(
    "--other", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Checkout, as of `builds`."
)
@click.option("--users", type=click.IntRange(1), default=100, help="Connected users.")
@click.option("--rate", type=click.FloatRange(0.1), default=300.0, help="Events a second.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, help="Of a turn, and once more to record it.")
@click.option("--turns", type=click.IntRange(1), default=5, help="Of each server.")
@click.option("--each", is_flag=True, help="Show every stretch of the most usual way as well.")
@out_option
def budget(other: Path | None, users: int, rate: float, seconds: float, turns: int, each: bool, out: Path) -> None:
    """What each thread does for one event, in µs, part by part and beside the floor."""
    settings = dict(click.get_current_context().params)
    pace = Pace(event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=0.0, producers=1)
    found: dict[str, list[Event]] = defaultdict(list)
    used: dict[str, list[float]] = defaultdict(list)
    with workplace(out, "budget") as directory, ExitStack() as stack:
        report = Report("budget", directory, settings)
        serving = {US: djactors_server(directory / US), FLOOR: floor_server(directory / FLOOR)}
        if other is not None:
            serving[OTHER] = djactors_server(directory / "other", checkout=other)
        drivers: dict[str, Driver] = {}
        for name, server in serving.items():
            drivers[name] = driver = stack.enter_context(load_on(stack.enter_context(server)))
            driver.ask(Know(users), Done)
            report.check(f"connecting to {name}", driver.ask(Connect(1, users, AT_ONCE), Connected).failures)
        for turn in range(turns):
            for name in list(drivers) if turn % 2 == 0 else list(drivers)[::-1]:
                driver = drivers[name]
                driver.ask(msgspec.structs.replace(pace, seconds=WARMUP_SECONDS), Phase)
                phase = driver.ask(pace, Phase)
                report.phase(name, phase)
                used[name].append(cpu_us(phase))
                server_pid = driver.target.processes["server"]
                file = directory / "recorded"
                with recording(server_pid, file):
                    report.phase(f"{name}, recorded", driver.ask(pace, Phase))
                found[name] += events(stretches(file), server_pid)
                file.unlink()
    parts = {name: by_part(its) for name, its in found.items()}
    _tell(report, parts, used, found)
    if each:
        for name, its in found.items():
            _tell_each(report, name, its)
    bars = {part: {name: its[part].busy for name, its in parts.items()} for part in parts[US]}
    report.finish(out, bar_plot("CPU of an event, part by part", report.foot, bars, "µs"))


def events(recorded: Sequence[Stretch], loop: int) -> list[Event]:
    """Cut a recording, which is in the order of the ends, into whole events.

    `loop` is the thread that receives the posts. The one that syncs is the writer. A stretch belongs to the event in
    which it ends, since whoever waits is woken by what happens then.

    Raises:
        click.ClickException: no post was committed.
    """
    syncing = Counter(each.thread for each in recorded if each.name == "fdatasync")
    ours = [each for each in recorded if each.thread == loop]
    begins = [
        wait.ended
        for wait, received in zip(ours, ours[2:], strict=False)
        if wait.name == "epoll_wait" and received.name == "recvfrom" and received.result >= LEAST_OF_A_POST
    ]
    if not syncing or len(begins) < 2:
        raise click.ClickException("nothing was committed while it was recorded")
    [(writer, _)] = syncing.most_common(1)
    found = [Event(began, [], [], []) for began, _ in pairwise(begins)]
    place = -1
    for stretch in recorded:
        while place + 1 < len(begins) and stretch.ended >= begins[place + 1]:
            place += 1
        if 0 <= place < len(found):
            event = found[place]
            of_thread = {loop: event.loop, writer: event.writer}
            of_thread.get(stretch.thread, event.others).append(stretch)
    return found


def parts_of(event: Event) -> Iterator[tuple[str, Stretch]]:
    """Each stretch of an event, with the part that it belongs to."""
    part = 0
    for stretch in event.loop:
        waits = stretch.name == "epoll_wait" and stretch.arguments[3] != 0
        if part == 1 and waits:
            part = 2
        yield LOOP[part], stretch
        is_received = part == 0 and stretch.name == "recvfrom"
        is_sent = part in (3, 4) and stretch.name in ("sendto", "write")
        part += is_received or part == 2 or is_sent
    part = 0
    for stretch in event.writer:
        part = max(part, {"fcntl": 1, "pwrite64": 2, "fdatasync": 3}.get(stretch.name, 0))
        yield WRITER[part], stretch
        # What is moved into the database behind the commit syncs as well, so only the first one counts.
        part += part == 3 or (part == 4 and stretch.name in ("sendto", "write"))
    for stretch in event.others:
        yield OTHERS, stretch


def by_part(found: Sequence[Event]) -> dict[str, Part]:
    """What each part takes: the median of the µs, and the mean of the numbers."""
    each: dict[str, list[Part]] = {part: [] for part in (*LOOP, *WRITER, OTHERS)}
    for event in found:
        for its in each.values():
            its.append(Part())
        for name, stretch in parts_of(event):
            part = each[name][-1]
            if stretch.name == OWN:
                part.own += stretch.busy
            else:
                part.called += stretch.busy
                part.calls += 1
            part.lost += stretch.lost
    taken = {}
    for name, its in each.items():
        # Other threads run for few of the events, so their median is nothing.
        middle = mean if name == OTHERS else median
        taken[name] = Part(
            middle(part.own for part in its),
            middle(part.called for part in its),
            mean(part.calls for part in its),
            mean(part.lost for part in its),
        )
    return taken


def lock_waits(found: Sequence[Event]) -> float:
    """How often the loop or the writer waits for a lock of the interpreter's, an event.

    The writer waits for its next commit at a lock as well, which is the one at which it waits the most.
    """
    waits = [
        stretch.arguments[0]
        for event in found
        for stretch in (*event.loop, *event.writer)
        if stretch.name == "futex" and not stretch.wakes
    ]
    [(_, for_work)] = Counter(waits).most_common(1) or [(0, 0)]
    return (len(waits) - for_work) / len(found)


def _tell(
    report: Report, parts: dict[str, dict[str, Part]], used: dict[str, list[float]], found: dict[str, list[Event]]
) -> None:
    head = ["µs of CPU an event", US, "own code", "calls", "core lost", FLOOR, "own code", f"more than the {FLOOR}"]
    rows: list[list[object]] = []
    figures: list[list[float]] = []
    for name, part in parts[US].items():
        floor = parts[FLOOR][name]
        figures.append([part.busy, part.own, part.calls, part.lost, floor.busy, floor.own, part.busy - floor.busy])
        if OTHER in parts:
            figures[-1].append(parts[OTHER][name].busy)
        rows.append([name, *figures[-1]])
    rows.append(["all", *map(sum, zip(*figures, strict=True))])
    report.table([*head, OTHER] if OTHER in parts else head, rows)
    report.table(
        ["", *parts],
        [
            ["CPU µs an event, while nothing was recorded", *(median(used[name]) for name in parts)],
            ["waits for a lock of the interpreter, an event", *(lock_waits(found[name]) for name in parts)],
            ["events that were recorded", *(len(found[name]) for name in parts)],
        ],
    )
    report.figures |= {"parts": parts, "cpu_us": used}


def _tell_each(report: Report, name: str, found: Sequence[Event]) -> None:
    """Every stretch of the most usual way, by its median end after the post."""
    ways: dict[tuple[str, ...], list[list[_Line]]] = defaultdict(list)
    for event in found:
        lines = [*_lines("loop", event.loop), *_lines("writer", event.writer)]
        ways[tuple(line.label for line in lines)].append(
            [msgspec.structs.replace(line, ended=line.ended - event.began) for line in lines]
        )
    labels, usual = max(ways.items(), key=lambda way: len(way[1]))
    columns = zip(labels, zip(*usual, strict=True), strict=True)
    rows = [
        [label, median(line.ended for line in its), median(line.busy for line in its), mean(line.lost for line in its)]
        for label, its in columns
    ]
    click.echo(f"{name}: {len(usual)} of {len(found)} events went this way\n")
    rows.sort(key=lambda row: float(row[1]))
    report.table(["in order of the ends", "end, µs after the post", "µs of CPU", "core lost"], rows)
    report.figures[f"way of {name}"] = rows


class _Line(msgspec.Struct):
    label: str
    ended: float
    busy: float
    lost: float


def _lines(thread: str, of: Sequence[Stretch]) -> Iterator[_Line]:
    """The stretches of a thread. Calls of a kind that follow on each other are one, with the little between them."""
    place = 0
    while place < len(of):
        together = 1
        while of[place].name != OWN and [each.name for each in of[place + together :][:2]] == [OWN, of[place].name]:
            together += 2
        its = of[place : place + together]
        times = f" x {(together + 1) // 2}" if together > 1 else ""
        yield _Line(
            f"{thread}: {its[0].name}{times}",
            its[-1].ended,
            sum(each.busy for each in its),
            sum(each.lost for each in its),
        )
        place += together
