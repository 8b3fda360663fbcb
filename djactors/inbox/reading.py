"""What a user does to the inbox in place: read, unread, read all or all of a job, see, delete. A repeated command
changes nothing and gets the same answer.

Rules:
  * Only the inbox itself is counted and is read as a whole. What was archived or snoozed is read one by one.
  * Each change in the log names what it changed, or is of the whole inbox at that point of the log. A change that
    changes nothing is not logged, so the log can be read backwards.
  * A commit reads at most `READ_SLICE` notifications. Of more, each slice is a change of its own, and the command has
    an outcome once the last one is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from djactors.domain.commands import (
    Counted,
    Delete,
    MarkAllRead,
    MarkJobRead,
    MarkRead,
    MarkSeen,
    MarkUnread,
    OneNotification,
)
from djactors.domain.errors import not_found
from djactors.domain.notifications import encode
from djactors.domain.packets import NotificationIds, Read, Seen
from djactors.inbox.rows import Tenant, User
from djactors.inbox.unit import UnitOfWork, weight_of

READ_SLICE = 500
"""Notifications that one commit reads: some 10 ms of the writer, in which others wait."""

SELECT_NOTIFICATION = """SELECT removed_seq, is_read, read_seq, read_at, place, place_seq, snoozed_until, returned_seq,
    expires_at FROM notifications WHERE id = ? AND tenant_id = ? AND user_id = ?"""
UPDATE_READ = "UPDATE notifications SET is_read = true, read_at = ?, read_seq = ? WHERE id = ?"
UPDATE_UNREAD = "UPDATE notifications SET is_read = false, read_at = NULL, read_seq = NULL WHERE id = ?"
UPDATE_REMOVED = """UPDATE notifications SET removed_seq = ?, removed_at = ?, removed_reason = ?, snoozed_until = NULL
    WHERE id = ?"""
# All are served by the unread half of idx_notifications_user_unread. That of a job looks at what is unread of others, a
# microsecond each: an index by job would cost every notification of a job a page.
UPDATE_ALL_READ = """UPDATE notifications SET is_read = true, read_at = ?, read_seq = ?
    WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND place IS NULL"""
SELECT_UNREAD_SLICE = """SELECT id, returned_seq FROM notifications WHERE tenant_id = ? AND user_id = ?
    AND is_read = false AND removed_seq IS NULL AND place IS NULL ORDER BY id DESC LIMIT ?"""
SELECT_UNREAD_OF_JOB = """SELECT id, returned_seq FROM notifications WHERE tenant_id = ? AND user_id = ?
    AND is_read = false AND removed_seq IS NULL AND place IS NULL AND job_id = ? ORDER BY id DESC LIMIT ?"""
COUNT_NEWER = """SELECT count(*) FROM notifications WHERE tenant_id = ? AND user_id = ?
    AND is_read = false AND id > ? AND removed_seq IS NULL AND place IS NULL"""
# Served by either half of the same index, read backwards.
SELECT_NEWEST_UNREAD = """SELECT id FROM notifications WHERE tenant_id = ? AND user_id = ? AND is_read = false
    ORDER BY id DESC LIMIT 1"""
SELECT_NEWEST_READ = """SELECT id FROM notifications WHERE tenant_id = ? AND user_id = ? AND is_read = true
    ORDER BY id DESC LIMIT 1"""

# The primary key of notification_spells, and of tenants. Of what the log reaches back to no longer nobody asks.
DELETE_SPELLS = """DELETE FROM notification_spells WHERE notification_id = ?
    AND until_seq <= (SELECT oldest_seq FROM tenants WHERE id = ?)"""
INSERT_SPELL = """INSERT INTO notification_spells (notification_id, until_seq, state, since_seq, at)
    VALUES (?, ?, ?, ?, ?)"""


class Own(msgspec.Struct, frozen=True, gc=False):
    """The state of a notification of the user's, as it is stored."""

    removed_seq: int | None
    is_read: bool
    read_seq: int | None
    read_at: str | None
    place: str | None
    place_seq: int | None
    snoozed_until: str | None
    returned_seq: int | None
    expires_at: str


