"""How far each tenant was told on this node, where other nodes write to the same database.

    the router's own commits ──► take ──► told at once, if they are the next ones of the tenant's log
                                     └──► otherwise the follower reads them, and what others wrote before them

Rules:
  * There is a tail for each tenant in which somebody is connected. It begins where the log stands before the first
    user's actor reads a snapshot, so nothing lies between the two.
  * A tail goes on along the chain of marks only: the next change is the one that builds on the last. So the users are
    told of each change once and in the order of the log, whichever node wrote it.
  * A session can know more than its node has told: its actor reads a snapshot that has what another node just wrote.
    The tail keeps each such offset until it has found it in the log. Before, nothing later is told. Otherwise a session
    that knows a change which a failover lost would be told other changes under the numbers that follow.
  * A session can know less than its node has told: its actor reads an old copy, and what this lacks is back before
    anybody notices. So the follower reads from the lowest of these offsets, or such a session would miss a part.
  * A database server that restarts is back within seconds. So a read that finds it away is made again for a while.
    Otherwise all users' actors would fail at once, and all their clients would come back at once.
  * Nothing here waits except for the store, and all of it runs on one thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

import trio

from djactors.actors.user import Inbox, InboxState
from djactors.domain.accounts import Account
from djactors.domain.commands import Change
from djactors.domain.marks import Offset, mark_of
from djactors.inbox.following import Position, Wanted
from djactors.inbox.log import Astray, Replay
from djactors.store.errors import StoreUnavailable

MAX_GIVEN = 64
"""Offsets that a tail keeps before the follower looks for all of them in the log. They come with people who connect
while others write; a look takes a millisecond."""


PATIENCE = 15.0
"""Seconds for which a read is tried: three times as long as a reader waits between two tries to connect."""

FIRST_PAUSE = 0.1
"""Seconds before the second try."""

LONGEST_PAUSE = 1.0
"""Seconds between later tries."""

T = TypeVar("T")


class Positions(Protocol):
    """What tails ask of the store."""

    async def stand(self, tenant_id: int) -> Position:
        """Where a tenant stands."""


def _ignore(_: int) -> None:
    """Nobody reads the log."""


class Tail:
    """One tenant.

    Attributes:
        at: the last change that the tenant's users were told; None as long as that is not known.
        accounts: the number of the last change of an account that was taken in.
        given: what sessions were given by a snapshot, and the tail has not come by since.
        busy: the log is being read behind `at`, or somebody is telling the users. There is one at a time.
        missed: something was written while `at` was not known yet.
    """

    __slots__ = ("accounts", "at", "busy", "given", "missed")

    def __init__(self) -> None:
        self.at: Offset | None = None
        self.accounts = 0
        self.given: set[Offset] = set()
        self.busy = False
        self.missed = False

    def begin(self, position: Position) -> bool:
        """Take a position, unless there is one. Whether there may be more in the log already."""
        if self.at is not None:
            return False
        self.at, self.accounts = position.at, position.accounts
        return self.missed

    def give(self, offset: Offset) -> bool:
        """Note that a session was given everything up to an offset. Whether it is time to look for it in the log."""
        if offset != self.at:
            self.given.add(offset)
        return len(self.given) > MAX_GIVEN

    def take(self, changes: Sequence[Change]) -> Sequence[Change] | None:
        """What the users are to be told now of a commit of this node; None if the log must be read instead."""
        at = self.at
        if self.busy or at is None:
            return None
        first, last = changes[0], changes[-1].offset
        if last.seq <= at.seq:
            # They were read from the log already.
            return ()
        if first.offset.seq != at.seq + 1 or not _builds_on(at, first):
            return None
        if self.given:
            if not self.given <= {change.offset for change in changes}:
                return None
            self.given.clear()
        self.at = last
        return changes

    def wanted(self) -> Wanted | None:
        """What is to be read now; None as long as there is no position.

        It begins with whoever was given the least, which may be less than `at`. Users who were told it already drop it.
        """
        if self.at is None:
            return None
        since = min(self.given, default=self.at, key=_number)
        if since.seq >= self.at.seq:
            return Wanted(Position(self.at, self.accounts), frozenset(self.given))
        return Wanted(Position(since, self.accounts), frozenset((*self.given, self.at)))

    def went(self, wanted: Wanted, upto: Position) -> None:
        """What was wanted was found in the log, or it is known to be lost: go on behind `upto`."""
        self.given -= wanted.told
        self.given.discard(upto.at)
        self.at, self.accounts = upto.at, upto.accounts


class Tails:
    """All tails of a node, and the inbox as the users' actors read it, which makes sure that there is a tail.

    Args:
        inbox: where actors read.
        nodes: where the log stands.

    Attributes:
        press: is told of a tenant whose log is to be read.
    """

    def __init__(self, inbox: Inbox, nodes: Positions) -> None:
        self._inbox = inbox
        self._nodes = nodes
        self._tails: dict[int, Tail] = {}
        self.press: Callable[[int], None] = _ignore

    def get(self, tenant_id: int) -> Tail | None:
        """The tail of a tenant; None where nobody is connected."""
        return self._tails.get(tenant_id)

    def all(self) -> Mapping[int, Tail]:
        """All tails."""
        return self._tails

    def drop(self, tenant_id: int) -> None:
        """Forget a tenant in which nobody is connected any more."""
        self._tails.pop(tenant_id, None)

    async def account(self, tenant_id: int, user_id: int) -> Account:
        """See `Inbox`."""
        return await self._inbox.account(tenant_id, user_id)

    async def snapshot(self, tenant_id: int, user_id: int, told: Offset | None = None) -> InboxState:
        """See `Inbox`. The tenant has a tail before it is read, and the tail knows what was read."""
        tail = self._tails.get(tenant_id)
        if tail is None:
            tail = self._tails[tenant_id] = Tail()
        if tail.at is None and tail.begin(await _patiently(partial(self._nodes.stand, tenant_id))):
            self.press(tenant_id)
        state = await _patiently(partial(self._inbox.snapshot, tenant_id, user_id, told))
        if tail.give(state.at):
            self.press(tenant_id)
        return state

    async def replay(
        self,
        tenant_id: int,
        user_id: int,
        since: Offset,
        *,
        until: Offset,
        limit: int,
        at_most: int | None = None,
        make: Callable[[Replay], T],
    ) -> T | Astray:
        """See `Inbox`. What is replayed ends at what a snapshot has said, so no session gets further by it."""
        return await _patiently(
            lambda: self._inbox.replay(tenant_id, user_id, since, until=until, limit=limit, at_most=at_most, make=make)
        )


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What a read returns, which is tried again while the database server is away.

    Raises:
        StoreUnavailable: it was away for too long.
        StoreError: anything else.
    """
    until, pause = trio.current_time() + PATIENCE, FIRST_PAUSE
    while True:
        try:
            return await read()
        except StoreUnavailable:
            if trio.current_time() + pause > until:
                raise
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _number(offset: Offset) -> int:
    return offset.seq


def _builds_on(at: Offset, change: Change) -> bool:
    offset = change.offset
    return offset.mark == mark_of(at.mark, offset.seq, change.name, change.user_id, change.body)
