"""Archiving and snoozing: a notification is in one place, in the inbox itself, in the archive, or snoozed.

Rules:
  * Only what is in the inbox itself is counted. Moving a notification does not read it.
  * What is snoozed comes back unread and unseen, whether its moment has come or the user wants it now. It comes back
    once: the commit that brings it back is the one that forgets the moment.
  * Expiry wins. Nobody can snooze a notification to a moment at which it has left the inbox, and one whose time is up
    while the server does not run does not come back first.
  * A repeated command changes nothing and gets the same answer.
"""

from __future__ import annotations

from djactors.domain.commands import Archive, Counted, Sliced, Snooze, Unarchive, Unsnooze, WakeSnoozed
from djactors.domain.errors import Code, Refused
from djactors.domain.notifications import encode
from djactors.domain.packets import NotificationIds, Snoozed
from djactors.domain.times import utc_text
from djactors.inbox.reading import Own, counted, discount, end_reading, end_spell, own_notification
from djactors.inbox.rows import SERVED, Tenant, User
from djactors.inbox.unit import UnitOfWork, weight_of

ARCHIVED = "archived"
SNOOZED = "snoozed"

UPDATE_PLACE = "UPDATE notifications SET place = ?, place_seq = ?, snoozed_until = ? WHERE id = ?"
UPDATE_RETURNED = """UPDATE notifications SET place = NULL, place_seq = NULL, snoozed_until = NULL, returned_seq = ?,
    is_read = false, read_at = NULL, read_seq = NULL WHERE id = ?"""
# All are served by idx_notifications_snoozed_until.
SELECT_DUE = f"""SELECT id, tenant_id, user_id, removed_seq, is_read, read_seq, read_at, place, place_seq,
    snoozed_until, returned_seq, expires_at FROM notifications WHERE snoozed_until <= ? AND {SERVED}
    ORDER BY snoozed_until, id LIMIT ?"""
SELECT_NEXT_DUE = f"""SELECT snoozed_until FROM notifications WHERE snoozed_until IS NOT NULL AND {SERVED}
    ORDER BY snoozed_until LIMIT 1"""
UPDATE_NEVER_DUE = "UPDATE notifications SET snoozed_until = NULL WHERE id = ?"


def archive(unit: UnitOfWork, command: Archive) -> Counted:
    """Put one notification into the archive, from the inbox or from among the snoozed ones.

    Raises:
        Refused: `not_found`, here and below, for a notification that is missing, was removed, or is somebody else's.
    """
    tenant, user, own = own_notification(unit, command)
    if own.place != ARCHIVED:
        id_ = command.notification_id
        seq = unit.log(tenant, user.id, "archived", encode(NotificationIds([id_])))
        _move(unit, tenant, user, id_, own, ARCHIVED, seq, None)
    return counted(user)


def unarchive(unit: UnitOfWork, command: Unarchive) -> Counted:
    """Take one notification out of the archive. It is as read or unread as it was there."""
    tenant, user, own = own_notification(unit, command)
    if own.place == ARCHIVED:
        id_ = command.notification_id
        seq = unit.log(tenant, user.id, "unarchived", encode(NotificationIds([id_])))
        _end_place(unit, tenant, id_, own, seq)
        unit.connection.execute(UPDATE_PLACE, (None, None, None, id_))
        unread, unseen = weight_of(user, id_, own.is_read, None, own.returned_seq)
        if unread:
            unit.count_unread(user, unread, unseen)
    return counted(user)


def snooze(unit: UnitOfWork, command: Snooze) -> Counted:
    """Have one notification leave the inbox, or the archive, until a moment.

    Raises:
        Refused: `invalid`; the moment is past, or the notification will have expired by then.
    """
    tenant, user, own = own_notification(unit, command)
    until = utc_text(command.until)
    if own.place == SNOOZED and own.snoozed_until == until:
        return counted(user)
    if until <= unit.now:
        raise Refused(Code.INVALID, f"until: {until} is past: choose a later moment")
    if until >= own.expires_at:
        raise Refused(Code.INVALID, f"until: the notification expires at {own.expires_at}: choose an earlier moment")
    id_ = command.notification_id
    seq = unit.log(tenant, user.id, "snoozed", encode(Snoozed([id_], until)))
    _move(unit, tenant, user, id_, own, SNOOZED, seq, until)
    unit.wake_clock(until)
    return counted(user)


def unsnooze(unit: UnitOfWork, command: Unsnooze) -> Counted:
    """Bring one snoozed notification back now."""
    tenant, user, own = own_notification(unit, command)
    if own.place == SNOOZED:
        _bring_back(unit, tenant, user, [(command.notification_id, own)])
    return counted(user)


def wake(unit: UnitOfWork, command: WakeSnoozed) -> Sliced:
    """Bring back what is due, with one change for each user. What has expired stays away, and expiry takes it out."""
    unit.flush()
    found = unit.connection.execute(SELECT_DUE, (unit.now, command.limit)).fetchall()
    due = unit.held(found, 1)
    back: dict[tuple[int, int], list[tuple[int, Own]]] = {}
    for id_, tenant_id, user_id, *state in due:
        own = Own(*state)
        if own.expires_at <= unit.now:
            unit.connection.execute(UPDATE_NEVER_DUE, (id_,))
        else:
            back.setdefault((tenant_id, user_id), []).append((id_, own))
    for (tenant_id, user_id), rows in back.items():
        _bring_back(unit, unit.ensure_tenant(tenant_id), unit.ensure_user(tenant_id, user_id), rows)
    unit.flush()
    row = unit.connection.execute(SELECT_NEXT_DUE).fetchone()
    return Sliced(len(due), len(found) == command.limit or len(due) < len(found), None if row is None else row[0])


def _move(
    unit: UnitOfWork, tenant: Tenant, user: User, id_: int, own: Own, place: str, seq: int, until: str | None
) -> None:
    _end_place(unit, tenant, id_, own, seq)
    unit.connection.execute(UPDATE_PLACE, (place, seq, until, id_))
    discount(unit, user, id_, own)


def _bring_back(unit: UnitOfWork, tenant: Tenant, user: User, rows: list[tuple[int, Own]]) -> None:
    seq = unit.log(tenant, user.id, "unsnoozed", encode(NotificationIds([id_ for id_, _ in rows])))
    for id_, own in rows:
        _end_place(unit, tenant, id_, own, seq)
        if own.is_read:
            end_reading(unit, tenant, id_, own.read_seq, own.read_at, seq)
        unit.connection.execute(UPDATE_RETURNED, (seq, id_))
    unit.writes += len(rows)
    unit.count_unread(user, len(rows), len(rows))


def _end_place(unit: UnitOfWork, tenant: Tenant, id_: int, own: Own, seq: int) -> None:
    """Keep where a notification was until now, for the inbox as it was."""
    if own.place is not None:
        end_spell(unit, tenant, (id_, seq, own.place, own.place_seq, own.snoozed_until))
