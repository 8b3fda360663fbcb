"""The clock as an actor: when it wakes, what wakes it, what it survives. All under a virtual clock."""

from datetime import datetime, timedelta
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.sla import FIRST_LOOK, LONGEST_SLEEP
from djactors.domain.limits import Limits
from djactors.store.engines import Place
from tests.clockwork.desk import DAY, HOUR, MINUTE, completed, job, moved, note
from tests.clockwork.house import WallClock, running
from tests.engines import open_connection

SECOND = timedelta(seconds=1)


def alerts(place: Place) -> list[tuple[Any, ...]]:
    """Who was told what at which second, in order; summaries too."""
    with open_connection(place) as connection:
        return [
            (user_id, kind, datetime.fromisoformat(moment).replace(microsecond=0))
            for user_id, kind, moment in connection.execute(
                "SELECT user_id, type, created_at FROM notifications "
                "WHERE type LIKE 'sla%' OR type = 'daily_summary' ORDER BY id"
            )
        ]


async def test_it_wakes_at_the_moment_and_not_before(place: Place, autojump_clock):
    now = WallClock()
    deadline = now() + 2 * DAY
    async with running(place, now) as house:
        await house.publish(job(deadline))
        await now.sleep_until(deadline + HOUR)
        assert alerts(place) == [
            (11, "sla_alert_24h", deadline - DAY),
            (11, "sla_alert_overdue", deadline),
            (12, "sla_alert_overdue", deadline),
        ]
        # The first look at the start, and one for each moment: what sleeps does not ask.
        assert len(house.ledger.asked("RaiseAlerts")) == 3


async def test_a_commit_that_brings_a_moment_forward_wakes_it(place: Place, autojump_clock):
    now = WallClock()
    async with running(place, now) as house:
        await house.publish(job(now() + 30 * DAY), job(now() + 40 * DAY))
        await trio.sleep(10)
        moment = now()
        await house.publish(moved(2, moment + DAY + 5 * SECOND))
        await trio.sleep(6)
        assert alerts(place) == [(11, "sla_alert_24h", moment.replace(microsecond=0) + 5 * SECOND)]


async def test_what_is_due_already_when_it_is_committed_is_told_at_once(place: Place, autojump_clock):
    now = WallClock()
    async with running(place, now) as house:
        await house.publish(job(now() - HOUR))
        assert [row[:2] for row in alerts(place)] == [(11, "sla_alert_overdue"), (12, "sla_alert_overdue")]


async def test_more_jobs_than_a_slice_holds_are_told_in_several_commits(place: Place, autojump_clock):
    now = WallClock()
    deadline = now() + 2 * DAY
    async with running(place, now, limits=Limits(daily_limit=10_000)) as house:
        await house.publish(*[job(deadline) for _ in range(250)])
        before = len(house.ledger.asked("RaiseAlerts"))
        await now.sleep_until(deadline - DAY + SECOND)
        assert len(alerts(place)) == 250
        assert len(house.ledger.asked("RaiseAlerts")) == before + 3


async def test_a_machine_that_slept_or_was_set_is_noticed_within_a_minute(place: Place, autojump_clock):
    now = WallClock()
    async with running(place, now) as house:
        await house.publish(job(now() + 2 * DAY))
        await trio.sleep(HOUR.total_seconds() + 7)
        now.jump(DAY)
        woke = trio.current_time()
        await trio.sleep(LONGEST_SLEEP)
        assert [row[:2] for row in alerts(place)] == [(11, "sla_alert_24h")]
        assert trio.current_time() - woke <= LONGEST_SLEEP
        now.jump(-10 * DAY)
        await trio.sleep(11 * DAY.total_seconds() + HOUR.total_seconds())
        now.jump(DAY)
        await trio.sleep(LONGEST_SLEEP)
        assert [row[1] for row in alerts(place)] == ["sla_alert_24h", "sla_alert_overdue", "sla_alert_overdue"]


async def test_a_restart_sends_what_is_still_true_once(place: Place, autojump_clock):
    now = WallClock()
    deadline = now() + 2 * DAY
    async with running(place, now) as house:
        await house.publish(job(deadline), job(deadline + 5 * DAY))
        await now.sleep_until(deadline - DAY + HOUR)
    await now.sleep_until(deadline + 7 * DAY)
    async with running(place, now):
        pass
    async with running(place, now):
        pass
    told = [row[:2] for row in alerts(place) if row[0] == 11]
    assert told == [(11, "sla_alert_24h"), (11, "sla_alert_overdue"), (11, "sla_alert_overdue")]


async def test_a_job_completed_while_the_clock_sleeps_is_let_alone(place: Place, autojump_clock):
    now = WallClock()
    deadline = now() + 2 * DAY
    async with running(place, now) as house:
        await house.publish(job(deadline))
        await now.sleep_until(deadline - DAY - SECOND)
        await house.publish(completed(1))
        await now.sleep_until(deadline + DAY)
        assert alerts(place) == []


async def test_while_the_store_fails_it_tries_again_and_then_tells_once(place: Place, autojump_clock):
    now = WallClock()
    deadline = now() + 2 * DAY
    async with running(place, now) as house:
        await house.publish(job(deadline))
        house.ledger.failing = True
        await now.sleep_until(deadline - DAY + 2 * HOUR)
        tries = house.ledger.asked("RaiseAlerts")[1:]
        assert len(tries) < 130  # a while later each time, up to a minute
        house.ledger.failing = False
        await trio.sleep(LONGEST_SLEEP)
        assert [row[:2] for row in alerts(place)] == [(11, "sla_alert_24h")]
        assert not [child for child in house.root.statistics().children if child.tally.crashes]


async def test_one_more_summary_is_sent_a_minute_after_the_first(place: Place, autojump_clock):
    now = WallClock()
    async with running(place, now, limits=Limits(daily_limit=1)) as house:
        first = now().replace(microsecond=0)
        await house.publish(note(11), note(11))
        for _ in range(5):
            await trio.sleep(4)
            await house.publish(note(11))
        await trio.sleep(120)
        summaries = alerts(place)
        assert summaries == [(11, "daily_summary", first), (11, "daily_summary", first + MINUTE)]
        with open_connection(place) as connection:
            [title] = connection.execute(
                "SELECT title FROM notifications WHERE type = 'daily_summary' AND removed_seq IS NULL"
            ).fetchone()
        assert title == "6 more updates today"


async def test_it_stops_at_once_in_the_middle_of_much_work(place: Place, autojump_clock):
    now = WallClock()
    async with running(place, now, limits=Limits(daily_limit=10_000)) as house:
        await house.publish(*[job(now() + 2 * DAY) for _ in range(500)])
    now.jump(3 * DAY)
    # From a full second on, the clock's first look comes at its exact moment: there is none after it to stop at.
    await trio.sleep(1 - trio.current_time() % 1)
    async with running(place, now, limits=Limits(daily_limit=10_000), has_looked=False) as house:
        await trio.sleep(FIRST_LOOK)
        while len(house.ledger.asked("RaiseAlerts")) < 2:
            await trio.lowlevel.checkpoint()
    assert 0 < len(alerts(place)) < 1000
    async with running(place, now, limits=Limits(daily_limit=10_000)):
        await wait_all_tasks_blocked()
    assert len(alerts(place)) == 1000
