"""What goes wrong, as the caller of a client sees it."""

from typing import Any


class SocketError(Exception):
    """The base of all errors of this package, so that one `except` catches them."""


class TryAgainError(SocketError):
    """Raised by a caller's `auth` to say that there is none now: the attempt counts as failed, and another follows."""


class ConnectFailedError(SocketError):
    """So many attempts to connect failed in a row as `SocketSettings.max_attempts` allows. The text is of the last."""


class RefusedError(SocketError):
    """The server refused CONNECT, as a stock client hears by `connect_error`.

    Attributes:
        message: the server's words, such as `Unauthorized`.
        data: whatever the server added, often an object with a code; None without any.
    """

    def __init__(self, message: str, data: Any) -> None:
        super().__init__(message)
        self.message, self.data = message, data


class ServerDisconnectedError(SocketError):
    """The server put this client out of the namespace. A stock client does not come back by itself then, nor does this.

    A server that stops, or whose connection breaks, does not do that.
    """


class ConnectionLostError(SocketError):
    """The connection ended before an ack came. The server may have done what was asked, or not."""


class AckTimeoutError(SocketError):
    """No ack came in time. The server may have done what was asked, or not."""


class TooLargeError(SocketError, ValueError):
    """A packet is larger than the server takes (`maxPayload` of its handshake), so it was not sent."""


class ClientClosedError(SocketError):
    """The client was used outside of its `async with`."""
