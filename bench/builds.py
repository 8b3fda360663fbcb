"""Two builds of djactors side by side: what a change costs or saves at the pace of an office, as a ratio.

Both servers run at once, each with a load of its own, and take turns: A B B A A B …, so that a slow moment of the
machine, and whatever the turn before left behind, meet both alike. Events are posted one by one at fixed times. With
one publisher, which waits for each answer, no two of them ever share a commit, however busy the machine is: a page that
an event writes is seen here, and not where many producers share it.

The other build is another checkout with an environment of its own:

    git worktree add ../other COMMIT
    cd ../other && python3 -m venv .venv && .venv/bin/pip install -e .
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click

from bench.driver import Driver, load_on
from bench.load.commands import Connect, Connected, Done, Know, Pace, Phase
from bench.plot import bar_plot
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_server

THIS, OTHER = "this build", "the other"
AT_ONCE = 64
"""Connections that are being made at a time."""


@click.command()
@click.option("--other", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True, help="Checkout.")
@click.option("--users", type=click.IntRange(1), default=200, help="Connected users.")
@click.option("--rate", type=click.FloatRange(0.1), default=300.0, help="Events a second, posted one by one.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, help="Of a turn.")
@click.option("--turns", type=click.IntRange(1), default=24, help="Of each build.")
@click.option("--publishers", type=click.IntRange(1), default=1, help="HTTP connections to post by.")
@out_option
def builds(other: Path, users: int, rate: float, seconds: float, turns: int, publishers: int, out: Path) -> None:
    """Paced CPU of an event, of this build and of another checkout, in turns."""
    settings = dict(click.get_current_context().params)
    pace = Pace(event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=0.5, producers=publishers)
    costs: dict[str, list[float]] = {THIS: [], OTHER: []}
    with workplace(out, "builds") as directory, ExitStack() as stack:
        report = Report("builds", directory, settings)
        drivers: dict[str, Driver] = {}
        for name in (THIS, OTHER):
            serving = djactors_server(
                directory / name.replace(" ", "-"),
                python=None if name is THIS else other / ".venv" / "bin" / "python",
            )
            target = stack.enter_context(serving)
            drivers[name] = stack.enter_context(load_on(target))
            drivers[name].ask(Know(users), Done)
            report.check(f"connecting to {name}", drivers[name].ask(Connect(1, users, AT_ONCE), Connected).failures)
            drivers[name].ask(pace, Phase)  # warms up
        for name in _order(turns):
            phase = drivers[name].ask(pace, Phase)
            report.phase(name, phase)
            costs[name].append(cpu_us(phase))
    ratios = [ours / theirs for ours, theirs in zip(costs[THIS], costs[OTHER], strict=True)]
    report.table(
        ["", "median CPU µs/event", "lowest", "highest"],
        [[name, median(each), min(each), max(each)] for name, each in costs.items()],
    )
    click.echo(f"ratio {median(ratios):.3f}, turns {min(ratios):.3f} … {max(ratios):.3f}\n")
    report.figures = {"ratio": median(ratios), "ratios": ratios, "cpu_us": costs}
    bars = {name: {"CPU µs an event": median(each)} for name, each in costs.items()}
    report.finish(out, bar_plot(f"CPU for each event, {rate:g} a second", report.foot, bars, "µs"))


def _order(turns: int) -> Iterator[str]:
    for turn in range(turns):
        yield from (THIS, OTHER) if turn % 2 == 0 else (OTHER, THIS)
