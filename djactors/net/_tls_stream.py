"""A `ByteStream` that speaks TLS over another one.

`trio.SSLStream` can only write by waiting, as `trio.SocketStream` does, so it cannot carry `ByteStream.write`. Here the
`ssl` module works on memory (`MemoryBIO`): what it makes is handed to the stream below at once, in one write, and what
the stream below has received is handed to it. There is no task and no lock; each call is done when it returns. A write
of 300 bytes took 6 µs where one by `trio.SSLStream` took 25, in as much memory.

Rules:

- Records leave in the order in which they were made: nothing waits between making one and handing it down.
- Bytes of a handshake, and of a record that has not come whole, count in the budget of strangers as long as their
  sender is waited for. No state of TLS is made before the first byte has come.
- A handshake costs the loop about a millisecond, so only a few are worked on in a turn (`turnstile`).
- The end of the stream below is the end, with or without a `close_notify`. HTTP and WebSocket say themselves where a
  message ends, so that a message that was cut off is noticed.
"""

import ssl
from contextlib import suppress
from typing import Final

import trio

from djactors.net._stream import RECEIVE_SIZE, ByteStream
from djactors.net._turnstile import Turnstile
from djactors.net._unproven import OverBudget, UnprovenBytes, occupied

# Bytes that are encrypted or received at a time: the most of one record. The buffers of OpenSSL never shrink, so that
# larger pieces would be paid for by every connection for as long as it lives.
_PIECE: Final = 16 * 1024
_RECORD_HEAD: Final = 5

MAX_HANDSHAKE: Final = 64 * 1024
"""The most bytes of a client's handshake. A large one, with keys of post-quantum kind and a ticket, has 3 KB."""

HANDSHAKES_AT_ONCE: Final = 4
"""The handshakes that are worked on in one turn of the loop. With a key of RSA 2048 a step takes up to 1.5 ms; with one
of RSA 4096, 5 ms. See `Turnstile`."""

_PLAIN_HTTP: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 54\r\n"
    b"connection: close\r\n\r\nThis port speaks HTTPS: write https:// in the address."
)


class HandshakeFailed(Exception):  # noqa: N818 - a verdict on the client
    """There is no TLS connection; the message says why. The stream below is closed, or about to be."""


