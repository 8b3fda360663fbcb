"""HTTP's nouns: a request, a response, the limits of a connection, and what the application must offer.

They know no socket, so a route is tested by building a `Request` and looking at the `Response`.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, Protocol

import trio

from djactors.net._stream import ByteStream

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
# RFC 9110 sections 8.6 and 15: these carry neither a body nor, for 1xx and 204, a Content-Length.
_BODILESS: Final = frozenset({204, 304})
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost. Sizes in bytes, times in seconds."""

    # From the first byte of a request to the end of its head, and from accepting to the first byte of the first
    # request: slow heads hold a slot without having shown a token.
    header_timeout: float = 10.0
    # Between requests: longer than the 60 s for which common proxies keep an idle connection, so that the proxy is the
    # one who closes and never sends into a connection that is just closing.
    idle_timeout: float = 75.0
    # For a whole body: 1 MB at 300 kbit/s.
    body_timeout: float = 30.0
    # The longest that what is written may make no progress before the connection is given up: longer than any mobile
    # network's usual stall, shorter than a person's patience for a reconnect.
    write_timeout: float = 30.0
    # Browsers and proxies keep to 8 KiB a field and 16 KiB in all.
    max_target: int = 8 * 1024
    max_head: int = 16 * 1024
    max_headers: int = 100
    # Bytes of pipelined requests that are kept while a handler is parked; beyond it the socket is left unread.
    max_pipelined: int = 64 * 1024


class RequestRefused(Exception):  # noqa: N818 - a verdict on the request, not a fault of the program
    """The request cannot be served as HTTP: answer `status` and close. `headers` are added to the refusal."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def bad_request(message: str) -> RequestRefused:
    """400."""
    return RequestRefused(400, "bad_request", message)


def elements(value: str | None) -> list[str]:
    """Return the comma-separated elements of a header, lower-case (RFC 9110 section 5.6.1)."""
    return [element.strip().lower() for element in value.split(",")] if value else []


class Request:
    """One HTTP request. `headers` has lower-case names; `query` keeps the first value of a repeated name.

    `path` and `query` are percent-decoded, with U+FFFD for bytes that are not UTF-8; `target` is what was sent.
    `content_length` is None for a chunked body whose length is not known beforehand. `carrier` is the connection that
    the request came by. `proof` is for the application to set once it knows who sends this, to what it likes; while it
    is None, what is kept for the request comes out of the budget of strangers (see `djactors.net.UnprovenBytes`).
    `disconnected` becomes true when the client goes away inside `watch_disconnect`.
    """

    __slots__ = (
        "_carrier",
        "body",
        "content_length",
        "disconnected",
        "headers",
        "keep_alive",
        "method",
        "path",
        "peer",
        "proof",
        "query",
        "target",
        "version",
    )

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
        query: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        peer: str = "127.0.0.1",
        target: str | None = None,
        version: str = "1.1",
        keep_alive: bool = True,
        content_length: int | None = 0,
        carrier: "Carrier | None" = None,
    ) -> None:
        self.method = method
        self.path = path
        self.query = {} if query is None else query
        self.headers = _NO_HEADERS if headers is None else headers
        self.body = body
        self.peer = peer
        self.target = path if target is None else target
        self.version = version
        self.keep_alive = keep_alive
        self.content_length = content_length
        self.disconnected = False
        self.proof: object = None
        self._carrier = carrier

    def __repr__(self) -> str:
        # Neither the query nor the headers: both may carry secrets.
        return f"<Request {self.method} {self.path!r} from {self.peer}>"

    def tokens(self, name: str) -> list[str]:
        """Return the comma-separated elements of a header, lower-case (RFC 9110 section 5.6.1)."""
        return elements(self.headers.get(name))

    @asynccontextmanager
    async def watch_disconnect(self) -> AsyncIterator[trio.CancelScope]:
        """Cancel the block when the client goes away, which is then visible as `disconnected`.

        For handlers that park, such as a long poll. Bytes of a next request that arrive meanwhile are kept. Yields the
        block's cancel scope. A request that no connection carries is never disconnected.
        """
        if self._carrier is None:
            with trio.CancelScope() as scope:
                yield scope
            return
        async with self._carrier.watch(self) as scope:
            yield scope


class Carrier(Protocol):
    """The connection that a request came by."""

    def watch(self, request: Request) -> AbstractAsyncContextManager[trio.CancelScope]:
        """Carry out `Request.watch_disconnect`: cancel the block, and mark the request, when the client goes away."""


class Response:
    """One HTTP response. `close` ends the connection after it. `headers` are extra (name, value) pairs.

    `on_lost` may be set to what is to be called if the client is gone before it was all handed to the kernel. What was
    handed over may be lost as well, without anybody's notice.
    """

    __slots__ = ("body", "close", "content_type", "headers", "on_lost", "status")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        headers: Iterable[tuple[str, str]] = (),
        close: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = tuple(headers)
        self.close = close
        self.on_lost: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"

    @property
    def carries_body(self) -> bool:
        """Whether its status has a body at all."""
        return self.status not in _BODILESS

    def encode(self, *, head_only: bool = False, connection: str = "") -> bytes:
        """Return the whole response as it goes onto the wire.

        `head_only` leaves the body out (HEAD) but states its length; `connection` is the value of that header, if any.
        Raises `ValueError` for a header that contains a line break, which would let its source write headers.
        """
        head = _STATUS_LINES[self.status]
        lines = 2 + len(self.headers)
        bodiless = self.status in _BODILESS
        if not bodiless:
            head += f"content-length: {len(self.body)}\r\n"
            lines += 1
            if self.body:
                head += f"content-type: {self.content_type}\r\n"
                lines += 1
        for name, value in self.headers:
            head += f"{name}: {value}\r\n"
        if connection:
            head += f"connection: {connection}\r\n"
            lines += 1
        head += "\r\n"
        # Whoever put a line break into a field made a line more than were meant.
        if head.count("\r") != lines or head.count("\n") != lines or "\0" in head:
            raise ValueError("a response header contains a line break or NUL")
        encoded = head.encode("latin-1")
        return encoded if head_only or bodiless else encoded + self.body


class Application(Protocol):
    """What the HTTP loop asks of the program behind it. All of it runs in the connection's own task.

    Cancelled, it is to end soon: the client has gone, or the listener is closing. What it raises is reported and
    answered with a 500, where nothing has been answered yet, and ends this connection alone.
    """

    async def handle(self, request: Request) -> Response:
        """Answer a request whose body has been read. It is not limited in time; what it raises becomes a 500."""

    def body_limit(self, request: Request) -> "int | Response":
        """Return how many bytes of body this request may bring, judged by its head alone.

        Or return the answer, if the head is enough to refuse it: the body is not read then, and the connection is
        closed unless the body has arrived.
        """

    async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
        """Take over a connection that asks for a WebSocket in a well-formed way.

        Either return a `Response` that refuses it, having written nothing, or carry the connection (see
        `djactors.net.open_websocket`) until it has ended and return None. `leftover` is what the client sent
        after the head. It may let `WebSocketClosed` and `SlowConsumer` out; other errors are reported.
        """

    def refusal(self, status: int, code: str, message: str) -> Response:
        """Word an error of the protocol itself (400, 408, 413, 414, 431, 500, 503 …) in the contract's shape."""
