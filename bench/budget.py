"""Where the time of one event goes: what each thread does for it, in order, beside the floor.

Events are posted one by one at a set pace by one producer, who waits for each answer, so each has a commit and all
wake-ups of its own. The servers take turns. What their threads do is recorded by `kernel_trace`: each system call, each
stretch of their own code between two of them, and how long they had a core meanwhile.

The way of an event is the same in djactors and in the floor, so its parts can be set side by side: the loop is woken
by the post, reads it and gives it to the writer; the writer writes and syncs; the loop is woken again, tells the user
and answers. A part's figure is the median of all events, since a few events of each run fall together with somebody
else's work.

With ``--each`` every stretch is shown in order, for those events that went the most usual way.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby, pairwise
from pathlib import Path
from statistics import mean, median
from typing import Final

import click
import msgspec

from bench.builds import AT_ONCE, OTHER
from bench.driver import Driver, load_on
from bench.floor import floor_server
from bench.kernel_trace import OWN, Stretch, recording, stretches
from bench.load.commands import Connect, Connected, Done, Know, Pace, Phase, Target
from bench.plot import bar_plot
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_server

US: Final = "djactors"
FLOOR: Final = "floor"
WARMUP_SECONDS: Final = 1.0

LOOP: Final = (
    "woken by the post",
    "the post: read, judged, given to the writer",
    "woken by the commit",
    "the delivery, up to the user's socket",
    "the answer, up to the sender's socket",
    "ready for the next post",
)
WRITER: Final = (
    "woken by the loop, up to the transaction",
    "the statements",
    "the pages, into the log",
    "fsync",
    "the end of the commit, up to the bell",
    "nothing more to do",
)
OTHERS: Final = "other threads"

LEAST_OF_A_POST: Final = 100
"""Bytes. What the loop receives besides is shorter: wake-ups of other threads."""


class Event(msgspec.Struct):
    """What was done from one post to the next."""

    loop: list[Stretch]
    writer: list[Stretch]
    others: list[Stretch]


@click.command()
@click.option("--other", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Checkout, as in builds.")
@click.option("--users", type=click.IntRange(1), default=100, help="Connected users.")
@click.option("--rate", type=click.FloatRange(0.1), default=300.0, help="Events a second.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, help="Of a turn.")
@click.option("--turns", type=click.IntRange(1), default=3, help="Of each server.")
@click.option("--each", is_flag=True, help="Show every stretch of the usual way as well.")
@out_option
def budget(other: Path | None, users: int, rate: float, seconds: float, turns: int, each: bool, out: Path) -> None:
    """What one event costs, part by part, beside the floor: system calls, own code, sleeps, waits for a lock."""
    settings = dict(click.get_current_context().params)
    found: dict[str, list[Event]] = defaultdict(list)
    used: dict[str, list[float]] = defaultdict(list)
    pace = Pace(event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=0.0, producers=1)
    with workplace(out, "budget") as directory, ExitStack() as stack:
        report = Report("budget", directory, settings)
        serving = {US: djactors_server(directory / US), FLOOR: floor_server(directory / FLOOR)}
        if other is not None:
            serving[OTHER] = djactors_server(directory / "other", python=other / ".venv" / "bin" / "python")
        drivers: dict[str, Driver] = {}
        for name, server in serving.items():
            drivers[name] = driver = stack.enter_context(load_on(stack.enter_context(server)))
            driver.ask(Know(users), Done)
            report.check(f"connecting to {name}", driver.ask(Connect(1, users, AT_ONCE), Connected).failures)
        for turn in range(turns):
            for name in list(drivers) if turn % 2 == 0 else list(drivers)[::-1]:
                driver = drivers[name]
                driver.ask(msgspec.structs.replace(pace, seconds=WARMUP_SECONDS), Phase)
                # Without the recording, which has its price.
                phase = driver.ask(pace, Phase)
                report.phase(name, phase)
                used[name].append(cpu_us(phase))
                file = directory / f"{name}-{turn}.perf"
                with recording(_server(driver.target), file):
                    report.phase(f"{name}, recorded", driver.ask(pace, Phase))
                found[name] += events(stretches(file), _server(driver.target))
                file.unlink()
    parts = {name: _by_part(each_event) for name, each_event in found.items()}
    _tell(report, parts, used, found)
    if each:
        for name, its in found.items():
            _tell_each(report, name, its)
    bars = {part: {name: its[part][0] + its[part][1] for name, its in parts.items()} for part in parts[US]}
    report.finish(out, bar_plot("CPU of an event, part by part", report.foot, bars, "µs"))


def _server(target: Target) -> int:
    return target.processes["server"]


def events(recorded: Sequence[Stretch], loop: int) -> list[Event]:
    """Cut a recording into events. `loop` is the thread that receives the posts; the one that syncs is the writer."""
    syncing = Counter(each.thread for each in recorded if each.name == "fdatasync")
    if not syncing:
        raise click.ClickException("nothing was committed while it was recorded")
    [(writer, _)] = syncing.most_common(1)
    ours = [each for each in recorded if each.thread == loop]
    # An event begins when the wait ends that the post has ended, just before the post is received.
    begins = [
        wait.ended
        for wait, _, received in zip(ours, ours[1:], ours[2:], strict=False)
        if wait.name == "epoll_wait" and received.name == "recvfrom" and received.result >= LEAST_OF_A_POST
    ]
    cut: list[Event] = []
    rest = iter(recorded)
    stretch = next(rest, None)
    for begin, end in pairwise(begins):
        event = Event([], [], [])
        while stretch is not None and stretch.ended < end:
            if stretch.ended >= begin:
                of = (
                    event.loop if stretch.thread == loop else event.writer if stretch.thread == writer else event.others
                )
                of.append(stretch)
            stretch = next(rest, None)
        cut.append(event)
    return cut


def parts_of(event: Event) -> Iterator[tuple[str, Stretch]]:
    """The part that each stretch of an event belongs to."""
    part = 0
    for stretch in event.loop:
        if part == 1 and _waits(stretch):
            part = 2
        yield LOOP[part], stretch
        received = part == 0 and stretch.name == "recvfrom"
        sent = part in (3, 4) and stretch.name in ("sendto", "write")
        part += received or part == 2 or sent
    part = 0
    for stretch in event.writer:
        name = stretch.name
        if (part == 0 and name == "fcntl") or (part < 2 and name == "pwrite64") or (part < 3 and name == "fdatasync"):
            part = {"fcntl": 1, "pwrite64": 2, "fdatasync": 3}[name]
        yield WRITER[part], stretch
        part += (part == 3) or (part == 4 and name in ("sendto", "write"))
    for stretch in event.others:
        yield OTHERS, stretch


def _waits(stretch: Stretch) -> bool:
    """Whether Trio waits, and does not merely look in between two turns."""
    return stretch.name == "epoll_wait" and stretch.arguments[3] != 0


Figures = tuple[float, float, float, float]
"""Of a part: µs of own code, µs of system calls, system calls, and how often a core was lost."""


def _by_part(found: Iterable[Event]) -> dict[str, Figures]:
    """The median event's µs of each part, and the mean number of calls and sleeps."""
    each: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
    for event in found:
        sums = {part: [0.0, 0.0, 0, 0] for part in (*LOOP, *WRITER, OTHERS)}
        for part, stretch in parts_of(event):
            own = stretch.name == OWN
            sums[part][0 if own else 1] += stretch.busy
            sums[part][2] += not own
            sums[part][3] += stretch.slept
        for part, (own_us, call_us, calls, slept) in sums.items():
            each[part].append((own_us, call_us, int(calls), int(slept)))
    result = {}
    for part, of in each.items():
        own_times, call_times, calls_of, sleeps = zip(*of, strict=True)
        # Others rarely run, so their median is nothing.
        middle = mean if part == OTHERS else median
        result[part] = middle(own_times), middle(call_times), mean(calls_of), mean(sleeps)
    return result


