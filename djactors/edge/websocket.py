"""Carries one WebSocket (RFC 6455) with trio-websocket, fenced so that nothing it does leaves this connection.

trio-websocket reads: it unmasks, joins fragments, checks UTF-8, answers pings. It is kept from everything else:

- It never sees the client's head, parts of which would crash it, but a canonical one with the validated key.
- Its reader runs inside a fence of this module; whatever it raises ends this WebSocket and nothing more.
- Its stream is a stand-in: closing it marks the end but leaves the real stream to us, and once a close frame is out
  nothing else follows it, neither a late pong nor a second close.
- Data frames do not pass through it: `write_frames` hands prebuilt ones to the real stream without waiting.
- What arrives between two complete messages is bounded in bytes, because it counts characters and not fragments.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

import trio
import trio_websocket

from djactors.edge.http_messages import Request, RequestRefused
from djactors.edge.stream import ByteStream, ReceiveLimitExceeded, SlowConsumer

# How long the peer may take to answer a close frame; after that it is not going to.
CLOSE_TIMEOUT: Final = 3.0
# Beyond the largest message, what may arrive before the next complete one: the headers of its fragments, pings, pongs.
_OVERHEAD_BYTES: Final = 64 * 1024
# The library handles all frames of one read before others get their turn: 700 of the tiniest, some 10 ms.
_RECEIVE_SIZE: Final = 4 * 1024

_CLOSE_OPCODE: Final = 0x8
_NORMAL_CLOSURE: Final = 1000
_PROTOCOL_ERROR: Final = 1002
_ABNORMAL_CLOSURE: Final = 1006
_MESSAGE_TOO_BIG: Final = 1009
# RFC 6455 section 7.4.1: codes that are never sent in a frame.
_LOCAL_CODES: Final = frozenset({1005, 1006, 1015})
_MAX_CLOSE_REASON: Final = 123


class WebSocketClosed(Exception):  # noqa: N818 - the ordinary end of every WebSocket
    """The WebSocket has ended. `code` is RFC 6455's: 1006 when there was no close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def asks_for_websocket(request: Request) -> bool:
    """Tell whether the request wants a WebSocket. Another protocol's upgrade is ignored (RFC 9110 section 7.8)."""
    return "upgrade" in request.headers and "websocket" in request.tokens("upgrade")


def check_handshake(request: Request) -> None:
    """Raise `RequestRefused` unless the request is a client's opening handshake by RFC 6455 section 4.2.1."""
    if request.method != "GET" or request.version != "1.1" or request.content_length != 0:
        raise _bad_handshake("a WebSocket opens with a GET request of HTTP/1.1 without a body")
    if "upgrade" not in request.tokens("connection"):
        raise _bad_handshake("a WebSocket handshake needs the header Connection: Upgrade")
    if request.header("sec-websocket-version") != "13":
        raise RequestRefused(
            426,
            "upgrade_required",
            "the only WebSocket version spoken here is 13",
            (("sec-websocket-version", "13"), ("upgrade", "websocket")),
        )
    try:
        nonce = base64.b64decode(request.headers["sec-websocket-key"], validate=True)
    except (KeyError, ValueError, binascii.Error):
        nonce = b""
    if len(nonce) != 16:
        raise _bad_handshake("the header Sec-WebSocket-Key must be 16 bytes in base64")


def _bad_handshake(message: str) -> RequestRefused:
    return RequestRefused(400, "bad_request", message)


def _close_frame(code: int, reason: str) -> bytes:
    text = reason.encode("utf-8", "replace")[:_MAX_CLOSE_REASON].decode("utf-8", "ignore").encode()
    return bytes((0x80 | _CLOSE_OPCODE, len(text) + 2)) + code.to_bytes(2, "big") + text


