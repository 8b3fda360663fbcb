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

What may be listed:

    https://app.example.com        one origin; without a port the scheme's own, 80 or 443
    capacitor://localhost, app://  the pages of an application, with any scheme; the host may be empty
    https://*.example.com          each host with exactly one label more: `a.example.com`, but neither `example.com` nor
                                   `a.b.example.com`, as in the certificates of RFC 9525
    null                           sandboxed pages and files, whoever made them
    *                              every page

An asterisk anywhere else is refused, and so is an asterisk for all hosts below a top level domain.

CORS alone would not be enough: it keeps a foreign page from reading answers but not from sending requests, and does not
cover WebSocket at all. Sources: the Fetch standard, "HTTP-CORS protocol"; RFC 6454 sections 6 and 7; Fetch Metadata,
`Sec-Fetch-Site`.
"""

import re
from collections.abc import Iterable
from typing import Final

from djactors.net import Request

ANY_ORIGIN: Final = "*"
_OPAQUE: Final = "null"
_WILDCARD: Final = "*."

# A host may be empty, as in `app://`.
_ORIGIN: Final = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s\[\]@:/?#,*\\]*)(?::([0-9]{1,5}))?", re.ASCII)
_HOST: Final = re.compile(r"\[[0-9a-f:.]+\]|(?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\.|", re.ASCII)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
# Characters of a header that are told: more than a host's name has in practice.
_SHOWN: Final = 80
# Schemes that are written by mistake, because no browser has pages with them.
_NO_PAGES: Final = frozenset({"ws", "wss", "ftp"})
# The one host of a single label below which a wildcard is harmless: its names always mean the machine itself.
_LOCAL: Final = "localhost"

# An answer depends on the request's Origin header, even on its absence.
_VARY: Final = (("vary", "Origin"),)

_PREFLIGHT_SECONDS: Final = 7200
"""How long a browser may remember a preflight. Browsers cap it at two hours (Chromium) or a day (Firefox)."""

MAX_ASKED_HEADERS: Final = 32
"""The most headers that a preflight may ask for. Programs send a handful."""

MAX_ASKED_BYTES: Final = 1024
"""The most bytes of the list of these headers."""

# RFC 9110 section 5.6.2. Browsers send the names in lower case, separated by commas.
_HEADER_NAMES: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*", re.ASCII)

_Parsed = tuple[str, str, str]


def _parse(origin: str) -> _Parsed | None:
    """Return (scheme, host, port) of a serialised origin, `None` for a text that is no origin, such as `null`."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    if not host and (port or scheme in _DEFAULT_PORTS):
        return None
    return scheme, host, port or _DEFAULT_PORTS.get(scheme, "")


