"""Puts servers behind paths: an `Application` of `djactors.net` for one or several servers and another application."""

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from djactors.engine._polling import NOT_KEPT
from djactors.net import Application, ByteStream, Request, Response

MAX_OTHER_BODY = 0
"""Bytes that may be posted to a path without a server. Nobody reads them."""


class Mounted(Protocol):
    """A server that answers the requests to a path: an `EngineServer` or a `SocketServer`."""

    def body_limit(self, request: Request) -> int | Response:
        """Return how many bytes the body of a request may have, or its refusal."""

    async def handle(self, request: Request) -> Response:
        """Answer a request whose body has been read."""

    def refusal(self, status: int, message: str, request: Request) -> Response:
        """Word an error of HTTP itself."""

    def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Coroutine[Any, Any, Response | None]:
        """Carry a WebSocket until it ends, or refuse it."""


class EngineApplication:
    """Sends each request to the server of its path, and all others to `beside`. Without `beside`, these get a 404.

    Args:
        servers: the server of each path. The whole path must be equal; stock clients ask for `/socket.io/`.
        beside: the application for all other paths, if there is one. It then also words HTTP's own errors.
    """

    def __init__(self, servers: Mapping[str, Mounted], beside: Application | None = None) -> None:
        self._servers = dict(servers)
        self._beside = beside

    def body_limit(self, request: Request) -> int | Response:
        """Return how many bytes of body a request may bring, or its refusal."""
        server = self._servers.get(request.path)
        if server is not None:
            return server.body_limit(request)
        return MAX_OTHER_BODY if self._beside is None else self._beside.body_limit(request)

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        server = self._servers.get(request.path)
        if server is not None:
            return await server.handle(request)
        return _not_found() if self._beside is None else await self._beside.handle(request)

    def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Coroutine[Any, Any, Response | None]:
        """Carry a WebSocket until it ends, or refuse it."""
        # The coroutine is passed on and not awaited, because otherwise each client would keep one more frame in memory.
        carrier = self._servers.get(request.path) or self._beside
        return _no_websocket() if carrier is None else carrier.upgrade(request, stream, leftover)

    def refusal(self, status: int, code: str, message: str, request: Request | None = None) -> Response:
        """Word an error of HTTP itself."""
        server = None if request is None else self._servers.get(request.path)
        if server is not None and request is not None:
            return server.refusal(status, message, request)
        if self._beside is not None:
            return self._beside.refusal(status, code, message, request)
        return Response(status, message.encode(), "text/plain; charset=utf-8", NOT_KEPT)


def _not_found() -> Response:
    return Response(404, b"nothing is here", "text/plain; charset=utf-8", NOT_KEPT)


async def _no_websocket() -> Response:
    return _not_found()
