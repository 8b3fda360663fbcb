"""A stock Socket.IO client by its rules, over the simulated network: what `tests.clients.driver` is over a real one.

The rules are those of engine.io-client 6.6 and socket.io-client 4.8:

  * It begins with its first transport. On polling it asks again as soon as a poll is answered, and has one POST under
    way at a time. An answer that is not 200, or none, ends the session.
  * With both transports it upgrades: a WebSocket for the same session, `2probe`, `3probe`; then it lets the poll that
    is under way end, sends `5`, and goes on by WebSocket. A probe that fails changes nothing.
  * The server pings; without a ping for `pingInterval + pingTimeout` the session is closed.
  * Once open it sends CONNECT with its auth, and with `pid` and `offset` if it has been connected before.
  * An event's last argument, if it is a text, is the offset; it is recovered if its pid is the same.
  * Whatever ends the session, it connects again after a delay that doubles; but not after it was refused, or after the
    server put it out of the namespace.
  * An emit that wants an ack and is given a time is sent once it is connected, and given up at that time.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import trio

from djactors.protocol import (
    PROBE,
    UPGRADE,
    AckReceived,
    ClientEngine,
    Closed,
    Connected,
    Disconnected,
    EncodedPacket,
    EventReceived,
    Message,
    Opened,
    Packet,
    PacketType,
    ProtocolError,
    Refused,
    Send,
    SocketClient,
    Transport,
    decode_packet,
    decode_payload,
)
from tests.clients.driver import Occurrence, Unmet
from tests.simulation.http import (
    Connection,
    ConnectionLost,
    Requester,
    closing_frame,
    engine_path,
    pong_frame,
    text_frame,
)

OPEN_SECONDS = 20.0
"""The stock client gives an attempt to connect up after this."""

SEPARATOR = "\x1e"


class SimulatedClients:
    """Makes sockets, as `StockClients` does. `kind` is whose rules they follow where the two differ."""

    def __init__(self, kind: str, nursery: trio.Nursery, requester: Callable[[], Requester]) -> None:
        self.kind = kind
        self._nursery = nursery
        self._requester = requester

    async def open(self, url: str, *, heard: Callable[[Occurrence], None], **options: Any) -> SimulatedSocketClient:
        """A new client that is connecting."""
        await trio.lowlevel.checkpoint()
        client = SimulatedSocketClient(self.kind, self._requester(), heard, options)
        self._nursery.start_soon(client.run)
        return client


class SimulatedSocketClient:
    """One client with its main namespace. `violations` are sentences of the server's that no client understands."""

    def __init__(
        self, kind: str, requester: Requester, heard: Callable[[Occurrence], None], options: dict[str, Any]
    ) -> None:
        self.violations: list[str] = []
        self.requester = requester
        self._kind = kind
        self._heard = heard
        self._auth: dict[str, Any] = dict(options["auth"])
        # The token of the CONNECT that was sent last, and when it was sent.
        self.token = ""
        self.asked_at = 0.0
        transports = options.get("transports") or ["polling", "websocket"]
        self._transports = [Transport(name) for name in transports]
        self._delay = options.get("reconnectionDelay", 1000) / 1000
        self._delay_max = options.get("reconnectionDelayMax", 5000) / 1000
        self._pid: str | None = None
        self._offset: str | None = None
        self._acks: dict[int, tuple[trio.Event, list[Any]]] = {}
        self._numbers = count()
        self._session: _Session | None = None
        self._connected = trio.Event()
        self._ended = False
        self._wanted = trio.Event()
        self._wanted.set()
        self._left = False

    async def run(self) -> None:
        """Be connected, again and again, until `disconnect`."""
        failures = 0
        first = True
        while not self._left:
            await self._wanted.wait()
            session = self._session = _Session(self)
            await session.run()
            was_connected = self._connected.is_set()
            self._session = None
            self._connected = trio.Event()
            if session.is_open:
                failures = 0
            if was_connected:
                self._tell("disconnect", reason="transport close")
            elif first and self._kind == "python":
                # It does not try again when its first connect fails.
                return
            first = False
            if not self._left and self._wanted.is_set():
                await trio.sleep(min(self._delay * 2**failures, self._delay_max))
                failures = min(failures + 1, 10)

    async def emit(self, name: str, *args: Any, ack: bool = True, timeout: float = 10.0) -> list[Any]:
        """Emit and wait for the ack.

        Raises:
            Unmet: none came in time.
        """
        number = next(self._numbers)
        answered, answer = trio.Event(), []
        with trio.move_on_after(timeout):
            while not self._connected.is_set():
                await self._connected.wait()
            assert self._session is not None
            self._acks[number] = answered, answer
            self._session.send(EncodedPacket(f"42{number}{msgspec.json.encode([name, *args]).decode()}".encode()))
            await answered.wait()
        self._acks.pop(number, None)
        if not answered.is_set():
            raise Unmet(f"{name} was not acknowledged within {timeout} s")
        return answer

    async def disconnect(self) -> None:
        """Leave for good."""
        await trio.lowlevel.checkpoint()
        self._left = True
        self._wanted.set()
        if self._session is not None:
            self._session.send(EncodedPacket(b"41"))
            self._session.end()

    async def connect(self) -> None:
        """Again, after it was refused."""
        await trio.lowlevel.checkpoint()
        self._wanted.set()

    async def set_auth(self, auth: dict[str, Any]) -> None:
        """What the next connection presents."""
        await trio.lowlevel.checkpoint()
        self._auth = dict(auth)

    def _tell(self, what: str, **fields: Any) -> None:
        self._heard(Occurrence(what, fields))

    # Told by the session.

    def opened(self, session: _Session) -> None:
        resuming = {} if self._pid is None else {"pid": self._pid}
        if self._pid is not None and self._offset is not None:
            resuming["offset"] = self._offset
        self._since = self._auth.get("since")
        self.token, self.asked_at = str(self._auth["token"]), trio.current_time()
        session.send(session.sockets.connect(auth={**self._auth, **resuming}))

    def received(self, said: object, session: _Session) -> None:
        match said:
            case Connected():
                recovered = said.pid is not None and said.pid == self._pid
                self._pid = said.pid
                fields = {"since": self._since} if "since" in self._auth else {}
                self._tell("connect", recovered=recovered, **fields)
                self._connected.set()
            case EventReceived():
                if self._pid is not None and said.args and isinstance(said.args[-1], str):
                    self._offset = said.args[-1]
                self._tell("event", name=said.name, args=said.args)
            case AckReceived():
                entry = self._acks.get(said.ack_id)
                if entry is not None:
                    entry[1].extend(said.args)
                    entry[0].set()
                    # At once, as an application's callback is called: before what came behind the ack.
                    self._tell("ack", args=said.args)
            case Refused():
                self._wanted = trio.Event()
                session.end()
                self._tell("connect_error", message=said.message, data=said.data)
            case Disconnected():
                self._wanted = trio.Event()
                session.end()
            case _:
                raise AssertionError(said)


