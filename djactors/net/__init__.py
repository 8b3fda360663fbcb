"""An HTTP/1.1 and WebSocket server on Trio, for programs that keep thousands of connections open at little cost.

Everything public is here. An `Application` answers requests and carries WebSockets; a `Listener` accepts connections
for it. The package knows neither Engine.IO nor Socket.IO: `djactors.engine` is one application of it.

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

        def refusal(self, status: int, code: str, message: str, request: Request | None = None) -> Response:
            return Response(status, message.encode(), "text/plain; charset=utf-8")


    async def main(port: int) -> None:
        listener = Listener(Echo(), port=port, on_error=lambda error, peer: print(peer, repr(error)))
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.run)
            print("listening on", listener.address)


    if __name__ == "__main__":
        trio.run(main, int(sys.argv[1]))

Rules:

- An error in one connection goes to `on_error`, is answered with 500 where that is still possible, and ends that
  connection alone. It is no error if a client leaves or breaks the protocol.
- Cancelling `Listener.run` closes everything at once; `Listener.drain` lets requests finish first. While a handler
  waits, nobody notices that the client leaves, unless the handler waits inside `Request.watch_disconnect`.
- If a client does not read, `WebSocket.send` and `ByteStream.drain` wait for it. `WebSocket.write_frames` never waits
  and cuts the client off once `ListenerLimits.max_buffered` bytes are unsent. TCP slows down a client that sends too
  fast, because nothing is read while a handler runs or while nobody receives from the WebSocket.
- All bounds are in `Limits` (one connection; seconds and bytes), in `ListenerLimits` (all connections together), in the
  answer of `Application.body_limit` and in an argument of `open_websocket`. Each has its reason where it is defined.
- Of many who come at the same moment, so many go one step on in a turn of the loop, and fewer while anybody who has
  proved who they are wants something (`Crowd`).
- No client's bytes hold up the others: costly work is done in slices (`CostlyWork` is for the application's own). The
  bytes of all clients that have not proved who they are (`Request.proof`, `WebSocket.prove`) share one budget,
  `UnprovenBytes`. Over it, the greediest are answered 503, or closed with 1013.
- Every answer has a `Date`. A response with `Response.compressible` set is compressed by gzip for clients that accept
  it. Bodies of requests are not decompressed: a request with a `Content-Encoding` is refused with 415.
- Of the subprotocols that a WebSocket client offers, the first one is selected.
- A listener takes TCP, or what its `Network` brings: `UnixNetwork`, `InheritedNetwork`, or one of your own.
- With `ServerTls` the listener speaks TLS, 1.2 or newer. A slow or wrong handshake ends its own connection.
- Time is Trio's clock, except for the `Date`. `HttpConnection` also serves a `ByteStream` of another kind.

Sources: RFC 9110 and 9112 for HTTP, RFC 6455 for WebSocket.
"""

from djactors.net._costly import CostlyWork
from djactors.net._descriptors import descriptor_shortage, raise_descriptor_limit
from djactors.net._http_compression import Compression, takes_gzip
from djactors.net._http_head import HeadMemory
from djactors.net._http_messages import Application, HttpDates, Limits, Request, RequestRefused, Response
from djactors.net._http_server import HttpConnection
from djactors.net._inherited import InheritedNetwork, InheritedRefused, inherited_network
from djactors.net._listener import Listener, ListenerLimits, ListenerTelemetry
from djactors.net._network import MACHINE_NETWORK, Door, Incoming, Network
from djactors.net._proxies import TrustedProxies
from djactors.net._proxy_protocol import ProxyHeader, ProxyHeaderError, parse_proxy_header
from djactors.net._shares import UNIX_PEER, AddressCounts, ProvenAddresses, TokenBucket, TokenBuckets, host_of
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
from djactors.net._tls import ServerTls, TlsRefused, tls_context
from djactors.net._tls_stream import HandshakeFailed, TlsStream
from djactors.net._turnstile import FEW_NEWCOMERS, MANY_NEWCOMERS, Crowd, Turnstile
from djactors.net._unix import MAX_UNIX_PATH, UnixNetwork
from djactors.net._unproven import UNPROVEN_BYTES, UNPROVEN_MESSAGE, Holder, OverBudget, UnprovenBytes
from djactors.net._websocket import CLOSE_TIMEOUT, WebSocket, WebSocketClosed, open_websocket

__all__ = [
    "CLOSE_TIMEOUT",
    "FEW_NEWCOMERS",
    "LINGER_BYTES",
    "LINGER_SECONDS",
    "MACHINE_NETWORK",
    "MANY_NEWCOMERS",
    "MAX_UNIX_PATH",
    "RECEIVE_SIZE",
    "UNIX_PEER",
    "UNPROVEN_BYTES",
    "UNPROVEN_MESSAGE",
    "AddressCounts",
    "Application",
    "ByteStream",
    "Compression",
    "CostlyWork",
    "Crowd",
    "Door",
    "HandshakeFailed",
    "HeadMemory",
    "Holder",
    "HttpConnection",
    "HttpDates",
    "Incoming",
    "InheritedNetwork",
    "InheritedRefused",
    "Limits",
    "Listener",
    "ListenerLimits",
    "ListenerTelemetry",
    "Network",
    "OverBudget",
    "ProvenAddresses",
    "ProxyHeader",
    "ProxyHeaderError",
    "ReceiveLimitExceeded",
    "Request",
    "RequestRefused",
    "Response",
    "ServerTls",
    "SlowConsumer",
    "SocketStream",
    "Timed",
    "Timer",
    "TlsRefused",
    "TlsStream",
    "TokenBucket",
    "TokenBuckets",
    "TrustedProxies",
    "Turnstile",
    "UnixNetwork",
    "UnprovenBytes",
    "WebSocket",
    "WebSocketClosed",
    "descriptor_shortage",
    "host_of",
    "inherited_network",
    "open_websocket",
    "parse_proxy_header",
    "raise_descriptor_limit",
    "takes_gzip",
    "tls_context",
]
