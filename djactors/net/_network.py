"""Where a listener's connections come from: the machine's sockets, or something else that a program brings.

A whole server can be run in memory by giving its listener another `Network`, whose connections are `ByteStream`s of
another kind. Nothing else of a server knows what carries the bytes.
"""

import os
import socket
from collections.abc import Sequence
from typing import Protocol

import trio

from djactors.net._binding import bind
from djactors.net._shares import UNIX_PEER
from djactors.net._stream import ByteStream, SocketStream


class Incoming(Protocol):
    """Somebody who has connected and is not served yet. Either `open` or `close` is called, once.

    Attributes:
        peer: the address.
    """

    @property
    def peer(self) -> str: ...

    def open(self, nursery: trio.Nursery, *, max_buffered: int, send_timeout: float) -> ByteStream:
        """The connection's bytes; see `ByteStream` and `SocketStream` for what is passed.

        Raises:
            OSError: the client has gone again. There is nothing to close then.
        """

    def close(self) -> None:
        """Let the client go without a word."""


class Door(Protocol):
    """One address at which clients connect.

    Attributes:
        address: the (host, port) pair; `unix:PATH` and 0 for a Unix socket.
    """

    @property
    def address(self) -> tuple[str, int]: ...

    async def wait(self) -> None:
        """Wait until somebody may have connected.

        Raises:
            trio.ClosedResourceError: `close` was called.
        """

    def accept(self) -> Incoming:
        """Take the next one.

        Raises:
            BlockingIOError: nobody is there.
            OSError: one client, or the system, failed.
        """

    def close(self) -> None:
        """Let nobody in any more, and wake who waits."""


class Network(Protocol):
    """Makes doors: `MACHINE_NETWORK`, or another one that a program brings."""

    async def listen(self, host: str, port: int) -> Sequence[Door]:
        """A door on each address of `host`, all of one port; with port 0 any that is free.

        Raises:
            OSError: the host is unknown, none of its addresses is here, or the port is taken.
        """


class _IncomingSocket:
    __slots__ = ("_socket", "peer")

    def __init__(self, connected: socket.socket, peer: str) -> None:
        self.peer = peer
        self._socket = connected

    def open(self, nursery: trio.Nursery, *, max_buffered: int, send_timeout: float) -> ByteStream:
        try:
            self._socket.setblocking(False)
            if self.peer is not UNIX_PEER:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # the client reset the connection before it was admitted
            self._socket.close()
            raise
        return SocketStream(self._socket, nursery, max_buffered=max_buffered, send_timeout=send_timeout)

    def close(self) -> None:
        self._socket.close()


class SocketDoor:
    """A socket that listens. One of Unix has the address `unix:PATH` and no port."""

    __slots__ = ("_is_unix", "_listening", "address")

    def __init__(self, listening: socket.socket) -> None:
        self._is_unix = listening.family == socket.AF_UNIX
        name = listening.getsockname()
        self.address: tuple[str, int] = (f"unix:{_text(name)}", 0) if self._is_unix else name[:2]
        self._listening = listening

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self._listening)

    def accept(self) -> Incoming:
        connected, address = self._listening.accept()
        return _IncomingSocket(connected, UNIX_PEER if self._is_unix else str(address[0]))

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._listening)
        self._listening.close()


def _text(name: str | bytes) -> str:
    """The path of a Unix socket, or its abstract name, as text."""
    return f"@{os.fsdecode(name[1:])}" if isinstance(name, bytes) else name


class MachineNetwork:
    """The sockets of this machine."""

    async def listen(self, host: str, port: int) -> Sequence[Door]:
        """See `Network.listen`."""
        return [SocketDoor(listening) for listening in await bind(host, port)]


MACHINE_NETWORK: Network = MachineNetwork()
