"""Carries one WebSocket (RFC 6455) in the task of its connection, on a `ByteStream`.

    the client ──► stream ──► WebSocketReader ──► receive      in the one task that converses
    write_frames ──► stream ──► the client                   from any task, without waiting

- A WebSocket costs no task, no scope and no buffer of its own: thousands of them wait at any time.
- The bytes that arrive between two complete messages are bounded, fragments and pings included.
- After a close frame nothing else is sent: no data, no late pong, no second close.
- A closing handshake never waits without a bound: see `close`, and `say_goodbye` for callers that cannot wait.
"""

import binascii
import re
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

# How many seconds the peer may take to answer a close frame. After that no answer is likely to come.
CLOSE_TIMEOUT: Final = 3.0
# How many bytes more than the largest message may arrive before the next complete message: the headers of fragments,
# pings, and pongs.
_OVERHEAD_BYTES: Final = 64 * 1024
# Most messages of clients are smaller, and reading more at a time would only make the turn of a flood longer.
_RECEIVE_SIZE: Final = 4 * 1024
# How many of the frames that have arrived are handled before other tasks have a turn: some 2 ms of a flood of tiny
# messages. A message counts as one frame more for each `_BYTES_OF_A_FRAME` bytes.
_FRAMES_PER_TURN: Final = 64
_BYTES_OF_A_FRAME: Final = 128

