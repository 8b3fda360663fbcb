"""A client that comes back: from where it goes on, as whom, and what becomes of the socket it had."""

import string
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from djactors.actors.pid import Issue, PidIssuer
from djactors.actors.resume import resume_of
from djactors.domain.commands import MarkAllRead, PurgeSlice
from djactors.domain.marks import BEGINNING, Offset
from tests.actors.house import (
    COUNT,
    NEW,
    PID_KEY,
    RESET,
    FakeSocket,
    House,
    Packet,
    job,
    note,
    running,
)
from tests.actors.test_delivery import names
from tests.actors.test_races import Gate, _deliver
from tests.offsets import invented

MARK = str(invented(1)).partition(".")[0]
RESET_THEN_COUNT = [RESET, COUNT]
NOTHING_KEPT = timedelta(0)


async def returned(house: House, user_id: int = 11, tenant_id: int = 1, **auth: Any) -> FakeSocket:
    return await house.connected(user_id, tenant_id, **auth)


async def left(house: House, user_id: int = 11, tenant_id: int = 1, **options: Any) -> str:
    """Connect somebody, and have the connection cut; the pid they have from it."""
    socket = await house.connected(user_id, tenant_id, **options)
    socket.leave()
    assert socket.pid is not None
    return socket.pid


class TestByPid:
    async def test_it_is_given_exactly_what_it_missed_then_one_count_and_its_old_pid(self, path: Path, autojump_clock):
        async with running(path) as house:
            pid = await left(house)
            await house.do(note(11), job(), note(12), note(11), note(21, 2))
            await house.do(MarkAllRead(1, 11), note(11))
            socket = await returned(house, pid=pid, offset=house.at(1))
            assert socket.pid == pid
            (write,) = socket.writes
            assert [packet.seq for packet in write] == [2, 4, 5, 6, 6]
            assert write[-1] == Packet(COUNT, {"count": 1, "unseen": 1}, house.at(6))
            assert house.metric("djactors_resumed_total", outcome="pid") == 1

    async def test_it_hears_of_what_comes_next_like_everybody(self, path: Path, autojump_clock):
        async with running(path) as house:
            pid = await left(house)
            await house.do(note(11))
            socket = await returned(house, pid=pid, offset=house.at(0))
            await house.do(note(11))
            assert socket.new == [1, 2]
            assert socket.counts == [1, 2]

    async def test_nothing_missed_is_a_count_alone(self, path: Path, autojump_clock):
        async with running(path) as house:
            await house.do(note(11))
            pid = await left(house)
            socket = await returned(house, pid=pid, offset=house.at(1))
            assert socket.pid == pid
            assert socket.writes == [[Packet(COUNT, {"count": 1, "unseen": 1}, house.at(1))]]

    async def test_one_that_was_cut_off_before_its_first_event_goes_on_from_when_its_pid_was_given(
        self, path: Path, autojump_clock
    ):
        async with running(path) as house:
            await house.do(note(11))
            pid = await left(house)
            await house.do(note(11))
            for auth in ({"pid": pid}, {"pid": pid, "offset": None}):
                socket = await returned(house, **auth)
                assert socket.pid == pid
                assert socket.new == [2]
                socket.leave()

    async def test_a_pid_that_was_given_while_resuming_by_since_names_the_point_of_that(
        self, path: Path, autojump_clock
    ):
        """The first packets behind the reply may be lost with the connection; those before it are not missing."""
        async with running(path) as house:
            await house.do(note(11), note(11), note(11))
            first = await returned(house, since=house.at(1), roomy=False)
            assert first.new == [2, 3]
            first.leave()
            again = await returned(house, pid=first.pid, since=house.at(1))
            assert again.pid == first.pid
            assert again.new == [2, 3]

    async def test_an_offset_from_before_the_pid_is_not_gone_on_from(self, path: Path, autojump_clock):
        """Since that offset the client was told to reload: what it was given earlier is gone from its page."""
        async with running(path) as house:
            await house.do(note(11), note(11))
            pid = await left(house)
            socket = await returned(house, pid=pid, offset=house.at(1))
            assert names(socket.packets) == RESET_THEN_COUNT
            assert socket.pid not in (None, pid)

    async def test_an_offset_beats_a_since_that_the_application_never_changes(self, path: Path, autojump_clock):
        async with running(path) as house:
            pid = await left(house)
            await house.do(note(11), note(11), note(11))
            socket = await returned(house, pid=pid, offset=house.at(2), since=house.at(1))
            assert socket.new == [3]

    @pytest.mark.parametrize(
        "offset",
        [f"{MARK}.1", f"{MARK}.3", f"{MARK}.4", f"{MARK}.{10**15}", "", "1", MARK, f"{MARK}.", ".1", f"{MARK}.-1",
         f"{MARK}.1.1", f" {MARK}.1", f"{MARK}.1\n", f"{MARK}.²", f"{MARK}.٣", f"{MARK}." + "1" * 17, "epoch.1",
         "x" * 100_000, 1, 1.5, True, [], {}, [".0"]],
    )  # fmt: skip
    async def test_an_offset_that_leads_nowhere_is_told_to_reload(self, path: Path, autojump_clock, offset: object):
        async with running(path) as house:
            pid = await left(house)
            await house.do(note(11), note(11), note(11))
            socket = await returned(house, pid=pid, offset=offset)
            newest = house.at(3)
            assert socket.writes == [
                [Packet(RESET, {"offset": newest}, newest), Packet(COUNT, {"count": 3, "unseen": 3}, newest)]
            ]
            assert socket.pid not in (None, pid)
            socket.leave()
            again = await returned(house, pid=socket.pid, offset=house.at(3))
            assert names(again.packets) == [COUNT]

    async def test_one_that_was_cut_off_before_it_heard_that_it_must_reload_is_told_again(
        self, path: Path, autojump_clock
    ):
        """It has a new pid and no offset, or one from before; what it missed is not what came since that pid."""
        async with running(path) as house:
            pid = await left(house)
            await house.do(note(11), note(12))
            await house.do(PurgeSlice("changes", NOTHING_KEPT, 100))
            for offset in (None, house.at(0), None):
                socket = await returned(house, pid=pid, offset=offset)
                assert names(socket.packets) == RESET_THEN_COUNT
                assert socket.pid not in (None, pid)
                assert socket.pid is not None
                pid = socket.pid
                socket.leave()
            assert names((await returned(house, pid=pid, offset=house.at(2))).packets) == [COUNT]

    async def test_a_client_that_reloaded_is_not_told_to_again(self, path: Path, autojump_clock):
        """What it is told to reload from must lie within history, even where its user has seen nothing for long."""
        async with running(path) as house:
            await house.do(note(11))
            stays = await house.connected(11)
            pid, offset = await left(house), house.at(1)
            await house.do(*[note(12) for _ in range(5)])
            await house.do(PurgeSlice("changes", NOTHING_KEPT, 4))
            back = await returned(house, pid=pid, offset=offset)
            assert names(back.packets) == RESET_THEN_COUNT
            assert back.packets[0].body == {"offset": house.at(6)}
            back.leave()
            again = await returned(house, pid=back.pid, offset=back.offsets[-1])
            assert names(again.packets) == [COUNT]
            assert again.pid == back.pid
            assert stays.accepted


