"""The state of the installation in one answer: the actor tree, the users, the store, the event loop, and what was done
so far.

Rules:
  * The answer describes the whole installation by numbers and by the names of its own parts.
  * It names only users of the tenant that asks. Of an error it tells only the class, because the text may hold
    somebody's data.
  * Counters only rise while the process lives, so a client that asks twice can compute rates.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Final

import msgspec
import trio

from djactors import __version__
from djactors.actors import census
from djactors.actors.census import Census, Population, UserRow
from djactors.actors.neighbours import Neighbours
from djactors.actors.users import Users
from djactors.domain.notifications import encode
from djactors.domain.times import from_text, utc_text
from djactors.edge.recent import Past, RecentCounters
from djactors.edge.shared import Shared
from djactors.inbox.nodes import NodeRow
from djactors.kernel import ChildStatistics, MailboxStatistics, Supervisor
from djactors.loop_lag import RECENT, WINDOW, LoopLag
from djactors.store.database import Statistics
from djactors.store.errors import StoreError
from djactors.telemetry import Distribution, Metrics, Telemetry, distribution, total

FRESH: Final = 0.5
"""The time in seconds for which one answer serves everybody of the tenant, so that many open pages cost no more than
one."""


NAMES_TIMEOUT: Final = 1.0
"""Seconds that the store has to tell names: an operator looks here also where the store does not answer."""

Names = Callable[[int, Collection[int]], Awaitable[Mapping[int, str]]]
"""Looks up the names of users of a tenant. Raises StoreError."""


class Mailbox(msgspec.Struct, rename="camel"):
    """A mailbox; see `MailboxStatistics`."""

    depth: int
    capacity: int
    high_water: int
    received: int
    refused: int


class Node(msgspec.Struct, rename="camel"):
    """One node of the tree of supervision. `last_error` is the name of a class."""

    name: str
    kind: str
    state: str
    restarts: int
    crashes: int
    dropped: int
    last_error: str | None
    mailbox: Mailbox | None
    children: list[Node]


class User(msgspec.Struct, rename="camel"):
    """One user's actor and the number of that user's sockets. `name` is None if the store did not tell."""

    user_id: int
    name: str | None
    state: str
    sockets: int
    stale: bool
    restarts: int
    crashes: int
    last_error: str | None
    mailbox: Mailbox | None


class UserField(msgspec.Struct, rename="camel"):
    """User actors: numbers for all of them, and numbers and single rows for those of the tenant that asks, those in
    trouble first."""

    total: int
    sockets: int
    quarantined: int
    tenant: Population
    rows: list[User]
    left_out: int


class StoreCondition(msgspec.Struct, rename="camel"):
    """The store: what waits for it, and what it has done."""

    state: str
    writes_queued: int
    write_capacity: int
    reads_queued: int
    read_capacity: int
    commits: int
    commands: int
    failed: int
    last_error: str | None
    commit: Distribution


class Loop(msgspec.Struct, rename="camel"):
    """The longest turns of the event loop in seconds: `lag` just now, `worst` in the last `window` seconds."""

    lag: float
    worst: float
    window: int


class Counters(msgspec.Struct, rename="camel"):
    """What has happened since the start."""

    events: int
    notifications: int
    deliveries: int
    refusals: int
    crashes: int


class Sessions(msgspec.Struct, rename="camel"):
    """Open Engine.IO sessions by transport."""

    polling: int
    websocket: int


class Peer(msgspec.Struct, rename="camel"):
    """A node that serves the same database, as it has said itself. `is_this` marks the one that answers.

    `seen_ago` is how many seconds ago it was there; one that was killed is listed for some minutes. `types` names the
    table of its notification types, as `djactors types` prints it; it is empty where an older version does not say it.
    """

    name: str
    is_this: bool
    started_at: str
    seen_ago: float
    version: str
    url: str
    users: int
    sockets: int
    types: str


class Condition(msgspec.Struct, rename="camel"):
    """The whole answer. `uptime` is in seconds. `history` is there if it was asked for, and `nodes` where the database
    is shared. All else is about the node that answers."""

    version: str
    now: str
    started_at: str
    uptime: float
    tree: Node
    users: UserField
    store: StoreCondition
    loop: Loop
    sessions: Sessions
    connections: int
    counters: Counters
    delivery: Distribution
    history: list[Past] | msgspec.UnsetType = msgspec.UNSET
    nodes: list[Peer] | msgspec.UnsetType = msgspec.UNSET


class Survey:
    """Makes the answers, one at a time.

    Args:
        root: the actor tree.
        users: the connected users.
        store: gives the store's statistics.
        lag: the instrument of the event loop.
        telemetry: the metrics.
        now: the wall clock, as an aware time.
        names: tells the names of users.
        neighbours: tells the nodes that serve the same database; None where this is the only one.
    """

    def __init__(
        self,
        root: Supervisor,
        users: Users,
        store: Callable[[], Statistics],
        lag: LoopLag,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        names: Names,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._root = root
        self._users = users
        self._store = store
        self._lag = lag
        self._metrics = telemetry.metrics
        self._now = now
        self._names = names
        self._neighbours = neighbours
        self._started = trio.current_time()
        self._started_at = utc_text(now())
        self._recent = RecentCounters(telemetry.metrics)
        lag.on_second = self._recent.look
        # By tenant, and with or without the history.
        self._shared: Shared[tuple[int, bool], bytes] = Shared(self._make, FRESH)

    async def take(self, tenant_id: int, *, history: bool = False) -> bytes:
        """The `Condition` that an admin of the tenant may see, as JSON. It is at most `FRESH` seconds old."""
        return await self._shared.get((tenant_id, history))

    async def _make(self, asked: tuple[int, bool]) -> bytes:
        tenant_id, history = asked
        users = await census.take(self._users, tenant_id)
        condition = self._condition(users, await self._names_of(tenant_id, users))
        if self._neighbours is not None:
            condition.nodes = await self._nodes(self._neighbours)
        if history:
            condition.history = self._recent.past(self._lag.now())
        return encode(condition)

    async def _names_of(self, tenant_id: int, users: Census) -> Mapping[int, str]:
        try:
            with trio.move_on_after(NAMES_TIMEOUT):
                return await self._names(tenant_id, [row.user_id for row in users.rows])
        except StoreError:
            pass  # What ails the store is in the same answer.
        return {}

    async def _nodes(self, neighbours: Neighbours) -> list[Peer]:
        rows: list[NodeRow] = []
        try:
            with trio.move_on_after(NAMES_TIMEOUT):
                rows = await neighbours.nodes.listed()
        except StoreError:
            pass  # As above.
        now = self._now()
        return [_peer(row, neighbours.node, now) for row in rows]

    def _condition(self, users: Census, names: Mapping[int, str]) -> Condition:
        metrics = self._metrics
        return Condition(
            version=__version__,
            now=utc_text(self._now()),
            started_at=self._started_at,
            uptime=trio.current_time() - self._started,
            tree=self._tree(),
            users=_user_field(users, names),
            store=_store_condition(self._store(), metrics),
            loop=Loop(self._lag.worst(RECENT), self._lag.worst(), WINDOW),
            sessions=Sessions(
                total(metrics.connections, transport="polling"), total(metrics.connections, transport="websocket")
            ),
            connections=total(metrics.tcp_connections),
            counters=Counters(
                events=total(metrics.events, outcome="recorded"),
                notifications=total(metrics.notifications),
                deliveries=distribution(metrics.delivery).count,
                refusals=total(metrics.refusals),
                crashes=total(metrics.restarts),
            ),
            delivery=distribution(metrics.delivery),
        )

    def _tree(self) -> Node:
        root = _node(self._root.statistics(levels=1))
        for node in root.children:
            if node.name == "users":
                # There may be thousands of children, so they are not walked. Their crashes have been counted.
                node.crashes = node.restarts = total(self._metrics.restarts, actor="user")
        return root


def _node(child: ChildStatistics) -> Node:
    return Node(
        name=child.name,
        kind=str(child.kind),
        state=str(child.state),
        restarts=child.restarts,
        crashes=child.crashes,
        dropped=child.dropped,
        last_error=_class_of(child.last_error),
        mailbox=_mailbox(child.mailbox),
        children=[_node(below) for below in child.children],
    )


def _user(row: UserRow, name: str | None) -> User:
    actor = row.actor
    return User(
        user_id=row.user_id,
        name=name,
        state=str(actor.state),
        sockets=row.sockets,
        stale=row.stale,
        restarts=actor.restarts,
        crashes=actor.crashes,
        last_error=_class_of(actor.last_error),
        mailbox=_mailbox(actor.mailbox),
    )


def _user_field(users: Census, names: Mapping[int, str]) -> UserField:
    return UserField(
        total=users.everybody.total,
        sockets=users.everybody.sockets,
        quarantined=users.everybody.quarantined,
        tenant=users.tenant,
        rows=[_user(row, names.get(row.user_id)) for row in users.rows],
        left_out=users.tenant.total - len(users.rows),
    )


def _store_condition(store: Statistics, metrics: Metrics) -> StoreCondition:
    return StoreCondition(
        state="broken" if store.broken else "running",
        writes_queued=store.writes_queued,
        write_capacity=store.write_capacity,
        reads_queued=store.reads_queued,
        read_capacity=store.read_capacity,
        commits=store.commits,
        commands=int(distribution(metrics.commit_items).sum),
        failed=store.failed,
        last_error=None if store.last_error is None else type(store.last_error).__name__,
        commit=distribution(metrics.commit),
    )


def _peer(row: NodeRow, this: str, now: datetime) -> Peer:
    # The clocks of two machines may differ a little.
    seen_ago = max(0.0, (now - from_text(row.seen_at)).total_seconds())
    is_this = row.name == this
    return Peer(row.name, is_this, row.started_at, seen_ago, row.version, row.url, row.users, row.sockets, row.types)


def _mailbox(mailbox: MailboxStatistics | None) -> Mailbox | None:
    if mailbox is None:
        return None
    return Mailbox(mailbox.depth, mailbox.capacity, mailbox.high_water, mailbox.received, mailbox.refused)


def _class_of(error: str | None) -> str | None:
    return None if error is None else error.partition(":")[0]
