"""What people do all day, at a set pace and all at once: hear of things, look, read, leave, and come back.

Most users are connected and are notified; the badges and the latencies of all of them are checked. The movers are users
of their own. Each in turn is notified, loads a page of the inbox by a connection of its own, reads everything, leaves,
misses a notification, and comes back as a stock client does, with its pid and its offset.
"""

import asyncio
import gc
import math
from collections import Counter
from collections.abc import Callable
from time import perf_counter

import msgspec

from bench.load import events
from bench.load.commands import Event, Mix, Mixed, Pace, Phase, Target
from bench.load.crowd import Crowd, token
from bench.load.phase import Meter, Numbers, Pacing
from bench.load.publisher import Publisher
from bench.load.user import User

TOLD_SHARE = 0.2
"""The part of the time in which assignments are told to everybody, instead of notifications to one."""

WALKERS = 4
"""Movers who are on their way at the same time."""

PATIENCE = 20.0
"""How many seconds a mover waits for anything before it counts as lost."""

GONE_SECONDS = 0.1
"""For the server to see that somebody left."""

READ_ALL = b'["notification:read-all"]'


class Mixing:
    """One `Mix`. `movers` are the users who come and go; they are connected already."""

    def __init__(
        self, target: Target, publisher: Publisher, crowd: Crowd, movers: Crowd, numbers: Numbers, plan: Mix
    ) -> None:
        self._target, self._publisher, self._numbers, self._plan = target, publisher, numbers, plan
        self._crowd, self._movers = crowd, movers
        self._faults: Counter[str] = Counter()
        self._paged: list[float] = []
        self._returned: list[float] = []

    async def run(self) -> Mixed:
        """Carry it out, and wait for the last delivery."""
        plan = self._plan
        self._movers.arrivals.clear()
        meter = Meter(self._target)
        moving = asyncio.ensure_future(self._move())
        told_seconds = plan.seconds * TOLD_SHARE if plan.assigned_rate else 0.0
        notified = await self._paced("notification.requested", plan.rate, plan.seconds - told_seconds)
        told = await self._paced("job.assigned", plan.assigned_rate, told_seconds)
        moves = await moving
        use = meter.read()
        # The load's collector is off while it measures, and a day of this would leave a heap behind.
        gc.collect()
        faults = self._faults + self._movers.arrivals.faults
        return Mixed(
            notified=notified,
            told=told,
            moves=moves,
            posts=notified.posts + told.posts + 2 * moves,
            paged=self._paged,
            returned=self._returned,
            faults=dict(faults),
            use=use,
        )

    async def _paced(self, event: Event, rate: float, seconds: float) -> Phase:
        pace = Pace(event=event, rate=rate, seconds=seconds, warmup_seconds=0.0, producers=0)
        return await Pacing(self._target, self._publisher, self._crowd, self._numbers, pace).run()

    async def _move(self) -> int:
        """Send the movers on their way at the pace, in turn; how many went."""
        everybody = list(self._movers.users)
        if not everybody:
            return 0
        count = math.ceil(self._plan.seconds * self._plan.move_rate)
        began = perf_counter()
        free = asyncio.Semaphore(WALKERS)

        async def walk(number: int) -> None:
            try:
                await self._walk(number)
            except (OSError, TimeoutError, RuntimeError) as error:
                self._faults[f"a mover was held up: {type(error).__name__}: {error}"] += 1
            finally:
                free.release()

        walks = []
        for index in range(count):
            await asyncio.sleep(max(0.0, began + index / self._plan.move_rate - perf_counter()))
            await free.acquire()
            walks.append(asyncio.ensure_future(walk(everybody[index % len(everybody)])))
        await asyncio.gather(*walks)
        return count

    async def _walk(self, number: int) -> None:
        users = self._movers.users
        user = users[number]
        before = user.notified
        await self._post(number)
        await _until(lambda: user.notified > before, "a notification did not come")
        await self._page(number)
        user.emit(READ_ALL)
        await _until(lambda: user.unread == 0, "a badge is not 0 after everything was read")
        state = _state(user)
        user.close()
        await asyncio.sleep(GONE_SECONDS)
        await self._post(number)
        began = perf_counter()
        _, refused = await self._movers.connect([number], at_once=1, recovery=True, states={number: state})
        if refused:
            raise RuntimeError(f"could not come back: {dict(refused)}")
        back = users[number]
        await _until(lambda: back.notified > 0, "what was missed did not come")
        self._returned.append(perf_counter() - began)
        await _until(lambda: back.unread == 1, "the badge of who came back is wrong")
        if back.pid is None or back.pid.decode() != state["pid"] or back.resets:
            raise RuntimeError("was not resumed")

    async def _post(self, user: int) -> None:
        number = self._numbers.take("notification.requested")
        body = events.body("notification.requested", number, user, self._target.tenant)
        status, answer = await self._publisher.ask("/api/events", body)
        if status != 201:
            raise RuntimeError(f"answered {status} {answer[:200]!r}")

    async def _page(self, user: int) -> None:
        own = Publisher(self._target.host, self._target.port, token(self._target, role="user", userId=user))
        await own.open(1)
        try:
            began = perf_counter()
            status, answer = await own.get("/api/notifications?limit=20")
            self._paged.append(perf_counter() - began)
        finally:
            own.close()
        if status != 200 or not msgspec.json.decode(answer)["items"]:
            raise RuntimeError(f"a page of the inbox: {status} {answer[:200]!r}")


def _state(user: User) -> dict[str, str]:
    """What a stock client sends when it comes back."""
    if user.pid is None or user.offset is None:
        raise RuntimeError("the server gave no pid or no offset")
    return {"pid": user.pid.decode(), "offset": user.offset.decode()}


async def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    """Wait for it; polled, which spares a check at each frame. Raises RuntimeError where it is not so in time."""
    last = perf_counter() + PATIENCE
    while not is_so():
        if perf_counter() > last:
            raise RuntimeError(otherwise)
        await asyncio.sleep(0.005)
