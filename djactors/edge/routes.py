"""The HTTP routes of the contract: each a row of a table, and a handler that turns a request into a command or a read.

Rules: a handler raises what it refuses; the one place that words errors is `errors.py`. Unknown query parameters are
refused like unknown fields. Another's id is answered like a missing one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import trio

from djactors.actors.packets import offset
from djactors.config import Settings
from djactors.domain import events
from djactors.domain.commands import Command, Counted, Delete, MarkAllRead, MarkRead, Publish, Published
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.events import MAX_ID, DomainEvent
from djactors.domain.notifications import encode
from djactors.edge.auth import Authenticator, Identity, Member, Unauthorized
from djactors.edge.batch import Batch
from djactors.edge.errors import EXPECTED, error_body, error_response
from djactors.edge.http_messages import Request, Response
from djactors.edge.listener import host_of
from djactors.edge.rate_limit import AddressLimit
from djactors.kernel import ActorRef
from djactors.store.store import Page, Store
from djactors.telemetry import Telemetry

PAGE = 20
"""Notifications in a page (seed: "20 per page")."""

MAX_PAGE = 100
"""The most that one page may hold (contract)."""

MAX_KEY = 255
"""Characters of an idempotency key (contract)."""

Handler = Callable[[Request, dict[str, str]], Awaitable[Response]]


@dataclass(frozen=True)
class Api:
    """What the handlers need.

    `ready` says why the server is not ready, or None; `measure` brings the gauges up to date before they are read.
    """

    authenticator: Authenticator
    router: ActorRef[Command]
    store: Store
    settings: Settings
    telemetry: Telemetry
    epoch: str
    ready: Callable[[], str | None]
    measure: Callable[[], None]


class Routes:
    """The table, and the way through it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._post_limit = AddressLimit(api.settings.post_rate, api.settings.post_burst)
        self._networks = [ipaddress.ip_network(text) for text in api.settings.metrics_addresses]
        notification = r"/api/notifications/(?P<id>[0-9]{1,16})"
        self._table: list[tuple[re.Pattern[str], Mapping[str, Handler]]] = [
            (re.compile(pattern), handlers)
            for pattern, handlers in (
                ("/api/events", {"POST": self._publish}),
                ("/api/events/batch", {"POST": self._publish_batch}),
                ("/api/notifications", {"GET": self._list}),
                ("/api/notifications/unread-count", {"GET": self._unread_count}),
                ("/api/notifications/read-all", {"POST": self._read_all}),
                (notification, {"DELETE": self._delete}),
                (f"{notification}/read", {"POST": self._read}),
                ("/healthz", {"GET": self._health}),
                ("/readyz", {"GET": self._readiness}),
                ("/metrics", {"GET": self._metrics}),
            )
        ]

    async def handle(self, request: Request) -> Response:
        """Answer a request, whatever it asks for."""
        for pattern, handlers in self._table:
            match = pattern.fullmatch(request.path)
            if match is not None:
                handler = handlers.get("GET" if request.method == "HEAD" else request.method)
                if handler is None:
                    return _wrong_method(handlers)
                try:
                    return await handler(request, match.groupdict())
                except EXPECTED as error:
                    return self._refused(request, error)
        return error_response(Refused(Code.NOT_FOUND, "no such route"))

    def _refused(self, request: Request, error: Exception) -> Response:
        response = error_response(error)
        self._api.telemetry.metrics.refusals.labels(f"http_{response.status}").inc()
        self._api.telemetry.log.info(
            "request refused", method=request.method, path=request.path[:200], status=response.status
        )
        return response

    # Who asks

    def _identity(self, request: Request) -> Identity:
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("token_missing", "send `Authorization: Bearer <token>`")
        return self._api.authenticator.identify(token.strip())

    def _member(self, request: Request) -> Member:
        return self._identity(request).member()

    def _publisher(self, request: Request) -> Identity:
        identity = self._identity(request)
        if identity.role != "service":
            raise Refused(Code.FORBIDDEN, "only a service may publish: use a token with the role service")
        return identity

    # Publishing

    def _check_pace(self, request: Request, count: int = 1) -> None:
        """Refuse an address that publishes too fast: after who it is, before what it costs."""
        self._post_limit.check(host_of(request.peer), trio.current_time(), count)

    async def _publish(self, request: Request, _: dict[str, str]) -> Response:
        publisher = self._publisher(request)
        _query(request)
        self._check_pace(request)
        command = _publish_command(request.body, publisher, _header_key(request))
        published = await self._ask(command)
        return Response(200 if published.repeated else 201, published.answer)

    async def _publish_batch(self, request: Request, _: dict[str, str]) -> Response:
        publisher = self._publisher(request)
        _query(request)
        items = events.decode_batch(request.body)
        self._check_pace(request, max(1, len(items)))
        batch = Batch(self._api.router)
        for item in items:
            try:
                batch.add(_publish_command(item, publisher, None))
            except Refused as error:
                batch.refuse(error)
        return Response(200, await batch.results(self._api.settings.command_timeout))

    # The inbox

    async def _list(self, request: Request, _: dict[str, str]) -> Response:
        member = self._member(request)
        query = _query(request, "limit", "before", "unread")
        limit = _number(query, "limit", PAGE, MAX_PAGE)
        before = _number(query, "before", None, MAX_ID)
        unread_only = _flag(query, "unread")
        assert limit is not None
        page = await self._api.store.page(
            member.tenant_id, member.user_id, limit=limit, before=before, unread_only=unread_only
        )
        return Response(200, encode(self._page(page)))

    def _page(self, page: Page) -> dict[str, Any]:
        return {
            "items": page.items,
            "nextBefore": page.next_before,
            "unreadCount": page.unread,
            "offset": offset(self._api.epoch, page.seq),
        }

    async def _unread_count(self, request: Request, _: dict[str, str]) -> Response:
        member = self._member(request)
        _query(request)
        state = await self._api.store.snapshot(member.tenant_id, member.user_id)
        return Response(200, encode({"count": state.unread, "offset": offset(self._api.epoch, state.seq)}))

    async def _read(self, request: Request, found: dict[str, str]) -> Response:
        member = self._member(request)
        _query(request)
        return await self._count(MarkRead(member.tenant_id, member.user_id, _id(found)))

    async def _read_all(self, request: Request, _: dict[str, str]) -> Response:
        member = self._member(request)
        _query(request)
        return await self._count(MarkAllRead(member.tenant_id, member.user_id))

    async def _delete(self, request: Request, found: dict[str, str]) -> Response:
        member = self._member(request)
        _query(request)
        return await self._count(Delete(member.tenant_id, member.user_id, _id(found)))

    async def _count(self, command: MarkRead | MarkAllRead | Delete) -> Response:
        counted: Counted = await self._api.router.ask_nowait(command, self._api.settings.command_timeout)
        return Response(200, encode({"ok": True, "count": counted.count}))

    async def _ask(self, command: Publish) -> Published:
        published: Published = await self._api.router.ask_nowait(command, self._api.settings.command_timeout)
        return published

    # The operator

    async def _health(self, request: Request, _: dict[str, str]) -> Response:
        return Response(200, b'{"status":"ok"}')

    async def _readiness(self, request: Request, _: dict[str, str]) -> Response:
        reason = self._api.ready()
        if reason is None:
            return Response(200, b'{"status":"ready"}')
        return Response(503, error_body(Code.UNAVAILABLE, reason), headers=(("retry-after", "1"),))

    async def _metrics(self, request: Request, _: dict[str, str]) -> Response:
        try:
            address = ipaddress.ip_address(request.peer)
        except ValueError:
            raise not_found() from None
        # A socket that listens on both kinds of address tells of IPv4 ones in the form of IPv6.
        address = getattr(address, "ipv4_mapped", None) or address
        if not any(address in network for network in self._networks):
            raise not_found()
        self._api.measure()
        return Response(200, self._api.telemetry.metrics.exposition(), "text/plain; version=0.0.4; charset=utf-8")


