"""Two builds of djactors side by side: what a change costs or saves, as a ratio, in each kind of work.

Both servers run at once, each with a load of its own, and take turns: A B B A A B …, so that a slow moment of the
machine, and whatever the turn before left behind, meet both alike. Two servers of the same build differ by up to a
tenth for as long as they live. So there are several rounds, each with servers of its own, of which each build's is
started first in turn.

The paced phase is the pace of an office: events are posted one by one at fixed times. With one publisher, which waits
for each answer, no two of them ever share a commit, however busy the machine is: a page that an event writes is seen
here, and not where many producers share it. The other phases never pause: single posts of 64 producers, batches of 100
from one, and assignments that every connected user is told of.

The other build is another checkout with an environment of its own:

    git worktree add ../other COMMIT
    cd ../other && python3 -m venv .venv && .venv/bin/pip install -e .
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click

from bench.distribution import Distribution
from bench.driver import Driver, load_on
from bench.load.commands import Connect, Connected, Done, Flood, Know, Pace, Phase
from bench.plot import bar_plot
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_server

THIS, OTHER = "this build", "the other"
AT_ONCE = 64
"""Connections that are being made at a time."""


NEWCOMERS = 400
"""Users who connect in a turn of that phase, behind those of the turns before."""

JOBS = 100_000
"""Known beforehand, so that each assignment of the fan-out is another job's."""
CONNECT = "connect"
PHASES = ("paced", "single", "batch", "fanout", CONNECT)

Figures = dict[str, float]
"""CPU of an event or of a connect in µs, and how long it took, in ms."""


@click.command()
@click.option("--other", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True, help="Checkout.")
@click.option("--phase", "phases", type=click.Choice(PHASES), multiple=True, default=("paced",), help="Repeatable.")
@click.option("--users", type=click.IntRange(1), default=200, help="Connected users.")
@click.option("--rate", type=click.FloatRange(0.1), default=300.0, help="Events a second of the paced phase.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, help="Of a turn.")
@click.option("--turns", type=click.IntRange(1), default=6, help="Of each build in a round.")
@click.option("--rounds", type=click.IntRange(1), default=4, help="Of fresh servers.")
@click.option("--publishers", type=click.IntRange(1), default=1, help="HTTP connections of the paced phase.")
@out_option
def builds(
    other: Path,
    phases: tuple[str, ...],
    users: int,
    rate: float,
    seconds: float,
    turns: int,
    rounds: int,
    publishers: int,
    out: Path,
) -> None:
    """CPU and latency of an event or a connect, of this build and of another checkout, in turns."""
    settings = dict(click.get_current_context().params)
    work: dict[str, Pace | Flood] = {
        "paced": Pace(
            event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=0.5, producers=publishers
        ),
        "single": Flood(event="notification.requested", producers=64, batch=1, seconds=seconds),
        "batch": Flood(event="notification.requested", producers=1, batch=100, seconds=seconds),
        "fanout": Flood(event="job.assigned", producers=1, batch=1, seconds=seconds),
    }
    done: dict[str, dict[str, list[Figures]]] = {phase: {THIS: [], OTHER: []} for phase in phases}
    bars: dict[str, dict[str, float]] = {THIS: {}, OTHER: {}}
    with workplace(out, "builds") as directory:
        report = Report("builds", directory, settings)
        for number in range(rounds):
            names = (THIS, OTHER) if number % 2 == 0 else (OTHER, THIS)
            with ExitStack() as stack:
                drivers: dict[str, Driver] = {}
                for name in names:
                    serving = djactors_server(
                        directory / f"{name.replace(' ', '-')}-{number}", checkout=None if name is THIS else other
                    )
                    drivers[name] = driver = stack.enter_context(load_on(stack.enter_context(serving)))
                    newcomers = (turns + 1) * NEWCOMERS if CONNECT in phases else 0
                    driver.ask(Know(users + newcomers, JOBS if "fanout" in phases else 0), Done)
                    report.check(f"connecting to {name}", driver.ask(Connect(1, users, AT_ONCE), Connected).failures)
                # Whoever connects is there in all phases that follow.
                for phase in sorted(phases, key=lambda phase: phase == CONNECT):
                    if phase == CONNECT:
                        _crowd(report, drivers, users + 1, turns, done[phase])
                    else:
                        _round(report, drivers, phase, work[phase], turns, done[phase])
    for phase in phases:
        _tell(report, phase, done[phase])
        for name, each in done[phase].items():
            bars[name][phase] = median(turn["cpu_us"] for turn in each)
    report.finish(out, bar_plot("CPU for each event", report.foot, bars, "µs"))


def _round(
    report: Report,
    drivers: dict[str, Driver],
    phase: str,
    work: Pace | Flood,
    turns: int,
    done: dict[str, list[Figures]],
) -> None:
    """One phase on one pair of servers; what it measured is added to `done`."""
    for driver in drivers.values():
        driver.ask(work, Phase)  # warms up
    for name in in_turns(tuple(drivers), turns):
        measured = drivers[name].ask(work, Phase)
        report.phase(f"{phase}, {name}", measured)
        done[name].append(_figures(cpu_us(measured), measured.delivered))


def _crowd(report: Report, drivers: dict[str, Driver], first: int, turns: int, done: dict[str, list[Figures]]) -> None:
    """Newcomers, from this user on, who connect to one pair of servers."""
    next_one = dict.fromkeys(drivers, first)
    for name in (*drivers, *in_turns(tuple(drivers), turns)):
        measured = drivers[name].ask(Connect(next_one[name], NEWCOMERS, AT_ONCE), Connected)
        report.check(f"a crowd, {name}", measured.failures)
        if next_one[name] > first:  # the first ones warm up
            done[name].append(_figures(measured.use.total * 1e6 / NEWCOMERS, measured.seconds))
        next_one[name] += NEWCOMERS


def _figures(cpu: float, seconds: Sequence[float]) -> Figures:
    took = Distribution(seconds)
    return {"cpu_us": cpu, "p50_ms": took.milliseconds(50), "p99_ms": took.milliseconds(99)}


def _tell(report: Report, phase: str, figures: dict[str, list[Figures]]) -> None:
    """A phase's table: the medians of the turns, and of the ratios of turns that stood side by side."""
    rows: list[list[object]] = []
    ratios: dict[str, list[float]] = {}
    for figure in figures[THIS][0]:
        ours, theirs = ([turn[figure] for turn in figures[name]] for name in (THIS, OTHER))
        ratios[figure] = [mine / its for mine, its in zip(ours, theirs, strict=True)]
        spread = f"{min(ratios[figure]):.2f} … {max(ratios[figure]):.2f}"
        rows.append([f"{phase} {figure}", median(ours), median(theirs), f"{median(ratios[figure]):.3f}", spread])
    report.table(["", THIS, OTHER, "ratio", "turns"], rows)
    report.figures[phase] = {"turns": figures, "ratios": {figure: median(each) for figure, each in ratios.items()}}


def in_turns(names: Sequence[str], turns: int) -> Iterator[str]:
    """The order of the turns: A B B A A B …"""
    for turn in range(turns):
        yield from names if turn % 2 == 0 else names[::-1]
