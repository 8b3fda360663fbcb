"""An Engine.IO 4 and Socket.IO 5 server for any Trio program, on the listener of `djactors.net`. It needs no framework.

Stock Socket.IO clients connect to it, by long-polling and WebSocket. Everything public is here. A complete program::

    import sys
    from typing import Any

    import trio

    from djactors.engine import ConnectRefused, Namespace, Socket, SocketServer

    chat = Namespace("/chat")


    @chat.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        if auth.get("token") != "let me in":
            raise ConnectRefused("Unauthorized", {"code": "token_invalid"})
        socket.data = str(auth.get("room", "lobby"))
        socket.emit("welcome", socket.data)


    @chat.on("say")
    def say(socket: Socket, text: str) -> dict[str, bool]:
        chat.emit("said", text, to=[other for other in chat.sockets if other.data == socket.data])
        return {"ok": True}


    @chat.on("roll call")
    async def roll_call(socket: Socket) -> None:
        [name] = await socket.emit_with_ack("who are you?", timeout=5)
        await chat.broadcast("here", name)


    @chat.on_disconnect
    def disconnect(socket: Socket, reason: str) -> None:
        chat.emit("left", reason)


    async def main(port: int) -> None:
        server = SocketServer(chat, on_error=lambda error, peer: print(peer, repr(error)))
        async with trio.open_nursery() as nursery:
            print("listening on", await nursery.start(server.serve, "127.0.0.1", port))


    if __name__ == "__main__":
        trio.run(main, int(sys.argv[1]))

The rules for handlers. To let a client go means to end its session; a stock client then reconnects by itself.

- Handlers are plain or `async` functions. A plain handler runs at once, in the task that reads from its client: it must
  not block, and costs no task. An `async` handler runs in a task.
- A client's handlers in a namespace run one at a time, in order. While an `async` handler runs, at most `MAX_WAITING`
  events wait, with at most `EngineSettings.max_payload` bytes together. A client that sends one more is let go.
- Arguments are checked against the handler's annotations. A parameter without an annotation, or with `Any`, may be any
  JSON value. The value that a handler returns is the ack, if the client asked for one: an empty ack for None, several
  values for a tuple.
- A CONNECT is always answered. The client has joined when the connect handler returns. It gets a `connect_error` if the
  handler raises `ConnectRefused`. It is let go, so that it tries again, if the handler raises anything else or takes
  more than `EngineSettings.connect_timeout` seconds. Events that the handler emits go out right behind the answer.
- If a handler raises, or arguments do not fit (`BadArguments`), `on_error` gets the exception and the client is let go,
  so that it does not wait for an ack that will not come. The server goes on. An event without a handler is dropped, and
  an unknown namespace is refused, as the reference server does.
- When a client is gone, its running handler is cancelled at the next checkpoint, and its waiting events are dropped.
  `on_disconnect` is called once for each socket that had joined. Work that must be finished belongs in a nursery of
  your own.
- `emit` never waits. A client that leaves more than `outbox_packets` packets or `outbox_bytes` bytes unread is let go,
  so it holds up nobody. `emit_with_ack` waits, at most for its timeout; at most `MAX_AWAITED_ACKS` acks of one client
  may be awaited.
- Anything that yields sockets serves as a room: a list, a set that you keep, or a function that is called each time. An
  event for many sockets is encoded once. `Namespace.emit` sends it to all at once; `broadcast` lets other tasks run in
  between.
- Polls are compressed by gzip for clients that accept it, except polls that hold the session's sid or the answer to a
  CONNECT.
- Cancelling `serve` closes everything at once; `drain` closes it at a pace. Stock clients that were let go or drained
  reconnect by themselves. Clients that were refused, or put out by `disconnect(reconnect=False)`, do not.

`EngineSettings` has all times (seconds), sizes (bytes) and counts, each with its reason. Time is Trio's clock;
randomness, the telemetry and which web pages may connect (`OriginPolicy`) are given to the server. To serve beside
another application, or two servers on one port, see `EngineApplication`; an echo that passes the protocols' official
test suites is `djactors/engine/example.py`.

Two lower levels are for programs that need every microsecond. `SocketHandler` is Socket.IO without tasks and queues:
packets go straight to the sessions. Below it, `EngineServer` with a `SessionHandler` is Engine.IO alone.

Sources: the protocol documents of Engine.IO, revision 4, and Socket.IO, revision 5.
"""

from djactors.engine._application import EngineApplication, Mounted
from djactors.engine._handlers import BadArguments
from djactors.engine._namespace import SENT_PER_TURN, Audience, Namespace
from djactors.engine._origins import OriginPolicy
from djactors.engine._refusals import Refusal
from djactors.engine._server import EngineServer
from djactors.engine._session import Session, SessionHandler
from djactors.engine._settings import EngineSettings
from djactors.engine._socket import MAX_AWAITED_ACKS, ConnectRefused, Socket, SocketGone, TooManyAcks
from djactors.engine._socket_handler import BaseSocket, SocketHandler
from djactors.engine._socket_server import SocketServer
from djactors.engine._telemetry import EngineTelemetry, Uncounted
from djactors.engine._turns import MAX_WAITING

__all__ = [
    "MAX_AWAITED_ACKS",
    "MAX_WAITING",
    "SENT_PER_TURN",
    "Audience",
    "BadArguments",
    "BaseSocket",
    "ConnectRefused",
    "EngineApplication",
    "EngineServer",
    "EngineSettings",
    "EngineTelemetry",
    "Mounted",
    "Namespace",
    "OriginPolicy",
    "Refusal",
    "Session",
    "SessionHandler",
    "Socket",
    "SocketGone",
    "SocketHandler",
    "SocketServer",
    "TooManyAcks",
    "Uncounted",
]
