"""What requests are taken for: the handshake cases of the official suites, and every state of a session."""

import json

import pytest

from djactors.protocol import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    FORBIDDEN,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_PROTOCOL,
    AttachWebSocket,
    Decision,
    EngineSession,
    HttpError,
    OpenSession,
    Packet,
    PacketType,
    Poll,
    Push,
    RejectWebSocket,
    SessionSettings,
    Transport,
    judge_request,
)

POLLING, WEBSOCKET = Transport.POLLING, Transport.WEBSOCKET


def judge(method: str, query: str, *, upgrade: bool = False, session: EngineSession | None = None) -> Decision:
    parameters = dict(part.split("=") for part in query.split("&") if part)
    return judge_request(
        method,
        parameters,
        wants_websocket=upgrade,
        find_session=lambda sid: session if session is not None and sid == session.sid else None,
    )


def session_that_is(state: str) -> EngineSession:
    start = WEBSOCKET if state == "websocket only" else POLLING
    session = EngineSession("s", start, SessionSettings(), now=0.0)
    if state in ("upgrading", "probed", "upgraded"):
        session.begin_upgrade(0.0)
    if state in ("probed", "upgraded"):
        session.receive(Packet(PacketType.PING, "probe"), WEBSOCKET, 0.0)
    if state == "upgraded":
        session.receive(Packet(PacketType.UPGRADE), WEBSOCKET, 0.0)
    if state == "closed":
        session.close()
    return session


HANDSHAKES: list[tuple[str, str, bool, Decision]] = [
    ("GET", "EIO=4&transport=polling", False, OpenSession(POLLING)),
    ("GET", "EIO=4&transport=polling&sid=", False, OpenSession(POLLING)),
    ("GET", "EIO=4&transport=websocket", True, OpenSession(WEBSOCKET)),
    ("GET", "transport=polling", False, UNSUPPORTED_PROTOCOL),
    ("GET", "EIO=abc&transport=polling", False, UNSUPPORTED_PROTOCOL),
    ("GET", "EIO=3&transport=polling", False, UNSUPPORTED_PROTOCOL),
    ("GET", "transport=websocket", True, UNSUPPORTED_PROTOCOL),
    ("GET", "EIO=abc&transport=websocket", True, UNSUPPORTED_PROTOCOL),
    ("GET", "EIO=4", False, UNKNOWN_TRANSPORT),
    ("GET", "EIO=4&transport=abc", False, UNKNOWN_TRANSPORT),
    ("GET", "EIO=4&transport=webtransport", False, UNKNOWN_TRANSPORT),
    ("GET", "EIO=4&transport=POLLING", False, UNKNOWN_TRANSPORT),
    ("GET", "EIO=4", True, UNKNOWN_TRANSPORT),
    ("GET", "EIO=4&transport=abc", True, UNKNOWN_TRANSPORT),
    ("GET", "", False, UNKNOWN_TRANSPORT),
    ("POST", "EIO=4&transport=polling", False, BAD_HANDSHAKE_METHOD),
    ("PUT", "EIO=4&transport=polling", False, BAD_HANDSHAKE_METHOD),
    ("GET", "EIO=4&transport=websocket", False, BAD_REQUEST),
    ("GET", "EIO=4&transport=polling", True, BAD_REQUEST),
    ("GET", "EIO=4&transport=polling&sid=unknown", False, UNKNOWN_SID),
    ("POST", "EIO=4&transport=polling&sid=unknown", False, UNKNOWN_SID),
    ("GET", "EIO=4&transport=websocket&sid=unknown", True, UNKNOWN_SID),
]


@pytest.mark.parametrize(("method", "query", "upgrade", "decision"), HANDSHAKES)
def test_a_request_without_a_known_session(method: str, query: str, upgrade: bool, decision: Decision) -> None:
    assert judge(method, query, upgrade=upgrade) == decision
    assert judge(method, query, upgrade=upgrade, session=session_that_is("polling")) == decision


# state → decision on GET, POST, and a WebSocket
BY_STATE: list[tuple[str, Decision, Decision, Decision]] = [
    ("polling", Poll("s"), Push("s"), AttachWebSocket("s")),
    ("upgrading", Poll("s"), Push("s"), RejectWebSocket("s")),
    ("probed", Poll("s"), Push("s"), RejectWebSocket("s")),
    ("upgraded", BAD_REQUEST, BAD_REQUEST, RejectWebSocket("s")),
    ("websocket only", BAD_REQUEST, BAD_REQUEST, RejectWebSocket("s")),
    ("closed", UNKNOWN_SID, UNKNOWN_SID, UNKNOWN_SID),
]


@pytest.mark.parametrize(("state", "get", "post", "websocket"), BY_STATE)
def test_a_request_for_a_session_in_every_state(state: str, get: Decision, post: Decision, websocket: Decision) -> None:
    session = session_that_is(state)
    before = session.state
    assert judge("GET", "EIO=4&transport=polling&sid=s", session=session) == get
    assert judge("POST", "EIO=4&transport=polling&sid=s", session=session) == post
    assert judge("GET", "EIO=4&transport=websocket&sid=s", upgrade=True, session=session) == websocket
    assert session.state is before


@pytest.mark.parametrize(
    ("method", "query", "upgrade"),
    [
        ("GET", "EIO=3&transport=polling&sid=s", False),
        ("GET", "transport=polling&sid=s", False),
        ("GET", "EIO=3&transport=websocket&sid=s", True),
        ("GET", "EIO=4&transport=websocket&sid=s", False),
        ("GET", "EIO=4&transport=polling&sid=s", True),
        ("POST", "EIO=4&transport=websocket&sid=s", True),
        ("PUT", "EIO=4&transport=polling&sid=s", False),
        ("DELETE", "EIO=4&transport=polling&sid=s", False),
    ],
)
def test_a_request_that_does_not_fit_its_session_is_bad(method: str, query: str, upgrade: bool) -> None:
    assert judge(method, query, upgrade=upgrade, session=session_that_is("polling")) == BAD_REQUEST


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (UNKNOWN_TRANSPORT, 400, 0, "Transport unknown"),
        (UNKNOWN_SID, 400, 1, "Session ID unknown"),
        (BAD_HANDSHAKE_METHOD, 400, 2, "Bad handshake method"),
        (BAD_REQUEST, 400, 3, "Bad request"),
        (FORBIDDEN, 403, 4, "Forbidden"),
        (UNSUPPORTED_PROTOCOL, 400, 5, "Unsupported protocol version"),
    ],
)
def test_errors_are_worded_as_clients_know_them(error: HttpError, status: int, code: int, message: str) -> None:
    assert error.status == status
    assert json.loads(error.body) == {"code": code, "message": message}
