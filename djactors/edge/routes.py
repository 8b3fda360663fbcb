"""What one port serves: `/socket.io/` is Engine.IO's, the page's files are the site's, everything else the routes'.

The routes are those of the contract; `table.py` has them all.

Rules: a handler raises what it refuses; the one place that words errors is `errors.py`. Unknown query parameters are
refused like unknown fields. An id of another user or tenant is answered like a missing id.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from typing import Any

from djactors.domain.errors import Code, Refused
from djactors.edge import refusals
from djactors.edge.api import IMPORT, PUBLISH, Api
from djactors.edge.auth import Unauthorized
from djactors.edge.errors import EXPECTED, NOT_KEPT, error_body, error_response, wrong_method
from djactors.edge.import_routes import IMPORTS, ROWS
from djactors.edge.publishing_routes import BATCH
from djactors.edge.route import MAX_SMALL_BODY, Route
from djactors.edge.site import SITE_METHODS, Site
from djactors.edge.table import ROUTES
from djactors.engine import EngineServer, OriginPolicy
from djactors.net import ByteStream, Request, Response
from djactors.telemetry import Telemetry, Trace
from djactors.telemetry.traces import REQUEST_HEADER, RESPONSE_HEADER

LARGE: Mapping[str, str] = {BATCH: PUBLISH, IMPORTS: IMPORT, ROWS: IMPORT}
"""The routes with a large body, and what only a service may do there."""

ID = "{id}"
"""An id in a path."""

_ID = r"(?P<id>[0-9]+)"
"""A number that is too long for an id still matches, so that it is answered like a missing id, not like a missing
route."""

ENGINE_PATH = "/socket.io/"

METHODS = "GET, POST, DELETE"
HEADERS = "authorization, content-type, idempotency-key"
"""What a page of an allowed origin is told that it may send, where it does not ask for more."""


class Routes:
    """The way through the table."""

    def __init__(self, api: Api) -> None:
        self._api = api
        rows: dict[str, dict[str, Route]] = {}
        for route in ROUTES:
            rows.setdefault(route.path, {})[route.method] = route
        # A path without an id is looked up in a dict. Only the other paths are matched, one pattern after the other.
        self._fixed: dict[str, Mapping[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], Mapping[str, Route]]] = []
        for path, methods in rows.items():
            if ID in path:
                self._patterns.append((re.compile(re.escape(path).replace(re.escape(ID), _ID)), methods))
            else:
                self._fixed[path] = methods

    def body_limit(self, request: Request) -> int | Response:
        """How many bytes of body a request may bring, or its refusal: nothing is read for who has no good token."""
        limit = self._body_limit(request)
        if isinstance(limit, Response) and request.method == "POST":
            trace = request.trace if isinstance(request.trace, Trace) else self._begin_trace(request)
            _end_trace(trace, limit)
        return limit

    def _body_limit(self, request: Request) -> int | Response:
        found = self._find(request)
        if isinstance(found, Response):
            return found
        request.route = found
        try:
            deed = LARGE.get(request.path)
            if deed is not None:
                self._api.service(request, deed)
                return self._api.settings.max_body
            self._api.proved(request)
        except (Refused, Unauthorized) as error:
            return self._refused(request, error)
        return MAX_SMALL_BODY

    async def handle(self, request: Request) -> Response:
        """Answer a request, whatever it asks for."""
        if request.method != "POST":
            return await self._answer(request)
        trace = request.trace = self._begin_trace(request)
        try:
            response = await self._answer(request)
        except BaseException:
            # What is answered then is worded above.
            trace.end(500)
            raise
        _end_trace(trace, response)
        return response

    def _begin_trace(self, request: Request) -> Trace:
        return self._api.telemetry.traces.begin(request.headers.get(REQUEST_HEADER))

    async def _answer(self, request: Request) -> Response:
        # A request with a body was looked up while its body was still to come.
        found = request.route or self._find(request)
        if isinstance(found, Response):
            return found
        route, ids = found
        try:
            # A token that proves nothing is judged once, and not by the handler again: a signature costs up to 0.2 ms,
            # and whoever floods sends no other tokens.
            if route.caller.needs_token:
                await self._api.judge(request)
            return await route.handler(self._api, request, ids)
        except EXPECTED as error:
            if isinstance(error, Unauthorized):
                # A token of somebody who was signed out proves nothing: its connection is a stranger's.
                request.proof = None
            return self._refused(request, error)

    def _find(self, request: Request) -> tuple[Route, dict[str, str]] | Response:
        """The route, with the ids in the path; or the answer, if there is none."""
        ids: dict[str, str] = {}
        methods = self._fixed.get(request.path)
        if methods is None:
            methods, ids = self._match(request.path)
        if methods is None:
            return self._refused(request, Refused(Code.NOT_FOUND, "no such route"))
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            refusals.method_refused(self._api.telemetry, request, methods)
            return wrong_method(methods)
        return route, ids

    def _match(self, path: str) -> tuple[Mapping[str, Route] | None, dict[str, str]]:
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return methods, match.groupdict()
        return None, {}

    def _refused(self, request: Request, error: Exception) -> Response:
        if request.method == "POST" and request.trace is None:
            request.trace = self._begin_trace(request)
        refusals.request_refused(self._api.telemetry, request, error)
        return error_response(error)


class Application:
    """Sends each request where it belongs. Implements the HTTP loop's `Application`."""

    def __init__(
        self, engine: EngineServer, site: Site, routes: Routes, origins: OriginPolicy, telemetry: Telemetry
    ) -> None:
        self._telemetry = telemetry
        self._engine = engine
        self._site = site
        self._routes = routes
        self._origins = origins

    def body_limit(self, request: Request) -> int | Response:
        """How much body a request may bring, by where it goes and who sends it; or its refusal."""
        if request.path == ENGINE_PATH:
            return self._engine.body_limit(request)
        if request.method == "OPTIONS":
            return 0
        if request.path in self._site.paths:
            return self._site.answer(request)
        limit = self._routes.body_limit(request)
        if isinstance(limit, Response):
            limit.headers = (*limit.headers, *NOT_KEPT, *self._origins.headers(request))
        return limit

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        if request.path == ENGINE_PATH:
            return await self._engine.handle(request)
        if request.method == "OPTIONS":
            if not self._origins.allows(request):
                refusals.preflight_refused(self._telemetry, request, self._origins.told(request))
            return Response(204, headers=self._origins.preflight(request, METHODS, HEADERS))
        if request.path in self._site.paths:
            # Other origins have no use for the page, so it carries no permission for them.
            if request.method not in SITE_METHODS:
                refusals.method_refused(self._telemetry, request, SITE_METHODS)
            return self._site.answer(request)
        response = await self._routes.handle(request)
        # What is the same for everybody says itself how long it may be kept.
        kept = bool(response.headers) and any(name == "cache-control" for name, _ in response.headers)
        response.headers = (*response.headers, *(() if kept else NOT_KEPT), *self._origins.headers(request))
        # No answer holds a token, and no foreign page can have one asked for: the token goes in a header, not a cookie.
        response.compressible = request.method == "GET"
        return response

    def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Coroutine[Any, Any, Response | None]:
        """Carry a WebSocket, where there is one to be had."""
        # Passed on rather than awaited: a frame that waits here would be there for every connected user.
        carrier = self._engine.upgrade if request.path == ENGINE_PATH else self._no_websocket
        return carrier(request, stream, leftover)

    async def _no_websocket(self, request: Request, stream: ByteStream, leftover: bytes) -> Response:
        refusals.websocket_refused(self._telemetry, request, ENGINE_PATH)
        return self.refusal(404, "not_found", f"no WebSocket here: it is at {ENGINE_PATH}", request)

    def refusal(self, status: int, code: str, message: str, request: Request | None = None) -> Response:
        """Word an error of HTTP itself in the contract's shape, or in Engine.IO's where it was asked."""
        if request is not None and request.path == ENGINE_PATH:
            return self._engine.refusal(status, message, request)
        cors = () if request is None else self._origins.headers(request)
        # One word for a fault of ours, whichever floor it is told from.
        body = error_body(Code.INTERNAL if status == 500 else code, message)
        return Response(status, body, headers=(*NOT_KEPT, *cors))


def _end_trace(trace: Trace, response: Response) -> None:
    """A post is answered: the answer says by which id it is known."""
    if trace.span is not None:
        trace.end(response.status)
    response.own_headers = ((RESPONSE_HEADER, trace.text),)
