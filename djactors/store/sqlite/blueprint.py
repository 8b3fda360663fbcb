"""A scratch database that has the schema and no rows, to look up what its tables are like, or to try rows out.

sqlite-utils reads its catalogue. What the columns take is checked by the types that PostgreSQL has for them, because
SQLite takes any value in any column.
"""

import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlite_utils

from djactors.store.migrations import Migration, lines_for
from djactors.store.sqlite.connection import SqliteConnection

__all__ = ["Column", "columns_of", "laid_out"]

_MAX_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        kind: what it holds.
        length: the most characters of a text; None if there is no limit.
        required: whether it must have a value.
    """

    name: str
    kind: Literal["integer", "text", "boolean"]
    length: int | None
    required: bool

    def wrong(self, value: object) -> str | None:
        """Why the column does not take a value; None if it does."""
        if value is None:
            return "is missing" if self.required else None
        if self.kind == "text":
            return self._wrong_text(value)
        if self.kind == "boolean":
            return None if isinstance(value, bool) else "is neither true nor false"
        if isinstance(value, int) and not isinstance(value, bool) and -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
            return None
        return "is no whole number of 64 bits"

    def _wrong_text(self, value: object) -> str | None:
        if not isinstance(value, str):
            return "is no text"
        if "\0" in value:
            return "has the character NUL"
        if self.length is not None and len(value) > self.length:
            return f"has {len(value)} characters, of {self.length} at most"
        return None


def laid_out(migrations: Sequence[Migration], path: str | os.PathLike[str] | None = None) -> sqlite_utils.Database:
    """A database with the tables of these migrations, in memory or in a new file, which need not survive anything."""
    connection = sqlite3.connect(":memory:" if path is None else path, isolation_level=None, factory=SqliteConnection)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    for migration in migrations:
        connection.executescript(lines_for("sqlite", migration.sql))
    return sqlite_utils.Database(connection, execute_plugins=False)


def columns_of(database: sqlite_utils.Database, table: str) -> tuple[Column, ...]:
    """The columns of a table, in order."""
    found = []
    for column in database.table(table).columns:
        kind, _, length = column.type.partition("(")
        match = re.fullmatch(r"(\d+)\)", length)
        found.append(
            Column(
                column.name,
                "boolean" if kind == "BOOLEAN" else "integer" if "INT" in kind else "text",
                None if match is None else int(match[1]),
                bool(column.notnull),
            )
        )
    return tuple(found)
