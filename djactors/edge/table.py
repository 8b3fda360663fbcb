"""All routes, and the two that describe the API: OpenAPI for what is here, AsyncAPI for the socket's events.

The descriptions are made once, at the start of a server. They are the same for everybody, need no token, and every page
of every origin may read them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from djactors.edge import (
    asyncapi,
    import_routes,
    inbox_routes,
    job_routes,
    openapi,
    operator_routes,
    people_routes,
    publishing_routes,
    user_routes,
)
from djactors.edge.api import Api
from djactors.edge.route import ANYBODY, JSON, Handler, Route, Table
from djactors.edge.site import ANY_ORIGIN
from djactors.edge.static_file import ASK_AGAIN, StaticFile
from djactors.net import Request, Response


@cache
def openapi_text() -> bytes:
    """The description of the routes, as JSON."""
    return _text(openapi.document(ROUTES))


@cache
def asyncapi_text() -> bytes:
    """The description of the socket's events, as JSON."""
    return _text(asyncapi.document())


def _text(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


@cache
def _file(text: Callable[[], bytes]) -> StaticFile:
    return StaticFile(text(), JSON, cache_control=ASK_AGAIN, compressible=True, headers=(*_NOSNIFF, *ANY_ORIGIN))


def describe() -> None:
    """Make both descriptions. This takes 50 ms, so it is for the start of the server."""
    for text in (openapi_text, asyncapi_text):
        _file(text)


def _giver(text: Callable[[], bytes]) -> Handler:
    async def handle(api: Api, request: Request, _: dict[str, str]) -> Response:
        return _file(text).answer(request)

    return handle


_NOSNIFF = (("x-content-type-options", "nosniff"),)
_DOCUMENT = {200: Annotated[dict[str, Any], Meta(description="A description of the API.")], 304: None}

ROUTES: Table = (
    *inbox_routes.ROUTES,
    *job_routes.ROUTES,
    *people_routes.ROUTES,
    *publishing_routes.ROUTES,
    *user_routes.ROUTES,
    *import_routes.ROUTES,
    *operator_routes.ROUTES,
    Route(
        "GET",
        "/api/openapi.json",
        _giver(openapi_text),
        "Describes the routes, in OpenAPI",
        ANYBODY,
        _DOCUMENT,
    ),
    Route(
        "GET",
        "/api/asyncapi.json",
        _giver(asyncapi_text),
        "Describes the events of the Socket.IO connection, in AsyncAPI",
        ANYBODY,
        _DOCUMENT,
    ),
)
"""Every route."""
