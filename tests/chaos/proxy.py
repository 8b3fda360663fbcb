"""A TCP proxy that breaks connections on purpose: one lane, with a port of its own, for each client.

It stands in front of the server, and in front of PostgreSQL, where the nodes are its clients.

It looks at what passes only to know how far a connection has come: polling, upgrading, or a WebSocket. Faults come
from `plan.Fault`, which says what each kind is. While the server is known to be down nobody is connected: an attempt to
connect to a free local port could meet itself (a simultaneous open) and take the port that the server is to have again.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

import trio

from tests.chaos.plan import Fault, FaultKind, Phase
from tests.chaos.requests import RealWay

CHUNK = 1 << 16
CONNECT_SECONDS = 5
WEBSOCKET_AFTER = 6
"""Pieces of data after which a WebSocket is past its upgrade: request, 101, probe, its answer, 5, and one more."""

ALREADY_CLOSED = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)
Direction = Literal["up", "down"]
Address: TypeAlias = tuple[str, int] | Path
"""Where a server listens: host and port, or a Unix socket."""


class Lane(RealWay):
    """One client's way to the server; `url` is what the client is given."""

    def __init__(self, proxy: Proxy, name: str, port: int) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.relays: set[Relay] = set()
        self._proxy = proxy
        self._armed: dict[Fault, int] = {}
        self._dark_until = 0.0
        self._silence: trio.CancelScope | None = None

    @property
    def is_dark(self) -> bool:
        """Whether nothing is let through now."""
        return trio.current_time() < self._dark_until

    def strike(self, fault: Fault) -> None:
        """Have a fault happen, at once or as soon as a connection gets to its phase."""
        if fault.kind == "dark":
            self._dark_until = trio.current_time() + fault.seconds
        if fault.kind == "silence":
            self._proxy.start(self._be_silent, fault.seconds)
        if fault.phase == "now" or fault.kind == "dark":
            for relay in list(self.relays):
                relay.strike(fault)
            return
        self._armed[fault] = fault.chunks
        if fault.phase != "websocket":
            # A client that is through the phase must come back to it.
            for relay in list(self.relays):
                if relay.phase == "websocket":
                    relay.cut()

    def due(self, phase: Phase) -> Fault | None:
        """Another piece of data in this phase: the fault that was waiting for it."""
        for fault, left in self._armed.items():
            if fault.phase == phase:
                if left == 0:
                    del self._armed[fault]
                    return fault
                self._armed[fault] = left - 1
        return None

    def count(self, what: str) -> None:
        """Count a fault that really happened."""
        self._proxy.struck[what] += 1

    def heal(self) -> None:
        """No more faults; connections that suffer one are ended."""
        self._armed.clear()
        self._dark_until = 0.0
        if self._silence is not None:
            self._silence.cancel()
        for relay in list(self.relays):
            if relay.suffers:
                relay.cut()

    async def serve(self, client: trio.SocketStream) -> None:
        """Relay one connection of the client's."""
        relay = Relay(self, client)
        self.relays.add(relay)
        try:
            if self._silence is not None:
                relay.swallow()
            await relay.run()
        finally:
            self.relays.discard(relay)

    async def upstream_for(self, relay: Relay) -> tuple[Address | None, bytes]:
        """Where a connection goes now, None for nowhere, and what had to be read of it to find that out."""
        if self._proxy.route is None:
            return None if self.is_dark else self._proxy.upstream, b""
        head = await relay.head()
        return None if self.is_dark else self._proxy.route(relay, head), head

    async def _be_silent(self, seconds: float) -> None:
        with trio.CancelScope() as self._silence:
            await trio.sleep(seconds)
        self._silence = None
        for relay in list(self.relays):
            if relay.suffers:
                relay.reset()