def _publish_command(body: bytes | msgspec.Raw, publisher: Identity, header_key: str | None) -> Publish:
    event: DomainEvent = events.decode_event(body)
    if publisher.tenant_id not in (None, event.tenant_id):
        raise Refused(Code.FORBIDDEN, f"tenantId: this token publishes for tenant {publisher.tenant_id} only")
    if header_key is not None and event.id not in (None, header_key):
        raise Refused(Code.INVALID, "id: differs from the Idempotency-Key header: send one of them, or both alike")
    return Publish(event, header_key or event.id)


def _header_key(request: Request) -> str | None:
    key = request.header("idempotency-key")
    if key is None:
        return None
    if not (1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise Refused(Code.INVALID, f"Idempotency-Key: must be 1 to {MAX_KEY} printable ASCII characters")
    return key


def _query(request: Request, *known: str) -> dict[str, str]:
    for name in request.query:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise Refused(Code.INVALID, f"unknown query parameter {name[:50]!r}; allowed: {allowed}")
    return request.query


def _number(query: dict[str, str], name: str, default: int | None, high: int) -> int | None:
    text = query.get(name)
    if text is None:
        return default
    if re.fullmatch(r"[0-9]{1,16}", text) is None or not 1 <= int(text) <= high:
        raise Refused(Code.INVALID, f"{name}: must be a whole number from 1 to {high}")
    return int(text)


def _flag(query: dict[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(Code.INVALID, f"{name}: must be true or false")
    return text == "true"


def _id(found: dict[str, str]) -> int:
    number = int(found["id"])
    if not 1 <= number <= MAX_ID:
        raise not_found()
    return number


def _wrong_method(handlers: Mapping[str, Handler]) -> Response:
    allowed = ", ".join(sorted(handlers))
    body = error_body("method_not_allowed", f"this route takes {allowed}")
    return Response(405, body, headers=(("allow", allowed),))
