"""The log of changes, as clients replay it: judges offsets, and reads changes back into the packets that were sent.

All SQL on `changes` is here, except for writing (`unit`) and purging (`retention`).

An offset is judged in the snapshot from which the answer is read, and never by its number alone. The log has an offset
in its past if the change of that number has the offset's mark, or if everything up to that number was purged and the
last purged change had the mark. Otherwise the client saw something that this database does not have, because an old
copy of the database was put back since.

A user's changes are read from several indexes, each in order, and merged. New notifications are found by their own
rows, the unread ones and the read ones, because an index over them in the log would cost one more page at every event.
The user's other changes, and the changes that the whole tenant sees, are found by the log's index. The ids of
notifications rise with the sequence numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from heapq import merge
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from djactors.domain.commands import Change
from djactors.domain.marks import BEGINNING, Offset
from djactors.domain.notifications import NULL, Notification, encode
from djactors.inbox.unit import NAMES
from djactors.store.connection import Connection
from djactors.store.errors import StoreInPart

# Served by the primary keys: the newest change, or the last purged one if no change is left.
_ENDS = "coalesce(c.mark, t.oldest_mark), coalesce(c.seq, t.oldest_seq), t.oldest_mark, t.oldest_seq"
REACH_COLUMNS = f"{_ENDS}, t.importing"
NEWEST_CHANGE = """LEFT JOIN changes c
    ON c.tenant_id = t.id AND c.seq = (SELECT max(seq) FROM changes WHERE tenant_id = t.id)"""
REACH_TABLES = f"tenants t {NEWEST_CHANGE}"
SELECT_REACH = f"SELECT {REACH_COLUMNS} FROM {REACH_TABLES} WHERE t.id = ?"
# Databases of all versions have these columns.
SELECT_REACH_IN_PART = f"SELECT {_ENDS} FROM {REACH_TABLES} WHERE t.id = ?"
SELECT_MARK = "SELECT mark FROM changes WHERE tenant_id = ? AND seq = ?"
# Both are served by the primary key: from the requested change to the next notification of any user, and to the one #
# before.
SELECT_NEXT_NEW = """SELECT notification_id FROM changes
    WHERE tenant_id = ? AND seq > ? AND seq <= ? AND notification_id IS NOT NULL ORDER BY seq LIMIT 1"""
SELECT_LAST_NEW = """SELECT notification_id FROM changes
    WHERE tenant_id = ? AND seq <= ? AND notification_id IS NOT NULL ORDER BY seq DESC LIMIT 1"""
# Served by the unread and the read half of idx_notifications_user_unread.
_NEW_COLUMNS = "seq, mark, id, type, priority, title, message, data, created_at, replaces"
SELECT_NEW_UNREAD = f"""SELECT {_NEW_COLUMNS} FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = false AND id >= ? ORDER BY id LIMIT ?"""
SELECT_NEW_READ = f"""SELECT {_NEW_COLUMNS} FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = true AND id >= ? ORDER BY id LIMIT ?"""
# Both are served by idx_changes_user.
SELECT_OWN = """SELECT seq, mark, kind, data FROM changes
    WHERE tenant_id + 0 = ? AND user_id = ? AND seq > ? AND notification_id IS NULL ORDER BY seq LIMIT ?"""
SELECT_SHARED = """SELECT seq, mark, kind, data FROM changes
    WHERE tenant_id + 0 = ? AND user_id IS NULL AND seq > ? AND notification_id IS NULL ORDER BY seq LIMIT ?"""
# The rows are counted here and not by SQLite, which would count to the end of a log of any length.
SELECT_NEW_UNREAD_IDS = """SELECT id FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = false AND id >= ? AND id <= ? LIMIT ?"""
SELECT_NEW_READ_IDS = """SELECT id FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = true AND id >= ? AND id <= ? LIMIT ?"""
SELECT_OWN_SEQS = """SELECT seq FROM changes
    WHERE tenant_id + 0 = ? AND user_id = ? AND seq > ? AND seq <= ? AND notification_id IS NULL LIMIT ?"""
SELECT_SHARED_SEQS = """SELECT seq FROM changes
    WHERE tenant_id + 0 = ? AND user_id IS NULL AND seq > ? AND seq <= ? AND notification_id IS NULL LIMIT ?"""

# The integers of SQLite and PostgreSQL end here.
_ABOVE_ALL_SEQS = 2**63 - 1

SLICE_BYTES = 256 * 1024
"""The bytes of payload after which a slice ends, whatever its number of changes. So many take a few milliseconds of a
reader for which others wait, and are a small part of what may wait for one socket."""


class Reach(msgspec.Struct, frozen=True):
    """How far a tenant's log reaches: it has the changes after `oldest`, up to and including `last`."""

    last: Offset
    oldest: Offset


def reach(connection: Connection, tenant_id: int) -> Reach:
    """How far the log of a tenant reaches. The log of an unknown tenant is empty.

    Raises:
        StoreInPart: the tenant is being imported.
    """
    return whole_reach(tenant_id, connection.execute(SELECT_REACH, (tenant_id,)).fetchone())


def whole_reach(tenant_id: int, row: Sequence[Any] | None) -> Reach:
    """The same, of a row that begins with `REACH_COLUMNS`; None for an unknown tenant."""
    if row is not None and row[4]:
        raise StoreInPart(f"tenant {tenant_id} is being imported")
    return _reach_of(row)


