"""The same work, side by side, in one run: djactors, its peers, and the floors.

All servers run at once, each with a load of its own that keeps its users connected; they take turns, phase by phase,
round by round (A B C A B C …), so that a slow moment of the machine meets all. While one works the others only answer
pings. The load speaks Socket.IO to all, posts the same bodies, and fails the run unless every event came to its user
once, every assignment to everybody, and every badge is right.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import msgspec

from bench import goals
from bench.distribution import Distribution
from bench.driver import Driver, load_on
from bench.floor import floor_server
from bench.goals import Measured
from bench.load.commands import Connect, Connected, Done, Event, Flood, Know, Leave, Pace, Phase, Target
from bench.peers import express_server, find_nchan, nchan_server, python_socketio_server
from bench.plot import bar_plot
from bench.report import Report, cpu_us, latest, out_option, workplace
from bench.server import djactors_server
from bench.throughput import UNDER_WAY

Start = Callable[[Path], AbstractContextManager[Target]]
SERVERS: dict[str, Start] = {
    "djactors": djactors_server,
    "Express": express_server,
    "python-socketio": python_socketio_server,
    "floor": floor_server,
    "nchan": nchan_server,
}
ASSIGNING = ("djactors", "Express", "python-socketio")
"""Those that know jobs; the floors push notifications only."""

PRODUCERS = 64
BURST = 100
BATCH = UNDER_WAY // PRODUCERS
"""As many producers as post one by one: what a batch saves, and not what it saves to post side by side."""
WARMUP_SECONDS = 1.0
WARMUP_USERS = 50
SETTLE_SECONDS = 1.0
AT_ONCE = 64
"""Connections that are being made at a time."""

OTHER_RUNS: Sequence[tuple[str, str, str, dict[str, object]]] = (
    ("scale", "users_ratio", "users_ratio", {"users": [100, 10_000]}),
    ("scale", "rows_ratio", "rows_ratio", {"rows": [10_000, 5_000_000]}),
    ("store", "ratio", "store_ratio", {"batch": 100}),
    ("idle", "idle_percent", "idle_percent", {"users": 5000}),
    ("recovery", "others_p99_ms", "others_recovery", {"users": 1000, "missed": 100}),
    ("fanout", "others_p99_ms", "others_fanout", {"sockets": [500, 5000], "rate": 5.0}),
)
"""Goals that other benchmarks measure: which one, its figure, the goal, and the settings that the goal speaks of."""

REQUESTED: Event = "notification.requested"
ASSIGNED: Event = "job.assigned"


class Comparison:
    """The servers, and by server and phase what each round gave."""

    def __init__(self, drivers: dict[str, Driver]) -> None:
        self.drivers = drivers
        self.phases: dict[tuple[str, str], list[Phase]] = defaultdict(list)
        self.connected: dict[str, list[Connected]] = defaultdict(list)
        self.crowds: dict[str, Connected] = {}

    def prepare(self, users: int, jobs: int) -> None:
        """Make everybody known."""
        for name, driver in self.drivers.items():
            if name != "nchan":
                driver.ask(Know(users, jobs if name in ASSIGNING else 0), Done)

    def weigh(self, users: int) -> None:
        """Connect a crowd to each, for its memory, and let it go again.

        Before anything else: what a busy server has allocated and freed would hide what users take.
        """
        for name, driver in self.drivers.items():
            driver.ask(Connect(1, WARMUP_USERS, AT_ONCE), Connected)
            driver.ask(Leave(), Done)
            self.crowds[name] = driver.ask(Connect(1, users, AT_ONCE, settle_seconds=SETTLE_SECONDS), Connected)
            driver.ask(Leave(), Done)

    def warm_up(self) -> None:
        """Have every server do some of it: pools are open, code is compiled."""
        for driver in self.drivers.values():
            driver.ask(Connect(1, WARMUP_USERS, AT_ONCE), Connected)
            driver.ask(Flood(event=REQUESTED, producers=PRODUCERS, batch=1, seconds=WARMUP_SECONDS), Phase)
            driver.ask(Leave(), Done)

    def connect(self, sockets: int) -> None:
        """Connect the users of a round."""
        for name, driver in self.drivers.items():
            self.connected[name].append(driver.ask(Connect(1, sockets, AT_ONCE), Connected))

    def leave(self) -> None:
        """The round is over."""
        for driver in self.drivers.values():
            driver.ask(Leave(), Done)

    def do(self, phase: str, command: Flood | Pace, names: Sequence[str]) -> None:
        """Have each of these servers, in turn, do the same."""
        for name in names:
            if name in self.drivers:
                self.phases[name, phase].append(self.drivers[name].ask(command, Phase))

    def cpu(self, name: str, phase: str) -> list[float]:
        """Microseconds an event, by round."""
        return [cpu_us(each) for each in self.phases[name, phase]]

    def message_cpu(self, name: str, phase: str) -> list[float]:
        """Microseconds a message, by round."""
        return [each.use.total * 1e6 / max(each.messages, 1) for each in self.phases[name, phase]]

    def connect_cpu(self, name: str) -> list[float]:
        """Microseconds a connect, by round."""
        return [each.use.total * 1e6 / max(len(each.seconds), 1) for each in self.connected[name]]

    def delivered(self, name: str, phase: str) -> Distribution:
        """Of all rounds."""
        return Distribution(seconds for each in self.phases[name, phase] for seconds in each.delivered)

    def p99(self, name: str, phase: str) -> list[float]:
        """Milliseconds to the client, by round."""
        return [Distribution(each.delivered).milliseconds(99) for each in self.phases[name, phase]]

    def kib_a_user(self, name: str) -> float:
        """Of the server process alone: a database's connections do not grow with the users."""
        crowd = self.crowds[name]
        grown = crowd.after["server"].proportional - crowd.before["server"].proportional
        return grown * 1024 / max(len(crowd.seconds), 1)


