"""A wall clock that does not believe a jump which the monotonic clock contradicts.

    agree ──── the wall clock is off by more than TOLERANCE ────► doubt ──── it is right again ────► agree
      ▲                                                             │
      └──────── it has gone evenly for AGREEMENT since: adopted ────┘

What is told, taken out of an inbox or purged by a clock that is weeks ahead for a minute is lost for good; what waits a
few minutes is not. So in doubt the time goes on as the monotonic clock counts it from where both clocks agreed last.

Rules:
  * A step of up to `TOLERANCE` is followed at once, forwards and backwards: a time server has set a clock that was off
    by minutes, or somebody has done so by hand. Several small steps count together: within `AGREEMENT` no more than
    `TOLERANCE` in all is followed.
  * A larger one is followed once the wall clock has kept to it for `AGREEMENT`: somebody has set a clock that was far
    off, or a virtual machine was paused. A wall clock that jumps again meanwhile has to prove itself anew.
  * The sleep of a computer is no jump: the machine's monotonic clock counts it (`MONOTONIC`).
  * A new process has no monotonic clock of the old one. Where the newest stored time is more than `LONG_DOWN` ago,
    nobody can tell a long pause from a wrong clock: times are the wall clock's, but nothing falls due before it has
    gone evenly for `AGREEMENT`. Should it jump towards the stored time meanwhile, it has been set right, and is
    followed at once.
  * Nothing expires and nothing is purged in doubt, nor until `SETTLING` has passed since a clock was adopted or a start
    such as the one above.
  * Tokens expire by this clock, and are valid once they were issued by this or by the wall clock.
  * Each doubt is told once as it begins, with the figures of both clocks, and once as it ends.

May be asked from any thread. It costs about a microsecond, and `seconds` half of that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any, TypeAlias

from djactors.domain.times import WALL_CLOCK

TOLERANCE = 300.0
"""Seconds. A time server steps a clock by minutes at most, and an alert that is so much early harms nobody."""

AGREEMENT = 600.0
"""Seconds. A clock that was set wrong by mistake is noticed and set right sooner, as everything on the machine shows
it. The pause of a virtual machine costs no more than alerts that are so much late."""

SETTLING = 3600.0
"""Seconds. What retention does cannot be undone, and nobody minds that it comes an hour later."""

LONG_DOWN = timedelta(days=1)
"""A server is seldom down for longer, and seldom does nothing happen for longer."""

MONOTONIC: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""The machine's clock that nobody sets, in seconds. On Linux it counts the time that the machine sleeps as well."""


Tell: TypeAlias = Callable[..., object]
"""Where it is told what the clocks do: a log. It is given an event and its facts, by name, from any thread."""


def _ignore(_: str, **__: Any) -> None:
    """Nobody listens."""


