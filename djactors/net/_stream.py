"""One connection's bytes: a stream that can also write without waiting.

`trio.SocketStream` can only write by waiting, so a broadcast to ten thousand sockets would need ten thousand tasks.
`ByteStream` adds `write`, which hands the bytes to the kernel at once. Bytes that the kernel does not take go into one
outgoing buffer, in order. `send_all` uses the same buffer, so the two never interleave inside a frame.

Rules:

- Nothing here waits without a bound: a peer that takes nothing for `send_timeout` seconds loses its connection, because
  a half-written frame can never be continued.
- Nothing here grows without a bound: `write` kills the connection rather than buffer more than `max_buffered` unsent
  bytes, and a reader may bound the bytes that arrive with `mark` and `receive_limit`.
- The bytes that are held for a peer that has not proved who it is count in one budget: see `_unproven.py`.
- A task exists only while there are leftovers to flush, in the nursery of the connection's supervisor.
"""

import errno
import socket
import struct
import sys
from abc import abstractmethod
from contextlib import suppress
from typing import Final

import trio

from djactors.net._turnstile import Turnstile
from djactors.net._unproven import OverBudget, UnprovenBytes, occupied

# Bytes. Large enough for a whole request or a burst of frames, small enough that other tasks do not wait noticeably.
RECEIVE_SIZE: Final = 64 * 1024
# A lingering close reads on, so that the peer can read the last bytes before a reset. Reading longer, or more bytes,
# would only serve an attacker.
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 4 * 1024 * 1024
# Nobody hurries to throw bytes away. With such a pause after each piece, three hundred who are refused a megabyte each
# take a tenth of the time of the loop, and the kernel slows them down meanwhile.
LINGER_PAUSE: Final = 0.05

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

# Linux drops bytes of TCP without copying them anywhere (tcp(7), MSG_TRUNC): a fifth of the work. Other systems copy
# them into this, which nobody reads.
_DROP: Final = socket.MSG_TRUNC if sys.platform == "linux" else 0
_DROPPED = bytearray(4 * RECEIVE_SIZE)


class SlowConsumer(trio.BrokenResourceError):
    """The peer reads too slowly: its outgoing buffer is full, and the connection has been killed."""


class ReceiveLimitExceeded(trio.BrokenResourceError):
    """More bytes than `receive_limit` arrived since the last `mark`. The connection is still open for a last answer."""


