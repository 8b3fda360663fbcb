"""Any order of connects, cuts, crashes, commits and slow reading: nothing lost, nothing twice, nothing out of order.

Each client is a small model of the stock one. It keeps the pid that it was given, takes the offset of each event it
receives for its own, and comes back with both; or it keeps a `since` itself, and has no pid. It receives at its own
pace, and what it has not received when its connection is cut is lost. What it has applied is compared with the log.

In some lives old copies of the database are put back while it is served. Then a client may only be led from one offset
to another one that has the first in its past, or be told to reload.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors import announcer as announcer_module
from djactors.actors import users as users_module
from djactors.domain.commands import Change, Command, Delete, MarkAllRead, MarkRead, PurgeSlice, Recorded
from djactors.domain.marks import BEGINNING, mark_of
from djactors.inbox import schema
from djactors.store.errors import StoreUnavailable
from tests.actors.house import COUNT, RESET, FakeSocket, House, job, note, running
from tests.copies import copy_of, put_back_online
from tests.offsets import number_of

PEOPLE = {11: 1, 12: 1, 21: 2}
"""Each user's tenant."""

SETTLED = 120.0
"""Seconds after which every restart, quarantine and idle actor is over."""


EVERYTHING = 1_000_000
"""Packets: more than there can be."""


class StockClient:
    """One device. `keeps_since` makes it one without recovery, which remembers its offset from what it was told."""

    def __init__(self, house: House, user_id: int, *, keeps_since: bool, told: Counter[str]) -> None:
        self.house = house
        self.user_id = user_id
        self.tenant_id = PEOPLE[user_id]
        self.keeps_since = keeps_since
        self.told = told
        self.socket: FakeSocket | None = None
        self.pid: str | None = None
        self.offset: str | None = None
        self.count: int | None = None
        # What it knows: everything up to the offset `base` by reloading, and each change since by having been told.
        self.base: str | None = None
        self.applied: list[str] = []
        # From which offset to which it was led without a word.
        self.led: list[tuple[str, str]] = []
        self._received = 0
        self.answered = False

    @property
    def connected(self) -> bool:
        return self.socket is not None and self.socket.closed is None

    def connect(self) -> None:
        auth: dict[str, Any] = {}
        if self.keeps_since:
            auth = {} if self.offset is None else {"since": self.offset}
        elif self.pid is not None:
            auth = {"pid": self.pid} if self.offset is None else {"pid": self.pid, "offset": self.offset}
        if not auth:
            # It begins anew.
            self.base, self.applied, self.offset = None, [], None
        self._received, self.answered = 0, False
        self.socket = self.house.connect(self.user_id, self.tenant_id, roomy=False, **auth)

    def cut(self) -> None:
        """The connection ends, with all that is on its way."""
        assert self.socket is not None
        self.socket.leave()

    def receive(self, packets: int) -> None:
        """Receive the answer and up to so many packets; once nothing is on its way, the server may send on."""
        socket = self.socket
        if socket is None or socket.closed is not None or not socket.accepted:
            return
        if not self.answered:
            self.answered = True
            assert socket.pid is not None
            self.told["recovered" if self.pid == socket.pid else "connected"] += 1
            if not self.keeps_since:
                self.pid = socket.pid
            if self.base is None:
                # The list that it reads now is of no earlier moment.
                self.base = ".".join(socket.pid.split(".")[3:5]).removesuffix("r")
        for packet in socket.packets[self._received : self._received + packets]:
            self._received += 1
            assert packet.offset is not None
            self._take(packet.name, packet.body, packet.offset, packet.seq)
        if self._received == len(socket.packets):
            socket.drain()

    def _take(self, name: str, body: Any, offset: str, seq: int) -> None:
        if name == RESET:
            self.told["reset"] += 1
            assert body == {"offset": offset}
            # The application reloads: it has the inbox as it was then.
            self.base, self.applied, self.offset = offset, [], None
        if self.offset is not None:
            assert seq >= number_of(self.offset), "offsets only rise"
            self.led.append((self.offset, offset))
        self.offset = offset
        if name == COUNT:
            self.count = body["count"]
        elif name != RESET:
            self.applied.append(offset)


def _mark(change: Change, before: int) -> int:
    return mark_of(before, change.offset.seq, change.name, change.user_id, change.body)


