"""How fast one sender may go: token buckets, for a socket and for each address.

A bucket holds `burst` tokens and gains `rate` a second; a request takes some, or is refused and told when to come back.

Rules:
  * Pure: the time is handed in, as seconds of a clock that never goes back.
  * A request that is larger than a whole bucket passes when the bucket is full, and leaves it in debt: no request is
    impossible.
  * The table of addresses is bounded. The one that was quiet the longest is forgotten first; once quiet for
    `burst / rate` seconds, its bucket was as full as a new one.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

from djactors.domain.errors import Code, Refused

MAX_ADDRESSES = 20_000
"""Buckets kept, 4 MiB: more addresses than connections are let in at a time."""

MAX_REFUSALS = 100
"""Refusals in a row after which a socket is closed. A page that listens stops at the first; one that loops would have
each answered for ever."""


_ROUNDING = 1e-6
"""Of a token, that may be missing: who waited as long as was said is not refused for the last bit of a float."""


class TooManyRequests(Refused):
    """The sender goes too fast; it may come back in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = max(1, ceil(retry_after))
        super().__init__(Code.TOO_MANY_REQUESTS, f"too many requests: try again in {self.retry_after} s")


class TokenBucket:
    """The tokens of one sender.

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


class AddressLimit:
    """A bucket for each address, at most `max_addresses` of them."""

    def __init__(self, rate: float, burst: float, max_addresses: int = MAX_ADDRESSES) -> None:
        self._rate = rate
        self._burst = burst
        self._max_addresses = max_addresses
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def check(self, address: str, now: float, tokens: float = 1.0) -> None:
        """Take tokens from the address's bucket.

        Raises:
            TooManyRequests: they are not there.
        """
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= self._max_addresses:
                self._buckets.popitem(last=False)
            bucket = self._buckets[address] = TokenBucket(self._rate, self._burst, now)
        else:
            self._buckets.move_to_end(address)
        wait = bucket.take(now, tokens)
        if wait > 0:
            raise TooManyRequests(wait)
