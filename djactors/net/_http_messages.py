"""HTTP's nouns: a request, a response, the limits of a connection, and the application's interface.

None of them knows a socket, so a test of a route builds a `Request` and looks at the `Response`. Sources: RFC 9110 and
9112.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache, partial, wraps
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

import trio

from djactors.net._stream import ByteStream

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
# RFC 9110 sections 8.6 and 15: these carry neither a body nor, for 1xx and 204, a Content-Length.
_BODILESS: Final = frozenset({204, 304})
MACHINE_CLOCK: Final[Callable[[], datetime]] = partial(datetime.now, UTC)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one connection. Sizes are in bytes, times in seconds."""

    # From the first byte of a request to the end of its head, and from accepting to the first byte of the first
    # request. It is short, because a client with a slow head holds a connection without having shown a token.
    header_timeout: float = 10.0
    # For a whole handshake of TLS, which comes before that: two turns over a bad network, and one step of each side.
    handshake_timeout: float = 10.0
    # Between requests. Common proxies keep an idle connection for 60 s. This is longer, so the proxy closes first and
    # never sends into a connection that is just closing.
    idle_timeout: float = 75.0
    # Between requests until somebody has proved, by this connection, who they are (`Request.prove`). The same as the
    # others, because not every application has such a proof.
    unproven_timeout: float = 75.0
    # For a whole body: 1 MB at 300 kbit/s.
    body_timeout: float = 30.0
    # The longest time without progress in writing before the connection is given up: longer than the usual stall of a
    # mobile network, shorter than a person's patience for a reconnect.
    write_timeout: float = 30.0
    # The next two: browsers and proxies keep to 8 KiB for a field and 16 KiB in all.
    max_target: int = 8 * 1024
    max_head: int = 16 * 1024
    max_headers: int = 100
    # Parameters of a query. No client sends more than a few, and a head full of them takes as long as ten others.
    max_parameters: int = 100
    # Bytes of pipelined requests that are kept while a handler is parked. Beyond this the socket is left unread.
    max_pipelined: int = 64 * 1024


