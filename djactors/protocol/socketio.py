"""Socket.IO 5, server side and enough of the client's, without I/O: one door to its modules.

Feed each Engine.IO message to a `SocketSession` and act on what it returns; encode what goes to many clients once with
`encode_event` or `encode_event_json`. `ProtocolError` is all that a peer's bytes can raise.
"""

from djactors.protocol.encoded import EncodedPacket
from djactors.protocol.errors import ProtocolError
from djactors.protocol.socket_packets import (
    MAX_ACK_ID_DIGITS,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    MAX_JSON_BRACKETS,
    MAX_JSON_DEPTH,
    MAX_NAMESPACE_LENGTH,
    RESERVED_EVENTS,
    PacketDecoder,
    SocketPacket,
    SocketPacketType,
    decode_text,
    encode_event,
    encode_event_json,
    encode_packet,
)
from djactors.protocol.socket_session import (
    MAX_NAMESPACES,
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    EventReceived,
    NotJoinedError,
    SocketEvent,
    SocketSession,
)

__all__ = [
    "MAX_ACK_ID_DIGITS",
    "MAX_ATTACHMENTS",
    "MAX_ATTACHMENT_BYTES",
    "MAX_JSON_BRACKETS",
    "MAX_JSON_DEPTH",
    "MAX_NAMESPACES",
    "MAX_NAMESPACE_LENGTH",
    "RESERVED_EVENTS",
    "AckReceived",
    "ConnectRequested",
    "DisconnectRequested",
    "EncodedPacket",
    "EventReceived",
    "NotJoinedError",
    "PacketDecoder",
    "ProtocolError",
    "SocketEvent",
    "SocketPacket",
    "SocketPacketType",
    "SocketSession",
    "decode_text",
    "encode_event",
    "encode_event_json",
    "encode_packet",
]
