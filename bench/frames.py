"""Pages that one event costs: frames of the write-ahead log, counted where SQLite itself keeps their number.

The store is the real one, with its writer thread and a commit for each event, as at the pace of an office. The inbox is
large enough that the rows and the index entries of a user lie on pages of their own: 10,000 users, 200,000
notifications. Nothing here depends on the speed of the machine, so a test holds the figures to their targets.

Source: SQLite's "WAL-mode File Format", section 2.1, the header of the wal-index.
"""

import random
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
import trio

from bench.plot import bar_plot
from bench.report import Report, out_option, workplace
from djactors.domain.commands import Command, Publish
from djactors.domain.events import NotificationRequested
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.store.database import Database

TENANT = 1
FILL_BATCH = 1000
"""Events in a commit while the inbox is filled."""

DAY_BEGINS = datetime(2026, 1, 27, 0, 0, tzinfo=UTC)
FILL_DAYS = 20
"""Over which the stored notifications came: of a working month."""

SEED = 20260127

_HEADER = struct.Struct("=16xI12xI")
"""mxFrame and the first salt, which changes when the log is begun anew."""


class Frames:
    """Counts the frames of a log from one look to the next.

    A log that was moved into the database is written again from its beginning, so a look is due after every commit.
    """

    def __init__(self, database: Path) -> None:
        self._index = database.with_name(database.name + "-shm")
        self._last = self._look()

    def written(self) -> int:
        """How many frames were written since the last look."""
        (before, salt), self._last = self._last, self._look()
        frames, new_salt = self._last
        return frames - before if new_salt == salt else frames

    def _look(self) -> tuple[int, int]:
        with self._index.open("rb") as file:
            frames, salt = _HEADER.unpack(file.read(_HEADER.size))
        return frames, salt


class Found(msgspec.Struct, frozen=True):
    """Frames an event, by what kind of event it was, and bytes of the file for each stored notification."""

    frames: dict[str, float]
    bytes_a_notification: float


async def measure(folder: Path, *, users: int, stored: int, events: int) -> Found:
    """Fill an inbox in `folder`, then write `events` of each kind one by one.

    Args:
        folder: where the database goes.
        users: among whom everything is shared out at random.
        stored: notifications before the count begins.
        events: of each kind that is counted.
    """
    dice = random.Random(SEED)
    path = folder / "frames.db"
    now = DAY_BEGINS
    schema.apply(path)
    async with await Database.open(path) as database:
        store = Inbox(database, lambda: now)
        await _fill(store, [_note(user) for user in range(1, users + 1)])
        empty = await _size(database)
        days = [dice.choices(range(1, users + 1), k=stored // FILL_DAYS) for _ in range(FILL_DAYS)]
        for day in days:
            now += timedelta(days=1)
            await _fill(store, [_note(user) for user in day])
        full = await _size(database)

        async def count(commands: Iterator[Command]) -> float:
            log, total = Frames(path), 0
            for command in commands:
                (outcome,) = (await store.record([command])).outcomes
                assert not isinstance(outcome, Exception), outcome
                total += log.written()
            return total / events

        again = dice.sample(range(1, users + 1), k=events)
        # Whoever is counted here was told something today already.
        await _fill(store, [_note(user) for user in again])
        frames = {"requested": await count(_note(user) for user in again)}
        frames["with a key"] = await count(_note(user, f"order-{dice.getrandbits(64):x}") for user in again)
        now += timedelta(days=1)
        frames["first of a day"] = await count(_note(user) for user in again)
    return Found(frames, (full - empty) / stored)


def _note(user: int, key: str | None = None) -> Publish:
    event = NotificationRequested(
        tenant_id=TENANT,
        user_id=user,
        notification_type="announcement",
        priority="MEDIUM",
        title=f"Notice for user {user}",
        message="The quick brown fox jumps over the lazy dog",
        data={"jobId": user},
    )
    return Publish(event, key)


async def _fill(store: Inbox, commands: Sequence[Command]) -> None:
    for start in range(0, len(commands), FILL_BATCH):
        await store.record(commands[start : start + FILL_BATCH])


async def _size(database: Database) -> int:
    def size(connection: sqlite3.Connection) -> int:
        pages, bytes_a_page = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        return int(pages * bytes_a_page)

    return await database.read(size)


@click.command()
@click.option("--users", type=click.IntRange(1), default=10_000)
@click.option("--stored", type=click.IntRange(1), default=200_000, help="Notifications before the count begins.")
@click.option("--events", type=click.IntRange(1), default=2000, help="Of each kind, a commit each.")
@out_option
def frames(users: int, stored: int, events: int, out: Path) -> None:
    """Pages that an event writes, and bytes that a notification takes."""
    settings = dict(click.get_current_context().params)
    with workplace(out, "frames") as directory:
        report = Report("frames", directory, settings)

        async def main() -> Found:
            return await measure(directory, users=users, stored=stored, events=events)

        found = trio.run(main)
    report.table(["", "frames/event"], [[kind, count] for kind, count in found.frames.items()])
    click.echo(f"{found.bytes_a_notification:.0f} bytes a notification\n")
    report.figures = msgspec.to_builtins(found)
    report.finish(out, bar_plot("Frames an event", report.foot, {"djactors": dict(found.frames)}, ""))
