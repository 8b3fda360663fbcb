"""Offsets as tests need them: of a change that is there, and of one that never was."""

from __future__ import annotations

import os

from djactors.domain.marks import BEGINNING, Offset
from djactors.store.connection import Connection
from djactors.store.engines import Place, engine_at

# Of the change itself, or of the newest that was purged.
SELECT_MARK = """SELECT mark FROM changes WHERE tenant_id = :tenant AND seq = :seq
    UNION SELECT oldest_mark FROM tenants WHERE id = :tenant AND oldest_seq = :seq"""


def offset_in(database: Connection | Place, seq: int, tenant_id: int = 1) -> Offset:
    """The point in a tenant's log right after the change of this number, which is there or was purged last."""
    if seq == 0:
        return BEGINNING
    if isinstance(database, str | os.PathLike):
        with engine_at(database).reading() as connection:
            return offset_in(connection, seq, tenant_id)
    [[mark]] = database.execute(SELECT_MARK, {"tenant": tenant_id, "seq": seq})
    return Offset(mark, seq)


def invented(seq: int) -> Offset:
    """An offset of this number that no log has."""
    return Offset(4711, seq)


def number_of(offset: str | None) -> int:
    """The sequence number in an offset. It is opaque to clients; a test may look."""
    return int(str(offset).rpartition(".")[2])
