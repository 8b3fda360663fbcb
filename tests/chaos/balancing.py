"""Chooses the node for each connection, as a reverse proxy with sticky sessions does that asks `/readyz`.

A client's session stays on its node while that is ready; long-polling needs that. Whatever else a client or a backend
asks goes to any node that is ready, so a list comes from another node than the events do.
"""

from __future__ import annotations

from random import Random

import trio

from tests.chaos.proxy import Address, Relay
from tests.chaos.requests import ask

LOOK_SECONDS = 0.3
"""Between two looks at whether a node is ready."""

READY_SECONDS = 1.0
"""A node that has not said within this time that it is ready is not."""

SESSION = b" /socket.io/"
CONTINUED = b"sid="


class Balancer:
    """See the module. `addresses` are the nodes', None for one that is known to be down."""

    def __init__(self, nodes: int, seed: int) -> None:
        self.addresses: list[Address | None] = [None] * nodes
        self.ready = [False] * nodes
        self.chosen = [0] * nodes
        """How many connections went to each node."""
        self._random = Random(seed)
        self._homes: dict[str, int] = {}

    def route(self, relay: Relay, head: bytes) -> Address | None:
        """Where a connection goes that begins with this request."""
        line = head.split(b"\r\n", 1)[0]
        lane = relay.lane
        if SESSION not in line:
            node = self._any()
        else:
            node = self._homes.get(lane.name)
            others = [other for other in lane.relays if other.home is not None]
            begins = CONTINUED not in line
            if node is None or not self._takes(node) or (begins and not others):
                node = self._any()
                for other in others:
                    if other.home != node:
                        other.cut()
                if node is not None:
                    self._homes[lane.name] = node
            relay.home = node
        if node is None:
            return None
        self.chosen[node] += 1
        return self.addresses[node]

    async def look(self, node: int) -> None:
        """Look whether a node is ready, for ever."""
        while True:
            address = self.addresses[node]
            answer = None
            if isinstance(address, tuple):
                with trio.move_on_after(READY_SECONDS):
                    answer = await ask(f"http://{address[0]}:{address[1]}", "GET", "/readyz")
            self.ready[node] = answer is not None and answer.status == 200
            await trio.sleep(LOOK_SECONDS)

    def _takes(self, node: int) -> bool:
        return self.ready[node] and self.addresses[node] is not None

    def _any(self) -> int | None:
        """A node that is ready; where none is, one that is up."""
        up = [node for node, address in enumerate(self.addresses) if address is not None]
        choices = [node for node in up if self.ready[node]] or up
        return self._random.choice(choices) if choices else None
