"""Fetches what the commands of a unit of work will ask for: one statement a table, before the first of them.

Beside a database in the same process a query for each row is cheap. A database across a socket answers in some 60 µs,
whatever it is asked, so 64 events with a key each would take 4 ms for the keys alone. What is not foreseen here is
asked for when it is needed.

`ROUND_TRIPS` is what a unit takes at most in which everything is foreseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from djactors.domain import events
from djactors.domain.commands import (
    Command,
    EraseSlice,
    Introduce,
    OneJob,
    OneNotification,
    OwnCommand,
    Publish,
    SignOut,
)
from djactors.inbox.jobs import COLUMNS
from djactors.inbox.rows import User
from djactors.inbox.sharing import array_of
from djactors.inbox.unit import USER_COLUMNS, Key, UnitOfWork

# All by the primary keys, or by idx_domain_events_key. For PostgreSQL alone.
SELECT_KEYS = """SELECT e.tenant_id, e.sender, e.idempotency_key, e.id, e.fingerprint, e.answer
    FROM unnest(CAST(? AS BIGINT[]), CAST(? AS BIGINT[]), CAST(? AS TEXT[])) AS k (tenant_id, sender, key)
    JOIN domain_events e ON e.tenant_id = k.tenant_id AND e.sender = k.sender AND e.idempotency_key = k.key"""
_WANTED = "unnest(CAST(? AS BIGINT[]), CAST(? AS BIGINT[])) AS k (tenant_id, id)"
SELECT_USERS = f"""SELECT u.tenant_id, u.id, {", ".join(f"u.{column}" for column in USER_COLUMNS)}
    FROM {_WANTED} JOIN users u ON u.tenant_id = k.tenant_id AND u.id = k.id"""
SELECT_JOBS = f"""SELECT {", ".join(f"j.{column}" for column in COLUMNS)}
    FROM {_WANTED} JOIN jobs j ON j.tenant_id = k.tenant_id AND j.id = k.id"""
SELECT_WATCHERS = f"""SELECT w.tenant_id, w.job_id, w.user_id
    FROM {_WANTED} JOIN job_watchers w ON w.tenant_id = k.tenant_id AND w.job_id = k.id ORDER BY w.user_id"""
SELECT_MUTES = f"""SELECT m.tenant_id, m.job_id, m.user_id
    FROM {_WANTED} JOIN job_mutes m ON m.tenant_id = k.tenant_id AND m.job_id = k.id"""
SELECT_NOTIFICATIONS = """SELECT id, tenant_id, user_id, removed_seq, is_read, read_seq, read_at, place, place_seq,
    snoozed_until, returned_seq, expires_at FROM notifications WHERE id = ANY(CAST(? AS BIGINT[]))"""

ROUND_TRIPS: Final = 9
"""Two for the tenants, if some of them do not exist yet, one each for keys, jobs, watchers, mutes, users and
notifications, and one for ids, unless all tenants are known: then the ids come with them. For events that name no job,
in a tenant that is known, there are three: tenants with ids, keys, users. The commit is one more, and so is the number
of the first job that a unit makes in a tenant."""

_PEOPLE = ("user_id", "actor_id", "requester_id", "assignee_id", "approver_id", "manager_id")


def _fields(kind: Any, wanted: Iterable[str]) -> tuple[str, ...]:
    """Those of some fields that a struct has."""
    return tuple(field for field in wanted if field in kind.__struct_fields__)


_SINGLE: Mapping[type, tuple[str, ...]] = {kind: _fields(kind, _PEOPLE) for kind in events.TYPES}
_SEVERAL: Mapping[type, tuple[str, ...]] = {kind: _fields(kind, ("watcher_ids", "mentions")) for kind in events.TYPES}
_WITH_JOB = frozenset(kind for kind in events.TYPES if _fields(kind, ["job_id"]))
_WITH_COMMENT = frozenset({events.CommentAdded, events.JobCancelled})

OF_A_JOB = 2
"""Notifications that are expected of an event of a job. More ids are fetched if it has more."""

_Pair = tuple[int, int]


class Needs:
    """What commands will ask for."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.users: set[_Pair] = set()
        self.jobs: set[_Pair] = set()
        self.notifications: set[tuple[int, int, int]] = set()
        self.ids = {"domain_events": 0, "notifications": 0, "job_comments": 0}

    def note(self, command: Command) -> None:
        """Note what a command will ask for, which was checked."""
        match command:
            case Publish():
                self._publish(command)
            case OwnCommand():
                self.users.add((command.tenant_id, command.user_id))
                if isinstance(command, OneNotification):
                    self.notifications.add((command.notification_id, command.tenant_id, command.user_id))
                elif isinstance(command, OneJob):
                    self.jobs.add((command.tenant_id, command.job_id))
            case Introduce():
                self.users.add((command.tenant_id, command.person.user_id))
            case SignOut() | EraseSlice():
                self.users.add((command.tenant_id, command.user_id))
            case _:
                pass

    def _publish(self, command: Publish) -> None:
        event = command.event
        kind, tenant_id = type(event), event.tenant_id
        if command.key is not None:
            self.keys.add((tenant_id, command.sender, command.key))
        for field in _SINGLE[kind]:
            user_id = getattr(event, field)
            if user_id is not None:
                self.users.add((tenant_id, user_id))
        for field in _SEVERAL[kind]:
            several = getattr(event, field)
            if isinstance(several, tuple):
                self.users.update((tenant_id, user_id) for user_id in several)
        if command.person is not None:
            self.users.add((tenant_id, command.person.user_id))
        self.ids["domain_events"] += 1
        if kind in _WITH_JOB:
            job_id = getattr(event, "job_id")  # noqa: B009 - not every kind has it
            if job_id is not None:
                self.jobs.add((tenant_id, job_id))
            self.ids["notifications"] += OF_A_JOB
            self.ids["job_comments"] += kind in _WITH_COMMENT
        elif kind is events.NotificationRequested:
            self.ids["notifications"] += 1


