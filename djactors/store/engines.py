"""Which engine serves a database, by the place that the setting `database` names."""

import os

from djactors.store.engine import Engine
from djactors.store.errors import PlaceRefused
from djactors.store.postgresql.url import SCHEMES, without_password
from djactors.store.sqlite.connections import BUSY_TIMEOUT
from djactors.store.sqlite.engine import SqliteEngine

__all__ = ["Place", "engine_at", "is_url", "names_folder", "shown"]

Place = str | os.PathLike[str]
"""Where a database is: the path of an SQLite file, or the URL of a PostgreSQL database."""


def is_url(place: Place) -> bool:
    """Whether a place is a database of PostgreSQL, and no file."""
    return isinstance(place, str) and place.startswith(SCHEMES)


def names_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a path can only be that of a folder, whether one is there or not. `os.path.abspath` would make it that of
    a file."""
    return os.fsdecode(path).endswith(("/", "/.", "/.."))


def shown(place: Place) -> str:
    """A place as it may be shown: a URL without its password."""
    return without_password(str(place)) if is_url(place) else os.fspath(place)


def engine_at(place: Place, busy_timeout: float = BUSY_TIMEOUT) -> Engine:
    """The engine for a place.

    Args:
        place: the path of an SQLite file, or the URL of a PostgreSQL database.
        busy_timeout: seconds to wait for a lock of another process.

    Raises:
        PlaceRefused: it is a URL that cannot be read, or the driver for PostgreSQL is not installed.
    """
    if not is_url(place):
        return SqliteEngine(place, busy_timeout)
    # The driver is an extra, and whoever uses a file does without it.
    try:
        from djactors.store.postgresql.engine import PostgresEngine
    except ImportError as error:
        if not (error.name or "").startswith("psycopg") and "pq wrapper" not in str(error):
            raise
        raise PlaceRefused("PostgreSQL needs a driver: run pip install 'djactors[postgresql]'") from None
    return PostgresEngine(str(place), busy_timeout)
