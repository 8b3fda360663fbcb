"""What a user does to the inbox: read, read all, delete. A repeated command changes nothing and gets the same
answer."""

from __future__ import annotations

from djactors.domain.commands import Counted, Delete, MarkAllRead, MarkRead
from djactors.domain.errors import not_found
from djactors.domain.notifications import encode
from djactors.inbox.unit import UnitOfWork

SELECT_NOTIFICATION = "SELECT is_read, removed_seq FROM notifications WHERE id = ? AND tenant_id = ? AND user_id = ?"
UPDATE_READ = "UPDATE notifications SET is_read = true, read_at = ?, read_seq = ? WHERE id = ?"
UPDATE_ALL_READ = """UPDATE notifications SET is_read = true, read_at = ?, read_seq = ?
    WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL"""
UPDATE_REMOVED = "UPDATE notifications SET removed_seq = ?, removed_at = ?, removed_reason = ? WHERE id = ?"


def mark_read(unit: UnitOfWork, command: MarkRead) -> Counted:
    """Stamp one notification as read. The unread count falls by one if the notification was unread.

    Raises:
        Refused: `not_found`, for a notification that is missing, was removed, or belongs to somebody else.
    """
    is_read, removed_seq = _own_notification(unit, command)
    if removed_seq is not None:
        raise not_found()
    tenant, user = unit.ensure_tenant(command.tenant_id), unit.ensure_user(command.tenant_id, command.user_id)
    if not is_read:
        body = encode({"notificationIds": [command.notification_id], "readAt": unit.now})
        seq = unit.log(tenant, user.id, "read", body)
        unit.connection.execute(UPDATE_READ, (unit.now, seq, command.notification_id))
        unit.count_unread(user, -1)
    return Counted(user.unread)


def mark_all_read(unit: UnitOfWork, command: MarkAllRead) -> Counted:
    """Stamp all unread notifications as read, with one change in the log."""
    tenant, user = unit.tenant(command.tenant_id), unit.user(command.tenant_id, command.user_id)
    if tenant is None or user is None or user.unread == 0:
        return Counted(0)
    unit.flush()
    seq = unit.log(tenant, user.id, "read", encode({"all": True, "readAt": unit.now}))
    unit.connection.execute(UPDATE_ALL_READ, (unit.now, seq, tenant.id, user.id))
    unit.count_unread(user, -user.unread)
    return Counted(0)


def delete(unit: UnitOfWork, command: Delete) -> Counted:
    """Take one notification out of the inbox. Its row is stamped and stays, because the log still points at it.

    Raises:
        Refused: `not_found`, for a notification that never existed or belongs to somebody else.
    """
    is_read, removed_seq = _own_notification(unit, command)
    tenant, user = unit.ensure_tenant(command.tenant_id), unit.ensure_user(command.tenant_id, command.user_id)
    if removed_seq is None:
        seq = unit.log(tenant, user.id, "deleted", encode({"notificationIds": [command.notification_id]}))
        unit.connection.execute(UPDATE_REMOVED, (seq, unit.now, "deleted", command.notification_id))
        if not is_read:
            unit.count_unread(user, -1)
    return Counted(user.unread)


def _own_notification(unit: UnitOfWork, command: MarkRead | Delete) -> tuple[bool, int | None]:
    row = unit.connection.execute(
        SELECT_NOTIFICATION, (command.notification_id, command.tenant_id, command.user_id)
    ).fetchone()
    if row is None:
        raise not_found()
    return bool(row[0]), row[1]
