"""Socket.IO on one session, the lower storey: it is synchronous, and has no task and no buffer of its own.

    Session.on_message ──► SocketHandler ──► on_connect, on_event, on_ack, on_disconnect      of a class of yours
    BaseSocket.accept, refuse, send, ack, disconnect ──► Session.send ──► outbox

Rules:

- One `SocketHandler` serves a session, one `BaseSocket` a namespace that its client asked to join. A socket is
  *pending* until it is accepted or refused, then it has *joined*, and in the end it is *gone*: the client left the
  namespace, was put out of it, or the session ended. What is sent to a socket that is gone is dropped.
- A CONNECT to a namespace that is not served is refused at once, and a session that has joined none is closed then.
  Any other is to be answered by `accept` or `refuse`,
  in the call or later: a stock JavaScript client waits for the answer for ever.
- `on_connect`, `on_event` and the others run in the middle of the task that reads from the client, or keeps the time of
  all. They must not block. What `on_connect`, `on_event` or `on_ack` raises ends that session alone and is reported.
- Nothing here waits: a client that does not keep up is closed by its session (`EngineSettings.outbox_packets`,
  `outbox_bytes`) and never slows another down.
- It costs little: on CPython 3.11 a session with one socket takes 230 bytes here, and an event some 0.3 µs beside its
  decoding. Whatever a derived class keeps for a session comes on top, so let it have `__slots__`.

Who would rather write `async def` handlers finds them in `SocketServer`, which is built on this.
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
"""The reference server's word to who asks for a namespace that is not there."""

BAD_NAMESPACE: Final = "bad_namespace"
"""Why a session has ended that asked for a namespace that is not there."""

LEFT: Final = "left"
"""Why a socket is gone whose client left the namespace and kept the session."""


class BaseSocket:
    """One client in one namespace. See the module for its states."""

    __slots__ = ("_handler", "alive", "namespace")

    def __init__(self, handler: "SocketHandler[Any]", namespace: str) -> None:
        self._handler = handler
        self.namespace = namespace
        # False once it is gone.
        self.alive = True

    @property
    def peer(self) -> str:
        """The client's address."""
        return self._handler.session.peer

    def accept(self, pid: str | None = None, packets: Sequence[EncodedPacket] = ()) -> None:
        """Let the client into the namespace, with these packets behind the answer in one write.

        `pid` tells a stock JavaScript client to ask for what it missed when it comes back; leave it out where nothing
        can be replayed. Raises `NotJoinedError` for a socket that has joined already.
        """
        if not self.alive:
            return
        handler, sid = self._handler, self._handler.new_sid()
        reply = handler._protocol.accept(self.namespace, sid, None if pid is None else {"pid": pid})
        handler.session.prove()
        handler.on_accept(self, sid)
        handler.session.send([reply, *packets])

    def refuse(self, message: str, data: Any = None) -> None:
        """Turn the client away: `connect_error` with this message, and `data` if there is some.

        A stock client does not try again by itself. Where trying again could help, `disconnect` instead. Raises
        `NotJoinedError` for a socket that has joined already.
        """
        if not self.alive:
            return
        reply = self._handler._protocol.refuse(self.namespace, message, data)
        self._handler._forget(self)
        self._handler.session.send([reply])

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        """Send packets of this namespace, in one write. What many sockets are sent is encoded once for all of them."""
        if self.alive:
            self._handler.session.send(packets)

    def emit(self, name: str, *args: Any) -> None:
        """Send an event to this client alone. Raises `ValueError` or `TypeError` for what cannot be encoded."""
        self.send([encode_event(name, *args, namespace=self.namespace)])

    def ack(self, ack_id: int, *args: Any) -> None:
        """Acknowledge an event of the client's."""
        if self.alive:
            self._handler.session.send([self._handler._protocol.ack(self.namespace, ack_id, *args)])

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once when all that was sent is on its way. See `Session.when_drained`."""
        if self.alive:
            self._handler.session.when_drained(callback)

    def disconnect(self, reason: str = "server", *, reconnect: bool = True) -> None:
        """Let the client go. `reason` is a word for logs and metrics.

        With `reconnect` its whole session ends, with all namespaces: a stock client takes a closed transport for a
        fault of the network and comes again. Without, it is put out of this namespace alone and stays away until it is
        told to connect; a socket that still waits for its answer cannot be (`NotJoinedError`): `refuse` it.
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
    """What serves one session's sockets. Derive from it, and have `EngineServer` make one for each session.

    Args:
        session: whose messages it takes.
        max_attachment_bytes: what the binary attachments of one packet may have together.
    """

    __slots__ = ("_bad_namespaces", "_protocol", "_sockets", "session")

    def __init__(self, session: Session, *, max_attachment_bytes: int = MAX_ATTACHMENT_BYTES) -> None:
        self.session = session
        self._protocol = SocketSession(max_attachment_bytes=max_attachment_bytes)
        # A tuple, as nearly all clients have one.
        self._sockets: tuple[AnySocket, ...] = ()
        self._bad_namespaces = 0

    # What a derived class says

    @abstractmethod
    def serves(self, namespace: str) -> bool:
        """Whether there is such a namespace."""

    @abstractmethod
    def new_socket(self, namespace: str) -> AnySocket:
        """Return what is to stand for the client in this namespace."""

    @abstractmethod
    def new_sid(self) -> str:
        """Return a name for a socket that joins. Others may learn it, so it is none of the session's secrets."""

    @abstractmethod
    def on_connect(self, socket: AnySocket, auth: dict[str, Any]) -> None:
        """The client asks to join: accept or refuse the socket, now or later. `auth` is empty if it sent none."""

    @abstractmethod
    def on_event(self, socket: AnySocket, event: EventReceived) -> None:
        """The client emitted an event; with an `ack_id` it waits for an ack."""

    def on_accept(self, socket: AnySocket, sid: str) -> None:
        """The client is just about to be told that it has joined, and its socket's name."""

    def on_ack(self, socket: AnySocket, ack: AckReceived) -> None:
        """The client acknowledged an event. Nothing says that it was asked to."""

    @abstractmethod
    def on_disconnect(self, socket: AnySocket, reason: str) -> None:
        """The socket is gone, pending or joined as it was. It must not raise.

        Called once for each socket that was not refused: out of the engine's own task if the session ended, and from
        inside `disconnect` if it was put out of the namespace.
        """

    def on_tick(self, now: float) -> None:
        """The session was just sent a ping."""

    # What the session calls

    @property
    def sockets(self) -> tuple[AnySocket, ...]:
        """Those that are pending or have joined."""
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
            self._part(socket, reason)

    # The rest is ours

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
        """The socket of a namespace that has joined: the protocol lets nothing else through."""
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
