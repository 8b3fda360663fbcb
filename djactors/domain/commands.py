"""What can be asked of the inbox, and what comes of it.

Plain values: the edge makes commands, the store carries them out, the actors pass on what changed.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from djactors.domain.events import DomainEvent
from djactors.domain.permissions import Person


class Publish(msgspec.Struct, frozen=True):
    """Record a domain event and notify whom it concerns. Under a `key` a retry gets the first answer.

    `person` is who acts, where it is not a trusted service; `with_job` asks for the job as the answer.
    """

    event: DomainEvent
    key: str | None = None
    person: Person | None = None
    with_job: bool = False


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


Command: TypeAlias = Publish | MarkRead | MarkAllRead | Delete


class Published(msgspec.Struct, frozen=True):
    """A domain event is durable. `answer` is the JSON that its sender gets; `repeated` if an earlier post made it."""

    answer: bytes
    repeated: bool = False
    notified: int = 0
    suppressed: int = 0


class Counted(msgspec.Struct, frozen=True):
    """An inbox command is durable. `count` is the unread count after it."""

    count: int


Outcome: TypeAlias = Published | Counted


class Change(msgspec.Struct, frozen=True):
    """One logged packet: `user_id` None means everyone connected in the tenant. `body` is its payload as JSON."""

    tenant_id: int
    seq: int
    user_id: int | None
    name: str
    body: bytes


class Recorded(msgspec.Struct, frozen=True):
    """What one commit did.

    Attributes:
        outcomes: one for each command, in order; an exception where that command was refused or failed.
        changes: by tenant, in the order of their sequence numbers.
        unread: the unread count of every user whose count the commit touched, after it.
    """

    outcomes: list[Outcome | Exception]
    changes: dict[int, list[Change]]
    unread: dict[tuple[int, int], int]
