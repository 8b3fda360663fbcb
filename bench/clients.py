"""What a Socket.IO client of a Python program costs: djactors' own under Trio beside python-socketio's under asyncio.

Both kinds have the same to do with the same server. In turns, a process of each connects as many clients, each for a
user of its own, takes one notification for each of them in so many rounds, and then only answers pings. Measured are
the growth of the process' proportional set size with the clients, and its CPU in each part. With ``--steps`` the steps
of Python are counted instead, whose number hardly depends on how busy the machine is.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import click
import msgspec

from bench.driver import Driver, load_on
from bench.load.commands import Done, Know, Target
from bench.load.crowd import token
from bench.load.events import body
from bench.plot import bar_plot
from bench.population import Plan
from bench.process import stop
from bench.report import Report, out_option, workplace
from bench.server import djactors_server
from bench.usage import memory

KINDS = ("djactors", "python-socketio")
PATIENCE = 120.0
PING_SECONDS = 2.0
"""The heartbeat's interval, which is 25 s by default: so a short rest has as many pings as some minutes."""

SETTLE_SECONDS = 0.5

MEMORY = ("KiB a client", "KiB in use")
CPU = {"CPU ms to connect": 1e3, "CPU µs an event": 1e6, "CPU µs a ping": 1e6}
"""What is measured in each part, and how many of it a second are."""

STEPS = ("steps to connect", "steps an event", "steps a ping")


class Population:
    """One process of clients."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def ask(self, line: str) -> float:
        """Say a line and wait until it is done; the seconds of CPU so far, or the steps.

        Raises:
            click.ClickException: the process has died; its complaint is above.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise click.ClickException(f"the clients' process died over {line[:40]!r}")
        return float(answer)

    def kib(self) -> float:
        """What it occupies, without garbage."""
        self.ask("collect")
        time.sleep(SETTLE_SECONDS)
        return memory(self.pid).proportional * 1024


@contextmanager
def population(kind: str, plan: Plan, *, steps: bool) -> Iterator[Population]:
    """A process of clients, ready to connect; it ends with the block."""
    command = [sys.executable, "-m", "bench.population", kind, "steps" if steps else "CPU"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            crowd = Population(process)
            crowd.ask(msgspec.json.encode(plan).decode())
            yield crowd
        finally:
            stop(process)  # type: ignore[arg-type]


def one_turn(kind: str, target: Target, plan: Plan, rounds: int, rest: float, *, steps: bool) -> dict[str, float]:
    """What one process of clients took, a client, an event and a ping."""
    clients = len(plan.tokens)
    with population(kind, plan, steps=steps) as crowd:
        alone, began = crowd.kib(), crowd.ask("cpu")
        connected = crowd.ask("connect")
        fresh, posting = crowd.kib(), crowd.ask("cpu")
        for number in range(1, rounds + 1):
            _post(target, clients, number)
            posted = crowd.ask(f"expect {number * clients}")
        used, resting = crowd.kib(), crowd.ask("cpu")
        time.sleep(rest)
        rested = crowd.ask("cpu")
    spent = (
        (connected - began) / clients,
        (posted - posting) / (rounds * clients),
        (rested - resting) / (clients * rest / PING_SECONDS),
    )
    if steps:
        return dict(zip(STEPS, spent, strict=True))
    figures = {name: each * scale for (name, scale), each in zip(CPU.items(), spent, strict=True)}
    return dict(zip(MEMORY, ((fresh - alone) / clients, (used - alone) / clients), strict=True)) | figures


def _post(target: Target, clients: int, round_: int) -> None:
    """A notification for each."""
    events = b",".join(body("notification.requested", round_ * clients + user, user) for user in range(1, clients + 1))
    answer = _request(target, b"[%b]" % events)
    if b'"error"' in answer:
        raise click.ClickException(f"the server refused what was posted: {answer[:200]!r}")


def _request(target: Target, content: bytes) -> bytes:
    request = Request(
        f"http://{target.host}:{target.port}/api/events/batch",
        content,
        {"Authorization": f"Bearer {token(target, role='service')}", "Content-Type": "application/json"},
    )
    with urlopen(request, timeout=PATIENCE) as answer:
        said: bytes = answer.read()
    return said


@click.command()
@click.option("--clients", "count", type=click.IntRange(1, 1000), default=500, help="In one process.")
@click.option("--rounds", type=click.IntRange(1), default=20, help="Notifications for each client.")
@click.option("--rest", type=click.FloatRange(0.1), default=10.0, help="Seconds of nothing but pings.")
@click.option("--turns", type=click.IntRange(1), default=5, help="Of each kind.")
@click.option("--steps", is_flag=True, help="Count steps of Python instead of CPU. One short turn will do.")
@out_option
def clients(count: int, rounds: int, rest: float, turns: int, steps: bool, out: Path) -> None:
    """Memory and CPU of clients in one process: djactors' own beside python-socketio's."""
    settings = dict(click.get_current_context().params)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    with workplace(out, "clients") as directory:
        report = Report("clients", directory, settings)
        pings = {"DJACTORS_PING_INTERVAL": f"{PING_SECONDS:g}"}
        with djactors_server(directory, settings=pings) as target, load_on(target) as load:
            _know(load, count)
            plan = Plan(
                f"http://{target.host}:{target.port}",
                [token(target, role="user", userId=number) for number in range(1, count + 1)],
            )
            for turn in range(turns):
                # The one that goes first goes second in the next turn.
                for kind in KINDS if turn % 2 == 0 else reversed(KINDS):
                    found[kind].append(one_turn(kind, target, plan, rounds, rest, steps=steps))
    names = STEPS if steps else (*MEMORY, *CPU)
    ours, theirs = (found[kind] for kind in KINDS)
    ratios = {
        name: sorted(mine[name] / max(its[name], 1e-9) for mine, its in zip(ours, theirs, strict=True))
        for name in names
    }
    medians = {kind: {name: statistics.median(each[name] for each in found[kind]) for name in names} for kind in KINDS}
    report.table(
        ["", *KINDS, "ratio", "lowest", "highest"],
        [
            [
                name,
                *(medians[kind][name] for kind in KINDS),
                statistics.median(ratios[name]),
                ratios[name][0],
                ratios[name][-1],
            ]
            for name in names
        ],
    )
    report.figures = {"turns": found, "medians": medians, "ratios": ratios}
    bars = {name: {kind: medians[kind][name] for kind in KINDS} for name in names}
    report.finish(out, bar_plot(f"{count} clients in one process", report.foot, bars, ""))


def _know(load: Driver, count: int) -> None:
    load.ask(Know(count), Done)
