"""All timers of all sessions in one task and one heap: pings, pongs that are due, upgrades, the first CONNECT. So are
those of the few that are on their way out, waiting for a goodbye, or on their way in, waiting for their turn.

A session has one entry in the heap. When its deadline moves later, the entry stays and is renewed when it comes up: a
message costs nothing here, a heartbeat two heap operations. Only a deadline that moves earlier makes a new entry.

After a stall (the loop was held up, the machine slept) what the clients sent meanwhile is still in the sockets. A pong
must be read before it is missed, so the loop runs on for a few rounds before anything is timed out.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Final

import trio

from djactors.net import Timed, Timer

# Later than this is a stall and not the ordinary unpunctuality of a busy loop. In seconds.
STALL_SECONDS: Final = 0.25
# Rounds of the loop from a readable socket to a session: wake the reader, parse, hand over, act, twice over.
SETTLING_ROUNDS: Final = 8
# Sessions that are served in one go; about two milliseconds of pings.
_SLICE: Final = 128
# Below this the dead entries are not worth a sweep.
_FEW: Final = 64


async def settle() -> None:
    """Let everything that has arrived at the sockets be read and acted upon."""
    for _ in range(SETTLING_ROUNDS):
        await trio.lowlevel.checkpoint()


class Heartbeat:
    """Calls `tick` of everything that was scheduled, when it is due. `on_error` is told what a `tick` raises."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        # The serial number breaks ties, so that timers are never compared.
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = count()
        self._dead = 0
        self._nap: trio.CancelScope | None = None

    def __len__(self) -> int:
        """How many are scheduled."""
        return len(self._heap) - self._dead

    def schedule(self, timed: Timed) -> None:
        """See to it that `timed` is served at its `next_deadline`. Call it when that may have become earlier."""
        deadline = timed.next_deadline
        timer = timed.timer
        if timer is not None:
            if timer.deadline <= deadline:
                return
            self.cancel(timed)
        self._push(timed, deadline)

    def cancel(self, timed: Timed) -> None:
        """Forget `timed`; it is not referred to any more."""
        timer, timed.timer = timed.timer, None
        if timer is None:
            return
        timer.timed = None
        self._dead += 1
        if self._dead > max(_FEW, len(self._heap) // 2):
            self._heap = [entry for entry in self._heap if entry[2].timed is not None]
            heapify(self._heap)
            self._dead = 0

    def wake(self) -> None:
        """Let the running service look again at once."""
        if self._nap is not None:
            self._nap.cancel()

    def is_late(self, now: float) -> bool:
        """Whether the loop was stalled and deadlines have passed that were not looked at yet."""
        return bool(self._heap) and now - self._heap[0][0] > STALL_SECONDS

    async def run(self, chore: Callable[[], None]) -> None:
        """Serve for ever. `chore` is done at every waking, before anything is timed out."""
        while True:
            chore()
            await self._sleep()
            if self.is_late(trio.current_time()):
                await settle()
            chore()
            while self._serve_slice(trio.current_time()):
                await trio.lowlevel.checkpoint()

    async def _sleep(self) -> None:
        try:
            with trio.CancelScope(deadline=self._heap[0][0] if self._heap else inf) as self._nap:
                await trio.sleep_forever()
        finally:
            self._nap = None

    def _serve_slice(self, now: float) -> bool:
        """Serve some of those that are due; return whether there are more."""
        for _ in range(_SLICE):
            if not self._heap or self._heap[0][0] > now:
                return False
            timed = heappop(self._heap)[2].timed
            if timed is None:
                self._dead -= 1
            else:
                self._serve(timed, now)
        return True

    def _serve(self, timed: Timed, now: float) -> None:
        timed.timer = None
        if timed.next_deadline <= now:
            try:
                timed.tick(now)
            except Exception as error:  # noqa: BLE001 - one session's fault must not stop the heartbeat of the others
                self._on_error(error)
        if timed.timer is None:
            self._push(timed, timed.next_deadline)

    def _push(self, timed: Timed, deadline: float) -> None:
        if deadline == inf:
            return
        timer = Timer(deadline, timed)
        timed.timer = timer
        heappush(self._heap, (deadline, next(self._serial), timer))
        if self._nap is not None and deadline < self._nap.deadline:
            self._nap.deadline = deadline
