"""Reports of damage by SQLite are believed, but for the one that SQLite 3.40 makes of sound tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from djactors.store.sqlite.integrity import damage

TABLE = "CREATE TABLE t (a INT NOT NULL, b INT{}, c INT NOT NULL, PRIMARY KEY (a, c)) WITHOUT ROWID"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


@pytest.fixture(params=["integrity_check", "quick_check"])
def pragma(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def declare_not_null(connection: sqlite3.Connection) -> None:
    """As if somebody had damaged the table: a column has NULLs that is declared to have none."""
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 't'", (TABLE.format(" NOT NULL"),))
    connection.execute("PRAGMA writable_schema = RESET")


def test_a_sound_table_is_sound(connection: sqlite3.Connection, pragma: str) -> None:
    connection.execute(TABLE.format(" NOT NULL"))
    connection.executemany("INSERT INTO t VALUES (?, 2, 3)", [(number,) for number in range(1000)])
    assert damage(connection, pragma, 5) is None  # type: ignore[arg-type]
    assert damage(connection, pragma, 5, "t") is None  # type: ignore[arg-type]


def test_a_null_where_none_may_be_is_found_behind_any_number_of_mistakes(
    connection: sqlite3.Connection, pragma: str
) -> None:
    connection.execute(TABLE.format(""))
    connection.executemany("INSERT INTO t VALUES (?, 2, 3)", [(number,) for number in range(1000)])
    connection.execute("INSERT INTO t VALUES (1000, NULL, 3)")
    declare_not_null(connection)
    found = damage(connection, pragma, 1)  # type: ignore[arg-type]
    assert found == "NULL value in t.b"


def test_no_more_is_said_than_is_asked_for(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE u (a INTEGER PRIMARY KEY, b INT)")
    connection.execute("CREATE INDEX i ON u (b)")
    connection.executemany("INSERT INTO u VALUES (?, ?)", [(number, number + 100) for number in range(10)])
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON u (a)' WHERE name = 'i'")
    connection.execute("PRAGMA writable_schema = RESET")
    found = damage(connection, "integrity_check", 3)
    assert found is not None
    assert len(found.split("; ")) == 3
    assert damage(connection, "quick_check", 3) is None


def test_a_look_that_takes_long_says_so_and_can_be_ended(connection: sqlite3.Connection, pragma: str) -> None:
    connection.execute("CREATE TABLE u (a INTEGER PRIMARY KEY, b INT)")
    connection.executemany("INSERT INTO u VALUES (?, ?)", [(number, number) for number in range(50_000)])
    calls = []
    assert damage(connection, pragma, 3, at_work=lambda: calls.append(1)) is None  # type: ignore[arg-type]
    assert len(calls) > 1

    def end() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        damage(connection, pragma, 3, at_work=end)  # type: ignore[arg-type]
    assert damage(connection, pragma, 3) is None  # type: ignore[arg-type]
