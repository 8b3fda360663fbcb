"""Several nodes without an edge on one SQLite file: each with its store, router, follower and user actors.

SQLite tells a node that somebody else has written, but not where. What PostgreSQL tells, the tenants that another node
wrote last, is put in its place (`SharedStore`). Notifications go by a `Wire` that a test can cut.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import msgspec
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.accounts import KNOWN_FOR
from djactors.actors.command_ref import CommandRef, command_ref
from djactors.actors.follower import Follower
from djactors.actors.pid import PidIssuer
from djactors.actors.router import Router
from djactors.actors.tails import Tails
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain.commands import Command, Recorded
from djactors.inbox.inbox import Inbox
from djactors.inbox.nodes import Announcement, Nodes
from djactors.kernel import ActorSpec, ServiceSpec, Supervisor
from djactors.store.database import Database
from djactors.store.threads import InlineRunner
from djactors.telemetry import Telemetry, make_logger
from tests.actors.house import PID_KEY, GatedStore, House

HISTORY = 7 * 86400.0
NOW = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)


class Wire:
    """Carries the nodes' notifications while it is whole."""

    def __init__(self) -> None:
        self.whole = True
        self.nodes: list[Follower] = []

    def announce(self, node: str, tenants: dict[int, int]) -> None:
        if self.whole:
            for follower in self.nodes:
                follower.heard(Announcement(node, tenants))


class SharedStore(GatedStore):
    """The store of one node. `others_wrote_anywhere` has it doubt everything, as after a reconnection."""

    def __init__(self, store: Inbox, node: str, wire: Wire) -> None:
        super().__init__(store)
        self._node = node
        self._wire = wire
        self.others_wrote_anywhere = False

    async def record(self, commands: Sequence[Command], is_awaited: Callable[[], bool]) -> Recorded:
        self.batches.append(len(commands))
        await self.before_record()
        recorded = await self.store.record(commands, is_awaited)
        if recorded.others_wrote and not self.others_wrote_anywhere:
            theirs = frozenset(recorded.changes)
            recorded = msgspec.structs.replace(recorded, others_wrote=False, others_wrote_in=theirs)
        self._wire.announce(
            self._node,
            {tenant_id: changes[-1].offset.seq for tenant_id, changes in recorded.changes.items()}
            | {tenant_id: 0 for tenant_id, _ in recorded.accounts},
        )
        await self.after_record()
        return recorded


class FakeClock:
    """Writes down for when it was wanted."""

    def __init__(self) -> None:
        self.moments: list[str] = []

    def bring_forward(self, moment: str) -> None:
        self.moments.append(moment)


class Node(House):
    """A node of several."""

    follower: Follower
    tails: Tails
    clock: FakeClock
    store: SharedStore


@asynccontextmanager
async def running_nodes(path: Path, number: int = 2) -> AsyncIterator[tuple[list[Node], Wire]]:
    """So many nodes on one file."""
    wire = Wire()
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(_running(path, f"node{each}", wire)) for each in range(number)]
        yield nodes, wire


@asynccontextmanager
async def _running(path: Path, name: str, wire: Wire) -> AsyncIterator[Node]:
    settings = Settings(commit_delay=0.0)
    telemetry = Telemetry(make_logger("json", "critical"))
    async with await Database.open(path, threads=InlineRunner) as database:
        store = SharedStore(Inbox(database, lambda: NOW), name, wire)
        nonces = count()
        pids = PidIssuer(PID_KEY, lambda size: name.encode()[-1:] + next(nonces).to_bytes(size - 1, "big"))
        log = Nodes(database)
        tails = Tails(store, log)
        users = Users(tails, pids, settings, telemetry, lambda: router, accounts_known_for=KNOWN_FOR)
        clock = FakeClock()
        follower = Follower(name, log, tails, users, clock.bring_forward, telemetry, history=HISTORY)
        wire.nodes.append(follower)
        router_spec = ActorSpec(
            "router",
            lambda: Router(store, follower, telemetry, settings.commit_batch, settings.commit_delay),
            mailbox_capacity=settings.router_mailbox,
        )
        root = Supervisor(
            "root",
            [
                ServiceSpec("users", users.supervisor),
                ServiceSpec("announcer", lambda: users.announcer),
                router_spec,
                ServiceSpec("follower", lambda: follower),
            ],
        )
        router: CommandRef = command_ref(root.ref(router_spec))
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run)
            node = Node(path, store, users, router, telemetry)
            node.follower, node.tails, node.clock = follower, tails, clock
            yield node
            root.request_stop()


async def settled() -> None:
    """Everybody has heard what there is to hear, except for what waits for time to pass."""
    await wait_all_tasks_blocked()