class RequestRefused(Exception):  # noqa: N818 - a verdict on the request, not a fault of the program
    """The request cannot be served as HTTP: answer with `status` and close. `headers` are added to the refusal."""

    def __init__(self, status: int, code: str, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def bad_request(message: str) -> RequestRefused:
    """400."""
    return RequestRefused(400, "bad_request", message)


R = TypeVar("R")
Part = TypeVar("Part", str, bytes)
Rest = TypeVarTuple("Rest")

REMEMBERED_PARTS: Final = 64
"""Parts of heads, of each kind, that are remembered with what was made of them: most clients send the same few. Others
push them out, which does no harm."""

REMEMBERED_PART: Final = 128
"""Letters of the longest part that is remembered. What was made of all of one kind takes half a megabyte at most."""


def remembered(make: Callable[[Part, *Rest], R]) -> Callable[[Part, *Rest], R]:
    """Remember what was made of short parts of heads, whoever sent them. It depends on nothing but its arguments, and
    nobody changes it."""
    remember = lru_cache(REMEMBERED_PARTS)(make)

    @wraps(make)
    def made(part: Part, *rest: *Rest) -> R:
        return (remember if len(part) <= REMEMBERED_PART else make)(part, *rest)

    return made


def elements(value: str | None) -> tuple[str, ...]:
    """Return the comma-separated elements of a header, lower-case (RFC 9110 section 5.6.1)."""
    return _elements_of(value) if value else ()


@remembered
def _elements_of(value: str) -> tuple[str, ...]:
    return tuple([element.strip().lower() for element in value.split(",")])


class Request:
    """One HTTP request. `headers` has lower-case names; `query` keeps the first value of a repeated name.

    `path` and `query` are percent-decoded, with U+FFFD for bytes that are not UTF-8; `target` is the text as sent.
    `content_length` is None for a chunked body, whose length is not known beforehand. `carrier` is the connection that
    brought the request; `disconnected` becomes true when the client goes away inside `watch_disconnect`.
    The application may set `proof` to anything, once it knows who sends the request. While `proof` is None, the bytes
    that are kept for the request count in the budget of strangers (see `djactors.net.UnprovenBytes`). `trace` and
    `route` are the application's as well: what it calls the request in its log, and what it has found for the path.
    """

    __slots__ = (
        "_carrier",
        "body",
        "content_length",
        "disconnected",
        "forwarded_host",
        "headers",
        "keep_alive",
        "method",
        "path",
        "peer",
        "proof",
        "query",
        "route",
        "target",
        "trace",
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
        self.trace: object = None
        self.route: Any = None
        # The host that the client asked a trusted proxy for, if the proxy says so.
        self.forwarded_host: str | None = None
        self._carrier = carrier

    def __repr__(self) -> str:
        # The query and the headers are left out, because both may carry secrets.
        return f"<Request {self.method} {self.path!r} from {self.peer}>"

    @property
    def host(self) -> str | None:
        """The host and port that the client asked for, as a trusted proxy or else the client says."""
        return self.forwarded_host or self.headers.get("host")

    def let_go(self) -> None:
        """Let go of the head, which may have kilobytes, but for what the compression of the answer looks at.

        For whoever is about to wait for long. Others may share the headers, so they are not emptied.
        """
        accepted = self.headers.get("accept-encoding")
        self.headers = _NO_HEADERS if accepted is None else {"accept-encoding": accepted}
        self.query, self.target = {}, ""

    def tokens(self, name: str) -> tuple[str, ...]:
        """Return the comma-separated elements of a header, lower-case (RFC 9110 section 5.6.1)."""
        return elements(self.headers.get(name))

    @asynccontextmanager
    async def watch_disconnect(self) -> AsyncIterator[trio.CancelScope]:
        """Cancel the block when the client goes away, and set `disconnected`. Yields the block's cancel scope.

        This is for handlers that park, such as a long poll. Bytes of a next request that arrive meanwhile are kept, up
        to `Limits.max_pipelined`. A request without a `carrier` is never disconnected.
        """
        if self._carrier is None:
            with trio.CancelScope() as scope:
                yield scope
            return
        async with self._carrier.watch(self) as scope:
            yield scope


class Carrier(Protocol):
    """The connection that brought a request."""

    def watch(self, request: Request) -> AbstractAsyncContextManager[trio.CancelScope]:
        """Carry out `Request.watch_disconnect`: cancel the block, and mark the request, when the client goes away."""


class HttpDates:
    """The `Date` of answers (RFC 9110 section 6.6.1), written once a second. `now` is the wall clock, an aware time."""

    __slots__ = ("_from", "_now", "_text", "_until")

    def __init__(self, now: Callable[[], datetime] = MACHINE_CLOCK) -> None:
        self._now = now
        # The second for which the text is written; at first there is none.
        self._from = self._until = datetime.min.replace(tzinfo=UTC)
        self._text = ""

    def __call__(self) -> str:
        """Return the date and time of now."""
        # Compared as it is: to turn each time into a number takes three times as long.
        moment = self._now()
        if not self._from <= moment < self._until:
            self._from = moment.replace(microsecond=0)
            self._until = self._from + timedelta(seconds=1)
            self._text = format_datetime(self._from.astimezone(UTC), usegmt=True)
        return self._text


class Response:
    """One HTTP response. `close` ends the connection after it. `headers` are extra (name, value) pairs.

    `compressible` may be set unless the body holds a secret beside a text that somebody else has written. Clients that
    accept gzip then get the body compressed (see `_http_compression.py`).

    `own_headers` may be set to headers that differ with each response. `headers` are better the same for many, because
    their encoded form is kept for a while.

    `on_lost` may be set to a function. It is called if the client is gone before the whole response was handed to the
    kernel. Bytes that were handed over may be lost, too, and nobody notices that.
    """

    __slots__ = ("body", "close", "compressible", "content_type", "headers", "on_lost", "own_headers", "status")

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
        self.compressible = False
        self.own_headers: tuple[tuple[str, str], ...] = ()
        self.on_lost: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.body)} bytes>"

    @property
    def carries_body(self) -> bool:
        """Whether its status has a body at all."""
        return self.status not in _BODILESS

    def encode(self, *, head_only: bool = False, connection: str = "", date: str = "") -> bytes:
        """Return the whole response as it goes onto the wire.

        `head_only` leaves the body out (HEAD) but states its length. `connection` and `date` are the values of the
        headers of these names; empty means no such header. A header that contains a line break or NUL raises
        `ValueError`, because with a line break its author could write further headers.
        """
        fields = self.headers
        if date:
            fields += (("date", date),)
        if connection:
            fields += (("connection", connection),)
        status_line = _STATUS_LINES[self.status]
        for name, value in self.own_headers:
            if not (value.isascii() and value.isprintable()):
                raise ValueError("a response header of its own contains something else than printable ASCII")
            status_line += f"{name}: {value}\r\n".encode("ascii")
        if not self.carries_body:
            return status_line + _encoded_fields(fields)
        if self.body:
            fields = (("content-type", self.content_type), *fields)
        body = b"" if head_only else self.body
        return b"%bcontent-length: %d\r\n%b%b" % (status_line, len(self.body), _encoded_fields(fields), body)


@lru_cache(maxsize=64)  # within a second answers differ in little but their bodies, and this takes longer than the rest
def _encoded_fields(fields: tuple[tuple[str, str], ...]) -> bytes:
    """Header fields as they go onto the wire, with the empty line behind them."""
    text = "".join([f"{name}: {value}\r\n" for name, value in fields]) + "\r\n"
    lines = len(fields) + 1
    # A line break inside a field would make more lines than there are fields.
    if text.count("\r") != lines or text.count("\n") != lines or "\0" in text:
        raise ValueError("a response header contains a line break or NUL")
    return text.encode("latin-1")


class Application(Protocol):
    """The program behind the HTTP loop. Its methods run in the connection's own task.

    A cancelled method must end soon, because the client has gone or the listener is closing. An exception is reported,
    is answered with a 500 if nothing has been answered yet, and ends this connection alone.
    """

    async def handle(self, request: Request) -> Response:
        """Answer a request whose body has been read. There is no time limit. An exception becomes a 500."""

    def body_limit(self, request: Request) -> "int | Response":
        """Return how many bytes of body this request may bring, judged by its head alone.

        Or return the answer, if the head is enough to refuse it: the body is not read then, and the connection is
        closed unless the body has arrived.
        """

    async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
        """Take over a connection that asks for a WebSocket in a well-formed way.

        Either write nothing and return a `Response` that refuses the WebSocket, or carry the connection (see
        `djactors.net.open_websocket`) until it has ended and return None. `leftover` holds the bytes that the client
        sent after the head. This may raise `WebSocketClosed` and `SlowConsumer`; other errors are reported.
        """

    def refusal(self, status: int, code: str, message: str, request: Request | None = None) -> Response:
        """Return the response for an error of HTTP itself (400, 408, 413, 414, 431, 500, 503 …), in the application's
        own form.

        `request` is the refused request without its body, or None if its head could not be read. A page of another
        origin can read the refusal only if the response carries the CORS headers.
        """
