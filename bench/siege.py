"""A good crowd beside each attack in turn: how long the server's loop stood, and what the others noticed.

Each attack meets a server of its own, with djactors' default limits. The crowd is notified at a set pace (open loop),
first in peace and then beside the attack, several times. The server has one core, load and attacker the other, so that
what the attacker burns is not taken from the server. The worst turns are measured inside the server (`turns.py`), by
the clock on the wall and by the CPU time of the process, which others on the same machine do not stretch; of several
tries the median counts. Refusals are the server's own figure (`/api/admin/actors`). Newcomers are handshakes from an
address of their own, ten a second, and how many of them were let in. How much of the time the loop waited for its core
is told beside the latencies, since these cannot be told apart from the work of others.

Attacks are in `attacks.py`, where more are added.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import click
import msgspec

from bench.attacks import ATTACKS, PATIENCE, POLLING
from bench.distribution import Distribution
from bench.driver import load_on
from bench.load.commands import Connect, Connected, Done, Know, Pace, Phase, Target
from bench.load.crowd import BACKEND, token
from bench.plot import bar_plot
from bench.process import stop
from bench.report import Report, out_option, workplace
from bench.server import UNBOUND, djactors_server
from bench.turns import TURNS, Turns
from bench.usage import memory
from djactors.config import Settings

LEAD_SECONDS = 0.3
"""From the attacker's start until the crowd is measured beside it: it has an interpreter to start first."""

LOOK_SECONDS = 0.1
"""Between two newcomers."""

PRODUCERS = 32
"""Connections by which the crowd's events are posted: so many that none waits for the answer to another, or the queue
would be the bench's own."""

MOST_TURN_MS = 20.0
"""What no turn of the loop may exceed, and what the others' p99 may be at least (else three times its quiet value)."""

SHOWN = 6
"""Turns that `--where` tells of."""

DEFAULTS = {
    f"DJACTORS_{name.upper()}": str(getattr(Settings, name))
    for name in (
        "admit_rate",
        "admit_burst",
        "max_connections",
        "max_connections_per_address",
        "post_rate",
        "post_burst",
        "log_level",
    )
}
"""Limits that other benchmarks lift, and that are what an attack is about."""


class Ground(NamedTuple):
    """What an attack finds."""

    users: int | None = None
    """The good crowd, where the attack is about its size."""

    limits: dict[str, str] = DEFAULTS
    """The server's settings."""

    is_log_unread: bool = False
    """Whether standard error is a full pipe that nobody reads."""

    p99_more_ms: float = 0.0
    """What the others' p99 may be more than in peace, if that is more than the general bound."""


GROUNDS: Final = {
    "A1 unread log": Ground(is_log_unread=True),
    "A12 comments": Ground(p99_more_ms=50.0),
    "A13 metrics": Ground(users=5_000, limits=UNBOUND),
}
"""Where it is not the usual one."""


class Watch:
    """Looks at the server from outside, in a thread, for the length of a block."""

    def __init__(self, target: Target, turns: Turns) -> None:
        self._target = target
        (self._pid,) = target.processes.values()
        self._turns = turns
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._admin = token(target, role="admin", userId=BACKEND + 1)
        self.worst = turns.read()
        self.memory = 0.0
        self.refusals = 0
        self.newcomers = self.let_in = 0
        self.unanswered = 0
        self.waited = 0.0

    def __enter__(self) -> "Watch":
        self._before = self._refusals()
        self._began = time.monotonic()
        self._waited_before = waited_for_core(self._pid)
        self._turns.forget()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.worst = self._turns.read()
        waited = waited_for_core(self._pid) - self._waited_before
        self.waited = waited / (time.monotonic() - self._began)
        self.refusals = self._refusals() - self._before

    def _refusals(self) -> int:
        status, body = self._get("/api/admin/actors", "127.0.0.1", Authorization=f"Bearer {self._admin}")
        if status != 200:
            self.unanswered += 1
            return 0
        return int(msgspec.json.decode(body)["counters"]["refusals"])

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.memory = max(self.memory, memory(self._pid).proportional)
            self.newcomers += 1
            self.let_in += self._get(POLLING, "127.0.0.9")[0] == 200

    def _get(self, path: str, source: str, **headers: str) -> tuple[int, bytes]:
        connection = HTTPConnection(self._target.host, self._target.port, PATIENCE, source_address=(source, 0))
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            return 0, b""
        finally:
            connection.close()


def waited_for_core(pid: int) -> float:
    """Seconds that the first thread of a process was ready to run and had no core; 0 where the kernel does not say."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Whatever is started in the block runs on one core only; where there are not two of them, nothing changes."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        yield
        return
    os.sched_setaffinity(0, {cores[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, set(cores))


@contextmanager
def attacking(name: str, target: Target, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """An attack that goes on for so long; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.attacks", name, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(target) + b"\n")
            process.stdin.flush()
            yield process
        finally:
            stop(process)


