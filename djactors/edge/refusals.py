"""What the operator reads of everybody who is refused: what came, what was expected, and how to mend it.

All refusals of the edge are worded here. `Refusals` counts and logs them, and keeps a flood of them from being a flood
of entries. `expected` is mostly what the client was told as well. `mend` is for the operator, who can change the
client, the proxy in between, or a setting. No token, secret, sid, query or body is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from djactors.config import environment_name
from djactors.domain.errors import Code
from djactors.edge.auth import Unauthorized
from djactors.edge.errors import EXPECTED, STATUS, error_of
from djactors.engine import Refusal
from djactors.net import Request
from djactors.telemetry import Telemetry, Trace, trace_id

_ORIGIN: Final = (
    "if the page is this server's own, have the proxy pass Host on (nginx: `proxy_set_header Host $http_host`, Apache: "
    f"`ProxyPreserveHost On`); otherwise add the page's origin to {environment_name('allowed_origins')}"
)
_STOCK: Final = "use a stock client of Socket.IO for revision 5 of its protocol, such as socket.io-client 3 or newer"
_LOOP: Final = "look for a loop in the client, which connects or sends again and again"

_NEWCOMERS: Final = frozenset({"origin", "draining", "address", "sessions", "share", "rate", "version"})
"""The engine's reasons for which a client did not come in at all."""

ENGINE: Final[Mapping[str, str]] = {
    "origin": _ORIGIN,
    "draining": "none: the client tries again",
    "address": f"if an office or a proxy stands behind it, raise {environment_name('max_connections_per_address')}",
    "share": f"if a proxy stands behind it, name the proxy in {environment_name('trusted_proxies')}; for an office, "
    f"raise {environment_name('admit_rate')}",
    "sessions": f"raise {environment_name('max_connections')}, if the machine has room for more",
    "rate": f"none if the server has just started; else raise {environment_name('admit_rate')}",
    "transport": _STOCK,
    "jsonp": "leave `forceJSONP` and `jsonp` out of the client, or update it to socket.io-client 3 or newer",
    "sid": "none after a restart: the client connects anew; if it goes on, have the proxy keep to one server",
    "method": _STOCK,
    "version": "use socket.io-client 3 or newer, or another client for Engine.IO 4",
    "request": _STOCK,
    "packet": _STOCK,
    "parser": "leave the option `parser` out of the client: socket.io-msgpack-parser and others are not spoken here",
    "payload": f"have the client send less at once, or raise {environment_name('max_payload')}",
    "frame": f"use another WebSocket client, or raise {environment_name('max_payload')} if the message is too big",
    "connect_timeout": "have the client connect to the namespace `/` at once, as stock clients do",
    "slow_consumer": f"none: it comes back and is sent what it missed; see {environment_name('outbox_bytes')}",
}
"""What to do about each reason for which the engine refuses."""

CONNECTION: Final[Mapping[str, tuple[str, str]]] = {
    "total": (
        "no more connections than the server may have",
        f"raise {environment_name('max_connections')}, or the limit on open files (`ulimit -n`)",
    ),
    "address": (
        "no more connections from one address than it may have",
        f"if an office or a proxy stands behind it, raise {environment_name('max_connections_per_address')}",
    ),
    "gave_way": (
        "a good token soon after connecting, while there is room",
        f"look for clients that connect and say nothing, or raise {environment_name('max_connections')}",
    ),
    "overflow": ("no more connections than can be answered", "look for a flood: none of these was even answered"),
}
"""What was expected of a connection over a cap, and what to do."""

TOKEN: Final[Mapping[str, str]] = {
    "token_missing": "have the client send a token of your backend's",
    "token_invalid": "compare the key, the algorithm and the claims with which the backend signs with the server's",
    "token_expired": "have the client get a new token before the old one expires",
    "token_without_user": "connect as a person: a service's token is for publishing",
    "tenant_mismatch": "leave auth.tenantId out, or send the token's own",
    "session_of_another_user": "open a connection of its own for each person",
}
"""What to do about a token that was refused."""

ERROR: Final[Mapping[Code, str]] = {
    Code.INVALID: "have the sender change the request",
    Code.FORBIDDEN: "use another person's or a service's token for this",
    Code.NOT_FOUND: "look at the path and the id: it may be another tenant's, or gone",
    Code.CONFLICT: "have the sender load the current state first",
    Code.KEY_REUSED: "have the sender use a new idempotency key for each event",
    Code.TOO_MANY_REQUESTS: "have the sender wait as Retry-After says; the limits are the settings of rates and bursts",
    Code.UNAVAILABLE: "look at the entries about the database, and at how much waits in /metrics",
}
"""What to do about each error; the message to the client says what was expected."""


def request_refused(telemetry: Telemetry, request: Request, error: Exception) -> None:
    """A request to a route was answered with this error."""
    code, message = error_of(error)
    came = f"{request.method} {request.path}"
    ids = _trace_of(request)
    _refused(telemetry, f"http_{STATUS[code]}", "request refused", request.peer, error, code, came, message, **ids)


def item_refused(telemetry: Telemetry, request: Request, error: Exception) -> None:
    """An event of a batch was answered with this error. A fault of ours is told where it happened."""
    if isinstance(error, EXPECTED):
        code, message = error_of(error)
        came = f"an event in {request.method} {request.path}"
        ids = _trace_of(request)
        _refused(telemetry, f"item_{code}", "event refused", request.peer, error, code, came, message, **ids)


