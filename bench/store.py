"""The store against a bare ``executemany`` of the same rows into the same tables with the same pragmas.

The store is the real one: `Inbox.record` on a `Database` with its writer thread, batches of domain events, an fsync a
commit. While it works, a connection that takes notes keeps every statement that writes; the other side then runs
exactly these on an own database, a batch a transaction, with nothing decided, read, or encoded. Both sides take turns,
batch set by batch set, so that a slow moment of the machine meets both.
"""

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from bench.load import events
from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from djactors.domain.commands import Publish
from djactors.domain.events import decode_event
from djactors.domain.limits import Limits
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.inbox.recorder import Recorder
from djactors.store.database import Database
from djactors.store.sqlite.connection import SqliteConnection

_VALUES = re.compile(r"VALUES (\([?, ]+\))(?:, \1)*")
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
PRAGMAS = ("synchronous", "foreign_keys", "journal_size_limit", "wal_autocheckpoint", "cache_size", "temp_store")
"""Read from the store's own connection and set on the bare one."""

RUN_SECONDS = 600
Tape = list[list[tuple[str, list[Any]]]]
"""For each batch, the statements that write, with their rows."""


class _NoteTaking(SqliteConnection):
    """Keeps what is written through it."""

    notes: list[tuple[str, list[Any]]]

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql.lstrip().upper().startswith(WRITES):
            self.notes.append(_row_by_row(sql, parameters))
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        rows = list(parameters)
        if rows:
            self.notes.append((sql, rows))
        return super().executemany(sql, rows)


def _row_by_row(sql: str, parameters: Sequence[Any]) -> tuple[str, list[Any]]:
    """A statement that writes as `executemany` takes it: an INSERT of one row, and the rows."""
    many = _VALUES.search(sql)
    if many is None:
        return sql, [parameters]
    width = many[1].count("?")
    rows = [parameters[start : start + width] for start in range(0, len(parameters), width)]
    return sql[: many.end(1)] + sql[many.end() :], rows


class Side(msgspec.Struct):
    """What one side took."""

    events: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


class Outcome(msgspec.Struct):
    """What the measuring process answers."""

    store: Side
    bare: Side
    rows: dict[str, int]


@click.command()
@click.option("--batch", type=click.IntRange(1, 1000), default=100, help="Events in a commit.")
@click.option("--batches", type=click.IntRange(1), default=50, help="Of each side in a turn.")
@click.option("--turns", type=click.IntRange(1), default=10)
@click.option("--users", type=click.IntRange(1), default=100, help="To whom the events go, in turn.")
@out_option
def store(batch: int, batches: int, turns: int, users: int, out: Path) -> None:
    """Events a second that the store records, against a bare executemany of the same rows."""
    settings = dict(click.get_current_context().params)
    with workplace(out, "store") as directory:
        report = Report("store", directory, settings)
        # A process of its own: what the command line has loaded and holds is not the store's.
        plan = msgspec.json.encode([str(directory), batch, batches, turns, users])
        done = subprocess.run(
            [sys.executable, "-m", "bench.store"], input=plan, stdout=subprocess.PIPE, timeout=RUN_SECONDS, check=False
        )
        if done.returncode:
            raise click.ClickException("the measuring process failed; its complaint is above")
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    sides = {"store": outcome.store, "bare executemany": outcome.bare}
    rates = {name: side.events / side.seconds for name, side in sides.items()}
    ratio = rates["store"] / rates["bare executemany"]
    report.table(
        ["", "events/s", "µs/event", "CPU µs/event"],
        [
            [name, rates[name], side.seconds * 1e6 / side.events, side.cpu * 1e6 / side.events]
            for name, side in sides.items()
        ],
    )
    click.echo(f"ratio {ratio:.2f}; rows an event: ", nl=False)
    click.echo(", ".join(f"{name} {rows / outcome.bare.events:.2g}" for name, rows in outcome.rows.items()) + "\n")
    report.figures = {"ratio": ratio, **{name: msgspec.to_builtins(side) for name, side in sides.items()}}
    report.figures["rows"] = outcome.rows
    bars = {name: {"events a second": rate} for name, rate in rates.items()}
    report.finish(out, bar_plot(f"Store and bare executemany, batches of {batch}", report.foot, bars, "/s"))


