"""The description of the Socket.IO connection in AsyncAPI 3, made from the tables of events and the types in them.

What a client emits is what the application `receive`s, and each emit is answered by an ack, its reply. The payload of a
message is the first argument of its event.

Source: AsyncAPI Specification 3.0.0; Socket.IO protocol 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from djactors import __version__
from djactors.domain.ids import Id
from djactors.domain.packets import AUTH_EXPIRING, CHANGES_RESET, FOR_TENANT, LOGGED, PRESENCE, UNLOGGED
from djactors.edge.answers import Answer, Failed
from djactors.edge.commands import COMMANDS, PLAIN_EVENTS, TEST_COMMANDS
from djactors.edge.examples import EMITTED
from djactors.edge.schemas import PLACE, Schema, schema_name, schemas_of

VERSION = "3.0.0"
"""Of AsyncAPI. 3.1 adds nothing that is used here."""

CHANNEL = "socket"

ABOUT = """What a stock Socket.IO client (socket.io-client 4, protocol 5, Engine.IO 4) emits and gets at \
`/socket.io/`, in the namespace `/`, by WebSocket or by HTTP long-polling. `openapi.json` describes the HTTP routes.

- The payload of a message here is the first argument of the event.
- Every event that the server emits has one more argument at the end: its *offset*, an opaque text. Stock clients keep \
the last one and send it back when they reconnect, and then get exactly what they missed. With `auth.recovery: false` \
there is no such argument.
- Every event that a client emits takes an optional ack: `{ "ok": true, … }` or `{ "ok": false, "error": { "code", \
"message" } }`.
- New fields and new events may be added. Ignore those that you do not know."""


class Auth(msgspec.Struct, frozen=True, rename="camel"):
    """The `auth` of a CONNECT. What is not named here is ignored."""

    token: Annotated[str, Meta(description="A JWT that names a user and the user's tenant.")]
    tenant_id: Annotated[Id | None, Meta(description="If it is there, it must be the tenant of the token.")] = None
    recovery: Annotated[
        bool, Meta(description="False for a client whose handlers take one argument: it gets no offsets.")
    ] = True
    since: Annotated[
        str | None, Meta(description="An offset that the application has kept: what came after it is sent.")
    ] = None
    pid: Annotated[
        str | None,
        Meta(description="Sent by stock clients when they reconnect, with the last `offset`; wins over `since`."),
    ] = None
    offset: Annotated[str | None, Meta(description="The last offset that the client has got.")] = None


class Connected(Answer, frozen=True, kw_only=True):
    """The CONNECT was accepted. A client that wants offsets gets a `pid`, with which it resumes."""

    sid: str
    pid: str | msgspec.UnsetType = msgspec.UNSET


class RefusalData(Answer, frozen=True, kw_only=True):
    """Why, for programs."""

    code: str


class ConnectError(Answer, frozen=True, kw_only=True):
    """The CONNECT was refused: `connect_error` at the client."""

    message: Literal["Unauthorized"]
    data: RefusalData


OFFSET: Schema = {
    "description": "The second argument of the event: the offset of this change, or, for what is in no log, that "
    "of the last change that the socket was told. Not there with `auth.recovery: false`.",
    "type": "string",
}

_TO: Mapping[str, str] = {
    AUTH_EXPIRING: "the socket whose token expires",
    CHANGES_RESET: "the socket that has come back",
    PRESENCE: "sockets that watch people",
}
"""Whom the events that are in no log are for, where it is not all sockets of the user."""


def document() -> dict[str, Any]:
    """The description of all events."""
    emitted = {
        **{name: (each.payload, each.ack, each.does) for name, each in (*COMMANDS.items(), *TEST_COMMANDS.items())},
        **PLAIN_EVENTS,
    }
    sent: dict[str, tuple[type[Any], str]] = {
        **{name: (kind, "the tenant" if key in FOR_TENANT else "the user") for key, (name, kind) in LOGGED.items()},
        **{name: (kind, _TO.get(name, "the user")) for name, kind in UNLOGGED.items()},
    }
    acks = {ack.__name__: ack for _, ack, _ in emitted.values()}
    _, schemas = schemas_of(
        [
            *(Auth, Connected, ConnectError, Failed),
            *(payload for payload, *_ in emitted.values()),
            *acks.values(),
            *(payload for payload, _ in sent.values()),
        ]
    )
    messages = {
        "client.CONNECT": _message("CONNECT", Auth, "Asks to be let in", example={"token": "JWT", "tenantId": 1}),
        "server.CONNECT": _message("CONNECT", Connected, "The client is let in"),
        "server.CONNECT_ERROR": _message("CONNECT_ERROR", ConnectError, "The client is not let in"),
        "ack.Failed": _message("ack", Failed, "The event was refused, or has failed"),
        **{f"ack.{name}": _message("ack", kind, "The event was carried out") for name, kind in acks.items()},
        **{
            _key("client", name): _message(name, payload, does, example=EMITTED[name])
            for name, (payload, _, does) in emitted.items()
        },
        **{
            _key("server", name): _message(name, payload, f"Told to {to}", stamped=True)
            for name, (payload, to) in sent.items()
        },
    }
    operations = {
        "connect": _receive("client.CONNECT", "Asks to be let in", "server.CONNECT", "server.CONNECT_ERROR"),
        **{
            _key("emit", name): _receive(_key("client", name), does, f"ack.{ack.__name__}", "ack.Failed")
            for name, (_, ack, does) in emitted.items()
        },
        **{_key("on", name): _send(_key("server", name), f"Told to {to}") for name, (_, to) in sent.items()},
    }
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "djactors",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "this": {
                "host": "{host}",
                "pathname": "/socket.io/",
                "protocol": "ws",
                "description": "The server that gave this out; `wss` where it has a certificate.",
                "variables": {"host": {"default": "127.0.0.1:3000", "description": "Host and port."}},
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
        },
        "channels": {
            CHANNEL: {
                "address": "/",
                "title": "The namespace /",
                "description": "The only namespace of Socket.IO there is.",
                "messages": messages,
            }
        },
        "operations": operations,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Goes into `auth.token` of the CONNECT, not into a header.",
                }
            },
        },
    }


def _key(side: str, name: str) -> str:
    return f"{side}.{name.replace(':', '.')}"


def _message(
    name: str, payload: type[Any], summary: str, *, stamped: bool = False, example: Any = None
) -> dict[str, Any]:
    return {
        "name": name,
        "summary": summary,
        "payload": {"$ref": PLACE + schema_name(payload)},
        **({"x-offset": OFFSET} if stamped else {}),
        **({"examples": [{"payload": example}]} if example is not None else {}),
    }


def _reference(message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{CHANNEL}/messages/{message}"}


def _receive(message: str, summary: str, *replies: str) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{CHANNEL}"}
    return {
        "action": "receive",
        "channel": channel,
        "summary": summary,
        "messages": [_reference(message)],
        "reply": {"channel": channel, "messages": [_reference(reply) for reply in replies]},
    }


def _send(message: str, summary: str) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{CHANNEL}"},
        "summary": summary,
        "messages": [_reference(message)],
    }
