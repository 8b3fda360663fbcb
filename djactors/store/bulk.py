"""Many rows in few statements.

`executemany` steps SQLite once for each row, and the sqlite3 module lets go of the interpreter at each step: it changes
hands between the event loop and the writer several times an event. One INSERT of 32 rows is one step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

LARGEST = 32
"""Rows of the longest statement. Beyond 16 hardly anything is gained; with 14 columns this one has 448 of the
32,766 parameters that SQLite takes. A commit of 30 events is four statements (16, 8, 4, 2) to each table."""


def insert(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Run an INSERT of one row that ends with `VALUES (?, ...)` for all the rows, in their order.

    Should one fail, those before it may have been inserted: the caller undoes the transaction or the savepoint.

    Raises:
        sqlite3.Error: what SQLite says of a row.
    """
    if len(rows) == 1:
        connection.execute(statement, rows[0])
        return
    done, left, size = 0, len(rows), LARGEST
    while left:
        while size > left:
            size >>= 1
        connection.execute(_of(statement, size), tuple(chain.from_iterable(rows[done : done + size])))
        done += size
        left -= size


@lru_cache(maxsize=64)  # the program's statements, five, in each of six sizes
def _of(statement: str, size: int) -> str:
    _, _, row = statement.rpartition("VALUES ")
    return statement + f", {row}" * (size - 1)
