"""A socket that is behind: slices of the log at its own pace, while those beside it hear of everything at once."""

from datetime import timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.user import REPLAY_SLICE
from djactors.actors.users import MAX_REPLAYS
from djactors.domain.commands import MarkAllRead, PurgeSlice
from djactors.store.errors import StoreUnavailable
from tests.actors.house import COUNT, FakeSocket, House, job, note, running
from tests.actors.test_races import Gate, _deliver

BACKLOG = 2 * REPLAY_SLICE + 50
"""Three slices, the last of them short."""

NOTHING_KEPT = timedelta(0)


async def behind(house: House, missed: int = BACKLOG, *, user_id: int = 11) -> FakeSocket:
    """A socket whose client missed so much, and reads nothing before `drain`. It has had its first slice."""
    await house.do(*[note(user_id) for _ in range(missed)])
    return await house.connected(user_id, since=house.at(0), roomy=False)


async def drain(socket: FakeSocket) -> None:
    socket.drain()
    await wait_all_tasks_blocked()


async def drain_all(socket: FakeSocket) -> None:
    while socket.waits:
        await drain(socket)


def slices(socket: FakeSocket) -> list[int]:
    """How many changes came in each write."""
    return [sum(packet.name != COUNT for packet in write) for write in socket.writes]


