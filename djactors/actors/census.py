"""Counts the connected users and their actors for the operator: numbers for all tenants, and the users of one tenant.

Rules: the users of other tenants are only counted, and the probe's is not. Thousands of actors are looked at in slices,
so that nobody waits for the count. So the numbers are not all of the very same moment.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import Final

import msgspec
import trio

from djactors.actors.presence import Presence
from djactors.actors.users import Users
from djactors.domain.reserved import PROBE_TENANT
from djactors.kernel import ChildStatistics, State

SLICE: Final = 100
"""Actors looked at in one go: less than a millisecond."""

MAX_ROWS: Final = 200
"""Users that are told one by one: more than anybody reads, and some 50 KB."""


class Population(msgspec.Struct, rename="camel"):
    """How many user actors there are, their sockets, and how many of the actors are set aside."""

    total: int = 0
    sockets: int = 0
    quarantined: int = 0

    def add(self, presence: Presence) -> None:
        """Count one user."""
        self.total += 1
        self.sockets += presence.socket_count
        self.quarantined += presence.ref.quarantined


class UserRow(msgspec.Struct, frozen=True):
    """One user's actor. `stale`: it was not told of some change, and will read the log."""

    user_id: int
    sockets: int
    stale: bool
    actor: ChildStatistics

    def trouble(self) -> tuple[bool, bool, int, int, int, int]:
        """The key that sorts users in trouble first, and then those with the most to do."""
        mailbox = self.actor.mailbox
        return (
            self.actor.state is State.RUNNING,
            not self.stale,
            -self.actor.crashes,
            0 if mailbox is None else -mailbox.depth,
            -self.sockets,
            self.user_id,
        )


class Census(msgspec.Struct, frozen=True):
    """All users as numbers, the tenant's as numbers and, up to `MAX_ROWS`, one by one."""

    everybody: Population
    tenant: Population
    rows: list[UserRow]


async def take(users: Users, tenant_id: int) -> Census:
    """Count the users, and look at the tenant's."""
    everybody, tenant = Population(), Population()
    rows: list[UserRow] = []
    for place, presence in enumerate(users.presences(), start=1):
        if place % SLICE == 0:
            await trio.lowlevel.checkpoint()
            if len(rows) > 2 * MAX_ROWS:
                rows = nsmallest(MAX_ROWS, rows, key=UserRow.trouble)
        actor = users.actor(presence)
        # Nobody's customer is connected by the probe. The other one left while the rest was counted.
        if actor is None or presence.tenant_id == PROBE_TENANT:
            continue
        everybody.add(presence)
        if presence.tenant_id == tenant_id:
            tenant.add(presence)
            rows.append(UserRow(presence.user_id, presence.socket_count, presence.stale, actor))
    await trio.lowlevel.checkpoint()
    return Census(everybody, tenant, nsmallest(MAX_ROWS, rows, key=UserRow.trouble))


async def waiting(users: Users) -> int:
    """How many messages wait in the mailboxes of all users."""
    depth = 0
    for place, presence in enumerate(users.presences(), start=1):
        if place % SLICE == 0:
            await trio.lowlevel.checkpoint()
        depth += presence.ref.statistics().depth
    return depth
