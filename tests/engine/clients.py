"""A served echo application in memory, and clients that say exactly what a test wants said.

The whole stack from the HTTP parser up runs over `MemoryStream`s, so a virtual clock carries it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import trio

from djactors.engine.example import SUITE_SETTINGS
from djactors.kernel import Alarms
from djactors.net import HeadMemory, HttpConnection, Limits
from tests.engine.echo import EchoApplication
from tests.fakes.memory_stream import MemoryPeer, MemoryStream
from tests.net.applications import KEY, masked

ENGINE = "/engine.io/"
SOCKET = "/socket.io/"
ADDRESS = "192.0.2.1"

# Heartbeats that stay out of the way of tests that are about something else.
CALM = replace(SUITE_SETTINGS, ping_interval=25.0, ping_timeout=20.0, connect_timeout=45.0)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def packets(self) -> list[str]:
        assert self.status == 200, self
        return self.body.split("\x1e")

    @property
    def error_code(self) -> int:
        return int(json.loads(self.body)["code"])


async def receive_answer(peer: MemoryPeer) -> Answer:
    head = (await peer.receive_until(b"\r\n\r\n")).decode("latin-1")
    assert head, "the server closed the connection without an answer"
    status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    body = await peer.receive(int(headers.get("content-length", 0)))
    return Answer(int(status_line.split()[1]), headers, body.decode())


class WebSocketEnded(Exception):
    """The server closed the WebSocket, with a close frame's code or without (None)."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class TestSocket:
    """A client's WebSocket."""

    __test__ = False

    def __init__(self, peer: MemoryPeer) -> None:
        self.peer = peer

    def send(self, *messages: str | bytes) -> None:
        """Send frames, all in one write."""
        self.peer.send(
            b"".join(
                masked(0x81, message.encode()) if isinstance(message, str) else masked(0x82, message)
                for message in messages
            )
        )

    async def receive(self) -> str | bytes:
        """Return the next message; answers a close frame and raises `WebSocketEnded`."""
        first, payload = await self._frame()
        if first == 0x88:
            self.peer.send(masked(0x88, payload))
            self.peer.end()
            raise WebSocketEnded(int.from_bytes(payload[:2], "big"))
        return payload.decode() if first == 0x81 else payload

    async def receive_many(self, count: int) -> list[str | bytes]:
        return [await self.receive() for _ in range(count)]

    async def ending(self) -> int | None:
        """Read until the server closes; return the close frame's code."""
        try:
            while True:
                await self.receive()
        except WebSocketEnded as ended:
            return ended.code

    def close(self) -> None:
        self.peer.send(masked(0x88, (1000).to_bytes(2, "big")))
        self.peer.end()

    async def _frame(self) -> tuple[int, bytes]:
        first, length = await self._exactly(2)
        if length == 126:
            length = int.from_bytes(await self._exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self._exactly(8), "big")
        return first, await self._exactly(length)

    async def _exactly(self, size: int) -> bytes:
        data = await self.peer.receive(size)
        if len(data) < size:
            raise WebSocketEnded(None)
        return data


