"""What a server costs when nothing happens: connected users, heartbeats at the default interval, no events."""

from pathlib import Path

import click

from bench.driver import load_on
from bench.load.commands import Connect, Connected, Done, Know, Rest, Rested
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server

AT_ONCE = 64
SETTLE_SECONDS = 1.0


@click.command()
@click.option("--users", type=click.IntRange(1), default=5000)
@click.option("--seconds", type=click.FloatRange(0.1), default=50.0, help="A ping is due every 25: measure whole ones.")
@out_option
def idle(users: int, seconds: float, out: Path) -> None:
    """CPU of a server whose users are merely there."""
    settings = dict(click.get_current_context().params)
    with workplace(out, "idle") as directory:
        report = Report("idle", directory, settings)
        with djactors_server(directory) as target, load_on(target) as load:
            load.ask(Know(users), Done)
            nobody = load.ask(Rest(min(seconds, 5.0)), Rested)
            connected = load.ask(Connect(1, users, AT_ONCE, settle_seconds=SETTLE_SECONDS), Connected)
            report.check("connecting", connected.failures)
            rested = load.ask(Rest(seconds), Rested)
    if rested.users != users:
        report.check("resting", {"a user's connection was closed": users - rested.users})
    found = {
        "nobody": 100 * nobody.use.total / nobody.use.seconds,
        f"{users} users": 100 * rested.use.total / rested.use.seconds,
    }
    report.table(
        ["", "% of one core", "seconds"],
        [
            [label, value, use.seconds]
            for (label, value), use in zip(found.items(), (nobody.use, rested.use), strict=True)
        ],
    )
    report.figures = {"users": users, "idle_percent": found[f"{users} users"], "nobody_percent": found["nobody"]}
    bars = {label: {"% of one core": value} for label, value in found.items()}
    report.finish(out, bar_plot("CPU while nothing happens", report.foot, bars, "%"))
