"""Posts events over a few kept-alive connections, each one request at a time.

What is due while all are busy waits in line, and its latency counts from when it was due.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import cast

import msgspec

Done = Callable[[int, bytes, float], None]
"""Takes the status (0 for a lost connection), the body and the time of receipt."""

BATCH = 1000
"""What the contract takes at once."""

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class _Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection; the answer's body must have a Content-Length."""

    def __init__(self, publisher: "Publisher") -> None:
        self._publisher = publisher
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.done: Done | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._publisher.has_idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._publisher.has_lost(self)
        if self.done is not None:
            self.done(0, b"", perf_counter())

    def send(self, request: bytes, done: Done) -> None:
        assert self._transport is not None
        self.done = done
        self._transport.write(request)

    def close(self) -> None:
        self.done = None
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        buffer = self._buffer
        buffer += data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = LENGTH.search(buffer, 0, end + 2)
        size = int(length[1]) if length else 0
        if len(buffer) < end + 4 + size:
            return
        status, body = int(buffer[9:12]), bytes(buffer[end + 4 :])
        buffer.clear()
        done, self.done = self.done, None
        if done is not None:
            done(status, body, now)
        self._publisher.has_idle(self)


class Publisher:
    """A bounded pool of connections to one server, with a service's token."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host, self._port = host, port
        self._head = (
            f"HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json"
        )
        self._connections: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[bytes, Done]] = deque()

    async def open(self, connections: int) -> None:
        """Connect that many times. Raises OSError."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
            self._connections.add(connection)

    def close(self) -> None:
        """End all connections; what is under way is not answered."""
        for connection in list(self._connections):
            connection.close()

    def post(self, path: str, body: bytes, done: Done) -> None:
        """Post as soon as a connection is free; then call `done`."""
        self._send(f"POST {path} {self._head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body, done)

    async def get(self, path: str) -> tuple[int, bytes]:
        """Get and wait for the status and body of the answer."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        request = f"GET {path} {self._head}\r\n\r\n".encode()
        self._send(request, lambda status, text, _: answer.set_result((status, text)))
        return await answer

    def _send(self, request: bytes, done: Done) -> None:
        if self._idle:
            self._idle.pop().send(request, done)
        elif self._connections:
            self._waiting.append((request, done))
        else:
            done(0, b"", perf_counter())

    async def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Post and wait for the status and body of the answer."""
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.post(path, body, lambda status, text, _: answer.set_result((status, text)))
        return await answer

    async def publish_all(self, events: Sequence[dict[str, object]]) -> None:
        """Publish in batches and wait for them. Raises RuntimeError with the first refusal."""
        for start in range(0, len(events), BATCH):
            status, body = await self.ask("/api/events/batch", msgspec.json.encode(events[start : start + BATCH]))
            results = msgspec.json.decode(body)["results"] if status == 200 else [{"error": f"{status} {body!r}"}]
            for result in results:
                if "error" in result:
                    raise RuntimeError(f"the server refused to be prepared: {result['error']}")

    def has_idle(self, connection: _Connection) -> None:
        """A connection can take the next request."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def has_lost(self, connection: _Connection) -> None:
        """A connection is gone; with the last of them go those who wait."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        while not self._connections and self._waiting:
            self._waiting.popleft()[1](0, b"", perf_counter())