class OriginPolicy:
    """Judges which pages may send requests. `allowed` lists origins such as `https://app.example.com`.

    The server's own origin is always allowed. `*` in the list allows every page, sandboxed pages included. The program
    must still check who may do what, for instance by tokens. The module says what may be listed. Anything else raises
    `ValueError`, whose message says what is wrong and how to write it.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._any = False
        self._opaque = False
        origins: set[_Parsed] = set()
        # Each holds the host that follows the wildcard.
        wildcards: set[_Parsed] = set()
        for text in allowed:
            if text.strip() == ANY_ORIGIN:
                self._any = True
            elif text.strip().lower() == _OPAQUE:
                self._opaque = True
            else:
                parsed, is_wildcard = _read_pattern(text.strip().lower())
                (wildcards if is_wildcard else origins).add(parsed)
        self._origins = frozenset(origins)
        self._wildcards = frozenset(wildcards)

    def allows(self, request: Request) -> bool:
        """Whether the page that sent the request may send it. See the module's table."""
        origin = request.headers.get("origin")
        if origin is None:
            return self._any or (request.headers.get("sec-fetch-site") or "").strip().lower() != "cross-site"
        if self._any:
            return True
        parsed = _parse(origin)
        if parsed is None:
            return self._opaque and origin.lower() == _OPAQUE
        return parsed in self._origins or self._is_own(parsed, request.host) or self._is_below(parsed)

    def headers(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Return the CORS headers for any answer to the request, errors included.

        They name the exact origin and never `*`, because browsers refuse `*` for requests with credentials.
        """
        origin = request.headers.get("origin")
        if origin is None or not self.allows(request):
            return _VARY
        return (("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"), *_VARY)

    @staticmethod
    def told(request: Request) -> str:
        """Say what a request was judged by, as it came: for whoever looks why a page was refused."""
        origin, host = request.headers.get("origin"), request.headers.get("host", "none")
        if origin is None:
            return f"no Origin, Sec-Fetch-Site {request.headers.get('sec-fetch-site')}, Host {host}"
        told = f"Origin {origin[:_SHOWN]}, Host {host[:_SHOWN]}"
        forwarded = request.headers.get("x-forwarded-host")
        return told if forwarded is None else f"{told}, X-Forwarded-Host {forwarded[:_SHOWN]}, which is not looked at"

    def preflight(self, request: Request, methods: str, headers: str) -> tuple[tuple[str, str], ...]:
        """Return the headers of the answer to a page's OPTIONS. They say what a page of an allowed origin may send.

        Such a page may use `methods` and send all headers that it asks for, because the page is trusted, and a proxy
        in front of the server may need headers that the server does not know. If the page asks for no headers, for more
        than `MAX_ASKED_HEADERS` in `MAX_ASKED_BYTES`, or sends no list of names, it may send `headers` only, and the
        browser tells its developers which header is missing.
        """
        vary = ("vary", "Origin, Access-Control-Request-Headers")
        cors = [header for header in self.headers(request) if header not in _VARY]
        if not cors:
            return (vary,)
        asked = request.headers.get("access-control-request-headers")
        if asked is not None and _is_list_of_names(asked):
            headers = asked
        return (
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", headers),
            ("access-control-max-age", str(_PREFLIGHT_SECONDS)),
            *cors,
            vary,
        )

    def _is_below(self, origin: _Parsed) -> bool:
        """Whether the host is one label below that of a wildcard."""
        if not self._wildcards:
            return False
        scheme, host, port = origin
        label, _, rest = host.partition(".")
        return bool(label) and (scheme, rest, port) in self._wildcards

    @staticmethod
    def _is_own(origin: _Parsed, host: str | None) -> bool:
        scheme, name, port = origin
        if not host or scheme not in _DEFAULT_PORTS:
            return False
        host = host.strip().lower()
        return host == f"{name}:{port}" or (port == _DEFAULT_PORTS[scheme] and host == name)


def _read_pattern(text: str) -> tuple[_Parsed, bool]:
    """Read what is listed: an origin, or what follows a wildcard. Raises `ValueError`."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"is no origin: write it with its scheme, like https://{text or 'app.example.com'}")
    if scheme in _NO_PAGES:
        raise ValueError(
            f"is no page's origin: write it with the page's scheme, like https://{rest or 'app.example.com'}"
        )
    # A slash alone is no mistake, because the address bar shows it behind the host.
    rest = rest.removesuffix("/")
    is_wildcard = rest.startswith(_WILDCARD)
    host = rest.removeprefix(_WILDCARD) if is_wildcard else rest
    if "*" in host:
        raise ValueError(
            "has an asterisk where none is understood: it stands for one whole label at the beginning of the host, "
            "like https://*.example.com"
        )
    if "/" in host or "?" in host or "#" in host:
        raise ValueError(f"is more than an origin: leave out what follows the host, like {scheme}://app.example.com")
    if "@" in host:
        raise ValueError(f"is no origin: leave out the user, like {scheme}://app.example.com")
    if not host.isascii():
        raise ValueError(
            "is not written as browsers send it: write the host in ASCII, like https://xn--bcher-kva.example"
        )
    parsed = _parse(f"{scheme}://{host}")
    if parsed is None or _HOST.fullmatch(parsed[1]) is None or int(parsed[2] or 0) > 65535:
        raise ValueError("is no origin: write it like https://app.example.com")
    labels = parsed[1].split(".")
    if is_wildcard and (len(labels) < 2 or labels[-1].isdigit() or "[" in host) and parsed[1] != _LOCAL:
        raise ValueError(
            "allows pages of strangers: write at least two labels behind the asterisk, like https://*.example.com"
        )
    return parsed, is_wildcard


def _is_list_of_names(text: str) -> bool:
    return (
        len(text) <= MAX_ASKED_BYTES
        and text.count(",") < MAX_ASKED_HEADERS
        and _HEADER_NAMES.fullmatch(text) is not None
    )
