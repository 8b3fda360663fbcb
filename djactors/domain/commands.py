"""What can be asked of the inbox, and what comes of it.

Plain values: the edge makes commands, the store carries them out, the actors pass on what changed. What holds only
numbers and text is no work for the garbage collector (`gc=False`): there are several of them to each event.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

import msgspec

from djactors.domain.events import DomainEvent
from djactors.domain.marks import Offset
from djactors.domain.permissions import Person

TENANTS_BACKEND = 0
INSTALLATIONS_BACKEND = -1
"""Senders that are no person: a service whose token is of one tenant, and one whose token is of all."""


class Publish(msgspec.Struct, frozen=True):
    """Record a domain event and notify whom it concerns. Under a `key` a retry gets the first answer.

    Attributes:
        event: what happened.
        key: the sender's own: two senders may use the same one for two events.
        person: who acts, where that is not a trusted service.
        with_job: whether the answer is the job.
        tenants_own: whether the service is of the event's tenant alone; else it is of the whole installation.
    """

    event: DomainEvent
    key: str | None = None
    person: Person | None = None
    with_job: bool = False
    tenants_own: bool = False

    @property
    def sender(self) -> int:
        """Whose key it is: a person's user id, or one of the two backends."""
        if self.person is not None:
            return self.person.user_id
        return TENANTS_BACKEND if self.tenants_own else INSTALLATIONS_BACKEND


class MarkRead(msgspec.Struct, frozen=True):
    """The user has read one notification."""

    tenant_id: int
    user_id: int
    notification_id: int


class MarkAllRead(msgspec.Struct, frozen=True):
    """The user has read everything that is in the inbox at this moment."""

    tenant_id: int
    user_id: int


class Delete(msgspec.Struct, frozen=True):
    """The user wants one notification gone."""

    tenant_id: int
    user_id: int
    notification_id: int


class Introduce(msgspec.Struct, frozen=True):
    """A person whose token proves the tenant and the id is here: from now on others may name them."""

    tenant_id: int
    person: Person


class RaiseAlerts(msgspec.Struct, frozen=True):
    """Send the SLA alerts that are due, for at most `limit` jobs."""

    limit: int


class SendSummaries(msgspec.Struct, frozen=True):
    """Send the daily summaries that are due, to at most `limit` users."""

    limit: int


class ExpireSlice(msgspec.Struct, frozen=True):
    """Take what has expired out of the inboxes, at most `limit` notifications."""

    limit: int


Purged: TypeAlias = Literal["changes", "notifications", "domain_events", "suppressions", "user_days"]
"""What is kept for a time and then purged, by its table."""


class PurgeSlice(msgspec.Struct, frozen=True):
    """Delete what is older than `keep`, at most `limit` rows. `after` is the answer's of the slice before.

    `standing` names the tenants in which somebody is connected, each with the number of the change that the hindmost of
    them was told last: no change behind that one is purged.
    """

    table: Purged
    keep: timedelta
    limit: int
    after: int = 0
    standing: Mapping[int, int] = {}


Command: TypeAlias = (
    Publish | MarkRead | MarkAllRead | Delete | Introduce | RaiseAlerts | SendSummaries | ExpireSlice | PurgeSlice
)


class Published(msgspec.Struct, frozen=True, gc=False):
    """A domain event is durable. `answer` is the JSON that its sender gets; `repeated` if an earlier post made it."""

    event_id: int
    answer: bytes
    repeated: bool = False
    notified: int = 0
    suppressed: int = 0


class Counted(msgspec.Struct, frozen=True, gc=False):
    """An inbox command is durable. `count` is the unread count after it."""

    count: int


class Sliced(msgspec.Struct, frozen=True):
    """A slice of the clock's or of retention's work is durable.

    Attributes:
        rows: how many rows it dealt with.
        more: whether another slice is due at once.
        next_due: the moment at which there will be something to do, as far as is known now.
        after: what the next `PurgeSlice` of the table is to be given.
        held_up: the tenants in which somebody who is connected kept changes from being purged, each with the number up
            to which they would have gone.
    """

    rows: int
    more: bool
    next_due: str | None = None
    after: int = 0
    held_up: Mapping[int, int] = {}


Outcome: TypeAlias = Published | Counted | Sliced


class Change(msgspec.Struct, frozen=True, gc=False):
    """One logged packet: `user_id` None means everyone connected in the tenant. `body` is its payload as JSON.

    `seq` and `mark` are the change's offset (`domain/marks.py`).
    """

    tenant_id: int
    seq: int
    mark: int
    user_id: int | None
    name: str
    body: bytes

    @property
    def offset(self) -> Offset:
        """The point in the log right after this change."""
        return Offset(self.mark, self.seq)


class Recorded(msgspec.Struct, frozen=True):
    """What one commit did.

    Attributes:
        outcomes: one for each command, in order; an exception where that command was refused or failed.
        changes: by tenant, in the order of their sequence numbers.
        unread: the unread count of every user whose count the commit touched, after it.
        next_alert: the earliest moment that it gave the clock to wake at, an alert's or a summary's; None if none.
        others_wrote: another connection has written to the database since the commit before. The database may have been
            put back: whoever was told something must be looked for in the log before they are told of this commit.
    """

    outcomes: list[Outcome | Exception]
    changes: dict[int, list[Change]]
    unread: dict[tuple[int, int], int]
    next_alert: str | None = None
    others_wrote: bool = False
