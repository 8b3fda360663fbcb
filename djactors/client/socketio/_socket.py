"""The client that programs use: connects, connects again, and puts what comes into one iterator."""

from collections.abc import Awaitable, Callable, Mapping
from inspect import isawaitable
from typing import Any, Final, Self, TypeAlias

import trio

from djactors.client.socketio._backoff import Backoff
from djactors.client.socketio._errors import (
    AckTimeoutError,
    ClientClosedError,
    ConnectFailedError,
    ConnectionLostError,
    RefusedError,
    ServerDisconnectedError,
    SocketError,
    TooLargeError,
    TryAgainError,
)
from djactors.client.socketio._items import (
    Connected,
    ConnectFailed,
    Disconnected,
    DisconnectReason,
    Event,
    Item,
)
from djactors.client.socketio._queues import Inbound
from djactors.client.socketio._session import End, Route, Session
from djactors.client.socketio._settings import SocketSettings
from djactors.protocol import (
    AckReceived,
    ClientSocket,
    EncodedPacket,
    EventReceived,
    Refused,
    SocketClient,
    Transport,
)
from djactors.protocol import Connected as Joined
from djactors.protocol import Disconnected as PutOut

Auth: TypeAlias = Mapping[str, Any]
AuthSource: TypeAlias = Auth | Callable[[RefusedError | None], Auth | Awaitable[Auth]] | None
"""What CONNECT carries, or a function that says so for each attempt. The function is given the refusal of the attempt
before, if there was one, and may be async."""

ACK_SECONDS: Final = 10.0
"""How long `call` waits unless told otherwise: far above what a server needs, short enough for a person to wait."""


