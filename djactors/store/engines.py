"""Which engine serves a database, by the place that the setting `database` names."""

import os

from djactors.store.engine import Engine
from djactors.store.sqlite.connections import BUSY_TIMEOUT
from djactors.store.sqlite.engine import SqliteEngine

__all__ = ["Place", "engine_at"]

Place = str | os.PathLike[str]
"""Where a database is."""


def engine_at(place: Place, busy_timeout: float = BUSY_TIMEOUT) -> Engine:
    """The engine for a place.

    Args:
        place: the path of an SQLite file.
        busy_timeout: seconds to wait for a lock of another process.
    """
    return SqliteEngine(place, busy_timeout)
