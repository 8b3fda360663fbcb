"""One Engine.IO session of a client: its transports, the upgrade from one to the other, and the heartbeat.

    run ──► polling: GET, GET, …          ──► end
        │      └── upgrade: WebSocket, 2probe, 3probe, the last GET returns, 5 ──► WebSocket carries all
        └─► WebSocket                     ──► end

Whatever ends the session calls `end`, and the first reason counts. Packets that come are given to `receive` at once, in
order; packets that go out wait in `outbox`. Until `5` is sent, polling stays authoritative: if the WebSocket fails
before, polling goes on and nothing is lost.
"""

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlencode

import msgspec
import trio

from djactors.client.socketio._address import Address, OpenStream
from djactors.client.socketio._http import Answer, HttpConnection, HttpFailedError
from djactors.client.socketio._items import DisconnectReason
from djactors.client.socketio._queues import Outbox
from djactors.client.socketio._settings import SocketSettings
from djactors.client.socketio._websocket import NotOpenedError, WebSocket, WebSocketLostError
from djactors.protocol import (
    CLOSE,
    MAX_POLL_PACKETS,
    PONG,
    UPGRADE,
    ClientEngine,
    ClientState,
    Closed,
    EncodedPacket,
    Message,
    Opened,
    Packet,
    PacketType,
    ProtocolError,
    Send,
    Transport,
    decode_packet,
    decode_payload,
    join_payload,
)

RENEWED_PART = 1 / 16
"""The part of the patience with the server that has to pass before a packet that is no ping renews it."""

MAX_WRITE_PACKETS = 64
"""Packets that leave the outbox together for a WebSocket, so that what waits for the socket as well is bounded."""


class End(msgspec.Struct, frozen=True):
    """How a session ended.

    Attributes:
        reason: why.
        detail: the same for people.
        retry_after: what the server asked for, in seconds.
        refused_transport: whether only this transport failed, and another may pass.
    """

    reason: DisconnectReason
    detail: str
    retry_after: float | None = None
    refused_transport: bool = False


class Route(msgspec.Struct, frozen=True):
    """What the sessions of a client have in common: where they go, and by what."""

    address: Address
    open_stream: OpenStream
    path: str
    query: dict[str, str]
    headers: list[tuple[str, str]]
    settings: SocketSettings

    def target(self, transport: Transport, sid: str | None) -> str:
        """Path and query of a request."""
        fields = {**self.query, "EIO": "4", "transport": str(transport)}
        if sid is not None:
            fields["sid"] = sid
        return f"{self.path}?{urlencode(fields)}"

    def http(self) -> HttpConnection:
        """A connection for polling."""
        return HttpConnection(self.address, self.open_stream, self.headers, self.settings.max_receive_bytes)

    def websocket(self, sid: str | None) -> WebSocket:
        """A WebSocket that opens a session, or joins the one with this sid."""
        return WebSocket(
            self.address,
            self.open_stream,
            self.target(Transport.WEBSOCKET, sid),
            self.headers,
            max_message=self.settings.max_receive_bytes,
            send_timeout=self.settings.send_timeout,
        )


