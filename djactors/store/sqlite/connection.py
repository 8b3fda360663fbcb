"""SQLite's connection as the layers above see it (`djactors.store.connection`): Python's own, with little beside."""

import os
import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

from djactors.store.connection import Parameters
from djactors.store.errors import StoreError
from djactors.store.sqlite.failures import storage_failure

__all__ = ["SqliteConnection", "connect"]

# Rows of the longest INSERT. Beyond 16 rows hardly anything is gained. With 14 columns the longest INSERT has 448 of
# the 32,766 parameters that SQLite takes. A commit of 30 events takes four statements (16, 8, 4, 2) for each table.
ROWS_OF_AN_INSERT = 32

# Prepared statements that a connection keeps unless it is told otherwise: as many as with Python's own default.
FEW_STATEMENTS = 128


class SqliteConnection(sqlite3.Connection):
    """See `djactors.store.connection.Connection`. Nothing is put off."""

    is_shared = False

    def foresee(self, statement: str, parameters: Parameters = (), /) -> sqlite3.Cursor:
        """See `Connection.foresee`. There are no round trips to save."""
        return self.execute(statement, parameters)

    def insert(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> None:
        """Run an INSERT of one row for all the rows.

        `executemany` steps SQLite once for each row, and the sqlite3 module lets go of the interpreter at each step.
        The interpreter then changes hands between the event loop and the writer several times an event. One INSERT of
        32 rows is one step.

        Raises:
            sqlite3.Error: what SQLite says of a row.
        """
        if len(rows) == 1:
            self.execute(statement, rows[0])
            return
        done, left, size = 0, len(rows), ROWS_OF_AN_INSERT
        while left:
            while size > left:
                size >>= 1
            self.execute(_of(statement, size), tuple(chain.from_iterable(rows[done : done + size])))
            done += size
            left -= size

    def start(self) -> None:
        """Nothing was put off."""

    def settle(self) -> None:
        """Nothing was put off."""

    def failure_of(self, error: Exception) -> StoreError | None:
        """See `storage_failure`."""
        return storage_failure(error) if isinstance(error, sqlite3.Error) else None


def connect(
    path: str | os.PathLike[str],
    mode: Literal["ro", "rw"],
    *,
    timeout: float,
    cached_statements: int = FEW_STATEMENTS,
    immutable: bool = False,
) -> SqliteConnection:
    """Open a database that exists. Transactions begin where they are told to.

    Args:
        path: the file.
        mode: `ro` cannot write.
        timeout: seconds to wait for the lock of another process.
        cached_statements: prepared statements that are kept.
        immutable: nobody else writes to the file, so neither locks nor a log are looked for.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    return sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        cached_statements=cached_statements,
        factory=SqliteConnection,
    )


@lru_cache(maxsize=64)  # the program's statements, eight, in each of five sizes
def _of(statement: str, size: int) -> str:
    head, row, tail = re.fullmatch(r"(.*VALUES )(\([^)]*\))(.*)", statement, re.DOTALL).groups()  # type: ignore[union-attr]
    return f"{head}{', '.join([row] * size)}{tail}"
