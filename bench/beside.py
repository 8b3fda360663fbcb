"""What an event at the pace of an office feels of what the server does beside it: `pace --beside`.

A chore runs over and over while events are posted at fixed times, in turns with quiet. All latencies count from when
the post was due until the notification is at the user.

- `checkpoint`: another process has SQLite move the write-ahead log. The server moves it as well, each time it has 2,000
  pages; that happens in every turn that is long enough for it, also in the quiet ones.
- `purge`: the server's own retention, of a file whose notifications are all sixty days old. It begins ten seconds after
  the start and does not stop, so this is a server of its own, which is halted while the quiet one is looked at.
- `metrics`: GET /metrics.
- `backup`: `djactors backup`.
"""

import http.client
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from bench.backup import Copying, copying, mark
from bench.distribution import Distribution
from bench.driver import Driver, load_on
from bench.load.commands import Connect, Connected, Done, Know, Pace, Phase, Target
from bench.plot import bar_plot
from bench.report import Report
from bench.scale import OWNERS, fill
from bench.server import djactors_server
from djactors.actors.retention import FIRST_ROUND

CHORES = ("checkpoint", "purge", "metrics", "backup")
SHOWN = (50.0, 99.0, 99.9)

GOAL_MS = 10.0
"""What the p99.9 of an event is to stay below."""

STORED = 200_000
"""Notifications in the file: a backup of it takes some seconds."""

TIMES_OLD = 5
"""So many times as many are old, for some minutes of purging."""

DAYS_OLD = 60
WARMUP_SECONDS = 0.5

PAUSE_SECONDS = 0.02
"""After each time that something was done over and over, so that it is not the load of a core."""

AT_ONCE = 16


class Repeated:
    """Does something again and again on a thread of its own; counts how often, and keeps what went wrong."""

    def __init__(self, chore: Callable[[], object]) -> None:
        self._chore = chore
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self.seconds: list[float] = []
        self.complaints: list[str] = []

    @contextmanager
    def running(self) -> Iterator["Repeated"]:
        """It is done over and over for the length of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()

    def _repeat(self) -> None:
        while not self._over.is_set() and not self.complaints:
            began = time.monotonic()
            try:
                self._chore()
            except (OSError, http.client.HTTPException, sqlite3.Error) as error:
                self.complaints.append(f"{type(error).__name__}: {error}")
            else:
                self.seconds.append(time.monotonic() - began)
            self._over.wait(PAUSE_SECONDS)


def move_log(database: Path) -> None:
    """Move the write-ahead log of a database that is being served, as far as nobody has to wait for that."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def ask_metrics(target: Target) -> None:
    """Fetch the metrics, as a scraper does."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=10)
    with closing(connection):
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise http.client.HTTPException(f"GET /metrics was answered {answer.status}")


@contextmanager
def _halted(process: int) -> Iterator[None]:
    """A process does nothing for the length of the block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


