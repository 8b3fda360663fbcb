"""What many are told at the same time keeps nobody else waiting: the announcer tells it, a slice in a turn."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors import announcer as announcer_module
from djactors.actors import users as users_module
from djactors.actors.announcer import Telling
from tests.actors.house import FakeSocket, House, job, note, running

MANY = range(100, 160)
SLICE = 4


@pytest.fixture(autouse=True)
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcer_module, "TOLD_PER_TURN", SLICE)
    monkeypatch.setattr(users_module, "TOLD_PER_TURN", SLICE)
    monkeypatch.setattr(users_module, "AT_ONCE", SLICE)


class Turns(trio.abc.Instrument):
    """In each turn of the loop, how often these sockets were written to."""

    def __init__(self, sockets: list[FakeSocket]) -> None:
        self._sockets = sockets
        self._before = self._writes()
        self.counts: list[int] = []

    def _writes(self) -> int:
        return sum(len(socket.writes) for socket in self._sockets)

    def before_io_wait(self, timeout: float) -> None:
        now = self._writes()
        self.counts.append(now - self._before)
        self._before = now


async def crowd(house: House) -> list[FakeSocket]:
    sockets = [house.connect(user) for user in MANY]
    await wait_all_tasks_blocked()
    return sockets


async def until(house: House, told: FakeSocket) -> None:
    """Wait until this socket was told of a change."""
    with trio.fail_after(5):
        while not told.logged:
            await trio.lowlevel.checkpoint()


async def test_a_change_that_many_are_told_is_told_in_slices(path: Path, autojump_clock):
    async with running(path) as house:
        sockets = await crowd(house)
        turns = Turns(sockets)
        trio.lowlevel.add_instrument(turns)
        await house.do(job())
        trio.lowlevel.remove_instrument(turns)
        assert sum(turns.counts) == len(sockets)
        assert max(turns.counts) == SLICE
        assert all(len(socket.logged) == 1 for socket in sockets)


async def test_another_tenant_is_told_and_answered_meanwhile(path: Path, autojump_clock):
    async with running(path) as house:
        sockets = await crowd(house)
        stranger = await house.connected(21, 2)
        house.send(job())
        await until(house, sockets[0])
        outcomes = house.send(note(21, tenant_id=2))
        await until(house, stranger)
        assert not sockets[-1].logged
        assert len(outcomes) == 1
        await wait_all_tasks_blocked()
        assert len(sockets[-1].logged) == 1


async def test_what_comes_behind_it_for_one_of_them_is_told_behind_it(path: Path, autojump_clock):
    async with running(path) as house:
        sockets = await crowd(house)
        house.send(job())
        await until(house, sockets[0])
        outcomes = house.send(note(MANY[-1]))
        with trio.fail_after(5):
            while not outcomes:
                await trio.lowlevel.checkpoint()
        assert not sockets[-1].logged
        await wait_all_tasks_blocked()
        assert sockets[-1].logged == [1, 2]
        assert sockets[0].logged == [1]


async def test_the_router_waits_while_too_much_waits_for_a_tenant(
    path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(announcer_module, "MOST_WAITING", len(MANY))
    async with running(path) as house:
        sockets = await crowd(house)
        house.send(job())
        await until(house, sockets[0])
        second = house.send(job())
        assert not sockets[-1].logged
        with trio.fail_after(5):
            while not second:
                await trio.lowlevel.checkpoint()
        # The sender of the second change is answered once the first one was told to the last of them.
        assert all(socket.logged for socket in sockets)
        await wait_all_tasks_blocked()
        assert all(socket.logged == [1, 2] for socket in sockets)


@pytest.mark.parametrize("crashes", [2, 5])
async def test_after_a_crash_everybody_looks_into_the_log(
    path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch, crashes: int
):
    original = Telling.step
    steps = 0

    def step(self: Telling) -> bool:
        nonlocal steps
        steps += 1
        if steps == crashes:
            raise RuntimeError("poison")
        return original(self)

    monkeypatch.setattr(Telling, "step", step)
    async with running(path) as house:
        sockets = await crowd(house)
        house.send(job())
        await until(house, sockets[0])
        house.send(job(), note(MANY[-1]))
        await trio.sleep(5)
        assert all(socket.logged == [1, 2] for socket in sockets[:-1])
        assert sockets[-1].logged == [1, 2, 3]
        assert all(socket.closed is None for socket in sockets)