class TestWhosePid:
    @pytest.mark.parametrize("with_offset", [True, False])
    async def test_another_users_or_tenants_pid_is_an_ordinary_connect_and_touches_nobody(
        self, path: Path, autojump_clock, with_offset: bool
    ):
        async with running(path) as house:
            await house.do(note(11), note(12), note(21, 2))
            owner = await house.connected(11)
            await house.do(note(11))
            for user_id, tenant_id in ((12, 1), (21, 2), (11, 2)):
                offset = house.at(1) if with_offset else None
                socket = await returned(house, user_id, tenant_id, pid=owner.pid, offset=offset)
                assert names(socket.packets) == RESET_THEN_COUNT
                assert socket.pid not in (None, owner.pid)
            await house.do(note(11))
            assert owner.closed is None
            assert owner.new == [4, 5]

    async def test_another_databases_pid_proves_nothing(self, path: Path, autojump_clock):
        foreign = PidIssuer(b"l" * 32, bytes).issue(1, 11, BEGINNING)
        async with running(path) as house:
            await house.do(note(11))
            socket = await returned(house, pid=foreign, offset=".0")
            assert names(socket.packets) == RESET_THEN_COUNT
            assert socket.pid not in (None, foreign)

    def test_a_pid_in_which_one_character_is_another_proves_nothing(self):
        pids = PidIssuer(PID_KEY, lambda size: bytes(range(size)))
        at = Offset(4711, 57)
        pid = pids.issue(1, 11, at)
        assert pids.verify(pid, 1, 11) == Issue(at, reload=False)
        for place, character in enumerate(pid):
            for other in {*string.ascii_letters, *string.digits, *"-_=.+/ \n\0é٣"} - {character}:
                assert pids.verify(pid[:place] + other + pid[place + 1 :], 1, 11) is None
            assert pids.verify(pid[:place] + pid[place + 1 :], 1, 11) is None
            assert pids.verify(pid[:place] + character + pid[place:], 1, 11) is None
        told_to_reload = pids.issue(1, 11, at, reload=True)
        claim, _, proof = told_to_reload.rpartition(".")
        assert pids.verify(f"{claim.removesuffix('r')}.{proof}", 1, 11) is None

    @given(
        st.one_of(
            st.text(),
            st.text("0123456789.aA-_=", max_size=120),
            st.integers(), st.floats(), st.booleans(), st.lists(st.text()), st.dictionaries(st.text(), st.text()),
        )
    )  # fmt: skip
    def test_whatever_is_sent_for_a_pid_proves_nothing_and_is_no_error(self, junk: object):
        pids = PidIssuer(PID_KEY, bytes)
        assert pids.verify(junk, 1, 11) is None
        for auth in ({"pid": junk, "offset": junk, "since": junk}, {"since": junk}, {"pid": junk}):
            resume = resume_of(auth, 1, 11, recovery=True, pids=pids)
            assert resume is not None
            assert resume.pid is None
            # Without a pid, `.0` is an offset like any other: the one from before the first change.
            assert resume.since in (None, BEGINNING if "pid" not in auth and junk == ".0" else None)

    @pytest.mark.parametrize("pid", ["x" * 1_000_000, "." * 1_000_000, ("A" * 12) + ".1" * 100_000], ids=len)
    async def test_a_megabyte_is_no_pid(self, path: Path, autojump_clock, pid: str):
        async with running(path) as house:
            assert names((await returned(house, pid=pid, offset=pid)).packets) == RESET_THEN_COUNT


