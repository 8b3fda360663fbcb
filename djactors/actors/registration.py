"""Keeps the row that tells the other nodes, and those who look, that this node is there, and looks whether all notify
by the same types. Nothing depends on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

import trio

from djactors import __version__
from djactors.actors.users import Users
from djactors.domain.times import utc_text
from djactors.inbox.nodes import NodeRow, by_types
from djactors.store.errors import StoreError
from djactors.telemetry import Telemetry

NOTE_SECONDS = 5.0
"""Between two notes: each is a commit, and with ten nodes two a second."""

FORGET_SECONDS = 1.0
"""How long the end of a node waits for its row to be deleted. The others delete it later anyway."""

MEND = "give all nodes the same notification types, and start them anew"

T = TypeVar("T")


class Register(Protocol):
    """Where nodes are written down. Every method raises StoreError."""

    async def note(self, row: NodeRow) -> None:
        """Write that a node is there."""

    async def forget(self, name: str) -> None:
        """Write that a node has ended."""

    async def listed(self) -> list[NodeRow]:
        """The nodes that are there, or were a while ago."""


class Registration:
    """A service.

    Args:
        node: the name of this node.
        register: where it is written.
        users: who is connected.
        url: tells where the node listens, empty before it does.
        now: the wall clock, as an aware time.
        telemetry: counts and logs.
        types: the digest of this node's notification types.

    Attributes:
        others: the nodes that have other notification types, as the last look has found them.
    """

    def __init__(
        self,
        node: str,
        register: Register,
        users: Users,
        url: Callable[[], str],
        now: Callable[[], datetime],
        telemetry: Telemetry,
        types: str,
    ) -> None:
        self.others: list[str] = []
        self._node = node
        self._register = register
        self._users = users
        self._url = url
        self._now = now
        self._telemetry = telemetry
        self._types = types
        self._started_at = utc_text(now())

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write the row until this is cancelled; then delete it."""
        task_status.started()
        try:
            while True:
                await self._try(self._register.note, self._row())
                await self._compare()
                await trio.sleep(NOTE_SECONDS)
        finally:
            with trio.move_on_after(FORGET_SECONDS, shield=True):
                await self._try(self._register.forget, self._node)

    async def _compare(self) -> None:
        try:
            nodes = await self._register.listed()
        except StoreError:
            # What ails the store was told of the note.
            return
        tables = by_types(nodes, self._now())
        others = [name for table, names in tables.items() if table != self._types for name in names]
        if others != self.others:
            self.others = others
            if others:
                self._telemetry.log.warning(
                    "nodes with other notification types", nodes=others, table=self._types, mend=MEND
                )
            else:
                self._telemetry.log.info("all nodes have the same notification types", table=self._types)

    async def _try(self, write: Callable[[T], Awaitable[None]], what: T) -> None:
        try:
            await write(what)
        except StoreError as error:
            self._telemetry.refusals.repeated("node not noted", type(error).__name__, error=str(error))

    def _row(self) -> NodeRow:
        presences = self._users.presences()
        return NodeRow(
            name=self._node,
            started_at=self._started_at,
            seen_at=utc_text(self._now()),
            version=__version__,
            url=self._url(),
            users=len(presences),
            sockets=sum(len(presence.sockets) for presence in presences),
            types=self._types,
        )
