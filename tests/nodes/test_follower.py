"""Users of one node are told what another node wrote: in order, once, and never under other changes' numbers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.domain.commands import MarkRead, Publish, SignOut
from djactors.domain.events import JobCreated
from djactors.store.errors import StoreUnavailable
from tests.actors.house import COUNT, NEW, FakeSocket, job, note
from tests.actors.test_delivery import names
from tests.copies import copy_of, put_back_online
from tests.nodes.house import HISTORY, NOW, Node, running_nodes

ANN, BOB = 11, 12


def titles(socket: FakeSocket) -> list[str]:
    return [packet.body["title"] for packet in socket.packets if packet.name == NEW]


async def test_who_is_connected_here_is_told_what_the_other_node_wrote(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), _):
        here, there = await one.connected(ANN), await other.connected(ANN)
        await other.do(note(ANN, title="Hello"))
        for socket in (here, there):
            assert titles(socket) == ["Hello"]
            assert socket.counts == [0, 1]
            assert socket.offsets[-1] == one.at(1)
        assert here.packets == there.packets


async def test_commits_of_both_nodes_reach_everybody_in_the_order_of_the_log(path: Path, autojump_clock):
    async with running_nodes(path, 3) as (nodes, _):
        sockets = [await node.connected(ANN) for node in nodes]
        outcomes = [
            outcome
            for number in range(60)
            for outcome in [nodes[number % 3].send(note(ANN, title=str(number)), job(requester_id=BOB))]
        ]
        await wait_all_tasks_blocked()
        assert all(len(each) == 2 for each in outcomes)
        everything = [change.offset.seq for change in await nodes[0].log(ANN, 0)]
        for socket in sockets:
            assert socket.logged == everything
            assert socket.counts[-1] == 60


async def test_a_badge_is_that_of_its_offset(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), wire):
        socket = await one.connected(ANN)
        wire.whole = False
        await other.do(note(ANN), note(ANN))
        await other.do(MarkRead(1, ANN, 1))
        wire.whole = True
        await other.do(note(BOB))
        assert socket.counts == [0, 1]
        assert names(socket.packets)[1:] == [NEW, NEW, "notification:read", COUNT]


async def test_what_came_while_nothing_was_heard_comes_with_the_next_commit(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), wire):
        socket = await one.connected(ANN)
        wire.whole = False
        await other.do(note(ANN, title="unheard"))
        assert titles(socket) == []
        await one.do(note(ANN, title="own"))
        assert titles(socket) == ["unheard", "own"]
        assert socket.logged == [1, 2]


async def test_polling_finds_it(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), wire):
        socket = await one.connected(ANN)
        wire.whole = False
        await other.do(note(ANN, title="unheard"))
        await one.follower.poll()
        await wait_all_tasks_blocked()
        assert titles(socket) == ["unheard"]


async def test_own_commits_are_told_without_a_read(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, _), _):
        socket = await one.connected(ANN)
        await one.do(note(ANN, title="1"))
        await one.do(note(ANN, title="2"))
        assert titles(socket) == ["1", "2"]
        assert one.metric("djactors_followed_changes_total") == 0


async def test_a_client_goes_from_one_node_to_the_other(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), _):
        socket = await one.connected(ANN)
        await other.do(note(ANN, title="told"))
        socket.leave()
        await one.do(note(ANN, title="missed"))
        again = await other.connected(ANN, pid=socket.pid, offset=socket.offsets[-1])
        assert again.pid == socket.pid
        assert titles(again) == ["missed"]


async def test_a_sign_out_on_one_node_ends_sockets_on_the_other(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), _):
        ann, bob = await one.connected(ANN), await one.connected(BOB)
        await other.do(SignOut(1, ANN))
        assert (ann.closed, bob.closed) == ("signed_out", None)


async def test_who_is_not_connected_is_known_to_be_signed_out_within_a_second(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), _):
        await other.do(note(ANN))
        await one.users.look_up(1, ANN)
        await other.do(SignOut(1, ANN))
        await trio.sleep(1)
        assert one.users.account(1, ANN) is None
        await one.users.look_up(1, ANN)
        account = one.users.account(1, ANN)
        assert account is not None
        assert account.signed_out_at is not None


async def test_many_changes_at_once_are_read_by_each_actor(path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("djactors.inbox.following.FOLLOWED_AT_ONCE", 5)
    async with running_nodes(path) as ((one, other), wire):
        ann, bob = await one.connected(ANN), await one.connected(BOB)
        wire.whole = False
        for number in range(6):
            await other.do(note(ANN, title=str(number)))
        wire.whole = True
        await other.do(note(ANN, title="6"))
        assert titles(ann) == [str(number) for number in range(7)]
        assert ann.counts[-1] == 7
        assert titles(bob) == []
        assert one.metric("djactors_followed_changes_total") == 0


async def test_a_read_that_fails_is_made_again(path: Path, autojump_clock, monkeypatch: pytest.MonkeyPatch):
    async with running_nodes(path) as ((one, other), _):
        socket = await one.connected(ANN)
        follow = one.follower._log.follow
        failures = 3

        async def failing(wanted):
            nonlocal failures
            if failures:
                failures -= 1
                raise StoreUnavailable("not now")
            return await follow(wanted)

        monkeypatch.setattr(one.follower._log, "follow", failing)
        await other.do(note(ANN, title="late"))
        await one.do(note(ANN, title="own"))
        await trio.sleep(5)
        assert titles(socket) == ["late", "own"]


async def test_a_commit_whose_answer_was_lost_is_told_if_it_was_stored(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, _), wire):
        socket = await one.connected(ANN)
        wire.whole = False

        async def lose() -> None:
            one.store.after_record = one.store._pass
            raise StoreUnavailable("the connection was lost during a commit")

        one.store.after_record = lose
        [outcome] = await one.do(note(ANN, title="stored"))
        assert isinstance(outcome, StoreUnavailable)
        assert titles(socket) == ["stored"]
        await one.do(note(ANN, title="next"))
        assert titles(socket) == ["stored", "next"]


class TestLostCommits:
    """A copy put back under running nodes stands for a failover that lost commits: no reconnection is seen."""

    async def lose(self, path: Path, tmp_path: Path, nodes: list[Node], titles_after: int) -> list[FakeSocket]:
        one, other = nodes
        await other.do(note(ANN, title="kept"))
        copy = copy_of(path, tmp_path / "copy.db")
        sockets = [await one.connected(ANN), await other.connected(ANN), await one.connected(BOB)]
        for number in range(titles_after):
            await other.do(note(ANN, title=f"lost {number}"))
        put_back_online(copy, path)
        return sockets

    @pytest.mark.parametrize("after", [1, 2, 3, 4])
    async def test_who_knows_them_is_cut_and_the_others_go_on(
        self, path: Path, tmp_path: Path, autojump_clock, after: int
    ):
        async with running_nodes(path) as (nodes, _):
            one, other = nodes
            ann, ann_there, bob = await self.lose(path, tmp_path, nodes, 2)
            for number in range(after):
                await other.do(note(ANN, title=f"new {number}"))
            for socket in (ann, ann_there):
                assert socket.closed == "history_lost"
                assert titles(socket) == ["lost 0", "lost 1"]
            assert bob.closed is None
            again = await one.connected(ANN, pid=ann.pid, offset=ann.offsets[-1])
            assert names(again.packets)[0] == "changes:reset"
            assert again.counts == [1 + after]
            await other.do(note(BOB, title="for Bob"))
            assert titles(bob) == ["for Bob"]

    async def test_a_session_that_is_ahead_of_its_node_is_cut_as_well(self, path: Path, tmp_path: Path, autojump_clock):
        """Its node was told of nothing that is lost; the session came to know it by a snapshot."""
        async with running_nodes(path) as (nodes, wire):
            one, other = nodes
            early = await one.connected(BOB)
            await other.do(note(ANN, title="kept"))
            copy = copy_of(path, tmp_path / "copy.db")
            wire.whole = False
            await other.do(note(ANN, title="lost"))
            ahead = await one.connected(ANN)
            assert ahead.counts == [2]
            tail = one.tails.get(1)
            assert tail is not None
            assert tail.at == one.offset(1)
            put_back_online(copy, path)
            for number in range(2):
                await one.do(note(ANN, title=f"new {number}"))
            assert ahead.closed == "history_lost"
            assert titles(ahead) == []
            assert early.closed is None

    async def test_polling_finds_out_who_was_given_what_is_lost_though_nothing_was_written_since(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with running_nodes(path) as ((one, other), wire):
            early = await one.connected(ANN)
            copy = copy_of(path, tmp_path / "copy.db")
            wire.whole = False
            await other.do(note(BOB, title="lost"))
            ahead = await one.connected(BOB)
            put_back_online(copy, path)
            await one.follower.poll()
            await wait_all_tasks_blocked()
            assert ahead.closed == "history_lost"
            assert early.closed is None

    async def test_who_was_given_less_than_others_were_told_misses_nothing_when_it_is_there_again(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with running_nodes(path) as ((one, other), _):
            bob = await one.connected(BOB)
            await other.do(note(ANN, title="kept"))
            older = copy_of(path, tmp_path / "older.db")
            await other.do(note(ANN, title="gone for a while"), note(BOB, title="for Bob"))
            newer = copy_of(path, tmp_path / "newer.db")
            put_back_online(older, path)
            ann = await one.connected(ANN)
            assert ann.counts == [1]
            put_back_online(newer, path)
            await other.do(note(ANN, title="later"))
            assert titles(ann) == ["gone for a while", "later"]
            assert ann.counts[-1] == 3
            assert titles(bob) == ["for Bob"]

    async def test_whoever_came_for_the_first_time_is_introduced_again(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with running_nodes(path) as ((one, other), _):
            await other.do(note(ANN, title="kept"))
            copy = copy_of(path, tmp_path / "copy.db")
            await one.connected(BOB)
            await other.do(job(requester_id=ANN))
            put_back_online(copy, path)
            await other.do(note(ANN, title="new"))
            snapshot = await one.store.store.snapshot(1, BOB)
            assert snapshot.known

    async def test_all_tenants_that_lost_something_are_found_out(self, path: Path, tmp_path: Path, autojump_clock):
        async with running_nodes(path) as ((one, other), _):
            for tenant_id in (1, 2, 3):
                await other.do(note(ANN, tenant_id))
            copy = copy_of(path, tmp_path / "copy.db")
            sockets = [await one.connected(ANN, tenant_id) for tenant_id in (1, 2, 3)]
            for tenant_id in (1, 2, 3):
                await other.do(note(ANN, tenant_id, title="lost"))
            put_back_online(copy, path)
            for tenant_id in (1, 2, 3):
                await other.do(note(ANN, tenant_id, title="new"))
            assert [socket.closed for socket in sockets] == ["history_lost"] * 3
            assert [titles(socket) for socket in sockets] == [["lost"]] * 3

    async def test_after_a_reconnection_everybody_looks(self, path: Path, tmp_path: Path, autojump_clock):
        async with running_nodes(path) as (nodes, wire):
            one = nodes[0]
            one.store.others_wrote_anywhere = True
            ann, _, bob = await self.lose(path, tmp_path, nodes, 2)
            wire.whole = False
            await one.do(note(BOB, title="new"))
            assert ann.closed == "history_lost"
            assert titles(bob) == ["new"]


async def test_what_another_node_brings_forward_wakes_the_clock(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), _):
        deadline = NOW + timedelta(days=2)
        await other.do(Publish(JobCreated(tenant_id=7, title="x", requester_id=1, assignee_id=2, deadline=deadline)))
        assert one.clock.moments == ["2026-01-28T10:30:00.000000Z"]


async def test_who_was_told_nothing_for_long_is_brought_up_so_that_others_may_purge(path: Path, autojump_clock):
    """The node that purges knows its own users only."""
    async with running_nodes(path) as ((one, other), _):
        quiet = await one.connected(BOB)
        for _ in range(3):
            await other.do(note(ANN))
        assert quiet.offsets == [one.at(0)] or quiet.offsets == [".0"]
        await trio.sleep(HISTORY / 2 + 1)
        assert quiet.offsets[-1] == one.at(3)


async def test_a_node_that_is_told_of_other_tenants_reads_nothing(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), _):
        await one.connected(ANN)
        await other.do(note(ANN, tenant_id=2))
        assert one.tails.get(2) is None
        assert one.metric("djactors_followed_changes_total") == 0


async def test_a_tenant_is_forgotten_with_its_last_user(path: Path, autojump_clock):
    async with running_nodes(path) as ((one, other), _):
        socket = await one.connected(ANN)
        assert one.tails.get(1) is not None
        socket.leave()
        await trio.sleep(60)
        await other.do(note(ANN))
        assert one.tails.get(1) is None
        again = await one.connected(ANN)
        await other.do(note(ANN, title="new"))
        assert titles(again) == ["new"]
