"""Users and mixed traffic for as long as it is told, and whether anything grows that should not.

The server is as an operator starts it. Its database is filled first, over the size of the caches of pages that SQLite
has for the writer and for each reader, and everybody's inbox is read: the caches would go on to fill for hours
otherwise, and be taken for a leak. In rounds of half a minute, those who stay are
notified one by one and all together, and the movers load pages, read, leave and come back (`load/mix.py`); every
delivery and every badge is checked. After each round, memory, descriptors, tasks and files are sampled. At the end
`slopes.py` judges each figure.
"""

import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic
from urllib.request import urlopen

import click
import msgspec

from bench.distribution import Distribution
from bench.driver import Driver, LoadFailedError, load_on
from bench.load.commands import Answered, Ask, Connect, Connected, Done, Flood, Know, Mix, Mixed, Phase, Target
from bench.plot import trend_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server
from bench.slopes import Judgement, Tolerance, judge
from bench.usage import descriptors, memory

AT_ONCE = 64
FILL_BATCH = 100
FILL_SECONDS = 600.0
"""How long the filling may take."""

INBOX = "/api/notifications?limit=100"
READ_TIMES = 3
"""So that each of the readers, who are asked in turn, has read more than its cache holds."""

PRODUCERS = 4
ASSIGNED_PART, MOVED_PART = 0.05, 0.05
"""Of the rate of notifications: assignments that everybody hears of, and movers who go their way."""

WARM_UP = 0.25
"""The part of the time that is not judged: caches fill, and the database's pages and the allocator's arenas settle."""

SHOWN_SECONDS = 600.0
"""How often the run says where it stands."""

FIGURES: dict[str, Tolerance] = {
    "memory MiB": Tolerance(0.05, 3.0),
    "descriptors": Tolerance(0.01, 8.0),
    "tasks": Tolerance(0.01, 8.0),
    "write-ahead log MiB": Tolerance(0.1, 4.0),
    "database bytes an event": Tolerance(0.1, 50.0),
    "CPU µs an event": Tolerance(0.25, 200.0),
    "delivery p50 ms": Tolerance(0.5, 2.0),
    "delivery p99 ms": Tolerance(1.0, 20.0),
    "page p50 ms": Tolerance(0.5, 2.0),
    "coming back p50 ms": Tolerance(0.5, 5.0),
}
"""What each may grow by over the time that is judged. Memory, descriptors and tasks: far less than one thing for each
mover that came and went. Times and CPU: others use the machine, too, and what they add is no fault of the server's."""


class Sample(msgspec.Struct):
    """After one round."""

    hours: float
    values: dict[str, float]


