"""The pace of an office: events posted one by one at fixed times, by djactors, its peers, and the floor.

At 64 producers the servers share commits, wake-ups and writes among events. A small installation has no such crowd: it
sees one event at a time, and here each event pays for all of that alone.

All servers are up at once and take turns at each rate (A B C C B A …), so that a slow moment of the machine meets all.
The load is an open loop, as in `latency`: a latency counts from when the post was due.

Beside the CPU of an event stands what the kernel was asked to do for it: how often a thread of the server fell asleep
and was woken again, how often one was made to give way, how many pages were written, and, where `perf` may count them,
the system calls. These depend much less on how busy the machine is.

With `--beside`, djactors alone is looked at, in turns with and without a chore of the server (see `beside.py`).
"""

import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec

from bench import beside
from bench.compare import AT_ONCE, SERVERS
from bench.distribution import Distribution
from bench.driver import Driver, load_on
from bench.load.commands import Connect, Connected, Done, Know, Pace, Phase
from bench.plot import bar_plot
from bench.report import Report, cpu_us, out_option, workplace
from bench.usage import Activity, activity, tree

US = "djactors"
STORING = tuple(name for name in SERVERS if name != "nchan")
RATES = (10.0, 30.0, 100.0, 300.0, 1000.0)

EVENTS_OF_A_TURN = 60
"""At least, so that at ten a second the grain of the kernel's clock, 10 ms, is not most of the figure."""

WARMUP_SECONDS = 0.5
PAGE = 4096


class Turn:
    """One server's turn at one rate."""

    def __init__(self, phase: Phase, spent: Activity, calls: int | None) -> None:
        each = 1 / max(phase.posted, 1)
        delivered = Distribution(phase.delivered)
        self.phase = phase
        self.figures: dict[str, float | None] = {
            "CPU µs": cpu_us(phase),
            "p50 ms": delivered.milliseconds(50),
            "p99 ms": delivered.milliseconds(99),
            "woken": spent.slept * each,
            "made to give way": spent.preempted * each,
            "pages": spent.written / PAGE * each,
            "system calls": None if calls is None else calls * each,
        }


@click.command()
@click.option("--with", "names", type=click.Choice(STORING), multiple=True, default=STORING, help="Repeatable.")
@click.option("--rate", "rates", type=click.FloatRange(0.1), multiple=True, default=RATES, help="Repeatable.")
@click.option("--users", type=click.IntRange(1), default=100, help="Connected users.")
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=4.0, help=f"Of a turn; {EVENTS_OF_A_TURN} events or more."
)
@click.option("--turns", type=click.IntRange(1), default=5, help="Of each server at each rate.")
@click.option("--publishers", type=click.IntRange(1), default=16, help="HTTP connections to post by.")
@click.option(
    "--beside", "chores", type=click.Choice(beside.CHORES), multiple=True, help="A chore of djactors; repeatable."
)
@click.option("--stored", type=click.IntRange(1), default=beside.STORED, help="Stored notifications, with --beside.")
@out_option
def pace(
    names: tuple[str, ...],
    rates: tuple[float, ...],
    users: int,
    seconds: float,
    turns: int,
    publishers: int,
    chores: tuple[str, ...],
    stored: int,
    out: Path,
) -> None:
    """Latency, CPU and kernel work of an event at the pace of an office, beside the peers or the server's chores."""
    settings = dict(click.get_current_context().params)
    commands = {
        rate: Pace(
            event="notification.requested",
            rate=rate,
            seconds=max(seconds, EVENTS_OF_A_TURN / rate),
            warmup_seconds=0.0,
            producers=publishers,
        )
        for rate in rates
    }
    if chores:
        with workplace(out, "beside") as directory:
            report = Report("beside", directory, settings)
            svg = beside.measure(
                report, directory, chores, list(commands.values()), turns=turns, stored=stored, users=users
            )
        report.finish(out, svg)
        return
    chosen = [name for name in STORING if name in names]
    done: dict[tuple[str, float], list[Turn]] = defaultdict(list)
    with workplace(out, "pace") as directory, ExitStack() as stack:
        report = Report("pace", directory, settings)
        drivers: dict[str, Driver] = {}
        for name in chosen:
            target = stack.enter_context(SERVERS[name](directory / name))
            driver = drivers[name] = stack.enter_context(load_on(target))
            driver.ask(Know(users), Done)
            report.check(f"connecting to {name}", driver.ask(Connect(1, users, AT_ONCE), Connected).failures)
        for rate, command in commands.items():
            for turn in range(turns):
                for name in chosen if turn % 2 == 0 else chosen[::-1]:
                    done[name, rate].append(_take(drivers[name], command))
                    report.phase(f"{name}, {rate:g}/s", done[name, rate][-1].phase)
    for rate in rates:
        _tell(report, rate, {name: done[name, rate] for name in chosen})
    bars = {f"{rate:g}/s": {name: _median(done[name, rate], "p99 ms") or 0.0 for name in chosen} for rate in rates}
    report.finish(out, bar_plot("p99 from due to client", report.foot, bars, "ms"))