class _FencedStream(trio.abc.Stream):
    """What trio-websocket is given for a stream: the canonical head, then, once accepted, the real bytes."""

    __slots__ = ("_accepted", "_ended", "_leftover", "_next", "_stream", "close_sent", "overrun")

    def __init__(self, stream: ByteStream, head: bytes, leftover: bytes) -> None:
        self._stream = stream
        self._next = head
        self._leftover = leftover
        # wsproto drops what follows the head in one read, and buffers without bound before it is accepted.
        self._accepted: trio.Event | None = trio.Event()
        self._ended = False
        self.close_sent = False
        self.overrun = False

    def accept(self) -> None:
        """Let the client's frames through from now on."""
        self._next, self._leftover = self._leftover, b""
        if self._accepted is not None:
            self._accepted.set()
            self._accepted = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._next and self._accepted is not None:
            await self._accepted.wait()
        if self._ended:
            raise trio.ClosedResourceError
        if self._next:
            await trio.lowlevel.checkpoint()
            data, self._next = self._next, b""
            return data
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except ReceiveLimitExceeded:
            self.overrun = True
            raise

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self.close_sent:
            await trio.lowlevel.checkpoint()
            return
        if data[0] & 0x0F == _CLOSE_OPCODE and self._accepted is None:
            self.close_sent = True
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.drain()

    async def aclose(self) -> None:
        self._ended = True
        await trio.lowlevel.checkpoint()


