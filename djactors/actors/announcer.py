"""Tells the connected users of a tenant what a commit changed for them, a slice in each turn of the loop.

    commit ──► Users.deliver ──► a telling for each tenant ──► its first slices, at once: nearly always all of it
                                                   └──► the announcer: the others, while the router goes on

To tell five thousand people takes some 60 ms. The router does not wait for that, or everybody whose commit comes behind
would, in all tenants.

Rules:
  * What a tenant is told is told in the order of its log. As long as something waits here for a tenant, what comes
    later waits behind it, also what is for a single user.
  * In a turn of the loop one slice is told. Tenants take turns with their slices.
  * What waits for a tenant is bounded. The router waits where it would be more, so a sender who posts without a pause
    is never far ahead of those who are told.
  * If a telling crashes, or is cancelled, all who are still to be told look into the log before they are told anything
    more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

import trio

from djactors.actors.deliveries import Deliver, Outgoing
from djactors.actors.presence import Presence
from djactors.domain.commands import Change, Recorded

TOLD_PER_TURN: Final = 128
"""Writes to sockets after which other tasks have a turn. A write takes about 12 µs, so a turn comes every 1.5 ms, and
an event passes the loop in some five turns."""

PACKETS_OF_A_WRITE: Final = 16
"""Packets that go into a write for as much again as the write itself costs."""

AT_ONCE: Final = 4 * TOLD_PER_TURN
"""Writes for which the router waits, some 6 ms. So what a few hundred people are told is told before the sender is
answered, and only larger tellings are handed over."""

MOST_WAITING: Final = 4096
"""Writes that may wait for a tenant, some 50 ms. A telling that is larger by itself waits alone."""


class Telling:
    """What one commit means to the users of one tenant, told in slices.

    Args:
        present: the tenant's users; those who come later have read the commit.
        changes: of this tenant, in the order of the log.
        recorded: the commit.
        committed_at: when it was durable, in Trio's time.
        number: the commit's.
        tell: tells one user.

    Attributes:
        told: the writes of the newest slice.
    """

    __slots__ = (
        "_changes",
        "_committed_at",
        "_number",
        "_present",
        "_recorded",
        "_slices",
        "_tell",
        "_writes",
        "told",
    )

    def __init__(
        self,
        present: dict[int, Presence],
        changes: Sequence[Change],
        recorded: Recorded,
        committed_at: float,
        number: int,
        tell: Callable[[Presence, Deliver], None],
    ) -> None:
        self._present = present
        self._changes = changes
        self._recorded = recorded
        self._committed_at = committed_at
        self._number = number
        self._tell = tell
        self._slices = self._walk()
        # None as long as nobody has asked; most tellings are over before.
        self._writes: int | None = None
        self.told = 0

    @property
    def writes(self) -> int:
        """About how many writes it takes."""
        if self._writes is None:
            shared = sum(change.user_id is None for change in self._changes)
            self._writes = len(self._present) * _weight(shared) if shared else len(self._changes)
        return self._writes

    def step(self) -> bool:
        """Tell the next slice. Whether that was the last one."""
        self.told = 0
        return next(self._slices, self) is self

    def _walk(self) -> Iterator[None]:
        recorded, present, number = self._recorded, self._present, self._number
        changes = (Outgoing(each.name, each.body, each.offset, each.user_id, each.trace) for each in self._changes)
        own, shared = sort_out(changes, present)
        # Whoever comes from now on has read the commit.
        some = [(present[user_id], packets) for user_id, packets in own.items()]
        others = [presence for user_id, presence in present.items() if user_id not in own] if shared else ()
        together: list[tuple[Presence, Deliver]] = []
        for presence, packets in some:
            if self.told >= TOLD_PER_TURN:
                self._tell_together(together)
                together = []
                yield
            key = presence.tenant_id, presence.user_id
            unread = recorded.unread.get(key)
            counts = None if unread is None else (unread, recorded.unseen[key])
            delivery = Deliver(in_order(packets, shared), counts, self._committed_at, number)
            together.append((presence, delivery))
            self.told += _weight(len(delivery.changes))
        self._tell_together(together)
        if not others:
            return
        delivery = Deliver(shared, None, self._committed_at, number)
        for presence in others:
            if self.told >= TOLD_PER_TURN:
                yield
            self._tell(presence, delivery)
            self.told += _weight(len(shared))

    def _tell_together(self, deliveries: Sequence[tuple[Presence, Deliver]]) -> None:
        # One alone is encoded when it is written.
        if len(deliveries) > 1:
            Deliver.encode_together([delivery for _, delivery in deliveries])
        for presence, delivery in deliveries:
            self._tell(presence, delivery)


class Announcer:
    """A service that goes on with tellings; see the module for the rules.

    Args:
        doubt: marks everybody of a tenant stale: they must look into the log before they are told anything more.
        look: has everybody of a tenant look into the log.
    """

    def __init__(self, doubt: Callable[[int], object], look: Callable[[int], Awaitable[None]]) -> None:
        self._doubt = doubt
        self._look = look
        # By tenant, in the order in which they take turns. A tenant that has nothing to be told is not in it.
        self._waiting: dict[int, deque[Telling]] = {}
        self._wanted = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        # Tenants that are to look, because their tellings were broken off.
        self._broken_off: list[int] = []

    def is_telling(self, tenant_id: int) -> bool:
        """Whether something waits to be told to this tenant. What comes then must be taken as well."""
        return tenant_id in self._waiting

    async def take(self, tenant_id: int, telling: Telling) -> None:
        """Go on with a telling, behind those of its tenant that wait already. Waits while these are too many."""
        while (waiting := self._waiting.get(tenant_id)) and _writes(waiting) + telling.writes > MOST_WAITING:
            await self._room.park()
        self._waiting.setdefault(tenant_id, deque()).append(telling)
        self._wanted.set()

    def drop(self, tenant_id: int) -> None:
        """Tell a tenant nothing more of what waits: everybody in it looks into the log, or has to begin anew."""
        self._waiting.pop(tenant_id, None)
        self._room.unpark_all()

    def drop_all(self) -> None:
        """The same for all tenants."""
        self._waiting.clear()
        self._room.unpark_all()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell what waits until this is cancelled."""
        task_status.started()
        while self._broken_off:
            await self._look(self._broken_off[-1])
            self._broken_off.pop()
        try:
            while True:
                await self._wanted.wait()
                self._step()
                await trio.lowlevel.checkpoint()
        finally:
            for tenant_id in self._waiting:
                self._doubt(tenant_id)
                self._broken_off.append(tenant_id)
            self.drop_all()

    def _step(self) -> None:
        """Tell a slice of the tenant whose turn it is."""
        tenant_id = next(iter(self._waiting), None)
        if tenant_id is None:
            self._wanted = trio.Event()
            return
        tellings = self._waiting[tenant_id]
        told = 0
        while tellings[0].step():
            told += tellings.popleft().told
            self._room.unpark_all()
            if not tellings or told >= TOLD_PER_TURN:
                break
        # It comes last now, if there is more.
        del self._waiting[tenant_id]
        if tellings:
            self._waiting[tenant_id] = tellings


