"""The two bounded queues of a client: what came in and waits for the caller, and what waits to be sent."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from djactors.protocol import EncodedPacket

T = TypeVar("T")


YIELD_AFTER = 16
"""Items that one task may take in a row before the others have their turn."""


class Inbound(Generic[T]):
    """What waits for the caller, bounded by count and by bytes.

    What crosses a bound is kept, so that nothing that was received is lost; then `is_full`, and the owner brings no
    more.
    """

    __slots__ = ("_bytes", "_end", "_in_a_row", "_items", "_max_bytes", "_max_items", "_waiting")

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items, self._max_bytes = max_items, max_bytes
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._end: Callable[[], Exception] | None = None
        # Items that were taken without a wait.
        self._in_a_row = 0
        # Woken at every change. Nothing lies between a look at the queue and the wait, so no change is missed.
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def is_full(self) -> bool:
        """Whether a bound has been reached."""
        return len(self._items) >= self._max_items or self._bytes >= self._max_bytes

    def put(self, item: T, size: int = 0) -> None:
        """Add what takes so many bytes."""
        self._items.append((item, size))
        self._bytes += size
        self._wake()

    def finish(self, end: Callable[[], Exception]) -> None:
        """Bring no more; who has taken everything gets the exception."""
        if self._end is None:
            self._end = end
            self._wake()

    async def get(self) -> T:
        """The next one. Cancelling this takes nothing."""
        self._in_a_row = self._in_a_row + 1 if self._items else 0
        if self._in_a_row % YIELD_AFTER:
            # Whoever takes many at once gives the others their turn now and then: a turn for each item costs more.
            await trio.lowlevel.checkpoint_if_cancelled()
        elif self._items:
            await trio.lowlevel.checkpoint()
        # Another task may have taken what was there meanwhile.
        while not self._items:
            if self._end is not None:
                await trio.lowlevel.checkpoint()
                raise self._end()
            await self._waiting.park()
        item, size = self._items.popleft()
        self._bytes -= size
        self._wake()
        return item

    async def wait_for_room(self) -> None:
        """Wait until at most half of each bound is taken."""
        await trio.lowlevel.checkpoint()
        while len(self._items) * 2 > self._max_items or self._bytes * 2 > self._max_bytes:
            await self._waiting.park()

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.unpark_all()


class Outbox:
    """What waits to be sent by one session, bounded by packets and by bytes.

    Args:
        max_packets, max_bytes: the bounds.
        start: is called when something waits and there is no writer. A writer goes on while there is more.
    """

    __slots__ = (
        "_bytes", "_closed", "_has_writer", "_max_bytes", "_max_packets", "_packets", "_start", "_waiting",
        "is_writing",
    )  # fmt: skip

    def __init__(self, max_packets: int, max_bytes: int, start: Callable[[], None]) -> None:
        self._max_packets, self._max_bytes, self._start = max_packets, max_bytes, start
        self._has_writer = False
        self._packets: deque[EncodedPacket] = deque()
        self._bytes = 0
        self._closed = False
        # Woken at every change. Nothing lies between a look at the queue and the wait, so no change is missed.
        self._waiting = trio.lowlevel.ParkingLot()
        # Whether a write is under way, so that an empty queue is not yet all sent.
        self.is_writing = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nobody writes."""
        return not self._has_writer and not self._packets

    def put_nowait(self, packet: EncodedPacket, *, start: bool = True) -> None:
        """Add a packet of the protocol itself, which is small and rare. Without `start`, somebody has to `claim`."""
        if self._closed:
            return
        self._packets.append(packet)
        self._bytes += packet.size
        if start and self.claim():
            self._start()

    def claim(self) -> bool:
        """Whether something waits and nobody writes; then the caller has to write."""
        if self._has_writer or not self._packets:
            return False
        self._has_writer = True
        return True

    async def put(self, packet: EncodedPacket) -> bool:
        """Wait for room, then add a packet; False if the session ended instead. Cancelled, it has added nothing."""
        await trio.lowlevel.checkpoint()
        while not self._closed and self._packets and not self._has_room_for(packet):
            await self._waiting.park()
        if self._closed:
            return False
        self.put_nowait(packet)
        return True

    def take(self, max_bytes: int, max_packets: int) -> list[EncodedPacket]:
        """Take what fits into one write: at least one packet, unless there is none."""
        taken: list[EncodedPacket] = []
        size = count = 0
        while self._packets:
            first = self._packets[0]
            # The polling form of bytes is a third larger, and a separator stands between two packets.
            size += (first.size if not first.attachments else len(first.payload)) + 1
            count += first.packet_count
            if taken and (size > max_bytes or count > max_packets):
                break
            taken.append(self._packets.popleft())
            self._bytes -= first.size
        self.is_writing = bool(taken)
        self._wake()
        return taken

    def has_more(self) -> bool:
        """Whether there is something to send; a writer that is told that there is not must end."""
        self._has_writer = bool(self._packets)
        return self._has_writer

    def written(self) -> None:
        """The write is done."""
        self.is_writing = False
        self._wake()

    async def flush(self) -> None:
        """Wait until everything was written."""
        while (self._packets or self.is_writing) and not self._closed:
            await self._waiting.park()

    def close(self) -> None:
        """The session has ended: wake who waits."""
        self._closed = True
        self._wake()

    def _has_room_for(self, packet: EncodedPacket) -> bool:
        return len(self._packets) < self._max_packets and self._bytes + packet.size <= self._max_bytes

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.unpark_all()