class World:
    """The server, its clients, and dice."""

    def __init__(self, house: House, seed: int, told: Counter[str], *, put_backs: bool) -> None:
        self.house = house
        self.put_backs = put_backs
        self.copies: list[Path] = []
        self.dice = random.Random(seed)
        self.told = told
        self.dead: list[FakeSocket] = []
        self.recorded: dict[tuple[int, int], list[Change]] = {}
        self.clients = [
            StockClient(house, user_id, keeps_since=self.dice.random() < 0.3, told=told)
            for user_id in PEOPLE
            for _ in range(3)
        ]
        store = house.store
        store.before_record = store.after_snapshot = self._dawdle
        store.before_snapshot = store.before_changes = self._stumble
        self._record = store.record
        store.record = self._recording  # type: ignore[method-assign]

    async def _recording(self, commands: Sequence[Command], is_awaited: Callable[[], bool]) -> Recorded:
        """Keep every change there ever was: the log forgets its beginning, and what is lost."""
        recorded = await self._record(commands, is_awaited)
        for changes in recorded.changes.values():
            for change in changes:
                self.recorded.setdefault((change.tenant_id, change.offset.seq), []).append(change)
        return recorded

    def past(self, tenant_id: int, offset: str) -> list[Change]:
        """All that led to an offset, which says so by its mark."""
        past: list[Change] = []
        while offset != ".0":
            past.append(self.parents[tenant_id, offset][1])
            offset = self.parents[tenant_id, offset][0]
        return past[::-1]

    def leads(self, tenant_id: int, before: str, after: str) -> bool:
        """Whether an offset is in the past of another one."""
        while number_of(after) > number_of(before):
            after = self.parents[tenant_id, after][0]
        return after == before

    @cached_property
    def parents(self) -> dict[tuple[int, str], tuple[str, Change]]:
        """For each change, by its offset: the offset before it. Only at the end."""
        parents: dict[tuple[int, str], tuple[str, Change]] = {}
        for (tenant_id, seq), changes in self.recorded.items():
            before = {BEGINNING} if seq == 1 else {change.offset for change in self.recorded[tenant_id, seq - 1]}
            for change in changes:
                [parent] = [each for each in before if _mark(change, each.mark) == change.offset.mark]
                parents[tenant_id, str(change.offset)] = str(parent), change
        return parents

    async def _dawdle(self) -> None:
        for _ in range(self.dice.randrange(4)):
            await trio.lowlevel.checkpoint()
        if self.dice.random() < 0.1:
            await trio.sleep(self.dice.choice([0.01, 0.5]))

    async def _stumble(self) -> None:
        await self._dawdle()
        if self.dice.random() < 0.05:
            self.told["crashed"] += 1
            raise StoreUnavailable("the disk is slow")

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            self._step()
            await self._dawdle()
        # From here on nobody dawdles or stumbles: what blocks is at rest.
        store = self.house.store
        store.before_snapshot = store.after_snapshot = store.before_record = store.before_changes = store._pass

    def _step(self) -> None:
        dice, house = self.dice, self.house
        client = dice.choice(self.clients)
        user_id = dice.choice(list(PEOPLE))
        tenant_id = PEOPLE[user_id]
        match dice.randrange(20):
            case 0 | 1 | 2 if not client.connected:
                client.connect()
            case 0 if client.connected:
                client.cut()
            case 1 if client.connected and not client.keeps_since and client.pid is not None:
                # Half open: the client has noticed that its connection is dead, the server has not.
                self.told["half open"] += 1
                dead, known = client.socket, client.answered
                client.connect()
                assert dead is not None
                self.dead.append(dead)
                assert dead.closed == "superseded" or not known
            case 2 | 3 | 4 | 5 | 12 | 13 | 14 | 15:
                client.receive(dice.choice([0, 1, 5, 50, 1000]))
            case 6:
                house.send(MarkAllRead(tenant_id, user_id))
            case 7:
                house.send(dice.choice([MarkRead, Delete])(tenant_id, user_id, dice.randrange(1, 200)))
            case 8:
                house.send(*[job(tenant_id, assignee_id=dice.choice([None, user_id]))] * dice.choice([1, 1, 30]))
            case 9:
                house.users.reread()
            case 10 if dice.random() < 0.05 and not self.put_backs:
                house.send(PurgeSlice("changes", timedelta(0), dice.choice([1, 100]), 0, house.users.standing()))
            case 10 | 11 if self.put_backs:
                self._copy_or_put_back()
            case _:
                house.send(*[note(user_id, tenant_id) for _ in range(dice.choice([1, 2, 5, 60]))])

    def _copy_or_put_back(self) -> None:
        if not self.copies or self.dice.random() < 0.5:
            copy = self.house.path.with_name(f"{self.house.path.stem}-{len(self.copies)}.db")
            self.copies.append(copy_of(self.house.path, copy))
        else:
            self.told["put back"] += 1
            put_back_online(self.dice.choice(self.copies), self.house.path)

    async def settle(self) -> None:
        """Everybody comes back and receives everything; the heartbeat ends what is dead."""
        for socket in self.dead:
            socket.leave()
        # A copy that was put back is found out by the next commit.
        self.house.send(*[note(user_id, tenant_id) for user_id, tenant_id in PEOPLE.items()])
        for _ in range(10):
            await trio.sleep(SETTLED)
            for client in self.clients:
                if not client.connected:
                    client.connect()
            await wait_all_tasks_blocked()
            while any(client.connected and client.socket.waits for client in self.clients):  # type: ignore[union-attr]
                for client in self.clients:
                    client.receive(EVERYTHING)
                await wait_all_tasks_blocked()
            for client in self.clients:
                client.receive(EVERYTHING)
            if all(client.connected for client in self.clients):
                return
        raise AssertionError("not everybody can come back")

    async def check(self) -> None:
        for client in self.clients:
            state = await self.house.store.store.snapshot(client.tenant_id, client.user_id)
            assert client.count == state.unread
            assert client.base is not None
            past = self.past(client.tenant_id, str(state.at))
            assert self.leads(client.tenant_id, client.base, str(state.at))
            assert client.applied == [
                str(change.offset)
                for change in past
                if change.user_id in (None, client.user_id) and change.offset.seq > number_of(client.base)
            ]
            self.told["applied"] += len(client.applied)
            for before, after in client.led:
                assert self.leads(client.tenant_id, before, after), "what it knew is lost, and nobody told it"
            self.told["led"] += len(client.led)
        for presence in self.house.users.presences():
            mine = {client.socket for client in self.clients if client.user_id == presence.user_id}
            assert set(presence.sockets) == mine
            assert presence.attaching == {}
            assert all(seat.position is None and not seat.draining for seat in presence.sockets.values())


