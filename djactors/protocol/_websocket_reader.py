"""Reads the bytes that a WebSocket's client sends, without I/O, into whole messages (RFC 6455 sections 5 and 7).

Rules:

- The reader is strict. A frame breaks the connection if it is not masked, has a reserved bit or opcode, gives its
  length in more bytes than needed, or is out of place. Text that is not UTF-8 breaks the connection, too. There are no
  extensions.
- A message is bounded in bytes, in however many frames it comes, and refused as soon as a header announces too much.
- Between messages, the reader keeps only the bytes of the next one that have already arrived, because thousands of
  connections wait at any time.
- `read` reads one frame at a time, even if the frame completes no message. So the caller decides how many frames are
  read before other tasks have a turn.
"""

from struct import Struct
from typing import Final

import msgspec

from djactors.protocol._encoded_packets import CloseCode

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
# The second byte is the length itself up to 125; 126 and 127 announce a length of two or eight bytes.
_MEDIUM: Final = 126
_KEY_BYTES: Final = 4

_read_medium = Struct(">H").unpack_from
_read_long = Struct(">Q").unpack_from
_read_code = Struct(">H").unpack_from

# The codes that a peer may send, by section 7.4 and the IANA registry (1012 and 1013), and the ranges for libraries and
# applications.
_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1014), *range(3000, 5000)})


class FrameError(Exception):
    """The client broke the protocol or went over a bound. Close with `code`; nothing more can be read."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class PingFrame(msgspec.Struct, frozen=True, gc=False):
    """The client asks for a pong with the same bytes."""

    data: bytes


class CloseFrame(msgspec.Struct, frozen=True, gc=False):
    """The client's close frame, its last one. `code` is 1005 if the frame has none; `data` is the payload."""

    code: int
    reason: str
    data: bytes


class OtherFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame that needs no action: a pong, or a fragment of a message that goes on."""


_PIECE: Final = OtherFrame()


class WebSocketReader:
    """Puts a client's frames together.

    Args:
        max_message_bytes: the most bytes of one message. It may be changed at any time.
        data: bytes that have already arrived.
    """

    __slots__ = ("_fragments", "_is_text", "_unread", "max_message_bytes")

    def __init__(self, max_message_bytes: int, data: bytes = b"") -> None:
        self.max_message_bytes = max_message_bytes
        # A bytearray while a frame is unfinished, so that a long frame is not copied with every read.
        self._unread: bytes | bytearray = data
        # The content so far of a message that comes in several frames; None between messages.
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
        """Read the next frame. Return the message that it completes, or what else it is; None if it is not all there.

        Raises:
            FrameError: the client broke the protocol or went over the bound.
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
        """Check that a frame of this kind may come now, and return the size that its second byte gives."""
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
    """The size that stands in the two or eight bytes behind the first two."""
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
    """Undo the masking (section 5.3). Key and payload are combined as two large integers, in one pass in C."""
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
