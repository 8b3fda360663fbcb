"""A token bucket: so many at once, and so many a second in the long run.

A bucket holds `burst` tokens and gains `rate` a second; a request takes some, or is refused and told when to come back.

Rules:
  * Pure: the time is handed in, as seconds of a clock that never goes back.
  * A request that is larger than a whole bucket passes when the bucket is full, and leaves it in debt: no request is
    impossible.
"""

from typing import Final

_ROUNDING: Final = 1e-6
"""Of a token, that may be missing: a sender who waited as long as was said is not refused for a float's last bit."""


class TokenBucket:
    """The tokens of one sender, or of all together.

    Args:
        rate: tokens gained in a second.
        burst: tokens that it holds at most, and at first.
        now: seconds.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, tokens: float = 1.0) -> float:
        """Take tokens: 0.0 if they were there, else nothing was taken and they will be in so many seconds."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        missing = min(tokens, self._burst) - self._tokens
        if missing > _ROUNDING:
            return missing / self._rate
        self._tokens -= tokens
        return 0.0
