"""What outboxes hold: a packet that was encoded once and is shared by every session it goes to.

A packet can leave by either transport, so it keeps its text and makes the two wire forms the first time each is asked
for. All forms are immutable bytes; one `EncodedPacket` may sit in thousands of outboxes at the same time.
"""

from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Sequence
from functools import cached_property

from djactors.protocol._websocket_frames import binary_frame, text_frame

SEPARATOR = b"\x1e"

# python-socketio's client aborts on a poll answer of 17 packets.
MAX_POLL_PACKETS = 16


class EncodedPacket:
    """One Engine.IO text packet and the binary packets that belong behind it.

    `text` is UTF-8 with its Engine.IO type digit in front (`4` for every Socket.IO packet). `attachments` are the raw
    binary messages that must follow it with nothing in between, so a packet is queued and written as a whole.
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
            frame = text_frame(self.text)
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
        """Bytes of text and attachments together: what an outbox counts against its bound."""
        return len(self.text) + sum(map(len, self.attachments)) if self.attachments else len(self.text)

    @property
    def packet_count(self) -> int:
        """How many Engine.IO packets this is on the wire: one, and one more for each attachment."""
        return 1 + len(self.attachments)

    @property
    def messages(self) -> list[str | bytes]:
        """The Engine.IO messages as a peer's session receives them: the text without its type digit, then the bytes."""
        return [self.text[1:].decode(), *self.attachments]

    def __repr__(self) -> str:
        return f"<EncodedPacket {self.size} bytes, {len(self.attachments)} attachments>"


class _BinaryMessage(EncodedPacket):
    """A message of bytes with no text in front: Engine.IO has it, Socket.IO never does."""

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
    """Encode one Engine.IO message: for who speaks Engine.IO alone, without Socket.IO above it.

    U+001E in a text raises `ValueError`: polling cannot carry it.
    """
    if isinstance(data, bytes):
        return _BinaryMessage(b"", (data,))
    text = data.encode()
    if SEPARATOR in text:
        raise ValueError("a message cannot carry U+001E: polling separates packets by it")
    return EncodedPacket(b"4" + text)


class EncodedBatch(tuple[EncodedPacket, ...]):
    """Packets that many sessions are sent in one write: their frames are joined once for all of them."""

    @cached_property
    def frames(self) -> bytes:
        """The WebSocket form of all, one behind the other."""
        return b"".join([packet.frame for packet in self])


def frames_of(packets: Sequence[EncodedPacket]) -> bytes:
    """The WebSocket form of packets, one behind the other."""
    if type(packets) is EncodedBatch:
        return packets.frames
    return packets[0].frame if len(packets) == 1 else b"".join([packet.frame for packet in packets])


def join_payload(packets: Iterable[EncodedPacket]) -> bytes:
    """Return the body of one polling answer."""
    return SEPARATOR.join([packet.payload for packet in packets])


def take_payload(outbox: deque[EncodedPacket], max_packets: int = MAX_POLL_PACKETS) -> bytes:
    """Take packets from the left of `outbox` and return them as the body of one polling answer.

    Takes as many as fit into `max_packets` Engine.IO packets, and at least one. An empty outbox raises `IndexError`.
    """
    first = outbox.popleft()
    taken = [first.payload]
    room = max_packets - first.packet_count
    while outbox and (room := room - outbox[0].packet_count) >= 0:
        taken.append(outbox.popleft().payload)
    return SEPARATOR.join(taken)
