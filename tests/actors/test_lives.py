"""Sockets come and go, actors crash, are set aside, and stop when nobody is left."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.deliveries import Deliver, Outgoing
from djactors.domain.marks import Offset
from djactors.store.errors import StoreUnavailable
from tests.actors.house import FakeSocket, House, job, note, running
from tests.actors.test_races import Gate


def names(house: House) -> list[str]:
    """Who has an actor."""
    return sorted(presence.name for presence in house.users.presences())


def poison(house: House, user_id: int = 11) -> None:
    """Deliver a change that crashes the actor when it is encoded."""
    change = Outgoing(None, None, Offset(0, 10**6), user_id)  # type: ignore[arg-type] # that is the point
    (presence,) = [each for each in house.users.presences() if each.user_id == user_id]
    presence.ref.tell_nowait(Deliver([change], None, trio.current_time(), house.users.number_commit()))


class Broken:
    """A hook that fails for as long as it is told to."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise StoreUnavailable("the disk is full")


class Steps(trio.abc.Instrument):
    """Counts how often a task runs."""

    def __init__(self, name: str) -> None:
        self.taken = 0
        self._name = name

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.taken += task.name == self._name


# Coming and going


async def test_a_socket_that_has_left_is_sent_nothing_more(path: Path, autojump_clock):
    async with running(path) as house:
        gone, stays = await house.connected(11), await house.connected(11)
        house.users.detach(1, 11, gone)
        await house.do(note(11))
        assert (gone.new, stays.new) == ([], [1])


async def test_detaching_somebody_who_never_came_does_no_harm(path: Path, autojump_clock):
    async with running(path) as house:
        house.users.detach(1, 11, FakeSocket())
        socket = await house.connected(11)
        house.users.detach(1, 11, FakeSocket())
        house.users.detach(1, 11, socket)
        house.users.detach(1, 11, socket)


async def test_a_socket_that_leaves_before_its_connect_is_answered_is_forgotten(path: Path, autojump_clock):
    """It must neither be written to nor keep the actor alive for ever."""
    async with running(path, passivate_after=30) as house:
        gate = house.store.before_snapshot = Gate()
        hasty = house.connect(11)
        await wait_all_tasks_blocked()
        hasty.leave()
        gate.open()
        await wait_all_tasks_blocked()
        assert not hasty.accepted
        await trio.sleep(100)
        assert names(house) == []


async def test_an_actor_outlives_its_last_socket_by_a_while(path: Path, autojump_clock):
    async with running(path, passivate_after=30) as house:
        socket = await house.connected(11)
        await trio.sleep(29.9)
        socket.leave()
        await trio.sleep(29.9)
        assert names(house) == ["user:1:11"]
        await trio.sleep(61)
        assert names(house) == []
        assert house.metric("djactors_users") == 0


async def test_an_actor_with_a_socket_never_stops(path: Path, autojump_clock):
    async with running(path, passivate_after=30) as house:
        socket = await house.connected(11)
        await trio.sleep(10_000)
        await house.do(note(11))
        assert socket.new == [1]


async def test_a_user_at_rest_costs_next_to_nothing_even_without_a_while(path: Path, autojump_clock):
    async with running(path, passivate_after=0) as house:
        await house.connected(11)
        steps = Steps("user:1:11")
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(60)
        assert steps.taken <= 61


async def test_an_actor_without_sockets_stops_however_busy_its_tenant_is(path: Path, autojump_clock):
    async with running(path, passivate_after=30) as house:
        stays, goes = await house.connected(12), await house.connected(11)
        goes.leave()
        for n in range(20):
            await house.do(job(), note(11))
            assert len(stays.packets) == n + 2
            await trio.sleep(10)
        assert names(house) == ["user:1:12"]


async def test_what_happened_while_nobody_was_there_is_not_replayed_to_whoever_comes_next(path: Path, autojump_clock):
    """Also where it falls into the moment in which the actor looks where the inbox stands."""
    async with running(path) as house:
        (await house.connected(11)).leave()
        await house.do(note(11))
        gate = house.store.after_snapshot = Gate()
        first, second = house.connect(11), house.connect(11)
        await wait_all_tasks_blocked()
        first.leave()
        second.leave()
        await house.do(note(11))
        third = house.connect(11)
        gate.open()
        await wait_all_tasks_blocked()
        assert third.counts == [2]
        assert third.new == []


async def test_a_reload_within_the_while_finds_what_came_meanwhile_in_the_count(path: Path, autojump_clock):
    async with running(path, passivate_after=30) as house:
        socket = await house.connected(11)
        socket.leave()
        await house.do(note(11), note(11), job())
        back = await house.connected(11)
        assert back.counts == [2]
        assert back.offsets == [house.at(3)]
        await house.do(note(11))
        assert back.new == [3]
        assert back.counts == [2, 3]


@pytest.mark.parametrize("early", [0.0, 0.0001])
async def test_a_socket_that_comes_as_the_actor_goes_gets_an_answer(path: Path, autojump_clock, early: float):
    async with running(path, passivate_after=5) as house:
        for _ in range(5):
            socket = await house.connected(11)
            socket.leave()
            for _ in range(3):
                await trio.sleep(5 - early)
                late = house.connect(11)
                await wait_all_tasks_blocked()
                assert late.accepted
                assert late.closed is None
                late.leave()
        await trio.sleep(20)
        assert names(house) == []
        assert house.metric("djactors_users") == 0


async def test_without_a_while_an_actor_still_answers_whom_it_was_started_for(path: Path, autojump_clock):
    async with running(path, passivate_after=0) as house:
        socket = await house.connected(11)
        await trio.sleep(1)
        await house.do(note(11))
        assert socket.new == [1]
        socket.leave()
        await trio.sleep(3)
        assert names(house) == []


