"""Accepts connections, bounds their number, fences each one, and drains them.

The fence is the supervisor of one connection: an error inside the connection is reported, answered with 500 where that
is still possible, and ends that connection alone. A server that stops lets its clients go with `drain`; cancelling
`run` closes everything at once.
"""

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import trio

from djactors.kernel import Alarms
from djactors.net._descriptors import OVERFLOW, share_out
from djactors.net._http_compression import Compression
from djactors.net._http_head import HeadMemory
from djactors.net._http_messages import MACHINE_CLOCK, Application, HttpDates, Limits, RequestRefused
from djactors.net._http_server import HttpConnection, too_many_connections
from djactors.net._network import MACHINE_NETWORK, Door, Incoming, Network
from djactors.net._proxies import TrustedProxies
from djactors.net._proxy_protocol import ProxyHeaderError, parse_proxy_header
from djactors.net._shares import ProvenAddresses
from djactors.net._slots import Slots
from djactors.net._stream import ByteStream
from djactors.net._tls import ServerTls
from djactors.net._tls_stream import HANDSHAKES_AT_ONCE, HandshakeFailed, TlsStream
from djactors.net._turnstile import Crowd, Entrance, Turnstile
from djactors.net._unproven import UnprovenBytes

# Seconds to pause while the process has no descriptors left. They come back when connections end; asking more often
# would only burn the processor.
_ACCEPT_PAUSE: Final = 0.05
_OVERFLOW_LIMITS: Final = Limits(
    header_timeout=2.0, handshake_timeout=2.0, idle_timeout=2.0, body_timeout=2.0, write_timeout=2.0
)
# How many seconds a connection that has ended may take to send its last bytes.
_CLOSE_SECONDS: Final = 2.0

PROXY_HEADER_SECONDS: Final = 5.0
"""The time that a trusted proxy has for the header of the PROXY protocol, which is sent with the connection."""

_TASK_NAME: Final = "connection"
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@dataclass(frozen=True)
class ListenerLimits:
    """The bounds of all connections together. djactors has settings of the first three, with the same defaults."""

    # An idle connection takes about 16 KiB, with its user's actor: a fifth of a gigabyte for all.
    max_connections: int = 12_000
    # A whole office may share one address. Clients behind a trusted proxy count by their own addresses.
    max_connections_per_address: int = 1_000
    # Bytes written to a client and unread before the client is cut off. A client so far behind (about four thousand
    # notifications) recovers faster by reconnecting.
    max_buffered: int = 4 * 1024 * 1024
    # Paths that are answered even over the caps, so that a probe does not take a flooded server for a dead one.
    vital_paths: frozenset[str] = frozenset({"/healthz", "/readyz", "/metrics"})


class ListenerTelemetry(Protocol):
    """Counts for the listener. The calls are synchronous and must neither wait nor raise. `peer` is an address."""

    def connection_opened(self) -> None:
        """A connection was accepted within the caps."""

    def connection_closed(self) -> None:
        """A connection that was opened has ended."""

    def connection_refused(self, reason: str, peer: str) -> None:
        """A connection was over a cap: `total` or `address`; `overflow` if it was closed without an answer.

        `gave_way` means that an unproven connection that was only waiting was closed for a newcomer.
        """

    def proxy_refused(self, peer: str, problem: str) -> None:
        """A trusted proxy did not begin its connection with the header of the PROXY protocol."""

    def handshake_failed(self, peer: str, problem: str) -> None:
        """A client did not come through the handshake of TLS; one that has sent nothing is not told of."""

    def request_refused(self, refused: RequestRefused, peer: str) -> None:
        """A request was refused for its form, or because its connection is over a cap."""

    def accept_failed(self, reason: str) -> None:
        """The system refused to hand over a connection; `reason` is the errno's name, such as `EMFILE`."""


class _Uncounted:
    """Counts nothing."""

    def connection_opened(self) -> None:
        pass

    def connection_closed(self) -> None:
        pass

    def connection_refused(self, reason: str, peer: str) -> None:
        pass

    def request_refused(self, refused: RequestRefused, peer: str) -> None:
        pass

    def proxy_refused(self, peer: str, problem: str) -> None:
        pass

    def handshake_failed(self, peer: str, problem: str) -> None:
        pass

    def accept_failed(self, reason: str) -> None:
        pass


