"""Engine.IO 4, Socket.IO 5 and the frames of WebSocket, without I/O: codecs and state machines for any event loop.

Everything public is here. The package imports neither Trio nor sockets. A server drives it like this:

    HTTP request ──► judge_request             what the request is: a new session, a poll, a push, an upgrade, an error
    bytes ──► decode_packet, decode_payload ──► EngineSession.receive ──► SocketSession.receive ──► what the client says
    EngineSession.tick                         what is due: a ping, the end of a session that did not answer
    SocketSession.accept, refuse, emit, ack ──► EncodedPacket ──► .frame (WebSocket) or .payload (polling)

and a client with `ClientEngine` and `SocketClient`. Rules:

- A peer's bytes can raise nothing but `ProtocolError`; the program then closes the connection. A mistake of the program
  itself raises `ValueError`, `TypeError` or `NotJoinedError`.
- Everything that a peer sends is bounded: `MAX_PAYLOAD_BYTES` and `MAX_PAYLOAD_PACKETS` for a polling request,
  `MAX_JSON_BRACKETS`, `MAX_JSON_COMMAS`, `MAX_LONG_DIGITS` and `MAX_JSON_DEPTH` for the arguments, `MAX_ATTACHMENTS`
  and `MAX_ATTACHMENT_BYTES` for binary data, `MAX_NAMESPACES` and `MAX_NAMESPACE_LENGTH` for namespaces.
- Times are seconds of any monotonic clock, and sizes are bytes. Nothing here waits or reads a clock: the program that
  drives the package does.
- A packet for many clients is encoded once (`encode_event`, `encode_events_json`) and shared by all of their outboxes.

A complete program, in which a client and a server talk to each other without a network::

    from djactors.protocol import (
        ClientEngine,
        EncodedPacket,
        EngineSession,
        Message,
        SessionSettings,
        SocketClient,
        SocketSession,
        Transport,
        decode_packet,
        encode_event,
        open_packet,
    )

    server = EngineSession("a secret", Transport.WEBSOCKET, SessionSettings(), now=0.0)
    server_sockets = SocketSession()
    client = ClientEngine(Transport.WEBSOCKET)
    client_sockets = SocketClient()


    def to_client(packet: EncodedPacket) -> None:
        said = client.receive(decode_packet(packet.text.decode()), Transport.WEBSOCKET)
        print("client:", client_sockets.receive(said.data) if isinstance(said, Message) else said)


    def to_server(packet: EncodedPacket) -> None:
        said = server.receive(decode_packet(packet.text.decode()), Transport.WEBSOCKET, now=0.0)
        print("server:", server_sockets.receive(said.data) if isinstance(said, Message) else said)


    to_client(open_packet(server.handshake()))
    to_server(client_sockets.connect(auth={"token": "let me in"}))
    to_client(server_sockets.accept("/", sid="public"))
    packet, ack_id = client_sockets.emit_with_ack("hello", "world")
    to_server(packet)
    to_client(server_sockets.ack("/", ack_id, {"ok": True}))
    to_client(encode_event("news", ["for", "everybody"]))

Sources: the protocol documents of Engine.IO, revision 4, and Socket.IO, revision 5; RFC 6455.
"""