# RFC 6455 section 1.3: the server hashes this together with the client's key, which only a WebSocket server does.
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n%b\r\n"
)
_PROTOCOL: Final = b"Sec-WebSocket-Protocol: %b\r\n"
# RFC 9110 section 5.6.2: a token, of which a subprotocol's name is made.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class WebSocketClosed(Exception):  # noqa: N818 - the ordinary end of every WebSocket
    """The WebSocket has ended. `code` is one of RFC 6455 section 7.4.1: 1006 if there was no close frame."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def asks_for_websocket(request: Request) -> bool:
    """Whether the request asks for a WebSocket. An upgrade to another protocol is ignored (RFC 9110 section 7.8)."""
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
        nonce = binascii.a2b_base64(request.headers["sec-websocket-key"], strict_mode=True)
    except (KeyError, ValueError, binascii.Error):
        nonce = b""
    if len(nonce) != 16:
        raise bad_request("the header Sec-WebSocket-Key must be 16 bytes in base64")
    offered = _offered_protocols(request)
    if len(set(offered)) < len(offered) or not all(map(_TOKEN.fullmatch, offered)):
        raise bad_request("the header Sec-WebSocket-Protocol must list different tokens, separated by commas")


def _offered_protocols(request: Request) -> list[str]:
    """Return the subprotocols that the client offers, the one that it likes best first; case matters."""
    offered = request.headers.get("sec-websocket-protocol")
    return [] if offered is None else [name.strip(" \t") for name in offered.split(",")]


class WebSocket:
    """One WebSocket, open for the length of an `async with` block. One task receives; any task writes or closes.

    Entering the block answers the handshake, and raises `WebSocketClosed` if the peer has left. Leaving the block
    closes the stream: with the closing handshake if the block ends normally or with `WebSocketClosed`, at once if the
    block is cancelled or raises anything else. Errors of the block pass unwrapped.
    """

    __slots__ = (
        "_close_by",
        "_close_sent",
        "_closed",
        "_left",
        "_opening",
        "_over",
        "_reader",
        "_receiver_left",
        "_receiving",
        "_stream",
        "_this_turn",
        "breach",
        "timer",
    )

    def __init__(self, stream: ByteStream, reader: WebSocketReader, opening: bytes) -> None:
        self._stream = stream
        self._reader = reader
        # Sent on entering: the answer to the handshake, with the first frames behind it.
        self._opening = opening
        # How the WebSocket ended, as far as is known. The peer may still have to answer our close frame.
        self._closed: WebSocketClosed | None = None
        self._close_sent = False
        # Whether nothing more can come from the peer.
        self._over = False
        # Whether the peer has gone without a close frame, so that nothing need be sent or waited for. Where thousands
        # go at the same moment, this is half the work of all.
        self._left = False
        # Frames handled since other tasks last had a turn.
        self._this_turn = 0
        self._receiving = False
        # Made when another task waits until the receiving task has stopped receiving.
        self._receiver_left: trio.Event | None = None
        # How the peer broke the protocol, in words of ours; None while it has not.
        self.breach: str | None = None
        # For the heartbeat: its timer, and the time by which the peer must have answered our close frame.
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
        self._stream.prove()

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._stream.buffered

    async def receive(self) -> str | bytes:
        """Return the next complete message. Raises `WebSocketClosed` once there will be none.

        A message over the bound ends the WebSocket with 1009, text that is not UTF-8 with 1007, any other breach of
        the protocol with 1002. While nobody receives, TCP slows the peer down, and its pings are not answered. After we
        have sent a close frame, this drops messages and waits only for the peer's close frame.
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
                        # If the peer does not read our pongs, read no more from it until they are out.
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
            self.breach = "message too big"
            self.say_goodbye(CloseCode.TOO_BIG, self.breach)
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

        Raises `WebSocketClosed` after the end, and if the peer has taken nothing for the stream's send timeout.
        Cancelling this loses nothing: the message still goes out.
        """
        self.write_frames(text_frame(message) if isinstance(message, str) else binary_frame(message))
        if self._stream.buffered:
            await self.drain()
        else:
            await trio.lowlevel.checkpoint()

    def write_frames(self, data: bytes) -> None:
        """Write whole unmasked frames (see `text_frame` in `djactors.protocol`) without waiting.

        Raises `WebSocketClosed` after the end. If the peer has left too much unread, this kills the connection and
        raises `SlowConsumer`.
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
        """Wait until all that was written is out. Raises `WebSocketClosed` if the connection ends before."""
        try:
            await self._stream.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._ending() from None

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when all that was written is out: possibly at once, and never if the WebSocket ends."""
        if self._stream.buffered:
            self._stream.nursery.start_soon(self._drain, callback)
        else:
            callback()

    async def _drain(self, callback: Callable[[], None]) -> None:
        with suppress(WebSocketClosed):
            await self.drain()
            callback()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame, wait at most `CLOSE_TIMEOUT` seconds for the peer's, and close the connection.

        Idempotent. Messages that arrive meanwhile are dropped. Cancelling this aborts the connection.
        """
        try:
            self.say_goodbye(code, reason)
            with trio.move_on_after(CLOSE_TIMEOUT) as patience:
                while not self._over:
                    await self._hear_out()
            if self._left:
                self._stream.hang_up()
            elif not patience.cancelled_caught:
                await self._stream.linger()
        finally:
            self._stream.abort()

    async def _hear_out(self) -> None:
        """Wait for the peer's close frame, or until the task that receives has stopped receiving."""
        if not self._receiving:
            with suppress(WebSocketClosed):
                await self.receive()
            return
        if self._receiver_left is None:
            self._receiver_left = trio.Event()
        await self._receiver_left.wait()

    def say_goodbye(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send a close frame without waiting. A task that receives goes on until the peer has answered.

        The caller must bound that time, by `close` or by the heartbeat: from now on `next_deadline` is
        `CLOSE_TIMEOUT` seconds ahead, and `tick` then aborts the connection.
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
        """The time by which the peer must have answered our close frame; infinity if none was sent."""
        return self._close_by

    def tick(self, now: float) -> None:
        """Abort the connection, because the peer has not answered in time."""
        self.abort()

    # Internal

    def _read(self) -> str | bytes | PingFrame | CloseFrame | OtherFrame | None:
        try:
            return self._reader.read()
        except FrameError as error:
            self._over = True
            self.breach = str(error)
            self.say_goodbye(error.code, self.breach)
            raise self._ending() from None

    def _end_of_stream(self) -> None:
        self._over = self._left = self._close_sent = True
        self._note(CloseCode.ABNORMAL, "")

    def _answer_goodbye(self, goodbye: CloseFrame) -> None:
        """Send the same code and reason back (section 5.5.1), unless the peer's close frame answered ours."""
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
    """Return the WebSocket of a handshake that `check_handshake` has passed. Enter it with `async with`.

    `leftover` holds the bytes that the client sent behind its handshake. `max_message_bytes` bounds one message.
    `greeting` holds frames that are sent together with the answer to the handshake, in one write. The first subprotocol
    that the client offers is selected, as by the reference server's `ws`, because a browser that offered some fails the
    connection if the server selects none (the WebSockets standard, "establish").
    """
    stream.mark()
    stream.receive_limit = max_message_bytes + _OVERHEAD_BYTES
    proof = sha1(request.headers["sec-websocket-key"].encode("ascii") + _GUID, usedforsecurity=False).digest()
    offered = _offered_protocols(request)
    selected = _PROTOCOL % offered[0].encode("ascii") if offered else b""
    opening = _ACCEPTED % (binascii.b2a_base64(proof, newline=False), selected) + greeting
    return WebSocket(stream, WebSocketReader(max_message_bytes, leftover), opening)
