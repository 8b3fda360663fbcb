"""What a client's iterator yields, and what it tells of the connection."""

from enum import StrEnum
from typing import Any, TypeAlias

import msgspec


class DisconnectReason(StrEnum):
    """Why a connection, or an attempt at one, ended: a fixed word, which may be a metric label."""

    CLIENT = "client close"
    SERVER = "server close"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NOT_OPENED = "not opened"
    TRANSPORT = "transport close"
    PING_TIMEOUT = "ping timeout"
    OPEN_TIMEOUT = "open timeout"
    SEND_TIMEOUT = "send timeout"
    VIOLATION = "protocol error"
    BACKLOG = "backlog"
    AUTH = "no auth"


class Connected(msgspec.Struct, frozen=True):
    """The server let the client in.

    Attributes:
        sid: the public name of the socket at the server.
        recovered: whether the server restored the state of the connection before, so that what was missed follows. With
            False at a reconnection, a server without recovery has sent what nobody received.
        transport: `polling` or `websocket`; an upgrade may follow.
    """

    sid: str
    recovered: bool
    transport: str


class Disconnected(msgspec.Struct, frozen=True):
    """The connection ended, and the client tries again.

    Attributes:
        reason: why.
        detail: the same for people; it holds nothing secret.
        retry_in: seconds until the next attempt. With the reason `backlog`, they count from when there is room again.
    """

    reason: DisconnectReason
    detail: str
    retry_in: float


class ConnectFailed(msgspec.Struct, frozen=True):
    """An attempt to connect failed, and the client tries again. The fields are those of `Disconnected`.

    `attempt` counts from 1 since the last connection.
    """

    reason: DisconnectReason
    detail: str
    retry_in: float
    attempt: int


class Event(msgspec.Struct, frozen=True):
    """The server emitted an event.

    Attributes:
        name: of the event.
        args: all its arguments, as JSON decodes to; bytes are `bytes`.
        ack_id: what `Socket.acknowledge` answers, None if the server asked for no ack.
        offset: where a connection that is recovered goes on behind this event; None if the server recovers none. As
            with the stock client, it is the last argument of an event that ends with a string, and stays in `args`.
        connection: counts the connections of this client, so that an ack goes out on the one that asked.
    """

    name: str
    args: list[Any]
    ack_id: int | None = None
    offset: str | None = None
    connection: int = 0


Item: TypeAlias = Connected | Disconnected | ConnectFailed | Event