@click.command()
@click.option("--attack", "names", type=click.Choice([*ATTACKS]), multiple=True, help="Repeatable; all by default.")
@click.option("--users", type=click.IntRange(1), default=50, help="The good crowd, all in one tenant.")
@click.option("--rate", type=click.FloatRange(0.1), default=100.0, help="Events a second for them, posted one by one.")
@click.option("--seconds", type=click.FloatRange(0.2), default=6.0, help="In peace, and beside each attack.")
@click.option("--tries", type=click.IntRange(1), default=3, help="Of each attack; the median counts.")
@click.option(
    "--where", type=click.FloatRange(1.0), help="Tell where the loop stood in turns of more CPU than so many ms."
)
@out_option
def siege(
    names: tuple[str, ...], users: int, rate: float, seconds: float, tries: int, where: float | None, out: Path
) -> None:
    """What each attack does to the loop, to others, and to memory."""
    settings = dict(click.get_current_context().params)
    rows = []
    with workplace(out, "siege") as directory:
        report = Report("siege", directory, settings)
        if where is not None:
            os.environ["BENCH_WHERE"] = str(where)
        for number, name in enumerate(names or ATTACKS):
            ground = GROUNDS.get(name, Ground())
            figures = _besiege(
                name, ground, report, directory / str(number), ground.users or users, rate, seconds, tries
            )
            report.figures[name] = figures
            rows.append(_row(name, ground, figures))
            click.echo(f"{name}: {rows[-1]}", err=True)
            if where is not None:
                _tell_where(directory / str(number) / "server.log")
    report.table(
        [
            "", "turn CPU ms, quiet", "attacked", "turn ms", "p50 ms, quiet", "attacked", "p99 ms, quiet", "attacked",
            "no core %", "MiB more", "refusals", "newcomers let in", "faults", "held",
        ],
        rows,
    )  # fmt: skip
    click.echo(f"Load average of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}\n")
    bars = {
        name: {"worst turn, ms of CPU": figures["attacked"]["turn_cpu_ms"]} for name, figures in report.figures.items()
    }
    report.finish(out, bar_plot(f"{users} users beside one attacker: the worst turn", report.foot, bars, "ms"))


def _tell_where(log: Path) -> None:
    lines = [line for line in log.read_text().splitlines() if line.startswith("TURN ")] if log.exists() else []
    lines.sort(key=lambda line: -float(line.split("/")[4].split()[0]))
    for line in lines[:SHOWN]:
        click.echo(line, err=True)


def _besiege(
    name: str, ground: Ground, report: Report, directory: Path, users: int, rate: float, seconds: float, tries: int
) -> dict[str, Any]:
    pace = Pace(event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=0, producers=PRODUCERS)
    directory.mkdir(parents=True)
    turns = Turns(directory / "turns", create=True)
    with on_core(0):
        serving = djactors_server(
            directory,
            settings={**DEFAULTS, **ground.limits},
            launcher=(TURNS, directory / "turns"),
            is_log_unread=ground.is_log_unread,
        )
        target = serving.__enter__()
    try:
        with on_core(1), load_on(target) as load:
            load.ask(Know(users), Done)
            report.check("connecting", load.ask(Connect(1, users, min(users, 16)), Connected).failures)
            load.ask(pace, Phase)  # warms up
            with Watch(target, turns) as peace:
                quiet = _noticed(load.ask(pace, Phase), peace)
            report.check(f"before {name}", quiet["faults"])
            attacked, attackers = [], []
            for _ in range(tries):
                with attacking(name, target, seconds + 2 * LEAD_SECONDS) as attacker:
                    time.sleep(LEAD_SECONDS)
                    with Watch(target, turns) as war:
                        phase = load.ask(pace, Phase)
                    assert attacker.stdout is not None
                    counted = attacker.stdout.readline()
                    if not counted:
                        raise click.ClickException(f"{name}: the attacker died; its complaint is above")
                attacked.append(_noticed(phase, war))
                attackers.append(msgspec.json.decode(counted))
    finally:
        serving.__exit__(None, None, None)
    return {
        "quiet": quiet,
        "attacked": _median(attacked),
        "tries": attacked,
        "memory_mib": max(each["memory_mib"] for each in attacked) - quiet["memory_mib"],
        "attacker": attackers[-1],
    }


def _noticed(phase: Phase, watch: Watch) -> dict[str, Any]:
    delivered = Distribution(phase.delivered)
    return {
        "worst_turn_ms": watch.worst.wall * 1000,
        "turn_cpu_ms": watch.worst.process * 1000,
        "turn_loop_cpu_ms": watch.worst.thread * 1000,
        "p50_ms": delivered.milliseconds(50),
        "p99_ms": delivered.milliseconds(99),
        "no_core_percent": watch.waited * 100,
        "memory_mib": watch.memory,
        "delivered": len(phase.delivered),
        "posted": phase.posted,
        "faults": phase.faults,
        "refusals": watch.refusals,
        "newcomers": watch.newcomers,
        "let_in": watch.let_in,
        "unanswered": watch.unanswered,
    }


def _median(tries: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each time the median; what must not happen even once is added up."""
    summed = {"delivered", "posted", "newcomers", "let_in", "unanswered", "refusals"}
    figures: dict[str, Any] = {
        name: (sum if name in summed else median)([each[name] for each in tries])
        for name in tries[0]
        if name != "faults"
    }
    figures["faults"] = {fault: sum(each["faults"].get(fault, 0) for each in tries) for fault in tries[0]["faults"]}
    return figures


def _row(name: str, ground: Ground, figures: dict[str, Any]) -> list[object]:
    quiet, attacked = figures["quiet"], figures["attacked"]
    bound = max(MOST_TURN_MS, 3 * quiet["p99_ms"], quiet["p99_ms"] + ground.p99_more_ms)
    held = (
        attacked["turn_cpu_ms"] <= MOST_TURN_MS
        and attacked["p99_ms"] <= bound
        and not sum(attacked["faults"].values())
        and attacked["let_in"] == attacked["newcomers"]
    )
    return [
        name,
        quiet["turn_cpu_ms"],
        attacked["turn_cpu_ms"],
        attacked["worst_turn_ms"],
        quiet["p50_ms"],
        attacked["p50_ms"],
        quiet["p99_ms"],
        attacked["p99_ms"],
        attacked["no_core_percent"],
        figures["memory_mib"],
        attacked["refusals"],
        f"{attacked['let_in']} of {attacked['newcomers']}",
        sum(attacked["faults"].values()),
        "yes" if held else "no",
    ]
