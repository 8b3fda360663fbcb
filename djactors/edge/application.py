"""What one port serves: `/socket.io/` is Engine.IO's, the page's files are the site's, everything else the routes'."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from djactors.config import Settings
from djactors.domain.errors import Code
from djactors.edge import refusals
from djactors.edge.errors import error_body
from djactors.edge.routes import Routes
from djactors.edge.site import SITE_METHODS, Site
from djactors.engine import EngineServer, OriginPolicy
from djactors.net import ByteStream, Request, Response
from djactors.telemetry import Telemetry

ENGINE_PATH = "/socket.io/"

MAX_SMALL_BODY = 64 * 1024
"""Bytes of a body outside the batch route: one event with the largest texts that the schema takes."""

PREFLIGHT = (
    ("access-control-allow-methods", "GET, POST, DELETE"),
    ("access-control-allow-headers", "authorization, content-type, idempotency-key"),
    ("access-control-max-age", "600"),
)


class Application:
    """Sends each request where it belongs. Implements the HTTP loop's `Application`."""

    def __init__(
        self,
        engine: EngineServer,
        site: Site,
        routes: Routes,
        origins: OriginPolicy,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._telemetry = telemetry
        self._engine = engine
        self._site = site
        self._routes = routes
        self._origins = origins
        self._settings = settings

    def body_limit(self, request: Request) -> int:
        """How much body a request may bring, by where it goes and, for much, by who sends it."""
        if request.path == ENGINE_PATH:
            return self._settings.max_payload
        return self._settings.max_body if self._routes.takes_batch(request) else MAX_SMALL_BODY

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        if request.path == ENGINE_PATH:
            return await self._engine.handle(request)
        cors = self._origins.headers(request)
        if request.method == "OPTIONS":
            if self._origins.allows(request):
                return Response(204, headers=(*cors, *PREFLIGHT))
            refusals.preflight_refused(self._telemetry, request, self._origins.told(request))
            return Response(204, headers=cors)
        if request.path in self._site.paths:
            # Other origins have no use for the page, so it carries no permission for them.
            if request.method not in SITE_METHODS:
                refusals.method_refused(self._telemetry, request, SITE_METHODS)
            return self._site.answer(request)
        response = await self._routes.handle(request)
        response.headers = (*response.headers, *cors)
        return response

    def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Coroutine[Any, Any, Response | None]:
        """Carry a WebSocket, where there is one to be had."""
        # Passed on rather than awaited: a frame that waits here would be there for every connected user.
        carrier = self._engine.upgrade if request.path == ENGINE_PATH else self._no_websocket
        return carrier(request, stream, leftover)

    async def _no_websocket(self, request: Request, stream: ByteStream, leftover: bytes) -> Response:
        refusals.websocket_refused(self._telemetry, request, ENGINE_PATH)
        return self.refusal(404, "not_found", f"no WebSocket here: it is at {ENGINE_PATH}")

    def refusal(self, status: int, code: str, message: str) -> Response:
        """Word an error of HTTP itself in the contract's shape."""
        # One word for a fault of ours, whichever floor it is told from.
        return Response(status, error_body(Code.INTERNAL if status == 500 else code, message))
