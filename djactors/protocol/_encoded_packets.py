"""Outgoing data, ready to be written: packets that are encoded once, and unmasked WebSocket frames.

All sessions that get a packet share one `EncodedPacket`. The packet can leave by either transport, so it keeps its text
and makes the two wire forms, frame and payload, when each is first needed. All forms are immutable bytes; one packet
may be in thousands of outboxes at the same time.

A server's frames (RFC 6455 section 5.2) are never masked, so every peer gets the same bytes: a broadcast builds one
frame and writes it to thousands of sockets. A message always becomes one whole frame. The owner of the connection sends
the control frames.
"""

from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import cached_property
from struct import Struct

SEPARATOR = b"\x1e"

# python-socketio's client aborts on a poll answer of 17 packets.
MAX_POLL_PACKETS = 16

_FIN_TEXT = 0x81
_FIN_BINARY = 0x82
_FIN_CLOSE = 0x88
_FIN_PONG = 0x8A

# The second byte is the length itself up to 125; 126 and 127 announce a length of 16 or 64 bits.
_SHORT_LIMIT = 126
_MEDIUM_LIMIT = 1 << 16
_MAX_CONTROL_BYTES = 125


class EncodedPacket:
    """One Engine.IO text packet and the binary packets that follow it.

    `text` is UTF-8 with its Engine.IO type digit in front (`4` for every Socket.IO packet). `attachments` are the raw
    binary messages that must follow the text with nothing in between, so a packet is queued and written as a whole.
    """

    __slots__ = ("_frame", "_payload", "attachments", "text")

    def __init__(self, text: bytes, attachments: tuple[bytes, ...] = ()) -> None:
        self.text = text
        self.attachments = attachments
        self._frame: bytes | None = None
        self._payload: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The WebSocket form: one text frame, then one binary frame for each attachment."""
        frame = self._frame
        if frame is None:
            frame = _frame(_FIN_TEXT, self.text)
            if self.attachments:
                frame = b"".join((frame, *map(binary_frame, self.attachments)))
            self._frame = frame
        return frame

    @property
    def payload(self) -> bytes:
        """The polling form: the text, then `b` and base64 for each attachment, separated by U+001E."""
        if not self.attachments:
            return self.text
        payload = self._payload
        if payload is None:
            payload = SEPARATOR.join((self.text, *(b"b" + b64encode(data) for data in self.attachments)))
            self._payload = payload
        return payload

    @property
    def size(self) -> int:
        """Bytes of text and attachments together. An outbox counts these against its bound."""
        return len(self.text) + sum(map(len, self.attachments)) if self.attachments else len(self.text)

    @property
    def packet_count(self) -> int:
        """The number of Engine.IO packets on the wire: one, and one more for each attachment."""
        return 1 + len(self.attachments)

    @property
    def messages(self) -> list[str | bytes]:
        """The Engine.IO messages that the peer's session receives: the text without its type digit, then the bytes."""
        return [self.text[1:].decode(), *self.attachments]

    def __repr__(self) -> str:
        return f"<EncodedPacket {self.size} bytes, {len(self.attachments)} attachments>"


class _BinaryMessage(EncodedPacket):
    """A message of bytes with no text in front. Only Engine.IO has such messages; Socket.IO has none."""

    __slots__ = ()

    @property
    def frame(self) -> bytes:
        if self._frame is None:
            self._frame = binary_frame(self.attachments[0])
        return self._frame

    @property
    def payload(self) -> bytes:
        if self._payload is None:
            self._payload = b"b" + b64encode(self.attachments[0])
        return self._payload

    @property
    def packet_count(self) -> int:
        return 1

    @property
    def messages(self) -> list[str | bytes]:
        return [self.attachments[0]]


def encode_message(data: str | bytes) -> EncodedPacket:
    """Encode one Engine.IO message, for a program that speaks Engine.IO without Socket.IO.

    A text that contains U+001E raises `ValueError`, because polling cannot carry this character.
    """
    if isinstance(data, bytes):
        return _BinaryMessage(b"", (data,))
    text = data.encode()
    if SEPARATOR in text:
        raise ValueError("a message cannot carry U+001E: polling separates packets by it")
    return EncodedPacket(b"4" + text)


class EncodedBatch(tuple[EncodedPacket, ...]):
    """Packets that many sessions get in one write. The frames are joined once for all sessions."""

    @cached_property
    def frames(self) -> bytes:
        """The WebSocket forms of all packets, one behind the other."""
        return b"".join([packet.frame for packet in self])


def frames_of(packets: Sequence[EncodedPacket]) -> bytes:
    """The WebSocket forms of packets, one behind the other."""
    if type(packets) is EncodedBatch:
        return packets.frames
    return packets[0].frame if len(packets) == 1 else b"".join([packet.frame for packet in packets])


def join_payload(packets: Iterable[EncodedPacket]) -> bytes:
    """Return the body of one polling answer."""
    return SEPARATOR.join([packet.payload for packet in packets])


def take_payload(outbox: deque[EncodedPacket], max_packets: int = MAX_POLL_PACKETS) -> bytes:
    """Take packets from the left of `outbox` and return them as the body of one polling answer.

    This takes as many as fit into `max_packets` Engine.IO packets, and at least one. An empty outbox raises
    `IndexError`.
    """
    first = outbox.popleft()
    taken = [first.payload]
    room = max_packets - first.packet_count
    while outbox and (room := room - outbox[0].packet_count) >= 0:
        taken.append(outbox.popleft().payload)
    return SEPARATOR.join(taken)


class CloseCode(IntEnum):
    """Why a WebSocket ended: the codes of RFC 6455 section 7.4.1 that this server sends or notes."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    # No frame ever carries the next two: 1005 stands for a close frame without a code, 1006 for no close frame at all.
    NO_CODE = 1005
    ABNORMAL = 1006
    NOT_UTF8 = 1007
    TOO_BIG = 1009
    TRY_AGAIN = 1013


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
    """Return a text frame. Bytes must be UTF-8 and are not checked. A lone surrogate in a `str` raises `ValueError`."""
    return _frame(_FIN_TEXT, payload.encode() if isinstance(payload, str) else payload)


def binary_frame(payload: bytes) -> bytes:
    """Return a binary frame."""
    return _frame(_FIN_BINARY, payload)


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping with this payload, of at most 125 bytes."""
    return _frame(_FIN_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame. A reason that is too long for it is cut off.

    No frame may carry the codes 1005, 1006 and 1015: 1005 makes an empty frame, and the other two are sent as 1000.
    """
    if code == CloseCode.NO_CODE:
        return _frame(_FIN_CLOSE, b"")
    text = reason.encode("utf-8", "replace")[: _MAX_CONTROL_BYTES - 2].decode("utf-8", "ignore").encode()
    return _frame(_FIN_CLOSE, (CloseCode.NORMAL if code in _LOCAL_CODES else code).to_bytes(2, "big") + text)
