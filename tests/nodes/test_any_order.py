"""Three nodes in any order of things: posts, cut wires, slow reads, clients that move, copies that are put back.

At the end each client knows of its user exactly what the log has, under the same numbers.
"""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.domain.commands import Command
from tests.actors.house import COUNT, NEW, RESET, FakeSocket, job, note
from tests.copies import copy_of, put_back_online
from tests.nodes.house import Node, Wire, running_nodes
from tests.offsets import number_of

USERS = (11, 12)
STEPS = 60
SLOWEST = 0.02


class Client:
    """A client that keeps what it is told, and says where it was when it comes back."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.known: dict[int, str] = {}
        self.since = 0
        self.count: int | None = None
        self.socket: FakeSocket | None = None
        self._pid: str | None = None
        self._offset: str | None = None
        self._seen = 0

    def connect(self, node: Node) -> None:
        auth: dict[str, Any] = {} if self._pid is None else {"pid": self._pid, "offset": self._offset}
        self.socket = node.connect(self.user_id, **auth)
        self._seen = 0

    def leave(self) -> None:
        if self.socket is not None:
            self.take_in()
            self.socket.leave()
            self.socket = None

    def take_in(self) -> None:
        """Take in what has come since."""
        if self.socket is None or not self.socket.accepted:
            return
        fresh = self._pid is None
        self._pid = self.socket.pid
        packets = self.socket.packets
        for packet in packets[self._seen :]:
            self._offset = packet.offset
            if packet.name == RESET or (packet.name == COUNT and fresh):
                # It loads everything anew.
                self.known.clear()
                self.since = packet.seq
                fresh = False
            if packet.name == COUNT:
                self.count = packet.body["count"]
                self.check_badge(packet.seq)
            elif packet.name != RESET:
                assert packet.seq > max(self.known, default=self.since), "each change comes once, and in order"
                self.known[packet.seq] = text_of(packet.name, packet.body)
        self._seen = len(packets)

    def check_badge(self, seq: int) -> None:
        """The count is that of its offset: as many as came since, and those from before."""
        came = sum(text.startswith(NEW) for text in self.known.values())
        assert self.count is not None
        assert self.count >= came


def text_of(name: str, body: Any) -> str:
    return f"{name} {json.dumps(body, sort_keys=True)}"


def posts(rng: random.Random, number: int) -> list[Command]:
    return [
        job(requester_id=1) if rng.random() < 0.2 else note(rng.choice(USERS), title=f"{number}.{each}")
        for each in range(rng.randint(1, 4))
    ]


async def live(
    rng: random.Random, nodes: list[Node], wire: Wire, clients: list[Client], copies: list[Path] | None, tmp_path: Path
) -> None:
    """So many things, one after the other, most of them while the ones before are under way."""
    for number in range(STEPS):
        node = rng.choice(nodes)
        client = rng.choice(clients)
        for each in clients:
            each.take_in()
            if each.socket is not None and each.socket.closed is not None:
                each.socket = None
        match rng.choice(["post"] * 5 + ["move"] * 2 + ["cut", "mend", "poll", "settle", "wait", "copy", "put back"]):
            case "post":
                node.send(*posts(rng, number))
            case "move":
                client.leave()
                client.connect(node)
            case "cut":
                wire.whole = False
            case "mend":
                mend(nodes, wire)
            case "poll":
                await node.follower.poll()
            case "wait":
                await trio.sleep(rng.random() * SLOWEST)
            case "settle":
                await wait_all_tasks_blocked()
            case "copy" if copies is not None and len(copies) < 3:
                copies.append(copy_of(node.path, tmp_path / f"copy{len(copies)}.db"))
            case "put back" if copies:
                put_back_online(rng.choice(copies), node.path)


def mend(nodes: list[Node], wire: Wire) -> None:
    """What a new connection of the listener does."""
    wire.whole = True
    for node in nodes:
        node.follower.want_all()


def slow_down(rng: random.Random, nodes: list[Node]) -> None:
    """Have reads and commits take their time, before and after they see the database."""

    async def dawdle() -> None:
        if rng.random() < 0.5:
            await trio.sleep(rng.random() * SLOWEST)

    for node in nodes:
        store = node.store
        store.before_snapshot = store.after_snapshot = store.before_record = store.after_record = dawdle
        follow = node.follower._log.follow

        async def slowly(wanted: Any, follow: Any = follow) -> Any:
            await dawdle()
            found = await follow(wanted)
            await dawdle()
            return found

        node.follower._log.follow = slowly  # type: ignore[method-assign]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("loses", [False, True], ids=["nothing is lost", "copies are put back"])
async def test_each_client_knows_exactly_what_the_log_has(
    path: Path, tmp_path: Path, autojump_clock, seed: int, loses: bool
):
    rng = random.Random(seed)
    async with running_nodes(path, 3) as (nodes, wire):
        slow_down(rng, nodes)
        clients = [Client(user_id) for user_id in USERS for _ in range(2)]
        copies: list[Path] = []
        await live(rng, nodes, wire, clients, copies if loses else None, tmp_path)
        await trio.sleep(10)
        mend(nodes, wire)
        # Behind a copy that was put back, the next commit of each node finds it out.
        for node in nodes:
            node.send(note(USERS[0], title="last"))
            await trio.sleep(10)
        for client in clients:
            client.take_in()
            if client.socket is None or client.socket.closed is not None:
                client.connect(rng.choice(nodes))
        await trio.sleep(10)
        for client in clients:
            client.take_in()
            log = await nodes[0].log(client.user_id, 0)
            wanted = {
                change.offset.seq: text_of(change.name, json.loads(change.body))
                for change in log
                if change.offset.seq > client.since
            }
            assert client.known == wanted
            assert client.count == stored_count(path, client.user_id)


def stored_count(path: Path, user_id: int) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [count] = connection.execute("SELECT unread_count FROM users WHERE id = ?", (user_id,)).fetchone()
    return int(count)


def test_the_numbers_of_offsets_are_read():
    assert number_of("AAAAAAAAAAA.7") == 7
