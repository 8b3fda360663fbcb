"""Many users return at once, each with changes that it missed.

They return as stock JS clients do: the CONNECT carries the pid of the session before and the offset of the last event.
"""

import asyncio
from collections import Counter
from time import perf_counter

import msgspec

from bench.load import events
from bench.load.commands import Miss, Returned, Target
from bench.load.crowd import Crowd
from bench.load.phase import Meter, Numbers
from bench.load.publisher import BATCH, Publisher

CATCH_UP_SECONDS = 60.0
"""How long all together may take to be caught up."""

LEAVE_SECONDS = 1.0
"""For the server to notice that they left."""


class Absent:
    """Those who have left, with what each of them shows when it comes back, and what they have missed."""

    def __init__(self, crowd: Crowd, states: dict[int, dict[str, str]], missed: set[int], plan: Miss) -> None:
        self.crowd = crowd
        self.states = states
        self.missed = missed
        self.plan = plan


async def miss(target: Target, publisher: Publisher, numbers: Numbers, plan: Miss) -> Absent:
    """Have a crowd come, leave and miss changes. Raises RuntimeError when a user cannot be made to return."""
    everybody = range(1, plan.users + 1)
    crowd = Crowd(target)
    crowd.make_tokens(everybody)
    _, refused = await crowd.connect(everybody, at_once=64, recovery=True)
    if refused:
        raise RuntimeError(f"not everybody could connect: {dict(refused)}")
    states = {}
    for number, user in crowd.users.items():
        if user.pid is None or user.offset is None:
            raise RuntimeError("the server gave no pid or no offset: it does not resume clients")
        states[number] = {"pid": user.pid.decode(), "offset": user.offset.decode()}
    crowd.leave()
    await asyncio.sleep(LEAVE_SECONDS)
    return Absent(crowd, states, await _publish(publisher, numbers, plan, target.tenant), plan)


async def return_at_once(target: Target, absent: Absent) -> Returned:
    """Have them come back and see what they are given."""
    crowd, states, plan = absent.crowd, absent.states, absent.plan
    crowd.arrivals.clear()
    meter, began = Meter(target), perf_counter()
    caught_up: dict[int, float] = {}
    connecting = asyncio.ensure_future(crowd.connect(states, at_once=plan.users, recovery=True, states=states))
    last = began + CATCH_UP_SECONDS
    while len(caught_up) < plan.users and perf_counter() < last:
        await asyncio.sleep(0.002)
        now = perf_counter()
        for number, user in crowd.users.items():
            if number not in caught_up and (user.notified >= plan.missed or user.resets):
                caught_up[number] = now - began
    _, refused = await connecting
    use = meter.read()

    faults: Counter[str] = crowd.arrivals.faults + refused
    recovered = 0
    for number, user in crowd.users.items():
        recovered += user.pid is not None and user.pid.decode() == states[number]["pid"]
        faults["a client was told to reload"] += bool(user.resets)
        faults["a client did not get exactly what it missed"] += user.notified != plan.missed
        faults["a badge is wrong"] += user.unread is None or user.unread < plan.missed
    faults["a missed change did not come"] = len(absent.missed - crowd.arrivals.at.keys())
    replayed = len(crowd.arrivals.at)
    crowd.leave()
    return Returned(
        caught_up=sorted(caught_up.values()),
        recovered=recovered,
        replayed=replayed,
        faults=dict(+faults),
        # What posts of others cost meanwhile is in it; the caller knows what they cost otherwise.
        use=use,
        began=began,
    )


async def _publish(publisher: Publisher, numbers: Numbers, plan: Miss, tenant: int) -> set[int]:
    """Notify everybody who left, `missed` times each; the numbers of it all."""
    published: set[int] = set()
    waiting = []
    for _ in range(plan.missed):
        for user in range(1, plan.users + 1):
            number = numbers.take("notification.requested")
            published.add(number)
            waiting.append(events.body("notification.requested", number, user, tenant))
            if len(waiting) == BATCH:
                await _post(publisher, waiting)
    if waiting:
        await _post(publisher, waiting)
    return published


async def _post(publisher: Publisher, bodies: list[bytes]) -> None:
    status, answer = await publisher.ask("/api/events/batch", b"[%b]" % b",".join(bodies))
    bodies.clear()
    if status != 200 or any("error" in result for result in msgspec.json.decode(answer)["results"]):
        raise RuntimeError(f"the server refused what was to be missed: {status} {answer[:200]!r}")
