"""Who may open a session now: a bound on their number, a bounded rate of newcomers, nobody while the server drains.

Most clients of a server that was restarted come back in the same second, for stock backoff sends nearly all of them at
5,000 ms. Each costs a token check and a look into the inbox. Those beyond the rate are answered 503 and try again,
while those who are in keep their latency. Those within the burst are let in a few at a time: a thousand at the same
moment would be one long turn of the loop, which everybody waits for; and one by one each would wake the loop and the
store's readers anew, which a few together do once.
"""

from math import inf
from typing import Final

# For clients and proxies that heed it; the stock clients keep to their own backoff.
RETRY_AFTER_SECONDS: Final = 5

AT_ONCE: Final = 16
"""Newcomers who are let in together: some five milliseconds of work."""

PACE: Final = 1600.0
"""Newcomers a second while many wait for their turn: half of what one core can do, the rest is for those who are in."""

_SLICE_SECONDS: Final = AT_ONCE / PACE


class Admission:
    """Lets in `rate` sessions a second, `burst` at once after a quiet time, and `max_sessions` in all."""

    __slots__ = ("_burst", "_max_sessions", "_rate", "_slice_at", "_slice_left", "_tokens", "_updated", "open")

    def __init__(self, *, max_sessions: int, rate: float, burst: int) -> None:
        self._max_sessions = max_sessions
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._updated = 0.0
        # When those are let in whose turn is next, and how many more may join them.
        self._slice_at = -inf
        self._slice_left = 0
        self.open = True

    def refusal(self, sessions: int, now: float) -> str | None:
        """Admit one newcomer beside `sessions` others, or return why not: `draining`, `sessions` or `rate`."""
        if not self.open:
            return "draining"
        if sessions >= self._max_sessions:
            return "sessions"
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1:
            return "rate"
        self._tokens -= 1
        return None

    def turn(self, now: float) -> float:
        """Take the next turn; how many seconds it is away. At most the burst, and what the rate adds, wait for one."""
        if now >= self._slice_at + _SLICE_SECONDS:
            self._slice_at, self._slice_left = now, AT_ONCE
        elif not self._slice_left:
            self._slice_at, self._slice_left = self._slice_at + _SLICE_SECONDS, AT_ONCE
        self._slice_left -= 1
        return max(0.0, self._slice_at - now)