def mark_read(unit: UnitOfWork, command: MarkRead) -> Counted:
    """Stamp one notification as read.

    Raises:
        Refused: `not_found`, for a notification that is missing, was removed, or belongs to somebody else.
    """
    tenant, user, own = own_notification(unit, command)
    if not own.is_read:
        body = encode(Read(notification_ids=[command.notification_id], read_at=unit.now))
        seq = unit.log(tenant, user.id, "read", body)
        unit.connection.execute(UPDATE_READ, (unit.now, seq, command.notification_id))
        discount(unit, user, command.notification_id, own)
    return counted(user)


def mark_unread(unit: UnitOfWork, command: MarkUnread) -> Counted:
    """Take back that one notification was read. Raises as `mark_read` does."""
    tenant, user, own = own_notification(unit, command)
    if own.is_read:
        seq = unit.log(tenant, user.id, "unread", encode(NotificationIds([command.notification_id])))
        end_reading(unit, tenant, command.notification_id, own.read_seq, own.read_at, seq)
        unit.connection.execute(UPDATE_UNREAD, (command.notification_id,))
        unread, unseen = weight_of(user, command.notification_id, False, own.place, own.returned_seq)
        if unread:
            unit.count_unread(user, unread, unseen)
    return counted(user)


def mark_all_read(unit: UnitOfWork, command: MarkAllRead) -> Counted | None:
    """Stamp all unread notifications of the inbox as read, with one change in the log if one slice has them all.

    None if there are more than a slice has: the newest of them are read now, and the command is still to do.
    """
    tenant, user = unit.tenant(command.tenant_id), unit.user(command.tenant_id, command.user_id)
    if tenant is None or user is None:
        return Counted(0, 0)
    if user.unread == 0:
        return counted(user)
    unit.flush()
    if user.unread > READ_SLICE:
        rows = unit.connection.execute(SELECT_UNREAD_SLICE, (tenant.id, user.id, READ_SLICE)).fetchall()
        _read(unit, tenant, user, rows)
        return None
    seq = unit.log(tenant, user.id, "read", encode(Read(all=True, read_at=unit.now)))
    unit.connection.execute(UPDATE_ALL_READ, (unit.now, seq, tenant.id, user.id))
    unit.writes += user.unread
    unit.count_unread(user, -user.unread, -user.unseen)
    return counted(user)


def mark_job_read(unit: UnitOfWork, command: MarkJobRead) -> Counted | None:
    """Stamp the unread notifications of one job as read. None as for `mark_all_read`.

    Raises:
        Refused: `not_found`, for a job that the tenant does not have.
    """
    if unit.jobs.get(command.tenant_id, command.job_id) is None:
        raise not_found()
    tenant, user = unit.ensure_tenant(command.tenant_id), unit.user(command.tenant_id, command.user_id)
    if user is None:
        return Counted(0, 0)
    if user.unread == 0:
        return counted(user)
    unit.flush()
    wanted = tenant.id, user.id, command.job_id, READ_SLICE + 1
    rows = unit.connection.execute(SELECT_UNREAD_OF_JOB, wanted).fetchall()
    if rows:
        _read(unit, tenant, user, rows[:READ_SLICE])
    return None if len(rows) > READ_SLICE else counted(user)


def mark_seen(unit: UnitOfWork, command: MarkSeen) -> Counted:
    """Note up to which notification the user has seen the inbox. What was seen once stays so."""
    tenant, user = unit.tenant(command.tenant_id), unit.user(command.tenant_id, command.user_id)
    if tenant is None or user is None:
        return Counted(0, 0)
    unit.flush()
    newest = _newest(unit, user)
    up_to = max(user.seen_id, newest if command.up_to is None else min(command.up_to, newest))
    if up_to == user.seen_id and user.unseen == 0:
        return counted(user)
    left = 0
    if up_to < newest:
        left = int(unit.connection.execute(COUNT_NEWER, (tenant.id, user.id, up_to)).fetchone()[0])
    if up_to == user.seen_id and left == user.unseen:
        return counted(user)
    seq = unit.log(tenant, user.id, "seen", encode(Seen(up_to, unit.now)))
    unit.mark_seen(user, up_to, seq)
    unit.count_unread(user, 0, left - user.unseen)
    return counted(user)


