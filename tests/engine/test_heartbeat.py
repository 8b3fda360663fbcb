"""The timers of many in one task."""

from math import inf

import pytest
import trio

from djactors.engine._heartbeat import Heartbeat, Timer


class Periodic:
    """Is due every `period` seconds."""

    def __init__(self, period: float) -> None:
        self.period = period
        self.timer: Timer | None = None
        self.next_deadline = trio.current_time() + period
        self.ticks: list[float] = []
        self.fails = False

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.next_deadline = now + self.period
        if self.fails:
            raise RuntimeError("tick")


@pytest.fixture
def errors() -> list[Exception]:
    return []


@pytest.fixture
async def heartbeat(nursery, errors) -> Heartbeat:
    heartbeat = Heartbeat(errors.append)
    nursery.start_soon(heartbeat.run, lambda: False)
    return heartbeat


async def test_each_is_served_when_it_is_due(autojump_clock, heartbeat):
    started = trio.current_time()
    many = [Periodic(period) for period in (3.0, 1.0, 2.0)]
    for timed in many:
        heartbeat.schedule(timed)
    await trio.sleep(6.5)
    assert [[tick - started for tick in timed.ticks] for timed in many] == [
        [3.0, 6.0],
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        [2.0, 4.0, 6.0],
    ]


async def test_a_deadline_that_moves_earlier_is_kept(autojump_clock, heartbeat):
    started = trio.current_time()
    timed = Periodic(100.0)
    heartbeat.schedule(timed)
    await trio.sleep(1)
    timed.next_deadline = started + 5
    heartbeat.schedule(timed)
    await trio.sleep(10)
    assert timed.ticks == [started + 5]
    assert len(heartbeat) == 1


async def test_a_deadline_that_moves_later_is_kept_without_being_told(autojump_clock, heartbeat):
    started = trio.current_time()
    timed = Periodic(5.0)
    heartbeat.schedule(timed)
    timed.next_deadline = started + 8
    await trio.sleep(10)
    assert timed.ticks == [started + 8]


async def test_what_is_cancelled_is_not_served(autojump_clock, heartbeat):
    timed, other = Periodic(1.0), Periodic(1.0)
    heartbeat.schedule(timed)
    heartbeat.schedule(other)
    heartbeat.cancel(timed)
    heartbeat.cancel(timed)
    await trio.sleep(1.5)
    assert timed.ticks == []
    assert len(other.ticks) == 1


async def test_what_has_no_deadline_any_more_is_let_go(autojump_clock, heartbeat):
    timed = Periodic(1.0)
    timed.period = inf
    heartbeat.schedule(timed)
    await trio.sleep(5)
    assert len(timed.ticks) == 1
    assert len(heartbeat) == 0
    assert timed.timer is None


async def test_the_cancelled_do_not_pile_up(autojump_clock, heartbeat):
    for _ in range(10_000):
        timed = Periodic(1000.0)
        heartbeat.schedule(timed)
        heartbeat.cancel(timed)
    assert len(heartbeat) == 0
    assert len(heartbeat._heap) < 100


async def test_one_that_fails_is_reported_and_stops_nobody(autojump_clock, heartbeat, errors):
    faulty, sound = Periodic(1.0), Periodic(1.0)
    faulty.fails = True
    for timed in (faulty, sound):
        heartbeat.schedule(timed)
    await trio.sleep(3.5)
    assert len(faulty.ticks) == len(sound.ticks) == len(errors) == 3


async def test_thousands_that_are_due_at_once_are_all_served(autojump_clock, heartbeat):
    many = [Periodic(1.0) for _ in range(2000)]
    for timed in many:
        heartbeat.schedule(timed)
    await trio.sleep(1.5)
    assert all(len(timed.ticks) == 1 for timed in many)


async def test_a13_a_chore_that_has_more_to_do_gives_others_a_turn(nursery, autojump_clock):
    """Thousands of sessions may end at the same moment, and their handlers are told some at a time."""
    left, seen = [20], []

    def chore() -> bool:
        left[0] = max(0, left[0] - 1)
        return left[0] > 0

    async def watch() -> None:
        while left[0]:
            await trio.lowlevel.checkpoint()
            seen.append(left[0])

    nursery.start_soon(watch)
    nursery.start_soon(Heartbeat([].append).run, chore)
    await trio.sleep(1)
    assert seen == sorted(seen, reverse=True)
    assert len({*seen}) >= 10
