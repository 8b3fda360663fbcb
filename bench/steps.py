"""How many steps of Python an event or a connect takes, by package: of this build, and of another checkout beside it.

On a machine that others use, CPU time goes up and down by tens of percent, and a change that saves two cannot be seen.
The number of steps (see `counting.py`) stays the same within one percent. Events come as they do in an office, one in a
commit, or from 64 producers, who share commits. Users connect as in `connections`, 64 at a time.
"""

import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import click
import msgspec

from bench.builds import AT_ONCE, OTHER, THIS
from bench.driver import Driver, load_on
from bench.load.commands import Connect, Connected, Done, Flood, Know, Phase
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server

COUNTING: Final = Path(__file__).with_name("counting.py")
CONNECTING: Final = "connecting"
PRODUCERS: Final = {"one at a time": 1, "64 producers": 64}

WARMUP_EVENTS: Final = 300
LONGEST_SECONDS: Final = 600.0
"""The count ends a flood before: counting makes the server ten times as slow."""

WRITE_SECONDS: Final = 30.0
"""For the server to put its counts down."""

Way = Callable[[Report, str, Driver], int]
"""Has the load do what is counted, and returns how often."""

_OURS = re.compile(r"/djactors/(?P<room>\w+)/?")
_THEIRS = re.compile(r"/site-packages/(?P<package>\w+)")


@click.command()
@click.option("--other", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Checkout.")
@click.option("--users", type=click.IntRange(1), default=100, help="Connected users.")
@click.option("--events", type=click.IntRange(1), default=1500, help="Counted, in either way of posting.")
@click.option("--connects", type=click.IntRange(1), default=1000, help="Counted, of users who come.")
@click.option("--each", is_flag=True, help="Show the forty dearest functions as well.")
@out_option
def steps(other: Path | None, users: int, events: int, connects: int, each: bool, out: Path) -> None:
    """Steps of Python that an event takes, and a connect, by package."""
    settings = dict(click.get_current_context().params)
    builds: dict[str, Path | None] = {THIS: None} if other is None else {THIS: None, OTHER: other}
    bars: dict[str, dict[str, float]] = {}
    with workplace(out, "steps") as directory:
        report = Report("steps", directory, settings)
        ways: dict[str, Way] = {
            way: partial(_post, producers=producers, events=events) for way, producers in PRODUCERS.items()
        }
        ways[CONNECTING] = partial(_connect, first=users + 1, connects=connects)
        for way, act in ways.items():
            counted = {
                name: _count(report, directory, f"{way}-{name}".replace(" ", "-"), checkout, users, connects, act)
                for name, checkout in builds.items()
            }
            _tell(report, way, counted, each=each)
            bars[way] = {name: sum(steps.values()) for name, steps in counted.items()}
    report.finish(out, bar_plot("Steps of Python for each event or connect", report.foot, bars, "steps"))


def _count(
    report: Report, directory: Path, name: str, checkout: Path | None, users: int, connects: int, act: Way
) -> dict[str, float]:
    """The steps of what is done this way, by function."""
    file = directory / f"{name}.json"
    serving = djactors_server(directory / name, checkout=checkout, launcher=(COUNTING, file))
    with serving as target, load_on(target) as load:
        load.ask(Know(users + connects), Done)
        report.check(f"{name}, connecting", load.ask(Connect(1, users, AT_ONCE), Connected).failures)
        load.ask(_flood(1, WARMUP_EVENTS), Phase)
        server = target.processes["server"]
        os.kill(server, signal.SIGUSR2)
        done = act(report, name, load)
        os.kill(server, signal.SIGUSR2)
        deadline = time.monotonic() + WRITE_SECONDS
        while not file.exists():
            if time.monotonic() > deadline:
                raise click.ClickException(f"{name}: the server did not write its counts down")
            time.sleep(0.05)
    counted = msgspec.json.decode(file.read_bytes(), type=list[tuple[str, str, int]])
    return {f"{path}:{function}": times / done for path, function, times in counted}


def _post(report: Report, name: str, load: Driver, *, producers: int, events: int) -> int:
    phase = load.ask(_flood(producers, events), Phase)
    report.phase(name, phase)
    return phase.posted


def _connect(report: Report, name: str, load: Driver, *, first: int, connects: int) -> int:
    connected = load.ask(Connect(first, connects, AT_ONCE), Connected)
    report.check(f"{name}, connecting more", connected.failures)
    return len(connected.seconds)


def _flood(producers: int, events: int) -> Flood:
    return Flood(event="notification.requested", producers=producers, batch=1, seconds=LONGEST_SECONDS, count=events)


def _tell(report: Report, way: str, counted: dict[str, dict[str, float]], *, each: bool) -> None:
    by_package = {name: _by_package(steps) for name, steps in counted.items()}
    packages = sorted(by_package[THIS], key=lambda package: -by_package[THIS][package])
    rows = [[package, *(steps[package] for steps in by_package.values())] for package in packages]
    totals = [sum(steps.values()) for steps in counted.values()]
    report.table([way, *counted], [*rows, ["all", *totals]])
    if len(totals) > 1:
        click.echo(f"ratio: {totals[0] / totals[1]:.3f}\n")
    if each:
        dearest = sorted(counted[THIS].items(), key=lambda item: -item[1])[:40]
        report.table(["function", "steps"], [[_short(place), steps] for place, steps in dearest])
    report.figures[way] = {"packages": by_package, "all": dict(zip(counted, totals, strict=True))}


def _by_package(steps: dict[str, float]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for place, count in steps.items():
        found[_package(place)] += count
    return found


def _package(place: str) -> str:
    if match := _THEIRS.search(place):
        return match["package"]
    if match := _OURS.search(place):
        return f"djactors.{match['room']}"
    return "standard library"


def _short(place: str) -> str:
    return "/".join(place.rsplit("/", 2)[-2:])
