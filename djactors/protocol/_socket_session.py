"""The Socket.IO side of one Engine.IO session, without I/O: which namespaces are joined, and what a client may send.

    namespace     client sends                                            server
    (unknown)     CONNECT → ConnectRequested, namespace is pending
    pending       anything is a violation                                 accept → joined, refuse → unknown
    joined        EVENT, ACK; DISCONNECT → DisconnectRequested, unknown   emit, ack; disconnect → unknown

A violation raises `ProtocolError`. The protocol document demands that the connection is then closed; no stock client
ever commits a violation. Answer every CONNECT, because the JavaScript client waits for the answer for ever. The session
returns packets to be sent as `EncodedPacket`s and has no outbox itself. Source: the Socket.IO protocol document,
revision 5, "Exchange protocol".
"""

from typing import Any

import msgspec

from djactors.protocol._encoded_packets import EncodedPacket
from djactors.protocol._errors import ProtocolError
from djactors.protocol._socket_packets import (
    MAX_ATTACHMENT_BYTES,
    SocketPacket,
    SocketPacketDecoder,
    SocketPacketType,
    decode_socket_text,
    encode_event,
    encode_socket_packet,
)

# A client has one socket for each namespace of the server, and no real server has more than a few.
MAX_NAMESPACES = 8


class ConnectRequested(msgspec.Struct, frozen=True):
    """The client wants to join: authenticate, then `accept` or `refuse`. `auth` is empty if the client sent none."""

    namespace: str
    auth: dict[str, Any]


class EventReceived(msgspec.Struct, frozen=True):
    """The client emitted an event. If there is an `ack_id` (which may be 0), the client waits for an `ack`."""

    namespace: str
    name: str
    args: list[Any]
    ack_id: int | None


class AckReceived(msgspec.Struct, frozen=True):
    """The client acknowledged an event. A client may send any `ack_id`, so ignore an id that is not awaited."""

    namespace: str
    ack_id: int
    args: list[Any]


class DisconnectRequested(msgspec.Struct, frozen=True):
    """The client left the namespace, for instance by `disconnect()`. It expects no answer."""

    namespace: str


SocketEvent = ConnectRequested | EventReceived | AckReceived | DisconnectRequested


class NotJoinedError(LookupError):
    """The program used a namespace that is not joined, or not pending, as the call requires."""


_EVENT = SocketPacketType.EVENT
_ACK = SocketPacketType.ACK
# A packet with attachments begins with one of these. Only such packets need the decoder, which joins messages.
_BINARY = (str(int(SocketPacketType.BINARY_EVENT)), str(int(SocketPacketType.BINARY_ACK)))
# Nearly all clients join only this namespace, so they all share one tuple.
_MAIN_ALONE = ("/",)


