"""Socket.IO on one session, at the lower level: synchronous, without a task or a buffer of its own.

    Session.on_message ──► SocketHandler ──► on_connect, on_event, on_ack, on_disconnect      of a class of yours
    BaseSocket.accept, refuse, send, ack, disconnect ──► Session.send ──► outbox

Rules:

- One `SocketHandler` serves a session, one `BaseSocket` a namespace that its client asked to join. A socket is
  *pending* until it is accepted or refused, then it has *joined*, and in the end it is *gone*: the client left the
  namespace, was put out of it, or the session ended. Packets to a socket that is gone are dropped.
- A CONNECT to a namespace that is not served is refused at once, and a session that has joined none is closed then.
  Answer any other by `accept` or `refuse`, in the call or later, because a stock JavaScript client waits for the answer
  for ever.
- `on_connect`, `on_event` and the others run in the task that reads from the client, or in the task with all timers.
  They must not block. An exception in `on_connect`, `on_event` or `on_ack` ends that session alone and is reported.
- Nothing here waits: a client that does not keep up is closed by its session (`EngineSettings.outbox_packets`,
  `outbox_bytes`) and never slows another down.
- On CPython 3.11, a session with one socket takes 230 bytes here, and an event some 0.3 µs besides its decoding. The
  attributes of a derived class come on top, so give it `__slots__`.

To write `async def` handlers, use `SocketServer`, which is built on this.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from djactors.engine._session import Session
from djactors.protocol import (
    MAX_ATTACHMENT_BYTES,
    MAX_NAMESPACES,
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    EncodedPacket,
    EventReceived,
    SocketSession,
    encode_event,
)

INVALID_NAMESPACE: Final = "Invalid namespace"
"""The reference server's message to a client that asks for an unknown namespace."""

BAD_NAMESPACE: Final = "bad_namespace"
"""Why a session has ended that asked for a namespace that is not there."""

LEFT: Final = "left"
"""The reason if the client left the namespace and kept the session."""