async def lived(path: Path, seed: int, told: Counter[str], *, put_backs: bool = False, **options: Any) -> None:
    """One life of a server, from any order of events to rest."""
    schema.apply(path)
    async with running(path, daily_limit=100_000, **options) as house:
        world = World(house, seed, told, put_backs=put_backs)
        await world.live(400)
        await world.settle()
        await world.check()


def tell_so_many_in_a_turn(monkeypatch: pytest.MonkeyPatch, told_per_turn: int) -> None:
    monkeypatch.setattr(announcer_module, "TOLD_PER_TURN", told_per_turn)
    monkeypatch.setattr(users_module, "TOLD_PER_TURN", told_per_turn)
    monkeypatch.setattr(users_module, "AT_ONCE", told_per_turn)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("mailbox", "limit", "told_per_turn"), [(1, 1000, 256), (4, 250, 0), (256, 1000, 0)])
async def test_every_client_has_applied_exactly_what_it_may_see_once_and_in_order(
    path: Path,
    autojump_clock,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    mailbox: int,
    limit: int,
    told_per_turn: int,
):
    # With 0, anything may happen before each user is told, by the announcer; and commits gather.
    tell_so_many_in_a_turn(monkeypatch, told_per_turn)
    delay = 0.0 if told_per_turn else 0.01
    await lived(
        path, seed, Counter(), user_mailbox=mailbox, replay_limit=limit, passivate_after=0.5, commit_delay=delay
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("mailbox", "told_per_turn"), [(1, 256), (4, 0), (256, 0)])
async def test_nobody_is_led_out_of_a_past_that_is_lost_without_a_word(
    path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch, seed: int, mailbox: int, told_per_turn: int
):
    tell_so_many_in_a_turn(monkeypatch, told_per_turn)
    told: Counter[str] = Counter()
    await lived(path, seed, told, put_backs=True, user_mailbox=mailbox, replay_limit=1000, passivate_after=0.5)
    assert told["put back"] > 3


async def test_the_dice_reach_every_way_of_coming_back(path: Path, autojump_clock):
    told: Counter[str] = Counter()
    for seed in range(5):
        await lived(path.with_name(f"{seed}.db"), seed, told, user_mailbox=4, replay_limit=250, passivate_after=0.5)
    # There are dozens of each; how many depends on the scheduler, which rolls dice of its own.
    for way in ("recovered", "connected", "reset", "half open", "crashed", "applied"):
        assert told[way] > 5, way