class TestBySince:
    async def test_it_is_given_what_came_after_and_a_new_pid(self, path: Path, autojump_clock):
        async with running(path) as house:
            await house.do(note(11), job(), note(11))
            socket = await returned(house, since=house.at(1))
            assert socket.logged == [2, 3]
            assert socket.counts == [2]
            assert socket.pid is not None
            assert house.metric("djactors_resumed_total", outcome="since") == 1

    async def test_without_offsets_a_client_resumes_all_the_same(self, path: Path, autojump_clock):
        async with running(path) as house:
            await house.do(note(11), note(11))
            socket = await returned(house, recovery=False, since=house.at(1))
            assert socket.writes == [
                [Packet(NEW, socket.packets[0].body, None), Packet(COUNT, {"count": 2, "unseen": 2}, None)]
            ]
            assert socket.new == [2]
            assert socket.pid is None

    async def test_without_offsets_a_pid_says_nothing(self, path: Path, autojump_clock):
        async with running(path) as house:
            owner = await house.connected(11)
            await house.do(note(11), note(11))
            for auth, told in (({}, [COUNT]), ({"since": house.at(1)}, [NEW, COUNT])):
                socket = await returned(house, recovery=False, pid=owner.pid, offset=house.at(0), **auth)
                assert names(socket.packets) == told
                assert socket.pid is None
            assert owner.closed is None

    async def test_a_list_that_is_newer_than_what_was_delivered_here_is_gone_on_from(self, path: Path, autojump_clock):
        """Somebody else's changes moved the tenant's number; this user's actor was not told of them."""
        async with running(path) as house:
            other = await house.connected(11)
            await house.do(note(12), note(12))
            socket = await returned(house, since=house.at(2))
            assert socket.writes == [[Packet(COUNT, {"count": 0, "unseen": 0}, house.at(2))]]
            # For it nothing has changed but where it stands.
            assert other.packets == [
                Packet(COUNT, {"count": 0, "unseen": 0}, ".0"),
                Packet(COUNT, {"count": 0, "unseen": 0}, house.at(2)),
            ]
            await house.do(note(11))
            assert other.new == socket.new == [3]

    async def test_a_commit_that_the_actor_has_yet_to_be_told_of_is_told_once(self, path: Path, autojump_clock):
        async with running(path) as house:
            other = await house.connected(11)
            recorded = [await house.store.store.record([note(11)]) for _ in range(3)]
            socket = await returned(house, since=house.at(2))
            await _deliver(house, recorded)
            await house.do(note(11))
            assert (other.logged, socket.logged) == ([1, 2, 3, 4], [3, 4])
            assert other.counts[-1] == socket.counts[-1] == 4

    @pytest.mark.parametrize("since", [str(invented(1)), str(invented(2)), ".1", "", "x" * 100_000, 0, False, {}, []])
    async def test_what_leads_nowhere_is_told_to_reload(self, path: Path, autojump_clock, since: object):
        async with running(path) as house:
            await house.do(note(11))
            other = await house.connected(11)
            socket = await returned(house, since=since)
            newest = house.at(1)
            assert socket.writes == [
                [Packet(RESET, {"offset": newest}, newest), Packet(COUNT, {"count": 1, "unseen": 1}, newest)]
            ]
            assert other.writes == [[Packet(COUNT, {"count": 1, "unseen": 1}, newest)]]


