"""Decides whether a client may open a session now: sessions and the rate of newcomers are bounded, and a server that
drains lets nobody in.

After a restart, most clients come back in the same second, because the stock backoff sends nearly all of them at
5,000 ms. Each newcomer costs work, such as a token check. Newcomers beyond the rate get a 503 and try again, so that
connected clients keep their latency. Newcomers within the burst are let in a few at a time. A thousand at the same
moment would be one long turn of the loop, for which everybody waits. One at a time would wake the loop and the store's
readers for each of them, and a few together wake them only once.
"""

from math import inf
from typing import Final

import trio

from djactors.net import Timer, TokenBucket

# For clients and proxies that heed it; the stock clients keep to their own backoff.
RETRY_AFTER_SECONDS: Final = 5

AT_ONCE: Final = 16
"""Newcomers that are let in together: some four milliseconds of work."""

PACE: Final = 1600.0
"""Newcomers a second while many wait for their turn. They take less than half of a core, and the rest is for connected
clients. If the rate is set higher, the pace is as high as the rate."""


class Slice:
    """Newcomers whose turn comes at the same moment. The heartbeat keeps one timer for all of them."""

    __slots__ = ("_gate", "left", "moment", "timer")

    def __init__(self, moment: float) -> None:
        self.moment = moment
        # How many more newcomers may join this slice.
        self.left = AT_ONCE
        self.timer: Timer | None = None
        self._gate = trio.Event()

    @property
    def next_deadline(self) -> float:
        """The time of the slice's turn; infinity once it has come."""
        return inf if self._gate.is_set() else self.moment

    def tick(self, now: float) -> None:
        """Let the newcomers in, because their turn has come."""
        self._gate.set()

    async def wait(self) -> None:
        """Wait until the turn comes."""
        await self._gate.wait()


class Admission:
    """Lets in `rate` sessions a second, `burst` at once after a quiet time, and `max_sessions` in all."""

    __slots__ = ("_bucket", "_max_sessions", "_slice", "_slice_seconds", "open")

    def __init__(self, *, max_sessions: int, rate: float, burst: int) -> None:
        self._max_sessions = max_sessions
        # Trio's clock never shows less than 0, so the bucket is full when the first newcomer comes.
        self._bucket = TokenBucket(rate, burst, now=0.0)
        self._slice_seconds = AT_ONCE / max(PACE, rate)
        # The latest slice.
        self._slice = Slice(-inf)
        self.open = True

    def refusal(self, sessions: int, now: float) -> str | None:
        """Admit one newcomer beside `sessions` others, or return why not: `draining`, `sessions` or `rate`."""
        if not self.open:
            return "draining"
        if sessions >= self._max_sessions:
            return "sessions"
        return "rate" if self._bucket.take(now) > 0 else None

    def turn(self, now: float) -> Slice | None:
        """Take the next turn and return its slice; None if the turn is now.

        The caller must schedule the slice with the heartbeat. `refusal` bounds how many newcomers wait for a turn: the
        burst, and as many as the rate adds.
        """
        if now >= self._slice.moment + self._slice_seconds:
            self._slice = Slice(now)
        elif not self._slice.left:
            self._slice = Slice(self._slice.moment + self._slice_seconds)
        self._slice.left -= 1
        return self._slice if self._slice.moment > now else None
