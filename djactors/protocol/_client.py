"""The client's side of both protocols, without I/O: tests and load generators talk to a server with it.

The client trusts its server no more than a server trusts its clients: anything out of order raises `ProtocolError`. The
client never reconnects by itself. A program that reconnects puts `pid` and `offset` of the old `ClientSocket` into the
auth of the next CONNECT. Sources: the protocol documents of Engine.IO, revision 4, and Socket.IO, revision 5.
"""

from enum import Enum
from typing import Any

import msgspec

from djactors.protocol._encoded_packets import EncodedPacket
from djactors.protocol._engine_packets import (
    PONG,
    Handshake,
    Packet,
    PacketType,
    Transport,
    read_handshake,
)
from djactors.protocol._engine_session import Closed, CloseReason, Message
from djactors.protocol._errors import ProtocolError
from djactors.protocol._socket_packets import (
    MAX_ATTACHMENT_BYTES,
    STRANGERS,
    JsonLimits,
    SocketPacket,
    SocketPacketDecoder,
    SocketPacketType,
    encode_event,
    encode_socket_packet,
)
from djactors.protocol._socket_session import AckReceived, EventReceived, NotJoinedError

PROBE = EncodedPacket(b"2probe")
UPGRADE = EncodedPacket(b"5")

MAX_EARLY_EVENTS = 10_000
"""Events that may come before the answer to CONNECT: far above what a server keeps for a client that was away."""


class Opened(msgspec.Struct, frozen=True):
    """The server opened the session. `handshake.upgrades` names the transports to which the client may upgrade."""

    handshake: Handshake


class Send(msgspec.Struct, frozen=True):
    """Send this packet by the transport that brought the received packet."""

    packet: EncodedPacket


class ClientState(Enum):
    """The state of a `ClientEngine`."""

    OPENING = "opening"
    OPEN = "open"
    PROBING = "probing"
    CLOSED = "closed"