class ByteStream(trio.abc.Stream):
    """A connection for HTTP and WebSocket, whatever carries the bytes: a socket, TLS over it, memory in tests.

    `nursery` is the nursery of the connection's supervisor, for tasks that live no longer than the stream.
    `received_since_mark` counts the bytes that `receive_some` returned since `mark`. Once they exceed `receive_limit`
    (None: no limit), the next `receive_some` raises `ReceiveLimitExceeded`.

    `budget` is the budget in which a stranger's bytes count, or None; `proven` says that the peer is no stranger, at
    least for now. A reader that keeps received bytes while it waits for more tells how many with `hold`.

    Every operation raises `trio.ClosedResourceError` if this side has closed the stream, and
    `trio.BrokenResourceError` if the peer reset the connection or the connection was given up.
    """

    __slots__ = (
        "_evicted",
        "budget",
        "departures",
        "held",
        "nursery",
        "proven",
        "receive_limit",
        "received_since_mark",
    )

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.received_since_mark = 0
        self.receive_limit: int | None = None
        self.budget: UnprovenBytes | None = None
        # Where a reader waits for its turn once the peer has gone; None: it does not wait.
        self.departures: Turnstile | None = None
        # Received bytes that somebody keeps.
        self.held = 0
        # Set it without `prove` only while nothing is held or buffered.
        self.proven = False
        self._evicted = False

    def prove(self) -> None:
        """The peer is no stranger from now on, and what it holds no longer counts."""
        self.proven = True
        self._settle()

    def hold(self, received: int) -> None:
        """So many received bytes are kept from now on; 0 when they are done with.

        Raises:
            OverBudget: there is no room for more. Nothing was sent or closed.
        """
        if received == self.held:
            return
        before, self.held = self.held, received
        if not self._settle():
            self.held = before
            raise OverBudget("strangers hold too much")

    def evict(self) -> None:
        """Give way to others: whoever reads gets `OverBudget`, at once or with the next read. See `Holder`."""
        self._evicted = True

    def _settle(self) -> bool:
        if self.budget is None:
            return True
        return self.budget.settle(self, 0 if self.proven else occupied(self.held + self.buffered))

    def _let_go(self) -> None:
        """It is closed, and holds nothing any more."""
        self.held = 0
        if self.budget is not None:
            self.budget.settle(self, 0)

    @property
    @abstractmethod
    def buffered(self) -> int:
        """Bytes accepted from the program that the kernel has not taken yet."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send `data` after everything accepted so far, without waiting.

        If too much is unsent, this kills the connection and raises `SlowConsumer`.
        """

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """As `write`, for a caller that waits with `drain` afterwards; then `max_buffered` need not apply."""
        self.write(bytes(data))

    @abstractmethod
    async def drain(self) -> None:
        """Wait until nothing is buffered. Cancelling it loses nothing: the bytes still go out."""

    @abstractmethod
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes and return them, at most `max_bytes`; empty bytes once the peer has ended its side."""

    @abstractmethod
    async def linger(self) -> None:
        """Close so that the peer can read all that was sent: flush, end our side, discard bytes that arrive, close.

        Bounded by `LINGER_SECONDS` and `LINGER_BYTES` once the buffer is flushed; never raises for a peer that left.
        """

    @abstractmethod
    def abort(self) -> None:
        """Close at once with a reset and drop unsent bytes. Idempotent; tasks that wait on the stream are woken."""

    @abstractmethod
    def hang_up(self) -> None:
        """Close at once in good order, if nothing remains to be sent. A task that reads is woken."""

    def mark(self) -> None:
        """Start counting received bytes anew."""
        self.received_since_mark = 0

    def _count(self, data: bytes) -> bytes:
        self.received_since_mark += len(data)
        return data

    def _require_within_limit(self) -> None:
        if self._evicted:
            raise OverBudget("strangers hold too much")
        if self.receive_limit is not None and self.received_since_mark > self.receive_limit:
            raise ReceiveLimitExceeded("too many bytes without a complete message")


class SocketStream(ByteStream):
    """A `ByteStream` over a connected, non-blocking stdlib socket. The stream owns the socket from now on.

    One task may read at a time; any number may write. `max_buffered` is in bytes, `send_timeout` in seconds.
    """

    __slots__ = (
        "_broken",
        "_drained",
        "_flushing",
        "_max_buffered",
        "_outgoing",
        "_progress",
        "_send_timeout",
        "_sent",
        "_socket",
    )

    def __init__(
        self,
        sock: socket.socket,
        nursery: trio.Nursery,
        *,
        max_buffered: int,
        send_timeout: float,
    ) -> None:
        super().__init__(nursery)
        self._socket = sock
        self._max_buffered = max_buffered
        self._send_timeout = send_timeout
        self._outgoing = bytearray()
        # How many bytes have left the buffer. A waiting `send_all` compares this with the position where its bytes end.
        self._sent = 0
        self._progress: trio.Event | None = None
        self._flushing = False
        self._broken = False
        # Whether the last read got less than it asked for. If so, there is nothing more now, and reading would fail.
        self._drained = False

    @property
    def buffered(self) -> int:
        """See `ByteStream.buffered`."""
        return len(self._outgoing)

    def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        self._require_open()
        unsent: bytes | memoryview = data
        if not self._outgoing:
            sent = self._send_now(data)
            if sent == len(data):
                return
            unsent = memoryview(data)[sent:]
        if len(self._outgoing) + len(unsent) > self._max_buffered:
            self._give_up()
            raise SlowConsumer(f"the peer left more than {self._max_buffered} bytes unread")
        self._enqueue(unsent)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` after everything accepted so far and wait until the kernel has taken it.

        `max_buffered` does not apply, because the caller waits. Cancelling this never tears a frame: the data still
        goes out whole.
        """
        await trio.lowlevel.checkpoint()
        self.put(data)
        await self.drain()

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """See `ByteStream.put`."""
        self._require_open()
        unsent: bytes | bytearray | memoryview = data
        if not self._outgoing:
            unsent = memoryview(data)[self._send_now(data) :]
        if unsent:
            self._enqueue(unsent)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until nothing is buffered."""
        await self.drain()

    async def drain(self) -> None:
        """See `ByteStream.drain`."""
        if self._outgoing:
            await self._wait_sent(self._sent + len(self._outgoing))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `ByteStream.receive_some`."""
        self._require_within_limit()
        self._require_open()
        most = max_bytes or RECEIVE_SIZE
        if not self._drained:
            await trio.lowlevel.checkpoint_if_cancelled()
            data = self._receive_now(most)
            if data is not None:
                # If bytes are always there, other tasks must still have a turn.
                await trio.lowlevel.cancel_shielded_checkpoint()
                return self._count(data)
        while True:
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                self._require_within_limit()
                raise
            data = self._receive_now(most)
            if data is not None:
                if not data and self.departures is not None:
                    await self.departures.turn()
                return self._count(data)

    async def aclose(self) -> None:
        """Flush, then close. If this is cancelled, or the peer stops reading, the rest is dropped with a reset."""
        try:
            await trio.lowlevel.checkpoint()
            if not self._closed:
                await self.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._close(reset=bool(self._outgoing))

    async def linger(self) -> None:
        """See `ByteStream.linger`."""
        try:
            await self.drain()
            self._socket.shutdown(socket.SHUT_WR)
            discarded = 0
            with trio.move_on_after(LINGER_SECONDS):
                while discarded < LINGER_BYTES and (size := await self._discard()):
                    discarded += size
                    await trio.sleep(LINGER_PAUSE)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass
        finally:
            self._close(reset=bool(self._outgoing))

    def abort(self) -> None:
        """See `ByteStream.abort`."""
        self._close(reset=True)

    def hang_up(self) -> None:
        """See `ByteStream.hang_up`."""
        self._close(reset=bool(self._outgoing))

    def evict(self) -> None:
        """See `ByteStream.evict`. Who does not even read is told nothing."""
        super().evict()
        if self._outgoing:
            self._give_up()
        elif not self._closed:
            # Wakes whoever reads, and closes nothing.
            trio.lowlevel.notify_closing(self._socket)

    @property
    def _closed(self) -> bool:
        return self._socket.fileno() == -1

    def _require_open(self) -> None:
        if self._broken:
            raise trio.BrokenResourceError("the connection is lost")
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError("the connection was closed from this side")

    def _send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Let the kernel take as many bytes as it can, and return how many it took."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in {errno.ENOBUFS, errno.ENOMEM}:
                return 0
            self._give_up()
            raise trio.BrokenResourceError("the peer is gone") from error

    def _enqueue(self, unsent: bytes | bytearray | memoryview) -> None:
        self._outgoing += unsent
        if self.budget is not None and not self._settle():
            self._give_up()
            raise SlowConsumer("the peer leaves bytes unread, and strangers hold too much")
        if not self._flushing:
            self._flushing = True
            self.nursery.start_soon(self._flush)

    async def _flush(self) -> None:
        try:
            while self._outgoing:
                with trio.move_on_after(self._send_timeout) as patience:
                    await trio.lowlevel.wait_writable(self._socket)
                if patience.cancelled_caught:
                    self._give_up()
                    return
                sent = self._send_now(self._outgoing)
                del self._outgoing[:sent]
                self._sent += sent
                if self.budget is not None:
                    self._settle()
                self._wake()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # `_wait_sent` raises in every task that waits for these bytes
        finally:
            self._flushing = False
            self._wake()

    def _wake(self) -> None:
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    async def _wait_sent(self, position: int) -> None:
        while self._sent < position:
            self._require_open()
            if not self._flushing:
                # The supervisor's nursery is being cancelled: nobody is left to send the rest.
                raise trio.BrokenResourceError("the connection is being shut down")
            if self._progress is None:
                self._progress = trio.Event()
            await self._progress.wait()

    def _receive_now(self, max_bytes: int) -> bytes | None:
        """The bytes that have arrived; None if there are none."""
        try:
            data = self._socket.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._lost() from error
        self._drained = len(data) < max_bytes
        return data

    async def _discard(self) -> int:
        """Wait for bytes and throw them away; their number, 0 once the peer has ended its side."""
        while True:
            self._require_open()
            await trio.lowlevel.wait_readable(self._socket)
            if self.departures is not None:
                await self.departures.turn()
                self._require_open()
            try:
                return self._socket.recv_into(_DROPPED, 0, _DROP)
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._lost() from error

    def _lost(self) -> trio.BrokenResourceError:
        self._give_up()
        return trio.BrokenResourceError("the peer is gone")

    def _give_up(self) -> None:
        self._broken = True
        self._close(reset=True)

    def _close(self, *, reset: bool) -> None:
        if self._closed:
            return
        trio.lowlevel.notify_closing(self._socket)
        if reset:
            with suppress(OSError):  # the socket is closed with or without the option
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._socket.close()
        self._outgoing.clear()
        self._let_go()
        self._wake()