class Clock:
    """Wall and CPU time of this process."""

    def __enter__(self) -> "Clock":
        self.wall, self.used = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.used = time.perf_counter() - self.wall, time.process_time() - self.used

    def add_to(self, side: Side, events: int) -> None:
        """Count what passed for so many events."""
        side.events += events
        side.seconds += self.wall
        side.cpu += self.used


async def measure(directory: Path, batch: int, batches: int, turns: int, users: int) -> Outcome:
    """Both sides in turns."""
    commands = [_batch(batch, users, number) for number in range(batches)]
    limits = Limits(daily_limit=10**9)
    for name in ("store.db", "tape.db", "bare.db"):
        schema.apply(directory / name)
    tape = sqlite3.connect(directory / "tape.db", isolation_level=None, factory=_NoteTaking)
    recorder = Recorder(partial(datetime.now, UTC), limits)
    outcome = Outcome(Side(), Side(), {})
    async with await Database.open(directory / "store.db") as database:
        pragmas = {name: await database.write(partial(_pragma, name=name)) for name in PRAGMAS}
        bare = sqlite3.connect(
            directory / "bare.db", isolation_level=None, cached_statements=512, factory=SqliteConnection
        )
        for name, value in pragmas.items():
            bare.execute(f"PRAGMA {name} = {value}")
        inbox = Inbox(database, limits=limits)
        for turn in range(-1, turns):  # the first warms up
            written: Tape = [_note(tape, recorder, each) for each in commands]
            with Clock() as clock:
                for each in commands:
                    recorded = await inbox.record(each)
                    for result in recorded.outcomes:
                        if isinstance(result, Exception):
                            raise result
            if turn >= 0:
                clock.add_to(outcome.store, batch * batches)
            with Clock() as clock:
                for statements in written:
                    bare.execute("BEGIN IMMEDIATE")
                    for sql, rows in statements:
                        bare.executemany(sql, rows)
                    bare.execute("COMMIT")
            if turn >= 0:
                clock.add_to(outcome.bare, batch * batches)
                for statements in written:
                    for sql, rows in statements:
                        what = _table(sql)
                        outcome.rows[what] = outcome.rows.get(what, 0) + len(rows)
    _require_same(directory / "store.db", directory / "bare.db")
    return outcome


def _batch(size: int, users: int, number: int) -> list[Publish]:
    first = number * size
    return [
        Publish(
            decode_event(events.body("notification.requested", first + place, 1 + (first + place) % users)),
            decoded=True,
        )
        for place in range(size)
    ]


def _note(tape: SqliteConnection, recorder: Recorder, commands: list[Publish]) -> list[tuple[str, list[Any]]]:
    assert isinstance(tape, _NoteTaking)
    tape.notes = []
    tape.execute("BEGIN IMMEDIATE")
    recorder.record(tape, commands)
    tape.execute("COMMIT")
    return tape.notes


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _table(sql: str) -> str:
    words = sql.split()
    return f"{words[0].lower()} {words[2] if words[0].upper() == 'INSERT' else words[1]}"


def _require_same(ours: Path, bare: Path) -> None:
    """Both sides must have done the same; else the ratio compares nothing."""
    for table in ("notifications", "changes", "domain_events", "users"):
        counts = []
        for path in (ours, bare):
            with sqlite3.connect(path) as connection:
                counts.append(connection.execute(f"SELECT count(*) FROM {table}").fetchone())
        if counts[0] != counts[1] or not counts[0][0]:
            raise RuntimeError(f"{table}: the store wrote {counts[0]} rows, the bare loop {counts[1]}")


def main() -> None:
    """The measuring process: a plan on stdin, the outcome on stdout."""
    directory, *sizes = msgspec.json.decode(sys.stdin.buffer.read())
    outcome = trio.run(partial(measure, Path(directory), *sizes))
    os.write(sys.stdout.fileno(), msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
