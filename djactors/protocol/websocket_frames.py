"""Unmasked WebSocket frames, complete and ready to write (RFC 6455 section 5.2).

A server's frames are never masked and so are the same bytes for every peer: a broadcast builds one frame and writes it
to thousands of sockets. Only unfragmented data frames are built; control frames belong to whoever owns the
connection.
"""

from struct import Struct

_FIN_TEXT = 0x81
_FIN_BINARY = 0x82

# The second byte is the length itself up to 125; 126 and 127 announce a 16 or 64 bit length.
_SHORT_LIMIT = 126
_MEDIUM_LIMIT = 1 << 16
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
