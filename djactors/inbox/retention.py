"""Carries out the commands of retention, in slices: expiry, which users see, and purging, which they do not see.

Rules:
  * Expiry is a change like any other: rows are stamped, counters are lowered, and each user gets one change for each
    slice. Where there is one writer, expiry walks along the ids, because they rise with time; see `walks`. On a
    database that several nodes share, a row with a lower id may be committed after one with a higher id was seen, and
    the nodes' clocks differ. So expiry goes by an index on `expires_at` there, which each notification pays for.
  * A log is purged from its beginning, so the rest has no gaps, and `oldest_seq` says up to where. The mark of the last
    purged change is kept beside `oldest_seq`, so that a client whose offset is exactly this change can go on.
  * The change that a connected socket was told last is not purged, nor anything after it, because the mark of this
    change is needed to find out whether the log still has what the socket was told.
  * A notification's row is purged only when the log no longer reaches back to its removal, so no replay misses a row.
  * Changes, domain events and suppressions are purged by their keys, which rise with time, up to the first row that is
    young. If the clock was wrong for a while, some rows have other times than their neighbours. A row whose time lies
    ahead says nothing of its age, so it is purged together with the old rows around it. A row that seems old behind a
    young one is not old, and is purged once everything before it is old. On a shared database the ids of domain events
    and suppressions do not rise with time. There each slice looks at the lowest ids there are, so none is stepped over,
    and purges only those rows of it that are old themselves.
  * Where ids follow the highest one that is stored, purging writes the highest id that it deleted into `counters`, so
    that no id is given twice.
  * Purging takes no tenant's lock beforehand. It deletes what no command changes any more, and takes the rows of the
    tenants in the order of their ids, as everybody does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from djactors.domain.commands import ExpireSlice, PurgeSlice, Sliced
from djactors.domain.notifications import encode
from djactors.domain.packets import NotificationIds
from djactors.domain.times import utc_text
from djactors.inbox.unit import UnitOfWork, weight_of
from djactors.inbox.walks import Walk, all_walks, finish, move
from djactors.store.connection import Connection

ABOVE_ALL_IDS = 2**63 - 1

TENANTS_A_SLICE = 100
"""The tenants whose logs one slice looks into if there is nothing to purge, which takes a few hundred microseconds."""

# Served by the primary key.
SELECT_WALKED = """SELECT id, tenant_id, user_id, removed_seq, expires_at, is_read, place, returned_seq
    FROM notifications WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"""
# Served by idx_notifications_expires_at, which PostgreSQL alone has.
SELECT_EXPIRED = """SELECT id, tenant_id, user_id, is_read, place, returned_seq FROM notifications
    WHERE removed_seq IS NULL AND expires_at <= ? ORDER BY expires_at, id LIMIT ?"""
SELECT_NEXT_EXPIRY = "SELECT expires_at FROM notifications WHERE removed_seq IS NULL ORDER BY expires_at, id LIMIT 1"
UPDATE_EXPIRED = """UPDATE notifications SET removed_seq = ?, removed_at = ?, removed_reason = 'expired',
    snoozed_until = NULL WHERE id = ?"""

# Served by the primary keys.
SELECT_TENANTS = "SELECT id, oldest_seq FROM tenants WHERE id > ? ORDER BY id LIMIT ?"
SELECT_CHANGES = "SELECT seq, created_at, mark FROM changes WHERE tenant_id = ? AND seq > ? ORDER BY seq LIMIT ?"
DELETE_CHANGES = "DELETE FROM changes WHERE tenant_id = ? AND seq > ? AND seq <= ?"
UPDATE_OLDEST = "UPDATE tenants SET oldest_seq = ?, oldest_mark = ? WHERE id = ?"

# Served by idx_notifications_removed, then by the primary key of tenants. CROSS JOIN keeps SQLite from walking the
# tenants first.
SELECT_REMOVED = """SELECT notifications.id FROM notifications CROSS JOIN tenants
    WHERE notifications.removed_at <= ? AND tenants.id = notifications.tenant_id
    AND notifications.removed_seq <= tenants.oldest_seq ORDER BY notifications.removed_at LIMIT ?"""
DELETE_NOTIFICATION = "DELETE FROM notifications WHERE id = ?"
UPSERT_PURGED = """INSERT INTO counters (name, value) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > counters.value"""

# Served by the primary keys as well.
SELECT_EVENTS = "SELECT id, received_at FROM domain_events WHERE id > ? ORDER BY id LIMIT ?"
DELETE_EVENTS = "DELETE FROM domain_events WHERE id <= ?"
SELECT_SUPPRESSIONS = "SELECT id, created_at FROM suppressions WHERE id > ? ORDER BY id LIMIT ?"
DELETE_SUPPRESSIONS = "DELETE FROM suppressions WHERE id <= ?"

# Served by idx_user_days_day.
SELECT_DAYS = """SELECT tenant_id, user_id, day FROM user_days
    WHERE day < ? AND summary_due IS NULL ORDER BY day LIMIT ?"""
# Another node may have made a summary due of a day meanwhile.
DELETE_DAY = "DELETE FROM user_days WHERE tenant_id = ? AND user_id = ? AND day = ? AND summary_due IS NULL"

# By the primary keys. The last is for a shared database.
_BY_ID: Mapping[str, tuple[str, str, str]] = {
    "domain_events": (SELECT_EVENTS, DELETE_EVENTS, "DELETE FROM domain_events WHERE id = ?"),
    "suppressions": (SELECT_SUPPRESSIONS, DELETE_SUPPRESSIONS, "DELETE FROM suppressions WHERE id = ?"),
}


_State: TypeAlias = tuple[bool, str | None, int | None]
"""Whether a notification is read, its place, and the change that brought it back: what `weight_of` asks for."""

_Expired: TypeAlias = tuple[int, int, int, _State]
"""The id, tenant and user of a notification, and its state."""


def expire_slice(unit: UnitOfWork, command: ExpireSlice) -> Sliced:
    """Take expired notifications out of the inboxes. Each walk goes on from where it stopped."""
    unit.flush()
    if unit.sharing is not None:
        return _expire_shared(unit, command)
    expired: list[_Expired] = []
    left = command.limit
    moments: list[str] = []
    more = False
    for walk in all_walks(unit.connection):
        next_id, next_due, looked_at = _walk(unit, walk, left, expired)
        left -= looked_at
        if next_due is not None:
            moments.append(next_due)
        elif left == 0:
            more = True
        elif walk.end is not None:
            finish(unit.connection, walk)
            continue
        if next_id != walk.next_id:
            move(unit.connection, walk, next_id)
    _take_out(unit, expired)
    return Sliced(len(expired), more, min(moments, default=None))


def _expire_shared(unit: UnitOfWork, command: ExpireSlice) -> Sliced:
    ask = unit.connection.execute
    found = ask(SELECT_EXPIRED, (unit.now, command.limit)).fetchall()
    # In the order of their ids, as a user's change names them.
    rows = sorted(unit.held(found, 1))
    _take_out(unit, [(id_, tenant_id, user_id, tuple(state)) for id_, tenant_id, user_id, *state in rows])
    unit.flush()
    row = ask(SELECT_NEXT_EXPIRY).fetchone()
    more = len(found) == command.limit or len(rows) < len(found)
    return Sliced(len(rows), more, None if row is None else row[0])


def _walk(unit: UnitOfWork, walk: Walk, limit: int, expired: list[_Expired]) -> tuple[int, str | None, int]:
    """Go on with a walk up to the first row that has not expired, at most `limit` rows, and collect the expired ones.

    Returns:
        The id to go on with; when the row of this id expires, if the walk stopped there; and how many rows were passed.
    """
    end = ABOVE_ALL_IDS if walk.end is None else walk.end
    next_id = walk.next_id
    rows = unit.connection.execute(SELECT_WALKED, (next_id, end, limit)).fetchall()
    for passed, (id_, tenant_id, user_id, removed_seq, expires_at, *state) in enumerate(rows):
        if removed_seq is None:
            if expires_at > unit.now:
                return id_, expires_at, passed
            expired.append((id_, tenant_id, user_id, tuple(state)))
        next_id = id_ + 1
    return next_id, None, len(rows)


def _take_out(unit: UnitOfWork, expired: Sequence[_Expired]) -> None:
    by_user: dict[tuple[int, int], list[tuple[int, _State]]] = {}
    for id_, tenant_id, user_id, state in expired:
        by_user.setdefault((tenant_id, user_id), []).append((id_, state))
    stamps: list[tuple[int, str, int]] = []
    for (tenant_id, user_id), rows in by_user.items():
        tenant, user = unit.ensure_tenant(tenant_id), unit.ensure_user(tenant_id, user_id)
        seq = unit.log(tenant, user_id, "deleted", encode(NotificationIds([id_ for id_, _ in rows])))
        stamps.extend((seq, unit.now, id_) for id_, _ in rows)
        weights = [weight_of(user, id_, *state) for id_, state in rows]
        unread, unseen = (sum(part) for part in zip(*weights, strict=True))
        if unread:
            unit.count_unread(user, -unread, -unseen)
    unit.connection.executemany(UPDATE_EXPIRED, stamps)


def purge_slice(unit: UnitOfWork, command: PurgeSlice) -> Sliced:
    """Delete a slice of the rows that are older than `keep`."""
    unit.flush()
    before = utc_text(unit.moment - command.keep)
    connection = unit.connection
    match command.table:
        case "changes":
            result = _purge_changes(connection, before, unit.now, command)
        case "notifications":
            found = connection.execute(SELECT_REMOVED, (before, command.limit)).fetchall()
            result = _deleted(connection, DELETE_NOTIFICATION, found, command.limit)
            if not connection.is_shared:
                _keep_highest(connection, "notifications", max((id_ for (id_,) in found), default=0))
        case "user_days":
            # In some time zones a day ends up to half a day later than in UTC.
            day = utc_text(unit.moment - command.keep - timedelta(days=1))[:10]
            found = connection.execute(SELECT_DAYS, (day, command.limit)).fetchall()
            result = _deleted(connection, DELETE_DAY, found, command.limit)
        case table:
            select, delete, delete_one = _BY_ID[table]
            found = connection.execute(select, (0, command.limit)).fetchall()
            if connection.is_shared:
                old = [(id_,) for id_, at in found if at <= before]
                connection.executemany(delete_one, old)
                result = Sliced(len(old), len(found) == command.limit and bool(old))
            else:
                rows, last = _old(found, before, unit.now)
                if rows:
                    connection.execute(delete, (last,))
                    _keep_highest(connection, table, last)
                result = Sliced(rows, rows == command.limit)
    unit.writes += result.rows
    return result


def _purge_changes(connection: Connection, before: str, now: str, command: PurgeSlice) -> Sliced:
    """Purge the beginnings of the tenants' logs, starting with the first tenant whose id is above `after`."""
    limit, after = command.limit, command.after
    tenants = connection.execute(SELECT_TENANTS, (after, TENANTS_A_SLICE)).fetchall()
    done = 0
    held_up: dict[int, int] = {}
    for tenant_id, oldest in tenants:
        if done == limit:
            return Sliced(done, more=True, after=after, held_up=held_up)
        found = connection.execute(SELECT_CHANGES, (tenant_id, oldest, limit - done)).fetchall()
        rows, last = _old(found, before, now)
        standing = command.standing.get(tenant_id)
        if rows and standing is not None and standing < last:
            held_up[tenant_id] = last
            rows, last = max(0, rows - (last - standing)), standing
        if rows:
            connection.execute(UPDATE_OLDEST, (last, found[rows - 1][2], tenant_id))
            connection.execute(DELETE_CHANGES, (tenant_id, oldest, last))
        done += rows
        if rows == len(found) and done == limit:
            # There may be more to purge in this tenant's log.
            return Sliced(done, more=True, after=after, held_up=held_up)
        after = tenant_id
    return Sliced(done, more=len(tenants) == TENANTS_A_SLICE, after=after, held_up=held_up)


def _keep_highest(connection: Connection, table: str, deleted: int) -> None:
    """Make sure that no id up to `deleted` is given again."""
    if deleted:
        connection.execute(UPSERT_PURGED, (table, deleted))


def _old(rows: Sequence[tuple[Any, ...]], before: str, now: str) -> tuple[int, int]:
    """Find the last row whose time is not after `before`, of those in front of the first young one: a row whose time is
    between `before` and `now`. Returns how many rows there are up to it, and its key.

    A row begins with its key and its time.
    """
    count, key = 0, 0
    for place, row in enumerate(rows, 1):
        if row[1] <= before:
            count, key = place, row[0]
        elif row[1] <= now:
            break
    return count, key


def _deleted(connection: Connection, statement: str, keys: Sequence[tuple[object, ...]], limit: int) -> Sliced:
    connection.executemany(statement, keys)
    return Sliced(len(keys), len(keys) == limit)