from djactors.protocol._client import (
    MAX_EARLY_EVENTS,
    PROBE,
    UPGRADE,
    ClientEngine,
    ClientSocket,
    ClientState,
    Connected,
    Disconnected,
    Opened,
    Refused,
    Send,
    SocketClient,
)
from djactors.protocol._encoded_packets import (
    MAX_POLL_PACKETS,
    CloseCode,
    EncodedBatch,
    EncodedPacket,
    binary_frame,
    close_frame,
    encode_message,
    frames_of,
    join_payload,
    pong_frame,
    take_payload,
    text_frame,
)
from djactors.protocol._engine_packets import (
    CLOSE,
    MAX_PAYLOAD_BYTES,
    MAX_PAYLOAD_PACKETS,
    NOOP,
    PING,
    PONG,
    PROBE_REPLY,
    Handshake,
    Packet,
    PacketType,
    Transport,
    decode_packet,
    decode_payload,
    encode_packet,
    encode_payload,
    handshake_for,
    open_packet,
    read_handshake,
)
from djactors.protocol._engine_requests import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    FORBIDDEN,
    UNKNOWN_SID,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_PROTOCOL,
    AttachWebSocket,
    Decision,
    HttpError,
    OpenSession,
    Poll,
    Push,
    RejectWebSocket,
    judge_request,
)
from djactors.protocol._engine_session import (
    Closed,
    CloseReason,
    CloseTransport,
    EngineSession,
    Message,
    SendPing,
    SendProbeReply,
    SessionSettings,
    State,
    Upgraded,
)
from djactors.protocol._errors import ProtocolError
from djactors.protocol._socket_packets import (
    MAX_ACK_ID_DIGITS,
    MAX_ATTACHMENT_BYTES,
    MAX_ATTACHMENTS,
    MAX_JSON_BRACKETS,
    MAX_JSON_COMMAS,
    MAX_JSON_DEPTH,
    MAX_LONG_DIGITS,
    MAX_NAMESPACE_LENGTH,
    RESERVED_EVENTS,
    JsonLimits,
    SocketPacket,
    SocketPacketDecoder,
    SocketPacketType,
    check_event_name,
    check_namespace,
    decode_socket_text,
    encode_event,
    encode_events_json,
    encode_socket_packet,
)
from djactors.protocol._socket_session import (
    MAX_NAMESPACES,
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    EventReceived,
    NotJoinedError,
    SocketEvent,
    SocketSession,
)
from djactors.protocol._websocket_reader import CloseFrame, FrameError, OtherFrame, PingFrame, WebSocketReader

__all__ = [
    "BAD_HANDSHAKE_METHOD",
    "BAD_REQUEST",
    "CLOSE",
    "FORBIDDEN",
    "MAX_ACK_ID_DIGITS",
    "MAX_ATTACHMENTS",
    "MAX_ATTACHMENT_BYTES",
    "MAX_EARLY_EVENTS",
    "MAX_JSON_BRACKETS",
    "MAX_JSON_COMMAS",
    "MAX_JSON_DEPTH",
    "MAX_LONG_DIGITS",
    "MAX_NAMESPACES",
    "MAX_NAMESPACE_LENGTH",
    "MAX_PAYLOAD_BYTES",
    "MAX_PAYLOAD_PACKETS",
    "MAX_POLL_PACKETS",
    "NOOP",
    "PING",
    "PONG",
    "PROBE",
    "PROBE_REPLY",
    "RESERVED_EVENTS",
    "UNKNOWN_SID",
    "UNKNOWN_TRANSPORT",
    "UNSUPPORTED_PROTOCOL",
    "UPGRADE",
    "AckReceived",
    "AttachWebSocket",
    "ClientEngine",
    "ClientSocket",
    "ClientState",
    "CloseCode",
    "CloseFrame",
    "CloseReason",
    "CloseTransport",
    "Closed",
    "ConnectRequested",
    "Connected",
    "Decision",
    "DisconnectRequested",
    "Disconnected",
    "EncodedBatch",
    "EncodedPacket",
    "EngineSession",
    "EventReceived",
    "FrameError",
    "Handshake",
    "HttpError",
    "JsonLimits",
    "Message",
    "NotJoinedError",
    "OpenSession",
    "Opened",
    "OtherFrame",
    "Packet",
    "PacketType",
    "PingFrame",
    "Poll",
    "ProtocolError",
    "Push",
    "Refused",
    "RejectWebSocket",
    "Send",
    "SendPing",
    "SendProbeReply",
    "SessionSettings",
    "SocketClient",
    "SocketEvent",
    "SocketPacket",
    "SocketPacketDecoder",
    "SocketPacketType",
    "SocketSession",
    "State",
    "Transport",
    "Upgraded",
    "WebSocketReader",
    "binary_frame",
    "check_event_name",
    "check_namespace",
    "close_frame",
    "decode_packet",
    "decode_payload",
    "decode_socket_text",
    "encode_event",
    "encode_events_json",
    "encode_message",
    "encode_packet",
    "encode_payload",
    "encode_socket_packet",
    "frames_of",
    "handshake_for",
    "join_payload",
    "judge_request",
    "open_packet",
    "pong_frame",
    "read_handshake",
    "take_payload",
    "text_frame",
]
