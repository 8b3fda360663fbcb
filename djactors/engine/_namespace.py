"""A namespace of a Socket.IO server: the program's handlers, the sockets that have joined, and what many are sent."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Concatenate, Final, TypeAlias, TypeVar

import trio

from djactors.engine._handlers import Call, Handlers
from djactors.engine._socket import Socket
from djactors.protocol import check_event_name, check_namespace, encode_event

SENT_PER_TURN: Final = 256
"""Sockets that `broadcast` writes to before other tasks have a turn: some 12 µs each, so every 3 ms."""

Audience: TypeAlias = Iterable[Socket] | Callable[[], Iterable[Socket]]
"""Who is sent something: sockets, or a function that tells which, for a room that somebody else keeps."""

ConnectHandler = TypeVar("ConnectHandler", bound=Callable[[Socket, dict[str, Any]], Awaitable[None] | None])
DisconnectHandler = TypeVar("DisconnectHandler", bound=Callable[[Socket, str], Awaitable[None] | None])
EventHandler = TypeVar("EventHandler", bound=Callable[Concatenate[Socket, ...], object])


class Members(Handlers):
    """What the server needs of a namespace: its handlers, and the set in which it puts who has joined."""

    __slots__ = ("sockets",)

    def __init__(self) -> None:
        super().__init__()
        self.sockets: set[Socket] = set()


class Namespace:
    """One namespace and its handlers, which are plain or `async` functions; see `djactors.engine` for what they may do.

    Raises `ValueError` for a name that does not begin with a slash, is not printable, or has a comma.
    """

    def __init__(self, name: str = "/") -> None:
        check_namespace(name)
        self.name = name
        self._members = Members()

    @property
    def sockets(self) -> Collection[Socket]:
        """Those that have joined: a live view, to count or to walk through without a pause."""
        return self._members.sockets

    # Registering, which raises ValueError for what is registered already, and TypeError for what cannot be a handler.

    def on_connect(self, handler: ConnectHandler) -> ConnectHandler:
        """Have this called with each client that asks to join, and its `auth`, a dict that is empty if it sent none.

        When the handler returns, the client has joined. To refuse it, raise `ConnectRefused`; any other error lets it
        go, so that it tries again. An `async` handler has `EngineSettings.connect_timeout` seconds. Without a handler
        everybody may join.
        """
        if self._members.connect is not None:
            raise ValueError(f"{self.name} has a handler for connect")
        self._members.connect = Call(handler, "connect")
        return handler

    def on_disconnect(self, handler: DisconnectHandler) -> DisconnectHandler:
        """Have this called once for each socket that had joined, when it is gone, with the reason: a fixed word."""
        if self._members.disconnect is not None:
            raise ValueError(f"{self.name} has a handler for disconnect")
        self._members.disconnect = Call(handler, "disconnect")
        return handler

    def on(self, event: str) -> Callable[[EventHandler], EventHandler]:
        """Have the decorated function called with each event of this name, the socket first and then its arguments.

        The arguments are held to the function's annotations; what does not fit is told to `on_error` as `BadArguments`
        and the client let go. What the function returns is the ack, if the client asked for one: nothing for None, one
        value for anything else, several for a tuple.
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
        """Send an event to all sockets of this namespace, or to those in `to`: encoded once, at once, without waiting.

        It costs some 12 µs a socket; for thousands of them use `broadcast`. Sockets that are gone drop it, and those
        that are too far behind are let go (see `Socket.emit`).

        Raises:
            ValueError, TypeError: the name is reserved, the arguments cannot be encoded, or a socket is another
                namespace's.
        """
        packets = [encode_event(name, *args, namespace=self.name)]
        for socket in self._audience(to):
            socket.send(packets)

    async def broadcast(self, name: str, *args: Any, to: Audience | None = None) -> None:
        """Do what `emit` does, and let other tasks have a turn after each `SENT_PER_TURN` sockets.

        Cancelled, it leaves the rest without the event. Who joins meanwhile does not get it.
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
    """Return what the server needs of a namespace, and nobody else."""
    return namespace._members
