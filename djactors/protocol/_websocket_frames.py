"""Unmasked WebSocket frames, complete and ready to write (RFC 6455 section 5.2).

A server's frames are never masked and so are the same bytes for every peer: a broadcast builds one frame and writes it
to thousands of sockets. Only whole messages are built; control frames belong to whoever owns the connection.
"""

from enum import IntEnum
from struct import Struct

_FIN_TEXT = 0x81
_FIN_BINARY = 0x82
_FIN_CLOSE = 0x88
_FIN_PONG = 0x8A

# The second byte is the length itself up to 125; 126 and 127 announce a 16 or 64 bit length.
_SHORT_LIMIT = 126
_MEDIUM_LIMIT = 1 << 16
_MAX_CONTROL_BYTES = 125


class CloseCode(IntEnum):
    """Why a WebSocket ended (RFC 6455 section 7.4.1): the codes that this server gives or notes."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    # No frame ever carries the next two: the first stands for a close frame without a code, the second for no frame.
    NO_CODE = 1005
    ABNORMAL = 1006
    NOT_UTF8 = 1007
    TOO_BIG = 1009


# 1015 is for a failed TLS handshake.
_LOCAL_CODES = frozenset({CloseCode.ABNORMAL, 1015})

_pack_medium = Struct(">BBH").pack
_pack_long = Struct(">BBQ").pack


def _frame(first_byte: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < _SHORT_LIMIT:
        return bytes((first_byte, length)) + payload
    if length < _MEDIUM_LIMIT:
        return _pack_medium(first_byte, 126, length) + payload
    return _pack_long(first_byte, 127, length) + payload


def text_frame(payload: str | bytes) -> bytes:
    """Return a text frame. Bytes are taken to be UTF-8 already and are not checked; a lone surrogate raises."""
    return _frame(_FIN_TEXT, payload.encode() if isinstance(payload, str) else payload)


def binary_frame(payload: bytes) -> bytes:
    """Return a binary frame."""
    return _frame(_FIN_BINARY, payload)


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping with this payload, of at most 125 bytes."""
    return _frame(_FIN_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame, with as much of the reason as it takes. 1005 makes an empty one, 1006 and 1015 say 1000."""
    if code == CloseCode.NO_CODE:
        return _frame(_FIN_CLOSE, b"")
    text = reason.encode("utf-8", "replace")[: _MAX_CONTROL_BYTES - 2].decode("utf-8", "ignore").encode()
    return _frame(_FIN_CLOSE, (CloseCode.NORMAL if code in _LOCAL_CODES else code).to_bytes(2, "big") + text)
