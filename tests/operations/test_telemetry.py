"""Logs are one JSON line an entry whatever is in it, hold no secret even of a crash, and drive no terminal."""

from __future__ import annotations

import io
import json
import sys

import pytest

from djactors.telemetry import FAST, LogThread, Metrics, distribution, make_logger, total

SECRET = "a-token-that-nobody-may-see"
NASTY = [
    "a\nb",
    "a\r\nb",
    '{"a":1}',
    "\x1b[31mred\x1b[0m",
    "\x00\x07\x7f",
    "\ud800",
    "\u2028\u2029\x85",
    '"; DROP TABLE x --',
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", NASTY)
def test_an_entry_is_one_json_line_that_gives_the_text_back(text: str) -> None:
    stream = io.StringIO()
    make_logger("json", "info", stream).info("something", path=text, more={"nested": [text]}, **{"a key": text})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].isascii()
    assert lines[0].isprintable()
    assert json.loads(lines[0])["path"] == text
    assert json.loads(lines[0])["more"] == {"nested": [text]}


def crash(log_format: str, stream: io.StringIO) -> None:
    authorization = f"Bearer {SECRET}"
    try:
        assert authorization
        int("x", base=16)
    except ValueError as error:
        make_logger(log_format, "info", stream).error("connection failed", exc_info=error)


def test_a_crash_is_one_json_line_without_the_values_of_variables() -> None:
    stream = io.StringIO()
    crash("json", stream)
    [line] = stream.getvalue().splitlines()
    assert SECRET not in line
    assert "invalid literal" in line
    assert json.loads(line)["exception"][0]["frames"][-1]["name"] == "crash"


def test_a_crash_on_a_terminal_shows_no_values_of_variables_either() -> None:
    stream = Terminal()
    crash("auto", stream)
    assert SECRET not in stream.getvalue()
    assert "invalid literal" in stream.getvalue()


@pytest.mark.parametrize("text", NASTY)
def test_a_terminal_is_not_driven_by_what_comes_from_outside(text: str) -> None:
    plain, nasty = Terminal(), Terminal()
    make_logger("auto", "info", plain).info("request refused", path="x")
    make_logger("auto", "info", nasty).info("request refused", path=text)
    assert nasty.getvalue().count("\n") == 1
    assert nasty.getvalue().count("\x1b") == plain.getvalue().count("\x1b")


def test_auto_is_json_off_a_terminal_and_levels_are_kept() -> None:
    stream = io.StringIO()
    log = make_logger("auto", "warning", stream)
    log.info("not this")
    log.warning("this")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["this"]


class Gone(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device"), ValueError("closed")])
def test_a_server_outlives_its_log(error: Exception) -> None:
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(make_logger("json", "debug", Gone(error)), level)("something", path="x")


def test_a_server_may_have_no_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    log = LogThread("auto", "debug")
    log.logger.error("something")
    assert log.close()


def test_a_histogram_is_read_back_as_what_lies_between_its_bounds() -> None:
    metrics = Metrics()
    empty = distribution(metrics.delivery)
    assert (sum(empty.counts), empty.count, empty.sum) == (0, 0, 0)
    for seconds in (0.0005, 0.0007, 0.0008, 100.0):
        metrics.delivery.observe(seconds)
    read = distribution(metrics.delivery)
    assert read.bounds == list(FAST)
    assert read.counts == [1, 2, *[0] * (len(FAST) - 2), 1]
    assert (read.count, read.sum) == (4, pytest.approx(100.002))


def test_a_counter_is_added_up_over_what_has_the_labels() -> None:
    metrics = Metrics()
    metrics.events.add(3, "job.created", "recorded")
    metrics.events.add(4, "job.assigned", "recorded")
    metrics.events.add(5, "job.assigned", "refused")
    assert total(metrics.events, outcome="recorded") == 7
    assert total(metrics.events) == 12
    assert total(metrics.notifications) == 0


def test_two_servers_in_one_process_count_for_themselves() -> None:
    one, two = Metrics(), Metrics()
    one.tcp_connections.add(1)
    assert b"djactors_tcp_connections 1.0" in one.exposition()
    assert b"djactors_tcp_connections 0.0" in two.exposition()
