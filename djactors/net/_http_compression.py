"""gzip for answers that the application calls compressible (RFC 9110 sections 8.4.1.3 and 12.5.3, RFC 1952).

    Response.compressible, at least COMPRESSED_BYTES, Accept-Encoding ──► in slices ──► content-encoding: gzip, Vary

Rules:

- The application decides which answers are compressible. An observer of an encrypted connection sees the length of an
  answer. If he can put texts of his own into the answer beside a secret, the lengths tell him the secret, one character
  after the other (BREACH, 2013). So an answer with a secret must not be called compressible.
- An answer that has a `Content-Encoding` already, or an `ETag` (which would have to differ), is left as it is.
- Nothing holds up the loop: other tasks have a turn after each slice. While an answer is compressed, some 256 KiB of
  state are kept, so at most `MAX_STREAMS` answers of more than one slice are compressed at a time. Further answers go
  out as they are.
"""

import re
import zlib
from typing import Final

import trio

from djactors.net._http_messages import Request, Response

COMPRESSED_BYTES: Final = 1024
"""Shorter answers fit into one packet of TCP, compressed or not. The reference server's bound."""

SLICE_BYTES: Final = 128 * 1024
"""What is compressed in one turn: 0.3 ms of JSON, 3 ms of noise."""

MAX_STREAMS: Final = 8
"""Together they have 2 MiB of state. One core gains nothing from more of them at a time."""

# 64 KiB of notifications become 7.1 times smaller with the fastest level. With zlib's default they become 7.6 times
# smaller, but that takes three times as long.
_LEVEL: Final = 1
_GZIP: Final = 31
_VARY: Final = "Accept-Encoding"
# Browsers send some 30 bytes. A longer header is not read, so that nobody can make its reading slow.
_MAX_HEADER: Final = 512

_CODING: Final = re.compile(
    r"([!#$%&'*+.^_`|~0-9a-z-]+)(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?", re.ASCII
)


def takes_gzip(request: Request) -> bool:
    """Tell whether the client accepts gzip and prefers it, or likes it as much as an answer that is not encoded.

    A coding with a weight that cannot be read counts as not accepted. Without the header nothing is compressed, because
    some clients that do not send it cannot decompress.
    """
    weights = _weights(request)
    rest = weights.get("*", 0.0)
    weight = weights.get("gzip", weights.get("x-gzip", rest))
    return weight > 0 and weight >= weights.get("identity", rest)


def _refuses_identity(request: Request) -> bool:
    """Whether the client refuses answers that are not encoded."""
    if "=0" not in request.headers.get("accept-encoding", ""):
        return False
    weights = _weights(request)
    return weights.get("identity", weights.get("*", 1.0)) == 0


def _weights(request: Request) -> dict[str, float]:
    if len(request.headers.get("accept-encoding", "")) > _MAX_HEADER:
        return {}
    weights = {}
    for element in request.tokens("accept-encoding"):
        coding = _CODING.fullmatch(element)
        if coding is not None:
            weights[coding[1]] = float(coding[2] or 1)
    return weights


class Compression:
    """Compresses answers for all connections that share it."""

    __slots__ = ("_streams",)

    def __init__(self) -> None:
        # The number of answers that are between two slices.
        self._streams = 0

    async def apply(self, request: Request, response: Response) -> None:
        """Compress the body of a compressible answer, if it is long enough and the client accepts that.

        Cancelled between two slices, it leaves the answer as it was.
        """
        if request.method == "HEAD" or not response.body:
            return
        if any(name in {"etag", "content-encoding"} for name, _ in response.headers):
            return
        if len(response.body) < COMPRESSED_BYTES and not _refuses_identity(request):
            return
        body = await self._compress(response.body) if takes_gzip(request) else None
        headers = [
            ("vary", f"{value}, {_VARY}") if name == "vary" else (name, value) for name, value in response.headers
        ]
        if not any(name == "vary" for name, _ in headers):
            headers.append(("vary", _VARY))
        if body is not None:
            headers.append(("content-encoding", "gzip"))
            response.body = body
        response.headers = tuple(headers)

    async def _compress(self, body: bytes) -> bytes | None:
        """Return the body compressed, or None if too many others are being compressed."""
        if len(body) <= SLICE_BYTES:
            return zlib.compress(body, _LEVEL, _GZIP)
        if self._streams >= MAX_STREAMS:
            return None
        self._streams += 1
        try:
            stream = zlib.compressobj(_LEVEL, wbits=_GZIP)
            whole = memoryview(body)
            parts = []
            for start in range(0, len(body), SLICE_BYTES):
                if start:
                    await trio.lowlevel.checkpoint()
                parts.append(stream.compress(whole[start : start + SLICE_BYTES]))
            parts.append(stream.flush())
            return b"".join(parts)
        finally:
            self._streams -= 1
