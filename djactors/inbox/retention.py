"""Carries out what retention asks for, in slices: expiry, which users see, and purging, which they do not.

Rules:
  * Expiry is a change like any other: rows are stamped, counters lowered, one change for each user and slice.
  * A log is purged from its beginning, and `oldest_seq` says up to where: what is left of it has no gaps. The mark of
    the last change that went is kept beside it, so that whoever stands exactly there can go on.
  * Nothing is purged behind the change that somebody who is connected was told last: by the mark of that change the log
    is asked whether they still share its past.
  * A notification's row is purged only when the log no longer reaches back to its leaving, so no replay misses a row.
  * Changes, domain events and suppressions are purged by their keys, which rise with time, up to the last old row of a
    slice. A row whose time lies ahead (the clock was wrong for a while) goes with the older ones behind it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from djactors.domain.commands import ExpireSlice, PurgeSlice, Sliced
from djactors.domain.notifications import encode
from djactors.domain.times import utc_text
from djactors.inbox.unit import UnitOfWork

TENANTS_A_SLICE = 100
"""Tenants whose logs one slice looks into, should there be nothing to purge: a few hundred microseconds."""

# idx_notifications_expires, both.
SELECT_EXPIRED = """SELECT id, tenant_id, user_id, is_read FROM notifications
    WHERE expires_at <= ? AND removed_seq IS NULL ORDER BY expires_at LIMIT ?"""
SELECT_NEXT_EXPIRY = "SELECT expires_at FROM notifications WHERE removed_seq IS NULL ORDER BY expires_at LIMIT 1"
UPDATE_EXPIRED = "UPDATE notifications SET removed_seq = ?, removed_at = ?, removed_reason = 'expired' WHERE id = ?"

# The primary keys.
SELECT_TENANTS = "SELECT id, oldest_seq FROM tenants WHERE id > ? ORDER BY id LIMIT ?"
SELECT_CHANGES = "SELECT seq, created_at, mark FROM changes WHERE tenant_id = ? AND seq > ? ORDER BY seq LIMIT ?"
DELETE_CHANGES = "DELETE FROM changes WHERE tenant_id = ? AND seq > ? AND seq <= ?"
UPDATE_OLDEST = "UPDATE tenants SET oldest_seq = ?, oldest_mark = ? WHERE id = ?"

# idx_notifications_removed, then the primary key of tenants. CROSS JOIN keeps SQLite from walking the tenants first.
SELECT_REMOVED = """SELECT notifications.id FROM notifications CROSS JOIN tenants
    WHERE notifications.removed_at <= ? AND tenants.id = notifications.tenant_id
    AND notifications.removed_seq <= tenants.oldest_seq ORDER BY notifications.removed_at LIMIT ?"""
DELETE_NOTIFICATION = "DELETE FROM notifications WHERE id = ?"

# The primary keys again.
SELECT_EVENTS = "SELECT id, received_at FROM domain_events WHERE id > ? ORDER BY id LIMIT ?"
DELETE_EVENTS = "DELETE FROM domain_events WHERE id <= ?"
SELECT_SUPPRESSIONS = "SELECT id, created_at FROM suppressions WHERE id > ? ORDER BY id LIMIT ?"
DELETE_SUPPRESSIONS = "DELETE FROM suppressions WHERE id <= ?"

# idx_user_days_day.
SELECT_DAYS = """SELECT tenant_id, user_id, day FROM user_days
    WHERE day < ? AND summary_due IS NULL ORDER BY day LIMIT ?"""
DELETE_DAY = "DELETE FROM user_days WHERE tenant_id = ? AND user_id = ? AND day = ?"

_BY_ID: Mapping[str, tuple[str, str]] = {
    "domain_events": (SELECT_EVENTS, DELETE_EVENTS),
    "suppressions": (SELECT_SUPPRESSIONS, DELETE_SUPPRESSIONS),
}


def expire_slice(unit: UnitOfWork, command: ExpireSlice) -> Sliced:
    """Take what has expired out of the inboxes, the earliest first."""
    unit.flush()
    rows = unit.connection.execute(SELECT_EXPIRED, (unit.now, command.limit)).fetchall()
    by_user: dict[tuple[int, int], list[tuple[int, bool]]] = {}
    for id_, tenant_id, user_id, is_read in rows:
        by_user.setdefault((tenant_id, user_id), []).append((id_, bool(is_read)))
    stamps: list[tuple[int, str, int]] = []
    for (tenant_id, user_id), expired in by_user.items():
        tenant, user = unit.ensure_tenant(tenant_id), unit.ensure_user(tenant_id, user_id)
        seq = unit.log(tenant, user_id, "deleted", encode({"notificationIds": [id_ for id_, _ in expired]}))
        stamps.extend((seq, unit.now, id_) for id_, _ in expired)
        unread = sum(not is_read for _, is_read in expired)
        if unread:
            unit.count_unread(user, -unread)
    unit.connection.executemany(UPDATE_EXPIRED, stamps)
    row = unit.connection.execute(SELECT_NEXT_EXPIRY).fetchone()
    return Sliced(len(rows), len(rows) == command.limit, None if row is None else row[0])


def purge_slice(unit: UnitOfWork, command: PurgeSlice) -> Sliced:
    """Delete a slice of what is older than `keep`."""
    unit.flush()
    before = utc_text(unit.moment - command.keep)
    connection = unit.connection
    match command.table:
        case "changes":
            result = _purge_changes(connection, before, command)
        case "notifications":
            found = connection.execute(SELECT_REMOVED, (before, command.limit)).fetchall()
            result = _deleted(connection, DELETE_NOTIFICATION, found, command.limit)
        case "user_days":
            # A day ends up to half a day later in some tenant's time zone than in UTC.
            day = utc_text(unit.moment - command.keep - timedelta(days=1))[:10]
            found = connection.execute(SELECT_DAYS, (day, command.limit)).fetchall()
            result = _deleted(connection, DELETE_DAY, found, command.limit)
        case table:
            select, delete = _BY_ID[table]
            found = connection.execute(select, (0, command.limit)).fetchall()
            rows, last = _old(found, before)
            if rows:
                connection.execute(delete, (last,))
            result = Sliced(rows, rows == command.limit)
    unit.writes += result.rows
    return result


def _purge_changes(connection: sqlite3.Connection, before: str, command: PurgeSlice) -> Sliced:
    """Purge the beginnings of the tenants' logs, from the tenant behind `after` on."""
    limit, after = command.limit, command.after
    tenants = connection.execute(SELECT_TENANTS, (after, TENANTS_A_SLICE)).fetchall()
    done = 0
    held_up: dict[int, int] = {}
    for tenant_id, oldest in tenants:
        if done == limit:
            return Sliced(done, more=True, after=after, held_up=held_up)
        found = connection.execute(SELECT_CHANGES, (tenant_id, oldest, limit - done)).fetchall()
        rows, last = _old(found, before)
        standing = command.standing.get(tenant_id)
        if rows and standing is not None and standing < last:
            held_up[tenant_id] = last
            rows, last = max(0, rows - (last - standing)), standing
        if rows:
            connection.execute(UPDATE_OLDEST, (last, found[rows - 1][2], tenant_id))
            connection.execute(DELETE_CHANGES, (tenant_id, oldest, last))
        done += rows
        if rows == len(found) and done == limit:
            # There may be more in this one.
            return Sliced(done, more=True, after=after, held_up=held_up)
        after = tenant_id
    return Sliced(done, more=len(tenants) == TENANTS_A_SLICE, after=after, held_up=held_up)