class SocketSession:
    """Namespaces of one client. See the module's table for what each call does to them."""

    __slots__ = ("_decoder", "_joined", "_max_attachment_bytes", "_max_namespaces", "_pending")

    def __init__(
        self, *, max_namespaces: int = MAX_NAMESPACES, max_attachment_bytes: int = MAX_ATTACHMENT_BYTES
    ) -> None:
        # There is a decoder only while a packet is unfinished.
        self._decoder: SocketPacketDecoder | None = None
        self._max_attachment_bytes = max_attachment_bytes
        self._max_namespaces = max_namespaces
        # Tuples, because an empty tuple costs nothing and one with one item costs little, and more items are rare.
        self._pending: tuple[str, ...] = ()
        self._joined: tuple[str, ...] = ()

    def is_joined(self, namespace: str = "/") -> bool:
        """Whether the namespace was accepted and neither side has left it."""
        return namespace in self._joined

    @property
    def is_idle(self) -> bool:
        """Whether no namespace is joined or pending. Close such a session once the first CONNECT is overdue."""
        return not (self._joined or self._pending)

    def receive(self, message: str | bytes) -> SocketEvent | None:
        """Take one Engine.IO message; return what it says, `None` while attachments are still due.

        Raises:
            ProtocolError: the message is a violation.
        """
        if self._decoder is None and isinstance(message, str) and not message.startswith(_BINARY):
            packet = decode_socket_text(message)
        else:
            joined = self._receive_part(message)
            if joined is None:
                return None
            packet = joined
        namespace = packet.namespace
        if namespace in self._joined:
            standing = "joined"
            if packet.type is _EVENT:
                name, *args = packet.data
                return EventReceived(namespace, name, args, packet.ack_id)
            if packet.type is _ACK and packet.ack_id is not None:
                return AckReceived(namespace, packet.ack_id, packet.data)
            if packet.type is SocketPacketType.DISCONNECT:
                self._joined = _without(self._joined, namespace)
                return DisconnectRequested(namespace)
        elif namespace in self._pending:
            standing = "pending"
        else:
            standing = "unknown"
            if packet.type is SocketPacketType.CONNECT:
                if len(self._joined) + len(self._pending) >= self._max_namespaces:
                    raise ProtocolError("namespaces", f"more than {self._max_namespaces} namespaces")
                self._pending += (namespace,)
                return ConnectRequested(namespace, packet.data or {})
        raise ProtocolError("unexpected_packet", f"a {packet.type.name} packet for a namespace that is {standing}")

    def _receive_part(self, message: str | bytes) -> SocketPacket | None:
        """Take a part of a packet with attachments; return the packet that it completes."""
        decoder = self._decoder or SocketPacketDecoder(self._max_attachment_bytes)
        packet = decoder.receive(message)
        self._decoder = decoder if decoder.awaits_attachments else None
        return packet

    def accept(self, namespace: str, sid: str, extra: dict[str, Any] | None = None) -> EncodedPacket:
        """Let the pending client in. `extra` may carry a `pid` for recovery.

        `sid` is public, so it must not be the engine's sid, which is a secret.
        """
        self._require_pending(namespace)
        packet = encode_socket_packet(SocketPacket(SocketPacketType.CONNECT, namespace, {"sid": sid, **(extra or {})}))
        self._pending = _without(self._pending, namespace)
        self._joined = (*self._joined, namespace) if self._joined or namespace != "/" else _MAIN_ALONE
        return packet

    def refuse(self, namespace: str, message: str, data: Any = None) -> EncodedPacket:
        """Turn the pending client away; it will not retry by itself. `data` reaches it as `error.data`."""
        self._require_pending(namespace)
        reply = {"message": message} if data is None else {"message": message, "data": data}
        packet = encode_socket_packet(SocketPacket(SocketPacketType.CONNECT_ERROR, namespace, reply))
        self._pending = _without(self._pending, namespace)
        return packet

    def disconnect(self, namespace: str = "/") -> EncodedPacket:
        """Put the client out of the namespace. It will not reconnect by itself; it does if you close the transport."""
        self._require_joined(namespace)
        packet = encode_socket_packet(SocketPacket(SocketPacketType.DISCONNECT, namespace))
        self._joined = _without(self._joined, namespace)
        return packet

    def emit(self, name: str, *args: Any, namespace: str = "/", ack_id: int | None = None) -> EncodedPacket:
        """Encode an event for this client alone. To encode an event once for many clients, use `encode_event`."""
        self._require_joined(namespace)
        return encode_event(name, *args, namespace=namespace, ack_id=ack_id)

    def ack(self, namespace: str, ack_id: int, *args: Any) -> EncodedPacket:
        """Acknowledge an event. Raises `NotJoinedError` if the client left while its event was handled."""
        self._require_joined(namespace)
        return encode_socket_packet(SocketPacket(_ACK, namespace, list(args), ack_id))

    def _require_pending(self, namespace: str) -> None:
        if namespace not in self._pending:
            raise NotJoinedError(f"namespace {namespace} is not pending")

    def _require_joined(self, namespace: str) -> None:
        if namespace not in self._joined:
            raise NotJoinedError(f"namespace {namespace} is not joined")


def _without(namespaces: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    return tuple(each for each in namespaces if each != namespace)
