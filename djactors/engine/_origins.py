"""Which web pages may talk to this server: the browser's `Origin`, judged on every request, and CORS for the answer.

    Origin            Sec-Fetch-Site    verdict
    missing           cross-site        refused
    missing           anything else     allowed: Node, Python, same-origin GETs of browsers
    `null`                              refused, unless it is listed or `*` is
    the server's own                    allowed
    listed, or `*`                      allowed
    any other                           refused

"The server's own" means that the Origin's host and port are those of the `Host` header. The schemes are not compared:
behind a proxy that ends TLS the page is `https` while the request that reaches us is not. Such a proxy must pass `Host`
on unchanged, or its origin must be listed.

CORS alone would not be enough: it keeps a foreign page from reading answers but not from sending requests, and does not
cover WebSocket at all. Sources: the Fetch standard, "HTTP-CORS protocol"; RFC 6454 sections 6 and 7; Fetch Metadata,
`Sec-Fetch-Site`.
"""

import re
from collections.abc import Iterable
from typing import Final

from djactors.net import Request

ANY_ORIGIN: Final = "*"

_ORIGIN: Final = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[^\s\[\]@:/?#,]+)(?::([0-9]{1,5}))?", re.ASCII)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# An answer depends on the request's Origin header, even on its absence.
_VARY: Final = (("vary", "Origin"),)


def _parse(origin: str) -> tuple[str, str, str] | None:
    """Return (scheme, host, port) of a serialised origin, `None` for a text that is no origin, such as `null`."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    return scheme, host, port or _DEFAULT_PORTS[scheme]


class OriginPolicy:
    """Judges which pages may send requests. `allowed` lists origins such as `https://app.example.com`.

    The server's own origin is always allowed. `*` in the list allows every page, sandboxed pages included. The program
    must still check who may do what, for instance by tokens.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        allowed = [origin.strip().removesuffix("/").lower() for origin in allowed]
        self._any = ANY_ORIGIN in allowed
        self._allowed = frozenset(_parse(origin) or origin for origin in allowed)

    def allows(self, request: Request) -> bool:
        """Whether the page that sent the request may send it. See the module's table."""
        origin = request.headers.get("origin")
        if origin is None:
            return self._any or (request.headers.get("sec-fetch-site") or "").strip().lower() != "cross-site"
        if self._any:
            return True
        parsed = _parse(origin)
        if parsed is None:
            return origin.lower() in self._allowed
        return parsed in self._allowed or self._is_own(parsed, request.host)

    def headers(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Return the CORS headers for any answer to the request, errors included.

        They name the exact origin and never `*`, because browsers refuse `*` for requests with credentials.
        """
        origin = request.headers.get("origin")
        if origin is None or not self.allows(request):
            return _VARY
        return (("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"), *_VARY)

    @staticmethod
    def _is_own(origin: tuple[str, str, str], host: str | None) -> bool:
        if not host:
            return False
        scheme, name, port = origin
        host = host.strip().lower()
        return host == f"{name}:{port}" or (port == _DEFAULT_PORTS[scheme] and host == name)
