"""A client's way to a server in memory, under a virtual clock, and servers that say exactly what a test wants said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from djactors.client.socketio import Address, Item, Socket, SocketSettings
from djactors.protocol import Transport
from tests.engine.clients import Served
from tests.fakes.memory_stream import MemoryPeer

URL = "http://server.test:3000"

WEBSOCKET, POLLING = Transport.WEBSOCKET, Transport.POLLING
QUICK = SocketSettings(jitter=0.0)


class PeerStream(trio.abc.Stream):
    """The client's end of a `MemoryStream`, as a Trio stream."""

    def __init__(self, peer: MemoryPeer) -> None:
        self.peer = peer
        self.is_closed = False
        self.is_cut = False
        self.sent = bytearray()
        self._read = bytearray()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_closed:
            raise trio.ClosedResourceError
        if self.peer.ended or self.is_cut:
            raise trio.BrokenResourceError
        self.sent += data
        self.peer.send(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.is_closed:
            raise trio.ClosedResourceError
        if not self._read and not self.is_cut:
            self._read += await self.peer.receive()
        if self.is_cut or (self.peer.was_reset and not self._read):
            raise trio.BrokenResourceError
        data = bytes(self._read[: max_bytes or len(self._read)])
        del self._read[: len(data)]
        return data

    async def aclose(self) -> None:
        self.is_closed = True
        self.peer.end()
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """Break it: both sides notice."""
        self.is_cut = True
        self.peer._server_ended(reset=True)
        self.peer.reset()


class MemoryWay:
    """`open_stream` to a served application. `times` are those of the attempts; `is_down` refuses them."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.streams: list[PeerStream] = []
        self.times: list[float] = []
        self.is_down = False
        self.no_websocket = False

    async def __call__(self, address: Address) -> trio.abc.Stream:
        self.times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.is_down:
            raise OSError("connection refused")
        stream = PeerStream(self._served.connect())
        self.streams.append(stream)
        return stream

    def cut(self) -> None:
        """Break all connections."""
        for stream in self.streams:
            stream.cut()


class ScriptedWay:
    """`open_stream` to a peer whose side each connection is given to `serve`."""

    def __init__(self, nursery: trio.Nursery, serve: Callable[[trio.StapledStream], Awaitable[None]]) -> None:
        self._nursery, self._serve = nursery, serve
        self.times: list[float] = []
        self.mine: list[trio.StapledStream] = []

    async def __call__(self, address: Address) -> trio.abc.Stream:
        self.times.append(trio.current_time())
        mine, theirs = trio.testing.memory_stream_pair()
        self.mine.append(mine)
        self._nursery.start_soon(self._serve, theirs)
        await trio.lowlevel.checkpoint()
        return mine


async def take(socket: Socket, count: int) -> list[Item]:
    """The next items."""
    return [await anext(socket) for _ in range(count)]
