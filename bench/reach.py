"""What PostgreSQL costs: one node on it against the seed's stack, batches in process against SQLite, and the way from a
commit to another node's client.

Each comparison has both sides in the same run and in turns. The seed's stack and djactors have a PostgreSQL server of
their own each, with the same settings: as PostgreSQL comes, an fsync before a commit is answered. CPU is that of server
and database together.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from statistics import median

import click
import msgspec
import trio

from bench.distribution import Distribution
from bench.driver import Driver, load_on
from bench.load import events
from bench.load.commands import Connect, Connected, Done, Flood, Know, Pace, Phase
from bench.peers import express_server
from bench.plot import bar_plot
from bench.postgres import DISK, DURABLE, postgres_server
from bench.report import Report, cpu_us, out_option, workplace
from bench.server import djactors_nodes
from djactors.domain.commands import Publish
from djactors.domain.events import decode_event
from djactors.domain.limits import Limits
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.store.database import Database

OURS, THEIRS = "djactors on PostgreSQL", "the seed's stack"
PRODUCERS = 64
AT_ONCE = 16
"""Connections that are being made at a time."""

BATCH = 64
BATCHES = 40
"""Batches of a side's turn in process: 2,560 events, a fraction of a second on either engine."""

RUN_SECONDS = 600

STACK, STORE, NODES = "stack", "store", "nodes"
"""The parts of a run: beside the seed's stack, in process beside SQLite, and to another node."""


class Rates(msgspec.Struct):
    """Events a second in process, of each turn."""

    sqlite: list[float]
    postgresql: list[float]


@click.command()
@click.option("--users", type=click.IntRange(1), default=100, help="Connected users, all in one tenant.")
@click.option("--seconds", type=click.FloatRange(0.1), default=3.0, help="Of a turn.")
@click.option("--turns", type=click.IntRange(1), default=5, help="Of each side.")
@click.option(
    "--rate", type=click.FloatRange(0.1), default=100.0, help="Events a second that users of another node get."
)
@click.option(
    "--part", "parts", type=click.Choice((STACK, STORE, NODES)), multiple=True, help="Can be given again; default: all."
)
@out_option
def reach(users: int, seconds: float, turns: int, rate: float, parts: tuple[str, ...], out: Path) -> None:
    """PostgreSQL beside the seed's stack and beside SQLite, and two nodes of one database."""
    settings = dict(click.get_current_context().params)
    wanted = parts or (STACK, STORE, NODES)
    bars: dict[str, dict[str, float]] = {}
    with workplace(out, "reach") as directory:
        report = Report("reach", directory, settings)
        if STACK in wanted:
            bars = _beside_the_stack(report, directory, users, seconds, turns)
        if STORE in wanted:
            _in_process(report, turns)
        if NODES in wanted:
            _to_another_node(report, directory, users, seconds * turns, rate)
    report.finish(out, bar_plot(f"{PRODUCERS} producers: CPU for each event", report.foot, bars, "µs"))


def _beside_the_stack(
    report: Report, directory: Path, users: int, seconds: float, turns: int
) -> dict[str, dict[str, float]]:
    done: dict[str, list[Phase]] = {OURS: [], THEIRS: []}
    with ExitStack() as stack:
        drivers: dict[str, Driver] = {}
        for name, serving in ((OURS, djactors_nodes(directory / "ours", 1)), (THEIRS, express_server(directory))):
            drivers[name] = stack.enter_context(load_on(stack.enter_context(serving)))
            drivers[name].ask(Know(users), Done)
            report.check(f"connecting to {name}", drivers[name].ask(Connect(1, users, AT_ONCE), Connected).failures)
        flood = Flood(event="notification.requested", producers=PRODUCERS, batch=1, seconds=seconds)
        for driver in drivers.values():
            driver.ask(flood, Phase)  # warms up
        for name in _order(turns):
            done[name].append(drivers[name].ask(flood, Phase))
            report.phase(f"{PRODUCERS} producers, {name}", done[name][-1])
    rows: list[list[object]] = []
    figures = {
        "CPU µs/event": {name: [cpu_us(each) for each in phases] for name, phases in done.items()},
        "events/s": {name: [each.posted / each.use.seconds for each in phases] for name, phases in done.items()},
        "p50 ms": {name: [_delivered(each, 50) for each in phases] for name, phases in done.items()},
        "p99 ms": {name: [_delivered(each, 99) for each in phases] for name, phases in done.items()},
    }
    for figure, each in figures.items():
        ratio = median(ours / theirs for ours, theirs in zip(each[OURS], each[THEIRS], strict=True))
        rows.append([figure, median(each[OURS]), median(each[THEIRS]), ratio])
        report.figures[figure] = {"turns": each, "ratio": ratio}
    for name, phases in done.items():
        parts = {part: median(each.use.cpu[part] * 1e6 / each.posted for each in phases) for part in phases[0].use.cpu}
        rows.append([f"CPU µs/event, {name}: " + ", ".join(f"{part} {cost:.0f}" for part, cost in parts.items())])
        rows[-1] += [None] * 3
    report.table([f"{PRODUCERS} producers, single posts", OURS, THEIRS, "ratio"], rows)
    return {name: {"server and database": median(each)} for name, each in figures["CPU µs/event"].items()}


