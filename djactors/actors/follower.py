"""The follower: tells this node's users what other nodes wrote, in one order with what this node itself wrote.

    another node's commit ──► NOTIFY, or polling ──► heard, want ──┐
    the router's own commit ──► deliver ──► the next one? ──► no ──┴──► read the log behind the tail ──► `Users.deliver`
                                                └──► yes ──► `Users.deliver`

Rules:
  * The log is read in one snapshot with the counts of the users whom it concerns, so a badge is that of its offset.
  * The same snapshot must have what this node and its sessions were told (`tails`). Otherwise a failover has lost it,
    and everybody looks for what they know, as after a copy of the database was put back (`Users.doubt`).
  * A node that is far behind reads nothing for all together: each user's actor reads the log in slices.
  * Accounts that another node changed are read again, by the actors of those whom they are about.
  * Whatever is lost on the way, a notification or a read that failed, only wakes the follower later. It never decides
    what is told: the log does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Protocol

import trio

from djactors.actors.deliveries import Counts
from djactors.actors.tails import Tail, Tails
from djactors.actors.users import Users
from djactors.domain.commands import Recorded
from djactors.inbox.following import Followed, Position, Wanted
from djactors.inbox.nodes import Announcement
from djactors.store.errors import StoreError
from djactors.telemetry import Telemetry

TENANTS_AT_ONCE = 16
"""Tenants that are read in one snapshot: some three statements each, so that others wait for a few milliseconds."""

FIRST_PAUSE = 0.1
"""Seconds before the log is read again after the store could not be read."""

LONGEST_PAUSE = 5.0
"""Seconds between later tries: as long as the store waits between two tries to connect."""

DUE_PACE = 1.0
"""Seconds between two looks at what is due next, while other nodes write. An alert is late by as much at most."""


DOUBT_SECONDS = 1.0
"""Seconds after everybody was made to look for what they know, within which a loss that is found in another tenant
makes those of that tenant look only. A failover loses something in many tenants at once."""


DOUBTED_FOR = 30.0
"""Seconds after a failed commit within which its notification shows that it was stored: as long as a statement may
take."""


class Log(Protocol):
    """What the follower asks of the store."""

    async def follow(self, wanted: Mapping[int, Wanted]) -> dict[int, Followed]:
        """What there is of tenants behind what was told of them."""

    async def moved(self, positions: Mapping[int, tuple[int, int]]) -> list[int]:
        """Those tenants of which there is more than was told."""

    async def next_due(self) -> str | None:
        """The next moment at which the clock has something to do."""


class Follower:
    """A service, and what the router tells its commits to; see the module for its rules.

    Args:
        node: the name of this node.
        log: what is read.
        tails: how far each tenant was told.
        users: who is told.
        on_due: is told the moment at which the clock has something to do; must not wait.
        telemetry: counts and logs.
        history: seconds for which the log is kept.
    """

    def __init__(
        self,
        node: str,
        log: Log,
        tails: Tails,
        users: Users,
        on_due: Callable[[str], None],
        telemetry: Telemetry,
        *,
        history: float = inf,
    ) -> None:
        self._node = node
        self._log = log
        self._tails = tails
        self._users = users
        self._on_due = on_due
        self._history = history
        self._telemetry = telemetry
        # In the order in which they were wanted.
        self._wanted: dict[int, None] = {}
        self._woken = trio.Event()
        self._others_wrote = trio.Event()
        self._failures = 0
        self._has_run = False
        self._doubted_at = -inf
        self._in_doubt_until = -inf
        tails.press = self.want

    def number_commit(self) -> int:
        """The number of a commit that is about to be asked for; see `Users`."""
        return self._users.number_commit()

    def counts_behind(self, tenant_id: int, user_id: int, seq: int) -> Counts | None:
        """See `Users`."""
        return self._users.counts_behind(tenant_id, user_id, seq)

    async def deliver(self, recorded: Recorded, committed_at: float, number: int) -> None:
        """Tell the users of a commit of this node, at once where it is the next one; see `Users.deliver`."""
        if recorded.others_wrote:
            # Everybody looks. What the tails say may be lost as well, and the follower finds out.
            await self._users.deliver(recorded, committed_at, number)
            self.want_all()
            return
        telling: dict[int, Tail] = {}
        told = {}
        for tenant_id, changes in recorded.changes.items():
            tail = self._tails.get(tenant_id)
            if tail is None:
                continue  # Whoever comes has a snapshot with this in it.
            news = None if tenant_id in recorded.others_wrote_in else tail.take(changes)
            if news is None:
                self.want(tenant_id)
            elif news and tenant_id not in recorded.ended_in:
                told[tenant_id] = list(news)
                telling[tenant_id] = tail
                tail.busy = True
        try:
            own = Recorded(
                [],
                told,
                recorded.unread,
                accounts=recorded.accounts,
                unseen=recorded.unseen,
                ended_in=recorded.ended_in,
            )
            await self._users.deliver(own, committed_at, number)
        finally:
            self._release(telling)

    def in_doubt(self) -> None:
        """A commit of this node has failed. If it is stored all the same, the users must be told of it."""
        self._in_doubt_until = trio.current_time() + DOUBTED_FOR
        self.want_all()

    def heard(self, announcement: Announcement) -> None:
        """Another node has committed. A commit of this node comes by the router, unless it is in doubt."""
        if announcement.node == self._node and trio.current_time() >= self._in_doubt_until:
            return
        self._others_wrote.set()
        if announcement.tenants is None:
            self.want_all()
            return
        for tenant_id in announcement.tenants:
            if self._tails.get(tenant_id) is not None:
                self.want(tenant_id)

    def want(self, tenant_id: int) -> None:
        """Have the log of a tenant read, and what is not told yet told."""
        tail = self._tails.get(tenant_id)
        if tail is None:
            return
        if tail.at is None:
            tail.missed = True
        self._wanted[tenant_id] = None
        self._woken.set()

    def want_all(self) -> None:
        """Have the logs of all tenants read, because a notification may be lost."""
        self._others_wrote.set()
        for tenant_id in self._tails.all():
            self.want(tenant_id)

    async def poll(self) -> None:
        """Ask of all tenants whether there is more.

        Raises:
            StoreError: the store cannot be read.
        """
        positions = {}
        for tenant_id, tail in self._tails.all().items():
            if tail.given:
                # Numbers do not tell whether the log has what sessions were given.
                self.want(tenant_id)
            elif tail.at is not None:
                positions[tenant_id] = tail.at.seq, tail.accounts
        # The clock's moments are of all tenants, so it does not matter whether somebody is connected.
        self._others_wrote.set()
        if positions:
            for tenant_id in await self._log.moved(positions):
                self.want(tenant_id)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow until this is cancelled."""
        if self._has_run:
            # The one before may have failed between a read and its telling.
            self._users.reread()
            for tail in self._tails.all().values():
                tail.busy = False
            self.want_all()
        self._has_run = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._keep_up)
            task_status.started()
            while True:
                await self._woken.wait()
                self._woken = trio.Event()
                while due := self._due():
                    await self._follow(due)

    def _due(self) -> dict[int, Tail]:
        """The tenants that are read next. Those whose users are being told right now stay for later."""
        due: dict[int, Tail] = {}
        for tenant_id in list(self._wanted):
            tail = self._tails.get(tenant_id)
            if tail is not None and tail.busy:
                continue
            if tail is not None and not self._users.has_tenant(tenant_id):
                self._tails.drop(tenant_id)
                tail = None
            del self._wanted[tenant_id]
            # One that has no position yet is wanted again when it has.
            if tail is not None and tail.at is not None:
                due[tenant_id] = tail
                if len(due) == TENANTS_AT_ONCE:
                    break
        return due

    async def _follow(self, due: Mapping[int, Tail]) -> None:
        # Before the read, as a commit is numbered before it is asked for.
        number = self._users.number_commit()
        wanted = {tenant_id: each for tenant_id, tail in due.items() if (each := tail.wanted()) is not None}
        for tail in due.values():
            tail.busy = True
        try:
            found = await self._log.follow(wanted)
            for tenant_id, followed in found.items():
                due[tenant_id].went(wanted[tenant_id], followed.upto)
            committed_at = trio.current_time()
            for tenant_id, followed in found.items():
                await self._tell(tenant_id, wanted[tenant_id].since, followed, committed_at, number)
        except StoreError as error:
            self._telemetry.refusals.repeated("log not read", type(error).__name__, error=str(error))
            self._wanted.update(dict.fromkeys(due))
            pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
            self._failures += 1
            self._release(due)
            await trio.sleep(pause)
        else:
            self._failures = 0
        finally:
            self._release(due)

    async def _tell(
        self, tenant_id: int, since: Position, followed: Followed, committed_at: float, number: int
    ) -> None:
        if followed.in_part:
            await self._users.begin_anew(tenant_id)
        elif followed.lost:
            self._telemetry.refusals.repeated(
                "what was told is not in the log", "lost", tenant_id=tenant_id, seq=since.at.seq
            )
            if trio.current_time() - self._doubted_at >= DOUBT_SECONDS:
                self._doubted_at = trio.current_time()
                await self._users.doubt()
            else:
                await self._users.look(tenant_id)
        elif followed.changes is None:
            await self._users.look(tenant_id)
        elif followed.changes:
            self._telemetry.metrics.followed.inc(len(followed.changes))
            changes = {tenant_id: followed.changes}
            recorded = Recorded([], changes, followed.unread, unseen=followed.unseen)
            await self._users.deliver(recorded, committed_at, number)
        if followed.accounts is None or followed.accounts:
            await self._users.look_at_accounts(tenant_id, followed.accounts)

    def _release(self, tails: Mapping[int, Tail]) -> None:
        for tail in tails.values():
            tail.busy = False
        if self._wanted:
            self._woken.set()

    async def _keep_time(self) -> None:
        """Have the clock look in time at what other nodes have brought forward."""
        while True:
            await self._others_wrote.wait()
            self._others_wrote = trio.Event()
            try:
                moment = await self._log.next_due()
            except StoreError as error:
                self._telemetry.refusals.repeated("due not read", type(error).__name__, error=str(error))
                self._others_wrote.set()
            else:
                if moment is not None:
                    self._on_due(moment)
            await trio.sleep(DUE_PACE)

    async def _keep_up(self) -> None:
        """Have those whom nothing has concerned for long look where the log stands.

        The node that purges the log knows its own users only. So each node sees to it that all of its users were told
        of something young, of half of the history at most.
        """
        while self._history < inf:
            standing = {tenant_id: tail.at.seq for tenant_id, tail in self._tails.all().items() if tail.at is not None}
            await trio.sleep(self._history / 4)
            await self._users.bring_up(standing)
