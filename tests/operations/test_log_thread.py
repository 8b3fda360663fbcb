"""A1: the queue of the log is bounded by entries and by bytes, keeps room for errors, and says what it lost."""

from __future__ import annotations

import gc
import io
import json
import threading
from typing import Any

import pytest

from djactors.telemetry import log_thread
from djactors.telemetry.log_thread import KEPT_FOR_ERRORS, MAX_BYTES, MAX_ENTRIES, LogThread

PATIENCE = 30


class Valve(io.StringIO):
    """A stream that takes nothing while it is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.open.wait(PATIENCE)
        return super().write(text)

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines() if line.startswith("{")]


@pytest.fixture
def valve() -> Valve:
    return Valve()


def shut(valve: Valve) -> LogThread:
    """A log whose thread stands in a write."""
    log = LogThread("json", "info", valve)
    log.logger.info("first")
    assert valve.reached.wait(PATIENCE)
    return log


def test_a1_entries_over_the_bound_are_dropped_counted_and_told(valve: Valve) -> None:
    log = shut(valve)
    for number in range(MAX_ENTRIES):
        log.logger.info("more", number=number)
    kept = int(MAX_ENTRIES * (1 - KEPT_FOR_ERRORS)) - 1  # the first one is still being written
    assert log.dropped == MAX_ENTRIES - kept
    valve.open.set()
    assert log.close(PATIENCE)
    entries = valve.entries()
    assert [entry["number"] for entry in entries if entry["event"] == "more"] == list(range(kept))
    assert sum(entry["lines"] for entry in entries if "lines" in entry) == log.dropped


def test_a1_a_flood_leaves_room_for_errors(valve: Valve) -> None:
    log = shut(valve)
    for _ in range(MAX_ENTRIES):
        log.logger.info("flood")
    dropped = log.dropped
    log.logger.error("broken")
    log.say("last words")
    assert log.dropped == dropped
    valve.open.set()
    assert log.close(PATIENCE)
    assert [entry for entry in valve.entries() if entry["event"] == "broken"]
    assert "\nlast words\n" in valve.getvalue()


def test_a1_large_entries_are_bounded_by_bytes(valve: Valve) -> None:
    log = shut(valve)
    text = "x" * 2000
    for _ in range(MAX_ENTRIES // 2):
        log.logger.info("large", **{f"field{number}": text for number in range(10)})
    assert log.dropped >= MAX_ENTRIES // 2 - MAX_BYTES // 20_000
    valve.open.set()
    assert log.close(PATIENCE)


def test_a1_closing_a_blocked_log_takes_bounded_time_and_tells_that_it_is_not_done(valve: Valve) -> None:
    log = shut(valve)
    assert not log.close(0.01)
    valve.open.set()
    assert log.close(PATIENCE)


def test_a1_a_log_that_cannot_be_written_is_outlived_and_its_lines_are_counted() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    log = LogThread("json", "info", Gone())
    log.logger.info("lost")
    log.close(PATIENCE)
    assert log.dropped == 1


def test_a1_a_finalizer_may_log_in_the_middle_of_logging(valve: Valve) -> None:
    valve.open.set()
    log = LogThread("json", "info", valve)

    class Loud:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            log.logger.warning("collected")

    for _ in range(100):
        Loud()
        log.logger.info("made")
    gc.collect()
    assert log.close(PATIENCE)
    events = [entry["event"] for entry in valve.entries()]
    assert (events.count("made"), events.count("collected")) == (100, 100)


def test_a1_the_thread_ends_while_nothing_is_logged_and_comes_back(
    valve: Valve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_thread, "IDLE_SECONDS", 0.01)
    valve.open.set()
    log = LogThread("json", "info", valve)
    log.logger.info("one")
    thread = log._thread
    if thread is not None:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    log.logger.info("two")
    assert log.close(PATIENCE)
    assert [entry["event"] for entry in valve.entries()] == ["one", "two"]