async def test_it_gets_one_slice_at_a_time_and_the_count_behind_the_last(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        socket = await behind(house)
        assert slices(socket) == [REPLAY_SLICE]
        await trio.sleep(100)
        assert slices(socket) == [REPLAY_SLICE]
        await drain(socket)
        assert slices(socket) == [REPLAY_SLICE, REPLAY_SLICE]
        assert socket.counts == []
        await drain(socket)
        assert slices(socket) == [REPLAY_SLICE, REPLAY_SLICE, 50]
        assert not socket.waits
        assert socket.logged == list(range(1, BACKLOG + 1))
        assert socket.counts == [BACKLOG]
        assert socket.packets[-1].name == COUNT


@pytest.mark.parametrize("missed", [REPLAY_SLICE - 1, REPLAY_SLICE, REPLAY_SLICE + 1, 2 * REPLAY_SLICE])
async def test_a_backlog_that_ends_with_a_slice_ends_with_the_count(path: Path, autojump_clock, missed: int):
    async with running(path, daily_limit=10_000) as house:
        socket = await behind(house, missed)
        await drain_all(socket)
        assert socket.logged == list(range(1, missed + 1))
        assert socket.counts == [missed]


async def test_those_who_return_share_the_packets_of_what_everybody_sees(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(job(), note(11), job(), note(12))
        sockets = [await house.connected(user, since=house.at(0)) for user in (11, 12, 13)]
        plain = await house.connected(14, since=house.at(0), recovery=False)
        assert [socket.logged for socket in sockets] == [[1, 2, 3], [1, 3, 4], [1, 3]]
        first, *others = ([packet for packet in socket.raw if b'"job:' in packet.text[:9]] for socket in sockets)
        assert len(first) == 2
        for packets in others:
            assert [id(packet) for packet in packets] == [id(packet) for packet in first]
        # Without offsets the packets are others.
        assert [packet.offset for packet in plain.packets] == [None] * 3
        assert plain.packets[0].body == sockets[0].packets[0].body


async def test_those_beside_it_hear_of_news_at_once(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        socket = await behind(house)
        tab = await house.connected(11)
        await house.do(note(11), job())
        await house.do(MarkAllRead(1, 11))
        assert tab.logged == [BACKLOG + 1, BACKLOG + 2, BACKLOG + 3]
        assert tab.counts == [BACKLOG, BACKLOG + 1, 0]
        assert slices(socket) == [REPLAY_SLICE]


async def test_news_that_come_meanwhile_are_told_once_and_in_order(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        socket = await behind(house)
        for _ in range(3):
            await house.do(note(11), note(12), job())
            await drain(socket)
        await house.do(note(11))
        await drain_all(socket)
        await house.do(note(11))
        assert socket.logged == [change.offset.seq for change in await house.log(11, 0)]
        # One when it had caught up, with the second round; and one for each change since.
        assert socket.counts == [BACKLOG + told for told in (2, 3, 4, 5)]


async def test_news_that_are_committed_while_its_slice_is_read_are_told_once_and_in_order(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        socket = await behind(house)
        rounds = 0
        while socket.waits:
            rounds += 1
            gate = house.store.before_changes = Gate()
            await drain(socket)
            assert gate.waiting == 1
            await house.do(note(11), job())
            gate.open()
            await wait_all_tasks_blocked()
        assert socket.logged == [change.offset.seq for change in await house.log(11, 0)]
        assert rounds == 2
        assert socket.counts == [BACKLOG + 1, BACKLOG + 2]


async def test_all_of_a_users_sockets_may_be_behind_each_at_its_own_pace(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        one = await behind(house)
        other = await house.connected(11, since=house.at(150), roomy=False)
        await drain_all(one)
        assert one.logged == list(range(1, BACKLOG + 1))
        assert other.logged == list(range(151, BACKLOG + 1))
        await house.do(note(11))
        assert one.counts == other.counts == [BACKLOG, BACKLOG + 1]


async def test_one_that_closes_in_the_middle_is_forgotten(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        socket, tab = await behind(house), await house.connected(11)
        gate = house.store.before_changes = Gate()
        socket.drain()
        await wait_all_tasks_blocked()
        socket.leave()
        gate.open()
        await wait_all_tasks_blocked()
        (presence,) = house.users.presences()
        assert list(presence.sockets) == [tab]
        assert slices(socket) == [REPLAY_SLICE]
        again = await house.connected(11, since=socket.offsets[-1])
        assert again.logged == list(range(REPLAY_SLICE + 1, BACKLOG + 1))


async def test_room_in_a_socket_that_has_closed_means_nothing(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        socket = await behind(house)
        (presence,) = house.users.presences()
        socket.leave()
        presence.go_on(socket)
        await wait_all_tasks_blocked()
        assert slices(socket) == [REPLAY_SLICE]
        assert presence.socket_count == 0


async def test_what_is_not_in_the_log_carries_the_position_of_the_socket_it_is_sent_to(path: Path, autojump_clock):
    """A later one would be what the client goes on from: it would skip what it was not yet given."""
    async with running(path, daily_limit=10_000) as house:
        socket, tab = await behind(house), await house.connected(11)
        assert house.users.told(1, 11, tab) == house.offset(BACKLOG)
        assert house.users.told(1, 11, socket) == house.offset(REPLAY_SLICE)
        await house.do(note(11))
        assert house.users.told(1, 11, tab) == house.offset(BACKLOG + 1)
        assert house.users.told(1, 11, socket) == house.offset(REPLAY_SLICE)
        await drain_all(socket)
        assert house.users.told(1, 11, socket) == house.offset(BACKLOG + 1)


async def test_a_socket_that_has_no_answer_yet_has_no_position(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(note(11))
        tab = await house.connected(11)
        gate = house.store.before_changes = Gate()
        socket = house.connect(11, since=house.at(0))
        await wait_all_tasks_blocked()
        assert house.users.told(1, 11, socket) is None
        assert house.users.told(1, 11, tab) == house.offset(1)
        gate.open()
        await wait_all_tasks_blocked()
        assert house.users.told(1, 11, socket) == house.offset(1)
        socket.leave()
        assert house.users.told(1, 11, socket) is None


async def test_a_full_mailbox_holds_no_slice_back(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000, user_mailbox=1) as house:
        socket = await behind(house)
        while socket.waits:
            # All in one step: the word that there is room finds the mailbox full.
            await _deliver(house, [await house.store.store.record([note(11)])])
            socket.drain()
            await wait_all_tasks_blocked()
        assert socket.logged == [change.offset.seq for change in await house.log(11, 0)]
        assert slices(socket)[:2] == [REPLAY_SLICE, REPLAY_SLICE]


async def test_one_that_is_due_a_slice_when_its_actor_catches_up_gets_one_and_not_two(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000, user_mailbox=2) as house:
        socket = await behind(house, 5 * REPLAY_SLICE)
        recorded = [await house.store.store.record([note(11)]) for _ in range(3)]
        socket.drain()
        await _deliver(house, recorded)
        await wait_all_tasks_blocked()
        assert slices(socket) == [REPLAY_SLICE, REPLAY_SLICE]
        await drain_all(socket)
        assert socket.logged == list(range(1, 5 * REPLAY_SLICE + 4))
        assert slices(socket) == [REPLAY_SLICE] * 5 + [3]
        assert socket.counts == [5 * REPLAY_SLICE + 3]


async def test_an_actor_that_missed_something_catches_its_sockets_up_each_from_where_it_is(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000, user_mailbox=1) as house:
        socket, tab = await behind(house), await house.connected(11)
        await _deliver(house, [await house.store.store.record([note(11), job()]) for _ in range(4)])
        await wait_all_tasks_blocked()
        assert tab.logged == list(range(BACKLOG + 1, BACKLOG + 9))
        assert slices(socket) == [REPLAY_SLICE]
        await drain_all(socket)
        assert socket.logged == list(range(1, BACKLOG + 9))
        assert socket.counts == [BACKLOG + 4]
        assert tab.counts == [BACKLOG, BACKLOG + 4]


async def test_a_log_that_cannot_be_read_disconnects_and_the_next_attempt_resumes(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000) as house:
        socket = await behind(house)

        async def fail() -> None:
            raise StoreUnavailable("the disk is slow")

        house.store.before_changes = fail
        await drain(socket)
        assert socket.closed == "actor_crashed"
        house.store.before_changes = house.store._pass
        again = house.connect(11, pid=socket.pid, offset=socket.offsets[-1])
        await trio.sleep(60)
        assert again.pid == socket.pid
        assert socket.logged + again.logged == list(range(1, BACKLOG + 1))
        assert again.counts == [BACKLOG]


async def test_a_history_that_is_purged_ahead_of_it_disconnects_and_the_client_is_told_to_reload(
    path: Path, autojump_clock
):
    async with running(path, daily_limit=10_000) as house:
        socket, tab = await behind(house), await house.connected(11)
        await house.do(PurgeSlice("changes", NOTHING_KEPT, REPLAY_SLICE))
        await drain(socket)
        assert slices(socket) == [REPLAY_SLICE, REPLAY_SLICE], "up to its position nothing was missing"
        await house.do(PurgeSlice("changes", NOTHING_KEPT, 10_000))
        await drain(socket)
        assert socket.closed == "history_gone"
        assert tab.closed is None
        again = await house.connected(11, pid=socket.pid, offset=socket.offsets[-1])
        assert [packet.name for packet in again.packets] == ["changes:reset", COUNT]


class TestTurns:
    async def test_row_27_so_many_slices_are_read_at_once_and_everybody_gets_theirs(self, path: Path, autojump_clock):
        async with running(path) as house:
            users = range(11, 31)
            await house.do(*[note(user_id) for user_id in users])
            gate = house.store.before_changes = Gate()
            sockets = {user_id: house.connect(user_id, since=house.at(0)) for user_id in users}
            await wait_all_tasks_blocked()
            assert gate.waiting == MAX_REPLAYS
            # Nobody who missed nothing has to wait for them, nor whoever has caught up.
            tab = await house.connected(99)
            await house.do(note(99))
            assert tab.new == [len(users) + 1]
            gate.open()
            await wait_all_tasks_blocked()
            assert [socket.new for socket in sockets.values()] == [[n] for n in range(1, len(users) + 1)]

    async def test_one_slice_each_in_turn(self, path: Path, autojump_clock):
        """A long backlog is not read to its end before a short one is begun."""
        async with running(path, daily_limit=10_000) as house:
            users = range(11, 11 + MAX_REPLAYS)
            for user_id in users:
                await house.do(*[note(user_id) for _ in range(5 * REPLAY_SLICE)])
            await house.do(note(99))
            reads: list[int] = []

            async def read() -> None:
                reads.append(len(reads))
                await trio.sleep(1)

            house.store.before_changes = read
            for user_id in users:
                house.connect(user_id, since=house.at(0))
            await trio.sleep(0.5)
            short = house.connect(99, since=house.at(0))
            await trio.sleep(2)
            assert short.counts == [1]
            assert len(reads) <= 3 * MAX_REPLAYS

    async def test_a_server_that_stops_waits_for_no_turn(self, path: Path, autojump_clock):
        async with running(path) as house:
            users = range(11, 31)
            await house.do(*[note(user_id) for user_id in users])
            house.store.before_changes = Gate()
            sockets = [house.connect(user_id, since=house.at(0)) for user_id in users]
            await wait_all_tasks_blocked()
        assert all(socket.closed is not None for socket in sockets)

    async def test_a_turn_that_ends_in_a_crash_is_given_back(self, path: Path, autojump_clock):
        async with running(path) as house:
            users = range(11, 31)
            await house.do(*[note(user_id) for user_id in users])

            async def fail() -> None:
                raise StoreUnavailable("the disk is slow")

            house.store.before_changes = fail
            lost = [house.connect(user_id, since=house.at(0)) for user_id in users]
            await wait_all_tasks_blocked()
            assert all(socket.closed is not None for socket in lost)
            house.store.before_changes = house.store._pass
            await trio.sleep(60)
            again = [house.connect(user_id, since=house.at(0)) for user_id in users]
            await wait_all_tasks_blocked()
            assert [socket.new for socket in again] == [[n] for n in range(1, len(users) + 1)]


async def test_nothing_is_left_of_sockets_that_have_closed(path: Path, autojump_clock):
    async with running(path, daily_limit=10_000, passivate_after=1) as house:
        sockets = [await behind(house), await house.connected(11), await house.connected(11, recovery=False)]
        sockets.append(await house.connected(11, pid=sockets[0].pid, offset=house.at(20), roomy=False))
        gate = house.store.before_changes = Gate()
        sockets.append(house.connect(11, since=house.at(3)))
        await wait_all_tasks_blocked()
        (presence,) = house.users.presences()
        for socket in sockets:
            socket.leave()
        assert (presence.sockets, presence.attaching) == ({}, {})
        gate.open()
        await trio.sleep(10)
        assert (presence.sockets, presence.attaching) == ({}, {})
        assert house.users.presences() == []
        assert not any(socket.waits for socket in sockets)
