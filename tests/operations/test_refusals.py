"""A5: the first refusal of a kind and address is logged, the rest are counted and told once a minute, within bounds."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

import pytest
import trio

from djactors.telemetry import Telemetry, make_logger, total
from djactors.telemetry.refusals import MAX_KEPT, SUM_SECONDS, Refusals

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJlc2lnbmF0dXJl"


class Desk:
    """Refusals, and the log that the operator reads."""

    def __init__(self) -> None:
        self._log = io.StringIO()
        self.telemetry = Telemetry(make_logger("json", "info", self._log))
        self.refusals: Refusals = self.telemetry.refusals

    def refuse(self, peer: str = "10.0.0.1", reason: str = "http_401", **more: Any) -> None:
        self.refusals.refused(reason, "request refused", peer, came="GET /", **more)

    def read(self) -> list[dict[str, Any]]:
        """What came since the last time."""
        lines = self._log.getvalue().splitlines()
        self._log.seek(0)
        self._log.truncate()
        return [json.loads(line) for line in lines]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a5_each_kind_and_address_has_its_own_first_entry_and_sum(
    desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.refusals.run)
        for _ in range(100):
            desk.refuse("10.0.0.1")
            desk.refuse("10.0.0.2")
            desk.refuse("10.0.0.1", reason="http_404")
        first = desk.read()
        assert [(entry["reason"], entry["peer"]) for entry in first] == [
            ("http_401", "10.0.0.1"),
            ("http_401", "10.0.0.2"),
            ("http_404", "10.0.0.1"),
        ]
        await trio.sleep(SUM_SECONDS + 1)
        assert [entry["more"] for entry in desk.read()] == [99, 99, 99]
        # It goes on for one of them: a sum only. The others have stopped: nothing is said.
        desk.refuse("10.0.0.1")
        assert desk.read() == []
        await trio.sleep(SUM_SECONDS)
        assert [(entry["peer"], entry["more"]) for entry in desk.read()] == [("10.0.0.1", 1)]
        # After a quiet minute it is the first again, with all that it says.
        await trio.sleep(SUM_SECONDS)
        desk.refuse("10.0.0.1")
        [entry] = desk.read()
        assert entry["came"] == "GET /"
        nursery.cancel_scope.cancel()
    assert total(desk.telemetry.metrics.refusals, reason="http_401") == 202


async def test_a5_what_is_left_at_the_end_is_told(desk: Desk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.refusals.run)
        await trio.lowlevel.checkpoint()
        desk.refuse()
        desk.refuse()
        nursery.cancel_scope.cancel()
    assert [entry.get("more") for entry in desk.read()] == [None, 1]


def test_a5_a_crowd_that_comes_from_everywhere_is_lumped_together(desk: Desk) -> None:
    extra = 500
    for number in range(MAX_KEPT + extra):
        desk.refuse(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    entries = desk.read()
    assert len(entries) == MAX_KEPT + 1
    assert entries[-1]["peer"] == "10.0.3.232"  # an example of the others
    desk.refusals.sum_up()
    assert [(entry["peer"], entry["more"]) for entry in desk.read()] == [("others", extra - 1)]


def test_a5_one_network_of_ipv6_is_one_address(desk: Desk) -> None:
    for number in range(1, 1000):
        desk.refuse(f"2001:db8:1:2::{number:x}")
    assert len(desk.read()) == 1


def test_a5_codes_tell_apart_what_differs_and_no_more(desk: Desk) -> None:
    for code in ("token_missing", "token_expired") * 3:
        desk.refuse(code=code)
    assert Counter(entry["code"] for entry in desk.read()) == {"token_missing": 1, "token_expired": 1}


def test_a5_what_came_is_cut_and_shows_no_token(desk: Desk) -> None:
    desk.refusals.refused("http_404", "request refused", "10.0.0.1", came=f"GET /{TOKEN}", expected="x" * 10_000)
    [entry] = desk.read()
    assert entry["came"] == "GET /[token]"
    assert len(entry["expected"]) < 500


def test_a5_a_fault_that_comes_again_is_told_with_its_traceback_once(desk: Desk) -> None:
    def fail() -> None:
        raise ZeroDivisionError("no")

    for _ in range(10):
        try:
            fail()
        except ZeroDivisionError as error:
            desk.refusals.failed("connection failed", error, "10.0.0.1")
    desk.refusals.sum_up()
    first, rest = desk.read()
    assert first["level"] == rest["level"] == "error"
    assert first["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert rest["more"] == 9
