"""Fair shares of a scarce thing: rates with token buckets, and numbers with counts by address.

A token bucket bounds a rate: it holds `burst` tokens and gains `rate` a second; a request takes some, or is refused and
told when to come back. `TokenBuckets` has a bucket for each sender. `AddressCounts` bounds a number: of connections at
the listener, and of sessions at the engine. Sessions need counts of their own, because a session that polls has no
connection between its polls, so that a single connection can open any number of them. `ProvenAddresses` remembers the
addresses from which somebody has lately proved who they are.

Rules:
  * Nothing here reads a clock: the caller gives the time, in seconds of a clock that never goes back.
  * A request for more tokens than a bucket holds passes if the bucket is full, and leaves it in debt. So no request is
    impossible.
  * A table of buckets is bounded. Full buckets are forgotten first, because a full one is the same as a new one: a
    sender who has used up a bucket does not get a fresh one by bringing many other senders along.
  * What counts as one address is said in one place: `host_of`.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

MAX_BUCKETS: Final = 20_000
"""Buckets in one table, which take 4 MiB. There are never so many senders, because fewer connections are let in."""

_EVICTION_TRIES: Final = 8
"""Buckets that are looked at for a full one before a new bucket is made in a full table. They are the ones that were
quiet the longest, so that nearly always the first one is full."""

PROVEN_SECONDS: Final = 24 * 3600.0
"""The time for which an address stays proven: whoever worked yesterday is let in first after a restart of the network
this morning."""

MAX_PROVEN: Final = 20_000
"""Proven addresses that are remembered, 3 MiB: more than there are connections."""

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

    def level(self, now: float) -> float:
        """The tokens that it holds; below zero if it is in debt."""
        return min(self._burst, self._tokens + (now - self._at) * self._rate)

    def fill(self, now: float) -> float:
        """How full it is: 1.0 if it is full, 0.0 if it is empty or in debt."""
        return max(0.0, self.level(now) / self._burst)

    def take(self, now: float, tokens: float = 1.0, *, leave: float = 0.0) -> float:
        """Take tokens: 0.0 if they were there, else nothing was taken and they will be in so many seconds.

        `leave` is how many tokens must stay behind for others.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        missing = min(tokens + leave, self._burst) - self._tokens
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
                self._make_room(now)
            bucket = self._buckets[key] = TokenBucket(self._rate, self._burst, now)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now, tokens)

    def fill(self, key: Key, now: float) -> float:
        """How full the bucket of this key is. See `TokenBucket.fill`."""
        bucket = self._buckets.get(key)
        return 1.0 if bucket is None else bucket.fill(now)

    def _make_room(self, now: float) -> None:
        """Forget a full bucket; if none is found soon, the fullest of those that were looked at."""
        fullest, most = next(iter(self._buckets)), -1.0
        for _ in range(_EVICTION_TRIES):
            key = next(iter(self._buckets))
            fill = self._buckets[key].fill(now)
            if fill > most:
                fullest, most = key, fill
            if fill >= 1.0:
                break
            # It has its turn again after all others, so that those that are not full do not pile up in front.
            self._buckets.move_to_end(key)
        del self._buckets[fullest]


class ProvenAddresses:
    """The addresses from which somebody has proved who they are, each remembered for `PROVEN_SECONDS`.

    At most `MAX_PROVEN` are remembered; the one that was proved the longest ago is forgotten first.
    """

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, peer: str, now: float) -> None:
        """Somebody at this address has just proved who they are."""
        host = host_of(peer)
        self._until[host] = now + PROVEN_SECONDS
        self._until.move_to_end(host)
        if len(self._until) > MAX_PROVEN:
            self._until.popitem(last=False)

    def has(self, peer: str, now: float) -> bool:
        """Whether somebody at this address has done so lately."""
        return self._until.get(host_of(peer), now) > now


UNIX_PEER: Final = "unix"
"""What stands where a client's address stands otherwise, if it came by a Unix socket: such clients have none."""


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
