"""Rows that are inserted with few statements are the rows that one statement each would have inserted."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from djactors.store.sqlite.connection import ROWS_OF_AN_INSERT as MOST
from djactors.store.sqlite.connection import SqliteConnection

INSERT = "INSERT INTO notes (id, text) VALUES (?, ?)"


@pytest.fixture
def connection() -> Iterator[SqliteConnection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)) as connection:
        connection.execute("CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY, text VARCHAR(50))")
        yield connection


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30, MOST - 1, MOST, MOST + 1, 100, 1000])
def test_every_row_is_there_once_and_in_order(connection: SqliteConnection, count: int):
    rows = [(1000 - number, f"('{number}', ?)") for number in range(count)]
    connection.insert(INSERT, rows)
    assert connection.execute("SELECT id, text FROM notes ORDER BY rowid").fetchall() == rows


@pytest.mark.parametrize("bad", [0, 31, 32, 39])
def test_a_row_that_is_refused_is_said_so_and_the_savepoint_undoes_the_others(connection: SqliteConnection, bad: int):
    connection.execute("BEGIN")
    connection.execute("SAVEPOINT command")
    rows = [(None if number == bad else number, "x") for number in range(40)]
    with pytest.raises(sqlite3.IntegrityError):
        connection.insert(INSERT, rows)
    assert connection.in_transaction
    connection.execute("ROLLBACK TO command")
    assert connection.execute("SELECT count(*) FROM notes").fetchone() == (0,)


@pytest.mark.parametrize("count", [1, 3, 100])
def test_what_follows_the_row_holds_for_all_rows(connection: SqliteConnection, count: int):
    upsert = f"{INSERT} ON CONFLICT (id) DO UPDATE SET text = excluded.text"
    for text in ("before", "after"):
        connection.insert(upsert, [(number, text) for number in range(count)])
    assert connection.execute("SELECT text, count(*) FROM notes GROUP BY text").fetchall() == [("after", count)]


def test_a_commit_of_many_events_takes_few_statements(connection: SqliteConnection):
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    connection.insert(INSERT, [(number, "x") for number in range(30)])
    assert len(seen) == 4