class _Fence:
    """Stands in for the nursery that trio-websocket starts its reader in: runs it, and keeps its errors.

    The reader really runs in the nursery of the connection's supervisor, so that a block that uses the WebSocket sees
    its own errors unwrapped.
    """

    __slots__ = ("_nursery", "_scope", "ended", "failure")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self.ended = trio.Event()
        self.failure: Exception | None = None

    def start_soon(self, reader: Callable[[], Awaitable[None]]) -> None:
        self._nursery.start_soon(self._run, reader)

    async def stop(self) -> None:
        """Cancel the reader and wait until it is gone."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self.ended.wait()

    async def _run(self, reader: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await reader()
        except Exception as error:  # noqa: BLE001 - supervises a library whose errors are not its contract
            self.failure = error
        finally:
            self.ended.set()


class WebSocket:
    """One open WebSocket. One task receives; any task writes or closes.

    `failure` is what trio-websocket's reader died of, if it did: worth a line in the log, never more.
    """

    __slots__ = ("_closed", "_connection", "_fence", "_fenced", "_max_message_bytes", "_stream")

    def __init__(
        self,
        connection: trio_websocket.WebSocketConnection,
        stream: ByteStream,
        fenced: _FencedStream,
        fence: _Fence,
        max_message_bytes: int,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._fenced = fenced
        self._fence = fence
        self._max_message_bytes = max_message_bytes
        self._closed: WebSocketClosed | None = None

    @property
    def failure(self) -> Exception | None:
        """See the class."""
        return self._fence.failure

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._stream.buffered

    async def receive(self) -> str | bytes:
        """Return the next complete message. Raises `WebSocketClosed` once there will be none.

        A message over the bound ends the WebSocket with 1009, text that is not UTF-8 with 1007, any other breach of
        the protocol with 1002. While nobody receives, the peer is slowed down and its pings are not answered.
        """
        while True:
            try:
                message = await self._connection.get_message()
            except trio_websocket.ConnectionClosed as closed:
                if closed.reason is None:
                    await self._fence.ended.wait()  # the reader is dying; only the fence knows of what
                raise self._end(closed) from None
            self._stream.mark()
            if self._closed is not None:
                continue  # we have said goodbye; only the peer's goodbye is still of interest
            # The library counts characters, of which UTF-8 may need four bytes each.
            if isinstance(message, str) and len(message) * 4 > self._max_message_bytes < len(message.encode()):
                self._say_goodbye(_MESSAGE_TOO_BIG, "message too big")
                raise self._end(None)
            return message

    def write_frames(self, data: bytes) -> None:
        """Write whole unmasked frames (see `djactors.protocol.websocket_frames`) without waiting.

        Raises `WebSocketClosed` after the end, and `SlowConsumer` when it kills the connection because the peer has
        left too much unread.
        """
        if self._fenced.close_sent:
            raise self._over()
        try:
            self._stream.write(data)
        except SlowConsumer:
            raise
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._over() from None

    async def drain(self) -> None:
        """Wait until all that was written is out. Raises `WebSocketClosed` if it never will be."""
        try:
            await self._stream.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._over() from None

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once when all that was written is out, at once if it is; never if the WebSocket ends before."""
        if self._stream.buffered:
            self._stream.nursery.start_soon(self._drain, callback)
        else:
            callback()

    async def _drain(self, callback: Callable[[], None]) -> None:
        with suppress(WebSocketClosed):
            await self.drain()
            callback()

    async def close(self, code: int = _NORMAL_CLOSURE, reason: str = "") -> None:
        """Send a close frame, wait `CLOSE_TIMEOUT` seconds at most for the peer's, and let go of the connection.

        Idempotent. Messages that arrive meanwhile are dropped. Cancelling it aborts the connection.
        """
        try:
            self._say_goodbye(code, reason)
            with trio.move_on_after(CLOSE_TIMEOUT) as patience:
                while not self._fence.ended.is_set():
                    try:
                        await self.receive()
                    except WebSocketClosed:
                        await self._fence.ended.wait()
            if patience.cancelled_caught:
                self._stream.abort()
                return
            await self._stream.linger()
        finally:
            self._stream.abort()

    def abort(self) -> None:
        """Drop the connection at once, without a close frame."""
        self._note(_ABNORMAL_CLOSURE, "")
        self._fenced.close_sent = True
        self._stream.abort()

    def _over(self) -> WebSocketClosed:
        """Return how the WebSocket ended, for someone else than the receiver; 1006 if that is not known yet."""
        ending = self._closed
        return WebSocketClosed(_ABNORMAL_CLOSURE) if ending is None else WebSocketClosed(ending.code, ending.reason)

    def _say_goodbye(self, code: int, reason: str) -> None:
        self._note(code, reason)
        if self._fenced.close_sent:
            return
        self._fenced.close_sent = True
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the peer may be gone already
            self._stream.write(_close_frame(_NORMAL_CLOSURE if code in _LOCAL_CODES else code, reason))

    def _note(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = WebSocketClosed(code, reason)

    def _end(self, closed: trio_websocket.ConnectionClosed | None) -> WebSocketClosed:
        """Settle how the WebSocket ended, sending the close frame that trio-websocket leaves out on errors."""
        if self._closed is None:
            cause = None if closed is None else closed.reason
            if self._fenced.overrun:
                self._say_goodbye(_MESSAGE_TOO_BIG, "message too big")
            elif self._fence.failure is not None:
                self._say_goodbye(_PROTOCOL_ERROR, "protocol error")
            elif cause is None or cause.code == _ABNORMAL_CLOSURE:
                self._note(_ABNORMAL_CLOSURE, "")
            else:
                self._say_goodbye(int(cause.code), cause.reason or "")
        return self._over()


@asynccontextmanager
async def open_websocket(
    request: Request, stream: ByteStream, leftover: bytes, max_message_bytes: int
) -> AsyncIterator[WebSocket]:
    """Accept the handshake that `check_handshake` has passed and carry the WebSocket for the length of the block.

    `stream` is closed on the way out: with the closing handshake if the block ends of itself or with `WebSocketClosed`,
    at once if it is cancelled or raises anything else. Errors of the block pass unwrapped. Raises `WebSocketClosed` if
    the peer leaves during the handshake.
    """
    head = (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {request.headers['sec-websocket-key']}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    fenced = _FencedStream(stream, head.encode("ascii"), leftover)
    fence = _Fence(stream.nursery)
    stream.mark()
    stream.receive_limit = max_message_bytes + _OVERHEAD_BYTES
    try:
        proposal = await trio_websocket.wrap_server_stream(
            # All it does with a nursery is to start its reader there.
            cast("trio.Nursery", fence),
            fenced,
            max_message_size=max_message_bytes,
            receive_buffer_size=_RECEIVE_SIZE,
        )
        try:
            connection = await proposal.accept()
        except trio_websocket.ConnectionClosed:
            raise WebSocketClosed(_ABNORMAL_CLOSURE) from None
        fenced.accept()
        websocket = WebSocket(connection, stream, fenced, fence, max_message_bytes)
        try:
            yield websocket
        except WebSocketClosed:
            await websocket.close()
            raise
        await websocket.close()
    finally:
        stream.abort()
        await fence.stop()
