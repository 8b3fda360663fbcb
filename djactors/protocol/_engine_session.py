"""One Engine.IO session on the server's side, without I/O: transports, upgrade, heartbeat, closing.

The session says what a packet means and what is due. The program that drives it owns the sockets, the outbox and the
clock.

States
    POLLING     long-polling carries the session; a WebSocket may be attached
    UPGRADING   a WebSocket is attached and must send `2probe`; nothing may be written to it before
    PROBED      `3probe` is out; polling still carries the session, and every GET is answered at once
    WEBSOCKET   the WebSocket carries the session; polling requests are answered 400
    CLOSED      the end

What each packet means (a blank cell is a violation and raises `ProtocolError`; a noop is ignored)

    state       from        message  pong   close  ping      upgrade
    POLLING     polling     deliver  alive  leave
    UPGRADING   polling     deliver  alive  leave
                websocket                          `probe`
    PROBED      polling     deliver  alive  leave
                websocket                          `probe`   switch
    WEBSOCKET   websocket   deliver  alive  leave
    CLOSED      any         ignored, whatever it is

How states change

    POLLING    ──begin_upgrade──► UPGRADING ──2probe──► PROBED ──5──► WEBSOCKET
        ▲                             │                    │
        └── the WebSocket dies, breaks the protocol, or is late: polling goes on, nothing is lost

When a transport ends, or a decoder or `receive` raises, call `transport_lost`, which decides whether this ends the
session or only its upgrade. The server pings at its interval, whatever else it sends, and the pong is due within the
timeout. A pong without a ping is ignored. Source: the Engine.IO protocol document, revision 4, "Heartbeat" and
"Upgrade".
"""

from enum import Enum, StrEnum
from math import inf
from typing import Literal

import msgspec

from djactors.protocol._engine_packets import (
    MAX_PAYLOAD_BYTES,
    Handshake,
    Packet,
    PacketType,
    Transport,
    handshake_for,
)
from djactors.protocol._errors import ProtocolError


class State(Enum):
    """The state of a session; see the module's table."""

    POLLING = "polling"
    UPGRADING = "upgrading"
    PROBED = "probed"
    WEBSOCKET = "websocket"
    CLOSED = "closed"


class CloseReason(StrEnum):
    """Why a session or a transport ended: a fixed word, which may be a metric label."""

    CLIENT = "client close"
    SERVER = "server close"
    PING_TIMEOUT = "ping timeout"
    UPGRADE_TIMEOUT = "upgrade timeout"
    TRANSPORT = "transport close"
    VIOLATION = "protocol error"


class Message(msgspec.Struct, frozen=True, gc=False):
    """The client sent this message. With Socket.IO, give it to `SocketSession.receive`."""

    data: str | bytes


class SendProbeReply(msgspec.Struct, frozen=True):
    """Write `PROBE_REPLY` to the attached WebSocket, and answer a waiting GET (with a noop if the outbox is empty)."""


class Upgraded(msgspec.Struct, frozen=True):
    """Send everything by the WebSocket from now on, beginning with the packets in the outbox."""


class SendPing(msgspec.Struct, frozen=True):
    """Put `PING` into the outbox."""


class CloseTransport(msgspec.Struct, frozen=True):
    """Close this transport. The session goes on by the other transport."""

    transport: Transport
    reason: CloseReason


class Closed(msgspec.Struct, frozen=True):
    """The session is over: answer a waiting GET, close the transports that are open, and forget the sid."""

    reason: CloseReason


class SessionSettings(msgspec.Struct, frozen=True):
    """The settings of all sessions of a server. Times are in seconds; the defaults are the reference server's."""

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    max_payload: int = MAX_PAYLOAD_BYTES


_Meaning = Literal["deliver", "alive", "leave", "probe", "switch", "ignore"]

_CARRYING: dict[PacketType, _Meaning] = {
    PacketType.MESSAGE: "deliver",
    PacketType.PONG: "alive",
    PacketType.CLOSE: "leave",
    PacketType.NOOP: "ignore",
}

_MEANINGS: dict[State, dict[Transport, dict[PacketType, _Meaning]]] = {
    State.POLLING: {Transport.POLLING: _CARRYING},
    State.UPGRADING: {Transport.POLLING: _CARRYING, Transport.WEBSOCKET: {PacketType.PING: "probe"}},
    State.PROBED: {
        Transport.POLLING: _CARRYING,
        Transport.WEBSOCKET: {PacketType.PING: "probe", PacketType.UPGRADE: "switch"},
    },
    State.WEBSOCKET: {Transport.WEBSOCKET: _CARRYING},
}

_NONE: dict[PacketType, _Meaning] = {}
_MESSAGE = PacketType.MESSAGE
_PROBE_REPLY = SendProbeReply()
_UPGRADED = Upgraded()
_SEND_PING = SendPing()


