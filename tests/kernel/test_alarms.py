"""Deadlines that are met a little late, never early, and forgotten when they are cleared."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import ref

import pytest
import trio

from djactors.kernel import Alarms, Bucket, Reminder


class Sleeper:
    def __init__(self) -> None:
        self.expired_at: float | None = None

    def expire(self) -> None:
        assert self.expired_at is None
        self.expired_at = trio.current_time()


@asynccontextmanager
async def running() -> AsyncIterator[Alarms]:
    alarms = Alarms()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        yield alarms
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(10))
async def test_each_is_met_once_a_little_late_and_what_is_cleared_never(autojump_clock, seed: int):
    dice = random.Random(seed)
    async with running() as alarms:
        kept: list[tuple[Sleeper, float]] = []
        cleared: list[Sleeper] = []
        waiting: list[tuple[Sleeper, Bucket]] = []
        for _ in range(200):
            seconds = dice.choice([0.0, 0.001, 0.2, 1.0, 5.0, 15.0, 300.0])
            sleeper = Sleeper()
            bucket = alarms.set(sleeper, seconds)
            if dice.random() < 0.5:
                kept.append((sleeper, trio.current_time() + seconds))
            else:
                waiting.append((sleeper, bucket))
            if waiting and dice.random() < 0.7:
                other, place = waiting.pop(dice.randrange(len(waiting)))
                if other.expired_at is None:
                    place.pop(other, None)
                    cleared.append(other)
            await trio.sleep(dice.choice([0.0, 0.013, 1.7]))
        await trio.sleep(400)
        for sleeper, deadline in kept:
            assert sleeper.expired_at is not None
            assert 0 <= sleeper.expired_at - deadline <= Alarms.RESOLUTION + 1e-6
        assert [sleeper.expired_at for sleeper in cleared] == [None] * len(cleared)


async def test_short_ones_are_met_more_exactly(autojump_clock):
    async with running() as alarms:
        await trio.sleep(0.0123)
        sleeper, begun = Sleeper(), trio.current_time()
        alarms.set(sleeper, 0.01)
        await trio.sleep(1)
        assert sleeper.expired_at is not None
        assert 0.01 <= sleeper.expired_at - begun <= 0.01 * (1 + 1 / Alarms.SHARE) + 1e-6


async def test_one_that_is_due_sooner_is_not_kept_waiting_by_a_later_one(autojump_clock):
    async with running() as alarms:
        late, soon = Sleeper(), Sleeper()
        alarms.set(late, 100)
        await trio.sleep(1)
        alarms.set(soon, 1)
        await trio.sleep(2)
        assert soon.expired_at == 2
        assert late.expired_at is None


async def test_one_may_set_the_next_while_it_expires(autojump_clock):
    times: list[float] = []

    class Ticker:
        def expire(self) -> None:
            times.append(trio.current_time())
            alarms.set(self, 1)

    async with running() as alarms:
        alarms.set(Ticker(), 1)
        await trio.sleep(3.5)
        assert times == [1, 2, 3]


async def test_what_was_set_before_anybody_kept_time_is_met(autojump_clock):
    alarms, sleeper = Alarms(), Sleeper()
    alarms.set(sleeper, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert sleeper.expired_at == 1


@pytest.mark.parametrize("seed", range(10))
async def test_a_reminder_calls_when_nobody_has_moved_it_on_for_long_enough(autojump_clock, seed: int):
    dice = random.Random(seed)
    async with running() as alarms:
        calls: list[float] = []

        def new_reminder() -> Reminder:
            return Reminder(alarms, lambda: calls.append(trio.current_time()))

        reminder = new_reminder()
        due = float("inf")
        expected = 0
        for _ in range(300):
            match dice.randrange(5):
                case 0 | 1:
                    seconds = dice.choice([0.5, 2.0, 10.0])
                    reminder.start(seconds)
                    due = trio.current_time() + seconds
                case 2:
                    reminder.stop()
                    due = float("inf")
                case 3 if dice.random() < 0.2:
                    reminder.close()
                    reminder = new_reminder()
                    due = float("inf")
                case _:
                    pass
            await trio.sleep(dice.choice([0.1, 0.9, 3.0]))
            # A little late is allowed; early, twice, or after it was stopped is not.
            if trio.current_time() >= due + Alarms.RESOLUTION:
                expected += 1
                due = float("inf")
            elif len(calls) > expected:
                assert calls[-1] >= due
                expected += 1
                due = float("inf")
            assert len(calls) == expected
        assert expected > 20


async def test_a_reminder_that_is_closed_keeps_nobody_alive(autojump_clock):
    class Owner:
        def remind(self) -> None:
            raise AssertionError("it was closed")

    async with running() as alarms:
        owner = Owner()
        called = ref(owner)
        reminder = Reminder(alarms, owner.remind)
        reminder.start(1000)
        reminder.close()
        assert not any(alarms._buckets.values())
        del owner
        assert called() is None
