"""What is snoozed comes back at its moment, once, whatever happens to the server in between. Under a virtual clock."""

from datetime import datetime, timedelta

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.sla import FIRST_LOOK
from djactors.domain.commands import Archive, Counted, Delete, MarkAllRead, Snooze
from djactors.store.engines import Place
from tests.clockwork.desk import DAY, HOUR, note
from tests.clockwork.house import WallClock, running
from tests.engines import open_connection

MONTH = timedelta(days=30)


def returns(place: Place) -> list[datetime]:
    """When something came back, to the second."""
    with open_connection(place) as connection:
        rows = connection.execute("SELECT created_at FROM changes WHERE kind = 'unsnoozed' ORDER BY seq").fetchall()
    return [datetime.fromisoformat(moment).replace(microsecond=0) for (moment,) in rows]


async def test_it_comes_back_at_the_moment_and_not_before(place: Place, autojump_clock):
    now = WallClock()
    until = now() + 3 * HOUR
    async with running(place, now) as house:
        await house.publish(note(11), note(11))
        assert await house.router.ask(Snooze(1, 11, 1, until), 60) == Counted(1, 1)
        await now.sleep_until(until - timedelta(seconds=1))
        assert returns(place) == []
        await now.sleep_until(until + 5 * HOUR)
        assert returns(place) == [until]
        assert await house.router.ask(MarkAllRead(1, 12), 60) == Counted(0, 0)
        assert (await house.ledger.store.snapshot(1, 11)).unread == 2


async def test_it_comes_back_once_over_restarts(place: Place, autojump_clock):
    now = WallClock()
    until = now() + 3 * HOUR
    async with running(place, now) as house:
        await house.publish(note(11))
        await house.router.ask(Snooze(1, 11, 1, until), 60)
    await now.sleep_until(until + DAY)
    for _ in range(3):
        async with running(place, now):
            await trio.sleep(FIRST_LOOK + 60)
    assert len(returns(place)) == 1


async def test_what_was_moved_or_deleted_in_the_meantime_stays_away(place: Place, autojump_clock):
    now = WallClock()
    until = now() + 3 * HOUR
    async with running(place, now) as house:
        await house.publish(note(11), note(11), note(11))
        for id_ in (1, 2, 3):
            await house.router.ask(Snooze(1, 11, id_, until), 60)
        await house.router.ask(Archive(1, 11, 1), 60)
        await house.router.ask(Delete(1, 11, 2), 60)
        await house.router.ask(Snooze(1, 11, 3, until + HOUR), 60)
        await now.sleep_until(until + DAY)
        assert returns(place) == [until + HOUR]


async def test_expiry_wins_when_both_are_past(place: Place, autojump_clock):
    now = WallClock()
    async with running(place, now) as house:
        await house.publish(note(11))
        await house.router.ask(Snooze(1, 11, 1, now() + MONTH - HOUR), 60)
    now.jump(MONTH + DAY)
    async with running(place, now) as house:
        await trio.sleep(FIRST_LOOK + 60)
        await wait_all_tasks_blocked()
        assert len(house.ledger.asked("WakeSnoozed")) == 1, "what never comes back is not looked for again and again"
    assert returns(place) == []
