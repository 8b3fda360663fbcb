"""The routes of whoever runs the server: whether it lives and is ready, its metrics, its state, and why somebody was
not notified."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from djactors.domain.errors import Code, not_found
from djactors.domain.ids import Id
from djactors.domain.notifications import encode
from djactors.edge.answers import Health, Readiness
from djactors.edge.api import Api
from djactors.edge.errors import RETRY_AFTER, error_body
from djactors.edge.queries import PageQuery, Query, QueryReader
from djactors.edge.route import ADMIN, ANYBODY, METRICS_READER, Route, Table
from djactors.edge.survey import Condition
from djactors.inbox.job_lists import SuppressionPage
from djactors.net import Request, Response

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _ActorsQuery(Query, frozen=True, kw_only=True):
    history: Annotated[bool, Meta(description="Whether the counters of the last two minutes are wanted.")] = False


class _SuppressionsQuery(PageQuery, frozen=True, kw_only=True):
    user_id: Annotated[Id, Meta(description="the user whose suppressions are wanted")]


_ACTORS = QueryReader(_ActorsQuery)
_SUPPRESSIONS = QueryReader(_SuppressionsQuery)


async def _actors(api: Api, request: Request, _: dict[str, str]) -> Response:
    admin = api.admin(request)
    query = _ACTORS.read(request)
    return Response(200, await api.survey.take(admin.tenant_id, history=query.history))


async def _suppressions(api: Api, request: Request, _: dict[str, str]) -> Response:
    admin = api.admin(request)
    query = _SUPPRESSIONS.read(request)
    page = await api.store.suppressions(
        admin.tenant_id, admin.user_id, query.user_id, before=query.before, limit=query.limit
    )
    return Response(200, encode(page))


async def _health(api: Api, request: Request, _: dict[str, str]) -> Response:
    return Response(200, _ALIVE)


async def _readiness(api: Api, request: Request, _: dict[str, str]) -> Response:
    reason = await api.ready()
    if reason is None:
        warnings = [said for concern in api.concerns if (said := concern()) is not None]
        return Response(200, encode(Readiness(warnings=warnings) if warnings else Readiness()))
    return Response(503, error_body(Code.UNAVAILABLE, reason), headers=(("retry-after", str(RETRY_AFTER)),))


async def _metrics(api: Api, request: Request, _: dict[str, str]) -> Response:
    if not api.metrics_readers.include(request.peer):
        raise not_found()
    return Response(200, await api.exposition.take(), METRICS_TYPE)


_ALIVE = encode(Health())

ROUTES: Table = (
    Route("GET", "/healthz", _health, "Says that the process lives", ANYBODY, {200: Health}),
    Route(
        "GET",
        "/readyz",
        _readiness,
        "Says whether the server takes requests",
        ANYBODY,
        {200: Readiness},
        refuses=(Code.UNAVAILABLE,),
    ),
    Route(
        "GET",
        "/metrics",
        _metrics,
        "Tells the metrics in the text format of Prometheus",
        METRICS_READER,
        {200: METRICS_TYPE},
        refuses=(Code.NOT_FOUND,),
    ),
    Route(
        "GET",
        "/api/admin/actors",
        _actors,
        "Shows the state of the installation",
        ADMIN,
        {200: Condition},
        query=_ACTORS,
        says="This shows the inside of the server, and changes with it. Durations are in seconds.",
    ),
    Route(
        "GET",
        "/api/admin/suppressions",
        _suppressions,
        "Lists why a user was not notified",
        ADMIN,
        {200: SuppressionPage},
        query=_SUPPRESSIONS,
    ),
)
