"""What the nodes of one database ask of it beside the inbox itself: what other nodes wrote, and which nodes there are.

A node tells the others of its commits by notifications of the database (`sharing.payload`). With a notification
`NODE ?NONCE` it proves that it hears them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import msgspec

from djactors.domain.times import from_text, utc_text
from djactors.inbox import following
from djactors.inbox.following import Followed, Position, Wanted
from djactors.inbox.moving import SEEN_WITHIN
from djactors.inbox.sharing import CHANNEL, NOTIFY
from djactors.store.connection import Connection
from djactors.store.database import Database

GONE_AFTER = timedelta(minutes=10)
"""How long a node is listed that has not been seen: long enough that somebody who looks finds out which one is gone."""

SELECT_NODES = """SELECT name, started_at, seen_at, version, url, users, sockets, types
    FROM nodes ORDER BY started_at, name"""
UPSERT_NODE = """INSERT INTO nodes (name, started_at, seen_at, version, url, users, sockets, types)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
    SET seen_at = excluded.seen_at, url = excluded.url, users = excluded.users, sockets = excluded.sockets"""
DELETE_NODE = "DELETE FROM nodes WHERE name = ?"
DELETE_GONE = "DELETE FROM nodes WHERE seen_at < ?"

_TENANT = re.compile(r"([0-9]{1,16}):([0-9]{1,16})")


class Announcement(msgspec.Struct, frozen=True):
    """What a notification says.

    Attributes:
        node: who wrote.
        tenants: up to which number, by tenant; None where it may be any tenant.
        nonce: what a node has sent in order to hear it; empty for what tells of a commit.
    """

    node: str
    tenants: Mapping[int, int] | None
    nonce: str = ""


def announcement_of(payload: str) -> Announcement:
    """Read a notification. What cannot be read may tell of any tenant."""
    node, _, rest = payload.partition(" ")
    if rest.startswith("?"):
        return Announcement(node, {}, rest[1:])
    words = [_TENANT.fullmatch(word) for word in rest.split()]
    if not words or not all(words):
        return Announcement(node, None)
    return Announcement(node, {int(word[1]): int(word[2]) for word in words if word is not None})


class NodeRow(msgspec.Struct, frozen=True):
    """A node, as the others see it. Times are UTC text; `types` is the digest of its notification types, empty where an
    older version does not say it."""

    name: str
    started_at: str
    seen_at: str
    version: str
    url: str
    users: int
    sockets: int
    types: str


def nodes_listed(connection: Connection) -> list[NodeRow]:
    """The nodes that are there, or were a while ago."""
    return [NodeRow(*row) for row in connection.execute(SELECT_NODES).fetchall()]


def by_types(nodes: Sequence[NodeRow], now: datetime) -> dict[str, list[str]]:
    """The names of the nodes at work, by their notification types."""
    lately = utc_text(now - SEEN_WITHIN)
    found: dict[str, list[str]] = {}
    for node in nodes:
        if node.types and node.seen_at > lately:
            found.setdefault(node.types, []).append(node.name)
    return found


class Nodes:
    """What a node asks of the database that it shares with others. Every method raises `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stand(self, tenant_id: int) -> Position:
        """Where a tenant stands."""
        return await self._database.read(partial(following.stand, tenant_id=tenant_id))

    async def follow(self, wanted: Mapping[int, Wanted]) -> dict[int, Followed]:
        """What there is of tenants behind what was told of them."""
        return await self._database.read(partial(following.follow, wanted=wanted))

    async def moved(self, positions: Mapping[int, tuple[int, int]]) -> list[int]:
        """Those tenants of which there is more than was told."""
        return await self._database.read(partial(following.moved, positions=positions))

    async def next_due(self) -> str | None:
        """The next moment at which the clock has something to do, whichever node has brought it about."""
        return await self._database.read(following.next_due)

    async def call(self, node: str, nonce: str) -> None:
        """Notify every node, and so the one that calls as well, by the connection that writes."""

        def notify(connection: Connection) -> None:
            connection.execute(NOTIFY, (CHANNEL, f"{node} ?{nonce}")).fetchone()

        await self._database.write(notify)

    async def note(self, row: NodeRow) -> None:
        """Write that a node is there, and forget those that have been gone for long."""

        def note(connection: Connection) -> None:
            gone: datetime = from_text(row.seen_at) - GONE_AFTER
            connection.execute(UPSERT_NODE, msgspec.structs.astuple(row))
            connection.execute(DELETE_GONE, (utc_text(gone),))

        await self._database.write(note)

    async def forget(self, name: str) -> None:
        """Write that a node has ended."""

        def forget(connection: Connection) -> None:
            connection.execute(DELETE_NODE, (name,))

        await self._database.write(forget)

    async def listed(self) -> list[NodeRow]:
        """The nodes that are there, or were a while ago."""
        return await self._database.read(nodes_listed)
