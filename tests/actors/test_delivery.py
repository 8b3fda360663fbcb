"""What the sockets of connected users are sent, and in what order."""

from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.deliveries import Deliver, Outgoing
from djactors.domain.commands import Delete, MarkAllRead, MarkRead
from djactors.domain.errors import Refused
from djactors.domain.marks import Offset
from tests.actors.house import COUNT, NEW, Packet, job, note, running
from tests.offsets import invented, number_of

READ, DELETED, ASSIGNED, UPDATED = "notification:read", "notification:deleted", "job:assigned", "job:updated"


def names(write: list[Packet]) -> list[str]:
    return [packet.name for packet in write]


async def test_a_connect_is_answered_with_a_pid_and_the_count_in_one_write(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(note(11), note(11))
        socket = await house.connected(11)
        assert socket.writes == [[Packet(COUNT, {"count": 2, "unseen": 2}, house.at(2))]]
        assert socket.pid is not None
        assert f".1.11.{house.at(2)}." in socket.pid


async def test_a_returning_client_is_told_to_reload_before_it_gets_the_count(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(note(11))
        socket = await house.connected(11, since=str(invented(7)))
        assert socket.writes == [
            [
                Packet("changes:reset", {"offset": house.at(1)}, house.at(1)),
                Packet(COUNT, {"count": 1, "unseen": 1}, house.at(1)),
            ]
        ]


async def test_a_user_whom_nobody_knows_yet_can_connect_and_is_told_what_comes(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        assert socket.writes == [[Packet(COUNT, {"count": 0, "unseen": 0}, house.at(0))]]
        await house.do(note(11))
        assert socket.new == [1]


async def test_a_notification_and_one_count_come_in_one_write(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        await house.do(note(11))
        _, write = socket.writes
        assert names(write) == [NEW, COUNT]
        assert (write[0].body["id"], write[0].body["title"], write[1].body) == (1, "Hello", {"count": 1, "unseen": 1})
        assert socket.offsets == [house.at(0), house.at(1), house.at(1)]


async def test_a_batch_of_many_is_one_write_with_one_count(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        await house.do(*[note(11) for _ in range(50)])
        assert house.store.batches[-1] == 50
        _, write = socket.writes
        assert names(write) == [NEW] * 50 + [COUNT]
        assert write[-1] == Packet(COUNT, {"count": 50, "unseen": 50}, house.at(50))
        assert [packet.offset for packet in write[:-1]] == [house.at(seq) for seq in range(1, 51)]


async def test_a_count_that_ends_where_it_began_is_sent_as_it_was_another_one_in_between(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(note(11))
        socket = await house.connected(11)
        await house.do(note(11), MarkRead(1, 11, 1))
        assert names(socket.writes[1]) == [NEW, READ, COUNT]
        assert socket.counts == [1, 1]


async def test_a_count_is_sent_even_where_a_commit_that_waits_with_it_has_undone_the_difference(
    path: Path, autojump_clock
):
    async with running(path) as house:
        await house.do(note(11))
        socket = await house.connected(11)
        [presence] = house.users.presences()
        house.rouse()
        for seq, unread in ((2, 0), (3, 1)):
            change = Outgoing(DELETED, b"{}", Offset(presence.at.mark, seq), 11)
            presence.ref.tell_nowait(Deliver([change], (unread, unread), trio.current_time(), presence.read + 1))
        await wait_all_tasks_blocked()
        assert names(socket.writes[1]) == [DELETED, DELETED, COUNT]
        assert socket.counts == [1, 1]


async def test_a_command_is_answered_with_the_counts_that_its_commit_tells(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(note(11), note(11))
        socket = await house.connected(11)
        [deleted, *_] = await house.do(Delete(1, 11, 1), note(11), note(11))
        assert house.store.batches[-1] == 3
        assert (deleted.count, deleted.unseen) == (3, 3)
        assert socket.counts[-1] == 3


async def test_a_command_that_changes_nothing_is_answered_with_the_counts_of_its_commit_as_well(
    path: Path, autojump_clock
):
    async with running(path) as house:
        await house.do(note(11))
        await house.do(MarkRead(1, 11, 1))
        [read, _] = await house.do(MarkRead(1, 11, 1), note(11))
        assert read.count == 1


async def test_all_sockets_of_a_user_are_sent_the_same(path: Path, autojump_clock):
    async with running(path) as house:
        one, other = await house.connected(11), await house.connected(11)
        await house.do(note(11), job(), note(11))
        await house.do(MarkRead(1, 11, 1))
        await house.do(Delete(1, 11, 2), MarkAllRead(1, 11))
        assert one.writes == other.writes
        assert one.pid is not None
        # Encoded once: what is shared is shared to the byte.
        assert [a is b for a, b in zip(one.raw[1:], other.raw[1:], strict=True)] == [True] * (len(one.raw) - 1)


async def test_a_later_socket_starts_from_where_the_others_are(path: Path, autojump_clock):
    async with running(path) as house:
        first = await house.connected(11)
        await house.do(note(11), note(11))
        late = await house.connected(11)
        assert late.writes == [[Packet(COUNT, {"count": 2, "unseen": 2}, house.at(2))]]
        await house.do(MarkAllRead(1, 11))
        assert first.writes[-1] == late.writes[-1]


async def test_a_plain_socket_gets_no_pid_and_no_offsets(path: Path, autojump_clock):
    async with running(path) as house:
        plain, stamped = await house.connected(11, recovery=False), await house.connected(11)
        await house.do(note(11), job())
        await house.do(MarkAllRead(1, 11))
        assert plain.pid is None
        assert set(plain.offsets) == {None}
        assert None not in stamped.offsets
        assert [packet[:2] for packet in plain.packets] == [packet[:2] for packet in stamped.packets]


async def test_offsets_never_go_back(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        for n in range(1, 6):
            await house.do(note(11), job(), note(12), MarkRead(1, 11, 3 * n - 5), note(11))
        numbers = [number_of(offset) for offset in socket.offsets]
        assert numbers == sorted(numbers)
        logged = [n for n, packet in zip(numbers, socket.packets, strict=True) if packet.name != COUNT]
        assert len(set(logged)) == len(logged)


async def test_reading_on_one_device_is_seen_on_the_other(path: Path, autojump_clock):
    async with running(path) as house:
        await house.do(note(11), note(11), note(11))
        socket = await house.connected(11)
        await house.do(MarkRead(1, 11, 1))
        assert names(socket.writes[-1]) == [READ, COUNT]
        assert socket.writes[-1][0].body["notificationIds"] == [1]
        await house.do(Delete(1, 11, 2))
        assert socket.writes[-1] == [
            Packet(DELETED, {"notificationIds": [2]}, house.at(5)),
            Packet(COUNT, {"count": 1, "unseen": 1}, house.at(5)),
        ]
        await house.do(MarkAllRead(1, 11))
        assert socket.writes[-1][0].body["all"] is True
        assert socket.counts == [3, 2, 1, 0]


async def test_what_the_tenant_sees_reaches_everyone_in_it_in_order_and_nobody_else(path: Path, autojump_clock):
    async with running(path) as house:
        ours = [await house.connected(user_id) for user_id in (11, 12, 13)]
        theirs = await house.connected(21, 2)
        await house.do(job(assignee_id=12), job(), note(13))
        await house.do(job())
        for socket in ours:
            shared = [packet for packet in socket.packets if packet.name in (ASSIGNED, UPDATED)]
            assert names(shared) == [ASSIGNED, UPDATED, UPDATED, UPDATED]
            assert [packet.offset for packet in shared] == [house.at(2), house.at(3), house.at(4), house.at(6)]
            assert [packet.body["job"]["id"] for packet in shared[1:]] == [1, 2, 3]
        assert [socket.new for socket in ours] == [[], [1], [2]]
        assert [socket.counts for socket in ours] == [[0], [0, 1], [0, 1]]
        assert len(theirs.writes) == 1


async def test_what_is_for_one_user_is_seen_by_nobody_else(path: Path, autojump_clock):
    async with running(path) as house:
        others = [await house.connected(12), await house.connected(21, 2)]
        await house.do(note(11), note(11))
        await house.do(MarkAllRead(1, 11), Delete(1, 11, 1))
        assert [len(socket.writes) for socket in others] == [1, 1]


async def test_nobody_is_told_of_what_was_refused(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        outcomes = await house.do(MarkRead(1, 11, 1), Delete(1, 11, 1))
        assert [type(outcome) for outcome in outcomes] == [Refused, Refused]
        assert len(socket.writes) == 1


async def test_five_thousand_users_all_hear_of_one_job(path: Path, autojump_clock):
    async with running(path) as house:
        sockets = [house.connect(user_id) for user_id in range(1, 5001)]
        await wait_all_tasks_blocked()
        assert all(socket.accepted for socket in sockets)
        await house.do(job(requester_id=9000))
        assert all(names(socket.writes[1]) == [UPDATED] for socket in sockets)
        assert len({id(socket.raw[-1]) for socket in sockets}) == 1
