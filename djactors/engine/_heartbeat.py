"""Keeps all timers of all sessions in one task and one heap: pings, pongs that are due, upgrades, the first CONNECT.
WebSockets that wait for the peer's close frame, and newcomers that wait for their turn, have their timers here, too.

A session has one entry in the heap. If its deadline moves later, the entry stays and is renewed when it comes up. So a
message costs nothing here, and a heartbeat two heap operations. Only a deadline that moves earlier makes a new entry.

After a stall (the loop was held up, or the machine slept), the packets that clients sent meanwhile are still in the
sockets. A pong must be read before it counts as missing, so the loop runs a few rounds before anything is timed out.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Final

import trio

from djactors.net import Timed, Timer

# Seconds. A greater delay is a stall; a busy loop is ordinarily late by less.
STALL_SECONDS: Final = 0.25
# Rounds of the loop that it takes from a readable socket to the session (wake the reader, parse, hand over, act),
# doubled.
SETTLING_ROUNDS: Final = 8
# Sessions that are served before other tasks have a turn: about two milliseconds of pings.
_SLICE: Final = 128
# So few dead entries are not worth a sweep.
_FEW: Final = 64


async def settle() -> None:
    """Wait until everything that has arrived at the sockets has been read and handled."""
    for _ in range(SETTLING_ROUNDS):
        await trio.lowlevel.checkpoint()


class Heartbeat:
    """Calls the `tick` of each scheduled object when it is due. `on_error` gets an exception that a `tick` raises."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        # The serial number breaks ties, so that timers are never compared.
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = count()
        self._dead = 0
        self._nap: trio.CancelScope | None = None

    def __len__(self) -> int:
        """The number of scheduled objects."""
        return len(self._heap) - self._dead

    def schedule(self, timed: Timed) -> None:
        """Serve `timed` at its `next_deadline`. Call this again whenever that may have become earlier."""
        deadline = timed.next_deadline
        timer = timed.timer
        if timer is not None:
            if timer.deadline <= deadline:
                return
            self.cancel(timed)
        self._push(timed, deadline)

    def cancel(self, timed: Timed) -> None:
        """Forget `timed`, so that nothing here refers to it any more."""
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
        """Have `run` look at the heap again at once."""
        if self._nap is not None:
            self._nap.cancel()

    def is_late(self, now: float) -> bool:
        """Whether the loop was stalled, so that deadlines have passed that were not served yet."""
        return bool(self._heap) and now - self._heap[0][0] > STALL_SECONDS

    async def run(self, chore: Callable[[], bool]) -> None:
        """Serve until cancelled. `chore` is called at each waking, before anything is timed out, and as long as it
        returns that there is more to do."""
        while True:
            while chore():
                await trio.lowlevel.checkpoint()
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
        """Serve some of the objects that are due, and return whether more are due."""
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