class _Session:
    """One session of Engine.IO."""

    def __init__(self, client: SimulatedSocketClient) -> None:
        self.sockets = SocketClient()
        self.is_open = False
        self._client = client
        self._transport = client._transports[0]
        self._engine = ClientEngine(self._transport)
        self._outbox: list[EncodedPacket] = []
        self._news = trio.Event()
        self._scope = trio.CancelScope()
        self._heartbeat = trio.CancelScope()
        self._upgrading = False
        self._poll_ended = trio.Event()
        self._post_under_way = False
        self._post_ended = trio.Event()
        self._websocket: Connection | None = None

    def send(self, packet: EncodedPacket) -> None:
        """Send it by whatever transport there is."""
        self._outbox.append(packet)
        self._wake()

    def end(self) -> None:
        """It is over; what waits is sent if that can be done at once."""
        self._scope.cancel()

    async def run(self) -> None:
        """From the handshake to the end, whatever ends it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    with trio.fail_after(OPEN_SECONDS):
                        await self._open(nursery)
                    nursery.start_soon(self._watch_heart)
        except* (ConnectionLost, trio.TooSlowError):
            pass
        except* ProtocolError as errors:
            self._client.violations.append(str(errors.exceptions[0]))
        finally:
            if self._websocket is not None:
                self._websocket.close()
            for connection in self._client.requester.connections:
                connection.close()

    async def _open(self, nursery: trio.Nursery) -> None:
        requester = self._client.requester
        if self._transport is Transport.WEBSOCKET:
            self._websocket = await requester.websocket(engine_path("websocket", None))
            self._take(await self._message(self._websocket), Transport.WEBSOCKET)
            nursery.start_soon(self._read, self._websocket)
            nursery.start_soon(self._write)
            return
        await self._poll(None)
        nursery.start_soon(self._poll_on)
        nursery.start_soon(self._post_on)
        if Transport.WEBSOCKET in self._client._transports:
            nursery.start_soon(self._upgrade, nursery)

    @property
    def _sid(self) -> str:
        assert self._engine.handshake is not None
        return self._engine.handshake.sid

    def _take(self, packet: Packet, transport: Transport) -> None:
        said = self._engine.receive(packet, transport)
        if packet.type is PacketType.PING:
            self._beat()
        match said:
            case Opened():
                self.is_open = True
                self._beat()
                self._client.opened(self)
            case Send() if said.packet is not UPGRADE:
                self.send(said.packet)
            case Message():
                event = self.sockets.receive(said.data)
                if event is not None:
                    self._client.received(event, self)
            case Closed():
                self.end()

    # Polling

    async def _poll(self, sid: str | None) -> None:
        answer = await self._client.requester.request("GET", engine_path("polling", sid), {})
        if answer.status != 200:
            raise ConnectionLost
        for packet in decode_payload(answer.body):
            self._take(packet, Transport.POLLING)

    async def _poll_on(self) -> None:
        while not self._upgrading:
            await self._poll(self._sid)
        self._poll_ended.set()

    async def _post_on(self) -> None:
        while True:
            while not self._outbox:
                await self._news.wait()
            if self._upgrading:
                return
            packets, self._outbox = self._outbox, []
            body = SEPARATOR.join(packet.text.decode() for packet in packets).encode()
            headers = {"content-type": "text/plain;charset=UTF-8"}
            self._post_under_way = True
            answer = await self._client.requester.request("POST", engine_path("polling", self._sid), headers, body)
            self._post_under_way = False
            self._post_ended.set()
            if answer.status != 200:
                raise ConnectionLost

    # WebSocket

    async def _message(self, connection: Connection) -> Packet:
        while True:
            first, payload = await connection.frame()
            if first == 0x89:
                await connection.send(pong_frame(payload))
            elif first == 0x88:
                await connection.send(closing_frame(payload[:2] or b"\x03\xe8"))
                connection.close()
                raise ConnectionLost
            else:
                return decode_packet(payload.decode())

    async def _read(self, connection: Connection) -> None:
        while True:
            self._take(await self._message(connection), Transport.WEBSOCKET)

    async def _write(self) -> None:
        assert self._websocket is not None
        while True:
            while not self._outbox:
                await self._news.wait()
            packets, self._outbox = self._outbox, []
            await self._websocket.send(b"".join(text_frame(packet.text.decode()) for packet in packets))

    async def _upgrade(self, nursery: trio.Nursery) -> None:
        try:
            connection = await self._client.requester.websocket(engine_path("websocket", self._sid))
        except ConnectionLost:
            return
        try:
            self._engine.begin_upgrade()
            await connection.send(text_frame(PROBE.text.decode()))
            packet = await self._message(connection)
        except ConnectionLost:
            return
        if packet != Packet(PacketType.PONG, "probe"):
            connection.close()
            return
        self._upgrading = True
        self._wake()
        self._take(packet, Transport.WEBSOCKET)
        await self._poll_ended.wait()
        while self._post_under_way:
            self._post_ended = trio.Event()
            await self._post_ended.wait()
        self._websocket = connection
        await connection.send(text_frame(UPGRADE.text.decode()))
        nursery.start_soon(self._read, connection)
        nursery.start_soon(self._write)

    # Heartbeat

    def _beat(self) -> None:
        handshake = self._engine.handshake
        assert handshake is not None
        patience = (handshake.ping_interval + handshake.ping_timeout) / 1000
        self._heartbeat.deadline = trio.current_time() + patience

    async def _watch_heart(self) -> None:
        with self._heartbeat:
            await trio.sleep_forever()
        raise ConnectionLost

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()
