"""A WebSocket by trio-websocket, fenced: nothing that the peer or the library does reaches beyond `WebSocket.run`.

What trio-websocket 0.12 does, and what stands against it here:

- Its reader is a task beside the caller's, which hands each message over by a queue: a connection takes three tasks,
  and a message wakes two of them. So `_Connection` has no queue, and its reader is run in the caller's task. It also
  gives the other tasks a turn behind its lock and behind each send, which made a pong three turns of the loop. Neither
  does so here where nobody has to wait. All this stands on six names that are not public, so the next minor version of
  trio-websocket has to be looked at first.
- What the reader raises would end the nursery that it was started in (a bad frame during the close does). What it
  raises here becomes the text that `run` returns.
- Its handshake waits for ever where the server hangs up without an answer, or where none comes. The end of the reader
  is seen here, and the caller's deadline does the rest.
- Its bound on a message counts characters, not bytes, and empty fragments are never counted. The stream counts the
  bytes since the last whole message.
- A send that is cancelled leaves half a frame. Each frame has a deadline; whoever misses it must end the connection.
- `aclose` waits for ever for a peer that does not read, and after a message that is too large the TCP connection is
  never closed. Closing has a deadline, and the stream is closed by force in any case.
- `ping` never returns where the peer is gone. It is not used: Engine.IO has its own heartbeat.
- There is no permessage-deflate, so none is offered.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import trio
from trio_websocket import CloseReason, ConnectionRejected, WebSocketConnection
from wsproto import ConnectionType, WSConnection

from djactors.client.socketio._address import Address, OpenStream
from djactors.client.socketio._http import Answer
from djactors.client.socketio._stream import TcpStream

Take: TypeAlias = Callable[[str | bytes], Awaitable[None] | None]

MAX_OVERHEAD: Final = 64 * 1024
"""Bytes of frames beyond those of their messages, and of the next messages in the same piece."""


class NotOpenedError(Exception):
    """No WebSocket was opened.

    Attributes:
        answer: what the server answered instead; None without an answer.
        reached: whether a connection to the server was made at all.
    """

    def __init__(self, told: str, *, answer: Answer | None = None, reached: bool = True) -> None:
        super().__init__(told)
        self.answer, self.reached = answer, reached


class WebSocketLostError(Exception):
    """The WebSocket ended while something was sent."""


class _Watched(trio.abc.Stream):
    """A stream that takes only so many bytes from one whole message to the next, and sends each piece in time.

    A piece that the socket takes at once goes out without a turn of the loop, and without a deadline for it.
    """

    __slots__ = ("_limit", "_send_timeout", "_stream", "is_too_much", "since_message")

    def __init__(self, stream: trio.abc.Stream, limit: int, send_timeout: float) -> None:
        self._stream, self._limit, self._send_timeout = stream, limit, send_timeout
        self.since_message = 0
        self.is_too_much = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self.since_message += len(data)
        if self.since_message > self._limit:
            self.is_too_much = True
            raise trio.BrokenResourceError("a message that is too large")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        stream = self._stream
        sent = stream.send_nowait(data) if isinstance(stream, TcpStream) else 0
        if sent < len(data):
            with trio.fail_after(self._send_timeout), memoryview(data) as view:
                await stream.send_all(view[sent:])

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _NoQueue:
    """Stands where trio-websocket has the two ends of its queue. It says when the library closes them."""

    __slots__ = ("_closed",)

    def __init__(self, closed: Callable[[], None]) -> None:
        self._closed = closed

    async def __aenter__(self) -> None:
        """Nothing: the library enters it with its reader."""

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self._closed()


class _Lock:
    """A first-come, first-served lock, as trio-websocket has it, but without a turn of the loop where it is free."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = trio.StrictFIFOLock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class _Connection(WebSocketConnection):
    """trio-websocket's connection, whose messages go to `take` and whose reader is the caller's task.

    Args:
        stream: below it.
        address: whose name the handshake carries.
        target: path and query.
        headers: for the handshake.
        limit: characters of a message; the stream's own limit comes first.
        opened: is set when the server has agreed.
        take: takes each message, and returns what is to be awaited before the next one.
        closed: is called when the WebSocket has ended, by whomever.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        address: Address,
        target: str,
        headers: list[tuple[bytes, bytes]],
        *,
        limit: int,
        opened: trio.Event,
        take: Take,
        closed: Callable[[], None],
    ) -> None:
        super().__init__(
            stream,
            WSConnection(ConnectionType.CLIENT),
            host=address.host_header,
            path=address.base + target,
            client_extra_headers=headers,
            max_message_size=limit,
        )
        # Of its two ends nothing is used but what this has, too.
        self._send_channel = self._recv_channel = cast("Any", _NoQueue(closed))
        self._stream_lock = cast("Any", _Lock())
        self._agreed, self._take = opened, take
        self._parts: list[Any] = []

    async def read(self) -> None:
        """Shake hands, and give out messages until the end."""
        await self._reader_task()

    async def _handle_accept_connection_event(self, event: Any) -> None:
        await super()._handle_accept_connection_event(event)
        self._agreed.set()

    async def _handle_message_event(self, event: Any) -> None:
        parts = self._parts
        parts.append(event.data)
        if event.message_finished:
            self._parts = []
            todo = self._take("".join(parts) if isinstance(event.data, str) else b"".join(parts))
            if todo is not None:
                await todo


class WebSocket:
    """One connection; `run` carries it from its beginning to its end.

    Args:
        address: where.
        open_stream: the way there.
        target: path and query.
        headers: for the handshake.
        max_message: the most bytes of a message.
        send_timeout: the most seconds for one frame.
    """

    def __init__(
        self,
        address: Address,
        open_stream: OpenStream,
        target: str,
        headers: Sequence[tuple[str, str]],
        *,
        max_message: int,
        send_timeout: float,
    ) -> None:
        self._address, self._open_stream, self._target = address, open_stream, target
        self._headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._max_message, self._send_timeout = max_message, send_timeout
        self._connection: _Connection | None = None
        self._scope = trio.CancelScope()
        self._is_closing = False
        self.opened = trio.Event()

    async def run(self, take: Take) -> str:
        """Connect, give each message to `take`, and return how the connection ended. What `take` raises is raised.

        `take` may return what is to be awaited before the next message is read.

        Raises:
            NotOpenedError: it was never opened.
        """
        try:
            stream = await self._open_stream(self._address)
        except (OSError, trio.BrokenResourceError) as error:
            raise NotOpenedError(f"no connection: {error}", reached=False) from None
        failure: Exception | None = None
        mistake: Exception | None = None
        watched = _Watched(stream, self._max_message + MAX_OVERHEAD, self._send_timeout)

        def give(message: str | bytes) -> Awaitable[None] | None:
            nonlocal mistake
            watched.since_message = 0
            # After a good-bye nobody waits for messages, and behind one that was left out none may come.
            if self._is_closing or watched.is_too_much or mistake is not None:
                return None
            try:
                if len(message) <= self._max_message:
                    return take(message)
                watched.is_too_much = True
                self.abort()
            except Exception as error:  # noqa: BLE001 - raised below; the library would take some for its own
                mistake = error
                self.abort()
            return None

        self._connection = connection = _Connection(
            watched,
            self._address,
            self._target,
            self._headers,
            limit=self._max_message + MAX_OVERHEAD,
            opened=self.opened,
            take=give,
            closed=self._closed,
        )
        try:
            with self._scope:
                await connection.read()
        except Exception as error:  # noqa: BLE001 - trio-websocket and wsproto have many
            failure = error
        finally:
            await trio.aclose_forcefully(stream)
        if mistake is not None:
            raise mistake
        if not self.opened.is_set():
            raise _not_opened(failure)
        if watched.is_too_much:
            return f"a message of more than {self._max_message} bytes"
        return _words(connection.closed)

    async def send(self, messages: Sequence[str | bytes]) -> None:
        """Send messages, one after the other; only one task may do so.

        Raises:
            WebSocketLostError: the connection has ended.
            trio.TooSlowError: the peer took too long; half a frame may be out, so end the connection.
        """
        assert self._connection is not None
        try:
            for message in messages:
                await self._connection.send_message(message)
        except trio.TooSlowError:
            raise
        except Exception as error:  # noqa: BLE001 - trio-websocket and wsproto have many
            # ConnectionClosed, and what wsproto raises of a connection that is closing.
            raise WebSocketLostError(_words(getattr(error, "reason", None))) from None

    async def close(self, seconds: float) -> None:
        """Close in good order, if the peer takes part within so many seconds; then by force."""
        if self._connection is not None:
            self._is_closing = True
            with trio.move_on_after(seconds):
                try:
                    await self._connection.aclose()
                except Exception:  # noqa: BLE001 - trio-websocket and wsproto have many
                    # Whatever is wrong with it, it is to end.
                    await trio.lowlevel.checkpoint()
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        self._scope.cancel()

    def _closed(self) -> None:
        # The library would go on to wait for the server to hang up. `close` ends this once the peer has answered.
        if not self._is_closing:
            self._scope.cancel()


def _words(reason: CloseReason | None) -> str:
    # 1006 stands for no close frame at all.
    if reason is None or reason.code == 1006:
        return "the connection was cut"
    return f"closed with {reason.code} {reason.reason or ''}".strip()


def _not_opened(error: Exception | None) -> NotOpenedError:
    if isinstance(error, ConnectionRejected):
        headers = {
            bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1") for name, value in error.headers
        }
        answer = Answer(error.status_code, headers, bytes(error.body or b"")[:1000])
        return NotOpenedError(f"no WebSocket: {answer.told()}", answer=answer)
    return NotOpenedError(f"no WebSocket: {error or 'the server hung up'}")
