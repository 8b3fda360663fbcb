"""Any commands at all, as dice have them: what the differential test gives to both engines."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from djactors.domain.commands import (
    Archive,
    Command,
    Delete,
    ExpireSlice,
    Introduce,
    MarkAllRead,
    MarkJobRead,
    MarkRead,
    MarkSeen,
    MarkUnread,
    MuteJob,
    Publish,
    PurgeSlice,
    RaiseAlerts,
    SendSummaries,
    SignOut,
    Snooze,
    Unarchive,
    UnmuteJob,
    Unsnooze,
    WakeSnoozed,
)
from djactors.domain.events import (
    CommentAdded,
    DomainEvent,
    JobApproved,
    JobAssigned,
    JobCancelled,
    JobCompleted,
    JobCreated,
    JobDeadlineChanged,
    JobRejected,
    JobRetitled,
    JobSubmitted,
    JobUnwatched,
    JobWatched,
    NotificationRequested,
    Priority,
    Role,
    TenantUpserted,
    UserActivated,
    UserDeactivated,
    UserUpserted,
)
from djactors.domain.permissions import Person

TENANTS = (1, 2, 2**53 - 1)
"""The jobs of the second are numbered by its backend, those of the others by djactors."""

USERS = range(1, 7)
JOBS = range(1, 7)
ROLES: tuple[Role, ...] = ("user", "manager", "admin", "service")
PRIORITIES: tuple[Priority, ...] = ("CRITICAL", "HIGH", "MEDIUM", "LOW")
DAY = timedelta(days=1)
KEYS = (*(f"k{number}" for number in range(12)), "NULL", "a b", '"', "\\", "{,}", "'", "%s ? $1 :x")
"""Some of them would mean something else in SQL, or in an array of PostgreSQL's, if they were not quoted."""

LIMIT = 1000
"""Of a slice: nothing is left for another one."""

PARTS = ("changes", "notifications", "domain_events", "suppressions", "user_days")


class Anything:
    """Makes commands.

    Args:
        dice: decide.
        ids: the notifications that there are, which a command may name.
    """

    def __init__(self, dice: random.Random, ids: Callable[[], Sequence[int]]) -> None:
        self._dice = dice
        self._ids = ids

    def batch(self, now: datetime) -> list[Command]:
        """The commands of one commit."""
        return [self._command(now) for _ in range(self._dice.choice((1, 1, 2, 3, 6, 12)))]

    def _command(self, now: datetime) -> Command:
        dice = self._dice
        kind = dice.random()
        if kind < 0.55:
            return self._publish(now)
        if kind < 0.9:
            return self._own(now)
        return dice.choice(
            [
                RaiseAlerts(LIMIT),
                SendSummaries(LIMIT),
                WakeSnoozed(LIMIT),
                ExpireSlice(LIMIT),
                PurgeSlice(dice.choice(PARTS), dice.choice((7, 30)) * DAY, LIMIT),
            ]
        )

    def _own(self, now: datetime) -> Command:
        dice = self._dice
        who = dice.choice(TENANTS), dice.choice(USERS)
        ids = self._ids()[-12:]
        if ids and dice.random() < 0.6:
            kind = dice.choice([MarkRead, MarkUnread, Archive, Unarchive, Unsnooze, Delete, Snooze, MarkSeen])
            if kind is Snooze:
                return Snooze(*who, dice.choice(ids), now + timedelta(hours=dice.choice((-1, 2, 30, 900))))
            return kind(*who, dice.choice(ids))
        return dice.choice(
            [
                MarkAllRead(*who),
                MarkSeen(*who),
                MarkJobRead(*who, dice.choice(JOBS)),
                MuteJob(*who, dice.choice(JOBS)),
                UnmuteJob(*who, dice.choice(JOBS)),
                Introduce(who[0], Person(who[1], dice.choice(ROLES), f"Person {who[1]}")),
                SignOut(*who, known_only=dice.random() < 0.5),
            ]
        )

    def _publish(self, now: datetime) -> Publish:
        dice = self._dice
        key = dice.choice(KEYS) if dice.random() < 0.3 else None
        person = None
        if dice.random() < 0.4:
            person = Person(dice.choice(USERS), dice.choice(ROLES), "Någon Annan" if dice.random() < 0.3 else None)
        event = self._event(now)
        return Publish(event, key, person, with_job=dice.random() < 0.3, tenants_own=dice.random() < 0.2)

    def _event(self, now: datetime) -> DomainEvent:
        dice = self._dice
        tenant, user, job = dice.choice(TENANTS), dice.choice(USERS), dice.choice(JOBS)
        actor = dice.choice((None, *USERS))
        head = {"tenant_id": tenant, "actor_id": actor}
        deadline = None if dice.random() < 0.3 else now + timedelta(hours=dice.choice((-30, 5, 25, 100)))
        return dice.choice(
            [
                lambda: NotificationRequested(
                    **head,
                    user_id=user,
                    notification_type=dice.choice(("note", "news")),
                    priority=dice.choice(PRIORITIES),
                    title=dice.choice(("Hello", "Über 'alles' \\ \"x\"", "日本語 🎉")),
                    message=dice.choice((None, "x" * 300, "line\nline")),
                    data=dice.choice((None, {}, {"z": 1, "a": [1.5, None, {"ü": "\t"}]})),
                ),
                lambda: NotificationRequested(
                    **head, user_id=user, notification_type="note", priority="LOW", title="Hello"
                ),
                lambda: JobCreated(
                    **head,
                    title=dice.choice(("Banner", "Bannière d'été")),
                    requester_id=dice.choice(USERS),
                    job_id=job if tenant == 2 or dice.random() < 0.1 else None,
                    dj_id=f"D{job}" if dice.random() < 0.2 else None,
                    assignee_id=dice.choice((None, *USERS)),
                    approver_id=dice.choice((None, *USERS)),
                    manager_id=dice.choice((None, *USERS)),
                    watcher_ids=tuple(dice.sample(USERS, dice.randrange(3))),
                    deadline=deadline,
                ),
                lambda: JobAssigned(**head, job_id=job, assignee_id=user),
                lambda: JobSubmitted(**head, job_id=job, approver_id=dice.choice((None, *USERS))),
                lambda: dice.choice((JobApproved, JobCompleted))(**head, job_id=job),
                lambda: JobRejected(**head, job_id=job, reason=dice.choice((None, "no"))),
                lambda: JobCancelled(**head, job_id=job, reason=dice.choice((None, "@Person 3 gone"))),
                lambda: JobRetitled(**head, job_id=job, title="Another"),
                lambda: JobDeadlineChanged(**head, job_id=job, deadline=deadline),
                lambda: CommentAdded(
                    **head,
                    job_id=job,
                    text=dice.choice(("hello", f"@Person {user}, look", "@Ann Ångström and @Person 2")),
                    **({"mentions": tuple(dice.sample(USERS, 2))} if dice.random() < 0.3 else {}),
                ),
                lambda: dice.choice((JobWatched, JobUnwatched))(**head, job_id=job, user_id=user),
                lambda: UserUpserted(
                    **head,
                    user_id=user,
                    name=dice.choice(("Ann Ångström", f"Person {user}", "Zoë")),
                    role=dice.choice(ROLES),
                ),
                lambda: dice.choice((UserDeactivated, UserActivated, UserActivated))(**head, user_id=user),
                lambda: TenantUpserted(
                    **head, name="Acme", time_zone=dice.choice(("Asia/Bangkok", "Pacific/Kiritimati", "No/Where"))
                ),
            ]
        )()
