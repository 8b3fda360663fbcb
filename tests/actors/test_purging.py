"""History is purged under people who are connected: never behind what one of them was told last."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from trio.testing import wait_all_tasks_blocked

from djactors.actors.user import REPLAY_SLICE
from djactors.domain.commands import MarkAllRead, PurgeSlice
from tests.actors.house import COUNT, House, note, running
from tests.actors.test_delivery import names
from tests.actors.test_put_back import ANN, BOB, COPIED, RESET_THEN_COUNT, Device, do_each, notes, titles

NOTHING_KEPT = timedelta(0)


async def purge(house: House) -> dict[int, int]:
    """As retention does it; the tenants in which somebody holds it up."""
    [sliced] = await house.do(PurgeSlice("changes", NOTHING_KEPT, 1000, 0, house.users.standing()))
    await house.users.bring_up(sliced.held_up)
    await wait_all_tasks_blocked()
    return dict(sliced.held_up)


async def test_it_does_not_overtake_who_is_behind(path: Path, autojump_clock):
    async with running(path, daily_limit=1000) as house:
        await house.do(*notes("kept", 3 * REPLAY_SLICE))
        socket = await house.connected(ANN, since=".0", roomy=False)
        assert await purge(house) == {1: 3 * REPLAY_SLICE}
        while socket.waits:
            socket.drain()
            await wait_all_tasks_blocked()
        assert len(titles(socket)) == 3 * REPLAY_SLICE
        assert await purge(house) == {}
        again = await house.connected(ANN, **Device(socket).by_pid)
        assert names(again.packets) == [COUNT]


async def test_whom_nothing_has_concerned_is_told_where_the_log_stands_and_goes_on_from_there(
    path: Path, autojump_clock
):
    async with running(path) as house:
        await house.do(*notes("kept", 1))
        quiet, plain = await house.connected(ANN), await house.connected(ANN, recovery=False)
        await do_each(house, notes("others", COPIED, BOB))
        assert quiet.offsets == [house.at(1)]
        assert await purge(house) == {1: COPIED + 1}
        assert quiet.packets[-1].body == plain.packets[-1].body == {"count": 1, "unseen": 1}
        assert quiet.offsets == [house.at(1), house.at(COPIED + 1)]
        assert await purge(house) == {}
        back = await house.connected(ANN, **Device(quiet).by_pid)
        assert names(back.packets) == [COUNT]
        # Whose client has left holds nothing up, and is told to reload if it comes back too late.
        assert await purge(house) == {}


async def test_it_takes_what_nobody_stands_in(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(*notes("kept", 4), note(21, 2), note(21, 2))
        await house.connected(ANN)
        await house.do(MarkAllRead(1, ANN))
        assert await purge(house) == {}
        assert await house.store.store._database.read(
            lambda c: c.execute("SELECT id, oldest_seq FROM tenants ORDER BY id").fetchall()
        ) == [(1, 5), (2, 2)]


async def test_the_beginning_is_none_any_more_once_history_was_purged(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(*notes("purged", 3))
        await purge(house)
        assert names((await house.connected(ANN, since=".0")).packets) == RESET_THEN_COUNT
        assert names((await house.connected(21, 2, since=".0")).packets) == [COUNT]