class Relay:
    """One connection through a lane."""

    def __init__(self, lane: Lane, client: trio.SocketStream) -> None:
        self.phase: Phase | None = None
        self.home: int | None = None
        """The node that it has to go to for as long as it lasts, if it is the part of a session."""
        self.lane = lane
        self._client = client
        self._server: trio.SocketStream | None = None
        self._chunks = 0
        self._dead: set[Direction] = set()
        self._scope = trio.CancelScope()
        self._open = trio.Event()
        self._open.set()
        self._held_until: float | None = None

    @property
    def suffers(self) -> bool:
        """Whether something that is not over was done to it."""
        return bool(self._dead) or not self._open.is_set()

    def cut(self) -> None:
        """End it on both sides."""
        self._scope.cancel()

    def reset(self) -> None:
        """End it on both sides with RST."""
        for stream in (self._client, self._server):
            if stream is not None:
                _abort_later(stream)
        self.cut()

    def swallow(self) -> None:
        """Let nothing through from now on."""
        self._dead |= {"up", "down"}

    async def head(self) -> bytes:
        """The first piece of what the client sends."""
        try:
            return bytes(await self._client.receive_some(CHUNK))
        except ALREADY_CLOSED:
            return b""

    def strike(self, fault: Fault) -> None:
        """Do it to this connection."""
        self.lane.count(f"{fault.kind} {self.phase or 'http'}")
        kind: FaultKind = fault.kind
        if kind in ("cut", "dark"):
            self.cut()
        elif kind == "reset":
            self.reset()
        elif kind == "stall":
            self._open = trio.Event()
            self._held_until = trio.current_time() + fault.seconds
        elif kind == "half-up":
            self._dead.add("up")
        elif kind == "half-down":
            self._dead.add("down")
        else:
            self.swallow()
            if kind == "orphan":
                _shut(self._client)

    async def run(self) -> None:
        """Relay until one side ends it, or a fault does."""
        try:
            with self._scope:
                upstream, head = await self.lane.upstream_for(self)
                if upstream is None:
                    _abort_later(self._client)
                    return
                with trio.fail_after(CONNECT_SECONDS):
                    self._server = await _dial(upstream)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, "up", self._client, self._server, head)
                    nursery.start_soon(self._pump, "down", self._server, self._client)
        except (OSError, trio.TooSlowError):
            pass  # the server was killed a moment ago
        finally:
            self._client.socket.close()
            if self._server is not None:
                self._server.socket.close()

    async def _pump(
        self, way: Direction, source: trio.SocketStream, sink: trio.SocketStream, head: bytes = b""
    ) -> None:
        while True:
            data, head = head, b""
            if not data:
                try:
                    data = await source.receive_some(CHUNK)
                except ALREADY_CLOSED:
                    data = b""
            await self._pass_stall()
            if not data:
                break
            self._notice(way, data)
            await self._pass_stall()
            if way in self._dead:
                continue
            try:
                await sink.send_all(data)
            except ALREADY_CLOSED:
                break
        # Where a direction is dead, so is the news that this side has gone: the other one finds out by itself.
        if not self._dead or (way == "down" and "down" not in self._dead):
            self.cut()

    async def _pass_stall(self) -> None:
        if self._held_until is not None:
            await trio.sleep_until(self._held_until)
            self._held_until = None
            self._open.set()
        await self._open.wait()

    def _notice(self, way: Direction, data: bytes) -> None:
        """See how far the connection has come, and whether something is to happen to it there."""
        if way == "up":
            line = data[:500].split(b"\r\n", 1)[0]
            if b"transport=polling" in line:
                self.phase, self._chunks = "polling", 0
            elif b"transport=websocket" in line:
                self.phase, self._chunks = "upgrade", 0
        if self.phase == "upgrade" and self._chunks >= WEBSOCKET_AFTER:
            self.phase, self._chunks = "websocket", 0
        if self.phase is not None and not self.suffers:
            fault = self.lane.due(self.phase)
            if fault is not None:
                self.strike(fault)
        self._chunks += 1


class Proxy:
    """All lanes. `upstream` is where the server is, None while it is down; `struck` counts the faults that happened.

    Where there are several servers, `route` says to which one a connection goes that begins with a request.
    """

    def __init__(self, nursery: trio.Nursery, route: Callable[[Relay, bytes], Address | None] | None = None) -> None:
        self.upstream: Address | None = None
        self.struck: Counter[str] = Counter()
        self.route = route
        self._nursery = nursery
        self._lanes: list[Lane] = []

    async def open(self, name: str) -> Lane:
        """A new lane."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        lane = Lane(self, name, listener.socket.getsockname()[1])
        self._lanes.append(lane)

        self._nursery.start_soon(trio.serve_listeners, lane.serve, [listener])
        return lane

    def start(self, function: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run something beside the lanes."""
        self._nursery.start_soon(function, *args)

    def cut(self) -> None:
        """End all connections, and with them whatever is still on its way."""
        for lane in self._lanes:
            for relay in list(lane.relays):
                relay.cut()

    def cut_held(self) -> None:
        """End the connections on which something is held back, so that it never arrives."""
        for lane in self._lanes:
            for relay in list(lane.relays):
                if relay.suffers:
                    relay.cut()

    def heal(self) -> None:
        """No more faults anywhere."""
        for lane in self._lanes:
            lane.heal()


async def _dial(address: Address) -> trio.SocketStream:
    if isinstance(address, Path):
        return await trio.open_unix_socket(str(address))
    return await trio.open_tcp_stream(*address)


def _abort_later(stream: trio.SocketStream) -> None:
    """Have the close that follows send RST."""
    _quietly(lambda: stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)))


def _shut(stream: trio.SocketStream) -> None:
    """Send FIN, whatever is under way."""
    _quietly(lambda: stream.socket.shutdown(socket.SHUT_RDWR))


def _quietly(act: Callable[[], None]) -> None:
    with suppress(*ALREADY_CLOSED):
        act()