class Session:
    """See the module.

    Args:
        route: where to.
        transport: by which it begins.
        receive: takes each Engine.IO message; it may call `end`, and raises nothing but `ProtocolError`.
        opened: is called when the server has opened the session, before any message.
    """

    def __init__(
        self,
        route: Route,
        transport: Transport,
        receive: Callable[[str | bytes], None],
        opened: Callable[[], None],
    ) -> None:
        settings = route.settings
        self.engine = ClientEngine(transport)
        self.outbox = Outbox(settings.outbox_packets, settings.outbox_bytes, self._start_writer)
        self.ended: End | None = None
        self._is_joined = False
        self._route, self._settings = route, settings
        self._receive, self._opened = receive, opened
        self._patience = settings.connect_timeout
        self._websocket: WebSocket | None = None
        self._pushes = route.http()
        # Held while something is sent, so that nothing is between two transports at the switch.
        self._sending = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._switch: _Switch | None = None

    @property
    def transport(self) -> Transport:
        """The one that carries what is sent now."""
        return Transport.POLLING if self._websocket is None else Transport.WEBSOCKET

    @property
    def max_payload(self) -> int:
        """The most bytes of a packet that the server takes."""
        return self.engine.handshake.max_payload if self.engine.handshake is not None else 0

    @property
    def _scope(self) -> trio.CancelScope:
        """Around all of it. Its deadline is the end of all patience with the server, so that no task has to look."""
        assert self._nursery is not None
        return self._nursery.cancel_scope

    async def run(self) -> End:
        """Carry the session until it ends."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._scope.deadline = trio.current_time() + self._patience
                try:
                    # In this task, as an idle connection should cost little.
                    if self.engine.transport is Transport.POLLING:
                        await self._poll()
                    else:
                        await self._carry_websocket()
                except BaseException:
                    # The nursery takes no writer any more.
                    self.outbox.close()
                    raise
        finally:
            self.outbox.close()
            await self._pushes.aclose()
        return self._lost_patience() if self.ended is None else self.ended

    def end(
        self,
        reason: DisconnectReason,
        detail: str,
        *,
        retry_after: float | None = None,
        refused_transport: bool = False,
    ) -> None:
        """End the session at once, unless it has ended."""
        if self.ended is None:
            self.ended = End(reason, detail, retry_after, refused_transport)
            # Whoever has something to send waits for the next session.
            self.outbox.close()
            self._scope.cancel()

    def join(self) -> None:
        """The server has let the client in: from now on it has to send pings."""
        handshake = self.engine.handshake
        assert handshake is not None
        self._is_joined = True
        self._patience = max(handshake.ping_interval + handshake.ping_timeout, 1) / 1000
        self._scope.deadline = trio.current_time() + self._patience

    async def leave(self, farewell: EncodedPacket | None, why: str) -> None:
        """Say good-bye and end: with a farewell for good, without one to come back.

        A peer that takes no part holds this up for `close_timeout` seconds at most.
        """
        with trio.move_on_after(self._settings.close_timeout):
            if farewell is not None:
                self.outbox.put_nowait(farewell)
            if self._websocket is None and self.engine.handshake is not None:
                self.outbox.put_nowait(CLOSE)
            if self.engine.handshake is not None:
                await self.outbox.flush()
            if self._websocket is not None:
                await self._websocket.close(self._settings.close_timeout)
        self.end(DisconnectReason.CLIENT, why)

    # What comes

    def _take(self, packet: Packet, transport: Transport) -> None:
        if self.ended is not None:
            return
        if self._is_joined:
            self._renew(is_ping=packet.type is PacketType.PING)
        match self.engine.receive(packet, transport):
            case Message(data=data):
                self._receive(data)
            case Send(packet=reply) if reply is UPGRADE:
                assert self._switch is not None
                self._switch.probed.set()
            case Send(packet=reply):
                # What came by a WebSocket is answered by the task that reads it.
                self.outbox.put_nowait(reply, start=transport is Transport.POLLING)
            case Opened():
                self._opened()
                if transport is Transport.POLLING and self._may_upgrade():
                    assert self._nursery is not None
                    self._nursery.start_soon(self._upgrade)
            case Closed():
                self.end(DisconnectReason.SERVER, "the server closed the session")
            case None:
                pass

    def _take_message(self, message: str | bytes) -> Awaitable[None] | None:
        """Take a message of a WebSocket; what its reader has to do before it goes on."""
        try:
            # These two are the way of nearly all that comes; the engine would say the same of it.
            if message[:1] == "4" and self._carries_websocket():
                self._renew(is_ping=False)
                self._receive(message[1:])
                return None
            if message == "2" and self._carries_websocket() and self._may_write_now():
                self._renew(is_ping=True)
                assert self._websocket is not None
                return self._send_frames(self._websocket, [PONG], by_reader=True)
            self._take(decode_packet(message), Transport.WEBSOCKET)
        except ProtocolError as error:
            self.end(DisconnectReason.VIOLATION, str(error))
            return None
        # A pong is small, and a task for each would cost more than to send it.
        return self._write_pong() if self.outbox.claim() else None

    def _may_upgrade(self) -> bool:
        assert self.engine.handshake is not None
        return Transport.WEBSOCKET in self._settings.transports and "websocket" in self.engine.handshake.upgrades

    def _carries_websocket(self) -> bool:
        """Whether a WebSocket carries an open session that the client has been let into."""
        engine = self.engine
        return (
            self._is_joined
            and self.ended is None
            and engine.state is ClientState.OPEN
            and engine.transport is Transport.WEBSOCKET
        )

    def _may_write_now(self) -> bool:
        """Whether a WebSocket carries what is sent, and nothing is sent or waits for it."""
        return self._websocket is not None and self.outbox.is_idle and not self._sending.locked()

    def _renew(self, *, is_ping: bool) -> None:
        """Be patient for as long again. A ping counts always, and of thousands of other packets one now and then."""
        deadline = trio.current_time() + self._patience
        if is_ping or deadline - self._scope.deadline > self._patience * RENEWED_PART:
            self._scope.deadline = deadline

    def _lost_patience(self) -> End:
        """How a session ended that nothing but its deadline has ended."""
        if self._is_joined:
            return End(DisconnectReason.PING_TIMEOUT, "the server's ping stayed out")
        told = "the server did not let the client in in time"
        return End(DisconnectReason.OPEN_TIMEOUT, told, refused_transport=self.engine.handshake is None)

    # What goes

    def _start_writer(self) -> None:
        # It ends when nothing is left: most clients send a pong now and then, and an idle task takes memory.
        assert self._nursery is not None
        self._nursery.start_soon(self._write)

    async def _write(self) -> None:
        while self.outbox.has_more():
            await self._write_some()

    async def _write_pong(self) -> None:
        """What the reader of a WebSocket does between two messages. It leaves the rest to others, as it has to read."""
        await self._write_some(by_reader=True)
        if self.outbox.has_more():
            self._start_writer()

    async def _write_some(self, *, by_reader: bool = False) -> None:
        websocket = self._websocket
        if websocket is None:
            async with self._sending:
                # While this waited, the session may have moved to a WebSocket.
                if self._websocket is None:
                    await self._push(self.outbox.take(self.max_payload, MAX_POLL_PACKETS))
        elif self._sending.locked():
            # The packet that ends an upgrade goes first.
            async with self._sending:
                pass
        else:
            packets = self.outbox.take(self._settings.outbox_bytes, MAX_WRITE_PACKETS)
            await self._send_frames(websocket, packets, by_reader=by_reader)
        self.outbox.written()

    async def _push(self, packets: Sequence[EncodedPacket]) -> None:
        try:
            with trio.fail_after(self._settings.send_timeout):
                answer = await self._pushes.request(
                    "POST", self._polling_target(), join_payload(packets), "text/plain;charset=UTF-8"
                )
        except (OSError, HttpFailedError) as error:
            self.end(DisconnectReason.TRANSPORT, str(error))
        except trio.TooSlowError:
            self.end(DisconnectReason.SEND_TIMEOUT, "the server did not take what was sent in time")
        else:
            if answer.status != 200:
                self.end(DisconnectReason.TRANSPORT, answer.told(), retry_after=answer.retry_after)

    async def _send_frames(
        self, websocket: WebSocket, packets: Sequence[EncodedPacket], *, by_reader: bool = False
    ) -> None:
        frames: list[str | bytes] = []
        for packet in packets:
            frames += [packet.text.decode(), *packet.attachments]
        try:
            await websocket.send(frames)
        except WebSocketLostError as error:
            # The reader may still have messages that came before; it ends the session behind them.
            if by_reader:
                return
            with trio.move_on_after(self._settings.close_timeout):
                await trio.sleep_forever()
            self.end(DisconnectReason.TRANSPORT, str(error))
        except trio.TooSlowError:
            self.end(DisconnectReason.SEND_TIMEOUT, "the server did not take what was sent in time")

    # Polling

    def _polling_target(self) -> str:
        handshake = self.engine.handshake
        return self._route.target(Transport.POLLING, None if handshake is None else handshake.sid)

    async def _poll(self) -> None:
        polls = self._route.http()
        try:
            while self.ended is None:
                answer = await polls.request("GET", self._polling_target())
                if answer.status != 200:
                    self._poll_failed(answer)
                    return
                for packet in decode_payload(answer.body, max_bytes=self._settings.max_receive_bytes):
                    self._take(packet, Transport.POLLING)
                switch = self._switch
                if switch is not None and switch.probed.is_set():
                    switch.paused.set()
                    await switch.decided.wait()
                    if self._websocket is not None:
                        return
        except (OSError, HttpFailedError) as error:
            reason = DisconnectReason.UNREACHABLE if isinstance(error, OSError) else DisconnectReason.TRANSPORT
            self.end(reason, str(error) or "nobody is there")
        except ProtocolError as error:
            self.end(DisconnectReason.VIOLATION, str(error))
        finally:
            await polls.aclose()

    def _poll_failed(self, answer: Answer) -> None:
        opened = self.engine.handshake is not None
        reason = DisconnectReason.TRANSPORT if opened else DisconnectReason.NOT_OPENED
        self.end(
            reason,
            answer.told(),
            retry_after=answer.retry_after,
            refused_transport=not opened and answer.status not in (429, 503),
        )

    # WebSocket

    async def _carry_websocket(self) -> None:
        """Begin with a WebSocket."""
        self._websocket = self._route.websocket(None)
        try:
            told = await self._websocket.run(self._take_message)
        except NotOpenedError as error:
            status = error.answer.status if error.answer is not None else None
            self.end(
                DisconnectReason.NOT_OPENED if error.reached else DisconnectReason.UNREACHABLE,
                str(error),
                retry_after=error.answer.retry_after if error.answer is not None else None,
                refused_transport=error.reached and status not in (429, 503),
            )
            return
        opened = self.engine.handshake is not None
        self.end(DisconnectReason.TRANSPORT, told, refused_transport=not opened)

    async def _upgrade(self) -> None:
        """Move the session to a WebSocket, or leave it where it is."""
        assert self.engine.handshake is not None
        websocket = self._route.websocket(self.engine.handshake.sid)
        self._switch = switch = _Switch()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._switch_over, websocket, switch)
                told = await websocket.run(self._take_message)
                nursery.cancel_scope.cancel()
        except* NotOpenedError:
            told = "no WebSocket was opened"
        if self._websocket is not None:
            self.end(DisconnectReason.TRANSPORT, told)
        # Polling goes on, as if nothing had been.
        switch.decided.set()

    async def _switch_over(self, websocket: WebSocket, switch: "_Switch") -> None:
        with trio.move_on_after(self._settings.upgrade_timeout) as scope:
            await websocket.opened.wait()
            try:
                await websocket.send([self.engine.begin_upgrade().text.decode()])
                await switch.probed.wait()
                await switch.paused.wait()
            except (WebSocketLostError, trio.TooSlowError):
                websocket.abort()
                return
            async with self._sending:
                # From here on only the WebSocket carries the session, whatever becomes of it.
                scope.deadline = trio.current_time() + self._settings.send_timeout
                self._websocket = websocket
                await self._send_frames(websocket, [UPGRADE])
                switch.decided.set()
        if scope.cancelled_caught:
            websocket.abort()


class _Switch:
    """How far an upgrade has come: the probe is answered; no poll is under way; it is decided."""

    def __init__(self) -> None:
        self.probed, self.paused, self.decided = trio.Event(), trio.Event(), trio.Event()
