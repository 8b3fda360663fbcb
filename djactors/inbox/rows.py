"""The rows that the writer reads once, changes in place and writes back: of a tenant, of a user, of a user's day."""

from __future__ import annotations

SERVED = "tenant_id NOT IN (SELECT tenant_id FROM imports)"
"""The condition for rows of tenants that are here whole."""


class Tenant:
    """A tenant's row inside one transaction.

    `names_version` counts how often a name of its people has changed. `last_seq` is the number of the tenant's newest
    change. `last_mark` is the mark of the newest change that was written.
    """

    __slots__ = (
        "dirty",
        "id",
        "job_numbering",
        "last_job_id",
        "last_mark",
        "last_seq",
        "name",
        "names_version",
        "new",
        "time_zone",
    )

    def __init__(
        self,
        tenant_id: int,
        name: str,
        time_zone: str,
        job_numbering: str | None = None,
        last_job_id: int = 0,
        names_version: int = 0,
        last_seq: int = 0,
        last_mark: int = 0,
    ) -> None:
        self.id = tenant_id
        self.name = name
        self.time_zone = time_zone
        self.job_numbering = job_numbering
        self.last_job_id = last_job_id
        self.names_version = names_version
        self.last_seq = last_seq
        self.last_mark = last_mark
        self.new = False
        self.dirty = False


class User:
    """A user's row inside one transaction.

    `sent` counts the notifications of `sent_day`, the last day on which the user got any, and `earlier_count` those of
    the last such day before.
    `deactivated_at` is None for an active user.
    `by_persons` of those in `sent` were caused by persons, and `earlier_by_persons` on the day before.
    The user has seen the notifications up to `seen_id`, as the change `seen_seq` says.
    """

    __slots__ = (
        "by_persons",
        "deactivated_at",
        "dirty",
        "earlier_by_persons",
        "earlier_count",
        "earlier_day",
        "id",
        "name",
        "new",
        "role",
        "role_given",
        "seen_id",
        "seen_seq",
        "sent",
        "sent_day",
        "signed_out_at",
        "tenant_id",
        "unread",
        "unseen",
    )

    def __init__(
        self,
        tenant_id: int,
        user_id: int,
        name: str,
        role: str,
        unread: int = 0,
        sent_day: str | None = None,
        sent: int = 0,
        earlier_day: str | None = None,
        earlier_count: int = 0,
        by_persons: int = 0,
        earlier_by_persons: int = 0,
        role_given: object = False,
        signed_out_at: str | None = None,
        deactivated_at: str | None = None,
        unseen: int = 0,
        seen_id: int = 0,
        seen_seq: int = 0,
    ) -> None:
        self.tenant_id = tenant_id
        self.id = user_id
        self.name = name
        self.role = role
        self.unread = unread
        self.sent_day = sent_day
        self.sent = sent
        self.earlier_day = earlier_day
        self.earlier_count = earlier_count
        self.by_persons = by_persons
        self.earlier_by_persons = earlier_by_persons
        self.role_given = bool(role_given)
        self.signed_out_at = signed_out_at
        self.deactivated_at = deactivated_at
        self.unseen = unseen
        self.seen_id = seen_id
        self.seen_seq = seen_seq
        self.new = False
        self.dirty = False


class UserDay:
    """The row of a user's day inside one transaction. After a change, give the row to `DayRows.put`."""

    __slots__ = ("day", "held", "summary_at", "summary_due", "summary_id", "tenant_id", "user_id")

    def __init__(
        self,
        tenant_id: int,
        user_id: int,
        day: str,
        held: int = 0,
        summary_id: int | None = None,
        summary_at: str | None = None,
        summary_due: str | None = None,
    ) -> None:
        self.tenant_id = tenant_id
        self.user_id = user_id
        self.day = day
        self.held = held
        self.summary_id = summary_id
        self.summary_at = summary_at
        self.summary_due = summary_due
