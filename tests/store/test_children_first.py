"""Work that removes children first: SQLite looks for nothing that points at what is removed, and then it does again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from djactors.store.connection import ChildrenFirst, Connection
from djactors.store.database import Database
from djactors.store.threads import ThreadFactory

MANY = 20_000
DELETE = "DELETE FROM above WHERE id = 2"


def make(connection: Connection) -> None:
    connection.execute("CREATE TABLE above (id INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE below (id INTEGER PRIMARY KEY, above_id INTEGER REFERENCES above (id))")
    connection.executemany("INSERT INTO above (id) VALUES (?)", [(1,), (2,)])
    connection.executemany("INSERT INTO below (above_id) VALUES (?)", [(1,)] * MANY)


def counting(work: Callable[[Connection], None], instructions: list[int]) -> Callable[[Connection], None]:
    """The same, noting how many instructions of SQLite it takes."""

    def counted(connection: Connection) -> None:
        assert isinstance(connection, sqlite3.Connection)

        def one_more() -> int:
            instructions[-1] += 1
            return 0

        instructions.append(0)
        connection.set_progress_handler(one_more, 1)
        try:
            work(connection)
        finally:
            connection.set_progress_handler(None, 0)

    return counted


def remove(connection: Connection) -> None:
    connection.execute(DELETE)
    connection.execute("INSERT INTO above (id) VALUES (2)")


def orphan(connection: Connection) -> None:
    connection.execute("INSERT INTO below (above_id) VALUES (3)")


async def test_nothing_is_looked_for(path: Path, threads: ThreadFactory) -> None:
    instructions: list[int] = []
    async with await Database.open(path, threads=threads) as database:
        await database.write(make)
        await database.write(counting(remove, instructions))
        await database.write(ChildrenFirst(counting(remove, instructions)))
    plain, children_first = instructions
    assert plain > MANY
    assert children_first < 100


async def test_the_next_work_is_checked_again_whatever_became_of_this_one(path: Path, threads: ThreadFactory) -> None:
    def bad(connection: Connection) -> None:
        orphan(connection)
        raise ZeroDivisionError

    def ending(connection: Connection) -> None:
        connection.execute("COMMIT")

    async with await Database.open(path, threads=threads) as database:
        await database.write(make)
        for work, error in ((remove, None), (bad, ZeroDivisionError), (ending, Exception)):
            if error is None:
                await database.write(ChildrenFirst(work))
            else:
                with pytest.raises(error):
                    await database.write(ChildrenFirst(work))
            with pytest.raises(sqlite3.IntegrityError):
                await database.write(orphan)
