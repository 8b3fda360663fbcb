"""Reads what a WebSocket's client sends, without I/O: frames in, whole messages out (RFC 6455 sections 5 and 7).

Rules:

- Strict: a frame that is not masked, has a reserved bit or opcode, a length in more bytes than it needs, or is out of
  place, breaks the connection; so does text that is not UTF-8. There are no extensions.
- A message is bounded in bytes, whatever it consists of, and refused as soon as a header announces too much.
- Nothing is kept between messages but what has already arrived of the next one: thousands of connections wait at any
  time, and this is all that reading costs each of them.
- Frames are read one at a time, on demand, those that say nothing included: who drives this decides how many before
  others have their turn.
"""

from struct import Struct
from typing import Final

import msgspec

from djactors.protocol._outgoing import CloseCode

_CONTINUATION: Final = 0x0
_TEXT: Final = 0x1
_BINARY: Final = 0x2
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA

_FIN: Final = 0x80
_RESERVED_BITS: Final = 0x70
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_CONTROL: Final = 0x08
_MAX_CONTROL_BYTES: Final = 125
# The second byte is the length itself up to 125; 126 and 127 announce one of two or eight bytes.
_MEDIUM: Final = 126
_KEY_BYTES: Final = 4

_read_medium = Struct(">H").unpack_from
_read_long = Struct(">Q").unpack_from
_read_code = Struct(">H").unpack_from

# Section 7.4: what a peer may give as its reason, with the IANA registry's 1012 and 1013, and the ranges that libraries
# and applications divide among themselves.
_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1014), *range(3000, 5000)})


class FrameError(Exception):
    """The client broke the protocol, or went over a bound. `code` is what it is told; nothing more can be read."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class PingFrame(msgspec.Struct, frozen=True, gc=False):
    """The client asks for a pong with the same bytes."""

    data: bytes


class CloseFrame(msgspec.Struct, frozen=True, gc=False):
    """The client's close frame, the last that it sends. `code` is 1005 where it gave none; `data` is the payload."""

    code: int
    reason: str
    data: bytes


class OtherFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame with which there is nothing to do: a pong, or a fragment of a message that goes on."""


_PIECE: Final = OtherFrame()


class WebSocketReader:
    """Puts a client's frames together.

    Args:
        max_message_bytes: what one message may have; it may be changed at any time.
        data: what has arrived already.
    """

    __slots__ = ("_fragments", "_is_text", "_unread", "max_message_bytes")

    def __init__(self, max_message_bytes: int, data: bytes = b"") -> None:
        self.max_message_bytes = max_message_bytes
        # A bytearray while an unfinished frame waits for its rest, so that a long one is not copied with every read.
        self._unread: bytes | bytearray = data
        # The content so far of a message in several frames; None between messages.
        self._fragments: bytearray | None = None
        self._is_text = False

    @property
    def held(self) -> int:
        """Bytes of what is not whole yet."""
        return len(self._unread) + (0 if self._fragments is None else len(self._fragments))

    def forget(self) -> None:
        """Let go of what is not whole: nothing more is read."""
        self._unread = b""
        self._fragments = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if not self._unread:
            self._unread = data
        elif isinstance(self._unread, bytearray):
            self._unread += data
        else:
            self._unread = bytearray(self._unread)
            self._unread += data

    def read(self) -> str | bytes | PingFrame | CloseFrame | OtherFrame | None:
        """Return the message that the next frame completes, or what else the frame is; None if it is not all there.

        Raises:
            FrameError: there will be none.
        """
        frame = self._read_frame() if self._unread else None
        if frame is None:
            return None
        first, payload = frame
        opcode = first & _OPCODE
        if opcode & _CONTROL:
            if opcode == _PING:
                return PingFrame(payload)
            return _goodbye(payload) if opcode == _CLOSE else _PIECE
        if first & _FIN and self._fragments is None:
            return _text(payload) if opcode == _TEXT else payload
        return self._join(first, payload)

    def _join(self, first: int, payload: bytes) -> str | bytes | OtherFrame:
        """Add a fragment; return the message if it completes one."""
        fragments = self._fragments
        if fragments is None:
            fragments = self._fragments = bytearray()
            self._is_text = first & _OPCODE == _TEXT
        fragments += payload
        if not first & _FIN:
            return _PIECE
        self._fragments = None
        return _text(fragments) if self._is_text else bytes(fragments)

    def _read_frame(self) -> tuple[int, bytes] | None:
        """Take one frame: its first byte, and its payload in the clear. None if it is not all there."""
        data = self._unread
        if len(data) < 2:
            return None
        first, second = data[0], data[1]
        size = self._check_head(first, second)
        start = 2
        if size >= _MEDIUM:
            start = 4 if size == _MEDIUM else 10
            if len(data) < start:
                return None
            size = _long_size(data, size)
        if not first & _CONTROL:
            self._check_size(size)
        payload_start = start + _KEY_BYTES
        end = payload_start + size
        if len(data) < end:
            return None
        payload = _unmasked(data[start:payload_start], data[payload_start:end])
        if len(data) == end:
            self._unread = b""
        elif isinstance(data, bytearray):
            del data[:end]
        else:
            self._unread = data[end:]
        return first, payload

    def _check_head(self, first: int, second: int) -> int:
        """The size as the second byte has it, of a frame that may come now."""
        opcode, size = first & _OPCODE, second & ~_MASKED
        if first & _RESERVED_BITS:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a reserved bit is set")
        if not second & _MASKED:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a client's frames are masked")
        if opcode & _CONTROL:
            if opcode > _PONG:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "unknown opcode")
            if not first & _FIN or size > _MAX_CONTROL_BYTES:
                raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame is short and whole")
        elif opcode > _BINARY:
            raise FrameError(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        elif (opcode == _CONTINUATION) is (self._fragments is None):
            raise FrameError(CloseCode.PROTOCOL_ERROR, "a continuation out of place, or one that is due")
        return size

    def _check_size(self, size: int) -> None:
        if size + (0 if self._fragments is None else len(self._fragments)) > self.max_message_bytes:
            raise FrameError(CloseCode.TOO_BIG, "message too big")


def _long_size(data: bytes | bytearray, announced: int) -> int:
    """The size in the two or eight bytes behind the first two."""
    size: int
    if announced == _MEDIUM:
        (size,) = _read_medium(data, 2)
        least = _MEDIUM
    else:
        (size,) = _read_long(data, 2)
        least = 1 << 16
    if size < least or size >> 63:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a length that is not in its shortest form")
    return size


def _unmasked(key: bytes | bytearray, payload: bytes | bytearray) -> bytes:
    """Undo the masking (section 5.3): one number under another, which is one pass in C for any size."""
    size = len(payload)
    mask = (key * (size // _KEY_BYTES + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FrameError(CloseCode.NOT_UTF8, "a text message is not UTF-8") from None


def _goodbye(data: bytes) -> CloseFrame:
    if not data:
        return CloseFrame(CloseCode.NO_CODE, "", data)
    if len(data) == 1 or (code := _read_code(data)[0]) not in _CODES:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a close frame without a proper code")
    return CloseFrame(code, _text(data[2:]), data)
