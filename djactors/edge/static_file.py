"""Bytes that are the same for everybody: they are compressed once, and a client that has them is told so."""

from __future__ import annotations

import gzip
from hashlib import sha256

from djactors.net import Request, Response, takes_gzip

Headers = tuple[tuple[str, str], ...]

ASK_AGAIN = "no-cache"
"""The `Cache-Control` of what may be kept, and must be asked for each time whether it has changed."""


class _Variant:
    """One form of a file, as it goes onto the wire."""

    __slots__ = ("body", "etag", "headers")

    def __init__(self, body: bytes, cache_control: str, more: Headers, encoding: str | None, *, varies: bool) -> None:
        self.body = body
        # The tags of the plain and of the compressed form must differ (RFC 9110 section 8.8.3.3).
        self.etag = f'"{sha256(body).hexdigest()[:32]}"'
        self.headers = (
            *more,
            ("cache-control", cache_control),
            ("etag", self.etag),
            *((("vary", "accept-encoding"),) if varies else ()),
            *((("content-encoding", encoding),) if encoding is not None else ()),
        )


class StaticFile:
    """A file in its plain form, and in its compressed form if that is smaller.

    Args:
        body: the bytes.
        content_type: their media type.
        cache_control: how long clients may keep them.
        compressible: whether it is worth trying to compress them.
        headers: are on every answer.
    """

    __slots__ = ("_compressed", "_content_type", "_plain")

    def __init__(
        self, body: bytes, content_type: str, *, cache_control: str, compressible: bool, headers: Headers = ()
    ) -> None:
        self._content_type = content_type
        # Level 9 takes three times as long for a hundredth less. Without the time of the compression, so that the ETag
        # stays the same after a restart.
        smaller = gzip.compress(body, 6, mtime=0) if compressible else body
        self._compressed: _Variant | None = None
        if len(smaller) < len(body):
            self._compressed = _Variant(smaller, cache_control, headers, "gzip", varies=True)
        self._plain = _Variant(body, cache_control, headers, None, varies=self._compressed is not None)

    def answer(self, request: Request, more: Headers = ()) -> Response:
        """The answer to a request for the file, with `more` headers."""
        variant = self._plain
        if self._compressed is not None and takes_gzip(request):
            variant = self._compressed
        headers = (*variant.headers, *more)
        if _has(request, variant.etag):
            return Response(304, headers=headers)
        return Response(200, variant.body, self._content_type, headers)


def _has(request: Request, etag: str) -> bool:
    """Whether the client already has this form of a file. The comparison is weak (RFC 9110 section 13.1.2)."""
    held = request.headers.get("if-none-match")
    if held is None:
        return False
    return held.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in held.split(","))
