"""How long the event loop was held up: its longest turns, which are the longest that any task waited for its own turn.

This is an instrument of Trio and not a task that sleeps and looks how late it is. An instrument sees every turn and not
a sample, wakes nobody up, and costs two reads of the clock a turn. It does not notice when the machine does not run the
process. For the same reasons the instrument tells when a second begins. The task that held the loop up is found by
`watchdog`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Final

import trio

WINDOW: Final = 60
"""Seconds that are remembered, each by its longest turn."""

RECENT: Final = 2
"""Seconds that count as now: an observer looks about once in them."""


def _nobody(_: float) -> None:
    pass


def _ignore(began: float, seconds: float) -> None:
    pass


class LoopLag(trio.abc.Instrument):
    """The longest turns of late. `timer` gives seconds of real time, whatever clock Trio runs under.

    Attributes:
        on_second: called with the time of the first turn in each second, before the turn; it must not raise.
    """

    def __init__(self, timer: Callable[[], float] = time.perf_counter) -> None:
        self._timer = timer
        self.on_second: Callable[[float], None] = _nobody
        self._told = 0
        # When the turn that is under way began; None between turns. Others read it from their threads.
        self.began: float | None = None
        # Told of each turn, by its beginning, that was longer than `limit`; must neither wait nor raise.
        self.limit = inf
        self.on_long_turn: Callable[[float, float], None] = _ignore
        # The second that is being filled, and the longest turn in it.
        self._second = int(timer())
        self._longest = 0.0
        # Each full second's, at its number modulo the window.
        self._seconds = [0] * WINDOW
        self._worst = [0.0] * WINDOW

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins: the tasks that are ready run."""
        began = self._timer()
        if int(began) != self._told:
            self._told = int(began)
            self.on_second(began)
            # What that took is no turn of anybody's.
            began = self._timer()
        self.began = began

    def before_io_wait(self, timeout: float) -> None:
        """The turn is over."""
        began, self.began = self.began, None
        if began is None:
            return
        now = self._timer()
        if int(now) != self._second:
            self._turn_page(int(now))
        spent = now - began
        if spent > self._longest:  # noqa: PLR1730 - a call would cost more than all the rest
            self._longest = spent
        if spent > self.limit:
            self.on_long_turn(began, spent)

    def worst(self, seconds: int = WINDOW) -> float:
        """The longest turn, in seconds, that ended in the last `seconds`, at most `WINDOW`; 0 where there was none."""
        oldest = int(self._timer()) - seconds
        kept = [worst for second, worst in zip(self._seconds, self._worst, strict=True) if second > oldest]
        return max([*kept, self._longest if self._second > oldest else 0.0])

    def now(self) -> float:
        """The time that `on_second` is told in."""
        return self._timer()

    def _turn_page(self, second: int) -> None:
        place = self._second % WINDOW
        self._seconds[place], self._worst[place] = self._second, self._longest
        self._second, self._longest = second, 0.0
