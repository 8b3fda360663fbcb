"""Fair shares of a scarce thing: rates with token buckets, and numbers with counts by address.

A token bucket bounds a rate: it holds `burst` tokens and gains `rate` tokens a second. A request takes some tokens, or
is refused and learns when to come back. `TokenBuckets` has a bucket for each sender. `AddressCounts` counts connections
for the listener and sessions for the engine. Sessions need counts of their own: a session that polls has no connection
between its polls, so a single connection could open any number of sessions.

Rules:
  * Nothing here reads a clock: the caller gives the time, in seconds of a clock that never goes back.
  * A request for more tokens than a bucket holds passes if the bucket is full, and leaves it in debt. So no request is
    impossible.
  * A table of buckets is bounded. The bucket that was quiet the longest is forgotten first. After `burst / rate` quiet
    seconds a bucket is as full as a new one, so nothing is lost.
  * `host_of` alone decides what counts as one address.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

MAX_BUCKETS: Final = 20_000
"""Buckets in one table, which take 4 MiB. There are never so many senders, because fewer connections are let in."""

_ROUNDING: Final = 1e-6
"""The part of a token that may be missing. A sender that waited exactly as long as it was told must not be refused
because of a float's last bit."""

Key = TypeVar("Key", bound=Hashable)


class TokenBucket:
    """The tokens of one sender, or of all senders together.

    Args:
        rate: tokens gained in a second.
        burst: tokens that the bucket holds at most, and in the beginning.
        now: the present time in seconds.
    """

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, now: float, tokens: float = 1.0) -> float:
        """Take tokens and return 0.0. If there are too few, take none and return the seconds until there are enough."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        missing = min(tokens, self._burst) - self._tokens
        if missing > _ROUNDING:
            return missing / self._rate
        self._tokens -= tokens
        return 0.0


class TokenBuckets(Generic[Key]):
    """A bucket for each key, such as an address. `rate` and `burst` are those of each bucket."""

    __slots__ = ("_buckets", "_burst", "_max_buckets", "_rate")

    def __init__(self, rate: float, burst: float, max_buckets: int = MAX_BUCKETS) -> None:
        self._rate = rate
        self._burst = burst
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[Key, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Key, now: float, tokens: float = 1.0) -> float:
        """Take tokens from the bucket of this key. See `TokenBucket.take`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max_buckets:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now, tokens)


class AddressCounts:
    """The number of capped things, such as connections, that each address has. A peer is an IP address as text."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __getitem__(self, peer: str) -> int:
        return self._counts.get(host_of(peer), 0)

    def add(self, peer: str) -> None:
        """Count one more."""
        host = host_of(peer)
        self._counts[host] = self._counts.get(host, 0) + 1

    def remove(self, peer: str) -> None:
        """Count one less. Each call undoes one earlier `add`."""
        host = host_of(peer)
        self._counts[host] -= 1
        if not self._counts[host]:
            del self._counts[host]


def host_of(peer: str) -> str:
    """The address under which a peer is counted: for IPv6 the /64, because one host owns all of it (RFC 6177).

    An IPv4 address that is mapped into IPv6 counts as the IPv4 address.
    """
    if ":" not in peer:
        return peer
    packed = socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntoa(packed[12:])
    return packed[:8].hex()
