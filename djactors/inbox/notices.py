"""Puts notifications into inboxes, within the daily limit. A notification may take the place of an older one.

Rules:
  * Nobody who is deactivated is notified.
  * Notifications that the limit holds back are counted and summed up. Each is named as suppressed in the answer and in
    `suppressions`, so none is lost silently.
  * The tenant of `djactors probe` has no limit, because a monitor may probe every minute.
  * Who has muted a job is told only of the types that reach such people as well (`Rules.never_muted`). The rest is
    named as suppressed as well, and is no part of any limit.
  * A replacement is a deletion and a new row in one commit. The older notification leaves the inbox with the reason
    `replaced` and a change of its own, and the new notification names it. A notification that has already left the
    inbox is not replaced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from djactors.domain.limits import next_summary, summary
from djactors.domain.notification_rules import DEACTIVATED, MUTED
from djactors.domain.notifications import NULL, Draft, Notification, encode
from djactors.domain.packets import NotificationIds
from djactors.domain.reserved import PROBE_TENANT
from djactors.domain.times import utc_text
from djactors.inbox.rows import Tenant, User, UserDay
from djactors.inbox.unit import UnitOfWork, weight_of

BURST_DEPTH = 100
"""How many of a user's newest unread notifications are searched for one that a new notification can replace. The last
notification of a burst is the newest one or close to it, and the search must not grow with the inbox."""

# Served by idx_notifications_user_unread, read backwards, so nothing is sorted. Rows are read one by one until one
# fits.
SELECT_UNREAD = """SELECT id, type, job_id, data FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND place IS NULL
    ORDER BY id DESC LIMIT ?"""
SELECT_STATE = "SELECT removed_seq, is_read, place, returned_seq FROM notifications WHERE id = ?"
UPDATE_REPLACED = """UPDATE notifications SET removed_seq = ?, removed_at = ?, removed_reason = 'replaced',
    snoozed_until = NULL WHERE id = ?"""


class Entry(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A notification as the answer to its event shows it."""

    id: int
    user_id: int
    type: str


