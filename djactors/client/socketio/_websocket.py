"""A WebSocket by trio-websocket, fenced: nothing that the peer or the library does reaches beyond `WebSocket.run`.

What trio-websocket 0.12 does, and what stands against it here:

- Its reader is a task beside the caller's, and what the reader raises ends their nursery (a bad frame during the
  close does). So each connection has a nursery of its own, whose errors become the text that `run` returns.
- Its handshake waits for ever where the server hangs up without an answer, or where none comes. The stream says when
  it ends, and the caller's deadline does the rest.
- With its queue of messages full, its reader stands, and no ping is answered. `run` takes each message at once.
- Its bound on a message counts characters, not bytes, and empty fragments are never counted. The stream counts the
  bytes since the last whole message.
- A send that is cancelled leaves half a frame. `send` has a deadline, and whoever misses it must end the connection.
- `aclose` waits for ever for a peer that does not read, and after a message that is too large the TCP connection is
  never closed. Closing has a deadline, and the stream is closed by force in any case.
- `ping` never returns where the peer is gone. It is not used: Engine.IO has its own heartbeat.
- There is no permessage-deflate, so none is offered.
"""

from collections.abc import Callable, Sequence
from typing import Final, cast

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream

from djactors.client.socketio._address import Address, OpenStream
from djactors.client.socketio._http import Answer

QUEUE: Final = 64
"""Messages that trio-websocket may hold while other tasks have their turn."""

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
    """A stream that says when it ends, and that takes only so many bytes from one whole message to the next."""

    def __init__(self, stream: trio.abc.Stream, limit: int, ended: Callable[[], None]) -> None:
        self._stream, self._limit, self._ended = stream, limit, ended
        self.since_message = 0
        self.is_too_much = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended()
            raise
        self.since_message += len(data)
        if not data:
            self._ended()
        elif self.since_message > self._limit:
            self.is_too_much = True
            self._ended()
            raise trio.BrokenResourceError("a message that is too large")
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class WebSocket:
    """One connection; `run` carries it from its beginning to its end.

    Args:
        address: where.
        open_stream: the way there.
        target: path and query.
        headers: for the handshake.
        max_message: the most bytes of a message.
        send_timeout: the most seconds for one `send`.
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
        self._connection: WebSocketConnection | None = None
        self._scope = trio.CancelScope()
        self._is_closing = False
        # Whether the caller's `take` is running, whose mistakes are not the connection's.
        self._is_taking = False
        self.opened = trio.Event()

    async def run(self, take: Callable[[str | bytes], None]) -> str:
        """Connect, give each message to `take`, which must not raise, and return how the connection ended.

        Raises:
            NotOpenedError: it was never opened.
        """
        try:
            stream = await self._open_stream(self._address)
        except (OSError, trio.BrokenResourceError) as error:
            raise NotOpenedError(f"no connection: {error}", reached=False) from None
        failures: list[Exception] = []
        watched = _Watched(stream, self._max_message + MAX_OVERHEAD, self._stream_ended)
        try:
            with self._scope:
                await self._carry(watched, take, failures)
        finally:
            await trio.aclose_forcefully(stream)
        if not self.opened.is_set():
            raise _not_opened(failures)
        if watched.is_too_much:
            return f"a message of more than {self._max_message} bytes"
        return failures[0].args[0] if failures and isinstance(failures[0], _EndedError) else "the connection was cut"

    async def send(self, messages: Sequence[str | bytes]) -> None:
        """Send messages, one after the other; only one task may do so.

        Raises:
            WebSocketLostError: the connection has ended.
            trio.TooSlowError: the peer took too long; half a frame may be out, so end the connection.
        """
        assert self._connection is not None
        try:
            with trio.fail_after(self._send_timeout):
                for message in messages:
                    await self._connection.send_message(message)
        except Exception as error:
            if isinstance(error, trio.TooSlowError):
                raise
            # ConnectionClosed, and what wsproto raises of a connection that is closing.
            raise WebSocketLostError(_words(error)) from None

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

    def _stream_ended(self) -> None:
        # Before the handshake is done, trio-websocket would wait for ever; behind it, it comes to its own end.
        if not self.opened.is_set():
            self._scope.cancel()

    async def _carry(self, stream: _Watched, take: Callable[[str | bytes], None], failures: list[Exception]) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._connection = await wrap_client_stream(
                    nursery,
                    # It takes any stream, and says otherwise.
                    cast("trio.SocketStream", stream),
                    self._address.host_header,
                    self._address.base + self._target,
                    extra_headers=list(self._headers),
                    message_queue_size=QUEUE,
                    max_message_size=self._max_message,
                )
                self.opened.set()
                try:
                    while True:
                        message = await self._connection.get_message()
                        stream.since_message = 0
                        self._is_taking = True
                        take(message)
                        self._is_taking = False
                except ConnectionClosed as error:
                    failures.append(_EndedError(_words(error)))
                    if self._is_closing:
                        # `close` ends this once the peer has answered, which the reader must still hear.
                        await trio.sleep_forever()
                nursery.cancel_scope.cancel()
        except* Exception as group:
            if self._is_taking:
                raise
            failures.extend(_leaves(group))


class _EndedError(Exception):
    """How trio-websocket says that a connection ended."""


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason is None:
        return "the connection was cut"
    # 1006 stands for no close frame at all.
    return (
        "the connection was cut" if reason.code == 1006 else f"closed with {reason.code} {reason.reason or ''}".strip()
    )


def _not_opened(failures: Sequence[Exception]) -> NotOpenedError:
    for error in failures:
        if isinstance(error, ConnectionRejected):
            headers = {
                bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1") for name, value in error.headers
            }
            answer = Answer(error.status_code, headers, bytes(error.body or b"")[:1000])
            return NotOpenedError(f"no WebSocket: {answer.told()}", answer=answer)
    if failures:
        return NotOpenedError(f"no WebSocket: {failures[0]}")
    return NotOpenedError("no WebSocket: the server hung up")


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