def reach_in_part(connection: Connection, tenant_id: int) -> Reach:
    """The same, also of a tenant that is being imported, and in a database of an older version: for whoever judges what
    has arrived, and looks at a copy."""
    return _reach_of(connection.execute(SELECT_REACH_IN_PART, (tenant_id,)).fetchone())


def _reach_of(row: Sequence[Any] | None) -> Reach:
    return Reach(BEGINNING, BEGINNING) if row is None else Reach(Offset(*row[:2]), Offset(*row[2:4]))


def holds(connection: Connection, tenant_id: int, offset: Offset, reach: Reach) -> bool:
    """Whether the log of a tenant has an offset in its past. `reach` is of the same snapshot.

    An offset before the purged beginning, or one that has not happened yet, is not in the log's past.
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
    """The log does not lead on from `since`: this offset is not in the log's past, or it is too far back."""

    TOLD = "told"
    """The log's past is not the one that this process has told clients of: an old copy of the database was put back."""

    @property
    def follows(self) -> bool:
        """Whether the offset that was told is in the log's past."""
        return self is not Astray.TOLD


class Replay(msgspec.Struct, frozen=True):
    """A part of the log as one user sees it.

    Attributes:
        changes: in order.
        position: the offset up to which a client that has these changes misses nothing.
        last: the offset of the tenant's newest change in the same snapshot.
    """

    changes: list[Change]
    position: Offset
    last: Offset

    @property
    def follows(self) -> bool:
        """True: the offset that was told is in the log's past, because the changes were read from there."""
        return True


Found: TypeAlias = Replay | Astray


def as_it_is(replay: Replay) -> Replay:
    """Makes nothing else of a replay."""
    return replay


def replay(
    connection: Connection,
    tenant_id: int,
    user_id: int,
    since: Offset,
    *,
    until: Offset | None = None,
    told: Offset | None = None,
    limit: int,
    at_most: int | None = None,
) -> Found:
    """Read the changes after `since` that a user may see, at most `limit` of them.

    Args:
        connection: is inside one snapshot, in which everything is judged.
        tenant_id: the user's tenant.
        user_id: whose view it is.
        since: the offset up to which the client has everything.
        until: the offset at which to stop, which some socket was told; the newest change by default.
        told: another offset that a socket was told; it must be in the log's past as well.
        limit: the most changes in one answer. The answer ends earlier at `SLICE_BYTES`, but never before its first
            change.
        at_most: if there are more changes than this up to `until`, they are not replayed, and the answer is
            `Astray.SINCE`.
    """
    ends = reach(connection, tenant_id)
    if not all(offset is None or holds(connection, tenant_id, offset, ends) for offset in (until, told)):
        return Astray.TOLD
    end = ends.last if until is None else until
    if since.seq > end.seq or not holds(connection, tenant_id, since, ends):
        return Astray.SINCE
    changes: list[Change] = []
    size = 0
    # One more is looked for, because whoever has missed just as many as fit need not come again for nothing.
    for change in _walk(connection, tenant_id, user_id, since.seq, limit + 1):
        if change.offset.seq > end.seq:
            break
        if len(changes) == limit or size >= SLICE_BYTES:
            if at_most is not None and _more_than(connection, tenant_id, user_id, since.seq, end.seq, at_most):
                return Astray.SINCE
            return Replay(changes, changes[-1].offset, ends.last)
        changes.append(change)
        size += len(change.body)
    if at_most is not None and len(changes) > at_most:
        return Astray.SINCE
    return Replay(changes, end, ends.last)


def _walk(connection: Connection, tenant_id: int, user_id: int, since: int, limit: int) -> Iterator[Change]:
    """The user's own changes and the tenant's, in order, read lazily; at most `limit` of each kind.

    Several walks along indexes are merged here, because one statement with an OR would make SQLite sort.
    """
    own = (
        Change(tenant_id, Offset(mark, seq), user_id, NAMES[kind], data.encode())
        for seq, mark, kind, data in connection.execute(SELECT_OWN, (tenant_id, user_id, since, limit))
    )
    rows = connection.execute(SELECT_SHARED, (tenant_id, since, limit)).fetchall()
    shared = (Change(tenant_id, Offset(mark, seq), None, NAMES[kind], data.encode()) for seq, mark, kind, data in rows)
    # If the tenant's changes alone fill the slice, the walk ends with the last of them. Otherwise each slice would
    # search # for a new notification among thousands of job changes.
    reach = rows[-1][0] if len(rows) == limit else _ABOVE_ALL_SEQS
    first_new = connection.execute(SELECT_NEXT_NEW, (tenant_id, since, reach)).fetchone()
    if first_new is None:
        return merge(own, shared, key=attrgetter("offset.seq"))
    unread, read = (
        (
            Change(tenant_id, Offset(row[1], row[0]), user_id, NAMES["new"], body_of(row))
            for row in connection.execute(sql, (tenant_id, user_id, *first_new, limit))
        )
        for sql in (SELECT_NEW_UNREAD, SELECT_NEW_READ)
    )
    return merge(unread, read, own, shared, key=attrgetter("offset.seq"))


def _more_than(connection: Connection, tenant_id: int, user_id: int, since: int, until: int, at_most: int) -> bool:
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


def body_of(row: tuple[Any, ...]) -> bytes:
    """The payload of a change of kind `new`, from its notification: the same bytes as those that were sent live."""
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
