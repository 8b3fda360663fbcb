"""The description of the HTTP routes in OpenAPI 3.1, made from the table of routes and the types in it.

Source: OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from djactors import __version__
from djactors.domain import lengths
from djactors.domain.errors import Code
from djactors.domain.events import DomainEvent
from djactors.domain.ids import MAX_ID
from djactors.edge.answers import Error
from djactors.edge.errors import STATUS
from djactors.edge.route import JSON, Caller, Route
from djactors.edge.schemas import PLACE, Schema, fields_of, schemas_of
from djactors.telemetry.traces import REQUEST_HEADER, RESPONSE_HEADER

VERSION = "3.1.0"
"""Of OpenAPI. All 3.1.x say the same, and some tools know only this one."""

LICENCE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}

ABOUT = """Notifications for people who use a web application. A backend posts what has happened; people read their \
inboxes, and hear of changes live by Socket.IO, which `asyncapi.json` describes.

- A body is JSON, in UTF-8. Unknown fields and unknown query parameters are refused.
- Ids are integers from 1 to 2^53 - 1, written without a fraction: 5.0 is refused.
- Times are in the form of RFC 3339; those that are answered are in UTC.
- An error has the body `{ "error": { "code", "message" } }`. The message names the field and says how to mend it.
- What belongs to somebody else is answered like what is missing: 404.
- New fields may be added to any answer. Ignore those that you do not know."""

TAGS: Mapping[str, str] = {
    "notifications": "A person's inbox. These routes act for the user of the token.",
    "changes": "What has changed in the inbox and in the tenant, for clients without a socket.",
    "jobs": "Work on jobs. Each move publishes its domain event, with the user of the token as the one who did it.",
    "people": "The people of one's own tenant.",
    "events": "Domain events, which backends publish.",
    "users": "What an admin or a backend does to a user.",
    "imports": "What `djactors import` uses.",
    "admin": "What an admin may see.",
    "operation": "Whether the server lives, and how it does.",
    "description": "What this is.",
}
"""The groups of routes, and what they are about."""

_MEANINGS: Mapping[Code, tuple[str, str]] = {
    Code.INVALID: ("Invalid", "A field or parameter is missing, unknown or wrong. The message names it."),
    Code.UNAUTHORIZED: ("Unauthorized", "The token is missing or not valid."),
    Code.FORBIDDEN: ("Forbidden", "The token is valid, but whoever it names may not do this."),
    Code.NOT_FOUND: ("NotFound", "There is nothing under this id, or it belongs to somebody else."),
    Code.CONFLICT: (
        "Conflict",
        "The state of the job or tenant does not allow this. The message says what is allowed.",
    ),
    Code.KEY_REUSED: ("KeyReused", "The idempotency key was used for a different request."),
    Code.TOO_MANY_REQUESTS: ("TooManyRequests", "The sender is too fast."),
    Code.INTERNAL: ("Internal", "A fault in djactors, which is in its log."),
    Code.TENANT_IMPORTING: ("TenantImporting", "The tenant is being imported, and is served once that is done."),
    Code.UNAVAILABLE: ("Unavailable", "The server cannot take this now."),
}
"""What the response is called, and what it means, for each code."""

_OF_BODIES: Mapping[int, tuple[str, str, str]] = {
    413: ("TooLarge", "body_too_large", "The body is too large."),
    415: ("UnsupportedMediaType", "unsupported_media_type", "The body has a Content-Encoding."),
}
"""The refusals of bodies by HTTP itself: what the response is called, its code, and what it means, for each status."""

_AGAIN = "The request was repeated with its idempotency key: this is the first answer again."


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The description of all routes."""
    routes = tuple(routes)
    types = [kind for route in routes for kind in _types_of(route)]
    distinct = [kind for place, kind in enumerate(types) if kind not in types[:place]]
    # The union has no name of its own.
    schemas, components = schemas_of([DomainEvent, Error, *distinct])
    event = schemas[0]
    components["DomainEvent"] = {"description": "What has happened, by its `type`.", **event}
    by_type = [(kind, _named(event, schema)) for kind, schema in zip(distinct, schemas[2:], strict=True)]
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    for path, item in paths.items():
        if "{id}" in path:
            item["parameters"] = [{"$ref": "#/components/parameters/Id"}]
    return {
        "openapi": VERSION,
        "info": {"title": "djactors", "version": __version__, "description": ABOUT, "license": LICENCE},
        "servers": [{"url": "/", "description": "The server that gave this out."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {name: _refusal(code, text) for code, (name, text) in _MEANINGS.items()}
            | {name: _refusal(code, text) for name, code, text in _OF_BODIES.values()}
            | {"Error": _refusal(None, "The request was refused, or has failed: see the code.")},
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": {"token": _TOKEN},
        },
    }


_PARAMETERS = {
    "Id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The id of the notification, the job or the user.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_ID},
        "example": 1,
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes a retry harmless: the same request with the same key is answered with the first answer, "
        "and nothing is done twice. A key belongs to its sender, and is kept for 30 days.",
        "schema": {"type": "string", "minLength": 1, "maxLength": lengths.KEY, "pattern": "^[ -~]+$"},
        "example": "order-4711",
    },
    "Traceparent": {
        "name": REQUEST_HEADER,
        "in": "header",
        "description": "The trace of this request (W3C Trace Context). One that cannot be read is ignored.",
        "schema": {"type": "string"},
        "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
}

_HEADERS = {
    "RetryAfter": {
        "description": "The seconds after which to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Authenticate": {"description": "Which kind of token is wanted.", "required": True, "schema": {"const": "Bearer"}},
    "Trace": {
        "description": "The trace by which the log knows this request, in the form of `traceparent`.",
        "schema": {"type": "string"},
    },
}

_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A JWT that the backend signs: `exp`, `role` (`user`, `manager`, `admin` or `service`), and, but "
    "for a service, `userId` and `tenantId`. A role that `user.upserted` gave wins.",
}


def _types_of(route: Route) -> list[Any]:
    answers = [kind for kind in route.answers.values() if not (kind is None or isinstance(kind, str))]
    return answers if route.body is None else [*answers, route.body.kind]


def _named(event: Schema, schema: Schema) -> Schema:
    """A schema in which the union of all domain events is a reference."""
    if schema == event:
        return {"$ref": f"{PLACE}DomainEvent"}
    return {**schema, "items": _named(event, schema["items"])} if "items" in schema else schema


def _operation(route: Route, schemas: list[tuple[Any, Schema]]) -> dict[str, Any]:
    def content(kind: Any) -> dict[str, Any]:
        if kind is None:
            return {}
        if isinstance(kind, str):
            return {kind: {"schema": {"type": "string"}}}
        return {JSON: {"schema": next(schema for found, schema in schemas if found == kind)}}

    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "tags": [tag_of(route)],
        "summary": route.does,
        "description": " ".join(filter(None, (f"For {route.caller.who}.", route.says))),
        "security": _security(route.caller),
    }
    parameters = [
        _parameter(name, schema, required) for name, (schema, required) in fields_of(route.query.kind).items()
    ]
    if route.takes_key:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    if route.method == "POST":
        parameters.append({"$ref": "#/components/parameters/Traceparent"})
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        body = content(route.body.kind)
        body[JSON]["examples"] = {
            _key(name): {"summary": name, "value": value} for name, value in route.examples.items()
        }
        operation["requestBody"] = {"required": route.body.is_required, "content": body}
    responses: dict[str, Any] = {}
    for status, kind in sorted(route.answers.items()):
        repeated = status == 200 and 201 in route.answers
        text = _AGAIN if repeated else "It is done." if kind is not None else "It is what the client has already."
        responses[str(status)] = {"description": text, "content": content(kind)}
        if route.method == "POST":
            responses[str(status)]["headers"] = {RESPONSE_HEADER: {"$ref": "#/components/headers/Trace"}}
    for code in refusals_of(route):
        responses[str(STATUS[code])] = {"$ref": f"#/components/responses/{_MEANINGS[code][0]}"}
    for status, (name, *_) in _OF_BODIES.items() if route.body is not None else ():
        responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    responses["default"] = {"$ref": "#/components/responses/Error"}
    operation["responses"] = responses
    return operation


