"""A network in memory: sockets in pairs, bytes that take their time, and connections that break in every way.

A `SimulatedSocket` does what a non-blocking TCP socket does, so that the server's own `SocketStream` runs over it; only
waiting for it goes by `waiting_for_sockets`, which teaches `trio.lowlevel` about these. Everything that is drawn (how
long a piece takes, where it is cut in two) is drawn from the seed.

What is modelled: latency, pieces of any size, windows that fill, FIN, RST, a direction that stands still or swallows
everything, a peer that is not told that the other side is gone, a machine that is switched off. What is not: loss and
reordering inside TCP, backlogs, DNS.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import trio

from djactors.net import ByteStream, SocketStream
from tests.simulation.clocks import Courier

LATENCIES = (0.0002, 0.001, 0.005, 0.03)
"""Seconds that a piece takes on the way; a connection has one of them, and each piece takes half to twice as long."""

WINDOW = 32 * 1024
"""Bytes that are on the way or unread at most, in each direction."""

PIECE = 8 * 1024


class SimulatedSocket:
    """One end of a connection."""

    def __init__(self, network: SimulatedNetwork, name: str, number: int, latency: float) -> None:
        self.name = name
        self.number = number
        self.other: SimulatedSocket
        self.latency = latency
        # Nothing gets through to this end any more, or from it; nor is it told of the other's end.
        self.deaf = False
        # What comes for this end waits until this moment.
        self.held_until = 0.0
        # Bytes that this end takes in at a time and in all: a slow reader has little.
        self.window = WINDOW
        self._kept: list[Callable[[], None]] = []
        self._network = network
        self._received = bytearray()
        self._under_way = 0
        self._arrives = 0.0
        self._ended = False
        self._reset = False
        self._closed = False
        self._shut = False
        self._resets_on_close = False
        self._interruptions = 0
        self._waiting = trio.lowlevel.ParkingLot()

    # What a socket has.

    def fileno(self) -> int:
        return -1 if self._closed else 1_000_000 + self.number

    def setblocking(self, _: bool) -> None:
        pass

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if option == socket.SO_LINGER:
            self._resets_on_close = True

    def send(self, data: Any) -> int:
        if self._reset or self._closed or self._shut:
            raise OSError(errno.ECONNRESET if self._reset else errno.EPIPE, "the connection is gone")
        other = self.other
        room = self._room
        if room <= 0:
            raise BlockingIOError
        taken = bytes(data[:room])
        self._network.told("sent", self, taken)
        if other.deaf:
            return len(taken)
        random = self._network.random
        rest = taken
        while rest:
            size = len(rest) if len(rest) < 2 or random.random() < 0.8 else random.randrange(1, len(rest))
            piece, rest = rest[: min(size, PIECE)], rest[min(size, PIECE) :]
            other._under_way += len(piece)
            self._post(lambda piece=piece: other._arrive(piece))
        return len(taken)

    def recv(self, size: int) -> bytes:
        if self._received:
            data = bytes(self._received[:size])
            del self._received[:size]
            self.other._notify()
            return data
        if self._reset:
            raise ConnectionResetError(errno.ECONNRESET, "reset by the peer")
        if self._ended:
            return b""
        raise BlockingIOError

    def recv_into(self, _buffer: Any, _size: int = 0, _flags: int = 0) -> int:
        return len(self.recv(1 << 18))

    def shutdown(self, _how: int) -> None:
        if self._reset:
            raise OSError(errno.ENOTCONN, "not connected")
        if not self._shut:
            self._shut = True
            self._post(self.other._end)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._network.told("closed", self, b"")
        if self._resets_on_close or self._received or self._under_way:
            self._post(self.other._break)
        elif not self._shut:
            self._post(self.other._end)
        self._received.clear()
        self._notify()

    # What happens to it.

    def reset(self) -> None:
        """The connection is gone at this end, at once; the other is told."""
        self._break()
        self._post(self.other._break)

    def lose(self) -> None:
        """The connection is gone at this end; the other is not told."""
        self._break()

    def forget(self) -> None:
        """The connection is gone at this end, and whatever was on its way."""
        self._break()
        self.deaf = True

    def cut(self) -> None:
        """This end hears of an end in good order, and the other one, too."""
        self._end()
        self._post(self.other._end)

    def vanish(self) -> None:
        """This end is gone, and nobody is told. What is sent to it later is answered with a reset."""
        self._closed = True
        self.deaf = True
        self.other.deaf = True
        self._notify()

    def refuse_later(self, seconds: float) -> None:
        """The other end hears in a while that this one is gone."""
        self._network.courier.at(trio.current_time() + seconds, self.other._break)

    @property
    def usable(self) -> bool:
        return not (self._closed or self._reset)

    async def wait_readable(self) -> None:
        await self._wait(self._is_readable)

    async def wait_writable(self) -> None:
        await self._wait(self._is_writable)

    def _is_readable(self) -> bool:
        return bool(self._received) or self._ended or self._reset

    def _is_writable(self) -> bool:
        return self._reset or self._room > 0

    async def _wait(self, is_ready: Callable[[], bool]) -> None:
        interruptions = self._interruptions
        if is_ready():
            # Others have a turn all the same, as they have where the kernel is asked.
            await trio.lowlevel.checkpoint()
        while not is_ready():
            if self._closed or self._interruptions != interruptions:
                raise trio.ClosedResourceError("another task closed this socket")
            await self._waiting.park()

    def interrupt(self) -> None:
        """Whoever waits for it hears that it is closed: `trio.lowlevel.notify_closing`."""
        self._interruptions += 1
        self._notify()

    @property
    def _room(self) -> int:
        """Bytes that can be sent now."""
        return self.other.window - self.other._under_way - len(self.other._received)

    def _notify(self) -> None:
        self._waiting.unpark_all()

    def _post(self, action: Callable[[], None]) -> None:
        """On its way to the other end: in order, and no faster than what was sent before."""
        now = trio.current_time()
        moment = now + self.latency * self._network.random.uniform(0.5, 2.0)
        self._arrives = max(self._arrives, moment)
        self._network.courier.at(self._arrives, lambda: self.other._take(action))

    def _take(self, action: Callable[[], None]) -> None:
        if not self._kept and self.held_until <= trio.current_time():
            action()
            return
        self._kept.append(action)
        if len(self._kept) == 1:
            self._network.courier.at(self.held_until, self._release)

    def _release(self) -> None:
        """It stands still no more, unless it was made to meanwhile."""
        if self.held_until > trio.current_time():
            self._network.courier.at(self.held_until, self._release)
            return
        kept, self._kept = self._kept, []
        for action in kept:
            action()

    def _arrive(self, piece: bytes) -> None:
        self._under_way -= len(piece)
        if self.deaf:
            return
        if self._closed:
            # As the kernel answers for a socket that nobody has any more.
            self.other._break()
            return
        self._received += piece
        self._notify()

    def _end(self) -> None:
        if not self.deaf:
            self._ended = True
            self._notify()

    def _break(self) -> None:
        if not self.deaf:
            self._reset = True
            self._received.clear()
            self._notify()
            self.other._notify()


class _Incoming:
    def __init__(self, connected: SimulatedSocket, peer: str) -> None:
        self.peer = peer
        self._socket = connected

    def open(self, nursery: trio.Nursery, *, max_buffered: int, send_timeout: float) -> ByteStream:
        socket_: Any = self._socket
        return SocketStream(socket_, nursery, max_buffered=max_buffered, send_timeout=send_timeout)

    def close(self) -> None:
        self._socket.close()


class Door:
    """Where one server takes its connections from. It is a `djactors.net.Door` and a `djactors.net.Network` of one."""

    def __init__(self) -> None:
        self.address = ("127.0.0.1", 3000)
        self.sockets: list[SimulatedSocket] = []
        self.is_open = False
        self.was_open = False
        self._waiting: list[_Incoming] = []
        self._news = trio.Event()

    async def listen(self, host: str, port: int) -> list[Door]:
        await trio.lowlevel.checkpoint()
        self.is_open = self.was_open = True
        return [self]

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if not self.is_open:
                raise trio.ClosedResourceError("the door is closed")
            await self._news.wait()

    def accept(self) -> _Incoming:
        if not self._waiting:
            raise BlockingIOError
        return self._waiting.pop(0)

    def close(self) -> None:
        self.is_open = False
        self._notify()

    def arrive(self, connected: SimulatedSocket, peer: str) -> None:
        self.sockets = [each for each in self.sockets if each.usable]
        self.sockets.append(connected)
        self._waiting.append(_Incoming(connected, peer))
        self._notify()

    def _notify(self) -> None:
        self._news.set()
        self._news = trio.Event()


Told = Callable[[str, SimulatedSocket, bytes], None]


class SimulatedNetwork:
    """All connections. `door` is the server that is up, if one is; `told` is told of every piece that is sent."""

    def __init__(self, random: Random, told: Told, courier: Courier) -> None:
        self.random = random
        self.told = told
        self.courier = courier
        self.door: Door | None = None
        self._count = 0

    async def connect(self, name: str, peer: str) -> SimulatedSocket:
        """A connection to the server.

        Raises:
            OSError: it is not up.
        """
        latency = self.random.choice(LATENCIES)
        await trio.sleep(latency * 2)
        door = self.door
        if door is None or not door.is_open:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
        self._count += 1
        client = SimulatedSocket(self, f"{name}<", self._count, latency)
        server = SimulatedSocket(self, f"{name}>", self._count, latency)
        client.other, server.other = server, client
        door.arrive(server, peer)
        return client

    def kill(self, door: Door) -> None:
        """The process is gone: the kernel closes all that it had."""
        self.door = None
        door.is_open = False
        for each in door.sockets:
            if each.usable:
                each.reset()

    def forget(self, door: Door) -> None:
        """All that is on its way from there is lost."""
        for each in door.sockets:
            each.other.forget()

    def unplug(self, door: Door, until: float) -> None:
        """The machine is gone: nobody is told before it is up again, and not everybody then."""
        self.door = None
        door.is_open = False
        for each in door.sockets:
            if each.usable:
                each.vanish()
                each.other.deaf = False
                each.refuse_later(max(0.0, until - trio.current_time()) + self.random.uniform(0.0, 20.0))


@contextmanager
def waiting_for_sockets() -> Iterator[None]:
    """Inside the block Trio waits for simulated sockets as for any other."""
    lowlevel = trio.lowlevel
    readable, writable, closing = lowlevel.wait_readable, lowlevel.wait_writable, lowlevel.notify_closing

    async def wait_readable(sock: Any) -> None:
        await (sock.wait_readable() if isinstance(sock, SimulatedSocket) else readable(sock))

    async def wait_writable(sock: Any) -> None:
        await (sock.wait_writable() if isinstance(sock, SimulatedSocket) else writable(sock))

    def notify_closing(sock: Any) -> None:
        if isinstance(sock, SimulatedSocket):
            sock.interrupt()
        else:
            closing(sock)

    lowlevel.wait_readable, lowlevel.wait_writable, lowlevel.notify_closing = (
        wait_readable,
        wait_writable,
        notify_closing,
    )
    try:
        yield
    finally:
        lowlevel.wait_readable, lowlevel.wait_writable, lowlevel.notify_closing = readable, writable, closing
