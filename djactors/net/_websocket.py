"""Carries one WebSocket (RFC 6455) in the task of its connection, on a `ByteStream`.

    the client ──► stream ──► WebSocketReader ──► receive      in the one task that converses
    write_frames ──► stream ──► the client                   from any task, without waiting

- A WebSocket costs no task, no scope and no buffer of its own: thousands of them wait at any time.
- What arrives between two complete messages is bounded in bytes, fragments and pings included.
- Once a close frame is out nothing else follows it: no data, no late pong, no second close.
- A closing handshake never waits without a bound: see `close`, and `say_goodbye` for whoever cannot wait.
"""

import base64
import binascii
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha1
from math import inf
from types import TracebackType
from typing import Final, Self

import trio

from djactors.net._http_messages import Request, RequestRefused, bad_request
from djactors.net._stream import ByteStream, ReceiveLimitExceeded, SlowConsumer
from djactors.net._timer import Timer
from djactors.net._unproven import OverBudget
from djactors.protocol import (
    CloseCode,
    CloseFrame,
    FrameError,
    OtherFrame,
    PingFrame,
    WebSocketReader,
    binary_frame,
    close_frame,
    pong_frame,
    text_frame,
)

# How long the peer may take to answer a close frame; after that it is not going to.
CLOSE_TIMEOUT: Final = 3.0
# Beyond the largest message, what may arrive before the next complete one: the headers of its fragments, pings, pongs.
_OVERHEAD_BYTES: Final = 64 * 1024
# Most of what clients send is smaller; more at a time would only make a flood's turn longer.
_RECEIVE_SIZE: Final = 4 * 1024
# Of what has arrived, so many frames are acted upon before others get their turn: some 2 ms of a flood of the tiniest
# messages. A frame counts as one more for each of so many bytes that it brings.
_FRAMES_PER_TURN: Final = 64
_BYTES_OF_A_FRAME: Final = 128

# RFC 6455 section 1.3: what makes the answer to a client's key one that only a WebSocket server gives.
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


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
        raise bad_request("a WebSocket opens with a GET request of HTTP/1.1 without a body")
    if "upgrade" not in request.tokens("connection"):
        raise bad_request("a WebSocket handshake needs the header Connection: Upgrade")
    if request.headers.get("sec-websocket-version") != "13":
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
        raise bad_request("the header Sec-WebSocket-Key must be 16 bytes in base64")


