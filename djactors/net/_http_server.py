"""The HTTP/1.1 server loop of one connection: read a request, ask the application, write the answer, again.

Each connection has one task, and no state outlives the connection. Requests are served strictly in order. While a
handler runs, the socket is left unread, so TCP slows down a client that pipelines, and nothing is buffered without
bound. A request that is refused for its form is answered and the connection closed, because the bytes behind it cannot
be trusted.

Nothing here catches an exception of a handler: the connection's supervisor does, and answers with `fail` (see
`_listener.py`). Cancelling `run` abandons the request in hand; bytes that were written still go out whole. Sources:
RFC 9110 and 9112.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from djactors.kernel import Alarms, Reminder
from djactors.net._background import background
from djactors.net._http_body import ChunkedBody, body_too_large
from djactors.net._http_compression import Compression
from djactors.net._http_head import HEAD_END, Head, HeadMemory, check_unfinished_head, head_too_large, parse_head
from djactors.net._http_messages import Application, HttpDates, Limits, Request, RequestRefused, Response
from djactors.net._proxies import TrustedProxies, forwarded_host
from djactors.net._slots import Slots
from djactors.net._stream import ByteStream, SlowConsumer
from djactors.net._turnstile import Entrance, Turnstile
from djactors.net._unproven import OverBudget
from djactors.net._websocket import WebSocketClosed, asks_for_websocket, check_handshake

# What says that a body is not encoded (RFC 9110 section 8.4.1). Others are not decoded, because no client here sends
# much, while a kilobyte can unpack to a megabyte: section 15.5.16 has the server say so.
_NO_CODINGS: Final = frozenset({"", "identity"})
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# Bytes. An answer up to this size is written at once, and nearly always the kernel takes all of it without a wait.
_WRITE_AT_ONCE: Final = 64 * 1024
# In such pieces, so that no more of it is kept for a client that does not read.
_PIECE: Final = 16 * 1024
# What is read at a time of a chunked body, and of what a stranger sends. Hundreds of strangers may send at the same
# moment, and all that each of them sent is copied in one turn of the loop.
_SMALL_PIECE: Final = 16 * 1024


_TURNED_AWAY: Final = frozenset({401, 403, 429})
"""Answers to who may not do what they ask for."""

TURNED_AWAY_PAUSE: Final = 0.01
"""The time in seconds after such an answer until the next request of the same connection is looked at. It doubles with
each such answer in a row, up to `LONGEST_PAUSE`. A client that was turned away is wrong once or twice, and does not
notice it. A hundred connections that go on asking would otherwise have a part in each turn of the loop."""

LONGEST_PAUSE: Final = 0.64
"""The longest such pause in seconds."""

RETRY_AFTER_SECONDS: Final = 5
"""The time after which a client that found no slot may try again: connections end all the time."""


class _PeerLeftError(Exception):
    """The client is gone. Trio's own errors would not do, because a handler may raise them for other reasons."""


def _ignore(refused: RequestRefused, peer: str) -> None:
    """Nobody wants to know."""


def overloaded(message: str = "the server has no room for another connection") -> RequestRefused:
    """503, for a server that has no slot left, or no room for what a client sends."""
    return RequestRefused(503, "overloaded", message, (("retry-after", str(RETRY_AFTER_SECONDS)),))


def too_many_connections() -> RequestRefused:
    """429, for an address that has all the connections that it may have."""
    message = "too many connections from this address: close some, or try again later"
    return RequestRefused(429, "too_many_requests", message, (("retry-after", str(RETRY_AFTER_SECONDS)),))