class EngineSession:
    """The state of one session. `now` is the time in seconds by any monotonic clock, always the same one.

    `next_deadline` is the next time at which `tick` will return something. It changes only inside a call of this
    object, so one timer for each session, or one sweep over all, is enough.
    """

    __slots__ = ("_ping_at", "_pong_by", "_settings", "_upgrade_by", "sid", "state", "transport")

    def __init__(self, sid: str, transport: Transport, settings: SessionSettings, now: float) -> None:
        self.sid = sid
        self.transport = transport
        self.state = State.POLLING if transport is Transport.POLLING else State.WEBSOCKET
        self._settings = settings
        self._ping_at = now + settings.ping_interval
        self._pong_by = inf
        self._upgrade_by = inf

    def handshake(self) -> Handshake:
        """Return the content of the open packet."""
        settings = self._settings
        return handshake_for(
            self.sid,
            self.transport,
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            max_payload=settings.max_payload,
        )

    def receive(
        self, packet: Packet, transport: Transport, now: float
    ) -> Message | SendProbeReply | Upgraded | Closed | None:
        """Take one packet that arrived by `transport` and return what to do, `None` for nothing.

        A violation raises `ProtocolError` and changes nothing. Then call `transport_lost`, as after any other fault of
        a transport.
        """
        if packet.type is _MESSAGE and transport is self.transport and self.state is not State.CLOSED:
            return Message(packet.data)
        if self.state is State.CLOSED:
            return None
        meaning = _MEANINGS[self.state].get(transport, _NONE).get(packet.type)
        if meaning == "probe" and packet.data == "probe":
            self.state = State.PROBED
            return _PROBE_REPLY
        if meaning == "switch":
            self.state = State.WEBSOCKET
            self.transport = Transport.WEBSOCKET
            self._upgrade_by = inf
            return _UPGRADED
        if meaning == "leave":
            return self.close(CloseReason.CLIENT)
        if meaning == "alive":
            # The next ping comes one interval after the last ping, unless the pong took longer than the interval.
            if self._pong_by != inf:
                self._pong_by = inf
                self._ping_at = max(self._ping_at, now)
            return None
        if meaning == "ignore":
            return None
        raise ProtocolError("unexpected_packet", f"a {packet.type.name} packet by {transport} while {self.state.value}")

    @property
    def answers_polls_at_once(self) -> bool:
        """Whether a GET must not wait now: the client finishes its polling before it completes the upgrade."""
        return self.state is State.PROBED

    def begin_upgrade(self, now: float) -> None:
        """Attach a WebSocket. Raises `ProtocolError` if the session has one already or is closed."""
        if self.state is not State.POLLING:
            raise ProtocolError("second_websocket", f"a WebSocket for a session that is {self.state.value}")
        self.state = State.UPGRADING
        self._upgrade_by = now + self._settings.upgrade_timeout

    def transport_lost(
        self, transport: Transport, reason: CloseReason = CloseReason.TRANSPORT
    ) -> CloseTransport | Closed | None:
        """Return what must end because a transport ended or broke the protocol.

        If the transport carries the session, the session ends. If it is a WebSocket that has not completed the upgrade
        (`5`), only the upgrade ends, and polling goes on. Otherwise nothing ends: a POST that was on its way while the
        session upgraded is refused, and that is all.
        """
        if self.state is State.CLOSED:
            return None
        if transport is self.transport:
            return self.close(reason)
        if transport is Transport.WEBSOCKET and self.state is not State.POLLING:
            self.state = State.POLLING
            self._upgrade_by = inf
            return CloseTransport(transport, reason)
        return None

    @property
    def next_deadline(self) -> float:
        """When `tick` is due next; infinity once closed."""
        if self.state is State.CLOSED:
            return inf
        heartbeat = self._pong_by if self._pong_by != inf else self._ping_at
        return min(heartbeat, self._upgrade_by)

    def tick(self, now: float) -> SendPing | CloseTransport | Closed | None:
        """Return one thing that is due at `now`, `None` if nothing is due. Call this again until it returns `None`."""
        if now < self.next_deadline or self.state is State.CLOSED:
            return None
        if now >= self._pong_by:
            return self.close(CloseReason.PING_TIMEOUT)
        if now >= self._upgrade_by:
            return self.transport_lost(Transport.WEBSOCKET, CloseReason.UPGRADE_TIMEOUT)
        # The interval begins now and not at the planned time: a loop that was held up must not send two pings in a row.
        self._ping_at = now + self._settings.ping_interval
        self._pong_by = now + self._settings.ping_timeout
        return _SEND_PING

    def close(self, reason: CloseReason = CloseReason.SERVER) -> Closed | None:
        """End the session. Returns `None` if it had ended before, so that the program acts on a close only once.

        On WebSocket, close the WebSocket, because the stock client ignores a close packet there. On polling, answer the
        GET with `CLOSE`.
        """
        if self.state is State.CLOSED:
            return None
        self.state = State.CLOSED
        return Closed(reason)

    def __repr__(self) -> str:
        return f"<EngineSession {self.state.value}>"