def lock_waits(found: Sequence[Event]) -> float:
    """How often a thread waits for the interpreter's lock, an event. What the writer mostly waits at is its queue."""
    waits = [
        each for event in found for each in (*event.loop, *event.writer) if each.name == "futex" and not each.wakes
    ]
    places = Counter(each.arguments[0] for each in waits)
    return (len(waits) - max(places.values(), default=0)) / max(len(found), 1)


def _tell(
    report: Report,
    parts: dict[str, dict[str, Figures]],
    used: dict[str, list[float]],
    found: dict[str, list[Event]],
) -> None:
    others = [name for name in parts if name != US]
    head = ["µs of CPU an event", US, "own code", "calls", "sleeps", *others, f"more than the {others[0]}"]
    rows: list[list[object]] = []
    for part, (own, called, calls, slept) in parts[US].items():
        theirs = [sum(parts[name][part][:2]) for name in others]
        label = f"{'loop' if part in LOOP else 'writer' if part in WRITER else ''}: {part}".removeprefix(": ")
        rows.append([label, own + called, own, calls, slept, *theirs, own + called - theirs[0]])
    rows.append(["all", *(sum(float(str(row[column])) for row in rows) for column in range(1, len(head)))])
    report.table(head, rows)
    report.table(
        ["", *parts],
        [
            ["CPU µs an event, without a recording", *(median(used[name]) for name in parts)],
            ["waits for the interpreter's lock", *(lock_waits(found[name]) for name in parts)],
            ["events", *(len(found[name]) for name in parts)],
        ],
    )
    report.figures["parts"] = parts
    report.figures["cpu_us"] = used


def _tell_each(report: Report, name: str, found: Sequence[Event]) -> None:
    """Each stretch of the most usual way in order; calls of a kind that follow on each other are one line."""
    ways: dict[tuple[str, ...], list[list[tuple[str, float, int]]]] = defaultdict(list)
    for event in found:
        merged = [*_merged("loop", event.loop), *_merged("writer", event.writer)]
        ways[tuple(label for label, _, _ in merged)].append(merged)
    usual, its = max(ways.items(), key=lambda item: len(item[1]))
    click.echo(f"{name}: {len(its)} of {len(found)} events went this way\n")
    rows = [
        [label, median(way[place][1] for way in its), mean(way[place][2] for way in its)]
        for place, label in enumerate(usual)
    ]
    report.table(["stretch", "µs of CPU", "sleeps"], rows)
    report.figures[f"way of {name}"] = rows


def _merged(thread: str, of: Sequence[Stretch]) -> Iterator[tuple[str, float, int]]:
    """Stretches of a thread: label, µs and sleeps. The own code between calls of the same kind is theirs."""
    named = [each for place, each in enumerate(of) if not (each.name == OWN and _amid(of, place))]
    between = sum(each.busy for each in of) - sum(each.busy for each in named)
    del between
    for name, group in groupby(named, key=lambda each: each.name):
        calls = list(group)
        times = f" x {len(calls)}" if len(calls) > 1 else ""
        yield f"{thread}: {name}{times}", sum(each.busy for each in calls), sum(each.slept for each in calls)


def _amid(of: Sequence[Stretch], place: int) -> bool:
    return 0 < place < len(of) - 1 and of[place - 1].name == of[place + 1].name
