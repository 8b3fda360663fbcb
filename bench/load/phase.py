"""One kind of event at the full rate: open loop, every latency counted from when the post was due."""

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from time import perf_counter, process_time

import msgspec

from bench.load.plan import Event, Phase, Plan
from bench.load.publisher import Publisher
from bench.load.user import User
from bench.server import cpu_seconds

TENANT = 1
BACKEND = 1_000_000
"""The user in whose name the load acts; nobody of those who are notified."""

LEAD_SECONDS = 0.1
"""From the plan to the first post: the thread that keeps the pace must be up by then."""

LAST_DELIVERY_SECONDS = 5.0
"""How long after the last answer a delivery may still come before it counts as missing."""

SWITCH_SECONDS = 0.0005
"""How soon that thread gets its turn; Python's default would make posts up to 5 ms late."""


async def run_phase(
    plan: Plan, event: Event, publisher: Publisher, users: list[User], arrivals: dict[int, float]
) -> Phase:
    """Post `event` for the warm-up and the measured time, to the users in turn.

    Users put the time of receipt into `arrivals` under the number that the notification carries.
    """
    warmup = round(plan.rate * plan.warmup_seconds)
    count = warmup + round(plan.rate * plan.seconds)
    bodies = [msgspec.json.encode(_event(event, number, 1 + number % plan.users)) for number in range(1, count + 1)]
    if event == "job.assigned":
        await publisher.publish_all([_job(number) for number in range(1, count + 1)])

    sent: list[float] = [0.0] * count
    answered: list[float] = [0.0] * count
    failures: Counter[str] = Counter()
    unanswered = count
    finished = asyncio.Event()
    use = (0.0, 0.0, 0)

    def post(index: int) -> None:
        nonlocal use
        if index == warmup:
            use = _use(plan, users)
        publisher.post("/api/events", bodies[index], lambda *answer: done(index, *answer))
        sent[index] = perf_counter()

    def done(index: int, status: int, body: bytes, at: float) -> None:
        nonlocal unanswered
        unanswered -= 1
        if status == 201:
            answered[index] = at
        elif index >= warmup:
            failures[f"{status} {body[:200].decode(errors='replace')}"] += 1
        if not unanswered:
            finished.set()

    began = perf_counter() + LEAD_SECONDS
    due = [began + index / plan.rate for index in range(count)]
    sys.setswitchinterval(SWITCH_SECONDS)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_keep_pace, args=(due, lambda index: loop.call_soon_threadsafe(post, index))).start()
    await finished.wait()
    expected = sum(1 for at in answered if at)
    last = perf_counter() + LAST_DELIVERY_SECONDS
    while len(arrivals) < expected and perf_counter() < last:  # noqa: ASYNC110 - spares a check at each frame
        await asyncio.sleep(0.01)

    server_cpu, load_cpu, frames = (after - before for after, before in zip(_use(plan, users), use, strict=True))
    measured = range(warmup, count)
    return Phase(
        event=event,
        posted=len(measured),
        sent_late=[sent[index] - due[index] for index in measured],
        acknowledged=[answered[index] - due[index] for index in measured if answered[index]],
        delivered=[arrivals[index + 1] - due[index] for index in measured if index + 1 in arrivals],
        failures=dict(failures),
        undelivered=sum(1 for index in measured if answered[index] and index + 1 not in arrivals),
        frames_received=int(frames),
        server_cpu_seconds=server_cpu,
        load_cpu_seconds=load_cpu,
    )


def _keep_pace(due: list[float], post: Callable[[int], object]) -> None:
    """Call `post` for each index when it is due. A thread, since the loop's timers are a millisecond coarse."""
    for index, at in enumerate(due):
        wait = at - perf_counter()
        if wait > 0:
            time.sleep(wait)
        post(index)


def _use(plan: Plan, users: list[User]) -> tuple[float, float, int]:
    return cpu_seconds(plan.server_pid), process_time(), sum(user.frames for user in users)


def _event(event: Event, number: int, user: int) -> dict[str, object]:
    common: dict[str, object] = {"type": event, "tenantId": TENANT, "actorId": BACKEND}
    if event == "job.assigned":
        return common | {"jobId": number, "assigneeId": user}
    return common | {
        "userId": user,
        "notificationType": "bench",
        "priority": "HIGH",
        "title": f"Notice {number} for you",
        "message": "The quick brown fox jumps over the lazy dog",
        "data": {"n": number},
    }


def _job(number: int) -> dict[str, object]:
    title = f"Job {number} of the load"
    return {"type": "job.created", "tenantId": TENANT, "jobId": number, "title": title, "requesterId": BACKEND}
