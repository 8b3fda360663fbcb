"""The store's executor of a simulation: no threads, and a disk that takes its time.

As `DedicatedThreads`, servants take calls from one queue, work beside the event loop, and answer with a hop. The loop
goes on while a servant waits for the disk, before and after its work, for as long as the seed says; the work itself
happens in one moment on the Trio thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import outcome
import trio

from djactors.store.errors import StoreBusy, StoreClosed
from djactors.store.threads import NOBODY, Call, Report, Servant, Work
from djactors.store.turns import Turn

T = TypeVar("T")

IDLE_SECONDS = 1.0
PAUSES = (0.0, 0.0, 0.0002, 0.002, 0.02)
"""Seconds that a servant waits before or after its work, mostly."""
SLOW = 0.3
"""Seconds of a disk that is busy with others."""


class SimulatedThreads:
    """A `ThreadFactory`: what it makes runs in the nursery, and draws from `random`."""

    def __init__(self, nursery: trio.Nursery, random: Random) -> None:
        self._nursery = nursery
        self._random = random

    def __call__(
        self,
        name: str,
        servants: Sequence[Servant],
        *,
        queue_limit: int,
        under_way: int,
        on_report: Callable[[Report], None],
    ) -> SimulatedExecutor:
        """See `ThreadFactory`."""
        return SimulatedExecutor(name, servants, self._nursery, self._random, queue_limit, on_report)


class SimulatedExecutor:
    """See the module."""

    def __init__(
        self,
        name: str,
        servants: Sequence[Servant],
        nursery: trio.Nursery,
        random: Random,
        queue_limit: int,
        on_report: Callable[[Report], None],
    ) -> None:
        self._name = name
        self._servants = servants
        self._nursery = nursery
        self._random = random
        self._queue_limit = queue_limit
        self._on_report = on_report
        self._queue: deque[Call[Any]] = deque()
        self._news = trio.Event()
        self._accepting = False
        self._scope = trio.CancelScope()
        self._working = 0
        self._at_rest = trio.Event()

    @property
    def queued(self) -> int:
        """Calls that nobody took yet."""
        return len(self._queue)

    async def open(self) -> None:
        """Open the servants."""
        await trio.lowlevel.checkpoint()
        opened: list[Servant] = []
        try:
            for servant in self._servants:
                servant.open()
                opened.append(servant)
        except BaseException:
            for servant in opened:
                servant.close()
            raise
        self._accepting = True
        for servant in self._servants:
            self._nursery.start_soon(self._serve, servant, name=self._name)

    async def call(self, work: Work[T], turn: Turn = NOBODY) -> T:
        """See `Executor.call`."""
        if not self._accepting:
            raise StoreClosed("the store is closed")
        if len(self._queue) >= self._queue_limit:
            raise StoreBusy(f"{self._queue_limit} calls are waiting for the store already")
        call = Call(work, trio.lowlevel.current_task())

        def abort(_: object) -> trio.lowlevel.Abort:
            call.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._queue.append(call)
        self._wake()
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    async def close(self, timeout: float) -> None:
        """Run what is queued and close the servants; `timeout` has no meaning here."""
        if not self._accepting:
            return
        self._accepting = False
        self._wake()
        with trio.CancelScope(shield=True):
            while self._working:
                await self._at_rest.wait()

    async def _serve(self, servant: Servant) -> None:
        self._working += 1
        with trio.CancelScope(shield=True):
            await self._work(servant)
        report = servant.close()
        if report is not None:
            self._on_report(report)
        self._working -= 1
        if not self._working:
            self._at_rest.set()
            self._at_rest = trio.Event()

    async def _work(self, servant: Servant) -> None:
        worked = False
        while self._queue or self._accepting:
            if not self._queue:
                with trio.move_on_after(IDLE_SECONDS if worked else float("inf")):
                    await self._news.wait()
                    continue
                worked = False
                self._report(servant.idle())
                continue
            await self._pause()
            batch = []
            while self._queue and len(batch) < servant.batch_limit:
                call = self._queue.popleft()
                if call.task is not None:
                    batch.append(call)
            if not batch:
                continue
            worked = True
            report = servant.run(batch)
            await self._pause()
            self._on_report(report)
            for call in batch:
                task, call.task = call.task, None
                if task is not None:
                    error = call.error
                    trio.lowlevel.reschedule(task, outcome.Value(call.value) if error is None else outcome.Error(error))
            self._report(servant.after())

    async def _pause(self) -> None:
        """The disk takes its time. A store that closes does not wait for it any more."""
        seconds = SLOW * self._random.random() if self._random.random() < 0.01 else self._random.choice(PAUSES)
        if self._accepting:
            await trio.sleep(seconds)

    def _report(self, report: Report | None) -> None:
        if report is not None:
            self._on_report(report)

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()