def sort_out(
    changes: Iterable[Outgoing], present: dict[int, Presence]
) -> tuple[dict[int, list[Outgoing]], Sequence[Outgoing]]:
    """Split a tenant's changes into those of each connected user's own, and those that everyone sees.

    Changes of users who are not connected are left out; order is kept. It costs a step for each change: the two are put
    together where each user is told (`in_order`), as many changes for everyone among many people's own would be a step
    for each of the ones and the others, in one turn of the loop.
    """
    own: dict[int, list[Outgoing]] = {}
    shared: list[Outgoing] = []
    for change in changes:
        if change.user_id is None:
            shared.append(change)
        elif change.user_id in own:
            own[change.user_id].append(change)
        elif change.user_id in present:
            own[change.user_id] = [change]
    return own, shared


def in_order(own: list[Outgoing], shared: Sequence[Outgoing]) -> list[Outgoing]:
    """A user's own changes and those that everyone sees, in the order of the log."""
    return sorted((*own, *shared), key=_number) if shared else own


def _number(change: Outgoing) -> int:
    return change.at.seq


def _weight(changes: int) -> int:
    """How many writes it is to tell somebody so many changes at once."""
    return 1 + changes // PACKETS_OF_A_WRITE


def _writes(tellings: Iterable[Telling]) -> int:
    return sum(telling.writes for telling in tellings)