def _take(driver: Driver, command: Pace) -> Turn:
    """A turn, after a moment at the same pace, since a server that had nothing to do has to come back to its caches."""
    driver.ask(msgspec.structs.replace(command, seconds=WARMUP_SECONDS), Phase)
    roots = tuple(driver.target.processes.values())
    before = activity(roots)
    with _counted(roots) as calls:
        phase = driver.ask(command, Phase)
    return Turn(phase, activity(roots).since(before), calls[0] if calls else None)


@contextmanager
def _counted(roots: Collection[int]) -> Iterator[list[int]]:
    """Count the system calls of these process trees in the block. The list has them after it, if `perf` may count."""
    calls: list[int] = []
    perf = shutil.which("perf")
    if perf is None:
        yield calls
        return
    pids = ",".join(str(pid) for root in roots for pid in tree(root))
    with subprocess.Popen(
        [perf, "stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-p", pids],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield calls
        finally:
            process.send_signal(signal.SIGINT)
            _, told = process.communicate()
    for line in told.splitlines():
        count, _, rest = line.partition(";")
        if "sys_enter" in rest and count.isdigit():
            calls.append(int(count))


def _tell(report: Report, rate: float, turns: dict[str, list[Turn]]) -> None:
    """A rate's table: medians of the turns; the tail is that of all turns together."""
    rows = []
    figures: dict[str, Any] = {}
    for name, each in turns.items():
        together = Distribution(seconds for turn in each for seconds in turn.phase.delivered)
        row = {figure: _median(each, figure) for figure in each[0].figures}
        row["p99.9 ms"] = together.milliseconds(99.9)
        rows.append([f"{name}, {rate:g}/s", *row.values()])
        figures[name] = row | {"turns": [turn.figures for turn in each], "delivered": together.summary()}
    report.table(["an event", *row], rows)
    ratios = _ratios(turns)
    if ratios:
        click.echo(f"{US} at {rate:g}/s, as a part of\n")
        report.table(["", "CPU", "lowest", "highest", "p50", "p99"], ratios)
    report.figures[f"{rate:g}"] = figures


def _median(turns: Sequence[Turn], figure: str) -> float | None:
    """Of a figure of these turns; None where it could not be had."""
    values = [value for turn in turns if (value := turn.figures[figure]) is not None]
    return median(values) if values else None


def _ratios(turns: dict[str, list[Turn]]) -> list[list[object]]:
    """The median ratio of the turns that stood side by side."""
    rows: list[list[object]] = []
    for name, theirs in turns.items():
        if US not in turns or name == US:
            continue
        ratios = {
            figure: [
                float(mine.figures[figure] or 0) / max(float(its.figures[figure] or 0), 1e-9)
                for mine, its in zip(turns[US], theirs, strict=True)
            ]
            for figure in ("CPU µs", "p50 ms", "p99 ms")
        }
        cpu = ratios["CPU µs"]
        rows.append([name, median(cpu), min(cpu), max(cpu), median(ratios["p50 ms"]), median(ratios["p99 ms"])])
    return rows