def prefetch(unit: UnitOfWork, needs: Needs) -> None:
    """Fetch what commands will ask for. Their tenants are held."""
    ask = unit.connection.execute
    if needs.keys:
        unit.keys.update(dict.fromkeys(needs.keys))
        for *place, event_id, fingerprint, answer in ask(SELECT_KEYS, _columns(needs.keys)).fetchall():
            unit.keys[place[0], place[1], place[2]] = event_id, fingerprint, answer.encode()
    if needs.jobs:
        needs.users |= _jobs(unit, needs.jobs)
    users = {user for user in needs.users if not unit.knows(user)}
    if users:
        unit.absent.update(users)
        for row in ask(SELECT_USERS, _columns(users)).fetchall():
            unit.found(User(*row))
    if needs.notifications:
        unit.notifications.update(dict.fromkeys(needs.notifications))
        ids = [id_ for id_, _, _ in needs.notifications]
        for id_, tenant_id, user_id, *state in ask(SELECT_NOTIFICATIONS, (array_of(ids),)).fetchall():
            place_ = id_, tenant_id, user_id
            if place_ in needs.notifications:
                unit.notifications[place_] = tuple(state)
    if unit.sharing is not None:
        unit.sharing.ids.expect(needs.ids)


def _jobs(unit: UnitOfWork, wanted: set[_Pair]) -> set[_Pair]:
    """Fetch jobs with those who watch or mute them. Returns the people whose names will be shown."""
    ask = unit.connection.execute
    jobs = ask(SELECT_JOBS, _columns(wanted)).fetchall()
    watchers: Sequence[tuple[Any, ...]] = ()
    mutes: Sequence[tuple[Any, ...]] = ()
    if jobs:
        watchers = ask(SELECT_WATCHERS, _columns(wanted)).fetchall()
        mutes = ask(SELECT_MUTES, _columns(wanted)).fetchall()
    found = unit.jobs.take_in(wanted, jobs, watchers, mutes)
    people = {
        (job.tenant_id, user_id)
        for job in found
        for user_id in (job.requester_id, job.assignee_id, job.approver_id, job.manager_id)
        if user_id is not None
    }
    people.update((tenant_id, user_id) for tenant_id, _, user_id in watchers)
    return people


def _columns(rows: Iterable[tuple[int | str, ...]]) -> list[str]:
    """The rows as one array for each column."""
    return [array_of(column) for column in zip(*rows, strict=True)]