def _in_process(report: Report, turns: int) -> None:
    # A process of its own: what the command line has loaded and holds is not the store's.
    command = [sys.executable, "-m", "bench.reach", str(turns)]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=RUN_SECONDS, check=False)
    if done.returncode:
        raise click.ClickException("the measuring process failed; its complaint is above")
    rates = msgspec.json.decode(done.stdout, type=Rates)
    ratio = median(ours / its for ours, its in zip(rates.postgresql, rates.sqlite, strict=True))
    report.table(
        [f"batches of {BATCH} in process", "PostgreSQL", "SQLite", "ratio"],
        [["events/s", median(rates.postgresql), median(rates.sqlite), ratio]],
    )
    report.figures["in process"] = {"turns": msgspec.to_builtins(rates), "ratio": ratio}


def _to_another_node(report: Report, directory: Path, users: int, seconds: float, rate: float) -> None:
    rows: list[list[object]] = []
    for nodes in (1, 2):
        with djactors_nodes(directory / f"nodes-{nodes}", nodes) as target, load_on(target) as load:
            load.ask(Know(users), Done)
            report.check("connecting", load.ask(Connect(1, users, AT_ONCE), Connected).failures)
            pace = Pace(
                event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=1.0, producers=AT_ONCE
            )
            phase = load.ask(pace, Phase)
        label = "the same node" if nodes == 1 else "another node"
        report.figures[label] = report.phase(label, phase) | {"delivered": Distribution(phase.delivered).summary()}
        answered = Distribution(phase.acknowledged)
        rows.append(
            [label, answered.milliseconds(50), answered.milliseconds(99), _delivered(phase, 50), _delivered(phase, 99)]
        )
    report.table(
        [f"{rate:g} events/s, from due to client", "answered p50 ms", "p99 ms", "delivered p50 ms", "p99 ms"], rows
    )


def _delivered(phase: Phase, percentile: float) -> float:
    return Distribution(phase.delivered).milliseconds(percentile)


def _order(turns: int) -> Iterator[str]:
    for turn in range(turns):
        yield from (OURS, THEIRS) if turn % 2 == 0 else (THEIRS, OURS)


async def measure(places: dict[str, str], turns: int) -> Rates:
    """Record the same batches on both engines, in turns; the first turn warms up."""
    rates: dict[str, list[float]] = {name: [] for name in places}
    async with AsyncExitStack() as stack:
        inboxes = {}
        for name, place in places.items():
            schema.apply(place)
            database = await stack.enter_async_context(await Database.open(place))
            inboxes[name] = Inbox(database, limits=Limits(daily_limit=10**9), node=name)
        for turn in range(-1, turns):
            for name, inbox in inboxes.items():
                batches = [_batch(number) for number in range(BATCHES)]
                began = time.perf_counter()
                for commands in batches:
                    for outcome in (await inbox.record(commands)).outcomes:
                        if isinstance(outcome, Exception):
                            raise outcome
                if turn >= 0:
                    rates[name].append(BATCH * BATCHES / (time.perf_counter() - began))
    return Rates(rates["sqlite"], rates["postgresql"])


def _batch(number: int) -> list[Publish]:
    first = number * BATCH
    bodies = [events.body("notification.requested", first + place, 1 + (first + place) % 100) for place in range(BATCH)]
    return [Publish(decode_event(body), decoded=True) for body in bodies]


def main(turns: int) -> None:
    """Measure in this process, and write what came of it on stdout."""
    with postgres_server(DISK, DURABLE) as postgres, tempfile.TemporaryDirectory(dir=DISK) as directory:
        url = f"postgresql://postgres@/postgres?host={postgres.directory}"
        rates = trio.run(measure, {"sqlite": f"{directory}/reach.db", "postgresql": url}, turns)
    sys.stdout.buffer.write(msgspec.json.encode(rates))


if __name__ == "__main__":
    main(int(sys.argv[1]))
