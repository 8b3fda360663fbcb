"""A stream over a TCP socket that costs less than Trio's own where one packet now and then is all that passes.

A client spends its life with answers to pings, each alone. Trio's `SocketStream` looks for data before it waits for
them, which then fails, and it gives the other tasks a turn behind each send. This stream waits first, and it can also
send without a turn of the loop.
"""

import socket

import trio

RECEIVE_BYTES = 64 * 1024
"""The most of one read, unless the caller says otherwise: as in Trio."""


class TcpStream(trio.abc.Stream):
    """A connection. One task at a time may send, and one may receive.

    Args:
        opened: as `trio.open_tcp_stream` returns it, with its options set. It must not be used any more.
    """

    __slots__ = ("_socket",)

    def __init__(self, opened: trio.SocketStream) -> None:
        old = opened.socket
        family, type_, protocol = old.family, old.type, old.proto
        self._socket = socket.socket(family, type_, protocol, fileno=old.detach())
        self._socket.setblocking(False)

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the socket takes at once; how many bytes it took.

        Raises:
            trio.BrokenResourceError: the connection is broken.
            trio.ClosedResourceError: the stream was closed.
        """
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise self._failure(error) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        with memoryview(data) as view:
            sent = self.send_nowait(view)
            while sent < len(view):
                await self.wait_send_all_might_not_block()
                sent += self.send_nowait(view[sent:])

    async def wait_send_all_might_not_block(self) -> None:
        self._check_open()
        try:
            await trio.lowlevel.wait_writable(self._socket)
        except OSError as error:
            raise self._failure(error) from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while True:
            self._check_open()
            try:
                await trio.lowlevel.wait_readable(self._socket)
                return self._socket.recv(max_bytes or RECEIVE_BYTES)
            except BlockingIOError:
                # Rarely, the system says that there is something where there is nothing.
                continue
            except OSError as error:
                raise self._failure(error) from error

    async def aclose(self) -> None:
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        # Trio cannot wait for a socket without a descriptor.
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError("this stream was closed")

    def _failure(self, error: OSError) -> Exception:
        self._check_open()
        return trio.BrokenResourceError(f"the connection broke: {error}")
