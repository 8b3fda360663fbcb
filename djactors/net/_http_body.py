"""Decodes a body that comes in chunks, without I/O. `_http_head` finds out whether a body is chunked."""

import re
from typing import Final

from djactors.net._http_messages import RequestRefused, bad_request

_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?", re.ASCII)
# The most bytes of a chunk's size line and of the trailer section. Nobody uses a chunk's extensions or trailers.
_MAX_CHUNK_LINE: Final = 256
_MAX_TRAILERS: Final = 8 * 1024

CHUNKS_AT_ONCE: Final = 256
"""The chunks that are decoded without a pause, which takes 0.4 ms if each has one byte."""


def body_too_large(limit: int) -> RequestRefused:
    """413."""
    return RequestRefused(413, "body_too_large", f"the request body is larger than {limit} bytes")


class ChunkedBody:
    """Decodes a chunked body piece by piece (RFC 9112 section 7.1). Trailers are skipped.

    Call `feed` until `complete` is true. Then `body` holds the content, and `rest` the bytes that came after it. While
    `goes_on` is true, there is more to decode of what was fed: feed no bytes then, after a turn for others.
    """

    __slots__ = ("_limit", "_missing", "_pending", "_trailer_bytes", "_trailers", "body", "complete", "goes_on")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending = b""
        # Bytes of the present chunk that are still to come, with the line break behind it.
        self._missing = 0
        self._trailers = False
        self._trailer_bytes = 0
        self.body = bytearray()
        self.complete = False
        self.goes_on = False

    @property
    def rest(self) -> bytes:
        """The bytes after the body, which begin a pipelined request."""
        return self._pending

    def feed(self, data: bytes) -> None:
        """Take the next bytes; decode at most `CHUNKS_AT_ONCE` chunks.

        Raises:
            RequestRefused: 413 as soon as a chunk announces more than the limit; 400 for a malformed chunk.
        """
        data = self._pending + data if self._pending else data
        position = lines = 0
        self.goes_on = False
        while not self.complete and position < len(data):
            if self._missing:
                taken = self._take_content(data, position)
            else:
                line_end = data.find(b"\r\n", position)
                if line_end < 0:
                    if len(data) - position > _MAX_CHUNK_LINE:
                        raise bad_request("malformed chunk")
                    break
                if lines == CHUNKS_AT_ONCE:
                    self.goes_on = True
                    break
                lines += 1
                self._take_line(data[position:line_end])
                taken = line_end + 2 - position
            if not taken:
                break
            position += taken
        self._pending = data[position:]

    def _take_content(self, data: bytes, position: int) -> int:
        """Take as much of the present chunk as is there. Its line break is only taken as a whole."""
        content = min(self._missing - 2, len(data) - position)
        if content > 0:
            self.body += memoryview(data)[position : position + content]
            self._missing -= content
            return content
        if len(data) - position < 2:
            return 0
        if data[position : position + 2] != b"\r\n":
            raise bad_request("malformed chunk")
        self._missing = 0
        return 2

    def _take_line(self, line: bytes) -> None:
        if self._trailers:
            self._trailer_bytes += len(line) + 2
            if self._trailer_bytes > _MAX_TRAILERS:
                raise bad_request("too many trailers")
            self.complete = not line
            return
        size = _CHUNK_SIZE.fullmatch(line) if len(line) <= _MAX_CHUNK_LINE else None
        if size is None:
            raise bad_request("malformed chunk")
        length = int(size[1], 16)
        if length == 0:
            self._trailers = True
        elif len(self.body) + length > self._limit:
            raise body_too_large(self._limit)
        else:
            self._missing = length + 2
