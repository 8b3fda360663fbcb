"""What others notice of a backup: how long from a post to its answer and to the user, in quiet and beside `djactors
backup` of the file that is being served.

The file is made with bulk SQL before the server starts, as in `scale`, and then given true marks, because a backup
checks them. Quiet and copying take turns in one run, open loop at a set rate, so that what a stall delays counts.
In a turn beside a backup, one copy follows the other. Nothing has a core of its own, as on the machine of an operator.
"""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.distribution import Distribution
from bench.driver import load_on
from bench.load.commands import Connect, Connected, Done, Know, Pace, Phase
from bench.load.crowd import TENANT
from bench.plot import bar_plot
from bench.process import stop
from bench.report import Report, out_option, workplace
from bench.scale import OWNERS, fill
from bench.server import djactors_server
from djactors.domain.marks import BEGINNING, Offset, mark_of
from djactors.inbox.log import body_of
from djactors.inbox.proving import CHANGES_AT_A_TIME, SELECT_LOG
from djactors.inbox.unit import NAMES
from djactors.store.sqlite.connection import SqliteConnection

MOST_RATIO = 2.0
"""What the others' p99 may be beside a backup, as a multiple of its quiet value."""

ROW_BYTES = 400
"""Bytes of the file for each notification that `fill` makes, with its change, its event and their indexes."""

LEAD_SECONDS = 0.5
"""From the start of the command until others are measured beside it: it has an interpreter to start first."""

LOOK_SECONDS = 0.1

PRODUCERS = 32
"""Connections to post by: so many that none waits for the answer to another, or the queue would be the bench's own."""

WHENCE = {"→ 201": "acknowledged", "→ client": "delivered"}
"""What is measured, by its name in `Phase`."""


def mark(database: Path) -> None:
    """Give each change that `fill` made the mark that follows from it."""
    with closing(sqlite3.connect(database, isolation_level=None, factory=SqliteConnection)) as connection:
        # Nothing is lost that could not be made again.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("BEGIN")
        last = BEGINNING
        while rows := connection.execute(SELECT_LOG, (TENANT, last.seq, CHANGES_AT_A_TIME)).fetchall():
            marks = []
            for seq, _, user_id, kind, _, *notification in rows:
                body = body_of(tuple(notification))
                last = Offset(mark_of(last.mark, seq, NAMES[kind], user_id, body), seq)
                marks.append((last.mark, last.seq))
            connection.executemany(f"UPDATE changes SET mark = ? WHERE tenant_id = {TENANT} AND seq = ?", marks)
            connection.executemany("UPDATE notifications SET mark = ? WHERE id = ?", marks)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")


