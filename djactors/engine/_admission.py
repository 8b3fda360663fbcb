"""Decides whether a client may open a session now: sessions and the rate of newcomers are bounded, each address has a
share of that rate, and a server that drains lets nobody in.

Most clients of a server that was restarted come back in the same second, for stock backoff sends nearly all of them at
5,000 ms. Each costs a token check and a look into the inbox. Those beyond the rate are answered 503 and try again,
while those who are in keep their latency. Those within the burst are let in a few at a time: a thousand at the same
moment would be one long turn of the loop, which everybody waits for; and one by one each would wake the loop and the
store's readers anew, which a few together do once.

The rate is shared as follows, so that one address cannot use it up and an office behind one address still gets in at
once when nobody else comes:

  * One bucket is for all newcomers. It holds the burst and, on top, a reserve of half as much.
  * Each address has a small bucket of its own. The emptier that one is, the more tokens must stay in the common one: an
    address that has used up its own must leave the whole reserve to others, and one that is new may take from it.
  * The last fifth of the reserve is for newcomers who are known: a good token came with the handshake, or somebody at
    their address has lately proved who they are. It is there against a crowd of addresses, such as the 65,536 networks
    that one IPv6 customer may own.
"""

from math import ceil, inf
from typing import Final, NamedTuple

import trio

from djactors.net import Timer, TokenBucket, TokenBuckets, host_of

# For clients and proxies that heed it; the stock clients keep to their own backoff.
RETRY_AFTER_SECONDS: Final = 5

AT_ONCE: Final = 16
"""Newcomers that are let in together: some four milliseconds of work."""

PACE: Final = 1600.0
"""Newcomers a second while many wait for their turn. They take less than half of a core, and the rest is for connected
clients. If the rate is set higher, the pace is as high as the rate."""


RESERVE: Final = 0.5
"""The part of the burst that is kept, on top of the burst, for addresses of which few come."""

KNOWN_RESERVE: Final = 0.2
"""The part of the reserve that only those take who are known."""

ADDRESS_SHARE: Final = 0.1
"""The part of the rate and of the burst that an address has for itself before it must leave the whole reserve to
others. Ten addresses have to flood at the same time before any other address feels them."""


class Excess(NamedTuple):
    """Why a newcomer is not let in, as a word for metrics, and in how many seconds to come again.

    `by_share` says that others would be let in: the newcomer's address has had its share.
    """

    reason: str
    retry_after: int = RETRY_AFTER_SECONDS
    by_share: bool = False


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

    __slots__ = ("_addresses", "_common", "_max_sessions", "_one", "_reserve", "_slice", "_slice_seconds", "open")

    def __init__(self, *, max_sessions: int, rate: float, burst: int) -> None:
        self._max_sessions = max_sessions
        self._reserve = burst * RESERVE
        # Trio's clock never shows less, so the bucket is full when the first comes.
        self._common = TokenBucket(rate, burst + self._reserve, now=0.0)
        own_burst = max(1.0, burst * ADDRESS_SHARE)
        self._addresses: TokenBuckets[str] = TokenBuckets(rate * ADDRESS_SHARE, own_burst)
        # One token, as a part of an address's bucket.
        self._one = 1.0 / own_burst
        self._slice_seconds = AT_ONCE / max(PACE, rate)
        # The latest slice.
        self._slice = Slice(-inf)
        self.open = True

    def refusal(self, sessions: int, now: float, peer: str, *, known: bool) -> Excess | None:
        """Admit one newcomer beside `sessions` others, or return why not: `draining`, `sessions`, `rate` or `share`."""
        if not self.open:
            return Excess("draining")
        if sessions >= self._max_sessions:
            return Excess("sessions")
        host = host_of(peer)
        light = max(0.0, self._addresses.fill(host, now) - self._one)
        for_known = 0.0 if known else self._reserve * KNOWN_RESERVE
        wait = self._common.take(now, leave=for_known + (self._reserve - for_known) * (1.0 - light))
        if wait == 0:
            # Whoever has used up their own bucket was let in with what others left.
            self._addresses.take(host, now)
            return None
        # There is still something in the common bucket for the first of another address.
        by_share = self._common.level(now) >= 1.0 + for_known
        return Excess("share" if by_share else "rate", max(1, ceil(wait)), by_share)

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