class Listener:
    """Serves `application` on every address that `host` stands for, all of them on one port; `port=0` picks a free one.

    `unproven` is the budget of all clients that have not proved who they are, and `crowd` says how many of those who
    come at the same moment go on in a turn of the loop; by default the listener has its own.
    `on_error` is called with every exception that reaches the fence, and with the peer's address. `wall_clock` returns
    an aware time, for the `Date` of answers. With `tls`, all connections speak TLS; a header of the PROXY protocol
    comes before its handshake. `network` is where the connections come from: see `_network.py`.

    Attributes:
        addresses: the bound (host, port) pairs once `run` has called `started`; they have the same port.
    """

    def __init__(
        self,
        application: Application,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits | None = None,
        listener_limits: ListenerLimits | None = None,
        telemetry: ListenerTelemetry | None = None,
        unproven: UnprovenBytes | None = None,
        crowd: Crowd | None = None,
        proxies: TrustedProxies | None = None,
        proxy_protocol: bool = False,
        proven: ProvenAddresses | None = None,
        tls: ServerTls | None = None,
        on_error: Callable[[BaseException, str], None],
        wall_clock: Callable[[], datetime] = MACHINE_CLOCK,
        network: Network = MACHINE_NETWORK,
    ) -> None:
        self._application = application
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._listener_limits = listener_limits or ListenerLimits()
        self._telemetry: ListenerTelemetry = telemetry or _Uncounted()
        # Made once: a bound method for each connection would take 80 bytes.
        self._on_refused = self._telemetry.request_refused
        self._on_error = on_error
        self._max_overflowing = OVERFLOW
        self._proxies = proxies
        self._proxy_protocol = proxy_protocol
        self._tls = tls
        self._handshakes = Turnstile(HANDSHAKES_AT_ONCE)
        self._proven = ProvenAddresses() if proven is None else proven
        self._slots = Slots(
            self._listener_limits.max_connections, self._listener_limits.max_connections_per_address, self._proven
        )
        self._network = network
        self._doors: list[Door] = []
        # All connections run in this nursery, so that a drain can cancel all of them together. A scope for each would
        # take a twentieth of a connected user's memory.
        self._nursery: trio.Nursery | None = None
        self._overflowing: set[HttpConnection] = set()
        self._draining = False
        self._all_closed = trio.Event()
        self._alarms = Alarms()
        self._heads = HeadMemory()
        self._unproven = unproven or UnprovenBytes()
        self._crowd = crowd or Crowd()
        self._newcomers = Entrance(self._crowd)
        self._departures = Turnstile()
        self._pipelining = Turnstile()
        self._dates = HttpDates(wall_clock)
        self._compression = Compression()
        self.addresses: tuple[tuple[str, int], ...] = ()

    @property
    def address(self) -> tuple[str, int] | None:
        """The first of the addresses, once `run` has called `started`."""
        return self.addresses[0] if self.addresses else None

    @property
    def connections(self) -> int:
        """Connections open within the caps."""
        return len(self._slots)

    @property
    def capacity(self) -> int:
        """The cap in force once `run` has started: `max_connections`, or fewer if descriptors are short."""
        return self._slots.max_total

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind, call `started` and accept connections. Returns once drained; cancelling it closes everything at once.

        A listener that was cancelled may be run again, and then has the same port.

        Raises:
            OSError: the host is unknown, this machine has none of its addresses, or the port is taken.
        """
        shares = share_out()
        self._slots.max_total = min(self._listener_limits.max_connections, shares.connections)
        self._max_overflowing = shares.overflow
        self._doors = list(await self._network.listen(self._host, self._port))
        self.addresses = tuple(door.address for door in self._doors)
        self._port = self.addresses[0][1]
        self._draining = False
        try:
            # The outer nursery is for tasks that connections start, such as one that flushes unsent bytes.
            async with trio.open_nursery() as nursery:
                timekeeping = trio.CancelScope()
                nursery.start_soon(self._keep_time, timekeeping)
                async with trio.open_nursery() as self._nursery:
                    for door in self._doors:
                        self._nursery.start_soon(self._accept_forever, door, self._nursery, nursery)
                    task_status.started()
                timekeeping.cancel()
        finally:
            self._stop_accepting()
            self._nursery = None

    async def drain(self, seconds: float) -> None:
        """Stop accepting, close idle connections, give the others `seconds` to finish, then cancel them.

        This takes at most `seconds` and about two seconds more. Have the application end its WebSockets and parked
        requests meanwhile, because these do not end by themselves.
        """
        self._draining = True
        self._stop_accepting()
        for connection in (*self._slots.guests, *self._overflowing):
            connection.drain()
        with trio.move_on_after(seconds):
            await self._until_all_closed()
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        await self._until_all_closed()

    async def _keep_time(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._alarms.run()

    def _stop_accepting(self) -> None:
        for door in self._doors:
            door.close()
        self._doors = []

    async def _accept_forever(self, door: Door, connections: trio.Nursery, helpers: trio.Nursery) -> None:
        while not self._draining:
            try:
                await door.wait()
            except trio.ClosedResourceError:
                return
            # A burst of reconnects is accepted in slices, so that connected clients are served in between.
            for _ in range(self._crowd.at_once):
                try:
                    incoming = door.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    self._telemetry.accept_failed(errno.errorcode.get(error.errno or 0, "unknown"))
                    if error.errno in _OUT_OF_RESOURCES:
                        await trio.sleep(_ACCEPT_PAUSE)
                        break
                    # Any other error, such as ECONNABORTED, concerns one client, which is gone.
                    continue
                self._admit(incoming, connections, helpers)
            await trio.lowlevel.checkpoint()

    def _admit(self, incoming: Incoming, connections: trio.Nursery, helpers: trio.Nursery) -> None:
        peer = incoming.peer
        trusted = self._proxies if self._proxies is not None and self._proxies.trusts(peer) else None
        excess = self._excess(peer, counts_address=trusted is None)
        if excess is not None and self._overflows(excess, peer):
            incoming.close()
            return
        limits = self._limits if excess is None else _OVERFLOW_LIMITS
        try:
            stream = incoming.open(
                helpers, max_buffered=self._listener_limits.max_buffered, send_timeout=limits.write_timeout
            )
        except OSError:
            return
        if self._tls is not None:
            stream = TlsStream(stream)
        stream.budget = self._unproven
        stream.departures = self._departures
        vital_paths = None if excess is None else self._listener_limits.vital_paths
        connection = HttpConnection(
            stream,
            self._application,
            limits,
            peer=peer,
            alarms=self._alarms,
            heads=self._heads,
            dates=self._dates,
            compression=self._compression,
            vital_paths=vital_paths,
            on_refused=self._on_refused,
            refusal=too_many_connections() if excess == "address" else None,
            slots=self._slots if excess is None else None,
            newcomers=self._newcomers,
            pipelining=self._pipelining,
            proxies=None if self._proxy_protocol else trusted,
        )
        # The count is made here, because the task runs only after the whole batch has been admitted.
        if excess is None:
            self._slots.add(connection)
            self._telemetry.connection_opened()
        else:
            self._overflowing.add(connection)
        # The name is given, because Trio would otherwise build the same name anew for each task.
        is_introduced = self._proxy_protocol and trusted is not None
        connections.start_soon(self._fence, connection, stream, is_introduced, limits, name=_TASK_NAME)

    def _excess(self, peer: str, *, counts_address: bool) -> str | None:
        """Why there is no slot for a newcomer. Where another connection can give way, it does."""
        excess, victim = self._slots.excess(peer, trio.current_time(), counts_address=counts_address)
        if victim is not None:
            self._slots.remove(victim)
            self._telemetry.connection_closed()
            self._telemetry.connection_refused("gave_way", victim.peer)
            victim.give_way()
        return excess

    async def _fence(self, connection: HttpConnection, stream: ByteStream, is_introduced: bool, limits: Limits) -> None:
        """Run one connection to its end. Nothing leaves this except the cancellation of the whole listener."""
        try:
            try:
                if isinstance(stream, TlsStream):
                    is_good = await self._shake_hands(connection, stream, is_introduced, limits)
                else:
                    is_good = not is_introduced or await self._introduce(connection, stream)
                if is_good:
                    await connection.run()
                    await connection.carry()
            except* Exception as failure:  # noqa: BLE001 - the supervisor of this connection
                self._report(failure, connection.peer)
                await connection.fail()
        except* Exception as failure:  # noqa: BLE001 - the answer, which the application words, failed as well
            self._report(failure, connection.peer)
        finally:
            try:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await stream.aclose()
            finally:
                stream.abort()
                self._forget(connection)

    async def _shake_hands(
        self, connection: HttpConnection, stream: TlsStream, is_introduced: bool, limits: Limits
    ) -> bool:
        """Do the handshake of TLS, behind the header of the PROXY protocol if there is one; false if there is none."""
        assert self._tls is not None
        if is_introduced and not await self._introduce(connection, stream.below):
            return False
        connection.await_handshake()
        problem = f"the handshake took more than {limits.handshake_timeout:g} s"
        try:
            with trio.move_on_after(limits.handshake_timeout):
                await stream.handshake(self._tls.context, connection.take_received(), self._handshakes)
                return True
        except HandshakeFailed as failure:
            problem = str(failure)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        if problem:
            self._telemetry.handshake_failed(connection.peer, problem)
        stream.abort()
        return False

    async def _introduce(self, connection: HttpConnection, stream: ByteStream) -> bool:
        """Read the header of the PROXY protocol; return false for a proxy that sends none."""
        assert self._proxies is not None
        received, problem = b"", f"no header of the PROXY protocol came within {PROXY_HEADER_SECONDS:g} s"
        try:
            with trio.move_on_after(PROXY_HEADER_SECONDS):
                while (header := parse_proxy_header(received)) is None:
                    chunk = await stream.receive_some()
                    if not chunk:
                        return False  # how proxies look whether a port is open
                    received += chunk
                peer = header.client or connection.peer
                is_proxy = self._proxies.trusts(peer)
                if not is_proxy and self._slots.is_full_for(peer) and not self._still_heard(connection, peer):
                    return False
                connection.introduce(peer, received[header.size :], self._proxies if is_proxy else None)
                return True
        except ProxyHeaderError as error:
            problem = str(error)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        self._telemetry.proxy_refused(connection.peer, problem)
        return False

    def _still_heard(self, connection: HttpConnection, peer: str) -> bool:
        """Whether a connection is served whose address turned out to have all its slots; it may just be told so."""
        excess = self._excess(peer, counts_address=True)
        if excess is None:
            return True
        self._slots.remove(connection)
        self._telemetry.connection_closed()
        if self._overflows(excess, peer):
            return False
        self._overflowing.add(connection)
        connection.restrict(self._listener_limits.vital_paths, too_many_connections(), _OVERFLOW_LIMITS)
        return True

    def _overflows(self, excess: str, peer: str) -> bool:
        """Tell of a connection over a cap; whether it cannot even be answered, because too many others are over one."""
        overflows = len(self._overflowing) >= self._max_overflowing
        self._telemetry.connection_refused("overflow" if overflows else excess, peer)
        return overflows

    def _report(self, failure: BaseExceptionGroup[Exception], peer: str) -> None:
        # `except*` wraps even a single exception in a group, which would only be noise in a log.
        lone = failure.exceptions[0] if len(failure.exceptions) == 1 else failure
        with suppress(Exception):  # a log that fails must not end the server
            self._on_error(lone, peer)

    def _forget(self, connection: HttpConnection) -> None:
        if self._slots.remove(connection):
            self._telemetry.connection_closed()
        self._overflowing.discard(connection)
        connection.let_go()
        if not (self._slots or self._overflowing):
            self._all_closed.set()
            self._all_closed = trio.Event()

    async def _until_all_closed(self) -> None:
        while self._slots or self._overflowing:
            await self._all_closed.wait()
