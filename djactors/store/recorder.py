"""Carries out commands inside the writer's transaction: the one place where the inbox changes.

Rules:
  * A batch of commands is one unit of work. A command that is refused leaves nothing behind: refusals come before the
    first staging; should one come after, or should anything else go wrong, the whole batch is rolled back and each
    command is carried out again behind a savepoint of its own (`record_each`). One command's error never touches
    another's.
  * Nothing a client can see changes without a sequence number.
  * The answer to a keyed event is stored with it; a retry gets the same bytes.

Runs on the writer's thread; knows SQL, no actors, no sockets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from djactors.domain import events
from djactors.domain.commands import (
    Command,
    Delete,
    MarkAllRead,
    MarkRead,
    Outcome,
    Publish,
    Published,
    Recorded,
)
from djactors.domain.errors import Code, Refused
from djactors.domain.notifications import HISTORY, NULL, Draft, Notification, encode
from djactors.domain.rules import TRIGGERS
from djactors.domain.times import utc_text
from djactors.store import marks, workflow
from djactors.store.unit import Tenant, UnitOfWork

SELECT_KEY = "SELECT fingerprint, answer FROM domain_events WHERE tenant_id = ? AND idempotency_key = ?"


class _LateRefusalError(Exception):
    """A command was refused after it had staged something: the batch must be taken apart."""


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    user_id: int
    type: str


class _Suppressed(msgspec.Struct, frozen=True, rename="camel"):
    user_id: int
    reason: str


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a 201: contract, `POST /api/events`."""

    event_id: int
    seq: int
    notifications: list[_Entry]
    suppressed: list[_Suppressed]


class Recorder:
    """Carries out commands on a connection that is inside a transaction. `now` gives the wall clock's aware time."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def record(self, connection: sqlite3.Connection, commands: Sequence[Command]) -> Recorded:
        """Carry out a batch as one unit of work, without savepoints.

        Raises:
            Exception: whatever went wrong; the transaction must be rolled back; `record_each` tells who is to blame.
        """
        unit = self._unit(connection)
        outcomes: list[Outcome | Exception] = []
        for command in commands:
            before = unit.writes
            try:
                outcomes.append(self._carry_out(unit, command))
            except Refused as refused:
                if unit.writes != before:
                    raise _LateRefusalError from refused
                outcomes.append(refused)
        unit.flush()
        return Recorded(outcomes, unit.changes, unit.unread)

    def record_each(self, connection: sqlite3.Connection, commands: Sequence[Command]) -> Recorded:
        """Carry out a batch with a savepoint around each command; one that fails has its exception as its outcome."""
        whole = Recorded([], {}, {})
        for command in commands:
            connection.execute("SAVEPOINT command")
            unit = self._unit(connection)
            try:
                outcome: Outcome | Exception = self._carry_out(unit, command)
                unit.flush()
            except Exception as error:  # the savepoint supervises: whatever a command does wrong is its own
                if not connection.in_transaction:
                    raise  # the database itself gave up (disk full, I/O error): no command is to blame
                connection.execute("ROLLBACK TO command")
                outcome = error
            else:
                for tenant_id, changes in unit.changes.items():
                    whole.changes.setdefault(tenant_id, []).extend(changes)
                whole.unread.update(unit.unread)
            connection.execute("RELEASE command")
            whole.outcomes.append(outcome)
        return whole

    def _unit(self, connection: sqlite3.Connection) -> UnitOfWork:
        now = self._now()
        return UnitOfWork(connection, utc_text(now), utc_text(now + HISTORY))

    def _carry_out(self, unit: UnitOfWork, command: Command) -> Outcome:
        match command:
            case Publish():
                return _publish(unit, command)
            case MarkRead():
                return marks.mark_read(unit, command)
            case MarkAllRead():
                return marks.mark_all_read(unit, command)
            case Delete():
                return marks.delete(unit, command)


def _publish(unit: UnitOfWork, command: Publish) -> Published:
    event, key = command.event, command.key
    mark = None
    if key is not None:
        mark = events.fingerprint(event)
        earlier = unit.keys.get((event.tenant_id, key)) or _stored_answer(unit, event.tenant_id, key)
        if earlier is not None:
            if earlier[0] != mark:
                raise Refused(
                    Code.KEY_REUSED, f"the key {key!r} was used for another event: send each event under its own key"
                )
            return Published(earlier[1], repeated=True)
    come = workflow.apply(unit, event, command.person)
    told, job_id = come.told, None if come.job is None else come.job.id
    tenant = unit.ensure_tenant(event.tenant_id)
    event_id = unit.next_id("domain_events")
    kind = events.event_type(event)
    entries = [_notify(unit, tenant, event_id, draft) for draft in told.drafts]
    come.announce(tenant)
    for user_id, reason in told.suppressed:
        row = (unit.next_id("suppressions"), tenant.id, user_id, event_id, TRIGGERS.get(kind, kind), reason, unit.now)
        unit.add_suppression(row)
    suppressed = [_Suppressed(user_id, reason) for user_id, reason in told.suppressed]
    if command.with_job and come.job is not None:
        answer = encode(workflow.view(unit, come.job))
    else:
        answer = encode(_Answer(event_id, tenant.last_seq, entries, suppressed))
    occurred = unit.now if event.occurred_at is None else utc_text(event.occurred_at)
    stored = None if key is None else answer.decode()
    unit.add_event(
        (event_id, tenant.id, kind, event.actor_id, job_id, key, mark, stored, tenant.last_seq, occurred, unit.now)
    )
    if key is not None and mark is not None:
        unit.keys[tenant.id, key] = (mark, answer)
    return Published(answer, notified=len(entries), suppressed=len(suppressed))


def _stored_answer(unit: UnitOfWork, tenant_id: int, key: str) -> tuple[str, bytes] | None:
    row = unit.connection.execute(SELECT_KEY, (tenant_id, key)).fetchone()
    return None if row is None else (row[0], row[1].encode())


def _notify(unit: UnitOfWork, tenant: Tenant, event_id: int, draft: Draft) -> _Entry:
    notification_id = unit.next_id("notifications")
    user = unit.ensure_user(tenant.id, draft.user_id)
    data = NULL if draft.data is None else msgspec.Raw(draft.data)
    body = Notification(notification_id, draft.type, draft.priority, draft.title, draft.message, data, unit.now)
    seq = unit.log(tenant, user.id, "new", encode(body), notification_id)
    unit.count_unread(user, +1)
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
        )
    )
    return _Entry(notification_id, user.id, draft.type)
