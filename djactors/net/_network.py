"""Where a listener's connections come from: the machine's sockets, or something else that a program brings.

A whole server can be run in memory by giving its listener another `Network`, whose connections are `ByteStream`s of
another kind. Nothing else of a server knows what carries the bytes.
"""

import socket
from collections.abc import Sequence
from typing import Protocol

import trio

from djactors.net._binding import bind
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
        address: the (host, port) pair.
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
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # the client reset the connection before it was admitted
            self._socket.close()
            raise
        return SocketStream(self._socket, nursery, max_buffered=max_buffered, send_timeout=send_timeout)

    def close(self) -> None:
        self._socket.close()


class _SocketDoor:
    __slots__ = ("_listening", "address")

    def __init__(self, listening: socket.socket) -> None:
        self.address: tuple[str, int] = listening.getsockname()[:2]
        self._listening = listening

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self._listening)

    def accept(self) -> Incoming:
        connected, address = self._listening.accept()
        return _IncomingSocket(connected, str(address[0]))

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._listening)
        self._listening.close()


class MachineNetwork:
    """The sockets of this machine."""

    async def listen(self, host: str, port: int) -> Sequence[Door]:
        """See `Network.listen`."""
        return [_SocketDoor(listening) for listening in await bind(host, port)]


MACHINE_NETWORK: Network = MachineNetwork()
