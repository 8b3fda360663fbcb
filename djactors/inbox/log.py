"""The log of changes, as clients replay it: judging from where, and reading it back into the packets that were sent.

All SQL on `changes` except for the writing, which is the unit of work's, and purging.

An offset is judged in the snapshot that the answer is read from, and never by numbers alone: the log has it in its past
if the change of that number has that mark, or if everything up to that number was purged and the newest change of that
had that mark. Otherwise what the client saw there is not what this database says: a copy of it was put back since.

A user's changes lie in three places, each in order, and are merged as they are read: new notifications are found by
their own rows, unread and read, as an index over them in the log as well would cost a page at every event; whatever
else happened to the user, and what the whole tenant hears of, by the log's index. Ids grow with sequence numbers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from enum import Enum
from heapq import merge
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from djactors.domain.commands import Change
from djactors.domain.marks import BEGINNING, Offset
from djactors.domain.notifications import NULL, Notification, encode
from djactors.inbox.unit import NAMES

# The primary keys; the newest change, or what was purged last where none is left.
SELECT_REACH = """SELECT coalesce(c.mark, t.oldest_mark), coalesce(c.seq, t.oldest_seq), t.oldest_mark, t.oldest_seq
    FROM tenants t LEFT JOIN changes c
    ON c.tenant_id = t.id AND c.seq = (SELECT max(seq) FROM changes WHERE tenant_id = t.id) WHERE t.id = ?"""
SELECT_MARK = "SELECT mark FROM changes WHERE tenant_id = ? AND seq = ?"
# The primary key, both: from the change that was asked for to the next notification of whomever, and to the one before.
SELECT_NEXT_NEW = """SELECT notification_id FROM changes
    WHERE tenant_id = ? AND seq > ? AND seq <= ? AND notification_id IS NOT NULL ORDER BY seq LIMIT 1"""
SELECT_LAST_NEW = """SELECT notification_id FROM changes
    WHERE tenant_id = ? AND seq <= ? AND notification_id IS NOT NULL ORDER BY seq DESC LIMIT 1"""
# idx_notifications_user_unread, its unread and its read half.
_NEW_COLUMNS = "seq, mark, id, type, priority, title, message, data, created_at, replaces"
SELECT_NEW_UNREAD = f"""SELECT {_NEW_COLUMNS} FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = false AND id >= ? ORDER BY id LIMIT ?"""
SELECT_NEW_READ = f"""SELECT {_NEW_COLUMNS} FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = true AND id >= ? ORDER BY id LIMIT ?"""
# idx_changes_user, both.
SELECT_OWN = """SELECT seq, mark, kind, data FROM changes
    WHERE tenant_id + 0 = ? AND user_id = ? AND seq > ? AND notification_id IS NULL ORDER BY seq LIMIT ?"""
SELECT_SHARED = """SELECT seq, mark, kind, data FROM changes
    WHERE tenant_id + 0 = ? AND user_id IS NULL AND seq > ? AND notification_id IS NULL ORDER BY seq LIMIT ?"""
# Counted here and not by SQLite, which would go on to the end of a log of any length.
SELECT_NEW_UNREAD_IDS = """SELECT id FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = false AND id >= ? AND id <= ? LIMIT ?"""
SELECT_NEW_READ_IDS = """SELECT id FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = true AND id >= ? AND id <= ? LIMIT ?"""
SELECT_OWN_SEQS = """SELECT seq FROM changes
    WHERE tenant_id + 0 = ? AND user_id = ? AND seq > ? AND seq <= ? AND notification_id IS NULL LIMIT ?"""
SELECT_SHARED_SEQS = """SELECT seq FROM changes
    WHERE tenant_id + 0 = ? AND user_id IS NULL AND seq > ? AND seq <= ? AND notification_id IS NULL LIMIT ?"""

# SQLite's integers, and PostgreSQL's, end there.
_ABOVE_ALL_SEQS = 2**63 - 1

SLICE_BYTES = 256 * 1024
"""Bytes of payload after which a slice ends, whatever its number of changes: a few milliseconds of a reader that others
wait for, too, and a small part of what may wait for one socket."""


class Reach(msgspec.Struct, frozen=True):
    """How far a tenant's log reaches: the changes after `oldest` up to and with `last` are there."""

    last: Offset
    oldest: Offset


def reach(connection: sqlite3.Connection, tenant_id: int) -> Reach:
    """How far the log of a tenant reaches; nothing for a tenant that is not known."""
    row = connection.execute(SELECT_REACH, (tenant_id,)).fetchone()
    return Reach(BEGINNING, BEGINNING) if row is None else Reach(Offset(*row[:2]), Offset(*row[2:]))


def holds(connection: sqlite3.Connection, tenant_id: int, offset: Offset, reach: Reach) -> bool:
    """Whether the log of a tenant has an offset in its past; `reach` is the log's, of the same snapshot.

    What lies before a beginning that was purged, and what has not happened yet, is not in it.
    """
    for end in (reach.last, reach.oldest):
        if offset.seq == end.seq:
            return offset.mark == end.mark
    if not reach.oldest.seq < offset.seq < reach.last.seq:
        return False
    row = connection.execute(SELECT_MARK, (tenant_id, offset.seq)).fetchone()
    return row is not None and bool(row[0] == offset.mark)


