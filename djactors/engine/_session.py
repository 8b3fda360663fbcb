"""One Engine.IO session at work: an `EngineSession` with sockets, an outbox and a handler.

Theory of operation

    handler ──send──► outbox ──────────► the waiting GET        while polling carries the session
                 └──► WebSocket's own buffer                    once the WebSocket does
    POST, frames ──► EngineSession ──► handler.on_message
    Heartbeat ──► tick ──► pings, timeouts, handler.on_tick

- Nothing here waits. `send` and `close` may be called at any time, from any handler, and never raise.
- A client that does not keep up is let go and resumes by offset, so it never slows another client down. While polling,
  the outbox is bounded; on WebSocket, the bytes that the kernel has not taken yet.
- A session ends once, with one reason. Right after that, the engine's own task calls the handler's `on_close`, never
  inside a call that the handler made. The handler gets nothing in between.
- A WebSocket that does not belong to the session, or no longer does, cannot affect it: its messages are dropped.
- A WebSocket that the session lets go gets a close frame, and its own task waits a bounded time for the answer.

The sid is the secret that stands for the session, because a stock client proves nothing else with a poll. It is random,
never logged, and differs from the Socket.IO sid, which others may learn.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Final, Protocol

import trio

from djactors.engine._polling import Outbox
from djactors.engine._settings import BYTES_PER_TURN, PACKETS_PER_TURN, UNPROVEN_PACKETS, EngineSettings
from djactors.net import (
    CostlyWork,
    SlowConsumer,
    Timer,
    UnprovenBytes,
    WebSocket,
    WebSocketClosed,
)
from djactors.protocol import (
    CLOSE,
    NOOP,
    PING,
    PROBE_REPLY,
    Closed,
    CloseReason,
    CloseTransport,
    EncodedPacket,
    EngineSession,
    Message,
    Packet,
    ProtocolError,
    SendPing,
    SendProbeReply,
    Transport,
    Upgraded,
    decode_packet,
    decode_payload,
    frames_of,
    open_packet,
)

SLOW_CONSUMER: Final = "slow_consumer"
CONNECT_TIMEOUT: Final = "connect_timeout"
DRAINED: Final = "drained"
OVER_BUDGET: Final = "over_budget"

# How long the last packets of an ended session are kept. A client between two polls comes back within a round trip.
FAREWELL_SECONDS: Final = 3.0
# A heartbeat that is late by no more than this counts as punctual, so that delays do not add up over the intervals.
_PUNCTUAL_SECONDS: Final = 0.02

# Even without a goodbye, an end for one of these reasons has a closing handshake. For any other reason, the peer is
# gone, does not read, or must be told nothing, and a handshake would only wait in vain.
_HEARD: Final = frozenset({CloseReason.VIOLATION, CloseReason.TRANSPORT})

_POLLING = Transport.POLLING
_WEBSOCKET = Transport.WEBSOCKET


class SessionHandler(Protocol):
    """The program's side of a session. Its methods are synchronous and must not block."""

    @property
    def is_idle(self) -> bool:
        """Whether the client has joined nothing. An idle session is closed after `connect_timeout`."""

    def on_message(self, data: str | bytes) -> None:
        """Take one message. Any exception closes the session; one that is no `ProtocolError` is also reported."""

    def on_close(self, reason: str) -> None:
        """The session has ended. Called exactly once, and nothing is called after it."""

    def on_tick(self, now: float) -> None:
        """A ping has just been sent. `now` is `trio.current_time()`."""


class _Deaf:
    """The handler of a session that has ended and has told its own."""

    is_idle = True

    def on_message(self, data: str | bytes) -> None:
        pass

    def on_close(self, reason: str) -> None:
        pass

    def on_tick(self, now: float) -> None:
        pass


_DEAF: Final = _Deaf()


class SessionOwner(Protocol):
    """The server that holds a session, as the session sees it."""

    @property
    def unproven(self) -> UnprovenBytes:
        """What the outboxes of strangers come out of."""

    @property
    def costly(self) -> CostlyWork:
        """What slices of payloads wait for."""

    def schedule(self, session: "Session") -> None:
        """The session's next deadline may have become earlier."""

    def proved(self, session: "Session") -> None:
        """The client has proved whose session it is."""

    def upgraded(self, session: "Session") -> None:
        """The session is carried by its WebSocket from now on."""

    def violated(self, session: "Session", error: ProtocolError) -> None:
        """The client sent something wrong by WebSocket, which ends because of it."""

    def parting(self, websocket: WebSocket) -> None:
        """The WebSocket was sent a close frame: schedule its timer, so that the closing handshake ends."""

    def ended(self, session: "Session", *, has_last_words: bool) -> None:
        """The session has ended. If it has last words, keep it for one more GET."""

    def forget(self, session: "Session") -> None:
        """Forget an ended session, because no GET has come for its last words."""