class TestLimit:
    @pytest.mark.parametrize("limit", [3, 100, 101, 250])
    @pytest.mark.parametrize("point", ["since", "pid"])
    async def test_so_many_missed_changes_are_replayed_and_one_more_is_not(
        self, path: Path, autojump_clock, limit: int, point: str
    ):
        async with running(path, replay_limit=limit, daily_limit=10_000) as house:
            auth = {"pid": await left(house), "offset": house.at(0)} if point == "pid" else {"since": house.at(0)}
            # Of others there may be any number.
            await house.do(*[note(12) for _ in range(limit)], *[note(11) for _ in range(limit)])
            enough = await returned(house, **auth)
            assert enough.logged == list(range(limit + 1, 2 * limit + 1))
            assert enough.counts == [limit]
            enough.leave()
            await house.do(job())
            assert names((await returned(house, **auth)).packets) == RESET_THEN_COUNT


class TestSuperseding:
    async def test_the_older_socket_of_a_pid_is_closed_and_no_other(self, path: Path, autojump_clock):
        async with running(path) as house:
            old, tab = await house.connected(11), await house.connected(11)
            assert old.pid != tab.pid
            await house.do(note(11))
            new = await returned(house, pid=old.pid, offset=house.at(0))
            await house.do(note(11))
            assert old.closed == "superseded"
            assert tab.closed is None
            assert new.new == tab.new == [1, 2]
            assert old.new == [1]

    async def test_it_is_so_without_an_offset_and_with_one_that_leads_nowhere(self, path: Path, autojump_clock):
        async with running(path) as house:
            for offset in (None, "junk"):
                old = await house.connected(11)
                await returned(house, pid=old.pid, offset=offset)
                assert old.closed == "superseded"

    async def test_the_older_one_may_still_be_waiting_for_its_answer(self, path: Path, autojump_clock):
        async with running(path) as house:
            await house.do(note(11))
            pid, tab = await left(house), await house.connected(11)
            await house.do(note(11))
            gate = house.store.before_changes = Gate()
            # One whose replay is being read, one whose message waits, and the one that is left in the end.
            tries = []
            for _ in range(3):
                tries.append(house.connect(11, pid=pid, offset=house.at(1)))
                await wait_all_tasks_blocked()
            assert gate.waiting == 1
            gate.open()
            await wait_all_tasks_blocked()
            assert [socket.closed for socket in tries] == ["superseded", "superseded", None]
            assert [socket.accepted for socket in tries] == [False, False, True]
            assert tries[-1].new == [2]
            assert tab.closed is None
            assert gate.waiting == 2, "for a socket that is gone already nothing is read"

    async def test_it_makes_room_where_there_is_none(self, path: Path, autojump_clock):
        async with running(path, max_sockets_per_user=2) as house:
            old, tab = await house.connected(11), await house.connected(11)
            assert house.connect(11).closed == "user_unavailable"
            new = await returned(house, pid=old.pid, offset=house.at(0))
            assert (old.closed, tab.closed, new.closed) == ("superseded", None, None)

    async def test_it_also_ends_one_that_is_behind(self, path: Path, autojump_clock):
        async with running(path, daily_limit=1000) as house:
            pid = await left(house)
            await house.do(*[note(11) for _ in range(250)])
            old = await returned(house, pid=pid, offset=house.at(0), roomy=False)
            new = house.connect(11, pid=pid, offset=house.at(50))
            old.drain()
            await wait_all_tasks_blocked()
            assert old.closed == "superseded"
            assert old.logged == list(range(1, 101))
            assert new.logged == list(range(51, 251))

    async def test_nothing_is_lost_if_the_newer_one_cannot_be_taken_now(self, path: Path, autojump_clock):
        async with running(path, user_mailbox=1) as house:
            old = await house.connected(11)
            await house.do(note(11))
            house.users.reread()
            refused = house.connect(11, pid=old.pid, offset=house.at(0))
            assert (old.closed, refused.closed) == ("superseded", "user_unavailable")
            await wait_all_tasks_blocked()
            assert (await returned(house, pid=old.pid, offset=house.at(0))).new == [1]


async def test_a_restart_of_the_server_is_not_noticed(path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(11)
        await house.do(note(11))
    async with running(path) as house:
        await house.do(note(11))
        again = await returned(house, pid=socket.pid, offset=socket.offsets[-1])
        assert again.pid == socket.pid
        assert again.new == [2]
        assert again.counts == [2]


async def test_after_a_crash_everybody_comes_back_to_what_they_missed(path: Path, autojump_clock):
    async with running(path) as house:
        tabs = [await house.connected(11) for _ in range(3)]
        await house.do(note(11))
        house.users._by_name["user:1:11"].disconnect("actor_crashed")
        await house.do(note(11))
        await trio.sleep(10)
        for tab in tabs:
            back = await returned(house, pid=tab.pid, offset=tab.offsets[-1])
            assert back.pid == tab.pid
            assert back.new == [2]
