"""Names what held the event loop up for long: the task, and the line of ours that was being executed.

While one task computes, or waits for a file, everybody else waits for it. `LoopLag` knows how long each turn took, but
only once it is over. So a thread looks now and then, and if the turn has already lasted for a while, it remembers where
the loop is. If the turn proves to be a long one, that is told.

    loop    ├─ turn ─┤  ├──────── a turn of 160 ms ────────┤  ──► LoopLag: it was long ──► told with the last sight
    thread     look          look: it has just begun   look again: it lasts, seen

Rules:
  * A turn is long from `LONG_SECONDS` on. A turn that long is looked at at least once after its first half.
  * There is at most one entry in `EVERY_SECONDS`. It names the longest turn since the entry before, and says how many
    long turns there were.
  * It costs a thread that wakes up 12 times a second, and looks at the stack only where a turn lasts: 0.05 % of a core.
    At 30 events a second this is less than one wake-up for every two events.
  * What the thread sees is a sample: of a turn of many short steps it is one of them. Nothing is seen where the thread
    did not run either, because the machine was asleep or busy with others.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import FrameType
from typing import Final

import trio

from djactors.loop_lag import LoopLag
from djactors.telemetry import Telemetry

LONG_SECONDS: Final = 0.1
"""A turn that people notice: together with the network it makes an answer feel late."""

LASTS_SECONDS: Final = LONG_SECONDS / 2
"""A turn that has lasted this long may become a long one, so it is looked at."""

LOOK_SECONDS: Final = 0.08
"""Between two looks: less than `LONG_SECONDS`, with room for a thread that wakes up late. Whoever looks at a turn that
does not last yet looks again once it does."""

EVERY_SECONDS: Final = 60.0
"""The least time between two entries: somebody who mends the first needs no more."""

MAX_FRAMES: Final = 100
"""How far a stack is looked through for a line of ours, beginning with the innermost call."""

_PARENT: Final = Path(__file__).parent.parent
_HOME: Final = f"{Path(__file__).parent}{os.sep}"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the loop was seen at.

    Attributes:
        task: the name of the task; None where no task ran, or it could not be seen.
        line: the innermost line of ours; None where there is none.
        innermost: the innermost line of all, which may be a library's.
    """

    task: str | None
    line: str | None
    innermost: str


@dataclass(slots=True)
class _Long:
    """The long turns since the last entry."""

    times: int = 0
    longest: float = 0.0
    sight: Sight | None = None


class Watchdog:
    """Looks after one event loop.

    Args:
        lag: the instrument of the loop.
        telemetry: where it tells and counts.
        timer: seconds of real time; the one of `lag`.
        frames: the innermost frame of each thread, by the thread's number.
    """

    def __init__(
        self,
        lag: LoopLag,
        telemetry: Telemetry,
        *,
        timer: Callable[[], float] = time.perf_counter,
        frames: Callable[[], Mapping[int, FrameType]] = sys._current_frames,
    ) -> None:
        self._lag = lag
        self._log = telemetry.log
        self._counter = telemetry.metrics.long_turns
        self._timer = timer
        self._frames = frames
        self._thread_of_loop = threading.get_ident()
        # What was seen of the last turn that lasted, which is named by its beginning.
        self._seen: tuple[float, Sight] | None = None
        self._long = _Long()
        self._told_at = -inf

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the loop of this thread, from inside it, for the length of the block."""
        self._thread_of_loop = threading.get_ident()
        token = trio.lowlevel.current_trio_token()
        # Held as long as the block is entered. To wait for a lock takes a fifth of what it takes to wait for an event.
        ending = threading.Lock()
        ending.acquire()

        def work() -> None:
            while not ending.acquire(timeout=self.until_next_look()):
                if self.look():
                    try:
                        token.run_sync_soon(self.tell, idempotent=True)
                    except trio.RunFinishedError:
                        return

        self._lag.limit, self._lag.on_long_turn = LONG_SECONDS, self._note
        # A daemon, so that nothing waits for it where the loop ends in another way than by leaving the block.
        threading.Thread(target=work, name="djactors-watchdog", daemon=True).start()
        try:
            yield
        finally:
            ending.release()
            self._lag.limit = inf

    def look(self) -> bool:
        """Look once, on any thread; return whether there is something to tell."""
        turn = self._lag.began
        if turn is not None and self._timer() - turn >= LASTS_SECONDS:
            frame = self._frames().get(self._thread_of_loop)
            # If the turn has ended meanwhile, what was seen may be of another one.
            if frame is not None and self._lag.began == turn:
                self._seen = turn, seen_in(frame)
        return self._long.times > 0 and self._timer() - self._told_at >= EVERY_SECONDS

    def until_next_look(self) -> float:
        """Seconds until the turn that is under way will last, if it does not last yet; `LOOK_SECONDS` otherwise."""
        turn = self._lag.began
        left = 0.0 if turn is None else turn + LASTS_SECONDS - self._timer()
        # A little later, since a look that comes a moment too early would see nothing.
        return left + LASTS_SECONDS / 10 if left > 0 else LOOK_SECONDS

    def tell(self) -> None:
        """Tell of the long turns since the last time. To be called on the loop's thread."""
        long, self._long = self._long, _Long()
        if not long.times:
            return
        self._told_at = self._timer()
        sight = long.sight or Sight(None, None, "not seen")
        self._log.warning(
            "the event loop was held up",
            seconds=round(long.longest, 3),
            task=sight.task,
            line=sight.line,
            innermost=sight.innermost,
            times=long.times,
        )

    def _note(self, began: float, seconds: float) -> None:
        """A long turn is over: on the loop's thread."""
        self._counter.inc()
        self._long.times += 1
        if seconds > self._long.longest:
            seen = self._seen
            self._long.longest = seconds
            self._long.sight = seen[1] if seen is not None and seen[0] == began else None


def seen_in(innermost: FrameType) -> Sight:
    """What the stack of the loop's thread says, given its innermost frame."""
    line = task = None
    frame: FrameType | None = innermost
    for _ in range(MAX_FRAMES):
        if frame is None:
            break
        if frame.f_code is _RUN:
            # Trio itself, between two tasks, is no task's doing.
            task = None if frame is innermost else getattr(frame.f_locals.get("task"), "name", None)
            break
        if line is None and frame.f_code.co_filename.startswith(_HOME):
            line = _place(frame)
        frame = frame.f_back
    return Sight(task, line, _place(innermost))


_RUN: Final = trio._core._run.unrolled_run.__code__
"""Trio's own loop, whose variable `task` is the task that runs. An instrument would have to be called at each step to
know it. A test finds out if a new Trio has no such variable."""


def _place(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(_PARENT) if path.is_relative_to(_PARENT) else Path(*path.parts[-2:])
    return f"{shown}:{frame.f_lineno} in {frame.f_code.co_qualname}"
