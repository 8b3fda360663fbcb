"""Requests through the door: HTTP/1.1 with h11 on Trio's streams, one connection for each request.

Own code rather than a client library, because the probe has to say which Host, Origin and Upgrade it sends, and to
note when the first and the last byte of an answer come. h11 comes with trio-websocket and reads the answers.

Rules: no redirect is followed; every answer has a bound in bytes and in seconds; nothing is sent to whom the
certificate does not prove.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import h11
import msgspec
import trio

from djactors.operations.address import PORTS, NoAddressError, NoCertificateError, context_trusting, place_of

MAX_ANSWER: Final = 2**20
"""Bytes of an answer that are read. The largest right one is /metrics, with some tens of KB."""

MAX_HEAD: Final = 64 * 1024
"""Bytes of the head of an answer that are read."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class NotTriedError(Exception):
    """The probe could not even try; the message says why."""


class NoAnswerError(Exception):
    """No answer came, or something that is none; the message says what."""


class Answer(msgspec.Struct, frozen=True):
    """An answer. Times are by the door's clock: of the first and the last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    first_at: float
    last_at: float

    def told(self) -> str:
        """It in one line."""
        return f"{self.status} {self.body[:300].decode(errors='replace')}".strip()


class Door:
    """An address that clients are given.

    Args:
        url: where; a path in it is put before all others.
        patience: seconds in which an answer must come.
        ca: a file with the certificate of a CA to trust, beside those of the system.
        clock: what times are measured by.
        agent: what it calls itself.

    Raises:
        NotTriedError: the URL is none, or the file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float,
        ca: str | None = None,
        clock: Callable[[], float],
        agent: str = "djactors-probe",
    ) -> None:
        try:
            place = place_of(url)
        except NoAddressError as error:
            raise NotTriedError(f"--url: {error}") from None
        self.url = url.rstrip("/")
        self.scheme, self.host = place.scheme, place.hostname or ""
        self.port = place.port or PORTS[place.scheme]
        self.base = place.path.rstrip("/")
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.host_header = name if self.port == PORTS[self.scheme] else f"{name}:{self.port}"
        self.origin = f"{self.scheme}://{self.host_header}"
        self.patience, self.clock, self.agent = patience, clock, agent
        self._context: ssl.SSLContext | None = None
        if self.scheme == "https" or ca is not None:
            try:
                # Also for http, where none is asked for: whoever names a file means to use it.
                context = context_trusting(ca)
            except NoCertificateError as error:
                raise NotTriedError(str(error)) from None
            self._context = context if self.scheme == "https" else None

    async def connect_tcp(self) -> trio.SocketStream:
        """Open a TCP connection.

        Raises:
            NotTriedError: nothing is there.
        """
        try:
            with trio.fail_after(self.patience):
                return await trio.open_tcp_stream(self.host, self.port)
        except (OSError, trio.TooSlowError) as error:
            raise NotTriedError(f"{self.url} cannot be reached: {error or 'no answer'}") from None

    async def connect(self) -> Stream:
        """Open a connection, over TLS where the URL asks for it.

        Raises:
            NotTriedError: nothing is there.
            ssl.SSLError: TLS failed; of its kind SSLCertVerificationError, if the certificate proves nothing.
        """
        tcp = await self.connect_tcp()
        if self._context is None:
            return tcp
        stream = trio.SSLStream(tcp, self._context, server_hostname=self.host, https_compatible=True)
        try:
            with trio.fail_after(self.patience):
                await stream.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error, (trio.BrokenResourceError, trio.TooSlowError)):
                cause = error.__cause__
                raise (cause if isinstance(cause, ssl.SSLError) else ssl.SSLError(f"no TLS: {error}")) from None
            raise
        return stream

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        patience: float | None = None,
        sent: trio.Event | None = None,
    ) -> Answer:
        """Send a request and read its answer.

        Args:
            method: of HTTP.
            path: with its query, behind the URL's own path.
            headers: beside Host and those of HTTP.
            body: its bytes.
            patience: seconds for this one.
            sent: is set when all of it was sent.

        Raises:
            NoAnswerError: none came.
        """
        try:
            stream = await self.connect()
        except (NotTriedError, ssl.SSLError) as error:
            raise NoAnswerError(f"no connection: {error}") from None
        try:
            with trio.fail_after(self.patience if patience is None else patience):
                return await self._exchange(stream, method, path, list(headers), body, sent)
        except trio.TooSlowError:
            raise NoAnswerError("no answer in time") from None
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError) as error:
            raise NoAnswerError(f"no answer: {error or 'the connection was cut'}") from None
        finally:
            await trio.aclose_forcefully(stream)

    async def _exchange(
        self,
        stream: Stream,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        body: bytes,
        sent: trio.Event | None,
    ) -> Answer:
        peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        fields = [("Host", self.host_header), ("User-Agent", self.agent), ("Connection", "close"), *headers]
        if body or method == "POST":
            fields.append(("Content-Length", str(len(body))))
        head = peer.send(h11.Request(method=method, target=self.base + path, headers=fields))
        data = (head or b"") + (peer.send(h11.Data(body)) or b"") + (peer.send(h11.EndOfMessage()) or b"")
        with suppress(trio.BrokenResourceError):  # A refusal may come before the body has been read.
            await stream.send_all(data)
        if sent is not None:
            sent.set()
        response: h11.Response | None = None
        parts: list[bytes] = []
        first_at, size = 0.0, 0
        while True:
            event = peer.next_event()
            if event is h11.NEED_DATA:
                peer.receive_data(bytes(await stream.receive_some()))
                continue
            if isinstance(event, h11.Response):
                response, first_at = event, self.clock()
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > MAX_ANSWER:
                    raise NoAnswerError(f"an answer of more than {MAX_ANSWER} bytes")
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                break
        if response is None:
            raise NoAnswerError("no answer: the connection was cut")
        names = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in response.headers}
        return Answer(response.status_code, names, b"".join(parts), first_at, self.clock())
