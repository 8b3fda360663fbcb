"""A wall clock that jumps where the monotonic clock does not: nothing is lost by it. found.md, B2."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from djactors.actors import retention
from djactors.actors.retention import Keeping
from djactors.config import Settings
from djactors.domain.limits import Limits
from djactors.domain.times import from_text, utc_text
from djactors.operations import diagnosis
from djactors.steady_clock import AGREEMENT, LONG_DOWN, SETTLING, TOLERANCE, SteadyClock
from djactors.store.engines import Place
from tests.clockwork.desk import DAY, HOUR, MINUTE, MORNING, job, note
from tests.clockwork.house import House, WallClock, running
from tests.engines import open_connection

SECOND = timedelta(seconds=1)
KEEPING = Keeping(history_days=30, event_days=30, suppression_days=30)
MINUTES = 60.0


class Log:
    """What was told of the clocks."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, /, **facts: Any) -> None:
        self.entries.append((event, facts))

    @property
    def events(self) -> list[str]:
        """The beginnings of what was told: up to the first colon or comma."""
        return [event.split(":")[0].split(",")[0] for event, _ in self.entries]


JUMPED = "the wall clock jumped"
AGREES = "the wall clock agrees with the monotonic clock again"
FOLLOWED = "the wall clock has gone evenly since it jumped"
SET_RIGHT = "the wall clock was set right"


def steady(now: WallClock, log: Log | None = None) -> SteadyClock:
    return SteadyClock(now, trio.current_time, Log() if log is None else log)


def rows(place: Place, query: str) -> list[tuple[Any, ...]]:
    with open_connection(place) as connection:
        return connection.execute(query).fetchall()


def inbox(place: Place) -> int:
    return int(rows(place, "SELECT count(*) FROM notifications WHERE removed_seq IS NULL")[0][0])


async def jump_and_back(house: House, distance: timedelta, seconds: float) -> None:
    """The wall clock is off for a while, in which something is published, and right again."""
    house.now.jump(distance)
    await house.publish(note(11))
    await trio.sleep(seconds)
    await house.publish(note(11))
    house.now.jump(-distance)
    await trio.sleep(2 * MINUTES)


# The clock


@pytest.mark.parametrize("distance", [40 * DAY, -40 * DAY, timedelta(hours=2)])
async def test_b2_the_time_goes_on_without_a_jump(autojump_clock: object, distance: timedelta):
    now, log = WallClock(), Log()
    clock = steady(now, log)
    await trio.sleep(100)
    now.jump(distance)
    assert clock() == MORNING + 100 * SECOND
    await trio.sleep(80)
    assert clock() == MORNING + 180 * SECOND
    assert not clock.is_settled()
    assert log.events == [JUMPED]
    now.jump(-distance)
    assert clock() == MORNING + 180 * SECOND
    assert clock.is_settled()
    assert log.events == [JUMPED, AGREES]
    facts = log.entries[0][1]
    assert facts["wall_clock"] == (MORNING + 100 * SECOND + distance).isoformat()
    assert facts["by_monotonic"] == (MORNING + 100 * SECOND).isoformat()
    assert facts["ahead_seconds"] == distance.total_seconds()


async def test_b2_a_clock_that_keeps_to_its_jump_is_followed_after_a_while(autojump_clock: object):
    now, log = WallClock(), Log()
    clock = steady(now, log)
    now.jump(40 * DAY)
    clock()
    await trio.sleep(AGREEMENT - 1)
    assert clock() == MORNING + (AGREEMENT - 1) * SECOND
    await trio.sleep(1)
    assert clock() == MORNING + 40 * DAY + AGREEMENT * SECOND
    assert log.events == [JUMPED, FOLLOWED]
    assert not clock.is_settled()
    await trio.sleep(SETTLING)
    assert clock.is_settled()


async def test_b2_a_clock_that_jumps_to_and_fro_proves_itself_anew_and_is_told_of_once(autojump_clock: object):
    now, log = WallClock(), Log()
    clock = steady(now, log)
    for _ in range(10):
        now.jump(10 * DAY)
        clock()
        await trio.sleep(AGREEMENT - 1)
    assert clock() == MORNING + 10 * (AGREEMENT - 1) * SECOND
    assert log.events == [JUMPED]


async def test_b2_a_step_of_minutes_and_a_slow_drift_are_followed_at_once(autojump_clock: object):
    now, log = WallClock(), Log()
    clock = steady(now, log)
    for step in (TOLERANCE, -TOLERANCE, *[1.0] * 1000):
        now.jump(step * SECOND)
        assert clock() == now()
        await trio.sleep(60)
    assert log.events == []
    assert clock.is_settled()


