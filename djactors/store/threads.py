"""Where the store's work runs: on threads of its own in production, on the Trio thread under a virtual clock.

This is the active object pattern (POSA 2). Callers put *calls* into a bounded queue. An *executor* gives the calls to a
*servant* (the owner of one connection), as many at a time as the servant takes, and answers all of them together.

    task ── call() ──> turns ──> queue ──> servant.run(batch)          on the servant's thread
    task <────────── reschedule <── one run_sync_soon per batch       on the Trio thread
    task <───────────────────────── its bell, for a batch of one

Rules:

- The threads are given at most `under_way` calls at a time. The others wait on the Trio thread for their turn (see
  `turns`), so that the hundred calls of one caller keep another caller waiting for a few of them only. If the threads
  have room, a call goes straight to them.
- Everything that a servant owns is made, used and closed on its one thread.
- The calls that a servant was given are answered with one hop, once all of them are done: a write is answered after its
  commit. The writer takes one call at a time, so a caller that has much to write makes it one call.
- Where a servant takes one call at a time, the thread wakes the caller by its bell (see `bells`). A hop wakes a task of
  Trio's, which then wakes the caller: one more turn of the loop and two more system calls for each event that has a
  commit of its own.
- A cancelled caller leaves at once. Its call is dropped if no servant has taken it yet; otherwise the call runs, and
  its answer is dropped.
- There are threads of our own because `trio.to_thread` costs twice as much as a hop through our own queue.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import outcome
import trio

from djactors.store.bells import BELLS, Bells
from djactors.store.connection import Connection
from djactors.store.errors import (
    StoreBroken,
    StoreBusy,
    StoreClosed,
    StoreCrowded,
    StoreError,
    StoreUnavailable,
    twin,
)
from djactors.store.turns import Turn, Turns

__all__ = [
    "NOBODY",
    "READ_BATCH",
    "TURN_LIMIT",
    "Call",
    "DedicatedThreads",
    "Executor",
    "InlineRunner",
    "Report",
    "Servant",
    "ThreadFactory",
    "Work",
]

T = TypeVar("T")
Work = Callable[[Connection], T]

# Seconds without a call after which a servant tidies up. If this were shorter, each call of a slow trickle would pay
# for the tidying. If it were longer, the tidying would fall into the next burst.
_IDLE_SECONDS = 1.0

# Reads that are answered with one hop between threads. Compared with one read a hop, 3,000 users who connected as fast
# as they could were let in an eighth faster, for 7 to 14 % less CPU each. A slow read delays few others.
READ_BATCH = 8

# Calls of one turn that may wait. A person's fifty devices that all come back at once ask for an inbox and a list each.
TURN_LIMIT = 100

# The turn of calls that belong to nobody: the program's own.
NOBODY: Turn = (0, 0)


class Call(Generic[T]):
    """One piece of work and, after it has run, its value or its error."""

    __slots__ = ("bell", "done", "error", "report", "task", "value", "work")

    def __init__(self, work: Work[T], task: trio.lowlevel.Task | None = None, bell: int | None = None) -> None:
        self.work = work
        self.task = task  # who sleeps until it is done; None: nobody, or nobody any more
        self.bell = bell  # by which the sleeper is woken; None: by a hop
        self.report: Report | None = None  # comes with the bell
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None


class Report(msgspec.Struct, frozen=True):
    """What a servant did with the calls that it was given, for the statistics."""

    items: int = 0
    """Calls that succeeded."""
    failed: int = 0
    """Calls that raised an exception, or were not done because the storage failed."""
    seconds: float = 0.0
    error: StoreError | None = None
    """The failure of the storage; None if there was none."""
    retried: int = 0
    """How often calls were run again, because another node was in their way or the connection was lost."""


class Servant(Protocol):
    """Owns one connection; each method runs on its thread."""

    @property
    def batch_limit(self) -> int:
        """The most calls that the servant is given at once."""

    def open(self) -> None:
        """Make the connection. An error goes to the task that opens the executor."""

    def run(self, calls: Sequence[Call[Any]]) -> Report:
        """Run each call and set its `value` or `error`; never raises an `Exception`."""

    def after(self) -> Report | None:
        """Do what the callers need not wait for, after the batch was answered. Never raises."""

    def idle(self) -> Report | None:
        """Tidy up while no call is queued. Never raises."""

    def close(self) -> Report | None:
        """Close the connection. Never raises."""


class Executor(Protocol):
    """Runs calls on its servants."""

    @property
    def queued(self) -> int:
        """Calls that nobody took yet."""

    async def open(self) -> None:
        """Open the servants; if one fails, close the others and raise its error."""

    async def call(self, work: Work[T], turn: Turn = NOBODY) -> T:
        """Run the work on a servant and return what it returned, or raise what it raised.

        `turn` says whose work it is, by tenant and user say.

        Raises:
            StoreBusy: the queue is full; `StoreCrowded` where `TURN_LIMIT` calls of this turn wait already, or
                three quarters of all that may wait are of its group.
            StoreClosed: `close` was called.
        """

    async def close(self, timeout: float) -> None:
        """Refuse new calls, finish the queued ones, close the servants.

        Waits at most `timeout` seconds of real time and cannot be cancelled.

        Raises:
            StoreUnavailable: a thread did not finish in time; it is left behind.
        """


class ThreadFactory(Protocol):
    """Makes an executor: `DedicatedThreads` or `InlineRunner`."""

    def __call__(
        self,
        name: str,
        servants: Sequence[Servant],
        *,
        queue_limit: int,
        under_way: int,
        on_report: Callable[[Report], None],
    ) -> Executor:
        """Make an executor that is not open yet.

        Args:
            name: of the threads.
            servants: one for each thread; they share one queue.
            queue_limit: calls that may wait; one more raises `StoreBusy`.
            under_way: calls that the threads are given at a time; the others wait for their turn.
            on_report: called on the Trio thread before a batch is answered; must not raise.
        """


class DedicatedThreads:
    """A thread for each servant, all taking from one queue.

    The threads are daemons, because a thread that hangs in the disk must not keep a process alive that was told to
    exit. Nothing that such a thread was doing was acknowledged.
    """

    def __init__(
        self,
        name: str,
        servants: Sequence[Servant],
        *,
        queue_limit: int,
        under_way: int,
        on_report: Callable[[Report], None],
    ) -> None:
        self._queue_limit = queue_limit
        # How many more calls the threads may be given now. As long as there is room, none waits for its turn.
        self._room = under_way
        self._waiting: Turns[Call[Any]] = Turns()
        self._on_report = on_report
        # A bell wakes one caller, so it saves nothing where several are answered at once.
        alone = all(servant.batch_limit == 1 for servant in servants)
        self._bells: Bells[Report] = Bells(BELLS if alone else 0)
        # None tells one thread to stop, once everything that was queued before is done.
        self._queue: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._token: trio.lowlevel.TrioToken
        self._accepting = False
        self._opened: list[outcome.Maybe[None]] = []
        self._all_opened = trio.Event()
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(servant,),
                name=name if len(servants) == 1 else f"{name}-{index}",
                daemon=True,
            )
            for index, servant in enumerate(servants)
        ]

    @property
    def queued(self) -> int:
        """Calls that no thread took yet."""
        queued = self._queue.qsize()
        return queued if self._room > 0 else queued + len(self._waiting)

    async def open(self) -> None:
        """Start the threads and wait until each has opened its servant."""
        self._token = trio.lowlevel.current_trio_token()
        for thread in self._threads:
            thread.start()
        with trio.CancelScope(shield=True):
            await self._all_opened.wait()
        failures = [result for result in self._opened if isinstance(result, outcome.Error)]
        if failures:
            await self.close(_IDLE_SECONDS)
            failures[0].unwrap()
        self._accepting = True

    async def call(self, work: Work[T], turn: Turn = NOBODY) -> T:
        """See `Executor.call`."""
        if not self._accepting:
            raise StoreClosed("the store is closed")
        if self.queued >= self._queue_limit:
            raise StoreBusy(f"{self._queue_limit} calls are waiting for the store already")
        if self._room > 0:
            self._room -= 1
            call = Call(work, trio.lowlevel.current_task(), self._bells.take())
            self._queue.put(call)
        else:
            _require_room(self._waiting, turn, self._queue_limit)
            call = Call(work, trio.lowlevel.current_task())
            self._waiting.add(turn, call)
        if call.bell is not None:
            await self._heard(call, call.bell)
            if call.error is not None:
                raise call.error
            value: T = call.value
            return value

        def abort(_: object) -> trio.lowlevel.Abort:
            # Should a thread have it already, it runs unheard; otherwise it is dropped when its turn comes.
            call.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    async def _heard(self, call: Call[Any], bell: int) -> None:
        """Wait until the thread rings the bell, and note what it has done. Whoever is cancelled leaves as above."""
        try:
            await trio.lowlevel.wait_readable(bell)
        except BaseException:
            report = self._bells.leave(call, bell)
            if report is not None:
                self._note_done(1)
                self._on_report(report)
            raise
        self._bells.silence(bell)
        self._note_done(1)
        assert call.report is not None
        self._on_report(call.report)

    async def close(self, timeout: float) -> None:
        """See `Executor.close`."""
        self._accepting = False
        self._give(len(self._waiting))
        for _ in self._threads:
            self._queue.put(None)
        # The timeout is in real time, because a deadline under a mock clock would pass while the thread still works.
        with trio.CancelScope(shield=True):
            left = await trio.to_thread.run_sync(partial(_join, self._threads, timeout))
        self._bells.close()
        if left:
            raise StoreUnavailable(f"{', '.join(left)} did not finish within {timeout:g} s")

    def _serve(self, servant: Servant) -> None:
        """Open the servant, run calls until told to stop, close the servant. The body of one thread."""
        opened = outcome.capture(servant.open)
        self._hop(self._note_opened, opened)
        if isinstance(opened, outcome.Error):
            return
        worked = False
        stopping = False
        while not stopping:
            try:
                call = self._queue.get(timeout=_IDLE_SECONDS if worked else None)
            except queue.Empty:
                worked = False
                self._report(servant.idle())
                continue
            batch = []
            dropped = 0
            while True:
                if call is None:
                    stopping = True
                    break
                if call.task is not None:
                    batch.append(call)
                else:
                    dropped += 1
                if len(batch) == servant.batch_limit:
                    break
                try:
                    call = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                worked = True
                report = self._run(servant, batch)
                if not self._bells.ring(batch[0], report):
                    self._hop(self._answer, batch, report)
                self._report(servant.after())
            if dropped:
                self._hop(self._note_done, dropped)
        self._report(servant.close())

    @staticmethod
    def _run(servant: Servant, batch: list[Call[Any]]) -> Report:
        try:
            return servant.run(batch)
        except BaseException as error:  # noqa: BLE001 -- the thread's supervisor: nobody may wait for ever
            broken = StoreBroken(f"the store's thread failed: {error!r}")
            broken.__cause__ = error
            for call in batch:
                call.error = twin(broken)
            return Report(failed=len(batch), error=broken)

    def _report(self, report: Report | None) -> None:
        if report is not None:
            self._hop(self._on_report, report)

    def _hop(self, function: Callable[..., None], *args: Any) -> None:
        # If Trio has ended, so has every task that waited, and nobody is left to tell. If it ended by an error of its
        # own, its socket is closed, and the thread has to live on to close what the servant owns.
        with suppress(trio.RunFinishedError, OSError):
            self._token.run_sync_soon(function, *args)

    def _note_opened(self, opened: outcome.Maybe[None]) -> None:
        self._opened.append(opened)
        if len(self._opened) == len(self._threads):
            self._all_opened.set()

    def _answer(self, batch: list[Call[Any]], report: Report) -> None:
        # First, so that the threads have something to do meanwhile.
        self._note_done(len(batch))
        self._on_report(report)
        for call in batch:
            task = call.task
            if task is not None:
                call.task = None
                error = call.error
                trio.lowlevel.reschedule(task, outcome.Value(call.value) if error is None else outcome.Error(error))

    def _note_done(self, calls: int) -> None:
        """The threads have done with so many calls: those whose turn it is take their place."""
        was_full = self._room <= 0
        self._room += calls
        if was_full and self._waiting:
            self._give(min(self._room, len(self._waiting)))

    def _give(self, calls: int) -> None:
        self._room -= calls
        for _ in range(calls):
            self._queue.put(self._waiting.take())


def _require_room(waiting: Turns[Call[Any]], turn: Turn, queue_limit: int) -> None:
    if turn == NOBODY:
        return
    if waiting.waiting(turn) >= TURN_LIMIT:
        raise StoreCrowded(f"{TURN_LIMIT} calls of the same caller are waiting for the store already")
    # However many users a tenant has, it leaves a quarter of the queue to the others.
    if waiting.waiting_in(turn[0]) >= queue_limit - queue_limit // 4:
        raise StoreCrowded("three quarters of the calls that may wait for the store are of the same tenant already")


def _join(threads: Sequence[threading.Thread], timeout: float) -> list[str]:
    """Wait for the threads, `timeout` seconds in all. Returns the names of those that still run."""
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in threads if thread.is_alive()]


class InlineRunner:
    """Runs the calls on the Trio thread, one checkpoint after they were made. Without threads a seed decides the order.

    It is for simulations and tests, because the event loop stands still while SQLite works. Only the first servant is
    used. Calls that are made in the same tick of the scheduler wait together, as they would for a thread.
    """

    def __init__(
        self,
        name: str,
        servants: Sequence[Servant],
        *,
        queue_limit: int,
        under_way: int,
        on_report: Callable[[Report], None],
    ) -> None:
        self._servant = servants[0]
        self._queue_limit = queue_limit
        self._on_report = on_report
        self._waiting: Turns[Call[Any]] = Turns()
        self._accepting = False

    @property
    def queued(self) -> int:
        """Calls that were not run yet."""
        return len(self._waiting)

    async def open(self) -> None:
        """Open the servant."""
        await trio.lowlevel.checkpoint()
        self._servant.open()
        self._accepting = True

    async def call(self, work: Work[T], turn: Turn = NOBODY) -> T:
        """See `Executor.call`."""
        if not self._accepting:
            raise StoreClosed("the store is closed")
        if len(self._waiting) >= self._queue_limit:
            raise StoreBusy(f"{self._queue_limit} calls are waiting for the store already")
        _require_room(self._waiting, turn, self._queue_limit)
        call = Call(work)
        self._waiting.add(turn, call)
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            if not call.done:
                self._waiting.remove(turn, call)
            raise
        while not call.done:
            self._run_batch()
        if call.error is not None:
            raise call.error
        result: T = call.value
        return result

    async def close(self, timeout: float) -> None:
        """Run what is queued and close the servant. `timeout` has no meaning here."""
        if not self._accepting:
            return
        self._accepting = False
        while self._waiting:
            self._run_batch()
        report = self._servant.close()
        if report is not None:
            self._on_report(report)
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()

    def _run_batch(self) -> None:
        batch = [self._waiting.take() for _ in range(min(len(self._waiting), self._servant.batch_limit))]
        for call in batch:
            call.done = True
        self._on_report(self._servant.run(batch))
        report = self._servant.after()
        if report is not None:
            self._on_report(report)
