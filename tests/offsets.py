"""Offsets as tests need them: of a change that is there, and of one that never was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from djactors.domain.marks import BEGINNING, Offset

# Of the change itself, or of the newest that was purged.
SELECT_MARK = """SELECT mark FROM changes WHERE tenant_id = :tenant AND seq = :seq
    UNION SELECT oldest_mark FROM tenants WHERE id = :tenant AND oldest_seq = :seq"""


def offset_in(database: sqlite3.Connection | Path, seq: int, tenant_id: int = 1) -> Offset:
    """The point in a tenant's log right after the change of this number, which is there or was purged last."""
    if seq == 0:
        return BEGINNING
    if isinstance(database, Path):
        with closing(sqlite3.connect(database)) as connection:
            return offset_in(connection, seq, tenant_id)
    [[mark]] = database.execute(SELECT_MARK, {"tenant": tenant_id, "seq": seq})
    return Offset(mark, seq)


def invented(seq: int) -> Offset:
    """An offset of this number that no log has."""
    return Offset(4711, seq)


def number_of(offset: str | None) -> int:
    """The sequence number in an offset. It is opaque to clients; a test may look."""
    return int(str(offset).rpartition(".")[2])
