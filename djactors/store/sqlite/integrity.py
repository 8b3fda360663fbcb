"""Has SQLite look at a whole file for damage.

SQLite 3.40.0 and 3.40.1, which Debian 12 has, report `NULL value in TABLE.COLUMN` of each row of a sound table, if it
is WITHOUT ROWID and its primary key leaves out a column in the middle, as that of `comment_mentions` does. Both pragmas
do so. So such a report is believed only if the table has a NULL there.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

__all__ = ["damage"]

_NULL = re.compile(r"NULL value in (?P<table>\w+)\.(?P<column>\w+)", re.ASCII)
# More than any file has rows: what is not believed must not use the number up.
_ALL = 2**31 - 1
# Instructions of SQLite between two calls of `at_work`: some milliseconds.
_INSTRUCTIONS = 100_000


def damage(
    connection: sqlite3.Connection,
    pragma: Literal["integrity_check", "quick_check"],
    most: int,
    table: str | None = None,
    at_work: Callable[[], None] | None = None,
) -> str | None:
    """What is wrong with a file, up to `most` findings of SQLite; None if nothing is.

    Args:
        connection: to the file.
        pragma: `quick_check` does not compare the indexes with their tables.
        most: how much is said at most.
        table: look only at this one and its indexes.
        at_work: called again and again meanwhile, since it is one long step for SQLite. If it raises, as for Ctrl-C,
            the look ends with that.
    """
    found: list[str] = []
    try:
        with _telling(connection, at_work):
            for text in _believed(connection, f"PRAGMA {pragma}({_ALL if table is None else _quoted(table)})"):
                found.append(text)
                if len(found) == most:
                    break
    except sqlite3.DatabaseError as error:
        # The pragma can raise as well as report.
        if (error.sqlite_errorcode & 0xFF) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        found.append(str(error))
    return "; ".join(found) or None


def _believed(connection: sqlite3.Connection, statement: str) -> Iterator[str]:
    mistaken: dict[str, bool] = {"ok": True}
    for (text,) in connection.execute(statement):
        # There may be a report for each row, and a look at the table for each of them would take for ever.
        if text not in mistaken:
            mistaken[text] = _is_mistaken(connection, text)
        if not mistaken[text]:
            yield text


@contextmanager
def _telling(connection: sqlite3.Connection, at_work: Callable[[], None] | None) -> Iterator[None]:
    if at_work is None:
        yield
        return
    raised: list[BaseException] = []

    def still_at_it() -> bool:
        try:
            at_work()
        except BaseException as error:  # noqa: BLE001 -- SQLite would drop it
            raised.append(error)
        return bool(raised)

    connection.set_progress_handler(still_at_it, _INSTRUCTIONS)
    try:
        yield
    except sqlite3.OperationalError:
        if raised:
            raise raised[0] from None
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _is_mistaken(connection: sqlite3.Connection, text: str) -> bool:
    said = _NULL.fullmatch(text)
    if said is None:
        return False
    table, column = _quoted(said["table"]), _quoted(said["column"])
    # "IS NULL" would not be looked up at all, because the column is declared as NOT NULL.
    row = connection.execute(f"SELECT 1 FROM {table} WHERE typeof({column}) = 'null' LIMIT 1").fetchone()
    return row is None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
