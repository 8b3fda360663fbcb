"""The log of changes, as clients replay it: reading it back into the packets that were sent.

All SQL on `changes` except for the writing, which is the unit of work's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from heapq import merge
from itertools import islice
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
# Counted here and not by SQLite, which would go on to the end of a log of any length.
SELECT_OWN_SEQS = "SELECT seq FROM changes WHERE tenant_id = ? AND user_id = ? AND seq > ? AND seq <= ? LIMIT ?"
SELECT_SHARED_SEQS = "SELECT seq FROM changes WHERE tenant_id = ? AND user_id IS NULL AND seq > ? AND seq <= ? LIMIT ?"

SLICE_BYTES = 256 * 1024
"""Bytes of payload after which a slice ends, whatever its number of changes: a few milliseconds of a reader that others
wait for, too, and a small part of what may wait for one socket."""


class Bounds(msgspec.Struct, frozen=True):
    """How far a tenant's log reaches: changes after `oldest` up to and with `last` are there."""

    last: int
    oldest: int


def bounds(connection: sqlite3.Connection, tenant_id: int) -> Bounds:
    """How far the log of a tenant reaches; nothing for a tenant that is not known."""
    row = connection.execute(SELECT_BOUNDS, (tenant_id,)).fetchone()
    return Bounds(0, 0) if row is None else Bounds(*row)


class Replay(msgspec.Struct, frozen=True):
    """A part of the log as one user sees it.

    Attributes:
        changes: in order.
        position: the sequence number up to which nothing is missing after them.
        last: the tenant's newest sequence number in the same snapshot.
    """

    changes: list[Change]
    position: int
    last: int


def replay(
    connection: sqlite3.Connection,
    tenant_id: int,
    user_id: int,
    since: int,
    *,
    until: int | None = None,
    limit: int,
    at_most: int | None = None,
) -> Replay | None:
    """What a user may see of what happened after the sequence number `since`, at most `limit` changes of it.

    Args:
        connection: within one snapshot.
        tenant_id: the user's tenant.
        user_id: whose view it is.
        since: where the client stands.
        until: where to stop; the newest change by default.
        limit: changes in one answer. It ends earlier at `SLICE_BYTES`, but never before its first change.
        at_most: more than this many changes up to `until` are not worth replaying.

    Returns:
        None where the log does not lead from `since` to now: it was purged, is not this tenant's, or `at_most` is
        exceeded.
    """
    reach = bounds(connection, tenant_id)
    if not reach.oldest <= since <= reach.last:
        return None
    until = reach.last if until is None else until
    changes: list[Change] = []
    size = 0
    for change in _walk(connection, tenant_id, user_id, since, limit):
        if change.seq > until:
            break
        changes.append(change)
        size += len(change.body)
        if len(changes) == limit or size >= SLICE_BYTES:
            if at_most is not None and _more_than(connection, tenant_id, user_id, since, until, at_most):
                return None
            return Replay(changes, change.seq, reach.last)
    if at_most is not None and len(changes) > at_most:
        return None
    return Replay(changes, max(since, until), reach.last)


def changes_since(connection: sqlite3.Connection, tenant_id: int, user_id: int, since: int, limit: int) -> list[Change]:
    """What a user may see of what happened after the sequence number `since`, in order, at most `limit` changes."""
    return list(islice(_walk(connection, tenant_id, user_id, since, limit), limit))


def _walk(connection: sqlite3.Connection, tenant_id: int, user_id: int, since: int, limit: int) -> Iterator[Change]:
    """The user's own changes and the tenant's, in order, read as they are asked for; at most `limit` of each kind.

    They are two walks along one index, merged: an OR of both would make SQLite sort.
    """
    own = (
        Change(tenant_id, row[0], user_id, NAMES[row[1]], _body(row))
        for row in connection.execute(SELECT_OWN, (tenant_id, user_id, since, limit))
    )
    shared = (
        Change(tenant_id, seq, None, NAMES[kind], data.encode())
        for seq, kind, data in connection.execute(SELECT_SHARED, (tenant_id, since, limit))
    )
    return merge(own, shared, key=attrgetter("seq"))


def _more_than(
    connection: sqlite3.Connection, tenant_id: int, user_id: int, since: int, until: int, at_most: int
) -> bool:
    own = connection.execute(SELECT_OWN_SEQS, (tenant_id, user_id, since, until, at_most + 1)).fetchall()
    shared = connection.execute(SELECT_SHARED_SEQS, (tenant_id, since, until, at_most + 1)).fetchall()
    return len(own) + len(shared) > at_most


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
