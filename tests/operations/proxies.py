"""A reverse proxy on loopback that is wrong in the one way that a test asks for, and certificates for one with TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Passed:
    """A request on its way. The names of its headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_upgrade(self) -> bool:
        return self.headers.get("upgrade", "").lower() == "websocket"

    def written(self) -> bytes:
        self.headers["content-length"] = str(len(self.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return f"{self.method} {self.target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + self.body


def page(status: int, text: str = "<html>nginx</html>", **headers: str) -> bytes:
    """An answer of the proxy's own."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 {status} Own\r\nContent-Type: text/html\r\nContent-Length: {len(text)}\r\n{more}\r\n{text}"
    ).encode()


async def _send(request: Passed, answer: bytes, client: Stream) -> None:
    await client.send_all(answer)


@dataclass
class Wrong:
    """What a proxy does wrong.

    Attributes:
        before: changes a request; what it returns is answered in the server's place.
        after: sends an answer on.
        frames: changes what a client sends over its WebSocket.
        back: changes what the server sends over it, by the number of the WebSocket.
        idle: seconds after which quiet connections are cut.
    """

    before: Callable[[Passed], bytes | None] = lambda _: None
    after: Callable[[Passed, bytes, Stream], Awaitable[None]] = _send
    frames: Callable[[bytes], bytes] = lambda data: data
    back: Callable[[int, bytes], bytes] = lambda _, data: data
    idle: float = float("inf")
    seen: list[Passed] = field(default_factory=list)


async def _read(client: Stream) -> Passed | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = await client.receive_some()
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    while length is not None and len(body) < int(length[1]):
        body += await client.receive_some()
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines)
    return Passed(method, target, {name.lower(): value.strip() for name, value in pairs}, body)


@asynccontextmanager
async def proxy(server: str, wrong: Wrong, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Pass requests on to the server; yields the proxy's address."""
    place = urlsplit(server)

    async def pump(source: Any, sink: Any, change: Callable[[bytes], bytes], touch: Callable[[], None]) -> None:
        async for data in source:
            touch()
            if changed := change(bytes(data)):
                await sink.send_all(changed)

    async def tunnel(client: Stream, upstream: trio.SocketStream) -> None:
        async with trio.open_nursery() as both:

            def touch() -> None:
                both.cancel_scope.deadline = trio.current_time() + wrong.idle

            async def one_way(source: Any, sink: Any, change: Callable[[bytes], bytes]) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await pump(source, sink, change, touch)
                both.cancel_scope.cancel()

            touch()
            both.start_soon(one_way, client, upstream, wrong.frames)
            number = len(wrong.seen)
            both.start_soon(one_way, upstream, client, lambda data: wrong.back(number, data))

    async def carry(tcp: trio.SocketStream) -> None:
        client: Stream = tcp if tls is None else trio.SSLStream(tcp, tls, server_side=True, https_compatible=True)
        try:
            request = await _read(client)
            if request is None:
                return
            wrong.seen.append(request)
            own = wrong.before(request)
            if own is not None:
                await client.send_all(own)
                return
            async with await trio.open_tcp_stream(place.hostname or "", place.port or 80) as upstream:
                await upstream.send_all(request.written())
                if request.is_upgrade:
                    await tunnel(client, upstream)
                    return
                answer = b""
                with trio.move_on_after(wrong.idle) as waiting:
                    async for data in upstream:
                        answer += data
            await wrong.after(request, page(504) if waiting.cancelled_caught else answer, client)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass
        finally:
            await trio.aclose_forcefully(client)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(
            lambda task_status: trio.serve_tcp(carry, 0, host="127.0.0.1", task_status=task_status)
        )
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


# Certificates


def certificate(folder: Path, *, name: str = "127.0.0.1", days: float = 90) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS with a certificate for an address, and the file of the CA that signed it."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA of the tests")])

    def build(subject: x509.Name, public: Any, until: dt.datetime, *extensions: tuple[Any, bool]) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=365))
            .not_valid_after(until)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256())

    ca = build(
        ca_name,
        ca_key.public_key(),
        now + dt.timedelta(days=3650),
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False),
    )
    own = build(
        x509.Name([]),
        key.public_key(),
        now + dt.timedelta(days=days),
        (x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), True),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + own.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context, folder / "ca.pem"