class Suppressed(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A user who was not notified, as the answer to the event shows it."""

    user_id: int
    reason: str


def tell(
    unit: UnitOfWork, tenant: Tenant, event_id: int, drafts: Iterable[Draft], job_id: int | None, *, by_person: bool
) -> tuple[list[Entry], list[Suppressed]]:
    """Notify each draft's user of an event, within the daily limit. Returns who was notified and who was not.

    `by_person` says that a person caused the event, and not a backend.
    """
    limits = unit.limits
    deaf = () if job_id is None else unit.jobs.deaf(tenant.id, job_id)
    entries: list[Entry] = []
    held: list[Suppressed] = []
    for draft in drafts:
        if draft.user_id in deaf and draft.type not in unit.rules.never_muted:
            held.append(suppress(unit, tenant, draft.user_id, event_id, draft.type, MUTED))
            continue
        user = unit.ensure_user(tenant.id, draft.user_id)
        if user.deactivated_at is not None:
            held.append(suppress(unit, tenant, user.id, event_id, draft.type, DEACTIVATED))
            continue
        date = unit.today(tenant, user)
        reason = None
        if tenant.id == PROBE_TENANT:
            pass  # No limit holds it back.
        elif by_person:
            reason = limits.persons_refusal(draft.priority, user.sent, user.by_persons)
        else:
            reason = limits.refusal(draft.priority, user.sent)
        if reason is None:
            # What persons cause beyond their half is no part of the whole: it must not use up what is a backend's.
            if not by_person or user.by_persons < limits.persons_share:
                user.sent += 1
            user.by_persons += by_person
            entries.append(_notify(unit, tenant, user, draft, event_id, job_id))
        else:
            day = unit.days.get(tenant.id, user.id, date)
            day.held += 1
            unit.days.put(day)
            unit.wanted_summaries[day.tenant_id, day.user_id, day.day] = day
            held.append(suppress(unit, tenant, draft.user_id, event_id, draft.type, reason))
    return entries, held


def suppress(unit: UnitOfWork, tenant: Tenant, user_id: int, event_id: int, kind: str, reason: str) -> Suppressed:
    """Record why somebody is not notified of an event."""
    unit.add_suppression((unit.next_id("suppressions"), tenant.id, user_id, event_id, kind, reason, unit.now))
    return Suppressed(user_id, reason)


def settle_summaries(unit: UnitOfWork) -> None:
    """Sum up what was held back in this unit of work, at once if the user may get a summary now, otherwise when it is
    due.

    This is called once for all commands of a commit, so that a burst gives one summary with the right count.
    """
    wanted, unit.wanted_summaries = unit.wanted_summaries, {}
    for day in wanted.values():
        due = next_summary(day.summary_at, unit.moment)
        if due <= unit.moment:
            send_summary(unit, day)
        elif day.summary_due is None:
            day.summary_due = utc_text(due)
            unit.days.put(day)
            unit.wake_clock(day.summary_due)


def send_summary(unit: UnitOfWork, day: UserDay) -> None:
    """Tell a user how much was held back on a day. This summary replaces the one before."""
    tenant = unit.ensure_tenant(day.tenant_id)
    user = unit.ensure_user(tenant.id, day.user_id)
    used_up = user.sent_day != day.day or user.sent >= unit.limits.daily_limit
    draft = summary(day.user_id, day.day, day.held, unit.limits, used_up=used_up)
    replaces = None
    if day.summary_id is not None and _take_out(unit, tenant, day.user_id, day.summary_id):
        replaces = day.summary_id
    entry = _put(unit, tenant, user, draft, None, None, replaces)
    day.summary_id, day.summary_at, day.summary_due = entry.id, unit.now, None
    unit.days.put(day)
    # The count of this summary includes what was held back a moment ago.
    unit.wanted_summaries.pop((day.tenant_id, day.user_id, day.day), None)


def _notify(unit: UnitOfWork, tenant: Tenant, user: User, draft: Draft, event_id: int, job_id: int | None) -> Entry:
    if not unit.limits.collapse_bursts or job_id is None:
        return _put(unit, tenant, user, draft, event_id, job_id, None)
    # The notification to replace may have been staged a moment ago.
    unit.flush()
    replaces = None
    for id_, kind, its_job, data in unit.connection.execute(SELECT_UNREAD, (tenant.id, draft.user_id, BURST_DEPTH)):
        if kind == draft.type and its_job == job_id:
            replaces, count = id_, _count_of(data) + 1
            break
    if replaces is not None:
        _take_out(unit, tenant, draft.user_id, replaces)
        draft = msgspec.structs.replace(draft, data=_with_count(draft.data, count))
    return _put(unit, tenant, user, draft, event_id, job_id, replaces)


def _put(
    unit: UnitOfWork,
    tenant: Tenant,
    user: User,
    draft: Draft,
    event_id: int | None,
    job_id: int | None,
    replaces: int | None,
) -> Entry:
    """Put a new row into an inbox, log its change, and raise the unread count."""
    notification_id = unit.next_id("notifications")
    data = NULL if draft.data is None else msgspec.Raw(draft.data)
    mark = msgspec.UNSET if replaces is None else replaces
    body = Notification(notification_id, draft.type, draft.priority, draft.title, draft.message, data, unit.now, mark)
    seq = unit.log(tenant, user.id, "new", encode(body), notification_id)
    unit.count_unread(user, +1, +1)
    unit.add_notification(
        (
            notification_id,
            tenant.id,
            user.id,
            event_id,
            draft.type,
            draft.priority,
            draft.title,
            draft.message,
            None if draft.data is None else draft.data.decode(),
            unit.now,
            unit.expires,
            seq,
            job_id,
            replaces,
        )
    )
    return Entry(notification_id, user.id, draft.type)


def _take_out(unit: UnitOfWork, tenant: Tenant, user_id: int, notification_id: int) -> bool:
    """Take a notification out of the inbox because another one replaces it. Returns False if it has already left.

    Its row must be in the database: flush what is staged first.
    """
    row = unit.connection.execute(SELECT_STATE, (notification_id,)).fetchone()
    if row is None or row[0] is not None:
        return False
    seq = unit.log(tenant, user_id, "deleted", encode(NotificationIds([notification_id])))
    unit.connection.execute(UPDATE_REPLACED, (seq, unit.now, notification_id))
    user = unit.ensure_user(tenant.id, user_id)
    unread, unseen = weight_of(user, notification_id, *row[1:])
    if unread:
        unit.count_unread(user, -unread, -unseen)
    return True


def _count_of(data: str | None) -> int:
    """How many notifications a notification with this data stands for."""
    value: Any = None if data is None else msgspec.json.decode(data)
    count = value.get("count", 1) if isinstance(value, dict) else 1
    return count if isinstance(count, int) else 1


def _with_count(data: bytes | None, count: int) -> bytes:
    return encode({**({} if data is None else msgspec.json.decode(data)), "count": count})