def method_refused(telemetry: Telemetry, request: Request, methods: Iterable[str]) -> None:
    """A path that exists was asked for by a method that it does not take."""
    expected = f"one of the methods {', '.join(sorted(methods))}"
    form_refused(telemetry, request.peer, 405, "method_not_allowed", expected, came=f"{request.method} {request.path}")


def websocket_refused(telemetry: Telemetry, request: Request, path: str) -> None:
    """A WebSocket was asked for where there is none."""
    came, expected = f"a WebSocket at {request.path}", f"a WebSocket at {path}"
    telemetry.refusals.refused(
        "http_404", "request refused", request.peer, code="no_websocket", came=came, expected=expected, mend=_STOCK
    )


def proxy_refused(telemetry: Telemetry, peer: str, problem: str) -> None:
    """A trusted proxy did not begin its connection as it must."""
    telemetry.refusals.refused(
        "connection_proxy_header",
        "connection refused",
        peer,
        came=problem,
        expected="a header of version 2 of the PROXY protocol from a trusted proxy",
        mend=f"have the proxy send it (haproxy: send-proxy-v2), or set {environment_name('proxy_protocol')}=false",
    )


def handshake_failed(telemetry: Telemetry, peer: str, problem: str) -> None:
    """A client did not come through the handshake of TLS."""
    telemetry.refusals.refused(
        "connection_tls",
        "connection refused",
        peer,
        came=problem,
        expected="a handshake of TLS 1.2 or newer",
        mend="have the client use https: and wss:, and trust the authority of the certificate",
    )


def form_refused(telemetry: Telemetry, peer: str, status: int, code: str, message: str, came: str = "") -> None:
    """A request was refused for its form: no route has seen it."""
    mend = "have the sender, or the proxy in between, keep to HTTP as `expected` says"
    telemetry.refusals.refused(
        f"http_{status}", "request refused", peer, code=code, came=came, expected=message, mend=mend
    )


def preflight_refused(telemetry: Telemetry, request: Request, came: str) -> None:
    """A page was not allowed to ask: its browser keeps the request to itself."""
    expected = "an Origin that is allowed"
    telemetry.refusals.refused(
        "http_origin", "request refused", request.peer, came=came, expected=expected, mend=_ORIGIN
    )


def engine_refused(telemetry: Telemetry, refusal: Refusal) -> None:
    """The engine refused a request, a newcomer or what a session was sent."""
    telemetry.refusals.refused(
        f"engine_{refusal.reason}",
        "connection refused" if refusal.reason in _NEWCOMERS else "session refused",
        refusal.peer,
        came=refusal.came,
        expected=refusal.expected,
        mend=ENGINE.get(refusal.reason, _STOCK),
    )


def connection_refused(telemetry: Telemetry, reason: str, peer: str) -> None:
    """A TCP connection was over a cap."""
    expected, mend = CONNECTION[reason]
    telemetry.refusals.refused(f"connection_{reason}", "connection refused", peer, expected=expected, mend=mend)


def connect_refused(telemetry: Telemetry, peer: str, error: Unauthorized) -> None:
    """A CONNECT was answered with `connect_error`."""
    _refused(telemetry, error.code, "connect refused", peer, error, Code.UNAUTHORIZED, "CONNECT", error.message)


def namespace_refused(telemetry: Telemetry, peer: str, served: str) -> None:
    """A client asked to join a namespace that is not there."""
    expected, mend = f"the namespace {served}", f"have the client connect to {served}, without a namespace in its URL"
    telemetry.refusals.refused(
        "invalid_namespace", "connect refused", peer, came="another namespace", expected=expected, mend=mend
    )


def emit_refused(telemetry: Telemetry, peer: str, name: str, error: Exception, **ids: int | None) -> None:
    """What a client emitted was refused; or it failed, by a fault of ours."""
    code, message = error_of(error)
    if isinstance(error, EXPECTED):
        _refused(telemetry, f"emit_{code}", "emit refused", peer, error, code, name, message, **ids)
    else:
        telemetry.metrics.refusals.labels(f"emit_{code}").inc()
        telemetry.refusals.failed("emit failed", error, peer, name=name, **ids)


def socket_closed(telemetry: Telemetry, peer: str, reason: str, came: str, expected: str, **ids: int | None) -> None:
    """A socket was closed for what its client did, or did not do."""
    mend = TOKEN.get(reason, _LOOP)
    telemetry.refusals.refused(reason, "socket closed", peer, "", came=came, expected=expected, mend=mend, **ids)


def _refused(
    telemetry: Telemetry,
    reason: str,
    what: str,
    peer: str,
    error: Exception,
    code: str,
    came: str,
    expected: str,
    **ids: int | str | None,
) -> None:
    mend, more = ERROR.get(Code(code), ""), {}
    if isinstance(error, Unauthorized):
        code, mend = error.code, TOKEN.get(error.code, TOKEN["token_invalid"])
        # What the client is not told: which claim it was, and why.
        more = {"detail": error.detail} if error.detail else {}
    elif code == Code.UNAVAILABLE:
        # The client is told the same whatever it was.
        more = {"detail": f"{type(error).__name__}: {error}"}
    telemetry.refusals.refused(reason, what, peer, code=code, came=came, expected=expected, mend=mend, **more, **ids)


def _trace_of(request: Request) -> dict[str, str | None]:
    """The id of a post, for its entry."""
    return {"trace_id": trace_id(request.trace.text)} if isinstance(request.trace, Trace) else {}
