"""How fast one sender may go: what a sender is told who goes too fast, and a token bucket for each address.

The table of addresses is bounded. The one that was quiet the longest is forgotten first; once quiet for `burst / rate`
seconds, its bucket was as full as a new one.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

from djactors.domain.errors import Code, Refused
from djactors.net import TokenBucket

MAX_ADDRESSES = 20_000
"""Buckets kept, 4 MiB: more addresses than connections are let in at a time."""

MAX_REFUSALS = 100
"""Refusals in a row after which a socket is closed. A page that listens stops at the first; one that loops would have
each answered for ever."""


class TooManyRequests(Refused):
    """The sender goes too fast; it may come back in `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = max(1, ceil(retry_after))
        super().__init__(Code.TOO_MANY_REQUESTS, f"too many requests: try again in {self.retry_after} s")


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
