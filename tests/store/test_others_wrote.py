"""Somebody else commits to the file while it is open: whoever remembers what was in it is told, once, in time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from djactors.store.database import Database
from djactors.store.sqlite import connections
from djactors.store.threads import ThreadFactory
from tests.copies import copy_of, put_back_online
from tests.store.writes import put, putting, stored


class Watcher:
    """Notes when it is told, among the writes that it is told around."""

    def __init__(self, database: Database) -> None:
        self.seen: list[str] = []
        database.when_others_wrote(lambda: self.seen.append("others wrote"))

    def noting(self, name: str) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            self.seen.append(name)
            put(connection, name)

        return work


def elsewhere(path: Path, name: str) -> None:
    """Another program writes."""
    with closing(sqlite3.connect(path)) as connection:
        put(connection, name)
        connection.commit()


async def test_it_is_told_before_anything_is_done_in_the_next_transaction_and_then_no_more(
    path: Path, threads: ThreadFactory
):
    async with await Database.open(path, threads=threads) as database:
        watcher = Watcher(database)
        await database.write(watcher.noting("one"))
        elsewhere(path, "two")
        await database.write(watcher.noting("three"))
        await database.write(watcher.noting("four"))
        assert watcher.seen == ["one", "others wrote", "three", "four"]
        assert await database.read(stored) == {"one", "two", "three", "four"}


async def test_also_what_was_written_before_the_first_write_here(path: Path, threads: ThreadFactory):
    async with await Database.open(path, threads=threads) as database:
        watcher = Watcher(database)
        elsewhere(path, "before")
        await database.write(watcher.noting("first"))
        assert watcher.seen == ["others wrote", "first"]


async def test_a_copy_that_is_put_back_is_somebody_elses_write(path: Path, tmp_path: Path, threads: ThreadFactory):
    async with await Database.open(path, threads=threads) as database:
        watcher = Watcher(database)
        copy = copy_of(path, tmp_path / "copy.db")
        await database.write(watcher.noting("lost"))
        put_back_online(copy, path)
        await database.write(watcher.noting("new"))
        assert watcher.seen == ["lost", "others wrote", "new"]
        assert await database.read(stored) == {"new"}


async def test_nothing_that_is_done_here_is_anothers_write(
    path: Path, threads: ThreadFactory, monkeypatch: pytest.MonkeyPatch
):
    """Not the commits, not the moves of the log, not the reads, nor the space that is given back."""
    monkeypatch.setattr(connections, "CHECKPOINT_PAGES", 4)
    async with await Database.open(path, threads=threads) as database:
        watcher = Watcher(database)
        for number in range(100):
            await database.write(putting(f"n{number}"))
            await database.read(stored)
        await database.write(lambda connection: connection.execute("DELETE FROM counters WHERE name LIKE 'n%'"))
        await database.write(lambda connection: connection.execute("PRAGMA incremental_vacuum(1)").fetchone())
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM counters").fetchall()
        await database.write(putting("last"))
        assert watcher.seen == []


async def test_it_is_told_again_where_what_it_was_told_in_was_undone(path: Path, threads: ThreadFactory):
    def fail(connection: sqlite3.Connection) -> None:
        watcher.seen.append("fails")
        raise ValueError("mine alone")

    async with await Database.open(path, threads=threads) as database:
        watcher = Watcher(database)
        elsewhere(path, "other")
        with pytest.raises(ValueError, match="mine alone"):
            await database.write(fail)
        await database.write(watcher.noting("good"))
        await database.write(watcher.noting("after"))
        assert watcher.seen == ["others wrote", "fails", "others wrote", "good", "after"]
