"""How many events a second with 1, 16 and 64 producers, posted one by one and in batches; and what each costs.

Closed loop: a producer posts again once it is answered, so the server always has exactly so many posts at hand, and an
event's latency counts from when its producer was free. Every event goes to a connected user and is waited for; the CPU
is all that the server used from the first post to the last delivery.
"""

from pathlib import Path

import click

from bench.distribution import Distribution
from bench.driver import load_on
from bench.floor import floor_server
from bench.load.commands import Connect, Connected, Done, Flood, Know, Phase
from bench.peers import express_server, python_socketio_server
from bench.plot import bar_plot
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_server

WARMUP_SECONDS = 1.0
UNDER_WAY = 4000
"""Events that all producers together have posted and not yet been answered. djactors refuses what is beyond its
router's mailbox of 4,096, and a producer would have to come back; so many producers post smaller batches."""
SERVERS = {
    "djactors": djactors_server,
    "floor": floor_server,
    "express": express_server,
    "python-socketio": python_socketio_server,
}


@click.command()
@click.option(
    "--server", type=click.Choice([*SERVERS]), default="djactors", help="The floor, a bare loop, and the peers, too."
)
@click.option("--users", type=click.IntRange(1), default=100, help="Connected users, all in one tenant.")
@click.option("--producers", type=click.IntRange(1), multiple=True, default=(1, 16, 64), help="Repeatable.")
@click.option("--batch", "batches", type=click.IntRange(1, 1000), multiple=True, default=(1, 100), help="Repeatable.")
@click.option("--seconds", type=click.FloatRange(0.05), default=4.0, help="For each combination.")
@click.option("--recovery/--no-recovery", default=True, help="Whether users take offsets, as stock JS clients do.")
@out_option
def throughput(
    server: str,
    users: int,
    producers: tuple[int, ...],
    batches: tuple[int, ...],
    seconds: float,
    recovery: bool,
    out: Path,
) -> None:
    """Events a second, CPU an event, and latency, under producers who never pause."""
    settings = dict(click.get_current_context().params)
    phases: dict[str, Phase] = {}
    with workplace(out, "throughput") as directory:
        report = Report("throughput" if server == "djactors" else f"throughput-{server}", directory, settings)
        with SERVERS[server](directory) as target, load_on(target) as load:
            load.ask(Know(users), Done)
            connected = load.ask(Connect(1, users, at_once=16, recovery=recovery), Connected)
            report.check("connecting", connected.failures)
            for largest in batches:
                for number in producers:
                    batch = max(1, min(largest, UNDER_WAY // number))
                    flood = Flood(event="notification.requested", producers=number, batch=batch, seconds=WARMUP_SECONDS)
                    if seconds > WARMUP_SECONDS:
                        load.ask(flood, Phase)
                    label = f"{number} producers, {'single' if batch == 1 else f'batches of {batch}'}"
                    measured = Flood(event=flood.event, producers=number, batch=batch, seconds=seconds)
                    phases[label] = load.ask(measured, Phase)

    rows = []
    for label, phase in phases.items():
        delivered = Distribution(phase.delivered)
        rows.append(
            [
                label,
                phase.posted / phase.use.seconds,
                cpu_us(phase),
                *(delivered.milliseconds(percentile) for percentile in (50, 99, 99.9, 100)),
                phase.use.load * 1e6 / max(phase.posted, 1),
            ]
        )
        report.figures[label] = report.phase(label, phase) | {
            "events_per_second": phase.posted / phase.use.seconds,
            "delivered": delivered.summary(),
            "acknowledged": Distribution(phase.acknowledged).summary(),
        }
    report.table(
        ["", "events/s", "CPU µs/event", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "load's CPU µs/event"], rows
    )
    bars = {label: {"CPU µs an event": cpu_us(phase)} for label, phase in phases.items()}
    report.finish(out, bar_plot(f"{server}: CPU for each durable, delivered event", report.foot, bars, "µs"))
