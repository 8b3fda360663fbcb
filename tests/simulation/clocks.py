"""The virtual clock of a simulated run, which jumps from one thing that is due to the next, and the wall clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from math import inf
from typing import Any

import trio
from trio.testing import MockClock

START = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)


class Courier:
    """Does things at their time, in order: what is due together happens in the order in which it was asked for.

    No task of Trio does this, since half of all turns of the loop would be its own. It is done where the clock jumps,
    when all tasks wait for something.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, moment: float, action: Callable[[], None]) -> None:
        """Have something done. It must not block, nor raise anything."""
        self._count += 1
        heappush(self._due, (moment, self._count, action))

    @property
    def next_due(self) -> float:
        """When the next thing is due."""
        return self._due[0][0] if self._due else inf

    def deliver(self, now: float) -> None:
        """Do all that is due."""
        due = self._due
        while due and due[0][0] <= now:
            heappop(due)[2]()


def virtual_clock(courier: Courier) -> MockClock:
    """Trio's own clock for tests, which jumps to whatever is due next: a deadline, or an action of the courier's.

    Trio asks a clock for the time several times in each turn, so that this one answers without looking at a real clock.
    """
    # It takes nothing but a MockClock as one that jumps, and that class cannot be derived from.
    clock: Any = MockClock(autojump_threshold=0)

    def jump() -> None:
        deadlines = trio._core._run.GLOBAL_RUN_CONTEXT.runner.deadlines  # type: ignore[attr-defined]
        moment = min(deadlines.next_deadline(), courier.next_due)
        if moment == inf:
            return
        now = clock._virtual_base = max(moment, clock._virtual_base)
        # Trio would look at the deadlines in its next turn only.
        deadlines.expire(now)
        courier.deliver(now)

    clock._autojump = jump
    clock.current_time = lambda: clock._virtual_base
    found: MockClock = clock
    return found


class WallClock:
    """The wall clock of all machines: it goes as the virtual one does, and is set."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> datetime:
        return START + timedelta(seconds=trio.current_time() + self.ahead)
