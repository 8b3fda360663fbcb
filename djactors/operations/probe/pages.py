"""The checks of browsers: the server's own page, pages of strangers, pages that are listed; and of clients of other
protocols, which must be refused as the server refuses them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from djactors.operations.probe.delivery import Visit, forbidden_by_websocket, sends_binary
from djactors.operations.probe.door import NoAnswerError
from djactors.operations.probe.lines import ForbiddenError, LostError, NoWebSocketError, PollingLine
from djactors.operations.probe.report import WrongError
from djactors.protocol import CLOSE

STRANGER: Final = "https://djactors-probe.invalid"
"""A page that nobody has: `.invalid` is reserved (RFC 2606)."""

ANY: Final = "*"

ASKED: Final = "x-djactors-probe"
"""A header that the server does not know, as `extraHeaders` has them."""

MSGPACK: Final = b"\x84\xa4type\x00\xa4data\xc0\xa3nsp\xa1/\xa2id\xc0"
"""A CONNECT as socket.io-msgpack-parser writes it."""


async def _push_from(visit: Visit, origin: str) -> str | None:
    """Push as a page of this origin does; the words of a refusal, or None. A page's GETs have no Origin, its POSTs
    do."""
    line = PollingLine(visit.door)
    await line.open()
    pushing = PollingLine(visit.door, [("Origin", origin)])
    pushing.engine = line.engine
    try:
        await pushing.send(CLOSE)
    except ForbiddenError as error:
        await line.close()
        return str(error)
    except LostError as error:
        await line.close()
        raise WrongError("polling_refused", str(error), "200 ok") from None
    return None


async def _refused(visit: Visit, origin: str) -> str | None:
    """How a page of this origin is refused by either transport, or None."""
    refused = await _push_from(visit, origin)
    if refused is not None:
        return f"POST with Origin {origin} → {refused}"
    try:
        refused = await forbidden_by_websocket(visit.door, [("Origin", origin)])
    except NoWebSocketError:
        return None  # The check of WebSockets says what there is to say.
    return None if refused is None else f"WebSocket with Origin {origin} → {refused}"


async def own_page(visit: Visit) -> str:
    """The page that comes with the server connects, by a POST and a WebSocket with its Origin."""
    door = visit.door
    refused = await _refused(visit, door.origin)
    if refused is None:
        return door.origin
    visit.refused.add(door.origin)
    expected = f"the Host {door.host_header} at the server, with which the Origin is compared"
    without = f"{door.scheme}://{door.host_header.removesuffix(f':{door.port}')}"
    if without != door.origin and await _refused(visit, without) is None:
        raise WrongError("host_without_port", refused, expected)
    raise WrongError("host_changed", refused, expected)


async def foreign_page(visit: Visit, listed: Sequence[str]) -> str:
    """A page of strangers does not connect."""
    if ANY in listed:
        return "not looked at, as --origin '*' says that all may connect"
    if await _push_from(visit, STRANGER) is None:
        raise WrongError("any_origin", f"POST with Origin {STRANGER} → 200 ok", "403")
    try:
        by_websocket = await forbidden_by_websocket(visit.door, [("Origin", STRANGER)])
    except NoWebSocketError:
        return "refused by polling"
    if by_websocket is None:
        raise WrongError("any_origin", f"a WebSocket with Origin {STRANGER} → 101", "403")
    return "refused"


async def listed_pages(visit: Visit, listed: Sequence[str]) -> str:
    """The pages that --origin names connect."""
    named = [STRANGER if origin == ANY else origin for origin in listed]
    for origin in named:
        refused = await _refused(visit, origin)
        if refused is not None:
            visit.refused.add(origin)
            raise WrongError("origin_not_listed", refused, "200 ok and 101")
    return ", ".join(named) or "none named by --origin"


async def preflight(visit: Visit, listed: Sequence[str]) -> str:
    """A page may send headers of its own: what its browser asks for is granted."""
    named = [visit.door.origin, *(origin for origin in listed if origin != ANY)]
    origins = [origin for origin in named if origin not in visit.refused]
    for origin in origins:
        headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", f"content-type, {ASKED}"),
        ]
        answer = await visit.door.request("OPTIONS", "/socket.io/?EIO=4&transport=polling", headers=headers)
        allowed = answer.headers.get("access-control-allow-headers", "")
        if not 200 <= answer.status < 300 or ASKED not in allowed.lower():
            came = (
                f"OPTIONS with Origin {origin} → {answer.status}, Access-Control-Allow-Headers {allowed or 'missing'}"
            )
            raise WrongError("headers_not_allowed", came, f"204 with {ASKED} among the allowed headers")
    return f"granted to {', '.join(origins) or 'none, as all are refused'}"


async def old_client(visit: Visit) -> str:
    """A client of Engine.IO 3 is refused with the code that says so."""
    answer = await visit.door.request("GET", "/socket.io/?EIO=3&transport=polling")
    if answer.status != 400 or b'"code":5' not in answer.body:
        raise WrongError("old_protocol", answer.told(), '400 {"code":5,…}')
    return "refused"


async def other_parser(visit: Visit) -> str:
    """A packet of another parser ends its session."""
    try:
        taken = await sends_binary(visit.door, MSGPACK)
    except (NoWebSocketError, LostError, NoAnswerError):
        return "not looked at, as there is no WebSocket"
    if taken:
        raise WrongError("other_parser", "the session goes on", "its end")
    return "refused"