class Session:
    """One client's session. Handlers use `send`, `close`, `when_drained` and the attributes; the engine uses the rest.

    `owner` is whose session this is, once the handler has called `prove` or has set it; nothing here looks at what it
    is.
    """

    __slots__ = (
        "_carrier",
        "_connect_by",
        "_forget_at",
        "_pushing",
        "_server",
        "_settings",
        "_websocket",
        "engine",
        "handler",
        "outbox",
        "owner",
        "peer",
        "proven",
        "reason",
        "timer",
    )

    def __init__(
        self, engine: EngineSession, settings: EngineSettings, server: SessionOwner, *, peer: str, now: float
    ) -> None:
        self.engine = engine
        self.peer = peer
        self.owner: object = None
        # Whether the client has proved that it may send more, and be sent more, than a stranger. See `prove`.
        self.proven = False
        # While a payload is acted upon in slices; others of this session wait, so that none of them mix.
        self._pushing: trio.Lock | None = None
        # Why the session ended; None while it lives.
        self.reason: str | None = None
        self.handler: SessionHandler
        self.timer: Timer | None = None
        self._settings = settings
        self._server = server
        self._connect_by = now + settings.connect_timeout
        self._forget_at = inf
        # The session's WebSocket, even while it does not carry the session yet.
        self._websocket: WebSocket | None = None
        # The WebSocket once it carries the session. Until then, packets go to the outbox.
        self._carrier: WebSocket | None = None
        polls = engine.transport is _POLLING
        # Strangers are sent little but what refuses them, and need not fetch it.
        self.outbox = Outbox(UNPROVEN_PACKETS, settings.unproven_payload) if polls else None

    # What handlers use

    @property
    def sid(self) -> str:
        """The session's name and secret."""
        return self.engine.sid

    @property
    def transport(self) -> Transport:
        """The transport that carries the session now."""
        return self.engine.transport

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self.reason is not None

    @property
    def proof(self) -> "Session | None":
        """What `Request.proof` is for requests that name this session: the session itself, once it is proven."""
        return self if self.proven else None

    @property
    def max_payload(self) -> int:
        """Bytes that the client may send in one request or message."""
        settings = self._settings
        return settings.max_payload if self.proven else min(settings.unproven_payload, settings.max_payload)

    def prove(self, owner: object = None) -> None:
        """The handler knows enough of the client to take `max_payload` bytes from it, and perhaps whose session it is.

        Until then a session is one of many strangers: it may send `unproven_payload` bytes, and what it holds comes out
        of the strangers' budget. Where an owner is named, newcomers from the session's address go first when many come.
        """
        if owner is not None:
            self.owner = owner
            self._server.proved(self)
        if self.proven:
            return
        self.proven = True
        if self.outbox is not None:
            self.outbox.widen(self._settings.outbox_packets, self._settings.outbox_bytes)
            self._server.unproven.settle(self, 0)
        if self._websocket is not None:
            self._websocket.prove(self._settings.max_payload)

    def evict(self) -> None:
        """The strangers' budget is used up, and this one holds much of it. See `djactors.net.Holder`."""
        self._end(OVER_BUDGET)

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        """Send packets in one write. Over the outbox's bounds the session closes; a closed session drops packets."""
        websocket = self._carrier
        if websocket is not None:
            self._write(websocket, frames_of(packets))
        elif self.outbox is not None and self.reason is None:
            if not self.outbox.put(packets):
                self._end(SLOW_CONSUMER)
            elif not self.proven and not self._server.unproven.settle(self, self.outbox.size):
                self._end(OVER_BUDGET)

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when all that was sent is on its way: possibly at once, and never if the session ends.

        There should be one callback at a time: while the session polls, a second one replaces the first.
        """
        if self._carrier is not None:
            # A WebSocket sends on for a while after its session has ended.
            self._carrier.when_drained(lambda: callback() if self.reason is None else None)
        elif self.outbox is not None and self.reason is None:
            if self.outbox.packets:
                self.outbox.on_empty = callback
            else:
                callback()

    def close(self, reason: str, *, say_goodbye: bool = True) -> None:
        """End the session; the client reconnects. `reason` is a word for logs and metrics, from a fixed set.

        Packets that were sent before still go out, and a goodbye behind them: on WebSocket a close frame; on polling a
        close packet, in the waiting GET or in one that comes within `FAREWELL_SECONDS`. Without `say_goodbye` they are
        dropped.
        """
        self._end(reason, CLOSE if say_goodbye else None)

    # What the engine calls

    def open_packet(self) -> EncodedPacket:
        """Return the packet that opens the session."""
        return open_packet(self.engine.handshake())

    def begin_upgrade(self, now: float) -> None:
        """Prepare to attach a WebSocket. Raises `ProtocolError` unless polling carries the session alone."""
        self.engine.begin_upgrade(now)
        self._server.schedule(self)

    def attach(self, websocket: WebSocket) -> None:
        """Make this the session's WebSocket. It carries the session if the session began on WebSocket."""
        self._websocket = websocket
        if self.proven:
            websocket.prove(self._settings.max_payload)
        if self.engine.transport is _WEBSOCKET:
            self._carrier = websocket

    def detach(self, websocket: WebSocket) -> None:
        """The WebSocket has ended, or never opened. Idempotent."""
        if self._websocket is websocket:
            self.transport_lost(_WEBSOCKET)

    def receive(self, websocket: WebSocket, data: str | bytes) -> None:
        """Take one message of the WebSocket."""
        if self._websocket is not websocket:
            return
        try:
            answer = self.engine.receive(decode_packet(data), _WEBSOCKET, trio.current_time())
            if type(answer) is Message:
                self.handler.on_message(answer.data)
                return
        except ProtocolError as error:
            self._server.violated(self, error)
            self.transport_lost(_WEBSOCKET, CloseReason.VIOLATION)
            return
        self._act(answer)

    async def receive_payload(self, body: bytes) -> None:
        """Take the body of one POST. A violation ends the session and raises `ProtocolError`.

        A body over `max_payload` raises `ProtocolError` with the code `payload_bytes` and changes nothing.
        A payload that is too large for one turn of the loop is handled in slices; other payloads of this session wait
        meanwhile. Cancelling ends the session, because nobody can tell which packets of the payload were handled.
        """
        try:
            if self._pushing is None and len(body) <= BYTES_PER_TURN and body.count(b"\x1e") < PACKETS_PER_TURN:
                self._receive_slice(self._decode(body))
                return
            lock = self._pushing = self._pushing or trio.Lock()
            async with lock:
                await self._receive_in_slices(body, self._server.costly)
            if not lock.statistics().tasks_waiting:
                self._pushing = None
        except ProtocolError as error:
            if error.code != "payload_bytes":
                self.transport_lost(_POLLING, CloseReason.VIOLATION)
            raise
        except BaseException:
            self.transport_lost(_POLLING, CloseReason.SERVER)
            raise

    def _decode(self, body: bytes) -> list[Packet]:
        bounds = {} if self.proven else {"max_packets": UNPROVEN_PACKETS}
        return decode_payload(body, max_bytes=self.max_payload, **bounds)

    async def _receive_in_slices(self, body: bytes, costly: CostlyWork) -> None:
        async with costly:
            packets = self._decode(body)
        start = 0
        while start < len(packets) and self.reason is None:
            end, size = start, 0
            while end < min(start + PACKETS_PER_TURN, len(packets)) and size < BYTES_PER_TURN:
                size += len(packets[end].data)
                end += 1
            async with costly:
                self._receive_slice(packets[start:end])
            start = end

    def _receive_slice(self, packets: Sequence[Packet]) -> None:
        now = trio.current_time()
        for packet in packets:
            if self.reason is not None:
                return
            answer = self.engine.receive(packet, _POLLING, now)
            if type(answer) is Message:
                self.handler.on_message(answer.data)
            else:
                self._act(answer)

    def transport_lost(self, transport: Transport, reason: CloseReason = CloseReason.TRANSPORT) -> None:
        """End the session, its upgrade, or nothing, because a transport ended or broke the protocol."""
        self._act(self.engine.transport_lost(transport, reason))

    def tell_end(self) -> None:
        """Tell the handler that the session has ended, and let it go. Called once, by the server.

        The two refer to each other. Together they would be garbage that only a look at all objects finds, and a server
        with thousands of users can hardly afford one.
        """
        handler, self.handler = self.handler, _DEAF
        handler.on_close(self.reason or "")

    # Timers

    @property
    def next_deadline(self) -> float:
        """When `tick` is due."""
        return min(self.engine.next_deadline, self._connect_by) if self.reason is None else self._forget_at

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.reason is not None:
            self._forget_at = inf
            self._server.forget(self)
            return
        if now >= self._connect_by:
            self._connect_by = inf
            if self.handler.is_idle:
                self._end(CONNECT_TIMEOUT, CLOSE)
                return
        due = self.engine.next_deadline
        if 0 <= now - due <= _PUNCTUAL_SECONDS:
            now = due
        while (answer := self.engine.tick(now)) is not None:
            self._act(answer)
            if type(answer) is SendPing and self.reason is None:
                self._after_ping(now)

    def _after_ping(self, now: float) -> None:
        # A client that has left every namespace has until the next ping to join one.
        if self._connect_by == inf and self.handler.is_idle:
            self._end(CONNECT_TIMEOUT, CLOSE)
        else:
            self.handler.on_tick(now)

    # Internal

    def _act(self, answer: Message | SendPing | SendProbeReply | Upgraded | CloseTransport | Closed | None) -> None:
        """Do what the protocol says."""
        match answer:
            case SendPing():
                self.send((PING,))
            case SendProbeReply():
                assert self._websocket is not None
                self._write(self._websocket, PROBE_REPLY.frame)
                if self.outbox is not None:
                    self.outbox.nudge()
            case Upgraded():
                self._switch()
            case CloseTransport():
                self._drop_websocket()
            case Closed(reason):
                self._end(reason, NOOP if reason is CloseReason.CLIENT else None)
                return
            case Message() | None:
                pass
        # After a pong, or when an upgrade begins or ends, the next deadline may be earlier.
        if self.reason is None:
            self._server.schedule(self)

    def _switch(self) -> None:
        """Let the WebSocket carry the session, and send first the packets that wait for a poll."""
        self._carrier = websocket = self._websocket
        assert websocket is not None
        outbox, self.outbox = self.outbox, None
        assert outbox is not None
        waiting = b"".join([packet.frame for packet in outbox.packets])
        outbox.clear()
        outbox.nudge()
        self._server.unproven.settle(self, 0)
        self._server.upgraded(self)
        if waiting:
            self._write(websocket, waiting)
        if outbox.on_empty is not None:
            self.when_drained(outbox.on_empty)

    def _write(self, websocket: WebSocket, frames: bytes) -> None:
        try:
            websocket.write_frames(frames)
        except SlowConsumer:
            self._end(SLOW_CONSUMER)
        except WebSocketClosed:
            self.transport_lost(_WEBSOCKET)
        else:
            if websocket.buffered > self._settings.outbox_bytes:
                self._end(SLOW_CONSUMER)

    def _drop_websocket(self, *, abort: bool = False) -> None:
        websocket, self._websocket = self._websocket, None
        self._carrier = None
        if websocket is None:
            return
        if abort:
            websocket.abort()
        else:
            websocket.say_goodbye()
            self._server.parting(websocket)

    def _end(self, reason: str, last_word: EncodedPacket | None = None) -> None:
        """End the session. A client that polls gets `last_word`; without it, only a waiting GET gets a close packet."""
        if self.reason is not None:
            return
        self.engine.close()
        self.reason = str(reason)
        self._drop_websocket(abort=last_word is None and reason not in _HEARD)
        outbox = self.outbox
        has_last_words = False
        if outbox is not None:
            outbox.on_empty = None
            # Packets that were sent before go out only if the last word is a goodbye.
            if last_word is not CLOSE:
                outbox.clear()
            if last_word is not None or outbox.has_waiter:
                outbox.put((last_word or CLOSE,))
                has_last_words = True
            self._forget_at = trio.current_time() + FAREWELL_SECONDS
            self._server.unproven.settle(self, 0)
        self._server.ended(self, has_last_words=has_last_words)

    def __repr__(self) -> str:
        # Without the sid, which is a secret.
        return f"<Session of {self.peer} by {self.transport}>" if self.reason is None else f"<Session: {self.reason}>"
