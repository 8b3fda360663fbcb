"""Refuses JSONP polling in a form that the old clients with this transport show to their users.

JSONP is polling by `<script>`. Clients up to socket.io-client 3 use it with `forceJSONP`, or if there is no
XMLHttpRequest. The server does not offer it, because every page can load a script, and the browser then sends no
Origin. A plain error would not be seen: these clients see neither the status nor the body of an answer and only report
"jsonp poll error". They do see a call of their own function:

    ___eio[0]("0{…}␞44{\"message\":\"JSONP …\"}␞1");

This opens a session that does not exist, refuses the CONNECT, and closes the session, so that `connect_error` (`error`
in socket.io-client 2) gets the message. The answer holds no secret, so the Origin does not matter. The client takes the
session for opened and therefore tries again after its shortest delay, about a second.

Sources: `polling-jsonp` of engine.io 6 and of engine.io-client 3 and 4; the protocol documents of Engine.IO, revisions
3 and 4, and Socket.IO, revisions 4 and 5.
"""

from typing import Final

import msgspec

from djactors.engine._polling import NOT_KEPT
from djactors.net import Request, Response

MESSAGE: Final = (
    "JSONP polling is not served here: let the client poll by XMLHttpRequest or use WebSocket (no forceJSONP)"
)
OLD_MESSAGE: Final = f"{MESSAGE}, and take socket.io-client 3 or later"

# A page has a handful of them.
_MAX_DIGITS: Final = 9
# The client needs the times (milliseconds), although it never comes to use them.
_OPEN: Final = '0{"sid":"refused","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'


def asks_for_jsonp(request: Request) -> bool:
    """Tell whether the request is the handshake of a client that polls by JSONP."""
    query = request.query
    return "j" in query and "sid" not in query and query.get("transport") == "polling" and request.method == "GET"


def jsonp_refusal(request: Request) -> Response:
    """Answer it with the refusal."""
    digits = "".join(digit for digit in request.query["j"] if digit in "0123456789")[:_MAX_DIGITS] or "0"
    if request.query.get("EIO") == "3":
        packets = (_OPEN, f"44{_quoted(OLD_MESSAGE)}", "1")
        payload = "".join(f"{len(packet)}:{packet}" for packet in packets)
    else:
        payload = "\x1e".join((_OPEN, f'44{{"message":{_quoted(MESSAGE)}}}', "1"))
    # With another status than 200 a browser does not run it.
    return Response(200, f"___eio[{digits}]({_quoted(payload)});".encode(), "text/javascript; charset=UTF-8", NOT_KEPT)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
