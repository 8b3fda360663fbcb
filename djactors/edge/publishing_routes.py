"""The publishing routes of the contract: a backend posts one domain event, or many at once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from djactors.domain import events
from djactors.domain.commands import Publish
from djactors.domain.errors import Code, Refused
from djactors.domain.events import DomainEvent
from djactors.edge import refusals
from djactors.edge.answers import BatchResults
from djactors.edge.api import Api, header_key
from djactors.edge.auth import Identity
from djactors.edge.batch import Batch
from djactors.edge.examples import EVENTS
from djactors.edge.queries import NO_QUERY
from djactors.edge.route import BACKEND, Route, Shape, Table
from djactors.inbox.recorder import EventAnswer
from djactors.net import Request, Response

BATCH = "/api/events/batch"
"""The one route with a large body."""

ITEMS_PER_TURN = 32
"""Events of a batch that are decoded in one go. The largest take 0.1 ms each: a thousand held up the loop for 130."""

BYTES_PER_TURN = 8 * 1024
"""The same in bytes of JSON, which take 1 ms if all are numbers. An item may have more, and is read alone then."""

ITEMS_TOGETHER = 512
"""Events of a batch that the router is given at once. If it were given what one turn decodes, its commits would be many
and small, and the decoding would slow each of them down. All thousand of a few batches would fill its mailbox."""

WAY_SECONDS = 0.005
"""How long the decoding of a batch gives way to a commit, between two turns: as long as a commit takes."""


_Events: TypeAlias = Annotated[list[DomainEvent], Meta(max_length=events.MAX_BATCH)]


async def _publish(api: Api, request: Request, _: dict[str, str]) -> Response:
    publisher = api.publisher(request)
    NO_QUERY.read(request)
    api.paces.check_backend(publisher)
    command = _publish_command(request.body, publisher, header_key(request), api.trace_of(request))
    published = await api.publish(command)
    return Response(200 if published.repeated else 201, published.answer)


async def _publish_batch(api: Api, request: Request, _: dict[str, str]) -> Response:
    publisher = api.publisher(request)
    NO_QUERY.read(request)
    items = events.decode_batch(request.body)
    api.paces.check_backend(publisher, max(1, len(items)))
    trace = api.trace_of(request)
    api.telemetry.traces.asked(trace)
    batch = Batch(api.router, lambda error: refusals.item_refused(api.telemetry, request, error))
    place = size = 0
    decoded: list[Publish | Refused] = []
    for text in map(bytes, items):
        place, size = place + 1, size + len(text)
        if place == ITEMS_PER_TURN or size > BYTES_PER_TURN:
            await api.store.give_way(WAY_SECONDS)
            place = size = 0
        try:
            decoded.append(_publish_command(text, publisher, None, trace))
        except Refused as error:
            decoded.append(error)
        if len(decoded) == ITEMS_TOGETHER:
            batch.extend(decoded)
            decoded = []
    batch.extend(decoded)
    return Response(200, await batch.results(api.settings.command_timeout))


def _publish_command(body: bytes, publisher: Identity, header_key: str | None, trace: str | None) -> Publish:
    event: DomainEvent = events.decode_event(body)
    if publisher.tenant_id not in (None, event.tenant_id):
        raise Refused(Code.FORBIDDEN, f"tenantId: this token publishes for tenant {publisher.tenant_id} only")
    if header_key is not None and event.id not in (None, header_key):
        raise Refused(Code.INVALID, "id: differs from the Idempotency-Key header: send one of them, or both alike")
    tenants_own = publisher.tenant_id is not None
    return Publish(event, header_key or event.id, tenants_own=tenants_own, decoded=True, trace=trace)


ROUTES: Table = (
    Route(
        "POST",
        "/api/events",
        _publish,
        "Publishes a domain event",
        BACKEND,
        {201: EventAnswer, 200: EventAnswer},
        says="It is answered once the event is on disk. A service whose token has no tenant publishes for all tenants.",
        body=Shape(DomainEvent),
        takes_key=True,
        refuses=(Code.NOT_FOUND, Code.CONFLICT),
        examples=EVENTS,
    ),
    Route(
        "POST",
        BATCH,
        _publish_batch,
        f"Publishes up to {events.MAX_BATCH:,} domain events",
        BACKEND,
        {200: BatchResults},
        says="A bad event does not affect the others: each is answered in its place. Here only the `id` of an event "
        "makes a retry harmless.",
        body=Shape(_Events),
        examples={"two events": list(EVENTS.values())[:2]},
    ),
)
