"""Real nodes do nothing that the model does not: their traces are runs of the model.

Two real nodes with their routers, followers, tails and user actors serve one file. After each thing that happens, all
states are kept to which the model could have come, and in which its client knows what the real client knows. If none is
left, either the model or the server is wrong.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from djactors.domain.marks import Offset
from tests.actors.house import COUNT, NEW, RESET, FakeSocket, Packet, note
from tests.copies import copy_of, put_back_online
from tests.model.protocol import RULES, Bounds, Past, Protocol, State
from tests.nodes.house import Node, Wire, running_nodes, settled
from tests.simulation.seeded import seeded

ANN = 11
STEPS = 14
UNBOUND = Bounds(changes=STEPS, put_back=STEPS, disconnects=STEPS, purged=0)
WRONG = {"marks": 9}
"""A rule without which the model is wrong, and a seed that finds it out."""
THINGS = ["commit"] * 5 + ["connect"] * 2 + ["disconnect", "copy", "copy", "put back", "put back", "cut", "mend"]


class Client:
    """A client that keeps what it is told: the numbers of the changes, which are their titles."""

    def __init__(self, pasts: dict[str, Past]) -> None:
        self._pasts = pasts
        self.socket: FakeSocket | None = None
        self.view: Past | None = None
        self.offset: str | None = None
        self._pid: str | None = None
        self._seen = 0

    @property
    def past(self) -> Past | None:
        """The past that the client's offset names."""
        return None if self.offset is None else self._pasts[self.offset]

    def connect(self, node: Node) -> None:
        auth: dict[str, Any] = {} if self._pid is None else {"pid": self._pid, "offset": self.offset}
        self.socket, self._seen = node.connect(ANN, **auth), 0

    def take_in(self) -> None:
        """Take in what has come, and notice that the socket was closed."""
        socket = self.socket
        if socket is None:
            return
        for packet in socket.packets[self._seen :]:
            self._take(packet)
        self._seen = len(socket.packets)
        self._pid = socket.pid or self._pid
        if socket.closed is not None:
            self.socket = None

    def _take(self, packet: Packet) -> None:
        assert packet.offset is not None
        self.offset = packet.offset
        if packet.name == RESET or self.view is None:
            self.view = self._pasts[packet.offset]
        elif packet.name == NEW:
            self.view = (*self.view, int(packet.body["title"]))
        else:
            assert packet.name == COUNT


def changes_in(path: Path) -> list[tuple[str, int]]:
    """The log: each change's offset and the change itself, by its title."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT seq, mark, title FROM notifications ORDER BY seq").fetchall()
    return [(str(Offset(mark, seq)), int(title)) for seq, mark, title in rows]


def learn(pasts: dict[str, Past], path: Path) -> None:
    past: Past = ()
    for offset, change in changes_in(path):
        past = (*past, change)
        pasts[offset] = past


def reached(protocol: Protocol, states: Iterable[State]) -> set[State]:
    """All states that the nodes may come to by themselves."""
    found = set(states)
    waiting = list(found)
    while waiting:
        for _, after in protocol.inside(waiting.pop()):
            if after not in found:
                found.add(after)
                waiting.append(after)
    return found


def outside(protocol: Protocol, states: Iterable[State], name: str) -> list[State]:
    """The states after something has happened."""
    return [after for state in states for done, after in protocol.outside(state) if done == name]


async def happen(name: str, node: Node, client: Client, made: int, copies: list[Path], folder: Path) -> None:
    match name.split(maxsplit=1)[0]:
        case "commit":
            node.send(note(ANN, title=str(made)))
        case "connect":
            client.connect(node)
        case "disconnect":
            assert client.socket is not None
            client.socket.leave()
        case "copy":
            copies[:] = [copy_of(node.path, folder / f"copy{made}.db")]
        case _:
            put_back_online(copies[0], node.path)


async def follow(path: Path, folder: Path, seed: int, rules: frozenset[str] = RULES) -> str | None:
    """What the nodes have done that the model does not."""
    rng = random.Random(seed)
    protocol = Protocol(shared=True, rules=rules, bounds=UNBOUND)
    states = {protocol.start(2)}
    pasts: dict[str, Past] = {".0": ()}
    client = Client(pasts)
    copies: list[Path] = []
    made = 0
    async with running_nodes(path, 2) as (nodes, wire):
        for _ in range(STEPS):
            thing = rng.choice(THINGS)
            number = rng.randrange(2)
            if thing in ("cut", "mend"):
                _set(wire, nodes, whole=thing == "mend")
                await settled()
                name = ""
            else:
                name = f"{thing} {number}" if thing in ("commit", "connect") else thing
                after = outside(protocol, states, name)
                if not after or (thing == "copy" and copies):
                    continue
                made += thing == "commit"
                await happen(name, nodes[number], client, made, copies, folder)
                await settled()
                states = set(after)
            learn(pasts, path)
            client.take_in()
            states = {
                state
                for state in reached(protocol, states)
                if (state.session is None) is (client.socket is None)
                and (state.view, state.offset) == (client.view, client.past)
            }
            if not states:
                return f"{name}, and the client has {client.view} and {client.past}"
    return None


def _set(wire: Wire, nodes: list[Node], *, whole: bool) -> None:
    wire.whole = whole
    if whole:
        # What a new connection of the listener does.
        for node in nodes:
            node.follower.want_all()


@pytest.mark.parametrize("seed", range(30))
def test_what_real_nodes_do_is_a_run_of_the_model(path: Path, tmp_path: Path, seed: int) -> None:
    with seeded(seed):
        assert trio.run(follow, path, tmp_path, seed, clock=MockClock(autojump_threshold=0)) is None


@pytest.mark.parametrize(("rule", "seed"), WRONG.items())
def test_a_model_that_is_wrong_is_found_out(path: Path, tmp_path: Path, rule: str, seed: int) -> None:
    with seeded(seed):
        done = trio.run(follow, path, tmp_path, seed, RULES - {rule}, clock=MockClock(autojump_threshold=0))
    assert done is not None
