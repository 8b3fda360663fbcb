"""A namespace of a Socket.IO server: the program's handlers, the sockets that have joined, and events for many."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Concatenate, Final, TypeAlias, TypeVar

import trio

from djactors.engine._handlers import Call, Handlers
from djactors.engine._socket import Socket
from djactors.protocol import check_event_name, check_namespace, encode_event

SENT_PER_TURN: Final = 256
"""Sockets that `broadcast` writes to before other tasks have a turn. Each takes some 12 µs, so a turn takes 3 ms."""

Audience: TypeAlias = Iterable[Socket] | Callable[[], Iterable[Socket]]
"""The sockets that get an event, or a function that returns them, for a room that the program keeps elsewhere."""

ConnectHandler = TypeVar("ConnectHandler", bound=Callable[[Socket, dict[str, Any]], Awaitable[None] | None])
DisconnectHandler = TypeVar("DisconnectHandler", bound=Callable[[Socket, str], Awaitable[None] | None])
EventHandler = TypeVar("EventHandler", bound=Callable[Concatenate[Socket, ...], object])


class Members(Handlers):
    """The server's side of a namespace: the handlers, and the set of sockets that have joined."""

    __slots__ = ("sockets",)

    def __init__(self) -> None:
        super().__init__()
        self.sockets: set[Socket] = set()


class Namespace:
    """One namespace and its handlers, which are plain or `async` functions. `djactors.engine` has the rules for them.

    Raises `ValueError` for a name that does not begin with a slash, is not printable, or has a comma.
    """

    def __init__(self, name: str = "/") -> None:
        check_namespace(name)
        self.name = name
        self._members = Members()

    @property
    def sockets(self) -> Collection[Socket]:
        """The sockets that have joined: a live view. Do not wait while you walk through it."""
        return self._members.sockets

    # Registering raises ValueError for a second handler of the same thing, and TypeError for an unfit handler.

    def on_connect(self, handler: ConnectHandler) -> ConnectHandler:
        """Register the handler for each client that asks to join. It gets the socket and `auth`, a dict that is empty
        if the client sent none.

        When the handler returns, the client has joined. To refuse the client, raise `ConnectRefused`; any other error
        lets the client go, so that it tries again. An `async` handler has `EngineSettings.connect_timeout` seconds.
        Without a handler everybody may join.
        """
        if self._members.connect is not None:
            raise ValueError(f"{self.name} has a handler for connect")
        self._members.connect = Call(handler, "connect")
        return handler

    def on_disconnect(self, handler: DisconnectHandler) -> DisconnectHandler:
        """Register the handler for sockets that had joined and are gone. It gets each socket once, and the reason, a
        fixed word."""
        if self._members.disconnect is not None:
            raise ValueError(f"{self.name} has a handler for disconnect")
        self._members.disconnect = Call(handler, "disconnect")
        return handler

    def on(self, event: str) -> Callable[[EventHandler], EventHandler]:
        """Register the decorated function for events of this name. It gets the socket and then the event's arguments.

        The arguments are checked against the function's annotations. If they do not fit, `on_error` gets a
        `BadArguments`, and the client is let go. The returned value is the ack, if the client asked for one: an empty
        ack for None, several values for a tuple, and one value for anything else.
        """
        check_event_name(event)
        if event in self._members.events:
            raise ValueError(f"{self.name} has a handler for {event!r}")

        def register(handler: EventHandler) -> EventHandler:
            self._members.events[event] = Call(handler, event)
            return handler

        return register

    # Sending to many

    def emit(self, name: str, *args: Any, to: Audience | None = None) -> None:
        """Send an event to all sockets of this namespace, or to those in `to`. It is encoded once, and nothing waits.

        This takes some 12 µs for each socket; for thousands of sockets use `broadcast`. Sockets that are gone drop the
        event, and clients that are too far behind are let go (see `Socket.emit`).

        Raises:
            ValueError, TypeError: the name is reserved, the arguments cannot be encoded, or a socket belongs to another
                namespace.
        """
        packets = [encode_event(name, *args, namespace=self.name)]
        for socket in self._audience(to):
            socket.send(packets)

    async def broadcast(self, name: str, *args: Any, to: Audience | None = None) -> None:
        """Do what `emit` does, and let other tasks have a turn after each `SENT_PER_TURN` sockets.

        If this is cancelled, the remaining sockets do not get the event. Sockets that join meanwhile do not get it.
        """
        packets = [encode_event(name, *args, namespace=self.name)]
        for number, socket in enumerate(self._audience(to), 1):
            socket.send(packets)
            if not number % SENT_PER_TURN:
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    def _audience(self, to: Audience | None) -> list[Socket]:
        sockets = list(self._members.sockets if to is None else to() if callable(to) else to)
        for socket in sockets:
            if socket.namespace != self.name:
                raise ValueError(f"a socket of {socket.namespace} cannot be sent what is of {self.name}")
        return sockets


def members_of(namespace: Namespace) -> Members:
    """Return the server's side of a namespace, which programs do not need."""
    return namespace._members
