"""Parses the bytes of a request's head into a `Head`, without I/O, and decides alone how the body is framed.

llhttp (strict, through httptools) checks the grammar of a head. It gets exactly one head and never the bytes behind it,
so two parsers inside this server cannot disagree about where a body ends (request smuggling, RFC 9112 section 11.2). A
body is either `Content-Length` bytes or chunked, never both, and everything else is refused.

A sender on a kept connection repeats its head to the last byte, so parsed heads are remembered (`HeadMemory`). But many
heads never come again: each poll of a stock Socket.IO client has another `t` in its query. If all heads were kept, a
few hundred polling clients would push out the backends' heads within a second, and the memory is there for these. So a
head is kept only when it comes for the second time. After the first time, only its hash is noted.
"""

import re
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

from djactors.net._http_messages import Carrier, Limits, Request, RequestRefused, bad_request, elements, remembered

HEAD_END: Final = b"\r\n\r\n"
# A second value of one of these would let two readers of the request disagree about it.
_SINGULAR: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "authorization",
        "origin",
        "sec-websocket-key",
        "sec-websocket-version",
        "idempotency-key",
    }
)
_VERSIONS: Final = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_REQUEST_LINE: Final = re.compile(rb"[A-Z][A-Z-]{0,31} [!-~]+ (HTTP/[0-9]\.[0-9])\r\n")
# 10^15 bytes are more than any limit, and so few digits are always fast to convert.
_LENGTH: Final = re.compile(r"[0-9]{1,15}", re.ASCII)

REMEMBERED_HEADS: Final = 512
"""Parsed heads that are kept: enough for a few senders, each with a few hundred lengths of body. With all that was
parsed from them, they take 7 MiB at most, and 3 MiB if they have the longest tokens."""

REMEMBERED_BYTES: Final = 2 * 1024
"""Bytes of the longest head that is kept. A head with a token signed by RSA has about half as many."""

REMEMBERED_FIELDS: Final = 32
"""The most headers and query parameters of a head that is kept. A browser behind a proxy sends fewer. Each of them
takes some hundred bytes when parsed, however short it is, and a head of `REMEMBERED_BYTES` has room for hundreds."""

NOTED_HEADS: Final = 1024
"""A head is kept if it comes again before this many other new heads, and is forgotten after twice as many. A busy
server gets so many heads in a second. One number is noted for each head, 140 KiB in all."""

_MADE_FOR_ONE: Final = frozenset({"idempotency-key", "sec-websocket-key"})


class Head:
    """One parsed head: all of a request except its body and its sender. It was parsed under `limits`. Immutable."""

    __slots__ = (
        "content_length",
        "headers",
        "keep_alive",
        "limits",
        "method",
        "path",
        "query",
        "target",
        "version",
    )

    def __init__(
        self,
        limits: Limits,
        method: str,
        path: str,
        query: dict[str, str],
        headers: dict[str, str],
        *,
        target: str,
        version: str,
        keep_alive: bool,
        content_length: int | None,
    ) -> None:
        self.limits = limits
        self.method = method
        self.path = path
        self.query = query
        # Read-only, because many requests may share the headers.
        self.headers = MappingProxyType(headers)
        self.target = target
        self.version = version
        self.keep_alive = keep_alive
        self.content_length = content_length

    def request(self, peer: str, carrier: Carrier | None = None) -> Request:
        """A new request with this head."""
        return Request(
            self.method,
            self.path,
            dict(self.query) if self.query else None,
            self.headers,
            peer=peer,
            target=self.target,
            version=self.version,
            keep_alive=self.keep_alive,
            content_length=self.content_length,
            carrier=carrier,
        )


class HeadMemory:
    """Parsed heads by their bytes. A sender on a kept connection repeats its head to the last byte.

    Parsing a head takes 4 µs, and finding it here a quarter of a microsecond. A parsed head depends on nothing but its
    bytes and the limits. It is found only by exactly these bytes and under these limits, so nobody learns anything
    from this memory that is not in the bytes sent. Whether a token in the head is valid is checked anew for each
    request.

    Tokens and cookies, valid or not, stay here until newer heads push them out (`REMEMBERED_HEADS`). They are in the
    memory of the process only, like verified tokens, and nobody is shown them.
    """

    __slots__ = ("_heads", "_noted", "_noted_before")

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        # Hashes of heads that came once: the latest ones, and the `NOTED_HEADS` before them.
        self._noted: set[int] = set()
        self._noted_before: set[int] = set()

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, raw: bytes, limits: Limits) -> Head | None:
        """Return the head that was parsed from these bytes under the same limits, None if it is not remembered."""
        head = self._heads.get(raw)
        return head if head is not None and head.limits is limits else None

    def keep(self, raw: bytes, head: Head) -> None:
        """Remember the head that was parsed from these bytes, if it is small and the bytes have come before."""
        if len(raw) > REMEMBERED_BYTES or len(head.headers) + len(head.query) > REMEMBERED_FIELDS:
            return
        if not _MADE_FOR_ONE.isdisjoint(head.headers) or not self._note(raw):
            return
        if len(self._heads) >= REMEMBERED_HEADS and raw not in self._heads:
            del self._heads[next(iter(self._heads))]
        self._heads[raw] = head

    def _note(self, raw: bytes) -> bool:
        """Note that these bytes have come; return whether they had come before."""
        # If two heads have one hash, one of them is kept when it first comes, which does no harm.
        number = hash(raw)
        if number in self._noted or number in self._noted_before:
            return True
        if len(self._noted) >= NOTED_HEADS:
            self._noted_before, self._noted = self._noted, set()
        self._noted.add(number)
        return False