class Served:
    """An `EchoApplication` that is running, reached without a network."""

    def __init__(self, nursery: trio.Nursery, application: EchoApplication, path: str) -> None:
        self.nursery = nursery
        self.application = application
        self.path = path
        self.errors: list[BaseException] = []
        self.streams: list[MemoryStream] = []
        self.alarms = Alarms()
        self.heads = HeadMemory()
        nursery.start_soon(self.alarms.run)

    @property
    def log(self) -> Any:
        return self.application.log

    def connect(self, *, window: int = 64 * 1024, address: str = ADDRESS) -> MemoryPeer:
        """Open a connection."""
        stream = MemoryStream(self.nursery, window=window)
        self.streams.append(stream)
        self.nursery.start_soon(self._serve, stream, address)
        return stream.peer

    def start(
        self,
        method: str = "GET",
        *,
        sid: str | None = None,
        body: bytes | str = b"",
        headers: Iterable[tuple[str, str]] = (),
        peer: MemoryPeer | None = None,
        window: int = 64 * 1024,
        address: str = ADDRESS,
        **query: str,
    ) -> MemoryPeer:
        """Send a polling request, on a connection of its own if none is given, and do not wait."""
        peer = self.connect(window=window, address=address) if peer is None else peer
        body = body.encode() if isinstance(body, str) else body
        head = self._head(method, {"EIO": "4", "transport": "polling", **query}, sid, headers)
        peer.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body)
        return peer

    async def request(self, method: str = "GET", **arguments: Any) -> Answer:
        """Send a polling request and wait for its answer. See `start`."""
        return await receive_answer(self.start(method, **arguments))

    async def get(self, sid: str | None = None, **arguments: Any) -> Answer:
        return await self.request("GET", sid=sid, **arguments)

    async def post(self, sid: str | None, body: bytes | str, **arguments: Any) -> Answer:
        return await self.request("POST", sid=sid, body=body, **arguments)

    async def open_session(self) -> str:
        """Open a session by polling; return its sid."""
        answer = await self.get()
        assert answer.body.startswith("0")
        return str(json.loads(answer.body[1:])["sid"])

    def start_websocket(
        self,
        *,
        sid: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        window: int = 64 * 1024,
        **query: str,
    ) -> MemoryPeer:
        peer = self.connect(window=window)
        head = self._head("GET", {"EIO": "4", "transport": "websocket", **query}, sid, headers)
        peer.send(
            f"{head}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY.decode()}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode("latin-1")
        )
        return peer

    async def try_websocket(self, **arguments: Any) -> tuple[Answer, TestSocket]:
        """Ask for a WebSocket; return the answer, 101 or a refusal, and what it is then."""
        peer = self.start_websocket(**arguments)
        return await receive_answer(peer), TestSocket(peer)

    async def websocket(self, sid: str | None = None, **arguments: Any) -> TestSocket:
        """Open a WebSocket, for a session or a new one."""
        answer, websocket = await self.try_websocket(sid=sid, **arguments)
        assert answer.status == 101, answer
        return websocket

    async def websocket_session(self, **arguments: Any) -> TestSocket:
        """Open a session by WebSocket, past its open packet."""
        websocket = await self.websocket(**arguments)
        opened = await websocket.receive()
        assert isinstance(opened, str)
        assert opened.startswith("0")
        return websocket

    async def joined(self) -> TestSocket:
        """Open a Socket.IO session by WebSocket and join the main namespace."""
        websocket = await self.websocket_session()
        websocket.send("40")
        await websocket.receive_many(2)
        return websocket

    async def probed(self, sid: str) -> TestSocket:
        """Attach a WebSocket to a session and have the probe answered."""
        websocket = await self.websocket(sid)
        websocket.send("2probe")
        assert await websocket.receive() == "3probe"
        return websocket

    def _head(self, method: str, query: dict[str, str], sid: str | None, headers: Iterable[tuple[str, str]]) -> str:
        if sid is not None:
            query = {**query, "sid": sid}
        query = {name: value for name, value in query.items() if value}
        named = dict(headers)
        lines = [f"{method} {self.path}?{urlencode(query)} HTTP/1.1", f"Host: {named.pop('Host', 'server.test:3000')}"]
        lines += [f"{name}: {value}" for name, value in named.items()]
        return "\r\n".join(lines) + "\r\n"

    async def _serve(self, stream: MemoryStream, address: str) -> None:
        connection = HttpConnection(
            stream, self.application, Limits(), peer=address, alarms=self.alarms, heads=self.heads
        )
        try:
            await connection.run()
            await connection.carry()
        except Exception as error:
            self.errors.append(error)
            await connection.fail()
        finally:
            with trio.move_on_after(2, shield=True):
                await stream.aclose()
            stream.abort()