def refusals_of(route: Route) -> list[Code]:
    """The codes with which a route may refuse, in the order of their statuses."""
    codes = set(route.refuses)
    if route.caller.needs_token:
        codes |= {Code.INVALID, Code.UNAUTHORIZED, Code.TOO_MANY_REQUESTS, Code.INTERNAL, Code.UNAVAILABLE}
    if route.caller.roles:
        codes.add(Code.FORBIDDEN)
    if "{id}" in route.path:
        codes.add(Code.NOT_FOUND)
    if route.takes_key:
        codes.add(Code.KEY_REUSED)
    return sorted(codes, key=lambda code: STATUS[code])


def operation_id(route: Route) -> str:
    """The name of an operation, such as `postJobComments`, of which generators make the names of functions."""
    words = [route.method.lower()]
    for place, part in enumerate(parts := route.path.removeprefix("/api/").strip("/").split("/")):
        if part != "{id}":
            one = place + 1 < len(parts) and parts[place + 1] == "{id}"
            words.extend((part.removesuffix("s") if one else part).replace(".", "-").split("-"))
    return words[0] + "".join(word.capitalize() for word in words[1:])


def tag_of(route: Route) -> str:
    """The group of a route: the first word of its path below `/api`."""
    if not route.path.startswith("/api/"):
        return "operation"
    word = route.path.split("/")[2]
    return word if word in TAGS else "description"


def _security(caller: Caller) -> list[dict[str, list[str]]]:
    return [{"token": list(caller.roles)}] if caller.needs_token else []


def _parameter(name: str, schema: Schema, required: bool) -> dict[str, Any]:
    text = schema.pop("description", "")
    found: dict[str, Any] = {"name": name, "in": "query", "description": text[:1].upper() + text[1:].rstrip(".") + "."}
    return {**found, "required": required, "schema": schema}


def _key(name: str) -> str:
    """The name of an example as a key: letters, digits, dots and dashes."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)


def _refusal(code: str | None, text: str) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if code is Code.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/Authenticate"}
    if code in (Code.TOO_MANY_REQUESTS, Code.UNAVAILABLE, Code.TENANT_IMPORTING):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    content: dict[str, Any] = {"schema": {"$ref": f"{PLACE}Error"}}
    if code is not None:
        content["example"] = {"error": {"code": str(code), "message": text}}
    return {"description": text, **({"headers": headers} if headers else {}), "content": {JSON: content}}
