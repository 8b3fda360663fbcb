"""The log of changes, as clients replay it: reading it back into the packets that were sent.

All SQL on `changes` except for the writing, which is the unit of work's.
"""

from __future__ import annotations

import sqlite3
from heapq import merge
from operator import attrgetter
from typing import Any

import msgspec

from djactors.domain.commands import Change
from djactors.domain.notifications import NULL, Notification, encode
from djactors.store.unit import NAMES

SELECT_BOUNDS = "SELECT last_seq, oldest_seq FROM tenants WHERE id = ?"
SELECT_OWN = """SELECT c.seq, c.kind, c.data, n.id, n.type, n.priority, n.title, n.message, n.data,
    n.created_at, n.replaces FROM changes c LEFT JOIN notifications n ON n.id = c.notification_id
    WHERE c.tenant_id = ? AND c.user_id = ? AND c.seq > ? ORDER BY c.seq LIMIT ?"""
SELECT_SHARED = """SELECT seq, kind, data FROM changes
    WHERE tenant_id = ? AND user_id IS NULL AND seq > ? ORDER BY seq LIMIT ?"""


class Bounds(msgspec.Struct, frozen=True):
    """How far a tenant's log reaches: changes after `oldest` up to and with `last` are there."""

    last: int
    oldest: int


def bounds(connection: sqlite3.Connection, tenant_id: int) -> Bounds:
    """How far the log of a tenant reaches; nothing for a tenant that is not known."""
    row = connection.execute(SELECT_BOUNDS, (tenant_id,)).fetchone()
    return Bounds(0, 0) if row is None else Bounds(*row)


def changes_since(connection: sqlite3.Connection, tenant_id: int, user_id: int, since: int, limit: int) -> list[Change]:
    """What a user may see of what happened after the sequence number `since`, in order, at most `limit` changes.

    The user's own and the tenant's are two walks along one index, merged: an OR of both would make SQLite sort.
    """
    own = [
        Change(tenant_id, row[0], user_id, NAMES[row[1]], _body(row))
        for row in connection.execute(SELECT_OWN, (tenant_id, user_id, since, limit))
    ]
    shared = [
        Change(tenant_id, seq, None, NAMES[kind], data.encode())
        for seq, kind, data in connection.execute(SELECT_SHARED, (tenant_id, since, limit))
    ]
    return list(merge(own, shared, key=attrgetter("seq")))[:limit]


def _body(row: tuple[Any, ...]) -> bytes:
    _, _, stored, notification_id, kind, priority, title, message, data, created_at, replaces = row
    if stored is not None:
        return str(stored).encode()
    return encode(
        Notification(
            id=notification_id,
            type=kind,
            priority=priority,
            title=title,
            message=message,
            data=NULL if data is None else msgspec.Raw(data.encode()),
            created_at=created_at,
            replaces=msgspec.UNSET if replaces is None else replaces,
        )
    )
