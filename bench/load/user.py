"""One Socket.IO user over WebSocket: connects, answers pings, and reports which notifications have come.

Sources: RFC 6455 section 5.2 (frames), Engine.IO protocol 4, Socket.IO protocol 5.
"""

import asyncio
import re
from collections.abc import Callable
from time import perf_counter

UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
    "Host: {host}\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NOTIFICATION = b'42["notification:new"'
CORRELATION = re.compile(rb'"(?:n|jobId)":([0-9]+)')
"""The number by which a notification is known again: a requested one carries its own, an assignment the job's."""

Deliver = Callable[[int, float], object]


class User(asyncio.Protocol):
    """One connection. `connected` ends with the time of the CONNECT reply, or with ConnectionError.

    `deliver` is called with the correlation and the time of receipt of each notification.
    """

    __slots__ = ("_buffer", "_connect", "_deliver", "_head", "_host", "_transport", "connected", "frames")

    def __init__(self, host: str, auth: bytes, deliver: Deliver) -> None:
        self.connected: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.frames = 0
        self._host = host
        self._connect = b"40" + auth
        self._deliver = deliver
        self._buffer = bytearray()
        self._head = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(UPGRADE.format(host=self._host).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"closed before CONNECT: {bytes(self._buffer[:200])!r}"))

    def close(self) -> None:
        """End the connection without ceremony."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        buffer = self._buffer
        buffer += data
        if not self._head and not self._pass_head():
            return
        position = 0
        while (frame := _frame(buffer, position)) is not None:
            opcode, start, position = frame
            self._take(opcode, bytes(memoryview(buffer)[start:position]), now)
        del buffer[:position]

    def _pass_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            self.close()
            return False
        self._head = True
        del self._buffer[: end + 4]
        return True

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        self.frames += 1
        if payload.startswith(NOTIFICATION):
            match = CORRELATION.search(payload)
            if match is not None:
                self._deliver(int(match[1]), now)
        elif payload == b"2":
            self._send(TEXT, b"3")
        elif payload.startswith(b"0"):
            self._send(TEXT, self._connect)
        elif payload.startswith(b"40"):
            if not self.connected.done():
                self.connected.set_result(now)
        elif opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE or payload.startswith(b"44"):
            self.close()

    def _send(self, opcode: int, payload: bytes) -> None:
        # A mask of zeros leaves the payload as it is; RFC 6455 wants masks, and this load no protection from proxies.
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        assert self._transport is not None
        self._transport.write(bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload)


def _frame(buffer: bytearray, position: int) -> tuple[int, int, int] | None:
    """The opcode, and where the payload of the frame at `position` starts and ends; None while it is incomplete."""
    available = len(buffer) - position
    if available < 2:
        return None
    first, size = buffer[position], buffer[position + 1]
    start = position + 2
    if size >= 126:
        start += 2 if size == 126 else 8
        if len(buffer) < start:
            return None
        size = int.from_bytes(buffer[position + 2 : start], "big")
    end = start + size
    return (first & 0x0F, start, end) if len(buffer) >= end else None