class Beside:
    """Servers, and turns with and without a chore.

    Args:
        stored: notifications in the file of the server that has no purging to do, and five times as many in the other.
    """

    def __init__(self, report: Report, directory: Path, *, stored: int, users: int) -> None:
        self._report = report
        self._directory = directory
        self._stored = stored
        self._users = users
        self._database = directory / "young.db"
        self._quiet: Driver

    @contextmanager
    def serving(self) -> Iterator["Beside"]:
        """The server that has no purging to do is up for the length of the block."""
        fill(self._database, self._stored)
        mark(self._database)  # a backup checks them
        with self._served(self._database) as self._quiet:
            yield self

    @contextmanager
    def at(self, chore: str) -> Iterator[Callable[[Pace], tuple[Phase, Phase]]]:
        """Have a turn in quiet and one beside the chore, as often as the function in this block is called."""
        if chore != "purge":
            yield lambda command: (self._quiet.ask(command, Phase), self._beside(chore, command))
            return
        old = self._directory / "old.db"
        fill(old, TIMES_OLD * self._stored, days_old=DAYS_OLD)
        with self._served(old) as purging:
            process = purging.target.processes["server"]
            time.sleep(FIRST_ROUND)

            def turns(command: Pace) -> tuple[Phase, Phase]:
                with _halted(process):
                    calm = self._quiet.ask(command, Phase)
                return calm, purging.ask(command, Phase)

            yield turns
            if not is_old_left(old):
                self._report.check("purge", {"all was purged before the last turn was over: store more": 1})

    def _beside(self, chore: str, command: Pace) -> Phase:
        with self._working(chore) as work:
            phase = self._quiet.ask(command, Phase)
        self._report.check(chore, dict.fromkeys(work.complaints, 1))
        if not work.seconds and chore != "backup":
            self._report.check(chore, {"it was never done within a turn": 1})
        return phase

    def _working(self, chore: str) -> AbstractContextManager[Repeated | Copying]:
        match chore:
            case "backup":
                return copying(self._database)
            case "metrics":
                return Repeated(lambda: ask_metrics(self._quiet.target)).running()
            case _:
                return Repeated(lambda: move_log(self._database)).running()

    @contextmanager
    def _served(self, database: Path) -> Iterator[Driver]:
        """A server whose connected users own none of the stored notifications, so nobody's badge changes by them."""
        with djactors_server(self._directory / database.stem, database=database) as target, load_on(target) as driver:
            driver.ask(Know(OWNERS + self._users), Done)
            connected = driver.ask(Connect(OWNERS + 1, self._users, AT_ONCE), Connected)
            self._report.check("connecting", connected.failures)
            yield driver


def measure(
    report: Report,
    directory: Path,
    chores: Sequence[str],
    commands: Sequence[Pace],
    *,
    turns: int,
    stored: int,
    users: int,
) -> str:
    """Show what an event feels of each chore at each pace. Returns the plot."""
    rows: list[list[object]] = []
    bars: dict[str, dict[str, float]] = {}
    with Beside(report, directory, stored=stored, users=users).serving() as beside:
        for chore in chores:
            with beside.at(chore) as take:
                for command in commands:
                    take(msgspec.structs.replace(command, seconds=WARMUP_SECONDS))
                    both = [take(command) for _ in range(turns)]
                    label = f"{chore}, {command.rate:g}/s"
                    calm, busy = (_noticed(report, label, phases) for phases in zip(*both, strict=True))
                    report.figures[label] = {"quiet": calm, "beside": busy}
                    pairs = [side[f"p{percentile:g}"] for percentile in SHOWN for side in (calm, busy)]
                    rows.append([label, calm["count"], *pairs, "yes" if busy["p99.9"] <= GOAL_MS else "no"])
                    bars[label] = {"quiet": calm["p99.9"], "beside": busy["p99.9"]}
    head = [f"{name}{side}" for name in ("p50", "p99", "p99.9") for side in (", quiet", ", beside")]
    report.table(["ms to the client", "events", *head, "held"], rows)
    return bar_plot("p99.9 from due to client, in quiet and beside a chore", report.foot, bars, "ms")


def _noticed(report: Report, label: str, phases: Sequence[Phase]) -> dict[str, Any]:
    """The figures of all turns of a kind together."""
    for phase in phases:
        report.phase(label, phase)
    whole = Distribution(each for phase in phases for each in phase.delivered)
    return {f"p{percentile:g}": whole.milliseconds(percentile) for percentile in SHOWN} | whole.summary()


def is_old_left(database: Path) -> bool:
    """Whether there is something left to purge of what `fill` has made."""
    with closing(sqlite3.connect(database)) as connection:
        count = "SELECT count(*) FROM (SELECT 1 FROM domain_events WHERE received_at < date('now', '-1 day') LIMIT 1)"
        return bool(connection.execute(count).fetchone()[0])