class _Call:
    """An ack that is awaited."""

    __slots__ = ("args", "done", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.args: list[Any] | None = None
        self.done = trio.Event()


class Socket:
    """One namespace of a server, over as many connections as it takes. Made by `connect`; see the package.

    Attributes:
        sid: the public name at the server, None while not connected.
        failures: what ends the block, the first first; for `connect`.
    """

    def __init__(
        self,
        route: Route,
        namespace: str,
        auth: AuthSource,
        settings: SocketSettings,
        random: Callable[[], float],
        heard: Callable[[Event], None] | None,
        nursery: trio.Nursery,
    ) -> None:
        self.sid: str | None = None
        self.failures: list[BaseException] = []
        self._heard, self._nursery = heard, nursery
        self._route, self._namespace, self._auth, self._settings = route, namespace, auth, settings
        self._backoff = Backoff(settings, random)
        self._inbound: Inbound[Item] = Inbound(settings.queue_items, settings.queue_bytes)
        self._failure: Callable[[], SocketError] | None = None
        self._order = list(settings.transports)
        self._connection = 0
        self._pid: str | None = None
        self._offset: str | None = None
        self._session: Session | None = None
        self._client = SocketClient()
        self._calls: dict[int, _Call] = {}
        self._refusal: RefusedError | None = None
        self._refusals = 0
        self._presented: Auth | None = None
        self._attempts = 0
        self._joined_at: float | None = None
        # Bytes of the messages that make up the packet which is being received.
        self._packet_bytes = 0
        self._changed = trio.Event()

    # What programs ask

    @property
    def is_connected(self) -> bool:
        """Whether the server has let this client in."""
        return self.sid is not None

    @property
    def transport(self) -> Transport | None:
        """What carries the connection now, None without one."""
        return None if self._session is None or self.sid is None else self._session.transport

    def __aiter__(self) -> Self:
        """The items, oldest first; see the package."""
        return self

    async def __anext__(self) -> Item:
        """The next item. Cancelling this loses none.

        Raises:
            SocketError: the client has given up; the package says when.
        """
        return await self._inbound.get()

    async def wait_connected(self) -> None:
        """Wait until the server has let this client in.

        Raises:
            SocketError: the client has given up.
        """
        await self._joined_session()

    async def emit(self, name: str, *args: Any) -> None:
        """Emit an event without an ack. It is sent at most once.

        This waits while there is no connection or no room to send, and returns when the packet is next to be sent. If
        the connection breaks then, the event is lost without a word: use `call` to know. Cancelled, it has sent
        nothing.

        Raises:
            TooLargeError: the server does not take so much.
            ValueError, TypeError: the name is reserved, or JSON cannot express an argument.
            SocketError: the client has given up.
        """
        while True:
            session = await self._joined_session()
            packet = self._client.emit(name, *args, namespace=self._namespace)
            self._check_size(packet, session)
            if await session.outbox.put(packet):
                return

    async def call(self, name: str, *args: Any, timeout: float = ACK_SECONDS) -> list[Any]:
        """Emit an event and return the arguments of its ack. It is sent at most once.

        Cancelled, it may have been sent; the ack is then dropped.

        Args:
            name: of the event.
            args: its arguments.
            timeout: seconds for all of it, the wait for a connection included.

        Raises:
            AckTimeoutError: there was no ack in time.
            ConnectionLostError: the connection ended before the ack.
            TooLargeError, ValueError, TypeError, SocketError: as `emit`.
        """
        with trio.move_on_after(timeout):
            return await self._call(name, args)
        raise AckTimeoutError(f"{name}: no ack within {timeout:g} s")

    async def acknowledge(self, event: Event, *args: Any) -> None:
        """Answer an event for which the server asked for an ack.

        Raises:
            ValueError: it asked for none.
            ConnectionLostError: the connection by which it asked has ended.
            TooLargeError, TypeError, SocketError: as `emit`.
        """
        if event.ack_id is None:
            raise ValueError(f"{event.name}: the server asked for no ack")
        session = self._session
        if session is not None and self.sid is not None and event.connection == self._connection:
            packet = self._client.ack(self._namespace, event.ack_id, *args)
            self._check_size(packet, session)
            if await session.outbox.put(packet):
                return
        self._raise_failure()
        raise ConnectionLostError(f"{event.name}: the connection that asked has ended")

    def start_soon(self, task: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run a task for as long as the block lasts. What it raises ends the block with that exception."""
        self._nursery.start_soon(self._carry, task, args)

    def reconnect(self) -> None:
        """End this connection and connect again, for instance when the network has changed. Without one, do nothing."""
        if self._session is not None and self.sid is not None:
            # The server is told: one that takes the old connection for alive could not recover the new one.
            self._nursery.start_soon(self._session.leave, None, "the caller asked for another connection")

    # Inside

    async def _carry(self, task: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        try:
            await task(*args)
        except Exception as error:  # noqa: BLE001 - of the caller; `connect` raises it, where no nursery groups it
            self.failures.append(error)
            self._nursery.cancel_scope.cancel()

    async def _call(self, name: str, args: tuple[Any, ...]) -> list[Any]:
        while True:
            session = await self._joined_session()
            packet, ack_id = self._client.emit_with_ack(name, *args, namespace=self._namespace)
            self._check_size(packet, session)
            call = self._calls[ack_id] = _Call(session)
            try:
                if not await session.outbox.put(packet):
                    continue
                await call.done.wait()
            finally:
                if self._calls.get(ack_id) is call:
                    del self._calls[ack_id]
            if call.args is None:
                self._raise_failure()
                raise ConnectionLostError(f"{name}: the connection ended before the ack")
            return call.args

    async def _joined_session(self) -> Session:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._raise_failure()
            if self._session is not None and self.sid is not None:
                return self._session
            await self._changed.wait()

    def _has_failed(self) -> bool:
        return self._failure is not None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure()

    @staticmethod
    def _check_size(packet: EncodedPacket, session: Session) -> None:
        size = len(packet.payload) if session.transport is Transport.POLLING else packet.size
        if size > session.max_payload:
            raise TooLargeError(f"a packet of {size} bytes: the server takes {session.max_payload}")

    # The connection, run by `connect`

    async def run(self) -> None:
        """Connect, again and again, until the client gives up or is cancelled."""
        while not self._has_failed():
            await self._inbound.wait_for_room()
            end = await self._attempt()
            was_joined = self._note_end()
            if self._has_failed():
                return
            if end.reason is DisconnectReason.REFUSED and self._refusals == 1:
                # A fresh token helps at once, or not at all.
                continue
            await self._wait(end, was_joined=was_joined)

    async def close(self) -> None:
        """Leave in good order; `SocketSettings.close_timeout` bounds it."""
        self._fail(lambda: ClientClosedError("the client was closed"))
        session = self._session
        if session is not None:
            farewell = self._client.disconnect(self._namespace) if self.sid is not None else None
            await session.leave(farewell, "closed by the caller")

    async def _attempt(self) -> End:
        try:
            auth = await self._get_auth()
        except TryAgainError as error:
            return End(DisconnectReason.AUTH, f"no auth: {error}")
        if self._refusal is not None and (auth == self._presented or self._refusals >= self._settings.max_refusals):
            message, data = self._refusal.message, self._refusal.data
            self._fail(lambda: RefusedError(message, data))
            return End(DisconnectReason.REFUSED, message)
        self._presented = auth
        first = self._order[0]
        end = await self._connect(first, auth)
        if end.refused_transport and len(self._order) > 1 and not self._has_failed():
            # What passes is tried first from now on.
            self._order.reverse()
            if first is self._settings.transports[0]:
                end = await self._connect(self._order[0], auth)
        return end

    async def _connect(self, transport: Transport, auth: Auth) -> End:
        self._client = SocketClient(
            max_attachment_bytes=self._settings.max_receive_bytes, json_limits=self._settings.json_limits
        )
        self._packet_bytes = 0
        session = Session(self._route, transport, self._receive, lambda: self._opened(auth))
        self._session = session
        try:
            return await session.run()
        finally:
            self._session, self.sid = None, None

    async def _get_auth(self) -> Auth:
        given = self._auth(self._refusal) if callable(self._auth) else self._auth
        return dict((await given if isawaitable(given) else given) or {})

    def _opened(self, auth: Auth) -> None:
        assert self._session is not None
        # As the stock client does: what the caller gives goes above.
        recovery = {} if self._pid is None else {"pid": self._pid}
        if self._pid is not None and self._offset is not None:
            recovery["offset"] = self._offset
        presented = {**recovery, **auth}
        self._session.outbox.put_nowait(self._client.connect(self._namespace, presented or None))

    def _receive(self, message: str | bytes) -> None:
        if self._has_failed():
            # The client is leaving. Nobody takes what still comes, and it must not end the session before the good-bye.
            return
        self._packet_bytes += len(message)
        said = self._client.receive(message)
        size, session = self._packet_bytes, self._session
        assert session is not None
        match said:
            case None:
                # Attachments are due, or an event came before the answer to CONNECT.
                if size > self._settings.queue_bytes + self._settings.max_receive_bytes:
                    session.end(DisconnectReason.VIOLATION, f"{size} bytes before the answer to CONNECT")
                return
            case EventReceived():
                self._take_event(said, self._socket.offset, size)
            case AckReceived(ack_id=ack_id, args=args):
                call = self._calls.get(ack_id)
                if call is not None:
                    call.args = args
                    call.done.set()
            case Joined():
                self._joined(session, said, size)
            case Refused(message=text, data=data):
                self._refusal = RefusedError(text, data)
                self._refusals += 1
                session.end(DisconnectReason.REFUSED, text)
            case PutOut():
                self.sid = None
                self._fail(lambda: ServerDisconnectedError("the server put this client out of the namespace"))
                session.end(DisconnectReason.SERVER, "the server put this client out of the namespace")
        self._packet_bytes = 0
        if self._inbound.is_full:
            session.end(DisconnectReason.BACKLOG, "too much waits to be taken from the iterator")

    @property
    def _socket(self) -> ClientSocket:
        return self._client.sockets[self._namespace]

    def _take_event(self, event: EventReceived, offset: str | None, size: int) -> None:
        self._offset = offset
        item = Event(event.name, event.args, event.ack_id, offset, self._connection)
        if self._heard is not None:
            self._heard(item)
        self._inbound.put(item, size)

    def _joined(self, session: Session, joined: Joined, size: int) -> None:
        recovered = joined.pid is not None and joined.pid == self._pid
        if not recovered:
            self._pid, self._offset = joined.pid, None
        if self._socket.offset is None:
            self._socket.offset = self._offset
        self.sid = joined.sid
        self._connection += 1
        self._refusal, self._refusals = None, 0
        self._joined_at = trio.current_time()
        session.join()
        self._inbound.put(Connected(joined.sid, recovered, str(session.transport)))
        for number, event in enumerate(joined.early):
            # These were received before anything could end the session, so all of them are kept.
            self._take_event(event, self._socket.offset, 0 if number else size)
        self._wake()

    def _note_end(self) -> bool:
        """A session has ended: whoever waits for its acks is told. Returns whether the server had let it in."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.done.set()
        joined_at, self._joined_at = self._joined_at, None
        if joined_at is not None and trio.current_time() - joined_at >= self._settings.stable_after:
            self._backoff.reset()
        return joined_at is not None

    async def _wait(self, end: End, *, was_joined: bool) -> None:
        wait = self._backoff.next(end.retry_after)
        if was_joined:
            self._attempts = 0
            self._inbound.put(Disconnected(end.reason, end.detail, wait))
        else:
            self._attempts += 1
            if self._attempts == self._settings.max_attempts:
                told = f"{self._attempts} attempts to connect failed, the last with: {end.detail}"
                self._fail(lambda: ConnectFailedError(told))
                return
            self._inbound.put(ConnectFailed(end.reason, end.detail, wait, self._attempts))
        if end.reason is DisconnectReason.BACKLOG:
            await self._inbound.wait_for_room()
        await trio.sleep(wait)

    def _fail(self, failure: Callable[[], SocketError]) -> None:
        """Give up. Each caller gets an exception of its own, since one exception cannot be raised in two tasks."""
        if self._failure is None:
            self._failure = failure
            self._inbound.finish(failure)
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