class SteadyClock:
    """The wall clock's aware time, as far as the monotonic clock bears it out. See the module for the rules.

    Args:
        wall: the wall clock, as an aware time.
        monotonic: seconds of a clock that nobody sets.
        tell: is told of each doubt, and of its end.
    """

    def __init__(
        self, wall: Callable[[], datetime], monotonic: Callable[[], float] = MONOTONIC, tell: Tell = _ignore
    ) -> None:
        self._wall = wall
        self._seconds = time.time if wall is WALL_CLOCK else lambda: wall().timestamp()
        self._monotonic = monotonic
        self._tell = tell
        self._lock = Lock()
        ticks = monotonic()
        # What the wall clock is ahead of the monotonic one, in Unix time, as long as they agree.
        self._offset = self._anchor = wall().timestamp() - ticks
        # The anchor is what steps are measured from. It is set anew, to what was followed, at this moment.
        self._anchor_until = ticks + AGREEMENT
        # What it is ahead in doubt, and since when.
        self._doubted: tuple[float, float] | None = None
        # From when on what is due may be told, and what is old may go.
        self._due_from = self._settled_from = ticks
        # The newest stored time, as long as it speaks against the wall clock that this process has started with.
        self._last_seen: datetime | None = None

    def __call__(self) -> datetime:
        """The time, in UTC."""
        moment = self._wall()
        ticks = self._monotonic()
        offset = self._seconds() - ticks
        if self._agrees(ticks, offset):
            return moment
        with self._lock:
            return self._judge(moment, ticks, offset)

    def seconds(self) -> float:
        """The time in seconds of Unix time."""
        moment = self._seconds()
        ticks = self._monotonic()
        offset = moment - ticks
        if self._agrees(ticks, offset):
            return moment
        return self().timestamp()

    def _agrees(self, ticks: float, offset: float) -> bool:
        """Whether the wall clock is to be followed without a closer look, which it nearly always is."""
        if self._doubted is not None or not -TOLERANCE <= offset - self._anchor <= TOLERANCE:
            return False
        if ticks >= self._anchor_until:
            return False
        self._offset = offset
        return True

    def begin(self, last_seen: datetime | None) -> None:
        """Compare with the newest time that is stored, at the start of a process; None where nothing is."""
        moment = self()
        if last_seen is None:
            return
        if moment - last_seen > LONG_DOWN:
            self._wait_from(self._monotonic())
            self._last_seen = last_seen
            self._tell(
                "the newest stored time is long ago: was the server down, or is the wall clock ahead? "
                "alerts wait, and nothing expires, until the clock has gone evenly for a while",
                wall_clock=moment.isoformat(),
                newest_stored=last_seen.isoformat(),
                alerts_wait_seconds=AGREEMENT,
                expiry_waits_seconds=SETTLING,
            )
        elif (last_seen - moment).total_seconds() > TOLERANCE:
            self._tell(
                "stored times lie in the future: the wall clock was ahead before, or is behind now; "
                "`djactors check` says what they are",
                wall_clock=moment.isoformat(),
                newest_stored=last_seen.isoformat(),
            )

    def may_fall_due(self) -> bool:
        """Whether what is due by this clock may be told. In doubt it may: the time goes on without the jump."""
        return self._monotonic() >= self._due_from

    def is_settled(self) -> bool:
        """Whether what is old by this clock may go for good."""
        self()  # notices a jump, or its end
        return self._doubted is None and self._monotonic() >= self._settled_from

    def _judge(self, moment: datetime, ticks: float, offset: float) -> datetime:
        ahead = offset - self._anchor
        if self._last_seen is not None:
            if ticks >= self._settled_from:
                self._last_seen = None
            elif abs(moment - self._last_seen) < abs(self._by_monotonic(ticks) - self._last_seen) and (
                self._doubted is not None or not -TOLERANCE <= ahead <= TOLERANCE
            ):
                self._note("the wall clock was set right: it is followed at once", moment, ticks, ahead)
                self._doubted = None
                self._follow(offset, ticks)
                if moment - self._last_seen > LONG_DOWN:
                    self._wait_from(ticks)
                else:
                    self._last_seen = None
                    self._due_from = self._settled_from = ticks
                return moment
        if -TOLERANCE <= ahead <= TOLERANCE:
            if self._doubted is not None:
                self._doubted = None
                self._note("the wall clock agrees with the monotonic clock again", moment, ticks, ahead)
            if ticks >= self._anchor_until:
                self._follow(offset, ticks)
            self._offset = offset
            return moment
        if self._doubted is None:
            self._doubted = offset, ticks
            self._note(
                "the wall clock jumped, and the monotonic clock did not: time goes on as the monotonic clock counts "
                "it, and nothing expires, until they agree or the wall clock has gone evenly for a while",
                moment,
                ticks,
                ahead,
            )
        elif not -TOLERANCE <= offset - self._doubted[0] <= TOLERANCE:
            self._doubted = offset, ticks
        elif ticks - self._doubted[1] >= AGREEMENT:
            self._doubted = None
            self._settled_from = ticks + SETTLING
            self._note("the wall clock has gone evenly since it jumped: it is followed now", moment, ticks, ahead)
            self._follow(offset, ticks)
            return moment
        return self._by_monotonic(ticks)

    def _follow(self, offset: float, ticks: float) -> None:
        """Go by the wall clock, and measure steps from here."""
        self._offset = self._anchor = offset
        self._anchor_until = ticks + AGREEMENT

    def _by_monotonic(self, ticks: float) -> datetime:
        return datetime.fromtimestamp(ticks + self._offset, UTC)

    def _wait_from(self, ticks: float) -> None:
        self._due_from, self._settled_from = ticks + AGREEMENT, ticks + SETTLING

    def _note(self, event: str, moment: datetime, ticks: float, ahead: float) -> None:
        self._tell(
            event,
            wall_clock=moment.isoformat(),
            monotonic_seconds=round(ticks, 3),
            by_monotonic=self._by_monotonic(ticks).isoformat(),
            ahead_seconds=round(ahead, 3),
            agreement_seconds=AGREEMENT,
        )