class Astray(Enum):
    """Why the log does not lead from one offset to another."""

    SINCE = "since"
    """Not from there: it is not in the log's past, or too far back in it."""

    TOLD = "told"
    """The log's past is not the one that this process has told of: the database was put back under it."""

    @property
    def follows(self) -> bool:
        """Whether what was told is in the log's past."""
        return self is not Astray.TOLD


class Replay(msgspec.Struct, frozen=True):
    """A part of the log as one user sees it.

    Attributes:
        changes: in order.
        position: the offset up to which nothing is missing after them.
        last: the tenant's newest in the same snapshot.
    """

    changes: list[Change]
    position: Offset
    last: Offset

    @property
    def follows(self) -> bool:
        """Whether what was told is in the log's past: it was read from there."""
        return True


Found: TypeAlias = Replay | Astray


def replay(
    connection: sqlite3.Connection,
    tenant_id: int,
    user_id: int,
    since: Offset,
    *,
    until: Offset | None = None,
    told: Offset | None = None,
    limit: int,
    at_most: int | None = None,
) -> Found:
    """What a user may see of what happened after `since`, at most `limit` changes of it.

    Args:
        connection: within one snapshot. Everything is judged there.
        tenant_id: the user's tenant.
        user_id: whose view it is.
        since: where the client stands.
        until: where to stop, an offset that was told; the newest change by default.
        told: another offset that was told.
        limit: changes in one answer. It ends earlier at `SLICE_BYTES`, but never before its first change.
        at_most: more than this many changes up to `until` are not worth replaying.
    """
    ends = reach(connection, tenant_id)
    if not all(offset is None or holds(connection, tenant_id, offset, ends) for offset in (until, told)):
        return Astray.TOLD
    end = ends.last if until is None else until
    if since.seq > end.seq or not holds(connection, tenant_id, since, ends):
        return Astray.SINCE
    changes: list[Change] = []
    size = 0
    for change in _walk(connection, tenant_id, user_id, since.seq, limit):
        if change.offset.seq > end.seq:
            break
        changes.append(change)
        size += len(change.body)
        if len(changes) == limit or size >= SLICE_BYTES:
            if at_most is not None and _more_than(connection, tenant_id, user_id, since.seq, end.seq, at_most):
                return Astray.SINCE
            return Replay(changes, change.offset, ends.last)
    if at_most is not None and len(changes) > at_most:
        return Astray.SINCE
    return Replay(changes, end, ends.last)


def _walk(connection: sqlite3.Connection, tenant_id: int, user_id: int, since: int, limit: int) -> Iterator[Change]:
    """The user's own changes and the tenant's, in order, read as they are asked for; at most `limit` of each kind.

    They are walks along indexes, merged: an OR of them would make SQLite sort.
    """
    own = (
        Change(tenant_id, Offset(mark, seq), user_id, NAMES[kind], data.encode())
        for seq, mark, kind, data in connection.execute(SELECT_OWN, (tenant_id, user_id, since, limit))
    )
    rows = connection.execute(SELECT_SHARED, (tenant_id, since, limit)).fetchall()
    shared = (Change(tenant_id, Offset(mark, seq), None, NAMES[kind], data.encode()) for seq, mark, kind, data in rows)
    # Where the tenant's alone are enough, nobody comes to what is behind them: a search for a new notification among
    # thousands of job changes would be made for each slice.
    reach = rows[-1][0] if len(rows) == limit else _ABOVE_ALL_SEQS
    first_new = connection.execute(SELECT_NEXT_NEW, (tenant_id, since, reach)).fetchone()
    if first_new is None:
        return merge(own, shared, key=attrgetter("offset.seq"))
    unread, read = (
        (
            Change(tenant_id, Offset(row[1], row[0]), user_id, NAMES["new"], _body(row))
            for row in connection.execute(sql, (tenant_id, user_id, *first_new, limit))
        )
        for sql in (SELECT_NEW_UNREAD, SELECT_NEW_READ)
    )
    return merge(unread, read, own, shared, key=attrgetter("offset.seq"))


def _more_than(
    connection: sqlite3.Connection, tenant_id: int, user_id: int, since: int, until: int, at_most: int
) -> bool:
    limit = at_most + 1
    found = len(connection.execute(SELECT_OWN_SEQS, (tenant_id, user_id, since, until, limit)).fetchall())
    found += len(connection.execute(SELECT_SHARED_SEQS, (tenant_id, since, until, limit)).fetchall())
    if found > at_most:
        return True
    first = connection.execute(SELECT_NEXT_NEW, (tenant_id, since, until)).fetchone()
    last = connection.execute(SELECT_LAST_NEW, (tenant_id, until)).fetchone()
    if first is not None and last is not None:
        for sql in (SELECT_NEW_UNREAD_IDS, SELECT_NEW_READ_IDS):
            found += len(connection.execute(sql, (tenant_id, user_id, *first, *last, limit)).fetchall())
    return found > at_most


def _body(row: tuple[Any, ...]) -> bytes:
    _, _, notification_id, kind, priority, title, message, data, created_at, replaces = row
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
