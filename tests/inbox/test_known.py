"""What the writer remembers is what the database holds, whatever was undone in between."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio

from djactors.domain.commands import MarkAllRead, Publish, Published, Recorded
from djactors.domain.events import JobCreated, NotificationRequested, UserUpserted
from djactors.domain.limits import Limits
from djactors.inbox import known
from djactors.inbox.inbox import Inbox
from djactors.inbox.pages import Snapshot
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.errors import StoreUnavailable
from djactors.store.sqlite.connection import SqliteConnection
from djactors.store.threads import InlineRunner
from tests.copies import copy_of, put_back_online
from tests.inbox.desk import MORNING, Desk
from tests.offsets import offset_in


def note(user_id: int = 11, title: str = "Hello") -> Publish:
    event = NotificationRequested(
        tenant_id=1, user_id=user_id, notification_type="note", priority="LOW", title=title, message="x" * 4000
    )
    return Publish(event)


def failing(connection: sqlite3.Connection) -> None:
    raise LookupError("not mine")


async def both(database: Database, store: Inbox, *commands: Any) -> Recorded:
    """Record commands in one commit with a piece of work that fails: all of it is undone and done again."""
    results: list[Recorded] = []

    async def fail() -> None:
        with pytest.raises(LookupError):
            await database.write(failing)

    async def record() -> None:
        results.append(await store.record(commands))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(record)
        nursery.start_soon(fail)
    return results[0]


async def test_what_another_callers_error_undid_is_not_remembered(place: Place):
    async with await Database.open(place, threads=InlineRunner) as database:
        store = Inbox(database, lambda: MORNING, Limits(daily_limit=4))
        await store.record([note()])
        recorded = await both(database, store, note(), note())
        outcomes = [outcome for outcome in recorded.outcomes if isinstance(outcome, Published)]
        ids = [outcome.event_id for outcome in outcomes]
        assert ids == [2, 3] or (isinstance(place, str) and 1 < ids[0] < ids[1])
        assert await store.snapshot(1, 11) == Snapshot(3, offset_in(place, 3), unseen=3)
        recorded = await both(database, store, note(), note())
        # One more than the limit: it was counted once for each of them, and not again for what was undone.
        assert [o.suppressed for o in recorded.outcomes if isinstance(o, Published)] == [0, 1]


async def test_what_a_full_disk_undid_is_not_remembered(path: Path):
    async with await Database.open(path, threads=InlineRunner) as database:
        store = Inbox(database, lambda: MORNING)
        await store.record([note()])
        size = await database.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
        await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {size}").fetchone())
        with pytest.raises(StoreUnavailable):
            await store.record([note(12) for _ in range(50)])
        await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
        recorded = await store.record([note(12), note(11)])
        assert [outcome.event_id for outcome in recorded.outcomes if isinstance(outcome, Published)] == [2, 3]
        assert await store.snapshot(1, 11) == Snapshot(2, offset_in(path, 3), unseen=2)
        assert await store.snapshot(1, 12) == Snapshot(1, offset_in(path, 3), unseen=1)


@pytest.mark.parametrize("seed", range(3))
def test_a_recorder_that_remembers_writes_what_one_that_asks_writes(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
):
    """Random commands, some of which poison their batch; one recorder may remember next to nothing."""
    monkeypatch.setattr(known, "MAX_ROWS", 0 if seed == 0 else 3)
    other = tmp_path / "other.db"
    other.write_bytes(path.read_bytes())
    dice = random.Random(seed)
    with (
        sqlite3.connect(path, isolation_level=None, factory=SqliteConnection) as one,
        sqlite3.connect(other, isolation_level=None, factory=SqliteConnection) as two,
    ):
        remembering, asking = Desk(one), Desk(two)
        for _ in range(120):
            batch = [
                dice.choice(
                    [
                        note(dice.randrange(10, 20)),
                        Publish(UserUpserted(tenant_id=1, user_id=dice.randrange(10, 20), name="Ann", role="user")),
                        Publish(JobCreated(tenant_id=2, title="x", requester_id=dice.randrange(20, 25))),
                        MarkAllRead(1, dice.randrange(10, 20)),
                        # SQLite has no such integer: it fails when it is bound, after others were staged.
                        MarkAllRead(1, 2**63) if dice.random() < 0.1 else note(10),
                    ]
                )
                for _ in range(dice.randrange(1, 6))
            ]
            remembering.record(*batch)
            asking.recorder.forget()
            asking.record(*batch)
        assert remembering.dump() == asking.dump()
    one.close()
    two.close()


async def test_what_somebody_else_put_in_its_place_is_not_remembered(path: Path, tmp_path: Path):
    async with await Database.open(path, threads=InlineRunner) as database:
        store = Inbox(database, lambda: MORNING, Limits(daily_limit=4))
        await store.record([note()])
        copy = copy_of(path, tmp_path / "copy.db")
        assert (await store.record([note(), note(), note()])).others_wrote is False
        put_back_online(copy, path)
        recorded = await store.record([note(), note()])
        assert recorded.others_wrote is True
        assert [each.event_id for each in recorded.outcomes if isinstance(each, Published)] == [2, 3]
        assert [each.suppressed for each in recorded.outcomes if isinstance(each, Published)] == [0, 0]
        assert await store.snapshot(1, 11) == Snapshot(3, offset_in(path, 3), unseen=3)
        assert (await store.record([note()])).others_wrote is False


async def test_that_somebody_else_wrote_is_said_though_the_batch_was_taken_apart(path: Path, tmp_path: Path):
    async with await Database.open(path, threads=InlineRunner) as database:
        store = Inbox(database, lambda: MORNING)
        await store.record([note()])
        copy = copy_of(path, tmp_path / "copy.db")
        for poisoned in ([MarkAllRead(1, 2**63), note()], [note(), MarkAllRead(1, 2**63)], [MarkAllRead(1, 2**63)]):
            put_back_online(copy, path)
            assert (await store.record(poisoned)).others_wrote is True
            assert (await store.record([note()])).others_wrote is False
        put_back_online(copy, path)
        assert (await both(database, store)).others_wrote is True
        # Another piece of work is the first to find it out.
        put_back_online(copy, path)
        await database.write(lambda connection: connection.execute("SELECT 1").fetchone())
        assert (await store.record([note()])).others_wrote is True
