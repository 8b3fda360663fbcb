"""Opens the database of an application, for the runner that is a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from djactors.outbox._databases import OutboxError

_SCHEMES = ("postgresql://", "postgres://")


@dataclass(frozen=True)
class Opener:
    """How a database is opened, and what its driver raises."""

    connect: Callable[[], Any]
    errors: tuple[type[Exception], ...]


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
        return Opener(lambda: sqlite3.connect(address, uri=True), (sqlite3.Error,))
    try:
        import psycopg
    except ImportError:
        raise OutboxError("--database: needs psycopg: pip install 'djactors[postgresql]'") from None
    # Behind a pooler a prepared statement would be another connection's.
    return Opener(lambda: psycopg.connect(place, prepare_threshold=None), (psycopg.Error,))
