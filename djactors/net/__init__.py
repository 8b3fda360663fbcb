"""An HTTP/1.1 and WebSocket server on Trio, for programs that keep thousands of connections open at little cost.

Everything public is here. An `Application` answers requests and carries WebSockets; a `Listener` accepts connections
for it. It knows no Engine.IO and no Socket.IO: `djactors.engine` is one application of it.

    Listener ──► one task for each connection ──► Application.handle(request) ──► Response
                                              └─► Application.upgrade(request, stream, leftover) ──► WebSocket

A complete program that echoes what is posted to it, and each message of a WebSocket::

    import sys

    import trio

    from djactors.net import ByteStream, Listener, Request, Response, open_websocket

    MAX_BYTES = 64 * 1024


    class Echo:
        async def handle(self, request: Request) -> Response:
            return Response(200, request.body or b"Post something.", "text/plain; charset=utf-8")

        def body_limit(self, request: Request) -> int:
            return MAX_BYTES

        async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
            async with open_websocket(request, stream, leftover, MAX_BYTES) as websocket:
                while True:
                    await websocket.send(await websocket.receive())

        def refusal(self, status: int, code: str, message: str) -> Response:
            return Response(status, message.encode(), "text/plain; charset=utf-8")


    async def main(port: int) -> None:
        listener = Listener(Echo(), port=port, on_error=lambda error, peer: print(peer, repr(error)))
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.run)
            print("listening on", listener.address)


    if __name__ == "__main__":
        trio.run(main, int(sys.argv[1]))

Rules:

- Whatever goes wrong in one connection is told to `on_error`, answered with 500 where that is still possible, and ends
  that connection alone. A client that leaves, or breaks the protocol, is no error.
- Cancelling `Listener.run` closes everything at once; `Listener.drain` lets requests finish first. While a handler
  waits, the client is not looked after, unless it does so inside `Request.watch_disconnect`.
- A client that does not read is slowed down by waiting (`WebSocket.send`, `ByteStream.drain`), or cut off where nobody
  waits (`WebSocket.write_frames`) once `ListenerLimits.max_buffered` bytes are unsent. A client that sends too fast is
  slowed down by TCP: nothing is read while a handler runs or a WebSocket is not received from.
- All bounds are in `Limits` (one connection; seconds and bytes), `ListenerLimits` (all of them together) and what
  `Application.body_limit` and `open_websocket` are told, each with its reason where it is defined.
- Time is Trio's clock. There is no TLS yet; a `ByteStream` of another kind can be given to `HttpConnection`.

Sources: RFC 9110 and 9112 for HTTP, RFC 6455 for WebSocket.
"""

from djactors.net._http_head import HeadMemory
from djactors.net._http_messages import Application, Limits, Request, RequestRefused, Response
from djactors.net._http_server import HttpConnection
from djactors.net._listener import Listener, ListenerLimits, ListenerTelemetry
from djactors.net._shares import AddressCounts, ProvenAddresses, TokenBucket, TokenBuckets, host_of
from djactors.net._stream import (
    LINGER_BYTES,
    LINGER_SECONDS,
    RECEIVE_SIZE,
    ByteStream,
    ReceiveLimitExceeded,
    SlowConsumer,
    SocketStream,
)
from djactors.net._timer import Timed, Timer
from djactors.net._websocket import CLOSE_TIMEOUT, WebSocket, WebSocketClosed, open_websocket

__all__ = [
    "CLOSE_TIMEOUT",
    "LINGER_BYTES",
    "LINGER_SECONDS",
    "RECEIVE_SIZE",
    "AddressCounts",
    "Application",
    "ByteStream",
    "HeadMemory",
    "HttpConnection",
    "Limits",
    "Listener",
    "ListenerLimits",
    "ListenerTelemetry",
    "ProvenAddresses",
    "ReceiveLimitExceeded",
    "Request",
    "RequestRefused",
    "Response",
    "SlowConsumer",
    "SocketStream",
    "Timed",
    "Timer",
    "TokenBucket",
    "TokenBuckets",
    "WebSocket",
    "WebSocketClosed",
    "host_of",
    "open_websocket",
]
