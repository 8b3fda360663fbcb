"""Deadlines that are set all the time and rarely come: of asks, of idle actors, of connections between requests.

A cancel scope for each deadline was a seventh of the cost of an event. Here, setting a deadline puts the waiter into a
bucket, and clearing the deadline takes the waiter out again. One task sleeps until the next bucket is due.

Rules:
  * A deadline is late, never early, by at most `Alarms.RESOLUTION` or `1 / Alarms.SHARE` of its length, whichever is
    less.
  * Whoever sets a deadline gets the bucket: `bucket.pop(waiter, None)` clears the deadline. The bucket then no longer
    refers to the waiter.
  * `expire` is called in the middle of that one task: it must neither block nor raise.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil, inf
from typing import Final, Protocol, TypeAlias

import trio


class Waiter(Protocol):
    """An object with a deadline."""

    def expire(self) -> None:
        """Act on the deadline, which has come. This must neither block nor raise."""


Bucket: TypeAlias = dict[Waiter, None]
"""All waiters of one moment. `bucket.pop(waiter, None)` clears the waiter's deadline."""


class Alarms:
    """Deadlines that one `run` watches. Nothing expires while `run` does not run."""

    RESOLUTION: Final = 0.25
    """The seconds by which a deadline may be late. Nobody can tell 15 from 15.25 seconds of waiting, and the buckets
    stay few."""

    SHARE: Final = 16
    """A deadline is late by at most its own length divided by this, so that short deadlines are more exact."""

    __slots__ = ("_buckets", "_moments", "_sooner")

    def __init__(self) -> None:
        self._buckets: dict[float, Bucket] = {}
        self._moments: list[float] = []
        self._sooner = trio.Event()

    def set(self, waiter: Waiter, seconds: float) -> Bucket:
        """Have `waiter` expire in `seconds` or a little more, unless it is taken out of the returned bucket first."""
        return self.set_at(waiter, trio.current_time(), seconds)

    def set_at(self, waiter: Waiter, now: float, seconds: float) -> Bucket:
        """The same, for a caller who knows what time it is."""
        step = min(self.RESOLUTION, seconds / self.SHARE) or self.RESOLUTION
        moment = ceil((now + seconds) / step) * step
        bucket = self._buckets.get(moment)
        if bucket is None:
            bucket = self._buckets[moment] = {}
            heappush(self._moments, moment)
            if self._moments[0] == moment:
                self._sooner.set()
        bucket[waiter] = None
        return bucket

    async def run(self) -> None:
        """Expire each waiter when its deadline comes, until cancelled."""
        while True:
            self._sooner = trio.Event()
            with trio.move_on_at(self._moments[0] if self._moments else inf):
                await self._sooner.wait()
            now = trio.current_time()
            while self._moments and self._moments[0] <= now:
                for waiter in list(self._buckets.pop(heappop(self._moments))):
                    waiter.expire()


class Reminder:
    """A deadline that is put off again and again, such as the end of an idle time, and calls a function when it comes.

    Putting it off costs a look at the clock: the alarm stays where it is, and is set anew if it goes off too early.

    Args:
        alarms: where the alarm is set.
        call: what to call; it must neither block nor raise.
    """

    __slots__ = ("_alarms", "_bucket", "_call", "_due", "_set_for")

    def __init__(self, alarms: Alarms, call: Callable[[], None]) -> None:
        self._alarms = alarms
        self._call = call
        self._due = inf
        self._set_for = inf
        self._bucket: Bucket | None = None

    def start(self, seconds: float) -> None:
        """Call in `seconds`, which replaces an earlier `start`."""
        now = trio.current_time()
        self._due = now + seconds
        if self._due < self._set_for:
            self._set(now, seconds)

    def stop(self) -> None:
        """Do not call, until the next `start`."""
        self._due = inf

    def close(self) -> None:
        """Never call again, and clear the alarm, which would otherwise be kept until it goes off.

        What was to be called is let go. It is nearly always a method of who has the reminder, and the two of them would
        only be freed by the garbage collector.
        """
        self._due = self._set_for = inf
        self._call = _nothing
        if self._bucket is not None:
            self._bucket.pop(self, None)
            self._bucket = None

    def expire(self) -> None:
        """Call if the deadline has come; if it was put off meanwhile, set the alarm anew."""
        self._set_for, self._bucket = inf, None
        now = trio.current_time()
        left = self._due - now
        if left <= 0:
            self._due = inf
            self._call()
        elif left < inf:
            self._set(now, left)

    def _set(self, now: float, seconds: float) -> None:
        if self._bucket is not None:
            self._bucket.pop(self, None)
        self._set_for = now + seconds
        self._bucket = self._alarms.set_at(self, now, seconds)


def _nothing() -> None:
    """What a closed reminder would call."""
