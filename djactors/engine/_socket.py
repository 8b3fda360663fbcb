"""One client in one namespace, for programs that handle it with functions, `async` or not.

- The socket's handlers run one at a time, in the order in which the events came; see `_turns.py`.
- When the socket is gone, waiting events are dropped and the running handler is cancelled, because nobody would get its
  answer. So there are never more tasks than sockets. Work that must not be cancelled belongs in the program's nursery.
- Events that are emitted before the client is let in go out right behind the answer to its CONNECT.
- A handler that raises ends its own client's session and nothing else.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import trio

from djactors.engine._handlers import BadArguments, Handlers
from djactors.engine._polling import Outbox
from djactors.engine._session import CONNECT_TIMEOUT, SLOW_CONSUMER, Session
from djactors.engine._settings import EngineSettings
from djactors.engine._socket_handler import BaseSocket, SocketHandler
from djactors.engine._turns import Expired, Turn, Turns
from djactors.protocol import AckReceived, EncodedPacket, EventReceived, encode_event

MAX_AWAITED_ACKS: Final = 64
"""Acks of one client that may be awaited at the same time. This bounds the cost of a client that never answers."""

TOO_MANY_EVENTS: Final = "too_many_events"
HANDLER_FAILED: Final = "handler_failed"
BAD_ARGUMENTS: Final = "bad_arguments"


class ConnectRefused(Exception):  # noqa: N818 - a verdict on the client, not a fault of the program
    """Raise this in a connect handler to turn the client away. Its `connect_error` gets the message and `data`, if any.

    The stock JavaScript client does not try again by itself; python-socketio does, for ever.
    """

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class SocketGone(Exception):  # noqa: N818 - the ordinary end of every socket
    """The socket ended before the client answered."""


class TooManyAcks(Exception):  # noqa: N818 - what the client has not answered
    """The client has left `MAX_AWAITED_ACKS` events unanswered, so this one was not sent."""


class Host(Protocol):
    """The server, as its sockets see it."""

    @property
    def settings(self) -> EngineSettings:
        """Times and bounds."""

    def handlers(self, namespace: str) -> Handlers | None:
        """Return the handlers of a namespace, None if there is no such namespace."""

    def new_sid(self) -> str:
        """Return a name for a socket that joins."""

    def has_joined(self, socket: "Socket") -> None:
        """The socket is one of its namespace from now on."""

    def is_gone(self, socket: "Socket") -> None:
        """The socket is no longer one of its namespace, if it was."""

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run an async function in a task."""

    def report(self, error: BaseException, peer: str) -> None:
        """Report an error in or before a handler to the program. This never raises."""


class _Answer:
    """An awaited ack. `args` stays None if the socket ends first."""

    __slots__ = ("args", "came")

    def __init__(self) -> None:
        self.args: list[Any] | None = None
        self.came = trio.Event()


