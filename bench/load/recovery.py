"""Many users return at once, each with changes that it missed, while others go on being notified.

They return as stock JS clients do: the CONNECT carries the pid of the session before and the offset of the last event.
"""

import asyncio
from collections import Counter
from time import perf_counter

import msgspec

from bench.load import events
from bench.load.commands import Pace, Return, Returned, Target
from bench.load.crowd import Crowd
from bench.load.phase import Meter, Numbers, Pacing
from bench.load.publisher import BATCH, Publisher

CATCH_UP_SECONDS = 60.0
"""How long all together may take to be caught up."""

PRODUCERS = 4
"""Connections over which the missed changes and the others' notifications are posted."""

LEAVE_SECONDS = 1.0
"""For the server to notice that they left."""


async def return_at_once(
    target: Target, publisher: Publisher, others: Crowd, numbers: Numbers, plan: Return
) -> Returned:
    """Carry out the plan. Raises RuntimeError when a user cannot be made to return."""
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
    missed = await _publish(publisher, numbers, plan)

    calm = await Pacing(target, publisher, others, numbers, _pace(plan)).run()
    background = asyncio.ensure_future(Pacing(target, publisher, others, numbers, _pace(plan)).run())
    await asyncio.sleep(plan.seconds / 4)

    crowd.arrivals.clear()
    meter, began = Meter(target), perf_counter()
    caught_up: dict[int, float] = {}
    connecting = asyncio.ensure_future(crowd.connect(everybody, at_once=plan.users, recovery=True, states=states))
    last = began + CATCH_UP_SECONDS
    while len(caught_up) < plan.users and perf_counter() < last:
        await asyncio.sleep(0.002)
        now = perf_counter()
        for number, user in crowd.users.items():
            if number not in caught_up and (user.notified >= plan.missed or user.resets):
                caught_up[number] = now - began
    _, refused = await connecting
    use = meter.read()
    rush = await background

    faults: Counter[str] = crowd.arrivals.faults + refused
    recovered = 0
    for number, user in crowd.users.items():
        recovered += user.pid is not None and user.pid.decode() == states[number]["pid"]
        faults["a client was told to reload"] += bool(user.resets)
        faults["a client did not get exactly what it missed"] += user.notified != plan.missed
        faults["a badge is wrong"] += user.unread is None or user.unread < plan.missed
    faults["a missed change did not come"] = len(missed - crowd.arrivals.at.keys())
    replayed = len(crowd.arrivals.at)
    crowd.leave()
    return Returned(
        caught_up=sorted(caught_up.values()),
        recovered=recovered,
        replayed=replayed,
        faults=dict(+faults),
        # What the others' posts cost meanwhile is in it; the caller knows it from the calm.
        use=use,
        calm=calm,
        rush=rush,
    )


def _pace(plan: Return) -> Pace:
    return Pace(
        event="notification.requested", rate=plan.rate, seconds=plan.seconds, warmup_seconds=0.0, producers=PRODUCERS
    )


async def _publish(publisher: Publisher, numbers: Numbers, plan: Return) -> set[int]:
    """Notify everybody who left, `missed` times each; the numbers of it all."""
    published: set[int] = set()
    waiting = []
    for _ in range(plan.missed):
        for user in range(1, plan.users + 1):
            number = numbers.take("notification.requested")
            published.add(number)
            waiting.append(events.body("notification.requested", number, user))
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
