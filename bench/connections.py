"""How fast users can connect, and what each costs in CPU and memory: up to the descriptor limit.

A connect is a WebSocket handshake, the Engine.IO open, a CONNECT with a token, the actor's start with its snapshot from
the store, and the first unread count. How many the server admits a second is a setting; it is lifted here.
"""

import resource
from pathlib import Path

import click

from bench.distribution import Distribution
from bench.driver import load_on
from bench.load.commands import Connect, Connected, Done, Know
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from bench.server import djactors_server

RESERVED = 500
"""Descriptors that the load and the server need for other things than users."""

SETTLE_SECONDS = 1.0


@click.command()
@click.option("--users", type=click.IntRange(1), default=5000, help="In all; cut to what descriptors allow.")
@click.option("--steps", type=click.IntRange(1), default=5, help="Equal parts, each measured by itself.")
@click.option("--at-once", type=click.IntRange(1), default=64, help="Connections that are being made at a time.")
@click.option("--recovery/--no-recovery", default=True, help="Whether users take offsets, as stock JS clients do.")
@out_option
def connections(users: int, steps: int, at_once: int, recovery: bool, out: Path) -> None:
    """Connects a second, CPU and memory a connected user."""
    settings = dict(click.get_current_context().params)
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if users > limit - RESERVED:
        users = limit - RESERVED
        click.echo(f"{users} users: no process here may have more than {limit} descriptors\n")
    size = max(1, users // steps)
    parts: list[Connected] = []
    with workplace(out, "connections") as directory:
        report = Report("connections", directory, settings)
        with djactors_server(directory) as target, load_on(target) as load:
            load.ask(Know(users), Done)
            for first in range(1, users + 1, size):
                count = min(size, users + 1 - first)
                parts.append(load.ask(Connect(first, count, at_once, recovery, SETTLE_SECONDS), Connected))
    rows, bars, total = [], {}, 0
    for part in parts:
        done = len(part.seconds)
        total += done
        report.check(f"connecting up to {total}", part.failures)
        grown = part.after["server"].proportional - part.before["server"].proportional
        took = Distribution(part.seconds)
        cpu = part.use.total * 1e6 / max(done, 1)
        rows.append(
            [
                f"up to {total}",
                done / part.use.seconds,
                cpu,
                grown * 1024 / max(done, 1),
                part.after["server"].resident,
                took.milliseconds(50),
                took.milliseconds(99),
                part.use.load / part.use.seconds * 100,
            ]
        )
        bars[f"up to {total}"] = {"CPU µs a connect": cpu, "KiB a user": grown * 1024 / max(done, 1)}
    report.table(
        ["users", "connects/s", "CPU µs/connect", "KiB/user", "server MiB", "p50 ms", "p99 ms", "load's core %"], rows
    )
    grown = parts[-1].after["server"].proportional - parts[0].before["server"].proportional
    whole = grown * 1024 / max(total, 1)
    cpu = sum(part.use.total for part in parts) * 1e6 / max(total, 1)
    click.echo(f"{total} users: {whole:.1f} KiB and {cpu:.0f} µs of CPU each\n")
    report.figures = {
        "users": total,
        "kib_per_user": whole,
        "cpu_us_per_connect": cpu,
        "connects_per_second": total / sum(part.use.seconds for part in parts),
        "steps": [dict(zip(("up_to", "per_second", "cpu_us", "kib"), row[:4], strict=True)) for row in rows],
    }
    report.finish(out, bar_plot("What connecting costs", report.foot, bars, ""))
