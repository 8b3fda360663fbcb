"""A Socket.IO client for any Trio program, on trio-websocket, for every server of Socket.IO 3 and 4 (protocol 5).

Everything public is here. A complete program::

    import sys

    import trio

    from djactors.client.socketio import Connected, Event, connect


    async def main(url: str) -> None:
        async with connect(url, auth={"token": "let me in"}, namespace="/chat") as socket:
            async for item in socket:
                match item:
                    case Connected(recovered=recovered):
                        print("connected,", "nothing was missed" if recovered else "from the beginning")
                        print("said", await socket.call("say", "hello", timeout=5))
                    case Event(name="here", args=[name, *_]):
                        print(name, "is here")
                        return
                    case Event(name="who are you?"):
                        await socket.acknowledge(item, "Ada")
                    case other:
                        print(other)


    if __name__ == "__main__":
        trio.run(main, sys.argv[1])

What the iterator yields, in the order in which it happened: `Connected`, `Event`, `Disconnected` and `ConnectFailed`.

- **Transports.** WebSocket comes first, and long-polling where no WebSocket passes; a session that began with polling
  is upgraded. `SocketSettings.transports` changes that.
- **Reconnection.** A connection that breaks is made anew, after waits that double and have a random part. A server's
  `Retry-After` is honoured. The client gives up, and the iterator and all calls raise, when the server refuses CONNECT
  (`RefusedError`), puts the client out (`ServerDisconnectedError`), or `SocketSettings.max_attempts` is reached
  (`ConnectFailedError`).
- **Recovery.** If the server recovers connections, the client presents the `pid` of its connection and the offset of
  the last event, as the stock client does. With `Connected.recovered`, what was missed follows, once and in order.
- **Tokens.** `auth` may be a function, plain or async. It is asked for each attempt and gets the refusal of the one
  before, so that it can return another token. The same `auth` again, or `SocketSettings.max_refusals` refusals in a
  row, end the client.
- **Backpressure.** What comes waits in a queue that is bounded by count and by bytes. If the program does not take it
  in time, the client ends the connection (`DisconnectReason.BACKLOG`), keeps what it has, and connects again when half
  was taken. A server with recovery then sends the rest; without recovery, it is lost. What goes out waits in a queue,
  too, and `emit` waits for room.
- **Delivery.** `emit` and `call` send at most once. An ack is the only proof that something has arrived.
- **Cancellation.** Every method may be cancelled. `__anext__` then loses no item, and `emit` has sent nothing. A
  cancelled `call` may have been sent. Leaving the block says good-bye in at most `SocketSettings.close_timeout`
  seconds; a block that is cancelled hangs up at once.
- **Tasks.** Any number of tasks may use one `Socket` at the same time. Events of one task are sent in their order.

Times are seconds of Trio's clock, so a test can use its virtual one; sizes are bytes. Randomness, the way to the server
and the TLS context are given to `connect`. Nothing is logged.

Sources: the protocol documents of Engine.IO, revision 4, and Socket.IO, revision 5; RFC 9112; RFC 6455.
"""

from djactors.client.socketio._address import Address, OpenStream, over_tcp
from djactors.client.socketio._connect import connect
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
from djactors.client.socketio._items import Connected, ConnectFailed, Disconnected, DisconnectReason, Event, Item
from djactors.client.socketio._settings import SocketSettings
from djactors.client.socketio._socket import ACK_SECONDS, Auth, AuthSource, Socket

__all__ = [
    "ACK_SECONDS",
    "AckTimeoutError",
    "Address",
    "Auth",
    "AuthSource",
    "ClientClosedError",
    "ConnectFailed",
    "ConnectFailedError",
    "Connected",
    "ConnectionLostError",
    "DisconnectReason",
    "Disconnected",
    "Event",
    "Item",
    "OpenStream",
    "RefusedError",
    "ServerDisconnectedError",
    "Socket",
    "SocketError",
    "SocketSettings",
    "TooLargeError",
    "TryAgainError",
    "connect",
    "over_tcp",
]