def _old(rows: Sequence[tuple[Any, ...]], before: str) -> tuple[int, int]:
    """How many of (key, time, …) rows are up to the last one that is not after `before`, and that one's key."""
    for index in range(len(rows) - 1, -1, -1):
        if rows[index][1] <= before:
            return index + 1, rows[index][0]
    return 0, 0


def _deleted(connection: sqlite3.Connection, statement: str, keys: Sequence[tuple[object, ...]], limit: int) -> Sliced:
    connection.executemany(statement, keys)
    return Sliced(len(keys), len(keys) == limit)


# Reclaiming the file's space

SELECT_FREE = "PRAGMA freelist_count"
RECLAIM_ONE = "PRAGMA incremental_vacuum(1)"


def reclaimable(connection: sqlite3.Connection, keep: int) -> int:
    """How many free pages the file has beyond `keep`."""
    return max(0, int(connection.execute(SELECT_FREE).fetchone()[0]) - keep)


def reclaim(connection: sqlite3.Connection, pages: int, keep: int) -> int:
    """Give up to `pages` free pages back to the file system, but leave `keep` for what comes; how many are left.

    A page at a time: the sqlite3 module steps a pragma without columns only once.
    """
    free = reclaimable(connection, keep)
    for _ in range(min(pages, free)):
        connection.execute(RECLAIM_ONE)
    return max(0, free - pages)