class TlsStream(ByteStream):
    """The server's side of TLS over `below`, which it owns from now on. Call `handshake` before anything else."""

    __slots__ = ("_engine", "_head", "_incoming", "_missing", "_outgoing", "_partial", "below")

    def __init__(self, below: ByteStream) -> None:
        self.below = below
        self._engine: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # Where the record ends that is being received: its head as far as it has come, and the bytes that are missing.
        self._head = b""
        self._missing = 0
        # Bytes that OpenSSL keeps of a record, or of a handshake, that has not come whole.
        self._partial = 0
        super().__init__(below.nursery)

    # What the listener sets on a stream concerns the one below as well: there the unsent bytes are.

    @property
    def proven(self) -> bool:
        """See `ByteStream`."""
        return self.below.proven

    @proven.setter
    def proven(self, proven: bool) -> None:
        self.below.proven = proven

    @property
    def budget(self) -> UnprovenBytes | None:
        """See `ByteStream`."""
        return self.below.budget

    @budget.setter
    def budget(self, budget: UnprovenBytes | None) -> None:
        if budget is not None:
            self.below.budget = budget

    @property
    def departures(self) -> Turnstile | None:
        """See `ByteStream`."""
        return self.below.departures

    @departures.setter
    def departures(self, departures: Turnstile | None) -> None:
        if departures is not None:
            self.below.departures = departures

    def prove(self) -> None:
        """See `ByteStream.prove`."""
        self.below.prove()
        self._settle()

    def evict(self) -> None:
        """See `ByteStream.evict`."""
        super().evict()
        self.below.evict()

    def _settle(self) -> bool:
        # What is unsent counts below.
        if self.budget is None:
            return True
        return self.budget.settle(self, 0 if self.proven else occupied(self.held + self._partial))

    @property
    def buffered(self) -> int:
        """See `ByteStream.buffered`: encrypted bytes."""
        return self.below.buffered

    async def handshake(self, context: ssl.SSLContext, received: bytes, turnstile: Turnstile) -> None:
        """Do the handshake, of which `received` has already come. The caller bounds the time.

        Raises:
            HandshakeFailed: the client wants something else, or breaks the protocol.
            OverBudget: there is no room for what it sends.
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is lost.
        """
        total = 0
        while True:
            chunk = received or await self.below.receive_some(_PIECE)
            received = b""
            if not chunk:
                raise HandshakeFailed("" if total == 0 else "the client left in the middle of the handshake")
            await turnstile.turn()
            total += len(chunk)
            if total > MAX_HANDSHAKE:
                raise HandshakeFailed(f"the handshake has more than {MAX_HANDSHAKE} bytes")
            if self._engine is None:
                self._engine = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
            self._feed(chunk)
            try:
                self._engine.do_handshake()
            except ssl.SSLWantReadError:
                self._send_made()
                self._keep(total)
                continue
            except ssl.SSLError as error:
                if "HTTP_REQUEST" in (error.reason or ""):
                    self.below.write(_PLAIN_HTTP)
                else:
                    self._send_made()  # the alert that says so
                await self.below.linger()
                raise HandshakeFailed(_reason(error)) from None
            # In TLS 1.3 with tickets for the next time.
            self._send_made()
            self._keep(self._unfinished())
            return

    def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        self.below.write(self._encrypt(data))

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """See `ByteStream.put`."""
        self.below.put(self._encrypt(data))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `SocketStream.send_all`."""
        await trio.lowlevel.checkpoint()
        self.put(data)
        await self.drain()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until nothing is buffered."""
        await self.drain()

    async def drain(self) -> None:
        """See `ByteStream.drain`."""
        await self.below.drain()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `ByteStream.receive_some`."""
        self._require_within_limit()
        size = max_bytes or RECEIVE_SIZE
        data = self._decrypt(size) if self._incoming.pending or self._require_engine().pending() else None
        if data is not None:
            # If bytes are always there, other tasks must still have a turn, as in `SocketStream`.
            await trio.lowlevel.cancel_shielded_checkpoint()
            return self._count(data)
        while True:
            chunk = await self.below.receive_some(min(size, _PIECE))
            if not chunk:
                self._keep(0)
                return b""
            self._feed(chunk)
            data = self._decrypt(size)
            if data is not None:
                return self._count(data)
            # Bytes that carry no data count as well: somebody could send such records for ever.
            self._count(chunk)
            self._require_within_limit()

    async def linger(self) -> None:
        """See `ByteStream.linger`."""
        self._say_goodbye()
        await self.below.linger()
        self._let_go()

    async def aclose(self) -> None:
        """See `SocketStream.aclose`."""
        self._say_goodbye()
        try:
            await self.below.aclose()
        finally:
            self._let_go()

    def abort(self) -> None:
        """See `ByteStream.abort`."""
        self.below.abort()
        self._let_go()

    def hang_up(self) -> None:
        """See `ByteStream.hang_up`."""
        self._say_goodbye()
        self.below.hang_up()
        self._let_go()

    def _let_go(self) -> None:
        self._partial = 0
        super()._let_go()

    def _encrypt(self, data: bytes | bytearray | memoryview) -> bytes:
        engine = self._require_engine()
        if not data:
            return b""
        try:
            if len(data) <= _PIECE:
                engine.write(data)
                return self._outgoing.read()
            view, made = memoryview(data), bytearray()
            for start in range(0, len(view), _PIECE):
                engine.write(view[start : start + _PIECE])
                made += self._outgoing.read()
        except ssl.SSLError as error:  # this side has said goodbye, or the client broke the protocol
            raise trio.BrokenResourceError("the TLS connection has ended") from error
        return bytes(made)

    def _decrypt(self, size: int) -> bytes | None:
        """What can be read of what has come; None if that is nothing, empty bytes at the client's goodbye."""
        engine = self._require_engine()
        try:
            data = engine.read(size)
        except ssl.SSLWantReadError:
            data = None
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLError as error:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                self._send_made()  # the alert that says so
            self.below.hang_up()
            raise trio.BrokenResourceError(f"the client broke TLS: {_reason(error)}") from error
        if self._outgoing.pending:
            self._send_made()  # an answer of TLS itself, such as to new keys
        if data is None:
            self._keep(self._unfinished())
        elif self._partial:
            self._keep(0)
        return data

    def _keep(self, partial: int) -> None:
        if partial == self._partial:
            return
        before, self._partial = self._partial, partial
        if not self._settle():
            self._partial = before
            raise OverBudget("strangers hold too much")

    def _feed(self, data: bytes) -> None:
        self._incoming.write(data)
        place, size = 0, len(data)
        while place < size:
            if self._missing:
                step = min(self._missing, size - place)
                self._missing -= step
            else:
                step = min(_RECORD_HEAD - len(self._head), size - place)
                self._head += data[place : place + step]
                if len(self._head) < _RECORD_HEAD:
                    return
                self._missing = int.from_bytes(self._head[3:])
            if not self._missing:
                self._head = b""
            place += step

    def _unfinished(self) -> int:
        """The bytes that have come of a record that has not come whole."""
        if len(self._head) < _RECORD_HEAD:
            return len(self._head)
        return _RECORD_HEAD + int.from_bytes(self._head[3:]) - self._missing

    def _send_made(self) -> None:
        if self._outgoing.pending:
            self.below.write(self._outgoing.read())

    def _say_goodbye(self) -> None:
        """Send a `close_notify`, where that is still possible. The client's own is not waited for."""
        if self._engine is None:
            return
        # `unwrap` wants to wait for the client's, which is what the first of these says.
        with suppress(ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError):
            with suppress(ssl.SSLError):
                self._engine.unwrap()
            self._send_made()

    def _require_engine(self) -> ssl.SSLObject:
        if self._engine is None:
            raise trio.ClosedResourceError("there was no handshake")
        return self._engine


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's words for what went wrong."""
    return (error.reason or "an error without a name").replace("_", " ").lower()
