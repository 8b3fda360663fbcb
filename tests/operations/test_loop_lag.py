"""The event loop's longest turns are seen as long as they are of interest."""

from __future__ import annotations

import pytest
import trio

from djactors.loop_lag import RECENT, WINDOW, LoopLag


class Timer:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def turn(lag: LoopLag, timer: Timer, seconds: float) -> None:
    lag.after_io_wait(0)
    timer.now += seconds
    lag.before_io_wait(0)


def test_the_longest_turn_counts_for_a_minute_and_is_then_forgotten() -> None:
    timer = Timer()
    lag = LoopLag(timer)
    assert lag.worst() == 0
    turn(lag, timer, 0.001)
    turn(lag, timer, 0.25)
    turn(lag, timer, 0.002)
    assert (lag.worst(RECENT), lag.worst()) == (0.25, 0.25)
    for _ in range(WINDOW - 2):
        timer.now += 1
        turn(lag, timer, 0.003)
    assert lag.worst(RECENT) == pytest.approx(0.003)
    assert lag.worst() == 0.25
    timer.now += 2
    turn(lag, timer, 0.003)
    assert lag.worst() == pytest.approx(0.003)


def test_each_second_with_a_turn_is_told_once_and_what_hears_of_it_is_no_lag() -> None:
    timer = Timer()
    lag = LoopLag(timer)
    told: list[float] = []

    def hear(now: float) -> None:
        told.append(now)
        timer.now += 0.125

    lag.on_second = hear
    for pause in (0.0, 0.25, 1.0, 5.0):
        timer.now += pause
        turn(lag, timer, 0.0)
    assert told == [1000.0, 1001.375, 1006.5]
    assert lag.worst() == 0


def test_waiting_for_something_to_happen_is_no_lag() -> None:
    timer = Timer()
    lag = LoopLag(timer)
    turn(lag, timer, 0.001)
    timer.now += 30
    turn(lag, timer, 0.001)
    assert lag.worst() == pytest.approx(0.001)
    timer.now += WINDOW
    assert lag.worst() == 0


async def test_a_task_that_holds_the_loop_up_is_seen() -> None:
    timer = Timer()
    lag = LoopLag(timer)
    trio.lowlevel.add_instrument(lag)
    try:
        await trio.lowlevel.checkpoint()
        timer.now += 0.5
        await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(lag)
    assert lag.worst() == 0.5