class Socket(BaseSocket):
    """One client in one namespace, from its CONNECT to its end.

    `sid` is the socket's public name, empty until it has joined. `joined` says whether it has been let in and is still
    there. `data` belongs to the program and is None at first. A socket is equal only to itself, so it can be kept in
    sets and used as a key.
    """

    __slots__ = ("_acks", "_early", "_handlers", "_host", "_next_ack_id", "_turns", "data", "joined", "sid")

    def __init__(self, client: "ClientHandler", namespace: str, handlers: Handlers, host: Host) -> None:
        super().__init__(client, namespace)
        self._handlers = handlers
        self._host = host
        # None once the socket has ended. The two refer to each other, which only the garbage collector would undo.
        self._turns: Turns | None = Turns(host.spawn, self._failed, self._goes_on)
        self.sid = ""
        self.joined = False
        self.data: Any = None
        # Packets that were emitted before the client was let in.
        self._early: Outbox | None = None
        self._acks: dict[int, _Answer] = {}
        self._next_ack_id = 0

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        """Send packets that were encoded for this namespace, in one write. The bounds are those of `emit`."""
        if self.joined or not self.alive:
            super().send(packets)
            return
        if self._early is None:
            settings = self._host.settings
            self._early = Outbox(settings.outbox_packets, settings.outbox_bytes)
        if not self._early.put(packets):
            self.disconnect(SLOW_CONSUMER)

    def emit(self, name: str, *args: Any) -> None:
        """Send an event to this client alone, without waiting. A socket that is gone drops the event.

        A client that has left more than `EngineSettings.outbox_packets` or `outbox_bytes` unread is let go, so that it
        holds up nobody. Arguments may be JSON values, dataclasses, `msgspec.Struct`s, and at most 10 bytes objects.

        Raises:
            ValueError, TypeError: the name is reserved, or the arguments cannot be encoded.
        """
        super().emit(name, *args)

    async def emit_with_ack(self, name: str, *args: Any, timeout: float) -> list[Any]:
        """Send an event, wait for the client's ack and return the ack's arguments.

        If this is cancelled, an ack that comes later is ignored. While a handler waits here, other events of its client
        wait for their turn.

        Raises:
            trio.TooSlowError: no ack came within `timeout` seconds.
            SocketGone: the socket ended first, or had before.
            TooManyAcks: `MAX_AWAITED_ACKS` are awaited already.
            RuntimeError: the client has not been let in yet, so it cannot answer.
            ValueError, TypeError: see `emit`.
        """
        if not self.joined:
            if self.alive:
                raise RuntimeError("a client that has not been let in yet cannot answer: return from on_connect first")
            raise SocketGone("the socket is gone")
        if len(self._acks) >= MAX_AWAITED_ACKS:
            raise TooManyAcks(f"{MAX_AWAITED_ACKS} acks are awaited already")
        ack_id = self._next_ack_id
        self.send([encode_event(name, *args, namespace=self.namespace, ack_id=ack_id)])
        self._next_ack_id += 1
        self._acks[ack_id] = answer = _Answer()
        try:
            with trio.fail_after(timeout):
                await answer.came.wait()
        finally:
            self._acks.pop(ack_id, None)
        if answer.args is None:
            raise SocketGone("the socket ended before the client answered")
        return answer.args

    # For the client's handler, below

    def _ask_in(self, auth: dict[str, Any]) -> None:
        call = self._handlers.connect
        if call is None:
            self._let_in(None)
        else:
            timeout = self._host.settings.connect_timeout
            assert self._turns is not None
            self._turns.take(Turn(call, (self, auth), self._let_in, timeout=timeout))

    def _let_in(self, _: object) -> None:
        early, self._early = self._early, None
        self.accept(None, () if early is None else tuple(early.packets))

    def _emitted(self, event: EventReceived, size: int) -> None:
        call = self._handlers.events.get(event.name)
        if call is None:
            return  # the reference server drops such an event, too
        assert self._turns is not None
        if not self._turns.has_room(size, self._host.settings.max_payload):
            self.disconnect(TOO_MANY_EVENTS)
            return
        try:
            args = call.convert(event.args)
        except BadArguments as error:
            self._host.report(error, self.peer)
            self.disconnect(BAD_ARGUMENTS)
            return
        self._turns.take(Turn(call, (self, *args), lambda answer: self._acknowledge(event.ack_id, answer), size=size))

    def _acknowledge(self, ack_id: int | None, answer: object) -> None:
        """Send the ack with the value that a handler returned: nothing for None, several values for a tuple."""
        if ack_id is not None:
            self.ack(ack_id, *(answer if isinstance(answer, tuple) else () if answer is None else (answer,)))

    def _answered(self, ack: AckReceived) -> None:
        answer = self._acks.get(ack.ack_id)
        if answer is not None and not answer.came.is_set():
            answer.args = ack.args
            answer.came.set()

    def _end(self, reason: str) -> None:
        for answer in self._acks.values():
            answer.came.set()
        had_joined, self.joined = self.joined, False
        call = self._handlers.disconnect if had_joined else None
        turns, self._turns = self._turns, None
        assert turns is not None
        turns.stop(None if call is None else Turn(call, (self, reason), lambda _: None))

    def refuse(self, message: str, data: Any = None) -> None:
        """See `BaseSocket.refuse`."""
        super().refuse(message, data)
        if not self.alive:
            # Nothing more is told of it.
            self._turns = None

    def _goes_on(self) -> bool:
        return self.alive and not self._handler.session.closed

    def _failed(self, error: Exception) -> None:
        """Act on a handler that raised, or that took too long to let the client in."""
        if isinstance(error, Expired):
            self.disconnect(CONNECT_TIMEOUT)
            return
        if isinstance(error, ConnectRefused) and self.alive and not self.joined:
            try:
                self.refuse(error.message, error.data)
            except (TypeError, ValueError) as unfit:  # JSON cannot express the refusal's data
                error = unfit
            else:
                return
        self._host.report(error, self.peer)
        self.disconnect(HANDLER_FAILED)


class ClientHandler(SocketHandler[Socket]):
    """The sockets of one session."""

    __slots__ = ("_host", "_received")

    def __init__(self, session: Session, host: Host) -> None:
        super().__init__(session, max_attachment_bytes=host.settings.max_payload)
        self._host = host
        # Bytes received since the last complete packet.
        self._received = 0

    def serves(self, namespace: str) -> bool:
        """See `SocketHandler`."""
        return self._host.handlers(namespace) is not None

    def new_socket(self, namespace: str) -> Socket:
        """See `SocketHandler`."""
        handlers = self._host.handlers(namespace)
        assert handlers is not None
        return Socket(self, namespace, handlers, self._host)

    def new_sid(self) -> str:
        """See `SocketHandler`."""
        return self._host.new_sid()

    def on_message(self, data: str | bytes) -> None:
        """See `SocketHandler`."""
        self._received += len(data)
        super().on_message(data)

    def on_connect(self, socket: Socket, auth: dict[str, Any]) -> None:
        """Ask the program."""
        self._received = 0
        socket._ask_in(auth)

    def on_accept(self, socket: Socket, sid: str) -> None:
        """Add the socket to its namespace."""
        socket.sid = sid
        socket.joined = True
        self._host.has_joined(socket)

    def on_event(self, socket: Socket, event: EventReceived) -> None:
        """Give the event to its handler."""
        size, self._received = self._received, 0
        socket._emitted(event, size)

    def on_ack(self, socket: Socket, ack: AckReceived) -> None:
        """Give the ack to the task that waits for it."""
        self._received = 0
        socket._answered(ack)

    def on_disconnect(self, socket: Socket, reason: str) -> None:
        """Tell the program, unless it never let the client in."""
        self._host.is_gone(socket)
        socket._end(reason)
