"""From bytes to a `Head`, sans-IO: heads through llhttp, framing decided here and nowhere else.

llhttp (strict, through httptools) checks the grammar of a head. It is given exactly one head, never what follows, so
that no disagreement about where a body ends can arise inside one connection (request smuggling, RFC 9112 section 11.2):
a body is either `Content-Length` bytes or chunked, never both, and everything else is refused.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

from djactors.net._http_messages import Head, Limits, RequestRefused, elements

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
# 10^15 bytes is more than any limit and stays far from where an integer of digits gets slow.
_LENGTH: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?", re.ASCII)
# A chunk's size line, with extensions nobody uses, and the trailer section nobody reads.
_MAX_CHUNK_LINE: Final = 256
_MAX_TRAILERS: Final = 8 * 1024


class _Collector:
    """Collects what llhttp calls out while it reads one head."""

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

    What it returns depends on nothing else, so that it may be remembered (see `HeadMemory`).
    """
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise _bad_request("malformed request line")
    version = _VERSIONS.get(line[1])
    if version is None:
        raise RequestRefused(505, "version_not_supported", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    collected = _Collector()
    parser = httptools.HttpRequestParser(collected)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # whether to upgrade is decided by whoever reads the request
    except httptools.HttpParserError as error:
        raise _bad_request(f"malformed request: {error}") from error
    if not collected.complete:
        raise _bad_request("malformed request: the head does not end where it should")
    if len(collected.target) > limits.max_target:
        raise target_too_long(limits)
    if len(collected.headers) > limits.max_headers:
        raise head_too_large(limits)
    headers = _join(collected.headers)
    if version == "1.1" and "host" not in headers:
        raise _bad_request("an HTTP/1.1 request needs a Host header")
    method = parser.get_method().decode("ascii")
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
    """Refuse early what can no longer become a good head, so that garbage does not hold a connection open."""
    line_end = head.find(b"\n")
    if line_end < 0:
        if not 0x41 <= head[0] <= 0x5A:
            raise _bad_request("not an HTTP request")
        if len(head) > limits.max_target + 64:
            raise target_too_long(limits)
    elif not _REQUEST_LINE.fullmatch(head, 0, line_end + 1):
        raise _bad_request("malformed request line")
    if len(head) > limits.max_head:
        raise head_too_large(limits)


def target_too_long(limits: Limits) -> RequestRefused:
    """414."""
    return RequestRefused(414, "target_too_long", f"the request target is longer than {limits.max_target} bytes")


def head_too_large(limits: Limits) -> RequestRefused:
    """431."""
    return RequestRefused(
        431,
        "headers_too_large",
        f"the request has more than {limits.max_headers} headers or {limits.max_head} bytes of them",
    )


def body_too_large(limit: int) -> RequestRefused:
    """413."""
    return RequestRefused(413, "body_too_large", f"the request body is larger than {limit} bytes")


def _bad_request(message: str) -> RequestRefused:
    return RequestRefused(400, "bad_request", message)


def _join(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("ascii").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            if name in _SINGULAR:
                raise _bad_request(f"the header {name} may be given only once")
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
            raise _bad_request("the length of the body is ambiguous")
        if encoding.lower() != "chunked":
            raise RequestRefused(501, "not_implemented", "the only transfer coding spoken here is chunked")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise _bad_request("the Content-Length is not a number of bytes")
    return int(length)


def _split_target(target: bytes, method: str) -> tuple[str, dict[str, str]]:
    if target[:1] != b"/":
        if target == b"*" and method == "OPTIONS":
            return "*", {}
        # The absolute form, meant for proxies, must be accepted too (RFC 9112 section 3.2.2).
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() not in {b"http", b"https"}:
            raise _bad_request("malformed request target")
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


class ChunkedBody:
    """Decodes a chunked body piece by piece (RFC 9112 section 7.1); trailers are read over and dropped.

    `feed` until `complete`; then `body` holds the content and `rest` what came after it.
    """

    __slots__ = ("_limit", "_missing", "_pending", "_trailer_bytes", "_trailers", "body", "complete")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending = b""
        # Bytes still to come of the present chunk, with the line break behind it.
        self._missing = 0
        self._trailers = False
        self._trailer_bytes = 0
        self.body = bytearray()
        self.complete = False

    @property
    def rest(self) -> bytes:
        """What followed the body: the beginning of a pipelined request."""
        return self._pending

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises `RequestRefused`, 413 as soon as a chunk announces more than the limit."""
        data = self._pending + data if self._pending else data
        position = 0
        while not self.complete and position < len(data):
            if self._missing:
                taken = self._take_content(data, position)
            else:
                line_end = data.find(b"\r\n", position)
                if line_end < 0:
                    if len(data) - position > _MAX_CHUNK_LINE:
                        raise _bad_request("malformed chunk")
                    break
                self._take_line(data[position:line_end])
                taken = line_end + 2 - position
            if not taken:
                break
            position += taken
        self._pending = data[position:]

    def _take_content(self, data: bytes, position: int) -> int:
        """Take as much of the present chunk as is there; its line break only as a whole."""
        content = min(self._missing - 2, len(data) - position)
        if content > 0:
            self.body += memoryview(data)[position : position + content]
            self._missing -= content
            return content
        if len(data) - position < 2:
            return 0
        if data[position : position + 2] != b"\r\n":
            raise _bad_request("malformed chunk")
        self._missing = 0
        return 2

    def _take_line(self, line: bytes) -> None:
        if self._trailers:
            self._trailer_bytes += len(line) + 2
            if self._trailer_bytes > _MAX_TRAILERS:
                raise _bad_request("too many trailers")
            self.complete = not line
            return
        size = _CHUNK_SIZE.fullmatch(line) if len(line) <= _MAX_CHUNK_LINE else None
        if size is None:
            raise _bad_request("malformed chunk")
        length = int(size[1], 16)
        if length == 0:
            self._trailers = True
        elif len(self.body) + length > self._limit:
            raise body_too_large(self._limit)
        else:
            self._missing = length + 2
