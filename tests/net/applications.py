"""A small application and the clients' tools that the tests of this directory share."""

import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from djactors.net import (
    ByteStream,
    Limits,
    Listener,
    ListenerLimits,
    Request,
    Response,
    WebSocket,
    WebSocketClosed,
    open_websocket,
)

GOOD = b"GET /good HTTP/1.1\r\nHost: test\r\n\r\n"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def echo(websocket: WebSocket) -> None:
    while True:
        await websocket.send(await websocket.receive())


class Echo:
    """Answers every request with what it saw; `routes` replaces the answer of a path."""

    def __init__(self, *, max_message_bytes: int = 100_000) -> None:
        self.requests: list[Request] = []
        self.refused: list[Request | None] = []
        self.routes: dict[str, Callable[[Request], Awaitable[Response]]] = {}
        self.converse: Callable[[WebSocket], Awaitable[None]] = echo
        self.endings: list[tuple[int, str]] = []
        self.max_message_bytes = max_message_bytes
        self.limit = 1000

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        if request.path in self.routes:
            return await self.routes[request.path](request)
        seen = {
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "body": request.body.decode("latin-1"),
        }
        return Response(200, json.dumps(seen).encode())

    def body_limit(self, request: Request) -> int:
        return self.limit

    async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
        self.requests.append(request)
        if request.path == "/forbidden":
            return Response(403, b"{}")
        async with open_websocket(request, stream, leftover, self.max_message_bytes) as websocket:
            try:
                await self.converse(websocket)
            except WebSocketClosed as closed:
                self.endings.append((closed.code, closed.reason))
                raise
        return None

    def refusal(self, status: int, code: str, message: str, request: Request | None = None) -> Response:
        self.refused.append(request)
        return Response(status, json.dumps({"error": {"code": code, "message": message}}).encode())


@asynccontextmanager
async def listening(
    application: Echo | None = None,
    *,
    limits: Limits | None = None,
    listener_limits: ListenerLimits | None = None,
    telemetry: object = None,
    errors: list[BaseException] | None = None,
    **options: Any,
) -> AsyncIterator[Listener]:
    """Run a listener; an error nobody expects fails the test."""
    seen: list[BaseException] = []
    listener = Listener(
        application or Echo(),
        limits=limits,
        listener_limits=listener_limits,
        telemetry=telemetry,  # type: ignore[arg-type]
        **options,
        on_error=lambda error, peer: (seen if errors is None else errors).append(error),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        yield listener
        nursery.cancel_scope.cancel()
    assert not seen


async def connect(listener: Listener) -> trio.SocketStream:
    assert listener.address is not None
    return await trio.open_tcp_stream(*listener.address)


async def connect_from(listener: Listener, address: str) -> trio.SocketStream:
    """Connect from another address of the loopback network, such as 127.0.0.7."""
    assert listener.address is not None
    client = trio.socket.socket()
    await client.bind((address, 0))
    await client.connect(listener.address)
    return trio.SocketStream(client)


async def reset(client: trio.SocketStream) -> None:
    """Close with RST."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await client.aclose()


async def receive_all(client: trio.SocketStream) -> bytes:
    received = b""
    try:
        while data := await client.receive_some():
            received += data
    except trio.BrokenResourceError:
        pass
    return received


async def receive_exactly(client: trio.SocketStream, size: int) -> bytes:
    received = b""
    while len(received) < size:
        data = await client.receive_some(size - len(received))
        assert data, f"the server ended after {received!r}"
        received += data
    return received


async def receive_until(client: trio.SocketStream, mark: bytes) -> bytes:
    received = b""
    while not received.endswith(mark):
        received += await receive_exactly(client, 1)
    return received


async def receive_response(client: trio.SocketStream) -> tuple[int, dict[str, str], bytes]:
    head = (await receive_until(client, b"\r\n\r\n")).decode()
    status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    body = await receive_exactly(client, int(headers.get("content-length", 0)))
    return int(status_line.split()[1]), headers, body


async def answers(listener: Listener) -> bool:
    """Tell whether the server still serves a good request on a new connection."""
    client = await connect(listener)
    async with client:
        await client.send_all(GOOD)
        status, _, _ = await receive_response(client)
    return status == 200


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that comes about through real sockets; the test's own deadline bounds it."""
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


def masked(first_byte: int, payload: bytes = b"", *, mask: bytes = b"\1\2\3\4") -> bytes:
    """Build a client's frame (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        head = bytes((first_byte, 0x80 | length))
    elif length < 65536:
        head = struct.pack(">BBH", first_byte, 0x80 | 126, length)
    else:
        head = struct.pack(">BBQ", first_byte, 0x80 | 127, length)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


async def receive_frame(client: trio.SocketStream) -> tuple[int, bytes]:
    """Read one server frame; returns its first byte and its payload."""
    first, length = await receive_exactly(client, 2)
    assert length < 128, "a server's frames are not masked"
    if length == 126:
        (length,) = struct.unpack(">H", await receive_exactly(client, 2))
    elif length == 127:
        (length,) = struct.unpack(">Q", await receive_exactly(client, 8))
    return first, await receive_exactly(client, length)


async def open_raw_websocket(listener: Listener) -> trio.SocketStream:
    client = await connect(listener)
    await client.send_all(UPGRADE)
    head = await receive_until(client, b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    return client
