"""HTTP/1.1 and the frames of WebSocket as a client speaks them over a simulated socket. Keeps to what clients send."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
import trio

from tests.net.applications import KEY, masked
from tests.serving import Answer
from tests.simulation.network import SimulatedNetwork, SimulatedSocket

MAX_FRAME = 1 << 24


class ConnectionLost(Exception):
    """The connection ended, or was reset, or could not be made."""


class Connection:
    """One connection of a client's."""

    def __init__(self, sock: SimulatedSocket) -> None:
        self.socket = sock
        self._received = bytearray()

    @property
    def usable(self) -> bool:
        """Whether another request may be tried on it."""
        return self.socket.usable

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        try:
            while data:
                try:
                    data = data[self.socket.send(data) :]
                except BlockingIOError:
                    await self.socket.wait_writable()
        except (OSError, trio.ClosedResourceError) as error:
            raise ConnectionLost from error

    async def exactly(self, size: int) -> bytes:
        """So many bytes."""
        while len(self._received) < size:
            await self._more()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    async def until(self, mark: bytes) -> bytes:
        """All up to and with the mark."""
        while (found := self._received.find(mark)) < 0:
            await self._more()
        return await self.exactly(found + len(mark))

    async def frame(self) -> tuple[int, bytes]:
        """A frame of the server's: its first byte and its payload."""
        first, length = await self.exactly(2)
        if length == 126:
            length = int.from_bytes(await self.exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self.exactly(8), "big")
        assert length < MAX_FRAME
        return first, await self.exactly(length)

    async def _more(self) -> None:
        try:
            while True:
                try:
                    data = self.socket.recv(1 << 16)
                    break
                except BlockingIOError:
                    await self.socket.wait_readable()
        except (OSError, trio.ClosedResourceError) as error:
            raise ConnectionLost from error
        if not data:
            raise ConnectionLost
        self._received += data


class Requester:
    """Sends requests, each on a connection that is kept from the one before, or on a new one."""

    def __init__(self, network: SimulatedNetwork, name: str, peer: str, *, keeps: bool) -> None:
        self.connections: list[Connection] = []
        self._network = network
        self._name = name
        self._peer = peer
        self._keeps = keeps
        self._idle: list[Connection] = []

    async def connect(self) -> Connection:
        """A new connection.

        Raises:
            ConnectionLost: nobody listens.
        """
        try:
            connection = Connection(await self._network.connect(self._name, self._peer))
        except OSError as error:
            raise ConnectionLost from error
        self.connections = [each for each in self.connections if each.usable]
        self.connections.append(connection)
        return connection

    async def request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """One request, and its answer.

        Raises:
            ConnectionLost: there was none; whether the request was carried out, nobody knows.
        """
        connection = None
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                break
            connection = None
        if connection is None:
            connection = await self.connect()
        done = False
        try:
            await connection.send(_head(method, path, {**headers, "content-length": str(len(body))}) + body)
            answer = await read_answer(connection)
            done = True
        finally:
            if done and self._keeps and answer.headers.get("connection") != "close":
                self._idle.append(connection)
            else:
                connection.close()
        return answer

    async def websocket(self, path: str) -> Connection:
        """An open WebSocket.

        Raises:
            ConnectionLost: it was refused, or there was no answer.
        """
        connection = await self.connect()
        opened = False
        try:
            await connection.send(
                _head(
                    "GET",
                    path,
                    {
                        "upgrade": "websocket",
                        "connection": "Upgrade",
                        "sec-websocket-key": KEY.decode(),
                        "sec-websocket-version": "13",
                    },
                )
            )
            answer = await read_answer(connection)
            opened = answer.status == 101
        finally:
            if not opened:
                connection.close()
        if not opened:
            raise ConnectionLost
        return connection


def text_frame(text: str) -> bytes:
    """A client's message."""
    return masked(0x81, text.encode())


def closing_frame(payload: bytes = b"\x03\xe8") -> bytes:
    """A client's goodbye."""
    return masked(0x88, payload)


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping of WebSocket's own."""
    return masked(0x8A, payload)


def engine_path(transport: str, sid: str | None) -> str:
    """Where a session's requests go."""
    query = {"EIO": "4", "transport": transport} | ({} if sid is None else {"sid": sid})
    return f"/socket.io/?{urlencode(query)}"


def json_body(value: Any) -> bytes:
    """A body."""
    return msgspec.json.encode(value)


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: server.test:3000"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_answer(connection: Connection) -> Answer:
    """The next answer; a body's length is always told here."""
    status_line, *lines = (await connection.until(b"\r\n\r\n")).decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    status = int(status_line.split()[1])
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    size = 0 if status in (101, 204, 304) else int(headers.get("content-length", 0))
    return Answer(status, headers, await connection.exactly(size))
