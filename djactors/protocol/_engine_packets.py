"""Engine.IO 4 packets: their text, binary and polling forms, and the handshake.

Source: the Engine.IO protocol document, revision 4, "Packet encoding" and "Handshake". Every decoder takes whatever a
peer may send and raises only `ProtocolError`.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from enum import IntEnum, StrEnum

import msgspec

from djactors.protocol._encoded_packets import EncodedPacket
from djactors.protocol._errors import ProtocolError

# The default of the reference server. The open packet announces the number, and clients split their POSTs by it.
MAX_PAYLOAD_BYTES = 1_000_000

# Far above any burst of a real client, and few enough to decode without holding up the loop for long.
MAX_PAYLOAD_PACKETS = 4_000

_SEPARATOR = "\x1e"


class Transport(StrEnum):
    """A transport; the value is its name in the query string."""

    POLLING = "polling"
    WEBSOCKET = "websocket"


class PacketType(IntEnum):
    """The first character of every text packet."""

    OPEN = 0
    CLOSE = 1
    PING = 2
    PONG = 3
    MESSAGE = 4
    UPGRADE = 5
    NOOP = 6


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One Engine.IO packet. `data` may be bytes only in a message."""

    type: PacketType
    data: str | bytes = ""


class Handshake(msgspec.Struct, frozen=True, rename="camel"):
    """The content of the open packet. Times are in milliseconds and `max_payload` in bytes, as on the wire."""

    sid: str
    upgrades: list[str]
    ping_interval: int
    ping_timeout: int
    max_payload: int = MAX_PAYLOAD_BYTES


_TYPES = {str(int(packet_type)): packet_type for packet_type in PacketType}
_MESSAGE = PacketType.MESSAGE
_decode_handshake = msgspec.json.Decoder(Handshake).decode

PING = EncodedPacket(b"2")
PONG = EncodedPacket(b"3")
NOOP = EncodedPacket(b"6")
CLOSE = EncodedPacket(b"1")
PROBE_REPLY = EncodedPacket(b"3probe")


def open_packet(handshake: Handshake) -> EncodedPacket:
    """Return the packet that opens a session: the first of its polling answer or the first WebSocket frame."""
    return EncodedPacket(b"0" + msgspec.json.encode(handshake))


def read_handshake(packet: Packet) -> Handshake:
    """Return the handshake in an open packet. A client uses this."""
    if packet.type is not PacketType.OPEN or not isinstance(packet.data, str):
        raise ProtocolError("handshake", "an open packet is due first")
    try:
        return _decode_handshake(packet.data)
    except (ValueError, RecursionError):
        raise ProtocolError("handshake", "the open packet is not a handshake") from None


def encode_packet(packet: Packet) -> str | bytes:
    """Return the WebSocket form: a string goes into a text frame, bytes into a binary frame as they are.

    Bytes in a packet that is no message raise `ValueError`.
    """
    if isinstance(packet.data, str):
        return f"{int(packet.type)}{packet.data}"
    if packet.type is not _MESSAGE:
        raise ValueError("only a message carries bytes")
    return packet.data


def decode_packet(data: str | bytes) -> Packet:
    """Read one packet as it came in a WebSocket message or between two separators of a payload.

    A string that starts with `b` is base64. Polling always sends bytes like this, and a stock client with `forceBase64`
    does so on WebSocket, too.

    Raises:
        ProtocolError: the data is no packet.
    """
    if not isinstance(data, str):
        return Packet(_MESSAGE, data)
    packet_type = _TYPES.get(data[:1])
    if packet_type is not None:
        return Packet(packet_type, data[1:])
    if data[:1] != "b":
        raise ProtocolError("packet_type", "unknown Engine.IO packet type" if data else "empty packet")
    try:
        return Packet(_MESSAGE, b64decode(data[1:], validate=True))
    except ValueError:
        raise ProtocolError("base64", "a binary packet is not base64") from None


def encode_payload(packets: Iterable[Packet]) -> bytes:
    """Return packets as the body of one polling request or answer.

    A packet whose text contains the separator, U+001E, raises `ValueError`, because the format cannot carry it. (JSON
    escapes this character.)
    """
    return _SEPARATOR.join(_encode_for_payload(packet) for packet in packets).encode()


def _encode_for_payload(packet: Packet) -> str:
    encoded = encode_packet(packet)
    if isinstance(encoded, bytes):
        return "b" + b64encode(encoded).decode()
    if _SEPARATOR in encoded:
        raise ValueError("a payload cannot carry U+001E inside a packet")
    return encoded


def decode_payload(
    body: bytes, *, max_packets: int = MAX_PAYLOAD_PACKETS, max_bytes: int = MAX_PAYLOAD_BYTES
) -> list[Packet]:
    """Read the body of a polling request (or, for a client, of an answer): at least one packet, all of them valid.

    Raises:
        ProtocolError: with the code `payload_bytes` for more than `max_bytes`, to which HTTP answers 413; with the code
            `payload_packets` for more than `max_packets`; or a packet is not valid.
    """
    if len(body) > max_bytes:
        raise ProtocolError("payload_bytes", f"a payload is over {max_bytes} bytes")
    if body.count(b"\x1e") >= max_packets:
        raise ProtocolError("payload_packets", f"a payload has over {max_packets} packets")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise ProtocolError("utf8", "a payload is not UTF-8") from None
    return [decode_packet(part) for part in text.split(_SEPARATOR)]


def handshake_for(
    sid: str,
    transport: Transport,
    *,
    ping_interval: float,
    ping_timeout: float,
    max_payload: int = MAX_PAYLOAD_BYTES,
    upgrades: Sequence[Transport] = (Transport.WEBSOCKET,),
) -> Handshake:
    """Return the handshake of a session that starts on `transport`. Times are in seconds here.

    `upgrades` names the transports to which polling may be upgraded. A session that starts on WebSocket has none.
    """
    return Handshake(
        sid=sid,
        upgrades=[str(name) for name in upgrades] if transport is Transport.POLLING else [],
        ping_interval=round(ping_interval * 1000),
        ping_timeout=round(ping_timeout * 1000),
        max_payload=max_payload,
    )