@pytest.mark.parametrize("step", [TOLERANCE - 1, 1 - TOLERANCE])
async def test_b2_many_small_steps_count_together(autojump_clock: object, step: float):
    now, log = WallClock(), Log()
    clock = steady(now, log)
    right = now()
    for _ in range(100):
        now.jump(step * SECOND)
        clock()
        await trio.sleep(1)
    assert abs(clock() - right - 100 * SECOND) <= TOLERANCE * SECOND
    assert log.events[0] == JUMPED
    assert not clock.is_settled()


# What it saves


@pytest.mark.parametrize("seconds", [80.0, AGREEMENT - 1, AGREEMENT + SETTLING / 2])
async def test_b2_nothing_expires_and_nothing_is_purged(place: Place, autojump_clock: object, seconds: float):
    now = WallClock()
    async with running(place, now, keeping=KEEPING, clock=steady(now)) as house:
        await house.publish(*[note(11)] * 3)
        await trio.sleep(retention.LONGEST_SLEEP)
        await jump_and_back(house, 40 * DAY, seconds)
        await trio.sleep(3 * retention.LONGEST_SLEEP)
        assert inbox(place) == 5
        assert rows(place, "SELECT count(*) FROM changes") == [(5,)]
        assert rows(place, "SELECT count(*) FROM domain_events") == [(5,)]


async def test_b2_without_it_the_inbox_is_empty_for_good(place: Place, autojump_clock: object):
    """That the tests above would see the fault."""
    now = WallClock()
    async with running(place, now, keeping=KEEPING) as house:
        await house.publish(*[note(11)] * 3)
        await trio.sleep(retention.LONGEST_SLEEP)
        now.jump(40 * DAY)
        await trio.sleep(2 * retention.LONGEST_SLEEP)
        now.jump(-40 * DAY)
        assert inbox(place) == 0


async def test_b2_what_is_stored_meanwhile_has_the_right_time(place: Place, autojump_clock: object):
    now = WallClock()
    async with running(place, now, clock=steady(now)) as house:
        await jump_and_back(house, 40 * DAY, 80)
        stored = [from_text(moment) for (moment,) in rows(place, "SELECT created_at FROM notifications")]
    assert all(MORNING <= moment <= MORNING + HOUR for moment in stored)
    if isinstance(place, Path):
        assert diagnosis._times(place, now()) is None


@pytest.mark.parametrize("distance", [40 * DAY, -40 * DAY])
async def test_b2_no_alert_is_early_lost_or_doubled(place: Place, autojump_clock: object, distance: timedelta):
    now = WallClock()
    deadline = MORNING + DAY + 2 * MINUTE
    async with running(place, now, clock=steady(now)) as house:
        await house.publish(job(deadline))
        await jump_and_back(house, distance, 5 * MINUTES)
        await trio.sleep(2 * DAY.total_seconds())
    told = [
        (kind, datetime.fromisoformat(moment).replace(microsecond=0))
        for kind, moment in rows(place, "SELECT type, created_at FROM notifications WHERE type LIKE 'sla%' ORDER BY id")
    ]
    assert told == [
        ("sla_alert_24h", MORNING + 2 * MINUTE),
        ("sla_alert_overdue", deadline),
        ("sla_alert_overdue", deadline),
    ]


async def test_b2_no_day_begins_early(place: Place, autojump_clock: object):
    now = WallClock()
    async with running(place, now, limits=Limits(daily_limit=3), clock=steady(now)) as house:
        await house.publish(*[note(11)] * 3)
        await jump_and_back(house, 3 * DAY, 80)
    assert rows(place, "SELECT sent_day, sent_count FROM users WHERE id = 11") == [("2026-01-27", 3)]
    assert rows(place, "SELECT count(*) FROM suppressions") == [(2,)]


