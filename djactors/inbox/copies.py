"""Of what moment the newest checked copy of a database is.

Rules:
  * On SQLite a note beside the file says so (`djactors.store.sqlite.copied`). It counts only if it is of this
    installation, and `restore` takes it away.
  * On PostgreSQL a row in `counters` says so, beside those of ids. A dump has the row of the copy before it, which is
    one of the same past. Whoever moves to another database leaves the row behind.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from time import time

from djactors.store.connection import Connection
from djactors.store.room import Copied

__all__ = ["COPIED", "DELETE_COPIED", "identity", "newest", "note"]

COPIED = "copied_at"
"""The name of the row in `counters`."""

SELECT_IDENTITY = "SELECT pid_key, created_at FROM meta"
SELECT_COPIED = f"SELECT value FROM counters WHERE name = '{COPIED}'"
DELETE_COPIED = f"DELETE FROM counters WHERE name = '{COPIED}'"
# The check of an older copy does not hide a newer one. A time in the future, because a clock was wrong, gives way.
UPSERT_COPIED = f"""INSERT INTO counters (name, value) VALUES ('{COPIED}', ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
    WHERE excluded.value > counters.value OR counters.value > ?"""

IDENTITY_BYTES = 16


def identity(connection: Connection) -> str:
    """Whose database it is: the same in all its copies, and nothing from which its secret could be told."""
    pid_key, created_at = connection.execute(SELECT_IDENTITY).fetchone()
    return blake2b(f"{pid_key} {created_at}".encode(), digest_size=IDENTITY_BYTES).hexdigest()


def newest(connection: Connection, noted: Callable[[], Copied | None]) -> float | None:
    """Of what moment the newest checked copy is, as seconds since 1970; None if nobody knows of one.

    Args:
        connection: to the database.
        noted: what is noted beside it.
    """
    if connection.is_shared:
        row = connection.execute(SELECT_COPIED).fetchone()
        return None if row is None else float(row[0])
    found = noted()
    return None if found is None or found.of != identity(connection) else found.at


def note(connection: Connection, at: float, now: Callable[[], float] = time) -> None:
    """Note a checked copy in a database that several nodes share."""
    present = int(now())
    connection.execute(UPSERT_COPIED, (min(int(at), present), present))