@click.command()
@click.option(
    "--with", "names", type=click.Choice([*SERVERS]), multiple=True, default=tuple(SERVERS), help="Repeatable."
)
@click.option("--rounds", type=click.IntRange(1), default=2, help="Turns that each server has at each phase.")
@click.option("--seconds", type=click.FloatRange(0.05), default=2.0, help="Of each phase that is bound by time.")
@click.option("--sockets", type=click.IntRange(1), default=500, help="Connected users of a round.")
@click.option("--crowd", type=click.IntRange(1), default=2000, help="Users connected once, for their memory.")
@click.option("--rate", type=click.FloatRange(1.0), default=300.0, help="Events a second of the paced phase.")
@click.option("--assignments", type=click.IntRange(1), default=100, help="Told to everybody, one at a time.")
@click.option("--bursts", type=click.IntRange(1), default=1, help=f"Batches of {BURST} assignments in a round.")
@out_option
def compare(
    names: tuple[str, ...],
    rounds: int,
    seconds: float,
    sockets: int,
    crowd: int,
    rate: float,
    assignments: int,
    bursts: int,
    out: Path,
) -> None:
    """The same work by djactors and its peers, in turns, as ratios; and the goals, met or not."""
    settings = dict(click.get_current_context().params)
    chosen = [name for name in SERVERS if name in names]
    if "nchan" in chosen and find_nchan() is None:
        click.echo("nchan is not installed (apt-get install nginx libnginx-mod-nchan): left out\n")
        chosen.remove("nchan")
    with workplace(out, "compare") as directory, ExitStack() as stack:
        report = Report("compare", directory, settings)
        drivers = {}
        for name in chosen:
            target = stack.enter_context(SERVERS[name](directory / name))
            drivers[name] = stack.enter_context(load_on(target))
        comparison = Comparison(drivers)
        storing = [name for name in chosen if name != "nchan"]
        comparison.prepare(max(sockets, crowd, WARMUP_USERS), rounds * (assignments + bursts * BURST))
        comparison.weigh(crowd)
        comparison.warm_up()
        for _ in range(rounds):
            comparison.connect(sockets)
            single = Flood(event=REQUESTED, producers=PRODUCERS, batch=1, seconds=seconds)
            comparison.do("single", single, chosen)
            batches = Flood(event=REQUESTED, producers=PRODUCERS, batch=BATCH, seconds=seconds)
            comparison.do("batch", batches, storing)
            pace = Pace(event=REQUESTED, rate=rate, seconds=seconds, warmup_seconds=0.5, producers=PRODUCERS)
            comparison.do("paced", pace, storing)
            one = Flood(event=ASSIGNED, producers=1, batch=1, seconds=seconds * 10, count=assignments)
            comparison.do("fan-out", one, ASSIGNING)
            burst = Flood(event=ASSIGNED, producers=1, batch=BURST, seconds=seconds * 10, count=bursts * BURST)
            comparison.do("burst", burst, ASSIGNING)
            comparison.leave()
    _tell(report, comparison)
    measured = {**_ratios(comparison), **from_other_runs(out)}
    click.echo("Goals\n")
    report.table(goals.HEAD, goals.rows(measured))
    report.figures["ratios"] = measured
    bars = {
        phase: {name: fmean(comparison.cpu(name, phase)) for name in chosen if comparison.phases[name, phase]}
        for phase in ("single", "batch", "paced")
    }
    report.finish(out, bar_plot("CPU for each durable, delivered event", report.foot, bars, "µs"))


