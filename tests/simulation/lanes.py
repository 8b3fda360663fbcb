"""A client's way to the simulated server, and what breaks on it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import Any

import trio

from djactors.config import Settings
from djactors.operations.tokens import sign
from tests.chaos.plan import Fault
from tests.serving import Answer
from tests.simulation.clocks import START
from tests.simulation.http import ConnectionLost, Requester, json_body
from tests.simulation.network import SimulatedNetwork, SimulatedSocket
from tests.simulation.plan import SlowReader

ANSWER_SECONDS = 4.0
"""A request that a fault has swallowed is given up after this."""

SLOW_WINDOW = 1 << 10
"""Whoever takes in fewer bytes than this is a slow reader."""


class SimulatedLane:
    """A client's or a backend's way to the server: a `Way` of `tests.chaos`, on which faults are done."""

    def __init__(self, network: SimulatedNetwork, settings: Settings, random: Random, name: str, life: float) -> None:
        self.url = f"simulated:{name}"
        self.name = name
        self.requesters: list[Requester] = []
        self._network = network
        self._settings = settings
        self._random = random
        self._life = life
        self._tokens: dict[tuple[Any, ...], str] = {}
        self._dark_until = 0.0
        self._slow: tuple[float, int] | None = None
        self._requester = self.requester()

    def requester(self) -> Requester:
        """For one client of this lane."""
        keeps = self._random.random() < 0.7
        requester = Requester(_Gate(self), self.name, "127.0.0.1", keeps=keeps)
        self.requesters.append(requester)
        return requester

    async def ask(self, method: str, path: str, **options: Any) -> Answer | None:
        """One request; None where a fault came between."""
        headers = dict(options.get("headers") or {})
        if options.get("token") is not None:
            headers["authorization"] = f"Bearer {options['token']}"
        body = b""
        if options.get("body") is not None:
            body = json_body(options["body"])
            headers["content-type"] = "application/json"
        answer = None
        with trio.move_on_after(ANSWER_SECONDS), suppress(ConnectionLost):
            answer = await self._requester.request(method, path, headers, body)
        # The token is good: it is the server's clock that is wrong for a while.
        return None if answer is not None and answer.status == 401 else answer

    def token(self, **claims: Any) -> str:
        """One by the time of whoever issues it, whose clock is right. Within a second it is the same one."""
        second = int(self.now().timestamp())
        key = second, *sorted(claims.items())
        if key not in self._tokens:
            self._tokens = {key: sign(self._settings, ttl=int(self._life), now=second, **claims)}
        return self._tokens[key]

    def now(self) -> datetime:
        """The time by the clock of clients and backends, which is right."""
        return START + timedelta(seconds=trio.current_time())

    async def connect(self, name: str, peer: str) -> SimulatedSocket:
        """A connection of this lane's, unless it is dark."""
        if trio.current_time() < self._dark_until:
            await trio.sleep(0.01)
            raise ConnectionRefusedError("nothing gets through")
        connected = await self._network.connect(name, peer)
        self._slow_down(connected)
        return connected

    def strike(self, fault: Fault) -> None:
        """Have a fault happen to all connections now."""
        if fault.kind == "dark":
            self._dark_until = trio.current_time() + fault.seconds
        for sock in self._sockets():
            match fault.kind:
                case "cut" | "dark":
                    sock.cut()
                    sock.other.cut()
                case "reset":
                    sock.reset()
                case "stall":
                    sock.held_until = sock.other.held_until = trio.current_time() + fault.seconds
                case "half-up":
                    sock.other.deaf = True
                case "half-down":
                    sock.deaf = True
                case "orphan":
                    sock.other.deaf = True
                    sock.lose()

    def slow(self, fault: SlowReader) -> None:
        """All connections take in little at a time."""
        self._slow = trio.current_time() + fault.seconds, fault.window
        for sock in self._sockets():
            self._slow_down(sock)

    def heal(self) -> None:
        """No more faults; connections that suffer one are ended."""
        self._dark_until, self._slow = 0.0, None
        for sock in self._sockets():
            if sock.deaf or sock.other.deaf or sock.window < SLOW_WINDOW:
                sock.deaf = sock.other.deaf = False
                sock.reset()

    def _slow_down(self, sock: SimulatedSocket) -> None:
        if self._slow is not None and self._slow[0] > trio.current_time():
            sock.window = self._slow[1]

    def _sockets(self) -> list[SimulatedSocket]:
        return [
            connection.socket
            for requester in self.requesters
            for connection in requester.connections
            if connection.usable
        ]


class _Gate:
    """The network as one lane has it."""

    def __init__(self, lane: SimulatedLane) -> None:
        self.connect = lane.connect