class BaseSocket:
    """One client in one namespace. See the module for its states."""

    __slots__ = ("_handler", "alive", "namespace")

    def __init__(self, handler: "SocketHandler[Any]", namespace: str) -> None:
        self._handler = handler
        self.namespace = namespace
        # False once the socket is gone.
        self.alive = True

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._handler.session.peer

    def accept(self, pid: str | None = None, packets: Sequence[EncodedPacket] = ()) -> None:
        """Let the client into the namespace, with these packets behind the answer in one write.

        A stock JavaScript client that gets a `pid` asks for the events that it missed when it comes back. Leave `pid`
        out if nothing can be replayed. Raises `NotJoinedError` for a socket that has joined already.
        """
        if not self.alive:
            return
        handler, sid = self._handler, self._handler.new_sid()
        reply = handler._protocol.accept(self.namespace, sid, None if pid is None else {"pid": pid})
        handler.session.prove()
        handler.on_accept(self, sid)
        handler.session.send([reply, *packets])

    def refuse(self, message: str, data: Any = None) -> None:
        """Turn the client away: it gets a `connect_error` with this message, and with `data` unless that is None.

        The stock JavaScript client does not try again by itself, and python-socketio tries for ever. If trying again
        could help, call `disconnect` instead. Raises `NotJoinedError` for a socket that has joined already.
        """
        if not self.alive:
            return
        reply = self._handler._protocol.refuse(self.namespace, message, data)
        self._handler._forget(self)
        self._handler.session.send([reply])

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        """Send packets of this namespace, in one write. Encode packets for many sockets once, with `encode_event`."""
        if self.alive:
            self._handler.session.send(packets)

    def emit(self, name: str, *args: Any) -> None:
        """Send an event to this client alone. Raises `ValueError` or `TypeError` for what cannot be encoded."""
        self.send([encode_event(name, *args, namespace=self.namespace)])

    def ack(self, ack_id: int, *args: Any) -> None:
        """Acknowledge an event that the client emitted."""
        if self.alive:
            self._handler.session.send([self._handler._protocol.ack(self.namespace, ack_id, *args)])

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when all that was sent is on its way. See `Session.when_drained`."""
        if self.alive:
            self._handler.session.when_drained(callback)

    def disconnect(self, reason: str = "server", *, reconnect: bool = True) -> None:
        """Let the client go. `reason` is a word for logs and metrics.

        With `reconnect`, the client's whole session ends, with all namespaces. A stock client takes a closed transport
        for a fault of the network and reconnects. Without `reconnect`, the client is put out of this namespace alone
        and stays away until it is told to connect. A pending socket raises `NotJoinedError` then: `refuse` it instead.
        """
        if not self.alive:
            return
        if reconnect:
            self._handler.session.close(reason)
        else:
            self._handler.session.send([self._handler._protocol.disconnect(self.namespace)])
            self._handler._part(self, reason)

    def __repr__(self) -> str:
        standing = "" if self.alive else ", gone"
        return f"<{type(self).__name__} {self.namespace} of {self.peer}{standing}>"


AnySocket = TypeVar("AnySocket", bound=BaseSocket)


class SocketHandler(ABC, Generic[AnySocket]):
    """Serves the sockets of one session. Derive a class from it, and have `EngineServer` make one for each session.

    Args:
        session: the session whose messages it takes.
        max_attachment_bytes: the most bytes of all attachments of one packet together.
    """

    __slots__ = ("_bad_namespaces", "_protocol", "_sockets", "session")

    def __init__(self, session: Session, *, max_attachment_bytes: int = MAX_ATTACHMENT_BYTES) -> None:
        self.session = session
        self._protocol = SocketSession(max_attachment_bytes=max_attachment_bytes)
        # A tuple, because nearly all clients have one socket.
        self._sockets: tuple[AnySocket, ...] = ()
        self._bad_namespaces = 0

    # For a derived class to define

    @abstractmethod
    def serves(self, namespace: str) -> bool:
        """Whether there is such a namespace."""

    @abstractmethod
    def new_socket(self, namespace: str) -> AnySocket:
        """Return the socket that stands for the client in this namespace."""

    @abstractmethod
    def new_sid(self) -> str:
        """Return a name for a socket that joins. It is public, so it must not be the session's sid."""

    @abstractmethod
    def on_connect(self, socket: AnySocket, auth: dict[str, Any]) -> None:
        """The client asks to join: accept or refuse the socket, now or later. `auth` may be empty."""

    @abstractmethod
    def on_event(self, socket: AnySocket, event: EventReceived) -> None:
        """The client emitted an event. If the event has an `ack_id`, the client waits for an ack."""

    def on_accept(self, socket: AnySocket, sid: str) -> None:
        """Called right before the client learns that it has joined, and the name of its socket."""

    def on_ack(self, socket: AnySocket, ack: AckReceived) -> None:
        """The client acknowledged an event. It may send any id, so ignore an id that is not awaited."""

    @abstractmethod
    def on_disconnect(self, socket: AnySocket, reason: str) -> None:
        """The socket, which was pending or had joined, is gone. This must not raise.

        It is called once for each socket that was not refused: in the engine's own task if the session ended, and
        inside `disconnect` if the client was put out of the namespace.
        """

    def on_tick(self, now: float) -> None:
        """A ping has just been sent. `now` is `trio.current_time()`."""

    # What the session calls

    @property
    def sockets(self) -> tuple[AnySocket, ...]:
        """The sockets that are pending or have joined."""
        return self._sockets

    @property
    def is_idle(self) -> bool:
        """Whether no socket is pending or has joined."""
        return not self._sockets

    def on_message(self, data: str | bytes) -> None:
        """Take one Engine.IO message.

        Raises:
            ProtocolError: the client broke the protocol; the session closes.
        """
        said = self._protocol.receive(data)
        if said is None:
            return
        if type(said) is EventReceived:
            self.on_event(self._joined(said.namespace), said)
        elif type(said) is ConnectRequested:
            self._connect(said.namespace, said.auth)
        elif type(said) is AckReceived:
            self.on_ack(self._joined(said.namespace), said)
        elif type(said) is DisconnectRequested:
            self._part(self._joined(said.namespace), LEFT)

    def on_close(self, reason: str) -> None:
        """The session has ended."""
        for socket in self._sockets:
            # What is told of one socket may put out another one of the same client.
            if socket.alive:
                self._part(socket, reason)

    # Internal

    def _connect(self, namespace: str, auth: dict[str, Any]) -> None:
        if not self.serves(namespace):
            self._refuse_namespace(namespace)
            return
        socket = self.new_socket(namespace)
        self._sockets += (socket,)
        self.on_connect(socket, auth)

    def _refuse_namespace(self, namespace: str) -> None:
        """Refuse one that is not there, once: who has nothing else, or asks again and again, is let go.

        A client that has joined another, or is about to, keeps that: it comes back with the same question otherwise.
        """
        self.session.send([self._protocol.refuse(namespace, INVALID_NAMESPACE)])
        self._bad_namespaces += 1
        if self.is_idle or self._bad_namespaces > MAX_NAMESPACES:
            self.session.close(BAD_NAMESPACE)

    def _joined(self, namespace: str) -> AnySocket:
        """The socket of a joined namespace. There is one, because the protocol lets no other message through."""
        for socket in self._sockets:
            if socket.namespace == namespace:
                return socket
        raise AssertionError("the protocol knows a namespace that has no socket")

    def _part(self, socket: AnySocket, reason: str) -> None:
        self._forget(socket)
        self.on_disconnect(socket, reason)

    def _forget(self, socket: AnySocket) -> None:
        socket.alive = False
        self._sockets = tuple(each for each in self._sockets if each is not socket)
