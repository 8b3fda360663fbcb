"""A year of ten thousand jobs under a virtual clock, against a model that looks at every job at every hour.

People act at half past, deadlines are at full hours, so nothing depends on who is first within a moment. The server is
down a few times, for hours or days; what people do meanwhile reaches it when it is back.
"""

import random
import sqlite3
from collections import defaultdict
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from djactors.domain.events import DomainEvent
from djactors.domain.limits import Limits
from tests.clockwork.desk import HOUR, MORNING, T, assigned, completed, job, moved
from tests.clockwork.house import WallClock, running

JOBS = 10_000
YEAR = 365 * 24
LIFE = 14 * 24
MANAGERS = range(1, 20)
ASSIGNEES = range(10, 500)
START = MORNING.replace(minute=0)

Step = tuple[int, str, int]
"""The hour at whose half it happens, what, and its number: an hour for a deadline, a user."""


def ups_and_downs(rng: random.Random) -> list[bool]:
    """Whether the server is up, for each hour."""
    up = [True] * YEAR
    for _ in range(6):
        hours = rng.choice((3, 20, 72))
        begin = rng.randrange(1, YEAR - 100)
        up[begin : begin + hours] = [False] * hours
    return up


def life(rng: random.Random, up: list[bool]) -> list[Step]:
    """What happens to one job, in order."""
    born = rng.randrange(1, YEAR - LIFE)
    end = born + rng.randrange(10, LIFE)
    steps: list[Step] = [(born, "created", rng.choice(ASSIGNEES))]
    deadlines = [born + rng.randrange(-5, LIFE) for _ in range(3)]
    steps.append((born, "deadline", deadlines[0]))
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        hour = rng.randrange(born + 1, end)
        if rng.random() < 0.5:
            steps.append((hour, "assigned", rng.choice(ASSIGNEES)))
        else:
            steps.append((hour, "deadline", rng.choice(deadlines)))
    if rng.random() < 0.8:
        steps.append((end, "completed", 0))
    steps.sort(key=lambda step: step[0])
    # Coarse, so that a commit has many of them and the year takes seconds.
    return [
        (up.index(True, hour - hour % 4), what, value - value % 2 if what == "deadline" else value)
        for hour, what, value in steps
    ]


def manager_of(number: int) -> int:
    return MANAGERS[number % len(MANAGERS)]


def told(number: int, steps: list[Step], up: list[bool]) -> set[tuple[int, str, int, int, int]]:
    """The model: (user, alert, job, deadline, the half hour in which it was told) for one job."""
    deadline = assignee = None
    done = False
    sent: set[tuple[str, int]] = set()
    notes = set()
    waiting = list(steps)
    # In half hours; after the last step and the last deadline nothing can come but what a restart brings.
    last = 2 * (max(max(hour, value if what == "deadline" else 0) for hour, what, value in steps) + 2 * LIFE)
    for half in range(2 * steps[0][0], min(last, 2 * YEAR)):
        while waiting and half == 2 * waiting[0][0] + 1:
            _, what, value = waiting.pop(0)
            if what == "deadline":
                deadline = value
            elif what == "completed":
                done = True
            else:
                assignee = value
        if deadline is None or done or not up[half // 2] or ("sla_alert_overdue", deadline) in sent:
            continue
        if half >= 2 * deadline:
            alert, people = "sla_alert_overdue", {assignee, manager_of(number)}
        elif half >= 2 * (deadline - 24):
            alert, people = "sla_alert_24h", {assignee}
        else:
            continue
        if (alert, deadline) not in sent:
            sent.add((alert, deadline))
            notes |= {(user, alert, number, deadline, half) for user in people if user is not None}
    return notes


async def test_a_year_of_ten_thousand_jobs_is_told_as_the_model_says(fast_path: Path, autojump_clock):
    path = fast_path
    rng = random.Random(20260127)
    up = ups_and_downs(rng)
    lives = {number: life(rng, up) for number in range(1, JOBS + 1)}
    expected = set().union(*(told(number, steps, up) for number, steps in lives.items()))
    assert len(expected) > JOBS

    by_hour: dict[int, list[DomainEvent]] = defaultdict(list)
    for number, steps in lives.items():
        for hour, what, value in steps:
            by_hour[hour].append(event(number, what, value))
    now = WallClock()
    now.jump(START - now())
    hour = 0
    while hour < YEAR:
        if not up[hour]:
            hour += 1
            continue
        await now.sleep_until(START + hour * HOUR)
        async with running(path, now, limits=Limits(daily_limit=10**9), longest_sleep=24 * 3600) as house:
            while hour < YEAR and up[hour]:
                if by_hour.get(hour):
                    await now.sleep_until(START + hour * HOUR + HOUR / 2)
                    await house.publish(*by_hour[hour])
                hour += 1
            await now.sleep_until(START + hour * HOUR - timedelta(seconds=5))
    assert stored(path) == expected


def event(number: int, what: str, value: int) -> DomainEvent:
    match what:
        case "created":
            return job(None, assignee_id=value, manager_id=manager_of(number), job_id=number)
        case "deadline":
            return moved(number, START + value * HOUR)
        case "assigned":
            return assigned(number, value)
        case _:
            return completed(number)


def stored(path: Path) -> set[tuple[int, str, int, int, int]]:
    found = set()
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT user_id, type, job_id, data ->> '$.deadline', created_at FROM notifications "
            "WHERE tenant_id = ? AND type LIKE 'sla%'",
            (T,),
        ).fetchall()
    for user_id, kind, job_id, deadline, moment in rows:
        half = (datetime.fromisoformat(moment) - START) / (HOUR / 2)
        note = (user_id, kind, job_id, round((datetime.fromisoformat(deadline) - START) / HOUR), round(half))
        # A start's first look is a second late.
        assert -1e-6 < half - round(half) < 1e-3
        assert note not in found
        found.add(note)
    return found