async def test_b2_a_paused_machine_is_right_after_a_while(place: Place, autojump_clock: object):
    """What is legitimate: the wall clock is right, and stays where it is."""
    now = WallClock()
    deadline = MORNING + 2 * DAY
    async with running(place, now, keeping=KEEPING, clock=steady(now)) as house:
        await house.publish(job(deadline), note(11))
        now.jump(40 * DAY)
        await trio.sleep(AGREEMENT + 3 * MINUTES)
        assert [kind for (kind,) in rows(place, "SELECT type FROM notifications WHERE type LIKE 'sla%'")] == [
            "sla_alert_overdue",
            "sla_alert_overdue",
        ]
        assert rows(place, "SELECT count(*) FROM notifications WHERE removed_reason = 'expired'") == [(0,)]
        await trio.sleep(SETTLING + 2 * retention.LONGEST_SLEEP)
        assert rows(place, "SELECT count(*) FROM notifications WHERE removed_reason = 'expired'") == [(2,)]


# Over a restart


async def test_b2_a_start_long_after_the_newest_time_waits_before_anything_falls_due(
    place: Place, autojump_clock: object
):
    now = WallClock()
    async with running(place, now) as house:
        await house.publish(job(MORNING + 2 * DAY), *[note(11)] * 3)
    now.jump(40 * DAY)
    log = Log()
    clock = steady(now, log)
    clock.begin(MORNING)
    assert log.events == ["the newest stored time is long ago"]
    async with running(place, now, keeping=KEEPING, clock=clock):
        await trio.sleep(80)
        now.jump(-40 * DAY)
        await trio.sleep(AGREEMENT + SETTLING + 2 * retention.LONGEST_SLEEP)
        assert inbox(place) == 4
        assert rows(place, "SELECT count(*) FROM notifications WHERE type LIKE 'sla%'") == [(0,)]
    assert log.events == ["the newest stored time is long ago", SET_RIGHT]


async def test_b2_a_server_that_was_down_for_long_catches_up_after_a_while(place: Place, autojump_clock: object):
    now = WallClock()
    async with running(place, now) as house:
        await house.publish(job(MORNING + 2 * DAY), *[note(11)] * 3)
    now.jump(40 * DAY)
    clock = steady(now)
    clock.begin(MORNING)
    async with running(place, now, keeping=KEEPING, clock=clock):
        await trio.sleep(AGREEMENT - 5)
        assert rows(place, "SELECT count(*) FROM notifications WHERE type LIKE 'sla%'") == [(0,)]
        await trio.sleep(2 * MINUTES)
        assert rows(place, "SELECT count(*) FROM notifications WHERE type LIKE 'sla%'") == [(2,)]
        assert inbox(place) == 6
        await trio.sleep(SETTLING)
        assert inbox(place) == 2


async def test_b2_a_short_pause_is_no_reason_to_wait(autojump_clock: object):
    now, log = WallClock(), Log()
    for last_seen in (None, MORNING - LONG_DOWN, MORNING):
        clock = steady(now, log)
        clock.begin(last_seen)
        assert clock.may_fall_due()
        assert clock.is_settled()
    assert log.events == []


async def test_b2_stored_times_in_the_future_are_told_at_the_start(autojump_clock: object):
    now, log = WallClock(), Log()
    clock = steady(now, log)
    clock.begin(MORNING + 40 * DAY)
    assert log.events == ["stored times lie in the future"]
    assert clock.may_fall_due()


@pytest.mark.sqlite_only("looks at the file as `check` does")
async def test_b2_check_finds_the_traces(place: Place, autojump_clock: object):
    """What a version without this has left behind."""
    now = WallClock()
    async with running(place, now, keeping=KEEPING) as house:
        await house.publish(*[note(11)] * 3)
        now.jump(40 * DAY)
        await house.publish(note(11))
        await trio.sleep(2 * retention.LONGEST_SLEEP)
        ahead = now()
        now.jump(-40 * DAY)
    found = dict(diagnosis.diagnose(Settings(database=str(place), jwt_secret="x" * 20 + "abcdefghijklmnop"), now=now))
    finding = found["times"]
    assert finding is not None
    assert "1 domain events (up to 2026-03-08" in finding
    assert "3 notifications that left the inbox as expired" in finding
    assert "the wall clock was ahead when they were written, or it is behind now" in finding
    assert dict(diagnosis.diagnose(Settings(database=str(place)), now=lambda: ahead))["times"] is None
    assert utc_text(now()) in finding


async def test_b2_its_seconds_are_those_of_its_time_in_doubt_as_well(autojump_clock: object):
    now = WallClock()
    clock = steady(now)
    for distance in (timedelta(0), 100 * SECOND, 40 * DAY, -80 * DAY):
        now.jump(distance)
        for pause in (0, 30, AGREEMENT):
            await trio.sleep(pause)
            assert clock.seconds() == pytest.approx(clock().timestamp(), abs=0.001)