def delete(unit: UnitOfWork, command: Delete) -> Counted:
    """Take one notification out of the inbox. Its row is stamped and stays, because the log still points at it.

    Raises:
        Refused: `not_found`, for a notification that never existed or belongs to somebody else.
    """
    tenant, user, own = own_notification(unit, command, removed_too=True)
    if own.removed_seq is None:
        seq = unit.log(tenant, user.id, "deleted", encode(NotificationIds([command.notification_id])))
        unit.connection.execute(UPDATE_REMOVED, (seq, unit.now, "deleted", command.notification_id))
        discount(unit, user, command.notification_id, own)
    return counted(user)


# What the commands on one notification share


def own_notification(
    unit: UnitOfWork, command: OneNotification, *, removed_too: bool = False
) -> tuple[Tenant, User, Own]:
    """The notification that a command names, with its tenant and its user.

    Raises:
        Refused: `not_found`, for a notification that is missing or belongs to somebody else, or was removed.
    """
    wanted = command.notification_id, command.tenant_id, command.user_id
    if wanted in unit.notifications:
        row = unit.notifications.pop(wanted)  # good for one command: the command may change the row
    else:
        row = unit.connection.execute(SELECT_NOTIFICATION, wanted).fetchone()
    if row is None or (row[0] is not None and not removed_too):
        raise not_found()
    return unit.ensure_tenant(command.tenant_id), unit.ensure_user(command.tenant_id, command.user_id), Own(*row)


def counted(user: User) -> Counted:
    """The answer to a command of this user's."""
    return Counted(user.unread, user.unseen)


def discount(unit: UnitOfWork, user: User, notification_id: int, own: Own) -> None:
    """Count a notification no longer that was in this state before."""
    unread, unseen = weight_of(user, notification_id, own.is_read, own.place, own.returned_seq)
    if unread:
        unit.count_unread(user, -unread, -unseen)


def end_reading(
    unit: UnitOfWork, tenant: Tenant, notification_id: int, since: int | None, at: str | None, until: int
) -> None:
    """Keep that a notification was read from the change `since` to the change `until`, for the inbox as it was."""
    end_spell(unit, tenant, (notification_id, until, "read", since, at))


def end_spell(unit: UnitOfWork, tenant: Tenant, spell: tuple[int, int, str, int | None, str | None]) -> None:
    """Store a time that is over: the notification, the last change, the state, the first change and its text."""
    unit.connection.execute(DELETE_SPELLS, (spell[0], tenant.id))
    unit.connection.execute(INSERT_SPELL, spell)


def _read(unit: UnitOfWork, tenant: Tenant, user: User, rows: Sequence[tuple[int, int | None]]) -> None:
    """Stamp unread notifications of the inbox as read. A row is an id, and the change that brought it back."""
    ids = [id_ for id_, _ in rows]
    seq = unit.log(tenant, user.id, "read", encode(Read(notification_ids=ids, read_at=unit.now)))
    unit.connection.executemany(UPDATE_READ, [(unit.now, seq, id_) for id_ in ids])
    unit.writes += len(ids)
    weights: Iterable[tuple[int, int]] = (weight_of(user, id_, False, None, returned) for id_, returned in rows)
    unit.count_unread(user, -len(ids), -sum(unseen for _, unseen in weights))


def _newest(unit: UnitOfWork, user: User) -> int:
    """The id of the user's newest notification, wherever that is now; 0 if there is none."""
    newest = 0
    for sql in (SELECT_NEWEST_UNREAD, SELECT_NEWEST_READ):
        row = unit.connection.execute(sql, (user.tenant_id, user.id)).fetchone()
        newest = newest if row is None else max(newest, row[0])
    return newest
