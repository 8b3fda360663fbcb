"""Who may open a session now: a bound on their number, a bounded rate of newcomers, nobody while the server drains.

Most clients of a server that was restarted come back in the same second, for stock backoff sends nearly all of them at
5,000 ms. Each costs a token check and a look into the inbox. Those beyond the rate are answered 503 and try again,
while those who are in keep their latency. Those within the burst are let in a few at a time: a thousand at the same
moment would be one long turn of the loop, which everybody waits for; and one by one each would wake the loop and the
store's readers anew, which a few together do once.
"""

from math import inf
from typing import Final

import trio

from djactors.net import Timer, TokenBucket

# For clients and proxies that heed it; the stock clients keep to their own backoff.
RETRY_AFTER_SECONDS: Final = 5

AT_ONCE: Final = 16
"""Newcomers who are let in together: some four milliseconds of work."""

PACE: Final = 1600.0
"""Newcomers a second while many wait for their turn: less than half of a core, the rest is for those who are in. Who
sets a higher rate has the pace follow it."""


class Slice:
    """Newcomers whose turn is at the same moment, for whom the heartbeat keeps the time: one timer for all of them."""

    __slots__ = ("_gate", "left", "moment", "timer")

    def __init__(self, moment: float) -> None:
        self.moment = moment
        # How many more may join.
        self.left = AT_ONCE
        self.timer: Timer | None = None
        self._gate = trio.Event()

    @property
    def next_deadline(self) -> float:
        """When it is their turn; infinity once it was."""
        return inf if self._gate.is_set() else self.moment

    def tick(self, now: float) -> None:
        """It is."""
        self._gate.set()

    async def wait(self) -> None:
        """Wait for the turn."""
        await self._gate.wait()


class Admission:
    """Lets in `rate` sessions a second, `burst` at once after a quiet time, and `max_sessions` in all."""

    __slots__ = ("_bucket", "_max_sessions", "_slice", "_slice_seconds", "open")

    def __init__(self, *, max_sessions: int, rate: float, burst: int) -> None:
        self._max_sessions = max_sessions
        # Trio's clock never shows less, so the bucket is full when the first comes.
        self._bucket = TokenBucket(rate, burst, now=0.0)
        self._slice_seconds = AT_ONCE / max(PACE, rate)
        # The last that anybody has joined.
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
        """Take the next turn; None if it is now. At most the burst, and what the rate adds, wait for one.

        It is for the caller to have the heartbeat keep the time of the slice.
        """
        if now >= self._slice.moment + self._slice_seconds:
            self._slice = Slice(now)
        elif not self._slice.left:
            self._slice = Slice(self._slice.moment + self._slice_seconds)
        self._slice.left -= 1
        return self._slice if self._slice.moment > now else None