class Copying:
    """Copies a database again and again, in processes of their own, until it is told to end."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.seconds: list[float] = []
        self.complaints: list[str] = []

    def start(self) -> None:
        """Begin with the first copy."""
        self._thread.start()

    def end(self) -> None:
        """Have the copy that is being made end, and come back when it has."""
        self._over.set()
        while self._thread.is_alive():
            # The thread may just have begun with another one.
            process = self._process
            if process is not None and process.poll() is None:
                stop(process)
            self._thread.join(LOOK_SECONDS)

    def _copy(self) -> None:
        copy = self._database.with_suffix(".copy")
        while not self._over.is_set() and not self.complaints:
            began = time.monotonic()
            with subprocess.Popen(
                [sys.executable, "-P", "-m", "djactors.cli", "backup", str(copy), "--database", str(self._database)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            ) as self._process:
                _, complaint = self._process.communicate()
            if self._process.returncode == 0:
                self.seconds.append(time.monotonic() - began)
            elif not self._over.is_set():
                self.complaints.append(complaint.decode(errors="replace").strip().rpartition("\n")[2])
            copy.unlink(missing_ok=True)


@contextmanager
def copying(database: Path) -> Iterator[Copying]:
    """A backup that runs for the length of the block."""
    copies = Copying(database)
    copies.start()
    try:
        yield copies
    finally:
        copies.end()


@click.command()
@click.option("--mib", type=click.FloatRange(1.0), default=500.0, help="About the size of the file.")
@click.option("--users", type=click.IntRange(1, OWNERS), default=50, help="Connected users, all in one tenant.")
@click.option("--rate", type=click.FloatRange(0.1), default=200.0, help="Events a second, posted one by one.")
@click.option("--seconds", type=click.FloatRange(0.1), default=40.0, help="Of a turn: a whole copy, with its check.")
@click.option("--turns", type=click.IntRange(1), default=3, help="In quiet, and as many beside a backup.")
@out_option
def backup(mib: float, users: int, rate: float, seconds: float, turns: int, out: Path) -> None:
    """What others notice of `djactors backup` of a large file: p50 and p99, quiet and meanwhile."""
    settings = dict(click.get_current_context().params)
    phases: dict[str, list[Phase]] = {"quiet": [], "backup": []}
    copied: list[float] = []
    with workplace(out, "backup") as directory:
        report = Report("backup", directory, settings)
        database = directory / "full.db"
        fill(database, round(mib * 2**20 / ROW_BYTES))
        mark(database)
        size = database.stat().st_size / 2**20
        click.echo(f"{size:.0f} MiB, {users} users, {rate:g} events/s, {turns} turns of {seconds:g} s each\n")
        pace = Pace(event="notification.requested", rate=rate, seconds=seconds, warmup_seconds=0, producers=PRODUCERS)
        with djactors_server(directory, database=database) as target, load_on(target) as load:
            load.ask(Know(users), Done)
            report.check("connecting", load.ask(Connect(1, users, min(users, 16)), Connected).failures)
            load.ask(pace, Phase)  # warms up
            for _ in range(turns):
                phases["quiet"].append(load.ask(pace, Phase))
                with copying(database) as copies:
                    time.sleep(LEAD_SECONDS)
                    phases["backup"].append(load.ask(pace, Phase))
                report.check("backup", dict.fromkeys(copies.complaints, 1))
                copied += copies.seconds
    figures = {label: _noticed(label, each, report) for label, each in phases.items()}
    ratios = {what: figures["backup"][what]["p99_ms"] / figures["quiet"][what]["p99_ms"] for what in WHENCE}
    held = {what: ratio <= MOST_RATIO for what, ratio in ratios.items()}
    report.figures = {**figures, "p99_ratios": ratios, "held": held, "mib": size, "whole_copies": len(copied)}
    report.table(
        ["ms", "p50, quiet", "backup", "p99, quiet", "backup", "ratio", "turns", "held"],
        [
            [
                f"post {what}",
                *(figures[label][what][key] for key in ("p50_ms", "p99_ms") for label in phases),
                ratios[what],
                " … ".join(f"{each(figures['backup'][what]['turns_p99_ms']):.1f}" for each in (min, max)),
                "yes" if held[what] else "no",
            ]
            for what in WHENCE
        ],
    )
    took = f"{len(copied)} whole copies, each {median(copied):.1f} s" if copied else "no copy was done within a turn"
    click.echo(f"{took}. Load average of the machine: {' '.join(f'{load:.1f}' for load in os.getloadavg())}\n")
    bars = {f"p99 of post {what}": {label: figures[label][what]["p99_ms"] for label in phases} for what in WHENCE}
    report.finish(out, bar_plot(f"Beside a backup of {size:.0f} MiB", report.foot, bars, "ms"))


def _noticed(label: str, phases: list[Phase], report: Report) -> dict[str, Any]:
    """The figures of all turns of a kind: percentiles of all that was posted in them, and the p99 of each turn."""
    found: dict[str, Any] = {}
    for what, name in WHENCE.items():
        turns = [Distribution(getattr(phase, name)) for phase in phases]
        whole = Distribution(each for phase in phases for each in getattr(phase, name))
        found[what] = {
            "p50_ms": whole.milliseconds(50),
            "p99_ms": whole.milliseconds(99),
            "turns_p99_ms": [turn.milliseconds(99) for turn in turns],
            **whole.summary(),
        }
    return found | {"turns": [report.phase(label, phase) for phase in phases]}
