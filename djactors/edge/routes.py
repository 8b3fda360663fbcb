"""What one port serves: `/socket.io/` is Engine.IO's, the page's files are the site's, everything else the routes'.

The routes are those of the contract. Each is a row of a table, and a handler that turns a request into a command or a
read.

Rules: a handler raises what it refuses; the one place that words errors is `errors.py`. Unknown query parameters are
refused like unknown fields. An id of another user or tenant is answered like a missing id.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from djactors.domain import events
from djactors.domain.commands import Publish
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.events import DomainEvent
from djactors.domain.marks import offset_of
from djactors.domain.notifications import encode
from djactors.edge import refusals
from djactors.edge.api import (
    ID,
    IMPORT,
    MAX_PAGE,
    PUBLISH,
    Api,
    Handler,
    Table,
    flag,
    header_key,
    number,
    page_size,
    query_of,
)
from djactors.edge.auth import Identity, Unauthorized
from djactors.edge.batch import Batch
from djactors.edge.errors import EXPECTED, NOT_KEPT, error_body, error_response, wrong_method
from djactors.edge.import_routes import IMPORTS, ROWS, ImportRoutes
from djactors.edge.inbox_routes import InboxRoutes, state
from djactors.edge.job_routes import JobRoutes
from djactors.edge.people_routes import PeopleRoutes
from djactors.edge.site import SITE_METHODS, Site
from djactors.edge.user_routes import UserRoutes
from djactors.engine import EngineServer, OriginPolicy
from djactors.inbox.log import Replay
from djactors.net import UNIX_PEER, ByteStream, Request, Response
from djactors.store.errors import StoreInPart
from djactors.telemetry import Telemetry, Trace
from djactors.telemetry.traces import REQUEST_HEADER, RESPONSE_HEADER

BATCH = "/api/events/batch"

LARGE: Mapping[str, str] = {BATCH: PUBLISH, IMPORTS: IMPORT, ROWS: IMPORT}
"""The routes with a large body, and what only a service may do there."""

ITEMS_PER_TURN = 32
"""Events of a batch that are decoded in one go. The largest take 0.1 ms each: a thousand held up the loop for 130."""

BYTES_PER_TURN = 8 * 1024
"""The same in bytes of JSON, which take 1 ms if all are numbers. An item may have more, and is read alone then."""

ITEMS_TOGETHER = 512
"""Events of a batch that the router is given at once. If it were given what one turn decodes, its commits would be many
and small, and the decoding would slow each of them down. All thousand of a few batches would fill its mailbox."""

WAY_SECONDS = 0.005
"""How long the decoding of a batch gives way to a commit, between two turns: as long as a commit takes."""

ENGINE_PATH = "/socket.io/"

OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""The routes that look at no token. At all others a token that proves nothing is judged once, and not by the handler
again: a signature costs up to 0.2 ms, and whoever floods sends no other tokens."""

MAX_SMALL_BODY = 64 * 1024
"""Bytes of a body outside the batch route: one event with the largest texts that the schema takes."""

METHODS = "GET, POST, DELETE"
HEADERS = "authorization, content-type, idempotency-key"
"""What a page of an allowed origin is told that it may send, where it does not ask for more."""


