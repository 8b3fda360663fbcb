"""Where a server is, and the way there."""

import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec
import trio

from djactors.client.socketio._stream import TcpStream

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Address(msgspec.Struct, frozen=True):
    """A server's origin; `base` is a path that stands before all others, empty without one."""

    host: str
    port: int
    tls: bool
    base: str = ""

    @property
    def host_header(self) -> str:
        """The value of `Host`: the port only where it is not the scheme's own."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"


OpenStream: TypeAlias = Callable[[Address], Awaitable[trio.abc.Stream]]
"""Opens a connection to a server, through TLS if the address says so: a TCP connection, or whatever a program brings,
such as a tunnel through a proxy or a pair of streams in memory. It raises `OSError` if nobody is there."""


def address_of(url: str) -> Address:
    """Read a URL.

    Raises:
        ValueError: it is no URL of a server; the message says how to write it.
    """
    told = f"url: {url[:60]!r} is no address of a server: write it like https://notify.example.com"
    try:
        place = urlsplit(url)
        port = place.port
        host = (place.hostname or "").encode("idna" if not (place.hostname or "").isascii() else "ascii").decode()
    except ValueError:
        raise ValueError(told) from None
    if (
        place.scheme not in _PORTS
        or not host
        or port == 0
        or place.query
        or place.fragment
        or place.username is not None
    ):
        raise ValueError(told)
    # What goes into the head of a request must not be able to end its line.
    if " " in host + place.path or not (host + place.path).isprintable() or not place.path.isascii():
        raise ValueError(told)
    tls = place.scheme in ("https", "wss")
    return Address(host, port or _PORTS[place.scheme], tls, place.path.rstrip("/"))


@cache
def _default_context() -> ssl.SSLContext:
    """One for all clients of the process: each would hold the certificates of all authorities."""
    return ssl.create_default_context()


def over_tcp(ssl_context: ssl.SSLContext | None = None) -> OpenStream:
    """The usual way: TCP, and TLS with these certificates, by default those that the system trusts."""

    async def open_stream(address: Address) -> trio.abc.Stream:
        tcp = TcpStream(await trio.open_tcp_stream(address.host, address.port))
        if not address.tls:
            return tcp
        stream = trio.SSLStream(
            tcp, ssl_context or _default_context(), server_hostname=address.host, https_compatible=True
        )
        try:
            await stream.do_handshake()
        except BaseException as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error, trio.BrokenResourceError):
                raise OSError(f"no TLS: {error.__cause__ or error}") from None
            raise
        return stream

    return open_stream