class HttpConnection:
    """Serves the requests that arrive on `stream`, which the caller closes afterwards.

    `heads` is the memory that all connections share, `dates` their clock, and `compression` compresses for all of them.
    `on_refused` gets each request that is refused for its form, and the client's address. `vital_paths` is None for an
    ordinary connection. A connection over the caps gets the paths that must be answered even then (health, metrics); it
    serves one request, refuses any other path with `refusal`, and closes. `slots` are those that it has one of, if any.
    `newcomers` is what the first request waits for. `pipelining` is what requests wait for that come before the answer
    to the one before. `proxies` is None unless the connection comes from one of them.
    """

    __slots__ = (
        "_answerable",
        "_application",
        "_buffer",
        "_compression",
        "_dates",
        "_draining",
        "_heads",
        "_idle_end",
        "_is_idle",
        "_limits",
        "_newcomers",
        "_on_refused",
        "_pipelining",
        "_proxies",
        "_proxy",
        "_refusal",
        "_request",
        "_served_one",
        "_slots",
        "_stream",
        "_turned_away",
        "_unproven",
        "_upgrading",
        "_vital_paths",
        "peer",
    )

    def __init__(
        self,
        stream: ByteStream,
        application: Application,
        limits: Limits,
        *,
        peer: str,
        alarms: Alarms,
        heads: HeadMemory,
        dates: HttpDates | None = None,
        compression: Compression | None = None,
        vital_paths: frozenset[str] | None = None,
        on_refused: Callable[[RequestRefused, str], None] = _ignore,
        refusal: RequestRefused | None = None,
        slots: Slots | None = None,
        newcomers: Entrance | None = None,
        pipelining: Turnstile | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self._stream = stream
        self._application = application
        self._limits = limits
        self._heads = heads
        self._dates = dates or HttpDates()
        self._compression = compression or Compression()
        # Whose address the connection counts for: behind a trusted proxy, the client's of the latest request.
        self.peer = peer
        self._slots = slots
        self._newcomers = Entrance() if newcomers is None else newcomers
        self._pipelining = Turnstile() if pipelining is None else pipelining
        self._proxies = proxies
        self._proxy = peer
        # A proxy that is trusted need not prove anything.
        self._unproven = proxies is None
        self._idle_end = Reminder(alarms, self._close_if_idle)
        self._vital_paths = vital_paths
        self._on_refused = on_refused
        self._refusal = refusal
        # Bytes that were received and not yet read as part of a request.
        self._buffer = b""
        # True while the connection waits for a request to begin.
        self._is_idle = False
        self._served_one = False
        self._draining = False
        # The pause that is due before the next request; 0 if the last one was not turned away.
        self._turned_away = 0.0
        # True while there is a request to answer, and nothing of the answer has been written.
        self._answerable = False
        # The request in hand, once its head is read and until it is answered.
        self._request: Request | None = None
        # The request for a WebSocket, until `carry` takes it.
        self._upgrading: Request | None = None

    async def run(self) -> None:
        """Serve until either side ends the connection, or until there is a WebSocket for `carry`. Raises whatever the
        application raises.
        """
        self._wait_for_client()
        try:
            while await self._serve_one():
                self._served_one = True
                if self._unproven:
                    self._wait_for_client()
        except RequestRefused as refused:
            self._on_refused(refused, self.peer)
            # What has come of the request is let go before the answer, for which a client may take its time.
            self._buffer = b""
            refused.__context__ = refused.__traceback__ = None
            await self._refuse(refused)
        except _PeerLeftError:
            pass  # nobody is left to answer
        finally:
            self._idle_end.close()
            self._stream.hold(0)

    async def carry(self) -> None:
        """Behind `run`: carry the WebSocket that the last request asked for, to its end. Nothing if none was asked for.

        It is no part of `run`, because a WebSocket lives for long, and the coroutines of the requests before it would
        stay with it: half a KiB a user.
        """
        request, self._upgrading = self._upgrading, None
        if request is None:
            return
        leftover, self._buffer = self._buffer, b""
        # From now on a 500 could go out in the middle of a frame.
        self._answerable = False
        # The application drops the parts of the request that it does not need for the rest of the conversation.
        self._request = None
        try:
            response = await self._application.upgrade(request, self._stream, leftover)
            if response is not None:
                await self._respond(request, response, keep_alive=False)
        except (WebSocketClosed, SlowConsumer):
            pass  # every WebSocket ends with one of these
        except _PeerLeftError:
            pass  # nobody is left to refuse it to
        finally:
            self._stream.hold(0)

    def introduce(self, peer: str, received: bytes, proxies: TrustedProxies | None) -> None:
        """Before `run`: the proxy that opened the connection speaks for `peer`, whose first bytes are `received`.

        `proxies` is None unless `peer` is a trusted proxy as well.
        """
        if self._slots is not None:
            self._slots.readdress(self, peer)
        self.peer = self._proxy = peer
        self._proxies = proxies
        self._unproven = proxies is None
        self._buffer = received

    def take_received(self) -> bytes:
        """Before `run`: take what came behind the proxy's header, which is for the handshake of TLS to read."""
        received, self._buffer = self._buffer, b""
        return received

    def restrict(self, vital_paths: frozenset[str], refusal: RequestRefused, limits: Limits) -> None:
        """Before `run`: the connection turned out to be over a cap and has no slot any more."""
        self._vital_paths, self._refusal, self._limits, self._slots = vital_paths, refusal, limits, None

    def _prove(self) -> None:
        """The client has proved who they are: the connection does not give way to newcomers any more."""
        self._newcomers.crowd.make_way()
        if self._slots is not None and (self._unproven or self._proxies is not None):
            self._unproven = False
            self._slots.proved(self, trio.current_time())

    def give_way(self) -> None:
        """Close at once: a newcomer takes the slot."""
        if self._is_idle:
            self._stream.hang_up()
        else:
            self._stream.abort()

    def await_handshake(self) -> None:
        """Before `run`: the client is waited for until the handshake of TLS is done, and gives way meanwhile."""
        self._wait_for_client()

    def _wait_for_client(self) -> None:
        if self._unproven and self._slots is not None:
            self._slots.waiting.add(self)

    def _wait_for_application(self) -> None:
        if self._unproven and self._slots is not None:
            self._slots.waiting.discard(self)

    def drain(self) -> None:
        """Finish the request in hand, if any, and then close. An idle connection closes at once."""
        self._draining = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_idle:
            self._stream.hang_up()

    async def fail(self) -> None:
        """Answer the request in hand with 500, where an answer is still possible."""
        if self._answerable:
            await self._refuse(RequestRefused(500, "internal_error", "the server failed to answer this request"))

    def let_go(self) -> None:
        """The connection has ended: drop what refers back to it, which only the garbage collector would free."""
        self._idle_end.close()
        self._request = self._upgrading = None

    async def _serve_one(self) -> bool:
        """Serve one request; return whether another may follow."""
        raw = await self._read_head()
        if raw is None:
            return False
        self._answerable = True
        head = self._heads.find(raw, self._limits)
        if head is None:
            head = parse_head(raw, self._limits)
            self._heads.keep(raw, head)
        request = head.request(self.peer, self) if self._proxies is None else self._forwarded(head, self._proxies)
        self._request = request
        # A poll or a WebSocket may stay for long, and the request has all that is needed.
        del raw, head
        if self._vital_paths is not None and request.path not in self._vital_paths:
            raise self._refusal or overloaded()
        if asks_for_websocket(request):
            self._wait_for_application()
            check_handshake(request)
            self._upgrading = request
            return False
        if request.content_length != 0:
            limit = self._application.body_limit(request)
            if isinstance(limit, Response):
                return await self._refuse_body(request, limit)
            if request.proof is not None:
                self._stream.proven = True
                self._newcomers.crowd.make_way()
            if "content-encoding" in request.headers:
                _check_coding(request)
            length = request.content_length
            if length is not None and length <= limit and len(self._buffer) >= length:
                request.body, self._buffer = self._buffer[:length], self._buffer[length:]
            else:
                request.body = await self._read_body(request, limit)
        if self._unproven:
            self._wait_for_application()
        if self._buffer:
            # Requests behind this one are kept while it is answered, however long that takes.
            self._hold(len(self._buffer))
        response = await self._application.handle(request)
        if request.proof is not None:
            self._prove()
        if request.disconnected:
            return False
        keep_alive = self._may_go_on(request, response)
        await self._respond(request, response, keep_alive=keep_alive)
        if response.status in _TURNED_AWAY:
            await self._pause(keep_alive)
        elif self._turned_away:
            self._turned_away = 0.0
        return keep_alive

    def _may_go_on(self, request: Request, response: Response) -> bool:
        """Whether another request may follow on the connection."""
        return request.keep_alive and not (response.close or self._draining or self._vital_paths is not None)

    async def _pause(self, keep_alive: bool) -> None:
        """Take up nothing for a while of a client that was turned away; whoever is behind a proxy need not wait."""
        if keep_alive and self._proxies is None:
            self._turned_away = min(2 * self._turned_away or TURNED_AWAY_PAUSE, LONGEST_PAUSE)
            await trio.sleep(self._turned_away)

    async def _refuse_body(self, request: Request, response: Response) -> bool:
        """Answer without having read the body. What is here of it is skipped; nobody waits for the rest."""
        length = request.content_length
        keep_alive = length is not None and len(self._buffer) >= length and self._may_go_on(request, response)
        self._buffer = self._buffer[length:] if keep_alive else b""
        await self._respond(request, response, keep_alive=keep_alive)
        if response.status in _TURNED_AWAY:
            await self._pause(keep_alive)
        return keep_alive

    def _forwarded(self, head: Head, proxies: TrustedProxies) -> Request:
        """The request of the client behind a trusted proxy, for whom the connection counts from now on."""
        client = proxies.client(self._proxy, head.headers.get("x-forwarded-for"))
        if client != self.peer:
            if self._slots is not None:
                if self._slots.is_full_for(client) and not proxies.trusts(client):
                    raise too_many_connections()
                self._slots.readdress(self, client)
            self.peer = client
        request = head.request(client, self)
        request.forwarded_host = forwarded_host(head.headers.get("x-forwarded-host"))
        return request

    # Reading

    async def _read_head(self) -> bytes | None:
        """Return the next whole head, or None if the connection ends between requests."""
        if self._buffer:
            # A client that pipelines must let other tasks run between its requests.
            await self._pipelining.turn()
        # An empty line before a request is tolerated (RFC 9112 section 2.2).
        self._buffer = self._buffer.lstrip(b"\r\n")
        if not self._buffer and not await self._await_first_bytes():
            return None
        if not self._served_one:
            await self._newcomers.turn(self._buffer)
        end = self._buffer.find(HEAD_END)
        if end < 0:
            end = await self._await_end_of_head()
        end += len(HEAD_END)
        if end > self._limits.max_head:
            raise head_too_large(self._limits)
        head, self._buffer = self._buffer[:end], self._buffer[end:]
        return head

    async def _await_first_bytes(self) -> bool:
        """Wait for a request to begin; false if the client leaves, idles too long, or the server drains."""
        if self._draining:
            return False
        patience = self._limits.idle_timeout if self._served_one else self._limits.header_timeout
        if self._unproven:
            patience = min(patience, self._limits.unproven_timeout)
        self._is_idle = True
        self._idle_end.start(patience)
        try:
            while not self._buffer:
                received = await self._receive()
                if not received:
                    return False
                self._buffer = received.lstrip(b"\r\n")
        finally:
            # `_idle_end` need not be stopped: it does nothing if it comes in the middle of a request.
            self._is_idle = False
        return True

    async def _await_end_of_head(self) -> int:
        with trio.move_on_after(self._limits.header_timeout):
            while True:
                check_unfinished_head(self._buffer, self._limits)
                self._hold(len(self._buffer))
                searched = max(0, len(self._buffer) - len(HEAD_END))
                chunk = await self._receive()
                if not chunk:
                    raise _PeerLeftError
                self._buffer += chunk
                end = self._buffer.find(HEAD_END, searched)
                if end >= 0:
                    self._hold(0)
                    return end
        raise RequestRefused(408, "request_timeout", "the request's head took too long to arrive")

    async def _read_body(self, request: Request, limit: int) -> bytes:
        length = request.content_length
        if length is not None and length > limit:
            raise body_too_large(limit)
        expectation = request.headers.get("expect")
        if expectation is not None and request.version == "1.1":
            if expectation.lower() != "100-continue":
                raise RequestRefused(417, "expectation_failed", "the only expectation known here is 100-continue")
            if not self._buffer:
                self._write(_CONTINUE)
        with trio.move_on_after(self._limits.body_timeout):
            body = await (self._read_chunked(limit) if length is None else self._read_sized(length))
            self._hold(0)
            return body
        raise RequestRefused(408, "request_timeout", "the request's body took too long to arrive")

    async def _read_sized(self, length: int) -> bytes:
        body = bytearray(self._buffer)
        while len(body) < length:
            self._hold(len(body))
            body += await self._receive_more()
        self._buffer = bytes(body[length:])
        del body[length:]
        return bytes(body)

    async def _read_chunked(self, limit: int) -> bytes:
        chunked = ChunkedBody(limit)
        data = self._buffer
        while True:
            chunked.feed(data)
            if chunked.complete:
                break
            if chunked.goes_on:
                await trio.lowlevel.checkpoint()
                data = b""
            else:
                self._hold(len(chunked.body))
                data = await self._receive_more(_SMALL_PIECE)
        self._buffer = chunked.rest
        return bytes(chunked.body)

    def _hold(self, size: int) -> None:
        """Keep so many bytes of a request while more are waited for."""
        try:
            self._stream.hold(size)
        except OverBudget:
            raise _no_room() from None

    async def _receive_more(self, max_bytes: int | None = None) -> bytes:
        chunk = await self._receive(max_bytes)
        if not chunk:
            raise _PeerLeftError
        return chunk

    async def _receive(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None and self._unproven and not self._stream.proven:
            max_bytes = _SMALL_PIECE
        try:
            return await self._stream.receive_some(max_bytes)
        except OverBudget:
            raise _no_room() from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _PeerLeftError from error

    @asynccontextmanager
    async def watch(self, request: Request) -> AsyncIterator[trio.CancelScope]:
        """See `Carrier.watch`: read on while the handler is parked."""
        with trio.CancelScope() as handler:

            async def read_on() -> None:
                while len(self._buffer) < self._limits.max_pipelined:
                    try:
                        chunk = await self._receive()
                        if chunk:
                            self._hold(len(self._buffer) + len(chunk))
                    except (_PeerLeftError, RequestRefused):
                        chunk = b""
                    if not chunk:
                        request.disconnected = True
                        handler.cancel()
                        return
                    self._buffer += chunk

            async with background(self._stream.nursery, read_on):
                yield handler

    # Writing

    async def _respond(self, request: Request, response: Response, *, keep_alive: bool) -> None:
        if response.compressible:
            try:
                await self._compression.apply(request, response)
            except trio.Cancelled:
                self._lose(response)
                raise
        # HTTP/1.1 keeps a connection unless told otherwise, HTTP/1.0 drops it unless told otherwise.
        says_so = not keep_alive or request.version == "1.0"
        connection = ("keep-alive" if keep_alive else "close") if says_so else ""
        head_only = request.method == "HEAD"
        # A large body is sent as it stands: a copy for each who does not read it would be without bound.
        rest = response.body if len(response.body) > _WRITE_AT_ONCE and response.carries_body else b""
        encoded = response.encode(head_only=head_only or bool(rest), connection=connection, date=self._dates())
        self._answerable = False
        self._request = None
        # A client may take its time over the answer.
        request.let_go()
        self._stream.proven = request.proof is not None
        try:
            if rest and not head_only:
                await self._send_large(encoded, rest)
                encoded = b""
            await (self._send(encoded) if keep_alive else self._send_last(encoded))
        except _PeerLeftError:
            self._lose(response)
            raise
        # Whoever sends the next request has to prove it anew. What is here of it counts once it is waited for.
        if self._stream.held:
            self._stream.hold(0)
        self._stream.proven = False

    @staticmethod
    def _lose(response: Response) -> None:
        if response.on_lost is not None:
            response.on_lost()

    async def _refuse(self, refused: RequestRefused) -> None:
        self._answerable = False
        response = self._application.refusal(refused.status, refused.code, refused.message, self._request)
        response.headers += refused.headers
        with suppress(_PeerLeftError):  # the client may not have waited for the refusal
            await self._send_last(response.encode(connection="close", date=self._dates()))

    async def _send_last(self, encoded: bytes) -> None:
        await self._send(encoded)
        # If the client's bytes were still unread, closing would reset the connection before the client has the answer.
        await self._stream.linger()

    async def _send_large(self, head: bytes, body: bytes) -> None:
        try:
            # It is the client who is waited for, and who gives way to a newcomer if slots run short.
            self._wait_for_client()
            await self._stream.send_all(head)
            for start in range(0, len(body), _PIECE):
                await self._stream.send_all(memoryview(body)[start : start + _PIECE])
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _PeerLeftError from error

    async def _send(self, encoded: bytes) -> None:
        try:
            self._stream.write(encoded)
            # Nearly always the kernel has taken everything, so there is nothing to wait for.
            if self._stream.buffered:
                self._wait_for_client()
                await self._stream.drain()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _PeerLeftError from error

    def _write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _PeerLeftError from error


def _no_room() -> RequestRefused:
    return overloaded("the server holds too much for clients that have not proved who they are")


def _check_coding(request: Request) -> None:
    if request.headers["content-encoding"].strip().lower() not in _NO_CODINGS:
        raise RequestRefused(
            415,
            "unsupported_media_type",
            "a body is taken only as it is, without a Content-Encoding: send it uncompressed",
            (("accept-encoding", "identity"),),
        )
