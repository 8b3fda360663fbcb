"""The network of a blocking client, which keeps to the deadline of an attempt.

The time-outs of httpx are for each wait, and a server that sends one byte of its answer's head now and then could hold
an attempt for as long as it likes. Here no wait goes beyond the deadline. TLS inside of TLS is the exception (an
https:// server behind an https:// proxy): httpcore reads on within one wait there.
"""

import math
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import httpcore
import httpx

DEADLINE: Final = "djactors.deadline"
"""The extension of a request that says when its attempt ends, by the clock of the transport."""

WRITTEN_AT_ONCE: Final = 2**16
"""Bytes that are sent between two looks at the clock."""

_TOLD: Final = "the attempt did not end in time"


class DeadlineTransport(httpx.HTTPTransport):
    """The transport of httpx, for requests that may have a deadline. Threads may share it.

    Args:
        now: a monotonic clock.
        ssl_context: for `https`.
        proxy: what the requests go through.
        network: another network, for tests.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: httpx.Proxy | None = None,
        network: httpcore.NetworkBackend | None = None,
    ) -> None:
        context = ssl_context or httpx.create_ssl_context()
        super().__init__(verify=context)
        self._time = _Time(now)
        # The only way to a network of one's own: httpx has no argument for it.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            proxy=None if proxy is None else httpcore.Proxy(str(proxy.url), proxy.raw_auth, proxy.headers.raw),
            network_backend=_Network(network or httpcore.SyncBackend(), self._time),
            # These are as in httpx.
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport.handle_request`."""
        self._time.ends = request.extensions.get(DEADLINE, math.inf)
        return super().handle_request(request)


class _Time(threading.local):
    """When the attempt ends that this thread makes. A request is made in one thread from its beginning to its end."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.ends = math.inf
        self._now = now

    def left(self, timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
        """How long the next wait may take.

        Raises:
            httpcore.TimeoutException: of the given kind, if no time is left.
        """
        left = self.ends - self._now()
        if left <= 0:
            raise error(_TOLD)
        if left == math.inf:
            return timeout
        return left if timeout is None else min(timeout, left)


class _Network(httpcore.NetworkBackend):
    def __init__(self, network: httpcore.NetworkBackend, time: _Time) -> None:
        self._network, self._time = network, time

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = self._time.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._network.connect_tcp(host, port, left, local_address, socket_options), self._time)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, time: _Time) -> None:
        self._stream, self._time = stream, time

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._time.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for begin in range(0, len(buffer), WRITTEN_AT_ONCE):
            left = self._time.left(timeout, httpcore.WriteTimeout)
            self._stream.write(buffer[begin : begin + WRITTEN_AT_ONCE], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._time.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._time)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
