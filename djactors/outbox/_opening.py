"""Opens the database of an application, for the runner that is a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from djactors.outbox._databases import OutboxError, is_of_missing_table, sentence_of

_SCHEMES = ("postgresql://", "postgres://")

_BOUNDS: Final[Mapping[str, int]] = {
    # Seconds until a server that does not answer is given up.
    "connect_timeout": 10,
    # Milliseconds until a connection is given up whose bytes nobody acknowledges, as where a machine lost its power.
    "tcp_user_timeout": 10_000,
    # The same in seconds where nothing is under way: until the first question, and between two.
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""What libpq would wait for minutes or hours for, unless the URL says otherwise."""


BUSY_SECONDS: Final = 5.0
"""How long a connection waits for another one that writes to the SQLite file, as Python's own connections do."""


@dataclass(frozen=True)
class Opener:
    """How a database is opened, and what its driver raises."""

    connect: Callable[[], Any]
    errors: tuple[type[Exception], ...]

    @staticmethod
    def sentence_of(error: Exception, table: str) -> str:
        """What an error of the driver means for the command that delivers from this table, in one line."""
        mend = f": --create makes the table {table}" if is_of_missing_table(error) else ""
        return f"--database: {sentence_of(error)}{mend}"


def opener_of(place: str) -> Opener:
    """How to open the database of an application.

    Args:
        place: the path of an SQLite file, or a URL as PostgreSQL's own programs take it.

    Raises:
        OutboxError: there is no such file, or the driver is not installed.
    """
    if not place.startswith(_SCHEMES):
        import sqlite3

        if not Path(place).is_file():
            raise OutboxError(f"--database: {place}: there is no such file: name the database of your application")
        # Never made anew: if the file is gone, that is an error.
        address = f"file:{quote(str(Path(place).absolute()))}?mode=rw"
        return Opener(lambda: sqlite3.connect(address, BUSY_SECONDS, uri=True), (sqlite3.Error,))
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise OutboxError("--database: needs psycopg: pip install 'djactors[postgresql]'") from None
    try:
        said = conninfo_to_dict(place)
    except psycopg.Error:
        # What libpq says of it may hold a piece of the password.
        raise OutboxError(
            "--database: is no URL of PostgreSQL: write it like postgresql://USER@HOST:5432/NAME"
        ) from None
    # Behind a pooler a prepared statement would be another connection's.
    parameters: dict[str, Any] = {**_BOUNDS, **said, "prepare_threshold": None}
    return Opener(lambda: psycopg.connect(**parameters), (psycopg.Error,))