class Soak:
    """One run: the rounds and their samples."""

    def __init__(self, target: Target, load: Driver, database: Path, mix: Mix, report: Report) -> None:
        self._target, self._load, self._database, self._mix, self._report = target, load, database, mix, report
        self._pid = target.processes["server"]
        self.samples: list[Sample] = []
        self.events = 0
        self.messages = 0
        self.moves = 0

    def prepare(self, users: int, fill: int) -> None:
        """Connect those who stay, and store so many notifications of theirs."""
        self._load.ask(Know(users + self._mix.movers), Done)
        connected = self._load.ask(Connect(1, users, AT_ONCE), Connected)
        self._report.check("connecting", connected.failures)
        if fill:
            flood = Flood(
                event="notification.requested", producers=PRODUCERS, batch=FILL_BATCH, seconds=FILL_SECONDS, count=fill
            )
            self._report.check("filling", self._load.ask(flood, Phase).faults)
            for user in range(1, users + 1):
                self._load.ask(Ask(INBOX, user, READ_TIMES), Answered)

    def hold(self, seconds: float, say: Callable[[str], None]) -> None:
        """Go on for so long. A server that does not play along, and an interruption, end it early."""
        began = said = monotonic()
        bytes_before: int | None = None
        while monotonic() - began < seconds:
            try:
                mixed = self._round()
            except LoadFailedError as error:
                self._report.check(f"round {len(self.samples) + 1}", {error.message: 1})
                return
            except KeyboardInterrupt:
                say("interrupted: what there is will be judged\n")
                return
            if bytes_before is None:
                # What was there before, and what an empty database has anyway, is no event's.
                bytes_before = self._stored()
                self.events = 0
                continue
            sample = self._sample((monotonic() - began) / 3600, mixed, bytes_before)
            self.samples.append(sample)
            if monotonic() - said >= SHOWN_SECONDS:
                said = monotonic()
                figures = ", ".join(f"{name} {value:.4g}" for name, value in sample.values.items())
                say(f"after {sample.hours:.2f} h, {self.events} events: {figures}")

    def _round(self) -> Mixed:
        jobs = round(self._mix.seconds * self._mix.assigned_rate) + 1
        self._load.ask(Know(0, jobs), Done)
        mixed = self._load.ask(self._mix, Mixed)
        for faults in (mixed.notified.faults, mixed.told.faults, mixed.faults):
            self._report.check("traffic", faults)
        # A job is made before it is assigned.
        self.events += mixed.posts + jobs
        self.messages += mixed.notified.messages + mixed.told.messages
        self.moves += mixed.moves
        return mixed

    def _stored(self) -> int:
        """Bytes of the database with what is still in its log, by SQLite's own count of pages."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30.0)) as reader:
            (pages,) = reader.execute("PRAGMA page_count").fetchone()
            (size,) = reader.execute("PRAGMA page_size").fetchone()
        return int(pages * size)

    def _sample(self, hours: float, mixed: Mixed, bytes_before: int) -> Sample:
        delivered = Distribution([*mixed.notified.delivered, *mixed.told.delivered])
        return Sample(
            hours,
            {
                "memory MiB": memory(self._pid).proportional,
                "descriptors": float(descriptors(self._pid)),
                "tasks": _metric(self._target, "djactors_tasks"),
                "write-ahead log MiB": self._database.with_name(f"{self._database.name}-wal").stat().st_size / 2**20,
                "database bytes an event": (self._stored() - bytes_before) / self.events,
                "CPU µs an event": mixed.use.total * 1e6 / max(mixed.posts, 1),
                "delivery p50 ms": delivered.milliseconds(50),
                "delivery p99 ms": delivered.milliseconds(99),
                "page p50 ms": _median_ms(mixed.paged),
                "coming back p50 ms": _median_ms(mixed.returned),
            },
        )


def _median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000 if seconds else 0.0


def _metric(target: Target, name: str) -> float:
    with urlopen(f"http://{target.host}:{target.port}/metrics", timeout=30.0) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


@click.command()
@click.option("--hours", type=click.FloatRange(0.0, min_open=True), default=1.0, help="How long.")
@click.option("--users", type=click.IntRange(1), default=2000, help="Connected users, with the movers among them.")
@click.option("--movers", type=click.IntRange(0), default=50, help="Of those, who leave and come back.")
@click.option("--rate", type=click.FloatRange(0.1), default=20.0, help="Notifications a second.")
@click.option("--fill", type=click.IntRange(0), default=120_000, help="Notifications that are stored before.")
@click.option("--round", "seconds", type=click.FloatRange(0.5), default=30.0, help="Seconds from sample to sample.")
@out_option
def soak(hours: float, users: int, movers: int, rate: float, fill: int, seconds: float, out: Path) -> None:
    """Users and mixed traffic for hours; fails where memory, descriptors, tasks, files or latencies grow."""
    if movers >= users:
        raise click.ClickException("--movers: fewer than --users, since somebody must stay")
    settings = dict(click.get_current_context().params)
    mix = Mix(
        seconds=seconds,
        rate=rate,
        assigned_rate=rate * ASSIGNED_PART,
        move_rate=rate * MOVED_PART if movers else 0.0,
        movers=movers,
        producers=PRODUCERS,
    )
    with workplace(out, "soak") as directory:
        report = Report("soak", directory, settings)
        with djactors_server(directory) as target, load_on(target) as load:
            run = Soak(target, load, directory / "bench.db", mix, report)
            run.prepare(users - movers, fill)
            run.hold(hours * 3600, click.echo)
    held = run.samples[-1].hours if run.samples else 0.0
    click.echo(f"{users} users for {held:.2f} h: {run.events} events, {run.messages} messages, {run.moves} returns\n")
    judged = {
        name: judge([(sample.hours, sample.values[name]) for sample in run.samples], tolerance, held * WARM_UP)
        for name, tolerance in FIGURES.items()
    }
    report.table(
        ["", "at first", "median", "at last", "slope an hour", "growth", "tolerance", ""],
        [
            [
                name,
                *_first_and_last(run.samples, name, each.level),
                each.slope,
                each.growth,
                each.tolerance,
                each.verdict,
            ]
            for name, each in judged.items()
        ],
    )
    report.figures = {
        "hours": held,
        "events": run.events,
        "messages": run.messages,
        "returns": run.moves,
        "judged": judged,
        "samples": run.samples,
    }
    report.finish(out, _plot(f"{users} users for {held:.2g} h", report.foot, run.samples, judged))
    if growing := [name for name, each in judged.items() if each.grows]:
        raise click.ClickException(f"it grows: {', '.join(growing)}")


def _first_and_last(samples: list[Sample], name: str, level: float | None) -> list[float | None]:
    if not samples:
        return [None, level, None]
    return [samples[0].values[name], level, samples[-1].values[name]]


def _plot(title: str, caption: str, samples: list[Sample], judged: dict[str, Judgement]) -> str:
    panels = {
        name: ([(sample.hours, sample.values[name]) for sample in samples], each.line or ())
        for name, each in judged.items()
    }
    return trend_plot(title, caption, panels)
