"""A good crowd beside each attack in turn: how long the server's loop stood, and what the others noticed.

Each attack meets a server of its own, with djactors' default limits. The crowd is notified at a set pace (open loop),
first in peace and then beside the attack. The server has one core, load and attacker the other, so that what the
attacker burns is not taken from the server. The worst turn is the server's own figure (`/api/admin/actors`), asked for
each second; so are the refusals that it has counted. Newcomers are handshakes from an address of their own, ten a
second, and how many of them were let in.

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
from typing import Any

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
from bench.server import djactors_server
from bench.usage import memory
from djactors.config import Settings

LEAD_SECONDS = 0.3
"""From the attacker's start until the crowd is measured beside it: it has an interpreter to start first."""

LOOK_SECONDS = 0.1
"""Between two newcomers."""

MOST_TURN_MS = 20.0
"""What no turn of the loop may exceed, and what the others' p99 may be at least (else three times its quiet value)."""

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


class Watch:
    """Looks at the server from outside, in a thread, for the length of a block."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._admin = token(target, role="admin", userId=BACKEND)
        self.worst_turn = 0.0
        self.memory = 0.0
        self.refusals = 0
        self.newcomers = self.let_in = 0
        self.unanswered = 0

    def __enter__(self) -> "Watch":
        self._before = self._refusals()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.refusals = self._refusals() - self._before

    def _condition(self) -> dict[str, Any] | None:
        status, body = self._get("/api/admin/actors", "127.0.0.1", Authorization=f"Bearer {self._admin}")
        if status != 200:
            self.unanswered += 1
            return None
        condition: dict[str, Any] = msgspec.json.decode(body)
        self.worst_turn = max(self.worst_turn, condition["loop"]["lag"])
        return condition

    def _refusals(self) -> int:
        condition = self._condition()
        return 0 if condition is None else int(condition["counters"]["refusals"])

    def _look(self) -> None:
        (pid,) = self._target.processes.values()
        asked = time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            self.memory = max(self.memory, memory(pid).proportional)
            self.newcomers += 1
            self.let_in += self._get(POLLING, "127.0.0.9")[0] == 200
            if time.monotonic() >= asked + 1.0:
                asked = time.monotonic()
                self._condition()

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
@out_option
def siege(names: tuple[str, ...], users: int, rate: float, seconds: float, out: Path) -> None:
    """What each attack does to the loop, to others, and to memory."""
    settings = dict(click.get_current_context().params)
    rows = []
    with workplace(out, "siege") as directory:
        report = Report("siege", directory, settings)
        for number, name in enumerate(names or ATTACKS):
            figures = _besiege(name, report, directory / str(number), users, rate, seconds)
            report.figures[name] = figures
            rows.append(_row(name, figures))
    report.table(
        [
            "", "worst turn ms, quiet", "attacked", "others p50 ms, quiet", "attacked", "p99 ms, quiet", "attacked",
            "MiB more", "refusals", "newcomers let in", "faults", "held",
        ],
        rows,
    )  # fmt: skip
    bars = {name: {"worst turn, ms": figures["attacked"]["worst_turn_ms"]} for name, figures in report.figures.items()}
    report.finish(out, bar_plot(f"{users} users beside one attacker: the worst turn", report.foot, bars, "ms"))


def _besiege(name: str, report: Report, directory: Path, users: int, rate: float, seconds: float) -> dict[str, Any]:
    pace = Pace(event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=0, producers=8)
    with on_core(0):
        serving = djactors_server(directory, settings=DEFAULTS)
        target = serving.__enter__()
    try:
        with on_core(1), load_on(target) as load:
            load.ask(Know(users), Done)
            report.check("connecting", load.ask(Connect(1, users, min(users, 16)), Connected).failures)
            load.ask(pace, Phase)  # warms up; the turns of the start are forgotten meanwhile
            time.sleep(max(0.0, 2.0 - seconds))
            with Watch(target) as peace:
                quiet = load.ask(pace, Phase)
            report.check(f"before {name}", quiet.faults)
            with attacking(name, target, seconds + 2 * LEAD_SECONDS) as attacker:
                time.sleep(LEAD_SECONDS)
                with Watch(target) as war:
                    attacked = load.ask(pace, Phase)
                assert attacker.stdout is not None
                counted = attacker.stdout.readline()
                if not counted:
                    raise click.ClickException(f"{name}: the attacker died; its complaint is above")
    finally:
        serving.__exit__(None, None, None)
    return {
        "quiet": _noticed(quiet, peace),
        "attacked": _noticed(attacked, war),
        "memory_mib": war.memory - peace.memory,
        "attacker": msgspec.json.decode(counted),
    }


def _noticed(phase: Phase, watch: Watch) -> dict[str, Any]:
    delivered = Distribution(phase.delivered)
    return {
        "worst_turn_ms": watch.worst_turn * 1000,
        "p50_ms": delivered.milliseconds(50),
        "p99_ms": delivered.milliseconds(99),
        "delivered": len(phase.delivered),
        "posted": phase.posted,
        "faults": phase.faults,
        "refusals": watch.refusals,
        "newcomers": watch.newcomers,
        "let_in": watch.let_in,
        "unanswered": watch.unanswered,
    }


def _row(name: str, figures: dict[str, Any]) -> list[object]:
    quiet, attacked = figures["quiet"], figures["attacked"]
    bound = max(MOST_TURN_MS, 3 * quiet["p99_ms"])
    held = (
        attacked["worst_turn_ms"] <= MOST_TURN_MS
        and attacked["p99_ms"] <= bound
        and not attacked["faults"]
        and attacked["let_in"] == attacked["newcomers"]
    )
    return [
        name,
        quiet["worst_turn_ms"],
        attacked["worst_turn_ms"],
        quiet["p50_ms"],
        attacked["p50_ms"],
        quiet["p99_ms"],
        attacked["p99_ms"],
        figures["memory_mib"],
        attacked["refusals"],
        f"{attacked['let_in']} of {attacked['newcomers']}",
        sum(attacked["faults"].values()),
        "yes" if held else "no",
    ]