async def test_a_user_has_at_most_so_many_sockets(path: Path, autojump_clock):
    async with running(path, max_sockets_per_user=3) as house:
        sockets = [await house.connected(11) for _ in range(3)]
        refused = house.connect(11)
        assert refused.closed is not None
        assert not refused.accepted
        sockets[0].leave()
        assert (await house.connected(11)).closed is None
        assert (await house.connected(12)).closed is None


async def test_sockets_that_come_all_at_once_are_counted_too(path: Path, autojump_clock):
    async with running(path, max_sockets_per_user=3) as house:
        sockets = [house.connect(11) for _ in range(10)]
        await wait_all_tasks_blocked()
        assert sum(socket.accepted for socket in sockets) == 3
        assert sum(socket.closed is not None for socket in sockets) == 7
        for socket in sockets:
            socket.leave()
        assert (await house.connected(11)).accepted


async def test_a_connect_that_finds_the_mailbox_full_is_closed_to_come_again(path: Path, autojump_clock):
    async with running(path, user_mailbox=2) as house:
        sockets = [house.connect(11) for _ in range(5)]
        await wait_all_tasks_blocked()
        assert [socket.accepted for socket in sockets] == [True, True, False, False, False]
        assert [socket.closed is None for socket in sockets] == [True, True, False, False, False]


async def test_there_are_at_most_as_many_users_as_connections(path: Path, autojump_clock):
    async with running(path, max_connections=2) as house:
        one, two = await house.connected(11), await house.connected(12)
        three = house.connect(21, 2)
        assert three.closed is not None
        await house.do(note(11), note(21, 2))
        assert (one.new, two.new) == ([1], [])


# Crashing


async def test_a_crash_closes_the_users_sockets_and_nobody_elses(path: Path, autojump_clock):
    async with running(path) as house:
        mine, siblings = await house.connected(11), await house.connected(12)
        poison(house)
        await wait_all_tasks_blocked()
        assert mine.closed == "actor_crashed"
        assert siblings.closed is None
        back = house.connect(11)
        await trio.sleep(5)
        assert back.counts == [0]
        await house.do(note(11), note(12))
        assert (mine.new, siblings.new, back.new) == ([], [2], [1])
        assert house.metric("djactors_actor_restarts_total", actor="user") == 1


async def test_what_came_while_an_actor_was_down_is_in_the_count(path: Path, autojump_clock):
    async with running(path) as house:
        await house.connected(11)
        poison(house)
        await wait_all_tasks_blocked()
        back = house.connect(11)
        await house.do(note(11), note(11))
        await trio.sleep(5)
        assert back.counts[-1] == 2
        assert back.counts in ([2], [0, 2])
        assert len(back.new) in (0, 2)


async def test_a_connect_that_is_lost_in_a_crash_is_closed_and_not_left_without_an_answer(path: Path, autojump_clock):
    async with running(path) as house:
        await house.connected(11)
        house.rouse()
        poison(house)
        lost = house.connect(11)
        await wait_all_tasks_blocked()
        assert lost.closed == "connect_lost"
        again = house.connect(11)
        await trio.sleep(5)
        assert again.accepted


async def test_a_snapshot_that_fails_once_is_read_again_and_the_connect_answered(path: Path, autojump_clock):
    async with running(path) as house:
        house.store.before_snapshot = Broken(2)
        socket = house.connect(11)
        await trio.sleep(5)
        assert socket.accepted
        assert socket.closed is None


async def test_row_23_a_user_whose_actor_keeps_failing_is_set_aside_alone_and_comes_back(path: Path, autojump_clock):
    async with running(path) as house:
        sibling = await house.connected(12)
        house.store.before_snapshot = Broken(4)
        first = house.connect(11)
        await trio.sleep(20)
        assert not first.accepted
        assert first.closed == "connect_lost"
        refused = house.connect(11)
        assert refused.closed is not None
        await house.do(note(11), note(12))
        assert sibling.new == [2]
        assert house.metric("djactors_actor_quarantines_total", actor="user") == 1
        await trio.sleep(60)
        back = await house.connected(11)
        assert back.counts == [1]
        await house.do(note(11))
        assert back.new == [3]


async def test_a_log_that_cannot_be_read_closes_the_sockets_to_come_again(path: Path, autojump_clock):
    async with running(path, user_mailbox=1) as house:
        socket = await house.connected(11)
        house.store.before_changes = Broken(1)
        recorded = [await house.store.store.record([note(11)]) for _ in range(3)]
        house.rouse()
        for each in recorded:
            await house.users.deliver(each, trio.current_time(), house.users.number_commit())
        await wait_all_tasks_blocked()
        assert socket.closed == "actor_crashed"
        back = house.connect(11)
        await trio.sleep(5)
        assert back.counts == [3]


async def test_after_a_crash_in_the_middle_of_a_rush_of_connects_the_cap_still_holds(path: Path, autojump_clock):
    async with running(path, max_sockets_per_user=3) as house:
        await house.connected(11)
        house.rouse()
        poison(house)
        lost = [house.connect(11) for _ in range(2)]
        await trio.sleep(5)
        assert all(socket.closed for socket in lost)
        back = [house.connect(11) for _ in range(4)]
        await wait_all_tasks_blocked()
        assert [socket.accepted for socket in back] == [True, True, True, False]


async def test_stopping_closes_every_socket(path: Path, autojump_clock):
    async with running(path) as house:
        sockets = [await house.connected(11), await house.connected(21, 2)]
    assert all(socket.closed is not None for socket in sockets)
    assert house.users.presences() == []
    late = house.connect(11)
    assert late.closed is not None
