"""What the engine refuses, and how it is told to whoever runs the server: what came, and what was expected.

What came may hold a client's own words, such as its Origin. It never holds a sid or the content of a packet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from djactors.net import Request
from djactors.protocol import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_PROTOCOL,
    HttpError,
    ProtocolError,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that a client was refused.

    Attributes:
        reason: a word from a fixed set, safe as a metric label: `origin`; `jsonp`; `draining`, `address`, `sessions`
            and `rate` for newcomers; `transport`, `sid`, `method`, `version` and `request` for requests that make no
            sense; `packet`, `parser`, `payload` and `frame` for what was sent on a session, which has ended with it;
            `connect_timeout` and `slow_consumer` for sessions that were ended over a bound.
        peer: the client's address.
        came: what the client sent or did, in at most a few words and perhaps its own.
        expected: what would have been accepted.
    """

    reason: str
    peer: str
    came: str
    expected: str


_CLIENTS: Final[Mapping[str, str]] = {"2": "socket.io-client 0.9", "3": "socket.io-client 1 or 2"}
"""Which stock clients speak other revisions of Engine.IO."""

_WRONG: Final = {
    UNKNOWN_TRANSPORT: ("transport", "a transport that is none", "transport=polling or transport=websocket"),
    UNKNOWN_SID: ("sid", "a sid that is not known, or not any more", "the sid of an open session"),
    BAD_HANDSHAKE_METHOD: ("method", "another method than GET, without a sid", "a GET, which opens a session"),
    BAD_REQUEST: ("request", "a request that does not fit the session", "requests as stock clients make them"),
}
"""By the answer: the reason, what came and what was expected."""


def wrong_request(error: HttpError, request: Request, came: str = "") -> Refusal:
    """A request that is answered with this error. `came` says more exactly what came, where that is known."""
    if error == UNSUPPORTED_PROTOCOL:
        return Refusal("version", request.peer, _version(request), "EIO=4, which is revision 4 of Engine.IO")
    reason, usual, expected = _WRONG[error]
    return Refusal(reason, request.peer, came or usual, expected)


def _version(request: Request) -> str:
    version = request.query.get("EIO", "")
    if not version:
        return "no EIO in the query"
    if not (version.isascii() and version.isdigit() and len(version) <= 3):
        return "an EIO that is no number"
    client = _CLIENTS.get(version)
    return f"EIO={version}" if client is None else f"EIO={version}, as {client} sends it"


def wrong_packets(error: ProtocolError, peer: str) -> Refusal:
    """A message, or a payload of several, that ended its session."""
    if error.code == "unannounced_bytes":
        expected = "packets of Socket.IO's default parser, which are text and announce their bytes"
        return Refusal("parser", peer, str(error), expected)
    if error.code == "payload_bytes":
        return Refusal("payload", peer, str(error), "less at a time")
    return Refusal("packet", peer, str(error), "packets of Engine.IO 4 and Socket.IO 5")