class ClientEngine:
    """The client's side of an Engine.IO session.

    To upgrade, connect a WebSocket and send by it the packet that `begin_upgrade` returns. When `receive` returns
    `UPGRADE` to send, send it only after the last poll has returned.
    """

    __slots__ = ("handshake", "state", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.state = ClientState.OPENING
        self.handshake: Handshake | None = None

    def receive(self, packet: Packet, transport: Transport) -> Opened | Message | Send | Closed | None:
        """Take one packet from the server and return what to do, `None` for nothing.

        Raises:
            ProtocolError: the server broke the protocol.
        """
        if self.state is ClientState.CLOSED:
            return None
        if self.state is ClientState.OPENING:
            self.handshake = read_handshake(packet)
            self.state = ClientState.OPEN
            return Opened(self.handshake)
        if transport is not self.transport:
            if self.state is ClientState.PROBING and packet == Packet(PacketType.PONG, "probe"):
                self.state = ClientState.OPEN
                self.transport = transport
                return Send(UPGRADE)
            # The last poll may bring packets after the switch, and these still belong to the session.
            if transport is not Transport.POLLING:
                raise ProtocolError("unexpected_packet", "the server wrote to a transport before its probe")
        match packet.type:
            case PacketType.MESSAGE:
                return Message(packet.data)
            case PacketType.PING:
                return Send(PONG)
            case PacketType.CLOSE:
                self.state = ClientState.CLOSED
                return Closed(CloseReason.SERVER)
            case PacketType.NOOP:
                return None
            case _:
                raise ProtocolError("unexpected_packet", f"a {packet.type.name} packet from the server")

    def begin_upgrade(self) -> EncodedPacket:
        """Return the probe, which is the first packet to send by a new WebSocket."""
        if self.state is not ClientState.OPEN or self.transport is not Transport.POLLING:
            raise ValueError("only an open polling session upgrades")
        self.state = ClientState.PROBING
        return PROBE


class Connected(msgspec.Struct, frozen=True):
    """The server let the client into the namespace.

    `early` are the events that came before this answer: socket.io sends what a recovered client missed before it
    answers the CONNECT, and stock clients keep it until then.
    """

    namespace: str
    sid: str
    pid: str | None
    early: list[EventReceived] = []


class Refused(msgspec.Struct, frozen=True):
    """The server turned the client away; a stock client does not retry."""

    namespace: str
    message: str
    data: Any


class Disconnected(msgspec.Struct, frozen=True):
    """The server put the client out of the namespace; a stock client does not reconnect."""

    namespace: str


class ClientSocket:
    """One namespace of a client, with the `pid` and `offset` that a stock client sends to recover its session."""

    __slots__ = ("early", "namespace", "offset", "pid", "sid")

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        # What came before the answer to CONNECT.
        self.early: list[EventReceived] = []
        self.sid: str | None = None
        self.pid: str | None = None
        self.offset: str | None = None


class SocketClient:
    """The client's side of a Socket.IO session: any number of namespaces over one Engine.IO session.

    Args:
        max_attachment_bytes: the most bytes of a packet's attachments.
        json_limits: what the JSON of a packet may hold: the default is as strict as a server is with strangers.
    """

    __slots__ = ("_decoder", "_left", "_next_ack_id", "sockets")

    def __init__(
        self, *, max_attachment_bytes: int = MAX_ATTACHMENT_BYTES, json_limits: JsonLimits = STRANGERS
    ) -> None:
        self._decoder = SocketPacketDecoder(max_attachment_bytes, json_limits)
        self._next_ack_id = 0
        self.sockets: dict[str, ClientSocket] = {}
        # The namespaces that the client has left, of which the server may not know yet.
        self._left: tuple[str, ...] = ()

    def connect(self, namespace: str = "/", auth: dict[str, Any] | None = None) -> EncodedPacket:
        """Ask to join a namespace."""
        self._left = tuple(each for each in self._left if each != namespace)
        self.sockets[namespace] = ClientSocket(namespace)
        return encode_socket_packet(SocketPacket(SocketPacketType.CONNECT, namespace, auth))

    def disconnect(self, namespace: str = "/") -> EncodedPacket:
        """Leave a namespace. What the server sends there until it hears of it is passed over, unless the
        client joins again meanwhile."""
        self._require(namespace)
        del self.sockets[namespace]
        self._left += (namespace,)
        return encode_socket_packet(SocketPacket(SocketPacketType.DISCONNECT, namespace))

    def emit(self, name: str, *args: Any, namespace: str = "/") -> EncodedPacket:
        """Emit an event that asks for no ack."""
        self._require(namespace)
        return encode_event(name, *args, namespace=namespace)

    def emit_with_ack(self, name: str, *args: Any, namespace: str = "/") -> tuple[EncodedPacket, int]:
        """Emit an event and return the id that its `AckReceived` will carry."""
        self._require(namespace)
        ack_id = self._next_ack_id
        self._next_ack_id += 1
        return encode_event(name, *args, namespace=namespace, ack_id=ack_id), ack_id

    def ack(self, namespace: str, ack_id: int, *args: Any) -> EncodedPacket:
        """Acknowledge an event that the server emitted."""
        self._require(namespace)
        return encode_socket_packet(SocketPacket(SocketPacketType.ACK, namespace, list(args), ack_id))

    def receive(self, message: str | bytes) -> Connected | Refused | Disconnected | EventReceived | AckReceived | None:
        """Take one Engine.IO message; return what it says. `None` says nothing to the program: attachments are still
        due, or it came before the answer to CONNECT, or from a namespace that the client has left.

        Raises:
            ProtocolError: the server broke the protocol.
        """
        packet = self._decoder.receive(message)
        if packet is None:
            return None
        namespace = packet.namespace
        socket = self.sockets.get(namespace)
        if socket is None:
            if namespace in self._left:
                return None
            raise ProtocolError("unexpected_packet", "a packet for a namespace that was not asked for")
        if packet.type is SocketPacketType.CONNECT and socket.sid is None:
            return self._joined(socket, packet.data or {})
        if packet.type is SocketPacketType.CONNECT_ERROR and socket.sid is None:
            del self.sockets[namespace]
            return Refused(namespace, str(packet.data.get("message")), packet.data.get("data"))
        if packet.type is SocketPacketType.EVENT:
            name, *args = packet.data
            event = EventReceived(namespace, name, args, packet.ack_id)
            if socket.sid is not None:
                self._note_offset(socket, event)
                return event
            if len(socket.early) >= MAX_EARLY_EVENTS:
                raise ProtocolError("unexpected_packet", f"more than {MAX_EARLY_EVENTS} events before the answer")
            socket.early.append(event)
            return None
        if socket.sid is not None:
            if packet.type is SocketPacketType.ACK and packet.ack_id is not None:
                return AckReceived(namespace, packet.ack_id, packet.data)
            if packet.type is SocketPacketType.DISCONNECT:
                del self.sockets[namespace]
                return Disconnected(namespace)
        raise ProtocolError("unexpected_packet", f"a {packet.type.name} packet out of order")

    @staticmethod
    def _joined(socket: ClientSocket, data: dict[str, Any]) -> Connected:
        sid, pid = data.get("sid"), data.get("pid")
        if not isinstance(sid, str) or not isinstance(pid, str | None):
            raise ProtocolError("handshake", "a CONNECT reply without a sid")
        socket.sid, socket.pid = sid, pid
        early, socket.early = socket.early, []
        for event in early:
            SocketClient._note_offset(socket, event)
        return Connected(socket.namespace, sid, pid, early)

    @staticmethod
    def _note_offset(socket: ClientSocket, event: EventReceived) -> None:
        # As the stock client does: only where recovery is on, and only if it is a string.
        if socket.pid is not None and event.args and isinstance(event.args[-1], str):
            socket.offset = event.args[-1]

    def _require(self, namespace: str) -> None:
        socket = self.sockets.get(namespace)
        if socket is None or socket.sid is None:
            raise NotJoinedError(f"namespace {namespace} is not joined")
