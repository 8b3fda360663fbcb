"""HTTP/1.1 for long-polling: one request at a time on one connection, with h11 on any Trio stream.

h11 and not a client library: h11 comes with trio-websocket, both transports then share one way to open a connection
(so that a tunnel, or a test in memory, serves both), and a poll needs none of redirects, cookies, pools and decoding.

Rules: no redirect is followed; an answer is bounded by bytes; a request that is cancelled or fails ends its connection.
No request is sent twice, because a POST that was sent twice would be carried out twice.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import h11
import msgspec
import trio

from djactors.client.socketio._address import Address, OpenStream

MAX_HEAD: Final = 64 * 1024
"""Bytes of the head of an answer that are read: proxies add some, none adds so much."""

REUSE_SECONDS: Final = 2.0
"""How long an idle connection is used again. Node closes one after 5 seconds, and a request that meets the close would
be lost without a word."""

RECEIVE_SIZE: Final = 64 * 1024


class HttpFailedError(Exception):
    """No good answer came; the text says what did."""


class Answer(msgspec.Struct, frozen=True):
    """An answer. The names of `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """The seconds of `Retry-After`; None without it, or where it is a date."""
        text = self.headers.get("retry-after", "").strip()
        # A number of more digits is no wait that anybody means.
        return float(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else None

    def told(self) -> str:
        """It in one line, for people."""
        return f"{self.status} {self.body[:200].decode(errors='replace')}".strip()


class HttpConnection:
    """Requests to one server, one after the other.

    Args:
        address: where.
        open_stream: the way there.
        headers: for each request, beside `Host` and those of HTTP.
        max_body: the most bytes of an answer.
    """

    def __init__(
        self, address: Address, open_stream: OpenStream, headers: Sequence[tuple[str, str]], max_body: int
    ) -> None:
        self._address, self._open_stream = address, open_stream
        self._headers, self._max_body = list(headers), max_body
        self._stream: trio.abc.Stream | None = None
        self._peer: h11.Connection
        self._idle_since = 0.0

    async def request(self, method: str, target: str, body: bytes = b"", content_type: str | None = None) -> Answer:
        """Send a request and read its answer. It has no time-out of its own: give it a cancel scope.

        Raises:
            OSError: nobody is there.
            HttpFailedError: the connection broke, or what came is no HTTP.
        """
        whole = False
        try:
            stream = await self._connected()
            answer = await self._exchange(stream, method, target, body, content_type)
            whole = True
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError) as error:
            raise HttpFailedError(f"no answer: {error or 'the connection was cut'}") from None
        finally:
            if not whole:
                await self._drop()
        if self._peer.our_state is h11.DONE and self._peer.their_state is h11.DONE:
            self._peer.start_next_cycle()
            self._idle_since = trio.current_time()
        else:
            await self._drop()
        return answer

    async def aclose(self) -> None:
        """Close the connection at once."""
        await self._drop()

    async def _connected(self) -> trio.abc.Stream:
        if self._stream is not None and trio.current_time() - self._idle_since > REUSE_SECONDS:
            await self._drop()
        if self._stream is None:
            self._stream = await self._open_stream(self._address)
            self._peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        return self._stream

    async def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _exchange(
        self, stream: trio.abc.Stream, method: str, target: str, body: bytes, content_type: str | None
    ) -> Answer:
        peer = self._peer
        fields = [("Host", self._address.host_header), *self._headers]
        if content_type is not None:
            fields += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        elif method not in ("GET", "DELETE"):
            fields.append(("Content-Length", "0"))
        head = peer.send(h11.Request(method=method, target=self._address.base + target, headers=fields)) or b""
        data = peer.send(h11.Data(body)) or b"" if body else b""
        end = peer.send(h11.EndOfMessage()) or b""
        # A refusal may come before the body has been read, and the server may then have closed its side.
        with suppress(trio.BrokenResourceError):
            await stream.send_all(head + data + end)
        return await self._read(stream)

    async def _read(self, stream: trio.abc.Stream) -> Answer:
        response: h11.Response | None = None
        parts: list[bytes] = []
        size = 0
        while True:
            event = self._peer.next_event()
            if event is h11.NEED_DATA:
                self._peer.receive_data(bytes(await stream.receive_some(RECEIVE_SIZE)))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > self._max_body:
                    raise HttpFailedError(f"an answer of more than {self._max_body} bytes")
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise HttpFailedError("no answer: the connection was closed")
        assert response is not None
        names = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in response.headers}
        return Answer(response.status_code, names, b"".join(parts))
