"""The bounded queue in front of an actor.

Rules:

- **A full mailbox refuses.** `put_nowait` raises `MailboxFull` and the sender decides what that means; `put` waits
  for room, which is backpressure. Nothing is ever dropped or overwritten to make room.
- **Waiting senders are served in order**, and nobody overtakes them: as soon as the reader takes something, the items
  that have waited longest move in, in the same step. So a sender waits only while the mailbox is full.
- **One reader.** A second task that reads at the same time gets `trio.BusyResourceError`.
- **Cancellation is exact.** If `put` raises `Cancelled`, the item is not in the mailbox; if `receive` raises
  `Cancelled`, nothing has been taken.
- **Closing is one-sided.** A closed mailbox takes nothing more, but the items in it can still be read.

Everything happens in the thread of one Trio run. A sender puts the item into a list and wakes the reader, and the
reader takes the list when it runs. So a burst of items becomes one batch.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio
from outcome import Value
from trio.lowlevel import Abort, RaiseCancelT, Task

from djactors.kernel._errors import MailboxClosed, MailboxFull
from djactors.kernel._statistics import MailboxStatistics

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A bounded first-in first-out queue with many senders and one reader.

    Args:
        capacity: how many items fit; at least 1.
    """

    __slots__ = (
        "_capacity",
        "_closed",
        "_high_water",
        "_items",
        "_reader",
        "_refused",
        "_senders",
        "_wanted",
        "received",
    )

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, not {capacity}")
        self._capacity = capacity
        # A deque would take 700 bytes even when empty, and there are as many mailboxes as users.
        self._items: list[T] = []
        self._closed = False
        # The task that waits, or what is called in its place.
        self._reader: Task | Callable[[], None] | None = None
        # How many items the reader waits for.
        self._wanted = 1
        # Tasks waiting for room, longest first, each with its item; made when the first one has to wait.
        self._senders: OrderedDict[Task, T] | None = None
        # How many items were put in, and how many the receiver took without the mailbox, which counts them here.
        self.received = 0
        self._refused = 0
        self._high_water = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Whether the mailbox takes nothing more."""
        return self._closed

    def statistics(self) -> MailboxStatistics:
        """A snapshot of the mailbox, for a dashboard."""
        return MailboxStatistics(
            depth=len(self._items),
            capacity=self._capacity,
            high_water=self._high_water,
            received=self.received,
            refused=self._refused,
            waiting_senders=len(self._senders) if self._senders else 0,
        )

    @property
    def awaited(self) -> bool:
        """Whether the mailbox is empty and the reader waits for an item, or has left word."""
        return self._reader is not None and not self._items

    # Senders

    def offer(self, item: T) -> bool:
        """Put the item in if there is room, and say whether there was.

        Raises:
            MailboxClosed: the mailbox takes nothing more.
        """
        if self._closed:
            raise MailboxClosed
        items = self._items
        if len(items) >= self._capacity:
            return False
        items.append(item)
        self.received += 1
        depth = len(items)
        if depth > self._high_water:  # noqa: PLR1730 - a call would cost as much as all the rest
            self._high_water = depth
        if self._reader is not None and depth >= self._wanted:
            self._wake_reader()
        return True

    def put_nowait(self, item: T) -> None:
        """Put the item in, or refuse it and count the refusal.

        Raises:
            MailboxFull: there is no room.
            MailboxClosed: the mailbox takes nothing more.
        """
        if not self.offer(item):
            self._refused += 1
            raise MailboxFull

    async def put(self, item: T) -> None:
        """Put the item in, waiting for room behind the senders that wait already.

        A checkpoint. If it raises `Cancelled`, the item is not in the mailbox.

        Raises:
            MailboxClosed: the mailbox takes nothing more, or was closed while the sender waited.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.offer(item):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        if self._senders is None:
            self._senders = OrderedDict()
        senders = self._senders
        task = trio.lowlevel.current_task()
        senders[task] = item

        def abort(_: RaiseCancelT) -> Abort:
            del senders[task]
            return Abort.SUCCEEDED

        if await trio.lowlevel.wait_task_rescheduled(abort) is MailboxClosed:
            raise MailboxClosed

    # The reader

    async def receive(self) -> T:
        """Take the first item, waiting until there is one.

        A checkpoint. If it raises `Cancelled`, nothing has been taken.

        Raises:
            MailboxClosed: the mailbox is closed and empty.
            trio.BusyResourceError: another task is reading.
        """
        return (await self.receive_batch(1))[0]

    async def receive_batch(self, limit: int) -> list[T]:
        """Wait until there is an item, then take the items that are there, up to `limit`, without waiting for more.

        A checkpoint. If it raises `Cancelled`, nothing has been taken.

        Raises:
            MailboxClosed: the mailbox is closed and empty.
            trio.BusyResourceError: another task is reading.
        """
        if self._items:
            await trio.lowlevel.checkpoint_if_cancelled()
            batch = self.receive_batch_nowait(limit)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return batch
        while not self._items:
            await self.wait_for_item()
        return self.receive_batch_nowait(limit)

    def peek(self, skipped: int) -> list[T]:
        """The items that are there behind the first so many; they stay there. Any thread may ask."""
        return self._items[skipped:]

    def receive_batch_nowait(self, limit: int) -> list[T]:
        """Take the items that are there, up to `limit`; there may be none."""
        items = self._items
        if len(items) <= limit:
            batch, self._items = items, []
        else:
            batch = items[:limit]
            del items[:limit]
        if self._senders:
            self._admit_senders()
        return batch

    async def wait_for_item(self) -> None:
        """Wait until there is an item to read, or a nudge. If there is an item, return at once, without a checkpoint.

        Raises:
            MailboxClosed: the mailbox is closed and empty.
            trio.BusyResourceError: another task is reading.
        """
        if self._items:
            return
        if self._closed:
            raise MailboxClosed
        await self._wait()
        if not self._items and self._closed:
            raise MailboxClosed

    def leave_word(self, callback: Callable[[], None]) -> None:
        """Instead of waiting for an item: have `callback` called once, when there is one, or a nudge, or no more to
        come. It may be called at once, and from inside any call of a sender, so it must neither block nor raise.
        """
        self._reader = callback
        if self._items or self._closed:
            self._wake_reader()

    def take_word_back(self) -> None:
        """Do not call what was left with `leave_word`."""
        self._reader = None

    async def wait_for_more(self, count: int) -> None:
        """Wait until there are `count` items, or the mailbox is full, or is closed, or the reader is nudged.

        If there are that many items, return at once, without a checkpoint.

        Raises:
            trio.BusyResourceError: another task is reading.
        """
        count = min(count, self._capacity)
        if self._closed or len(self._items) >= count:
            return
        self._wanted = count
        try:
            await self._wait()
        finally:
            self._wanted = 1

    # The owner of the mailbox

    def nudge(self) -> None:
        """Wake the reader, though there may be nothing to read."""
        if self._reader is not None:
            self._wake_reader()

    def close(self) -> None:
        """Take nothing more. Waiting senders get `MailboxClosed`, and so does the reader once the mailbox is empty."""
        if self._closed:
            return
        self._closed = True
        if self._senders:
            for task in self._senders:
                trio.lowlevel.reschedule(task, Value(MailboxClosed))
            self._senders.clear()
        if self._reader is not None:
            self._wake_reader()

    def reopen(self) -> None:
        """Take items again after a `close`."""
        self._closed = False

    def drain(self) -> list[T]:
        """Take out everything at once. The items of waiting senders move in, unless the mailbox was closed first."""
        return self.receive_batch_nowait(self._capacity)

    def _wait(self) -> Awaitable[object]:
        """Become the reader, and return what to wait for. A coroutine in between would take 230 bytes an actor."""
        if self._reader is not None:
            raise trio.BusyResourceError("another task is reading this mailbox")
        self._reader = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._leave)  # noqa: ASYNC105 - the caller awaits it

    def _leave(self, _: RaiseCancelT) -> Abort:
        self._reader = None
        return Abort.SUCCEEDED

    def _wake_reader(self) -> None:
        reader, self._reader = self._reader, None
        assert reader is not None
        if isinstance(reader, Task):
            trio.lowlevel.reschedule(reader)
        else:
            reader()

    def _admit_senders(self) -> None:
        assert self._senders is not None
        room = self._capacity - len(self._items)
        for _ in range(min(room, len(self._senders))):
            task, item = self._senders.popitem(last=False)
            self._items.append(item)
            self.received += 1
            trio.lowlevel.reschedule(task)