class Routes:
    """The table, and the way through it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        readers = api.settings.metrics_addresses
        self._unix_reads = UNIX_PEER in readers
        self._networks = [ipaddress.ip_network(text) for text in readers if text != UNIX_PEER]
        rows: Table = (
            ("/api/changes", {"GET": self._changes}),
            ("/api/events", {"POST": self._publish}),
            (BATCH, {"POST": self._publish_batch}),
            ("/healthz", {"GET": self._health}),
            ("/readyz", {"GET": self._readiness}),
            ("/metrics", {"GET": self._metrics}),
            ("/api/admin/actors", {"GET": self._actors}),
            ("/api/admin/suppressions", {"GET": self._suppressions}),
            *InboxRoutes(api).table,
            *JobRoutes(api).table,
            *PeopleRoutes(api).table,
            *UserRoutes(api).table,
            *ImportRoutes(api).table,
        )
        # A path without an id is looked up in a dict. Only the other paths are matched, one pattern after the other.
        self._fixed = {pattern: handlers for pattern, handlers in rows if ID not in pattern}
        self._patterns = [(re.compile(pattern), handlers) for pattern, handlers in rows if ID in pattern]

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
        handler, ids = found
        try:
            if request.path not in OPEN:
                await self._judge(request)
            return await handler(request, ids)
        except EXPECTED as error:
            if isinstance(error, Unauthorized):
                # A token of somebody who was signed out proves nothing: its connection is a stranger's.
                request.proof = None
            return self._refused(request, error)

    async def _judge(self, request: Request) -> None:
        try:
            await self._api.judge(request)
        except StoreInPart:
            # Whoever brings a tenant in may name somebody of it, of whom nothing is known until it is here.
            if not request.path.startswith(IMPORTS):
                raise

    def _find(self, request: Request) -> tuple[Handler, dict[str, str]] | Response:
        """The handler, with the ids in the path; or the answer, if there is none."""
        ids: dict[str, str] = {}
        handlers = self._fixed.get(request.path)
        if handlers is None:
            handlers, ids = self._match(request.path)
        if handlers is None:
            return self._refused(request, Refused(Code.NOT_FOUND, "no such route"))
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            refusals.method_refused(self._api.telemetry, request, handlers)
            return wrong_method(handlers)
        return handler, ids

    def _match(self, path: str) -> tuple[Mapping[str, Handler] | None, dict[str, str]]:
        for pattern, handlers in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return handlers, match.groupdict()
        return None, {}

    def _refused(self, request: Request, error: Exception) -> Response:
        if request.method == "POST" and request.trace is None:
            request.trace = self._begin_trace(request)
        refusals.request_refused(self._api.telemetry, request, error)
        return error_response(error)

    # Publishing

    async def _publish(self, request: Request, _: dict[str, str]) -> Response:
        publisher = self._api.publisher(request)
        query_of(request)
        self._api.paces.check_backend(publisher)
        command = _publish_command(request.body, publisher, header_key(request), self._api.trace_of(request))
        published = await self._api.publish(command)
        return Response(200 if published.repeated else 201, published.answer)

    async def _publish_batch(self, request: Request, _: dict[str, str]) -> Response:
        publisher = self._api.publisher(request)
        query_of(request)
        items = events.decode_batch(request.body)
        self._api.paces.check_backend(publisher, max(1, len(items)))
        trace = self._api.trace_of(request)
        self._api.telemetry.traces.asked(trace)
        batch = Batch(self._api.router, lambda error: refusals.item_refused(self._api.telemetry, request, error))
        place = size = 0
        decoded: list[Publish | Refused] = []
        for text in map(bytes, items):
            place, size = place + 1, size + len(text)
            if place == ITEMS_PER_TURN or size > BYTES_PER_TURN:
                await self._api.store.give_way(WAY_SECONDS)
                place = size = 0
            try:
                decoded.append(_publish_command(text, publisher, None, trace))
            except Refused as error:
                decoded.append(error)
            if len(decoded) == ITEMS_TOGETHER:
                batch.extend(decoded)
                decoded = []
        batch.extend(decoded)
        return Response(200, await batch.results(self._api.settings.command_timeout))

    # The log

    async def _changes(self, request: Request, _: dict[str, str]) -> Response:
        member = self._api.member(request)
        query = query_of(request, "since", "limit")
        limit = page_size(query, MAX_PAGE)
        since = query.get("since")
        if since is None:
            raise Refused(Code.INVALID, "since: is missing: send the offset of a list, or of the page before")
        start, found = offset_of(since), None
        if start is not None:
            found = await self._api.dated(
                member,
                lambda told: self._api.store.replay(
                    member.tenant_id, member.user_id, start, told=told, limit=limit, requested=True
                ),
            )
        if isinstance(found, Replay):
            items = [
                {"offset": str(change.offset), "event": change.name, "data": msgspec.Raw(change.body)}
                for change in found.changes
            ]
            answer = {"items": items, "offset": str(found.position), "reset": False}
        else:
            answer = {"items": [], "offset": str((await state(self._api, member)).at), "reset": True}
        return Response(200, encode(answer))

    # The operator

    async def _actors(self, request: Request, _: dict[str, str]) -> Response:
        admin = self._api.admin(request)
        query = query_of(request, "history")
        answer = await self._api.survey.take(admin.tenant_id, history=flag(query, "history"))
        return Response(200, answer)

    async def _suppressions(self, request: Request, _: dict[str, str]) -> Response:
        admin = self._api.admin(request)
        query = query_of(request, "userId", "limit", "before")
        user_id = number(query, "userId")
        if user_id is None:
            raise Refused(Code.INVALID, "userId: is missing: whose suppressions?")
        page = await self._api.store.suppressions(
            admin.tenant_id, admin.user_id, user_id, before=number(query, "before"), limit=page_size(query)
        )
        return Response(200, encode(page))

    async def _health(self, request: Request, _: dict[str, str]) -> Response:
        return Response(200, b'{"status":"ok"}')

    async def _readiness(self, request: Request, _: dict[str, str]) -> Response:
        reason = await self._api.ready()
        if reason is None:
            concern = self._api.concern()
            told = {"status": "ready"} if concern is None else {"status": "ready", "warnings": [concern]}
            return Response(200, encode(told))
        return Response(503, error_body(Code.UNAVAILABLE, reason), headers=(("retry-after", "1"),))

    async def _metrics(self, request: Request, _: dict[str, str]) -> Response:
        if not self._may_read_metrics(request.peer):
            raise not_found()
        return Response(200, await self._api.exposition.take(), "text/plain; version=0.0.4; charset=utf-8")

    def _may_read_metrics(self, peer: str) -> bool:
        if peer == UNIX_PEER:
            return self._unix_reads
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        # A socket that listens on both kinds of address tells of IPv4 ones in the form of IPv6.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)


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
        response.headers = (*response.headers, *NOT_KEPT, *self._origins.headers(request))
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


def _publish_command(body: bytes, publisher: Identity, header_key: str | None, trace: str | None) -> Publish:
    event: DomainEvent = events.decode_event(body)
    if publisher.tenant_id not in (None, event.tenant_id):
        raise Refused(Code.FORBIDDEN, f"tenantId: this token publishes for tenant {publisher.tenant_id} only")
    if header_key is not None and event.id not in (None, header_key):
        raise Refused(Code.INVALID, "id: differs from the Idempotency-Key header: send one of them, or both alike")
    tenants_own = publisher.tenant_id is not None
    return Publish(event, header_key or event.id, tenants_own=tenants_own, decoded=True, trace=trace)


def _end_trace(trace: Trace, response: Response) -> None:
    """A post is answered: the answer says by which id it is known."""
    if trace.span is not None:
        trace.end(response.status)
    response.own_headers = ((RESPONSE_HEADER, trace.text),)
