"""What an HTTP request to the Engine.IO path asks for, decided from its method and query alone.

`judge_request` knows no socket: it gets the method, the query and whether the request asks for a WebSocket, and finds
sessions through a function. The server checks origin, CORS, rate and authentication before or after it. Source: the
Engine.IO protocol document, revision 4; the order of checks and the refusals are the reference server's.
"""

from collections.abc import Callable, Mapping

import msgspec

from djactors.protocol._engine_packets import Transport
from djactors.protocol._engine_session import EngineSession, State


class HttpError(msgspec.Struct, frozen=True):
    """A refusal as the reference server words it; `body` is the JSON to answer with."""

    status: int
    code: int
    message: str

    @property
    def body(self) -> bytes:
        """`{"code":…,"message":…}`."""
        return msgspec.json.encode({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT = HttpError(400, 0, "Transport unknown")
UNKNOWN_SID = HttpError(400, 1, "Session ID unknown")
BAD_HANDSHAKE_METHOD = HttpError(400, 2, "Bad handshake method")
BAD_REQUEST = HttpError(400, 3, "Bad request")
FORBIDDEN = HttpError(403, 4, "Forbidden")
UNSUPPORTED_PROTOCOL = HttpError(400, 5, "Unsupported protocol version")


class OpenSession(msgspec.Struct, frozen=True):
    """Open a new session on this transport and send its open packet."""

    transport: Transport


class Poll(msgspec.Struct, frozen=True):
    """A GET that waits for packets. A second GET while one waits closes the session."""

    sid: str


class Push(msgspec.Struct, frozen=True):
    """A POST that brings packets. A second POST while one is being read closes the session."""

    sid: str


class AttachWebSocket(msgspec.Struct, frozen=True):
    """Accept the WebSocket and begin the session's upgrade with it."""

    sid: str


class RejectWebSocket(msgspec.Struct, frozen=True):
    """Accept the WebSocket and close it at once, because the session already has one, which must go on.

    The WebSocket is accepted first, because the official test suite waits for a close and takes a failed handshake for
    an error.
    """

    sid: str


Decision = OpenSession | Poll | Push | AttachWebSocket | RejectWebSocket | HttpError


def judge_request(
    method: str,
    query: Mapping[str, str],
    *,
    wants_websocket: bool,
    find_session: Callable[[str], EngineSession | None],
) -> Decision:
    """Decide what a request is, in the reference server's order of checks.

    `query` holds one value for each name. `wants_websocket` says that the request carries a valid `Upgrade: websocket`.
    Call `tick` on the session before, so that a session that has just timed out is already unknown. Answer OPTIONS
    before as well, because OPTIONS belongs to CORS.
    """
    name = query.get("transport")
    if name == Transport.POLLING:
        transport = Transport.POLLING
    elif name == Transport.WEBSOCKET:
        transport = Transport.WEBSOCKET
    else:
        return UNKNOWN_TRANSPORT
    current_version = query.get("EIO") == "4"
    well_formed = wants_websocket is (transport is Transport.WEBSOCKET)
    sid = query.get("sid")
    if not sid:
        if method != "GET":
            return BAD_HANDSHAKE_METHOD
        if not current_version:
            return UNSUPPORTED_PROTOCOL
        return OpenSession(transport) if well_formed else BAD_REQUEST
    session = find_session(sid)
    if session is None or session.state is State.CLOSED:
        return UNKNOWN_SID
    if not current_version or not well_formed:
        return BAD_REQUEST
    if transport is Transport.WEBSOCKET:
        if method != "GET":
            return BAD_REQUEST
        return AttachWebSocket(sid) if session.state is State.POLLING else RejectWebSocket(sid)
    if session.transport is not Transport.POLLING:
        return BAD_REQUEST
    if method == "GET":
        return Poll(sid)
    return Push(sid) if method == "POST" else BAD_REQUEST
