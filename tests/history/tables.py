"""Opens a database for the checker: an SQLite file, or a PostgreSQL database. Both take the same statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg


class Rows(Protocol):
    """What a statement returns."""

    def fetchall(self) -> list[Any]:
        """All rows."""

    def fetchone(self) -> Any:
        """The next row, None if there is none."""

    def __iter__(self) -> Iterator[Any]: ...


class Tables(Protocol):
    """A database that is only read."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Rows:
        """Ask; parameters are written as ?."""


class PostgresTables:
    """A PostgreSQL database."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Rows:
        """See `Tables`. No statement of the checker has a question mark or a percent sign in a text."""
        return self._connection.execute(statement.replace("?", "%s").encode(), parameters)


@contextmanager
def reading(place: Path | str) -> Iterator[Tables]:
    """Read a database in one snapshot: the file of this path, or the PostgreSQL database of this conninfo or URL."""
    if isinstance(place, Path):
        with closing(sqlite3.connect(place)) as file:
            file.execute("PRAGMA query_only = 1")
            file.execute("BEGIN")
            yield file
        return
    with psycopg.connect(place) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield PostgresTables(connection)