class _Collector:
    """Collects the parts of one head through llhttp's callbacks."""

    __slots__ = ("complete", "headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_head(head: bytes, limits: Limits) -> Head:
    """Parse one whole head, up to and with its empty line. Raises `RequestRefused`.

    The result depends on nothing but the arguments, so it may be remembered (see `HeadMemory`).
    """
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise bad_request("malformed request line")
    version = _VERSIONS.get(line[1])
    if version is None:
        raise RequestRefused(505, "version_not_supported", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    collected = _Collector()
    parser = httptools.HttpRequestParser(collected)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # the server decides later whether to upgrade
    except httptools.HttpParserError as error:
        raise bad_request(f"malformed request: {error}") from error
    if not collected.complete:
        raise bad_request("malformed request: the head does not end where it should")
    if len(collected.target) > limits.max_target:
        raise target_too_long(limits)
    if len(collected.headers) > limits.max_headers:
        raise head_too_large(limits)
    headers = _headers_of(collected.headers)
    if version == "1.1" and "host" not in headers:
        raise bad_request("an HTTP/1.1 request needs a Host header")
    method = parser.get_method().decode("ascii")
    if collected.target.count(b"&") >= limits.max_parameters:
        raise target_too_long(limits)
    path, query = _split_target(collected.target, method)
    connection = elements(headers.get("connection"))
    return Head(
        limits,
        method,
        path,
        query,
        headers,
        target=collected.target.decode("ascii"),
        version=version,
        keep_alive="close" not in connection and (version == "1.1" or "keep-alive" in connection),
        content_length=_content_length(headers, version),
    )


def check_unfinished_head(head: bytes, limits: Limits) -> None:
    """Refuse bytes that can no longer become a valid head, so that garbage does not hold a connection open.

    Raises:
        RequestRefused: the beginning is malformed, or is longer than the limits allow.
    """
    line_end = head.find(b"\n")
    if line_end < 0:
        if not 0x41 <= head[0] <= 0x5A:
            raise bad_request("not an HTTP request")
        if len(head) > limits.max_target + 64:
            raise target_too_long(limits)
    elif not _REQUEST_LINE.fullmatch(head, 0, line_end + 1):
        raise bad_request("malformed request line")
    if len(head) > limits.max_head:
        raise head_too_large(limits)


def target_too_long(limits: Limits) -> RequestRefused:
    """414."""
    return RequestRefused(
        414,
        "target_too_long",
        f"the request target has more than {limits.max_target} bytes or {limits.max_parameters} parameters",
    )


def head_too_large(limits: Limits) -> RequestRefused:
    """431."""
    return RequestRefused(
        431,
        "headers_too_large",
        f"the request has more than {limits.max_headers} headers or {limits.max_head} bytes of them",
    )


def _headers_of(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers = {name.decode("ascii").lower(): value.decode("latin-1").strip(" \t") for name, value in pairs}
    return headers if len(headers) == len(pairs) else _join(pairs)


def _join(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers, with one value for a name that comes several times."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("ascii").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            if name in _SINGULAR:
                raise bad_request(f"the header {name} may be given only once")
            # RFC 9110 section 5.3; cookies have their own separator, RFC 9113 section 8.2.3.
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return headers


def _content_length(headers: dict[str, str], version: str) -> int | None:
    """Return the body's length, or None if it is chunked."""
    encoding = headers.get("transfer-encoding")
    length = headers.get("content-length")
    if encoding is not None:
        if length is not None or version == "1.0":
            raise bad_request("the length of the body is ambiguous")
        if encoding.lower() != "chunked":
            raise RequestRefused(501, "not_implemented", "the only transfer coding spoken here is chunked")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise bad_request("the Content-Length is not a number of bytes")
    return int(length)


# All WebSockets of a page have the same target, of 40 bytes, and the rest of their heads differs.
@remembered
def _split_target(target: bytes, method: str) -> tuple[str, dict[str, str]]:
    if target[:1] != b"/":
        if target == b"*" and method == "OPTIONS":
            return "*", {}
        # The absolute form, meant for proxies, must be accepted too (RFC 9112 section 3.2.2).
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise bad_request("malformed request target")
        authority_end = re.search(rb"[/?#]", rest)
        target = b"/" if authority_end is None else rest[authority_end.start() :]
        if target[:1] != b"/":
            target = b"/" + target
    target = target.partition(b"#")[0]
    raw_path, _, raw_query = target.partition(b"?")
    return _decode(raw_path), _parse_query(raw_query) if raw_query else {}


def _parse_query(raw: bytes) -> dict[str, str]:
    query: dict[str, str] = {}
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            query.setdefault(_decode(name.replace(b"+", b" ")), _decode(value.replace(b"+", b" ")))
    return query


def _decode(raw: bytes) -> str:
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8", "replace")
