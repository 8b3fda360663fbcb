"""The whole file is written anew, so that nothing is left in it of what was deleted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from djactors.store.connection import Connection
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.errors import StoreUnavailable
from djactors.store.threads import ThreadFactory
from tests.store.test_others_wrote import Watcher, elsewhere
from tests.store.writes import putting, stored

SECRET = "what-nobody-may-find"


def forget(connection: Connection) -> None:
    connection.execute("DELETE FROM counters WHERE name LIKE ?", (f"{SECRET}%",))


def found(path: Path) -> list[str]:
    return [each.name for each in sorted(path.parent.glob(f"{path.name}*")) if SECRET.encode() in each.read_bytes()]


@pytest.fixture
def _used(path: Path) -> None:
    """A file in which old bytes are left: some builds of SQLite overwrite what they delete."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        for number in range(500):
            connection.execute("INSERT INTO counters (name, value) VALUES (?, 1)", (f"{SECRET}-{number}" * 5,))
        connection.commit()
        connection.execute("DELETE FROM counters WHERE name LIKE ?", (f"{SECRET}-_1%",))
        connection.commit()


@pytest.mark.usefixtures("_used")
async def test_nothing_is_left_in_the_file_and_its_log_and_nobody_else_is_suspected(
    path: Path, threads: ThreadFactory
) -> None:
    async with await Database.open(path, threads=threads) as database:
        watcher = Watcher(database)
        await database.write(watcher.noting("one"))
        await database.write(forget)
        assert found(path)
        assert await database.overwrite() is True
        assert found(path) == []
        assert Path(f"{path}-wal").stat().st_size == 0
        await database.write(watcher.noting("two"))
        assert watcher.seen == ["one", "two"]
        elsewhere(path, "three")
        await database.overwrite()
        await database.write(watcher.noting("four"))
        assert watcher.seen == ["one", "two", "others wrote", "four"]
        assert await database.read(stored) == {"one", "two", "three", "four"}


@pytest.mark.usefixtures("_used")
async def test_who_reads_from_the_log_for_long_keeps_it_from_being_emptied(path: Path, threads: ThreadFactory) -> None:
    async with await Database.open(path, threads=threads, busy_timeout=0.01) as database:
        await database.write(putting("one"))
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM counters").fetchone()
            await database.write(forget)
            assert await database.overwrite() is False
            await database.write(putting("two"))
        assert await database.overwrite() is True
        assert found(path) == []


async def test_what_fails_is_told_and_the_store_goes_on(path: Path, threads: ThreadFactory) -> None:
    async with await Database.open(path, threads=threads, busy_timeout=0.01) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):
                await database.overwrite()
        await database.write(putting("one"))
        assert await database.read(stored) == {"one"}


async def test_a_server_of_its_own_keeps_old_rows(place: Place) -> None:
    async with await Database.open(place) as database:
        assert await database.overwrite() is not isinstance(place, str)
