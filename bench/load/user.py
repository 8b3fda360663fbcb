"""One user over WebSocket: connects, answers pings, and reports which notifications have come.

Sources: RFC 6455 section 5.2 (frames), Engine.IO protocol 4, Socket.IO protocol 5.
"""

import asyncio
import re
from time import perf_counter
from typing import cast

from bench.load.arrivals import Arrivals

UPGRADE = (
    "GET {path} HTTP/1.1\r\n"
    "Host: {host}\r\n"
    "Connection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
SOCKET_IO = "/socket.io/?EIO=4&transport=websocket"
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NOTIFICATION = b'42["notification:new"'
UNREAD = b'42["notification:unread-count"'
ASSIGNED = b'42["job:assigned"'
RESET = b'42["changes:reset"'
CORRELATION = re.compile(rb'"(?:n|jobId)":([0-9]+)')
"""The number by which a notification is known again: a requested one carries its own, an assignment the job's."""
COUNT = re.compile(rb'"count":([0-9]+)')
PID = re.compile(rb'"pid":"([^"]+)"')
OFFSET = re.compile(rb',"([^",]+)"\]$')


class User(asyncio.Protocol):
    """One connection. `connected` ends with the time of the CONNECT reply, or with ConnectionError.

    `auth` is the JSON of the handshake; None makes it a plain subscriber, who is connected with the upgrade.
    """

    __slots__ = (
        "_auth", "_head", "_host", "_path", "_rest", "_transport", "arrivals", "assigned", "closing", "connected",
        "frames", "last_event", "notified", "pid", "resets", "unread_packet",
    )  # fmt: skip

    def __init__(self, host: str, auth: bytes | None, arrivals: Arrivals, path: str = SOCKET_IO) -> None:
        self.connected: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.frames = 0
        self.notified = 0
        self.assigned = 0
        self.resets = 0
        self.closing = False
        self.pid: bytes | None = None
        self.last_event = b""
        self.unread_packet: bytes | None = None
        self._host = host
        self._path = path
        self._auth = auth
        self.arrivals = arrivals
        self._rest = b""
        self._head = False
        self._transport: asyncio.Transport | None = None

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._transport is None or self._transport.is_closing()

    @property
    def unread(self) -> int | None:
        """The badge: the last unread count that came."""
        match = None if self.unread_packet is None else COUNT.search(self.unread_packet)
        return None if match is None else int(match[1])

    @property
    def offset(self) -> bytes | None:
        """The last argument of the last server event, if it was a string; stock clients send it back."""
        match = OFFSET.search(self.last_event)
        return None if match is None else match[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(UPGRADE.format(host=self._host, path=self._path).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"closed before CONNECT: {self._rest[:200]!r}"))
        elif not self.closing:
            self.arrivals.fault("a user's connection was closed")

    def emit(self, event: bytes) -> None:
        """Send an event: the JSON of its name and arguments."""
        self._send(TEXT, b"42" + event)

    def close(self) -> None:
        """End the connection without ceremony."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        now = perf_counter()
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        if not self._head:
            position = self._pass_head(data, now)
            if not self._head:
                self._rest = data
                return
        while end - position >= 2:
            size, start = data[position + 1], position + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if start > end:
                    break
                size = int.from_bytes(data[position + 2 : start], "big")
            stop = start + size
            if stop > end:
                break
            self._take(data[position] & 0x0F, data[start:stop], now)
            position = stop
        self._rest = data[position:]

    def _pass_head(self, data: bytes, now: float) -> int:
        """Where the frames start, once the head is whole and accepts."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if not data.startswith(b"HTTP/1.1 101"):
            self._refused(data)
            return 0
        self._head = True
        if self._auth is None and not self.connected.done():
            self.connected.set_result(now)
        return end + 4

    def _refused(self, said: bytes) -> None:
        if not self.connected.done():
            self.connected.set_exception(ConnectionError(f"refused: {said[:200]!r}"))
        if self._transport is not None:
            self._transport.abort()

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        self.frames += 1
        if opcode != TEXT:  # first, since what a ping carries may look like anything
            if opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                self._refused(payload)
        elif payload.startswith(NOTIFICATION):
            self.last_event = payload
            match = CORRELATION.search(payload)
            if match is not None:
                self.notified += 1
                self.arrivals.notified(int(match[1]), now)
        elif payload.startswith(UNREAD):
            self.last_event = self.unread_packet = payload
        elif payload.startswith(ASSIGNED):
            self.last_event = payload
            match = CORRELATION.search(payload)
            if match is not None:
                self.assigned += 1
                self.arrivals.assigned(int(match[1]), now)
        elif payload == b"2":
            self._send(TEXT, b"3")
        elif payload.startswith(b"0") and self._auth is not None:
            self._send(TEXT, b"40" + self._auth)
        elif payload.startswith(b"40"):
            pid = PID.search(payload)
            self.pid = None if pid is None else pid[1]
            if not self.connected.done():
                self.connected.set_result(now)
        elif payload.startswith(RESET):
            self.resets += 1
        elif payload.startswith(b"44"):
            self._refused(payload)
        elif payload.startswith(b"42["):
            self.last_event = payload

    def _send(self, opcode: int, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(frame(0x80 | opcode, payload))


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame under a mask of zeros, which leaves the payload as it is (RFC 6455 section 5.2).

    RFC 6455 wants masks, to protect proxies, and there are none here.
    """
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload
