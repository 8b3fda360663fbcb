"""Commits between a snapshot and a delivery, mailboxes that overflow: nothing is lost, nothing doubled."""

import random
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors import announcer as announcer_module
from djactors.actors import users as users_module
from djactors.domain.commands import MarkAllRead, MarkRead, Recorded
from tests.actors.house import COUNT, NEW, House, Packet, job, note, running
from tests.offsets import number_of


class Gate:
    """Holds whoever comes, until it is opened."""

    def __init__(self) -> None:
        self._open = trio.Event()
        self.waiting = 0

    async def __call__(self) -> None:
        self.waiting += 1
        await self._open.wait()

    def open(self) -> None:
        self._open.set()


async def test_a_commit_before_the_snapshot_is_read_is_in_the_count_and_not_told_again(path: Path, autojump_clock):
    async with running(path) as house:
        gate = house.store.before_snapshot = Gate()
        socket = house.connect(11)
        await wait_all_tasks_blocked()
        assert gate.waiting == 1
        await house.do(note(11))
        gate.open()
        await wait_all_tasks_blocked()
        assert socket.writes == [[Packet(COUNT, {"count": 1, "unseen": 1}, house.at(1))]]


async def test_a_commit_after_the_snapshot_was_read_is_told(path: Path, autojump_clock):
    async with running(path) as house:
        gate = house.store.after_snapshot = Gate()
        socket = house.connect(11)
        await wait_all_tasks_blocked()
        await house.do(note(11), job())
        gate.open()
        await wait_all_tasks_blocked()
        assert socket.counts == [0, 1]
        assert socket.offsets == [house.at(0), house.at(1), house.at(2), house.at(2)]


async def test_a_commit_under_way_while_a_user_connects_is_told_once(path: Path, autojump_clock):
    """The change is durable before the snapshot is read, and delivered after it."""
    async with running(path) as house:
        gate = house.store.before_record = Gate()
        house.send(note(11))
        await wait_all_tasks_blocked()
        socket = await house.connected(11)
        gate.open()
        await wait_all_tasks_blocked()
        assert socket.counts == [0, 1]
        assert socket.new == [1]


async def test_commits_on_both_sides_of_the_snapshot_are_each_counted_once(path: Path, autojump_clock):
    async with running(path) as house:
        before, after = Gate(), Gate()
        house.store.before_snapshot, house.store.after_snapshot = before, after
        socket = house.connect(11)
        await wait_all_tasks_blocked()
        await house.do(note(11), note(11))
        before.open()
        await wait_all_tasks_blocked()
        await house.do(note(11))
        second = house.connect(11)
        await house.do(note(11))
        after.open()
        await wait_all_tasks_blocked()
        # What was under way while it read the store is looked for in the log, with what came meanwhile.
        assert socket.counts == [2, 4]
        assert socket.new == [3, 4]
        assert (second.new, second.counts) == ([], [4])


async def test_row_25_a_mailbox_that_overflows_is_made_good_from_the_log(path: Path, autojump_clock):
    async with running(path, user_mailbox=2) as house:
        socket = await house.connected(11)
        gate = house.store.before_snapshot = Gate()
        for _ in range(10):
            # The actor cannot run between deliveries that are made in one step.
            await _deliver(house, [await house.store.store.record([note(11)]) for _ in range(4)])
        await wait_all_tasks_blocked()
        assert gate.waiting == 1
        gate.open()
        await wait_all_tasks_blocked()
        late = await house.connected(11)
        assert socket.new == list(range(1, 41))
        assert socket.counts[-1] == late.counts[-1] == 40


async def _deliver(house: House, recorded: list[Recorded]) -> None:
    """Tell actors that are at work of commits that nobody has told them of, all in one step."""
    house.rouse()
    for each in recorded:
        await house.users.deliver(each, trio.current_time(), house.users.number_commit())


async def test_an_overflow_is_counted_once_and_the_log_is_read_in_slices(path: Path, autojump_clock):
    async with running(path, user_mailbox=1, daily_limit=1000) as house:
        socket = await house.connected(11)
        recorded = [await house.store.store.record([note(11), job()] * 60) for _ in range(10)]
        recorded += [await house.store.store.record([MarkRead(1, 11, 1)])]
        await _deliver(house, recorded)
        await wait_all_tasks_blocked()
        assert house.metric("djactors_refusals_total", reason="user_mailbox_full") == 1
        assert socket.new == list(range(1, 601))
        assert socket.counts == [0, 599]
        logged = [packet.offset for packet in socket.packets if packet.name != COUNT]
        assert logged == [house.at(seq) for seq in range(1, 1202)]


async def test_an_actor_that_has_caught_up_asks_the_store_nothing_more(path: Path, autojump_clock):
    async with running(path, user_mailbox=1) as house:
        socket = await house.connected(11)
        await _deliver(house, [await house.store.store.record([note(11)]) for _ in range(3)])
        await wait_all_tasks_blocked()
        house.store.before_snapshot = house.store.before_changes = Gate()
        await house.do(note(11))
        assert socket.new == [1, 2, 3, 4]


async def test_commits_while_an_actor_catches_up_are_told_once(path: Path, autojump_clock):
    async with running(path, user_mailbox=1) as house:
        socket = await house.connected(11)
        gate = house.store.before_changes = Gate()
        await _deliver(house, [await house.store.store.record([note(11)]) for _ in range(3)])
        await wait_all_tasks_blocked()
        assert gate.waiting == 1
        await house.do(note(11), MarkAllRead(1, 11))
        await house.do(note(11))
        await house.do(note(11))
        gate.open()
        await wait_all_tasks_blocked()
        assert socket.new == [1, 2, 3, 4, 5, 6]
        assert socket.counts[-1] == 2
        logged = [packet.offset for packet in socket.packets if packet.name != COUNT]
        assert logged == [house.at(seq) for seq in range(1, 8)]


async def test_a_socket_that_connects_while_its_actor_catches_up_is_not_told_of_what_its_count_holds(
    path: Path, autojump_clock
):
    async with running(path, user_mailbox=1) as house:
        first = await house.connected(11)
        await _deliver(house, [await house.store.store.record([note(11)]) for _ in range(3)])
        gate = house.store.before_changes = Gate()
        await wait_all_tasks_blocked()
        late = house.connect(11)
        gate.open()
        await wait_all_tasks_blocked()
        assert first.new == [1, 2, 3]
        assert late.writes == [[Packet(COUNT, {"count": 3, "unseen": 3}, house.at(3))]]


async def test_the_other_sockets_hear_of_what_came_before_a_newcomer_in_the_same_batch(path: Path, autojump_clock):
    async with running(path) as house:
        first = await house.connected(11)
        for each in [await house.store.store.record([note(11)]) for _ in range(2)]:
            await _deliver(house, [each])
            late = house.connect(11)
        await wait_all_tasks_blocked()
        assert first.new == [1, 2]
        assert late.counts == [2]
        assert late.new == []


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("mailbox", [1, 3, 256])
async def test_under_any_order_of_events_every_client_has_what_the_inbox_has(
    path: Path, autojump_clock, seed: int, mailbox: int
):
    """The client's own rule: the count is the last one told; what it saw come up since it connected is all there is."""
    chance = random.Random(seed)

    async def dawdle() -> None:
        for _ in range(chance.randrange(4)):
            await trio.lowlevel.checkpoint()

    async with running(path, user_mailbox=mailbox, passivate_after=0.5) as house:
        house.store.before_snapshot = house.store.after_snapshot = house.store.before_changes = dawdle
        house.store.before_record = dawdle
        sockets = []
        for _ in range(60):
            user_id = chance.choice([11, 12])
            match chance.randrange(6):
                case 0:
                    sockets.append((user_id, house.connect(user_id)))
                case 1 if sockets:
                    chance.choice(sockets)[1].leave()
                case 2:
                    house.send(MarkAllRead(1, user_id))
                case 3:
                    house.send(job(assignee_id=user_id))
                case 4:
                    await trio.sleep(chance.choice([0, 0.1, 1]))
                case _:
                    house.send(*[note(user_id) for _ in range(chance.randrange(1, 5))])
            await dawdle()
        await wait_all_tasks_blocked()
        for user_id, socket in sockets:
            if socket.closed is not None:
                continue
            state = await house.store.store.snapshot(1, user_id)
            assert socket.accepted
            assert socket.counts[-1] == state.unread
            start = number_of(socket.offsets[0])
            log = await house.log(user_id, start)
            told = [packet for packet in socket.packets if packet.name != COUNT]
            assert [packet.offset for packet in told] == [house.at(change.offset.seq) for change in log]
            assert len(socket.new) == sum(change.name == NEW for change in log)


@pytest.mark.parametrize("at_once", [16, 1000])
async def test_who_comes_or_goes_while_many_are_being_told_hears_it_once(
    path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch, at_once: int
):
    monkeypatch.setattr(announcer_module, "TOLD_PER_TURN", 8)
    monkeypatch.setattr(users_module, "AT_ONCE", at_once)
    users = range(100, 200)
    async with running(path) as house:
        sockets = [house.connect(user) for user in users]
        await wait_all_tasks_blocked()
        house.send(*[note(user) for user in users], job())
        with trio.fail_after(5):
            while not sockets[0].new:
                await trio.lowlevel.checkpoint()
        # In the middle of it others have a turn.
        assert not sockets[-1].new
        second = house.connect(users[-1])
        newcomer = house.connect(11)
        sockets[-2].leave()
        await wait_all_tasks_blocked()
        everyone = [*sockets[:-2], sockets[-1]]
        assert [len(socket.new) for socket in everyone] == [1] * len(everyone)
        assert all(socket.counts == [0, 1] for socket in everyone)
        last = house.users.presences()[0].at.seq
        for socket in (*everyone, newcomer):
            assert socket.packets[-1].seq == last
        assert newcomer.counts == [0]
        assert second.counts in ([1], [0, 1])
        assert second.counts[-1] == 1
        await house.do(note(11), note(users[-1]))
        assert newcomer.counts == [0, 1]
        assert sockets[-1].counts[-1] == second.counts[-1] == 2
