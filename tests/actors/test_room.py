"""The disk under the database is looked at, and what is seen is told to metrics, to the log and to the router."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from math import inf, isnan

import msgspec
import trio
from prometheus_client import Gauge

from djactors.actors.room import FIRST_LOOK, LOOK_SECONDS, MAILBOX, Horizon, RoomWatch
from djactors.actors.slices import Unavailable
from djactors.domain.commands import NoteRoom, SliceCommand, Sliced
from djactors.domain.room import Size
from djactors.domain.times import utc_text
from djactors.kernel import ActorSpec, Supervisor
from djactors.store.errors import StoreError, StoreUnavailable
from djactors.store.room import Room
from djactors.telemetry import Telemetry, make_logger

GIB = 2**30
NOW = datetime(2026, 1, 27, 10, tzinfo=UTC)
A_DAY_AGO = [Size(utc_text(NOW - timedelta(days=1)), GIB)]
TODAY = [Size(utc_text(NOW), GIB)]


class House:
    """The store and the router as this actor sees them."""

    def __init__(self) -> None:
        self.found = Room(2 * GIB, 2 * GIB, 5 * GIB)
        self.noted: list[Size] = []
        self.told_at: str | None = None
        self.asked: list[SliceCommand] = []
        self.copied: float | None = None
        self.failure: StoreError | None = None
        self.log = io.StringIO()
        self.telemetry = Telemetry(make_logger("json", "info", self.log))
        self.horizon = Horizon()
        self.trusted = True

    async def room(self) -> Room:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        return self.found

    async def sizes(self) -> tuple[list[Size], str | None]:
        await trio.lowlevel.checkpoint()
        return self.noted, self.told_at

    async def copied_at(self) -> float | None:
        await trio.lowlevel.checkpoint()
        return self.copied

    async def __call__(self, command: SliceCommand) -> Sliced:
        await trio.lowlevel.checkpoint()
        self.asked.append(command)
        return Sliced(0, more=False)

    def failed(self, what: str, error: Exception) -> Unavailable:
        return Unavailable(FIRST_LOOK)

    def events(self) -> list[str]:
        return [msgspec.json.decode(line)["event"] for line in self.log.getvalue().splitlines()]

    def gauges(self) -> tuple[float, ...]:
        metrics = self.telemetry.metrics
        kept = metrics.database_bytes, metrics.disk_free, metrics.database_growth, metrics.disk_days_left
        return tuple(value(gauge) for gauge in kept)


def value(gauge: Gauge) -> float:
    [family] = gauge.collect()
    [sample] = family.samples
    return float(sample.value)


@asynccontextmanager
async def watching(house: House, limit: int = 0) -> AsyncIterator[None]:
    """The actor, and the moment after its first look."""
    spec = ActorSpec(
        "room",
        lambda: RoomWatch(
            house,  # type: ignore[arg-type]
            house,
            house.horizon,
            limit,
            house.telemetry,
            lambda: NOW,
            lambda: house.trusted,
        ),
        mailbox_capacity=MAILBOX,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(Supervisor("root", [spec]).run)
        await trio.sleep(FIRST_LOOK + 1)
        yield
        nursery.cancel_scope.cancel()


async def test_a_day_s_size_is_noted_once(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with watching(house):
        assert house.asked == [NoteRoom(2 * GIB, 5 * GIB, 1000)]
        house.noted = TODAY
        await trio.sleep(10 * LOOK_SECONDS)
        assert len(house.asked) == 1


async def test_a_disk_that_fills_up_is_told_to_everybody(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    house.noted = [*A_DAY_AGO, *TODAY]
    async with watching(house):
        assert house.horizon.concern() == "the disk of the database will be full in about 5 days"
        assert house.gauges() == (2 * GIB, 5 * GIB, GIB, 5.0)
        assert house.asked == [NoteRoom(2 * GIB, 5 * GIB, 1000)]
        assert house.events() == ["the disk fills up"]
        house.told_at = utc_text(NOW)
        await trio.sleep(2 * LOOK_SECONDS)
        assert len(house.asked) == 1, "the admins know"
        assert house.events() == ["the disk fills up"], "so does the log"
        house.found = Room(2 * GIB, 2 * GIB, 500 * GIB)
        await trio.sleep(LOOK_SECONDS)
        assert house.horizon.concern() is None
        assert house.events() == ["the disk fills up", "the disk has room again"]


async def test_what_nobody_knows_is_no_number(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    assert all(isnan(gauge) for gauge in house.gauges())
    house.found = Room(GIB, GIB, None)
    async with watching(house):
        taken, *unknown = house.gauges()
        assert taken == GIB
        assert all(isnan(gauge) for gauge in unknown)
        house.found, house.noted = Room(GIB, GIB, GIB), A_DAY_AGO
        await trio.sleep(LOOK_SECONDS)
        assert house.gauges() == (GIB, GIB, 0.0, inf)


async def test_the_newest_copy_is_a_metric_until_nobody_knows_of_one(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    gauge = house.telemetry.metrics.backup_timestamp
    async with watching(house):
        assert isnan(value(gauge))
        house.copied = NOW.timestamp()
        await trio.sleep(LOOK_SECONDS)
        assert value(gauge) == NOW.timestamp()
        house.copied = None
        await trio.sleep(LOOK_SECONDS)
        assert isnan(value(gauge))


async def test_a_clock_that_is_not_to_be_trusted_notes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    house.trusted = False
    async with watching(house):
        assert house.gauges()[0] == 2 * GIB
        assert house.asked == []


async def test_a_database_that_cannot_be_read_is_looked_at_again(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    house.failure = StoreUnavailable("locked")
    async with watching(house):
        assert house.asked == []
        house.failure = None
        await trio.sleep(FIRST_LOOK)
        assert len(house.asked) == 1
