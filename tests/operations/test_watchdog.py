"""What held the event loop up for long is named in the log: the task, and the line of ours, once a minute at most."""

from __future__ import annotations

import io
import sys
import threading
from types import FrameType
from typing import Any

import msgspec
import pytest
import trio

from djactors import watchdog
from djactors.loop_lag import LoopLag
from djactors.telemetry import Telemetry, make_logger, total
from djactors.watchdog import EVERY_SECONDS, LASTS_SECONDS, LONG_SECONDS, LOOK_SECONDS, Watchdog, seen_in


class Bench:
    """A watchdog, the time of whose loop is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.log = io.StringIO()
        self.telemetry = Telemetry(make_logger("json", "info", self.log))
        self.lag = LoopLag(lambda: self.now)
        self.watchdog = Watchdog(self.lag, self.telemetry, timer=lambda: self.now)
        self.lag.limit, self.lag.on_long_turn = LONG_SECONDS, self.watchdog._note

    def turn(self, seconds: float, look_at: float | None = None) -> bool:
        """One turn of the loop, which is looked at once; return whether there is something to tell afterwards."""
        self.lag.after_io_wait(0)
        if look_at is not None:
            self.now += look_at
            self.watchdog.look()
        self.now += seconds - (look_at or 0)
        self.lag.before_io_wait(0)
        return self.watchdog.look()

    def told(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_long_turn_is_told_with_what_was_seen_in_it(bench: Bench) -> None:
    assert bench.turn(LONG_SECONDS * 2, look_at=LASTS_SECONDS * 1.5)
    bench.watchdog.tell()
    [entry] = bench.told()
    assert entry["level"] == "warning"
    assert entry["event"] == "the event loop was held up"
    assert entry["seconds"] == LONG_SECONDS * 2
    assert entry["line"].startswith("djactors/watchdog.py:")
    assert total(bench.telemetry.metrics.long_turns) == 1


def test_a_short_turn_is_not_told(bench: Bench) -> None:
    assert not bench.turn(LONG_SECONDS * 0.9, look_at=LASTS_SECONDS * 1.5)
    bench.watchdog.tell()
    assert bench.told() == []
    assert total(bench.telemetry.metrics.long_turns) == 0


def test_what_was_seen_in_another_turn_is_not_blamed(bench: Bench) -> None:
    bench.turn(LONG_SECONDS * 0.9, look_at=LASTS_SECONDS * 1.5)
    bench.turn(LONG_SECONDS * 2)
    bench.watchdog.tell()
    [entry] = bench.told()
    assert entry["line"] is None


def test_there_is_one_entry_a_minute_of_the_longest_turn_with_the_number_of_them(bench: Bench) -> None:
    assert bench.turn(0.2, look_at=0.1)
    bench.watchdog.tell()
    assert not any(bench.turn(seconds, look_at=0.1) for seconds in (0.3, 0.5, 0.2))
    bench.now += EVERY_SECONDS
    assert bench.watchdog.look()
    bench.watchdog.tell()
    assert [(entry["seconds"], entry["times"]) for entry in bench.told()] == [(0.2, 1), (0.5, 3)]
    assert total(bench.telemetry.metrics.long_turns) == 4


def test_a_turn_that_has_just_begun_is_looked_at_again_once_it_lasts(bench: Bench) -> None:
    assert bench.watchdog.until_next_look() == LOOK_SECONDS
    bench.lag.after_io_wait(0)
    bench.now += LASTS_SECONDS / 2
    assert LASTS_SECONDS / 2 < bench.watchdog.until_next_look() < LONG_SECONDS / 2
    bench.now += LASTS_SECONDS
    assert bench.watchdog.until_next_look() == LOOK_SECONDS


@pytest.mark.parametrize("begins_after", [0.0, 0.25, 0.5, 0.75, 0.999])
def test_a_long_turn_is_seen_whenever_it_begins_between_two_looks(bench: Bench, begins_after: float) -> None:
    next_look = bench.now + bench.watchdog.until_next_look()
    bench.now += begins_after * LOOK_SECONDS
    bench.lag.after_io_wait(0)
    began = bench.now
    while next_look <= began + LONG_SECONDS:
        bench.now = next_look
        bench.watchdog.look()
        next_look += bench.watchdog.until_next_look()
    assert bench.watchdog._seen is not None
    assert bench.watchdog._seen[0] == began


class Looking:
    """Looks at the stack of the loop's thread from another one, while the loop is held up in the project's code."""

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self.sights: list[watchdog.Sight] = []

    def look(self) -> None:
        def work() -> None:
            frame: FrameType = sys._current_frames()[self._thread]
            self.sights.append(seen_in(frame))

        looker = threading.Thread(target=work)
        looker.start()
        looker.join()


async def test_the_task_and_the_innermost_line_of_ours_are_named() -> None:
    looking = Looking(threading.get_ident())

    async def culprit() -> None:
        # The project's code calls out into what is not the project's, which takes long.
        lag = LoopLag()
        lag.began, lag.limit = 0.0, -1.0
        lag.on_long_turn = lambda began, seconds: looking.look()
        lag.before_io_wait(0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(culprit, name="the culprit")
    [sight] = looking.sights
    assert sight.task == "the culprit"
    assert sight.line is not None
    assert sight.line.startswith("djactors/loop_lag.py:")
    assert "before_io_wait" in sight.line
    assert "threading.py" in sight.innermost


async def test_a_loop_that_is_really_held_up_is_told_by_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    telemetry = Telemetry(make_logger("json", "info", log))
    looked = threading.Event()
    lag = LoopLag()
    dog = Watchdog(lag, telemetry)
    genuine = dog.look

    def look() -> bool:
        told = genuine()
        if dog._seen is not None:
            looked.set()
        return told

    monkeypatch.setattr(dog, "look", look)
    monkeypatch.setattr(watchdog, "LONG_SECONDS", 0.0)
    trio.lowlevel.add_instrument(lag)
    try:
        with dog.watching():
            await trio.lowlevel.checkpoint()
            assert looked.wait(30)  # holds the loop up until the thread has seen it
            with trio.fail_after(30):
                while not log.getvalue():
                    await trio.lowlevel.checkpoint()
    finally:
        trio.lowlevel.remove_instrument(lag)
    entry = msgspec.json.decode(log.getvalue().splitlines()[0])
    assert entry["task"]
    assert "threading.py" in entry["innermost"]
