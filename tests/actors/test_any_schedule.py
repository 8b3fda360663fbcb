"""Any order of connects, cuts, crashes, commits and slow reading: nothing lost, nothing twice, nothing out of order.

Each client is a small model of the stock one. It keeps the pid that it was given, takes the offset of each event it
receives for its own, and comes back with both; or it keeps a `since` itself, and has no pid. It receives at its own
pace, and what it has not received when its connection is cut is lost. What it has applied is compared with the log.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors import users as users_module
from djactors.domain.commands import Change, Command, Delete, MarkAllRead, MarkRead, PurgeSlice, Recorded
from djactors.store import migrate
from djactors.store.errors import StoreUnavailable
from tests.actors.house import COUNT, RESET, FakeSocket, House, job, note, running
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
        # What it knows: everything up to `base` by reloading, and each change since by having been told.
        self.base: int | None = None
        self.applied: list[int] = []
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
            self.base, self.applied = None, []
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
                self.base = int(socket.pid.split(".")[4].removesuffix("r"))
        for packet in socket.packets[self._received : self._received + packets]:
            self._received += 1
            assert packet.offset is not None
            self._take(packet.name, packet.body, packet.offset, packet.seq)
        if self._received == len(socket.packets):
            socket.drain()

    def _take(self, name: str, body: Any, offset: str, seq: int) -> None:
        if self.offset is not None:
            assert seq >= number_of(self.offset), "offsets only rise"
        self.offset = offset
        if name == RESET:
            self.told["reset"] += 1
            assert body == {"offset": self.offset}
            # The application reloads: it has the inbox as it was then.
            self.base, self.applied = seq, []
        elif name == COUNT:
            self.count = body["count"]
        else:
            self.applied.append(seq)


class World:
    """The server, its clients, and dice."""

    def __init__(self, house: House, seed: int, told: Counter[str]) -> None:
        self.house = house
        self.dice = random.Random(seed)
        self.told = told
        self.dead: list[FakeSocket] = []
        self.log: list[Change] = []
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

    async def _recording(self, commands: Sequence[Command]) -> Recorded:
        """Keep the log, which forgets its beginning, whole."""
        recorded = await self._record(commands)
        for changes in recorded.changes.values():
            self.log += changes
        return recorded

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
            case 10 if dice.random() < 0.05:
                house.send(PurgeSlice("changes", timedelta(0), dice.choice([1, 100])))
            case _:
                house.send(*[note(user_id, tenant_id) for _ in range(dice.choice([1, 2, 5, 60]))])

    async def settle(self) -> None:
        """Everybody comes back and receives everything; the heartbeat ends what is dead."""
        for socket in self.dead:
            socket.leave()
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
            assert client.applied == [
                change.seq
                for change in self.log
                if change.tenant_id == client.tenant_id
                and change.user_id in (None, client.user_id)
                and change.seq > client.base
            ]
            self.told["applied"] += len(client.applied)
        for presence in self.house.users.presences():
            mine = {client.socket for client in self.clients if client.user_id == presence.user_id}
            assert set(presence.sockets) == mine
            assert presence.attaching == {}
            assert all(seat.position is None and not seat.draining for seat in presence.sockets.values())


async def lived(path: Path, seed: int, told: Counter[str], **options: Any) -> None:
    """One life of a server, from any order of events to rest."""
    migrate.apply(path)
    async with running(path, daily_limit=100_000, **options) as house:
        world = World(house, seed, told)
        await world.live(400)
        await world.settle()
        await world.check()


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
    # With 0, anything may happen before each user is told; and commits gather.
    monkeypatch.setattr(users_module, "TOLD_PER_TURN", told_per_turn)
    delay = 0.0 if told_per_turn else 0.01
    await lived(
        path, seed, Counter(), user_mailbox=mailbox, replay_limit=limit, passivate_after=0.5, commit_delay=delay
    )


async def test_the_dice_reach_every_way_of_coming_back(path: Path, autojump_clock):
    told: Counter[str] = Counter()
    for seed in range(5):
        await lived(path.with_name(f"{seed}.db"), seed, told, user_mailbox=4, replay_limit=250, passivate_after=0.5)
    # There are dozens of each; how many depends on the scheduler, which rolls dice of its own.
    for way in ("recovered", "connected", "reset", "half open", "crashed", "applied"):
        assert told[way] > 5, way
