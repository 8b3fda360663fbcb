"""Several nodes on one PostgreSQL database, and all that happens to them.

    clients ──► lanes, `Balancer` ──► a gate for each node ──► node ──► its lane to PostgreSQL ──► primary ──► standby
                                                                                    └──► pooler ──► its lane ──┘

Gates and lanes are those of `proxy`, so that a node can be cut off on either side.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import trio

from bench.postgres import SERVER_USER
from tests.chaos.balancing import Balancer
from tests.chaos.databases import Databases, Kind
from tests.chaos.outages import CutOff, FailOver, Freeze, KillNode, Outage, RestartDatabase
from tests.chaos.plan import Fault
from tests.chaos.proxy import Lane, Proxy
from tests.chaos.server import EXPIRE, LONG_AGO, KillableServer
from tests.environment.pooler import started_pooler
from tests.history import Ledger

READY_SECONDS = 60.0
"""For all nodes to be ready once nothing happens to them any more, on a busy machine."""

LOOK_SECONDS = 0.05

POOL_SIZE = 6
"""Connections that the pooler has to the database: fewer than the nodes have to the pooler."""


class Nodes:
    """See the module.

    Args:
        folder: each node has a folder in it.
        number: how many there are.
        seed: of the balancer's choices.
        standby: its kind, None for a run without one.
        outages_overlap: whether something may happen to a node, or to the database, while something happens to another.
        pooled: whether a pooler stands between the nodes and the database.
        note: is told what happens.
        cut_held: is called before anybody is told of a past that lacks something which was told.

    Attributes:
        balancer: knows to which node a client's connection goes.
        lost: what the primary held each time that the standby lacked some of it.
        happened: how many outages there were.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        seed: int,
        standby: Kind | None,
        *,
        outages_overlap: bool,
        pooled: bool,
        note: Callable[[str], None],
        cut_held: Callable[[], None],
    ) -> None:
        self.balancer = Balancer(number, seed)
        self.lost: list[Ledger] = []
        self.happened = 0
        self._folder = folder
        self._number = number
        self._standby = standby
        self._pooled = pooled
        self._user, self._database = ("anybody", "pooled") if pooled else (SERVER_USER, "postgres")
        self._note = note
        self._cut_held = cut_held
        self._servers: list[KillableServer] = []
        self._gates: list[tuple[Proxy, Lane]] = []
        self._ways: list[Lane] = []
        self._databases: Databases
        # Of the nodes, and of the database.
        self._turns = [trio.Lock() for _ in range(number + 1)] if outages_overlap else [trio.Lock()] * (number + 1)

    @property
    def place(self) -> str:
        """The database, for whoever reads it behind the nodes' back."""
        return self._databases.dsn

    @property
    def kills(self) -> int:
        """How often a node was killed."""
        return sum(server.kills for server in self._servers)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until `close`, which leaves the database; then until this is cancelled.

        Raises:
            AssertionError: a node did not start, or ended by itself.
        """
        async with trio.open_nursery() as house:
            front = Proxy(house)
            back = Proxy(house) if self._pooled else front
            self._databases = Databases(back, self._standby, self._note)
            with ExitStack() as ends:
                ends.callback(self._databases.close)
                await self._databases.start()
                if self._pooled:
                    lane = await back.open("pooler")
                    url = f"postgresql://{SERVER_USER}@{lane.url.removeprefix('http://')}/postgres"
                    pooler = ends.enter_context(started_pooler(f"{url}?options=-csearch_path%3Dpublic", POOL_SIZE))
                    await trio.to_thread.run_sync(pooler.await_ready)
                    front.upstream = pooler.socket
                for node in range(self._number):
                    await self._add(node, front, house)
                for node, server in enumerate(self._servers):
                    await house.start(server.run)
                    house.start_soon(self.balancer.look, node)
                await self.up()
                task_status.started()
                await trio.sleep_forever()

    async def _add(self, node: int, front: Proxy, house: trio.Nursery) -> None:
        way = await front.open(f"node{node}")
        self._ways.append(way)
        gate = Proxy(house)
        self._gates.append((gate, await gate.open(f"gate{node}")))
        address = way.url.removeprefix("http://")
        environment = {
            "DJACTORS_DATABASE": f"postgresql://{self._user}@{address}/{self._database}",
            "DJACTORS_NODE": f"node{node}",
        }
        folder = self._folder / f"node{node}"
        folder.mkdir()
        server = KillableServer(
            folder, partial(self._told, node), environment=environment, expire=self._expire, patient=True
        )
        self._servers.append(server)

    def _told(self, node: int, url: str | None) -> None:
        gate, lane = self._gates[node]
        gate.upstream = None if url is None else ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self.balancer.addresses[node] = None if url is None else ("127.0.0.1", int(lane.url.rsplit(":", 1)[1]))
        self._note(f"node{node} is down" if url is None else f"node{node} is up at {url}")

    async def _expire(self, count: int) -> None:
        if count:
            statement = EXPIRE.replace("?", "%s") % (f"'{LONG_AGO}'", count)
            await self._databases.run(statement)

    async def suffer(self, outage: Outage) -> None:
        """Have something happen, behind what is happening now."""
        async with self._turns[-1 if isinstance(outage, RestartDatabase | FailOver) else outage.node]:
            self.happened += 1
            match outage:
                case KillNode():
                    self._note(f"kill -9 of node{outage.node}")
                    await self._servers[outage.node].kill(outage.seconds, outage.expiring)
                    await self._servers[outage.node].up()
                case Freeze():
                    await self._freeze(outage)
                case CutOff():
                    await self._cut_off(outage)
                case RestartDatabase():
                    await self._databases.restart(outage.seconds, crash=outage.crash)
                case FailOver():
                    await self._fail_over(outage)

    async def _freeze(self, outage: Freeze) -> None:
        self._note(f"node{outage.node} is frozen")
        self._servers[outage.node].send(signal.SIGSTOP)
        try:
            await trio.sleep(outage.seconds)
        finally:
            self._servers[outage.node].send(signal.SIGCONT)
        self._note(f"node{outage.node} goes on")

    async def _cut_off(self, outage: CutOff) -> None:
        how = "silently " if outage.silent else ""
        self._note(f"node{outage.node} is {how}cut off from the {outage.side}")
        lane = self._ways[outage.node] if outage.side == "database" else self._gates[outage.node][1]
        lane.strike(Fault(lane.name, "silence" if outage.silent else "dark", "now", 0, outage.seconds))
        await trio.sleep(outage.seconds)
        self._note(f"node{outage.node} is reached again")

    async def _fail_over(self, outage: FailOver) -> None:
        lost = await self._databases.fail_over(outage.behind)
        if lost is not None:
            self.lost.append(lost)
            # What is lost must not reach a client behind what it is told afterwards on another connection.
            self._cut_held()
        await self._databases.open()

    async def up(self) -> None:
        """Wait until nothing happens any more and every node is ready."""
        for turn in self._turns:
            async with turn:
                pass
        with trio.fail_after(READY_SECONDS):
            while not all(self.balancer.ready):
                await trio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        """Let the nodes end in their own time; the database stays until `run` is cancelled."""
        async with trio.open_nursery() as nursery:
            for server in self._servers:
                nursery.start_soon(server.stop)
