"""A store whose reads may be older than what was told: a yes stands, a no is asked of the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

import trio

from djactors.domain.commands import Publish
from djactors.domain.events import NotificationRequested
from djactors.domain.marks import BEGINNING
from djactors.inbox.inbox import Inbox
from djactors.inbox.log import Astray, Replay, as_it_is
from djactors.store.database import Database
from djactors.store.threads import NOBODY, InlineRunner, Work
from djactors.store.turns import Turn
from tests.copies import copy_of
from tests.inbox.desk import MORNING
from tests.offsets import invented, offset_in

T = TypeVar("T")


class Lagging(Database):
    """A database that is written to here and read from a copy elsewhere, which is brought up to date now and then."""

    standby: Path
    asked_the_writer = 0

    async def read(self, work: Work[T], turn: Turn = NOBODY) -> T:
        await trio.lowlevel.checkpoint()
        with closing(sqlite3.connect(self.standby)) as connection:
            return work(connection)

    async def write(self, work: Work[T]) -> T:
        self.asked_the_writer += 1
        return await super().write(work)

    def catch_up(self) -> None:
        self.standby.unlink(missing_ok=True)
        copy_of(Path(self.engine.name), self.standby)


def note() -> Publish:
    event = NotificationRequested(tenant_id=1, user_id=11, notification_type="note", priority="LOW", title="Hello")
    return Publish(event)


@asynccontextmanager
async def lagging(path: Path, tmp_path: Path) -> AsyncIterator[tuple[Lagging, Inbox]]:
    """Three changes, of which the reader knows the first."""
    async with await Lagging.open(path, threads=InlineRunner) as database:
        database.reads_may_lag = True
        database.standby = tmp_path / "standby.db"
        inbox = Inbox(database, lambda: MORNING)
        await inbox.record([note()])
        database.catch_up()
        await inbox.record([note(), note()])
        database.asked_the_writer = 0
        yield database, inbox


async def test_what_the_reader_knows_is_read_there(path: Path, tmp_path: Path):
    async with lagging(path, tmp_path) as (database, inbox):
        first = offset_in(path, 1)
        for told in (None, BEGINNING, first):
            assert (await inbox.snapshot(1, 11, told)).at == first
            assert (await inbox.page(1, 11, limit=5, told=told)).at == first
            found = await inbox.replay(1, 11, BEGINNING, told=told, limit=5, make=as_it_is)
            assert isinstance(found, Replay)
            assert found.last == first
        assert database.asked_the_writer == 0


async def test_what_it_does_not_know_is_asked_of_the_writer_and_answered_from_one_snapshot(path: Path, tmp_path: Path):
    async with lagging(path, tmp_path) as (database, inbox):
        second, third = offset_in(path, 2), offset_in(path, 3)
        state = await inbox.snapshot(1, 11, second)
        assert (state.at, state.unread, state.follows) == (third, 3, True)
        page = await inbox.page(1, 11, limit=5, told=third)
        assert (page.at, len(page.items), page.follows) == (third, 3, True)
        jobs = await inbox.jobs(1, 11, assignee_id=None, status=None, before=None, limit=5, told=third)
        assert (jobs.at, jobs.follows) == (third, True)
        for since, until in ((second, None), (second, third), (BEGINNING, third)):
            found = await inbox.replay(1, 11, since, until=until, limit=5, make=as_it_is)
            assert isinstance(found, Replay)
            assert found.position == third
            assert len(found.changes) == 3 - since.seq
        assert database.asked_the_writer == 6


async def test_what_is_lost_is_lost_by_the_writers_word(path: Path, tmp_path: Path):
    async with lagging(path, tmp_path) as (database, inbox):
        assert (await inbox.snapshot(1, 11, invented(2))).follows is False
        assert await inbox.replay(1, 11, invented(2), limit=5, make=as_it_is) is Astray.SINCE
        assert await inbox.replay(1, 11, BEGINNING, until=invented(2), limit=5, make=as_it_is) is Astray.TOLD
        assert database.asked_the_writer == 3


async def test_a_store_whose_reads_do_not_lag_is_asked_once(path: Path):
    async with await Database.open(path, threads=InlineRunner) as database:
        inbox = Inbox(database, lambda: MORNING)
        await inbox.record([note()])
        commits = database.statistics().commits
        assert await inbox.replay(1, 11, invented(1), limit=5, make=as_it_is) is Astray.SINCE
        assert database.statistics().commits == commits
