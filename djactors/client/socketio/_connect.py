"""How a program gets a `Socket`, and how it ends."""

import random as randomness
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import trio

from djactors.client.socketio._address import OpenStream, address_of, over_tcp
from djactors.client.socketio._items import Event
from djactors.client.socketio._session import Route
from djactors.client.socketio._settings import SocketSettings
from djactors.client.socketio._socket import AuthSource, Socket
from djactors.protocol import check_namespace

PATH = "/socket.io/"
USER_AGENT = "djactors-socketio"

_OWN_QUERY = frozenset({"EIO", "transport", "sid"})


@asynccontextmanager
async def connect(
    url: str,
    *,
    auth: AuthSource = None,
    namespace: str = "/",
    path: str = PATH,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    settings: SocketSettings | None = None,
    ssl_context: ssl.SSLContext | None = None,
    open_stream: OpenStream | None = None,
    random: Callable[[], float] = randomness.random,
    heard: Callable[[Event], None] | None = None,
) -> AsyncIterator[Socket]:
    """Connect to a Socket.IO server, and stay connected until the block is left.

    The block begins at once; `Socket.wait_connected` waits for the server. On leaving, the client says good-bye, for at
    most `SocketSettings.close_timeout` seconds; if the block is cancelled, it hangs up at once.

    Args:
        url: the server's origin, such as `https://chat.example`. Behind a proxy that adds a path, the path too.
        auth: what CONNECT carries, or a function that is asked for each attempt, so that a token can be fresh. It gets
            the refusal of the attempt before, if there was one. It may raise `TryAgainError`; anything else that it
            raises ends the block with that exception.
        namespace: the one that is joined. A program that needs several connects once for each.
        path: where the server has Socket.IO.
        query: further fields of each request's query.
        headers: further headers of each request.
        settings: times and bounds.
        ssl_context: for `https`; by default what the system trusts.
        open_stream: another way to the server than TCP. `ssl_context` has no effect then.
        random: gives numbers from 0 to 1 for the waits.
        heard: is called with each event when it comes, before it waits in the queue. It must neither block nor raise.

    Raises:
        ValueError: an argument is wrong; the message names it.
    """
    address = address_of(url)
    try:
        check_namespace(namespace)
    except ValueError as error:
        raise ValueError(f"namespace: {error}") from None
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or "?" in path or " " in path:
        raise ValueError(f"path: {path[:60]!r} is no path: write it like {PATH}")
    fields = dict(query or {})
    if taken := _OWN_QUERY & fields.keys():
        raise ValueError(f"query: {min(taken)} is the protocol's own")
    lines = list((headers or {}).items())
    for name, value in lines:
        if not (name + value).isascii() or not (name + value).isprintable() or not name or ":" in name:
            raise ValueError(f"headers: {name[:60]!r} does not fit into a header")
    if not any(name.lower() == "user-agent" for name, _ in lines):
        # Some proxies refuse requests without one.
        lines.append(("User-Agent", USER_AGENT))
    chosen = settings or SocketSettings()
    route = Route(address, open_stream or over_tcp(ssl_context), path, fields, lines, chosen)
    async with trio.open_nursery() as nursery:
        socket = Socket(route, namespace, auth, chosen, random, heard, nursery)
        socket.start_soon(socket.run)
        try:
            yield socket
            await socket.close()
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, where no nursery puts it into a group
            socket.failures.insert(0, error)
        nursery.cancel_scope.cancel()
    if socket.failures:
        try:
            raise socket.failures[0]
        finally:
            # Otherwise the exception and its frames would keep each other alive.
            socket.failures.clear()
