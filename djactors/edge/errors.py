"""How a refusal or a failure is answered: always as `{ "error": { "code", "message" } }`, with the fitting HTTP status.

A client is never told what went wrong inside the server; that is in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from djactors.domain.errors import Code, Refused, importing
from djactors.domain.notifications import encode
from djactors.edge.answers import Error, ErrorDetail
from djactors.edge.auth import Unauthorized
from djactors.kernel import KernelError
from djactors.net import Response
from djactors.store.errors import StoreCrowded, StoreError, StoreInPart

STATUS: Mapping[Code, int] = {
    Code.INVALID: 400,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.KEY_REUSED: 422,
    Code.TOO_MANY_REQUESTS: 429,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.TENANT_IMPORTING: 503,
}
"""The HTTP status for each code."""

NOT_KEPT = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
"""On every answer in JSON, errors or not. What one person's token shows is for no cache; and a browser that took JSON
for a page, because of the text in it, would run that text."""

RETRY_AFTER = 1
"""The time in seconds after which a refused sender may try again. A full mailbox empties within a few commits."""


class TooManyRequests(Refused):
    """The sender goes too fast; it may come back in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = max(1, ceil(retry_after))
        super().__init__(Code.TOO_MANY_REQUESTS, f"too many requests: try again in {self.retry_after} s")


EXPECTED = (Refused, KernelError, StoreError, Unauthorized)
"""Exceptions that are an answer. Any other exception is a fault of this program."""


def error_of(error: Exception) -> tuple[Code, str]:
    """The code and the message that a client gets for an exception."""
    match error:
        case Refused(code=code, message=message):
            return code, message
        case Unauthorized(message=message):
            return Code.UNAUTHORIZED, message
        case StoreCrowded():
            return Code.TOO_MANY_REQUESTS, "too many of your requests are waiting already: send fewer at a time"
        case StoreInPart():
            return error_of(importing())
        case KernelError() | StoreError():
            return Code.UNAVAILABLE, "the server cannot take this now: try again"
        case _:
            return Code.INTERNAL, "the server failed on this: it is in its log"


def error_body(code: str, message: str) -> bytes:
    """The JSON of an error."""
    return encode(Error(error=ErrorDetail(code=code, message=message)))


def error_response(error: Exception) -> Response:
    """The HTTP answer for an exception."""
    code, message = error_of(error)
    status = STATUS[code]
    headers: tuple[tuple[str, str], ...] = ()
    if status == 401:
        headers = (("www-authenticate", "Bearer"),)
    elif status in (429, 503):
        seconds = error.retry_after if isinstance(error, TooManyRequests) else RETRY_AFTER
        headers = (("retry-after", str(seconds)),)
    return Response(status, error_body(code, message), headers=headers)


def wrong_method(methods: Iterable[str]) -> Response:
    """The HTTP answer for a known path with a method that it does not take."""
    allowed = ", ".join(sorted(methods))
    body = error_body("method_not_allowed", f"this route takes {allowed}")
    return Response(405, body, headers=(("allow", allowed),))
