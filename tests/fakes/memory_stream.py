"""A `ByteStream` in memory, for tests under a virtual clock.

It has what matters of a socket: a window that fills when the peer does not read, an end, a reset, and the outgoing
buffer, limits and timeouts of the real stream. The peer's side is scripted by the test through `MemoryPeer`.
"""

import trio

from djactors.net import LINGER_BYTES, LINGER_SECONDS, RECEIVE_SIZE, ByteStream, SlowConsumer


class MemoryStream(ByteStream):
    """The server's side. `window` is how many bytes "the kernel" takes before the peer must read."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        window: int = 64 * 1024,
        max_buffered: int = 1024 * 1024,
        send_timeout: float = 30.0,
    ) -> None:
        super().__init__(nursery)
        self.peer = MemoryPeer(self)
        self._window = window
        self._max_buffered = max_buffered
        self._send_timeout = send_timeout
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._sent = 0
        self._peer_ended = False
        self._peer_reset = False
        self._closed = False
        self._changed = trio.Event()

    @property
    def buffered(self) -> int:
        return len(self._outgoing)

    @property
    def closed(self) -> bool:
        return self._closed

    def write(self, data: bytes) -> None:
        self._require_open()
        self._outgoing += data
        self._move()
        if len(self._outgoing) > self._max_buffered:
            self._peer_reset = True
            self.abort()
            raise SlowConsumer("the peer reads too slowly")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._require_open()
        self._outgoing += data
        self._move()
        await self.drain()

    async def wait_send_all_might_not_block(self) -> None:
        await self.drain()

    async def drain(self) -> None:
        position = self._sent + len(self._outgoing)
        while self._sent < position:
            self._require_open()
            before = self._sent
            with trio.move_on_after(self._send_timeout):
                while self._sent == before and not self._closed and not self._peer_reset:
                    await self._changed.wait()
            if self._sent == before:
                self._peer_reset = True
                self.abort()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        self._require_within_limit()
        return self._count(await self._receive(max_bytes or RECEIVE_SIZE))

    async def aclose(self) -> None:
        try:
            await trio.lowlevel.checkpoint()
            if not self._closed:
                await self.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._close(reset=bool(self._outgoing))

    async def linger(self) -> None:
        try:
            await self.drain()
            self.peer._server_ended()
            discarded = 0
            with trio.move_on_after(LINGER_SECONDS):
                while discarded < LINGER_BYTES and (data := await self._receive(RECEIVE_SIZE)):
                    discarded += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._close(reset=bool(self._outgoing))

    def abort(self) -> None:
        self._close(reset=True)

    def hang_up(self) -> None:
        self._close(reset=bool(self._outgoing))

    def evict(self) -> None:
        super().evict()
        self._notify()

    async def _receive(self, max_bytes: int) -> bytes:
        self._require_open()
        await trio.lowlevel.checkpoint()
        while not self._incoming:
            self._require_open()
            self._require_within_limit()
            if self._peer_ended:
                return b""
            await self._changed.wait()
        data = bytes(self._incoming[:max_bytes])
        del self._incoming[:max_bytes]
        return data

    def _require_open(self) -> None:
        if self._peer_reset:
            raise trio.BrokenResourceError("the peer is gone")
        if self._closed:
            raise trio.ClosedResourceError("closed from this side")

    def _move(self) -> None:
        taken = min(len(self._outgoing), self._window - len(self.peer._incoming))
        if taken > 0:
            self.peer._deliver(bytes(self._outgoing[:taken]))
            del self._outgoing[:taken]
            self._sent += taken
        self._notify()

    def _close(self, *, reset: bool) -> None:
        if not self._closed:
            self._closed = True
            self._outgoing.clear()
            self._let_go()
            self.peer._server_ended(reset=reset)
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class MemoryPeer:
    """The client's side of a `MemoryStream`."""

    def __init__(self, server: MemoryStream) -> None:
        self._server = server
        self._incoming = bytearray()
        self._changed = trio.Event()
        self.ended = False
        self.was_reset = False

    def send(self, data: bytes) -> None:
        self._server._incoming += data
        self._server._notify()

    def end(self) -> None:
        """Close the client's side in good order."""
        self._server._peer_ended = True
        self._server._notify()

    def reset(self) -> None:
        self._server._peer_reset = True
        self._server._notify()

    async def receive(self, size: int | None = None) -> bytes:
        """Return what has arrived, or exactly `size` bytes; less, or nothing, once the server has ended its side."""
        collected = bytearray()
        while True:
            taken = len(self._incoming) if size is None else size - len(collected)
            collected += self._incoming[:taken]
            del self._incoming[:taken]
            self._server._move()
            if self.ended or (collected if size is None else len(collected) == size):
                return bytes(collected)
            if not self._incoming:
                await self._changed.wait()

    async def receive_until(self, mark: bytes) -> bytes:
        """Return everything up to and with `mark`, or to the end."""
        collected = bytearray()
        while True:
            found = (collected + self._incoming).find(mark)
            if found >= 0:
                return bytes(collected + await self.receive(found + len(mark) - len(collected)))
            if self._incoming:
                collected += await self.receive()
            elif self.ended:
                return bytes(collected)
            else:
                await self._changed.wait()

    async def receive_all(self) -> bytes:
        """Return everything until the server ends its side."""
        collected = b""
        while data := await self.receive():
            collected += data
        return collected

    def _deliver(self, data: bytes) -> None:
        self._incoming += data
        self._notify()

    def _server_ended(self, *, reset: bool = False) -> None:
        self.was_reset = self.was_reset or (reset and not self.ended)
        self.ended = True
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