class WebSocket:
    """One WebSocket, open for the length of an `async with` block. One task receives; any task writes or closes.

    Entering the block answers the handshake and raises `WebSocketClosed` if the peer has left. On the way out the
    stream is closed: with the closing handshake if the block ends of itself or with `WebSocketClosed`, at once if it is
    cancelled or raises anything else. Errors of the block pass unwrapped.
    """

    __slots__ = (
        "_close_by",
        "_close_sent",
        "_closed",
        "_opening",
        "_over",
        "_reader",
        "_receiver_left",
        "_receiving",
        "_stream",
        "_this_turn",
        "timer",
    )

    def __init__(self, stream: ByteStream, reader: WebSocketReader, opening: bytes) -> None:
        self._stream = stream
        self._reader = reader
        # What goes out on entering: the answer to the handshake, with the first frames behind it.
        self._opening = opening
        # How it ended, as far as is known; the peer may still have to answer our goodbye.
        self._closed: WebSocketClosed | None = None
        self._close_sent = False
        # Whether nothing more can come from the peer.
        self._over = False
        # Frames since others last had their turn.
        self._this_turn = 0
        self._receiving = False
        # Made when another task waits for whoever receives to leave off.
        self._receiver_left: trio.Event | None = None
        # For the heartbeat: by when the peer must have answered our goodbye.
        self.timer: Timer | None = None
        self._close_by = inf

    async def __aenter__(self) -> Self:
        opening, self._opening = self._opening, b""
        try:
            self._stream.write(opening)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._stream.abort()
            raise WebSocketClosed(CloseCode.ABNORMAL) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, WebSocketClosed):
                await self.close()
        finally:
            self.abort()

    def prove(self, max_message_bytes: int) -> None:
        """The peer is no stranger: its bytes take nothing of the strangers' budget, and messages may be larger."""
        self._reader.max_message_bytes = max_message_bytes
        self._stream.receive_limit = max_message_bytes + _OVERHEAD_BYTES
        self._stream.proven = True

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._stream.buffered

    async def receive(self) -> str | bytes:
        """Return the next complete message. Raises `WebSocketClosed` once there will be none.

        A message over the bound ends the WebSocket with 1009, text that is not UTF-8 with 1007, any other breach of
        the protocol with 1002. While nobody receives, the peer is slowed down and its pings are not answered. After a
        goodbye of ours, messages are dropped and only the peer's goodbye is still of interest.
        """
        self._receiving = True
        try:
            while not self._over:
                if self._this_turn >= _FRAMES_PER_TURN:
                    await trio.lowlevel.checkpoint()
                    self._this_turn = 0
                item = self._read()
                if item is None:
                    held = self._reader.held
                    if held != self._stream.held:
                        self._stream.hold(held)
                    data = await self._stream.receive_some(_RECEIVE_SIZE)
                    if not data:
                        self._end_of_stream()
                    self._reader.feed(bytes(data))
                    self._this_turn = 0
                    continue
                self._this_turn += 1
                if isinstance(item, (str, bytes)):
                    self._this_turn += len(item) // _BYTES_OF_A_FRAME
                    self._stream.mark()
                    if self._closed is None:
                        return item
                elif isinstance(item, PingFrame):
                    if self._stream.buffered:
                        # Who does not take our pongs is not heard before they are out.
                        await self._stream.drain()
                    if not self._close_sent:
                        self._stream.write(pong_frame(item.data))
                elif isinstance(item, CloseFrame):
                    self._answer_goodbye(item)
        except OverBudget:
            self._over = True
            self._reader.forget()
            self.say_goodbye(CloseCode.TRY_AGAIN, "overloaded")
        except ReceiveLimitExceeded:
            self._over = True
            self.say_goodbye(CloseCode.TOO_BIG, "message too big")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end_of_stream()
        finally:
            self._receiving = False
            if self._receiver_left is not None:
                self._receiver_left.set()
                self._receiver_left = None
        raise self._ending()

    async def send(self, message: str | bytes) -> None:
        """Send one message, and wait until the kernel has taken it and all that was written before.

        Raises `WebSocketClosed` after the end, and when the peer has taken nothing for the stream's send timeout.
        Cancelled, it loses nothing: what was written still goes out.
        """
        self.write_frames(text_frame(message) if isinstance(message, str) else binary_frame(message))
        if self._stream.buffered:
            await self.drain()
        else:
            await trio.lowlevel.checkpoint()

    def write_frames(self, data: bytes) -> None:
        """Write whole unmasked frames (see `text_frame` in `djactors.protocol`) without waiting.

        Raises `WebSocketClosed` after the end, and `SlowConsumer` when it kills the connection because the peer has
        left too much unread.
        """
        if self._close_sent:
            raise self._ending()
        try:
            self._stream.write(data)
        except SlowConsumer:
            raise
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._ending() from None

    async def drain(self) -> None:
        """Wait until all that was written is out. Raises `WebSocketClosed` if it never will be."""
        try:
            await self._stream.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._ending() from None

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

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame, wait `CLOSE_TIMEOUT` seconds at most for the peer's, and let go of the connection.

        Idempotent. Messages that arrive meanwhile are dropped. Cancelling it aborts the connection.
        """
        try:
            self.say_goodbye(code, reason)
            with trio.move_on_after(CLOSE_TIMEOUT) as patience:
                while not self._over:
                    await self._hear_out()
            if not patience.cancelled_caught:
                await self._stream.linger()
        finally:
            self._stream.abort()

    async def _hear_out(self) -> None:
        """Wait for the peer's goodbye, or for whoever receives to give up doing so."""
        if not self._receiving:
            with suppress(WebSocketClosed):
                await self.receive()
            return
        if self._receiver_left is None:
            self._receiver_left = trio.Event()
        await self._receiver_left.wait()

    def say_goodbye(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame and no more after it. Whoever receives goes on until the peer has answered.

        It is for the caller to see to it that this has a bound: `close` has one, and so has the heartbeat, to which a
        WebSocket is something with a deadline from now on.
        """
        self._close_by = min(self._close_by, trio.current_time() + CLOSE_TIMEOUT)
        self._part(code, reason, close_frame(code, reason))

    def abort(self) -> None:
        """Drop the connection at once, without a close frame."""
        self._note(CloseCode.ABNORMAL, "")
        self._close_sent = True
        self._close_by = inf
        self._stream.abort()

    # For the heartbeat

    @property
    def next_deadline(self) -> float:
        """When the peer's patience with our goodbye is at its end."""
        return self._close_by

    def tick(self, now: float) -> None:
        """The peer has not answered in time."""
        self.abort()

    # The rest is ours

    def _read(self) -> str | bytes | PingFrame | CloseFrame | OtherFrame | None:
        try:
            return self._reader.read()
        except FrameError as error:
            self._over = True
            self.say_goodbye(error.code, str(error))
            raise self._ending() from None

    def _end_of_stream(self) -> None:
        self._over = True
        self._note(CloseCode.ABNORMAL, "")

    def _answer_goodbye(self, goodbye: CloseFrame) -> None:
        """Say the same (section 5.5.1), unless the peer was only answering us."""
        self._over = True
        self._part(goodbye.code, goodbye.reason, close_frame(goodbye.code, goodbye.reason))

    def _part(self, code: int, reason: str, frame: bytes) -> None:
        self._note(code, reason)
        if self._close_sent:
            return
        self._close_sent = True
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the peer may be gone already
            self._stream.write(frame)

    def _note(self, code: int, reason: str) -> None:
        if self._closed is None:
            self._closed = WebSocketClosed(code, reason)

    def _ending(self) -> WebSocketClosed:
        """Return how the WebSocket ended; 1006 if that is not known yet."""
        ending = self._closed
        return WebSocketClosed(CloseCode.ABNORMAL) if ending is None else WebSocketClosed(ending.code, ending.reason)


def open_websocket(
    request: Request, stream: ByteStream, leftover: bytes, max_message_bytes: int, greeting: bytes = b""
) -> WebSocket:
    """Return the WebSocket of a handshake that `check_handshake` has passed, to be entered.

    `leftover` is what the client sent behind its handshake. `greeting` is frames to be sent with the answer to it, in
    one write.
    """
    stream.mark()
    stream.receive_limit = max_message_bytes + _OVERHEAD_BYTES
    proof = sha1(request.headers["sec-websocket-key"].encode("ascii") + _GUID, usedforsecurity=False).digest()
    opening = _ACCEPTED % base64.b64encode(proof) + greeting
    return WebSocket(stream, WebSocketReader(max_message_bytes, leftover), opening)