def _tell(report: Report, comparison: Comparison) -> None:
    rows, figures = [], {}
    for name in comparison.drivers:
        single, batch, paced, fan_out, burst = (
            comparison.phases[name, phase] for phase in ("single", "batch", "paced", "fan-out", "burst")
        )
        for each in (comparison.crowds[name], *comparison.connected[name]):
            report.check(f"{name}, connecting", each.failures)
        row: dict[str, Any] = {
            "single µs": fmean(comparison.cpu(name, "single")),
            "of it database": fmean(each.use.cpu.get("database", 0.0) * 1e6 / each.posted for each in single),
            "events/s": fmean(each.posted / each.use.seconds for each in single),
            "p99 ms": comparison.delivered(name, "single").milliseconds(99),
            "batch µs": fmean(comparison.cpu(name, "batch")) if batch else None,
            "paced µs": fmean(comparison.cpu(name, "paced")) if paced else None,
            "paced p99 ms": comparison.delivered(name, "paced").milliseconds(99) if paced else None,
            "fan-out µs/message": fmean(comparison.message_cpu(name, "fan-out")) if fan_out else None,
            "in bursts": fmean(comparison.message_cpu(name, "burst")) if burst else None,
            "connect µs": fmean(comparison.connect_cpu(name)),
            "KiB/user": comparison.kib_a_user(name),
        }
        rows.append([name, *row.values()])
        figures[name] = row | {
            "phases": {
                phase: [report.phase(f"{name}, {phase}", each) for each in comparison.phases[name, phase]]
                for phase in ("single", "batch", "paced", "fan-out", "burst")
            },
            "delivered": comparison.delivered(name, "single").summary(),
            "delivered_paced": comparison.delivered(name, "paced").summary(),
            "load_share": max(each.use.load / each.use.seconds for each in single),
        }
        head = ["", *row]
    report.table(head, rows)
    report.figures["servers"] = figures


def _ratios(comparison: Comparison) -> dict[str, Measured]:
    ratios: dict[str, Measured] = {}

    def add(key: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
        if ours and theirs and min(theirs) > 0:
            by_round = [a / b for a, b in zip(ours, theirs, strict=True)]
            ratios[key] = Measured(fmean(ours) / fmean(theirs), min(by_round), max(by_round))

    us, express = "djactors", "Express"
    add("cpu_vs_express", comparison.cpu(us, "single"), comparison.cpu(express, "single"))
    add("cpu_vs_python", comparison.cpu(us, "single"), comparison.cpu("python-socketio", "single"))
    add("cpu_vs_floor", comparison.cpu(us, "single"), comparison.cpu("floor", "single"))
    add("batch_vs_single", comparison.cpu(us, "batch"), comparison.cpu(us, "single"))
    add("batch_vs_nchan", comparison.cpu(us, "batch"), comparison.cpu("nchan", "single"))
    add("fanout_vs_express", comparison.message_cpu(us, "fan-out"), comparison.message_cpu(express, "fan-out"))
    add("burst_vs_express", comparison.message_cpu(us, "burst"), comparison.message_cpu(express, "burst"))
    add("connect_vs_express", comparison.connect_cpu(us), comparison.connect_cpu(express))
    if us in comparison.drivers and express in comparison.drivers:
        add("memory_vs_express", [comparison.kib_a_user(us)], [comparison.kib_a_user(express)])
        add("p99_vs_express", comparison.p99(us, "single"), comparison.p99(express, "single"))
        # Of all rounds together, rather than the mean of theirs: a stall in one of them shall weigh what it weighs.
        ours, theirs = (comparison.delivered(name, "single").milliseconds(99) for name in (us, express))
        ratios["p99_vs_express"] = msgspec.structs.replace(ratios["p99_vs_express"], value=ours / theirs)
    return ratios


def from_other_runs(out: Path) -> dict[str, Measured]:
    """The goals that other benchmarks measure, from their newest sound results in `out` of the goal's size."""
    found = {}
    for name, key, goal, size in OTHER_RUNS:
        document = latest(out, name, size)
        if document is not None:
            found[goal] = Measured(document["figures"][key], source=f" ({name}, {document['at']})")
    return found
