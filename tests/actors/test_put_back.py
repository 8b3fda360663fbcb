"""Old copies of the database are put back, under a server that is down and under one that runs.

Old numbers are never passed off as new: whoever knows something that is lost is told to reload, the others go on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.user import REPLAY_SLICE
from djactors.domain.commands import Command
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.store.database import Database
from djactors.store.threads import InlineRunner
from tests.actors.house import COUNT, NEW, RESET, FakeSocket, House, job, note, running
from tests.actors.test_delivery import names
from tests.actors.test_races import Gate
from tests.copies import WAYS, Way, copy_of, put_back, put_back_online

ANN, BOB = 11, 12
COPIED, LOST = 5, 5
"""Changes before the copy is made, and changes behind it, which are lost."""

RESET_THEN_COUNT = [RESET, COUNT]


def notes(title: str, count: int, user_id: int = ANN) -> list[Command]:
    return [note(user_id, title=f"{title} {number}") for number in range(count)]


async def do_each(house: House, commands: list[Command]) -> None:
    """Each in a commit of its own."""
    for command in commands:
        await house.do(command)


def start_from(copy: Path, path: Path) -> None:
    """Put the copy back, and do with it what each start does."""
    put_back(copy, path)
    schema.apply(path)


def titles(socket: FakeSocket) -> list[str]:
    return [packet.body["title"] for packet in socket.packets if packet.name == NEW]


class Device:
    """What a stock client keeps of a connection that it has lost."""

    def __init__(self, socket: FakeSocket) -> None:
        self.pid = socket.pid
        self.offset = socket.offsets[-1] if socket.offsets else None

    @property
    def by_pid(self) -> dict[str, Any]:
        return {"pid": self.pid, "offset": self.offset}

    @property
    def by_since(self) -> dict[str, Any]:
        return {"since": self.offset}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("written", [0, LOST - 2, LOST, LOST + 3], ids=["none", "fewer", "as many", "more"])
@pytest.mark.parametrize("same", [False, True], ids=["other changes", "the same changes"])
class TestUnderAServerThatIsDown:
    async def test_who_knows_what_is_lost_is_reset_and_the_others_go_on(
        self, path: Path, tmp_path: Path, autojump_clock, way: Way, written: int, same: bool
    ):
        async with running(path) as house:
            early = await house.connected(ANN)
            await do_each(house, notes("kept", COPIED - 1))
            early = Device(early)
            await house.do(*notes("kept last", 1))
            copy = copy_of(path, tmp_path / "copy.db", way)
            late = await house.connected(ANN)
            await do_each(house, notes("after", LOST))
            fresh = Device(await house.connected(ANN))
            late = Device(late)
            everything = await house.log(ANN, 0)
        start_from(copy, path)

        async with running(path) as house:
            await do_each(house, notes("after" if same else "other", written))
            # What was done again is the same to the last byte: then nothing was lost, and nobody can tell.
            lost = not (same and written >= LOST)
            new = [change.offset for change in await house.log(ANN, 0)][COPIED:]
            known = [change.offset for change in everything][COPIED:]
            assert (new[: len(known)] == known) is (not lost)
            for device in (late, fresh):
                for auth in (device.by_pid, device.by_since):
                    socket = await house.connected(ANN, **auth)
                    if lost:
                        assert names(socket.packets) == RESET_THEN_COUNT
                        assert socket.packets[0].body == {"offset": house.at(COPIED + written)}
                        assert socket.pid not in (None, device.pid)
                    else:
                        assert titles(socket) == [f"after {number}" for number in range(LOST, written)]
                        assert RESET not in names(socket.packets)
                    assert socket.counts == [COPIED + written]
            for auth in (early.by_pid, early.by_since):
                socket = await house.connected(ANN, **auth)
                assert titles(socket)[0] == "kept last 0"
                assert len(titles(socket)) == 1 + written
                assert socket.counts == [COPIED + written]

    async def test_a_pid_without_an_offset_names_the_past_of_its_issue(
        self, path: Path, tmp_path: Path, autojump_clock, way: Way, written: int, same: bool
    ):
        """The client was cut off between the answer to its CONNECT and the first event."""
        async with running(path) as house:
            await do_each(house, notes("kept", COPIED))
            copy = copy_of(path, tmp_path / "copy.db", way)
            before = await house.connected(ANN)
            await do_each(house, notes("after", LOST))
            behind = await house.connected(ANN)
        start_from(copy, path)
        async with running(path) as house:
            await do_each(house, notes("after" if same else "other", written))
            socket = await house.connected(ANN, pid=before.pid)
            assert (socket.pid, len(titles(socket))) == (before.pid, written)
            socket = await house.connected(ANN, pid=behind.pid)
            recovered = same and written >= LOST
            assert (socket.pid == behind.pid) is recovered
            assert (RESET in names(socket.packets)) is not recovered


async def test_a_copy_put_back_before_anybody_saw_more_is_not_noticed(path: Path, tmp_path: Path, autojump_clock):
    async with running(path) as house:
        socket = await house.connected(ANN)
        await do_each(house, notes("kept", COPIED))
        device = Device(socket)
        copy = copy_of(path, tmp_path / "copy.db")
        socket.leave()
        await house.do(*notes("unseen", LOST, BOB))
    start_from(copy, path)
    async with running(path) as house:
        await house.do(*notes("new", LOST + 1))
        socket = await house.connected(ANN, **device.by_pid)
        assert titles(socket) == [f"new {number}" for number in range(LOST + 1)]


async def test_who_saw_a_change_of_somebody_else_that_is_lost_is_reset_as_well(
    path: Path, tmp_path: Path, autojump_clock
):
    """By its number only: nothing of their own is lost. Accepted, and said in the README."""
    async with running(path) as house:
        await do_each(house, notes("kept", COPIED))
        copy = copy_of(path, tmp_path / "copy.db")
        await house.do(*notes("lost", 1, BOB))
        device = Device(await house.connected(ANN))
    start_from(copy, path)
    async with running(path) as house:
        await house.do(*notes("other", 2, BOB))
        assert names((await house.connected(ANN, **device.by_pid)).packets) == RESET_THEN_COUNT


async def test_a_machine_that_is_set_back_with_its_memory_is_found_out_by_who_saw_more(
    path: Path, tmp_path: Path, autojump_clock
):
    """Two servers go on from one state of file and memory, down to the nonces that they will draw.

    The clients of the one that is given up come to the other: their connections cannot have been set back with it.
    """
    async with running(path) as house:
        await do_each(house, notes("kept", COPIED))
    again = copy_of(path, tmp_path / "again.db", "cp")
    async with running(path) as house:
        clients = [await house.connected(ANN) for _ in range(3)]
        stays_behind = Device(clients.pop())
        await do_each(house, notes("lost", LOST))
        devices = [Device(socket) for socket in clients]
    async with running(again) as house:
        tab = await house.connected(ANN)
        await do_each(house, notes("other", LOST + 2))
        for device in devices:
            for auth in (device.by_pid, device.by_since):
                socket = await house.connected(ANN, **auth)
                assert names(socket.packets) == RESET_THEN_COUNT
        socket = await house.connected(ANN, **stays_behind.by_since)
        assert titles(socket) == titles(tab) == [f"other {number}" for number in range(LOST + 2)]


class TestUnderARunningServer:
    """Somebody puts the copy into the file while it is served, with SQLite's own tools."""

    @asynccontextmanager
    async def lost(self, path: Path, tmp_path: Path, **options: Any) -> AsyncIterator[tuple[House, Path, FakeSocket]]:
        """A client knows `LOST` changes that a copy does not have."""
        async with running(path, **options) as house:
            await do_each(house, notes("kept", COPIED))
            copy = copy_of(path, tmp_path / "copy.db")
            knows = await house.connected(ANN)
            await do_each(house, notes("lost", LOST))
            assert len(titles(knows)) == LOST
            yield house, copy, knows

    @pytest.mark.parametrize("user_id", [ANN, BOB])
    async def test_nobody_who_knows_what_is_lost_is_told_of_anything_later(
        self, path: Path, tmp_path: Path, autojump_clock, user_id: int
    ):
        async with self.lost(path, tmp_path) as (house, copy, knows):
            tabs = [knows, await house.connected(ANN), await house.connected(ANN, recovery=False)]
            told = [len(tab.packets) for tab in tabs]
            put_back_online(copy, path)
            await house.do(*notes("new", 1, user_id))
            assert [tab.closed for tab in tabs] == ["history_lost"] * 3
            assert [len(tab.packets) for tab in tabs] == told
            back = await house.connected(ANN, **Device(knows).by_pid)
            assert names(back.packets) == RESET_THEN_COUNT
            assert back.packets[0].body == {"offset": house.at(COPIED + 1)}
            assert back.counts == [COPIED + (user_id == ANN)]
            await house.do(*notes("next", 1))
            assert titles(back) == ["next 0"]

    async def test_who_knows_nothing_that_is_lost_stays_and_hears_of_everything(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with running(path) as house:
            quiet = await house.connected(BOB)
            await do_each(house, notes("kept", COPIED))
            copy = copy_of(path, tmp_path / "copy.db")
            knows = await house.connected(ANN)
            await do_each(house, notes("lost", LOST))
            put_back_online(copy, path)
            await house.do(*notes("new", 1, BOB), job())
            assert knows.closed == "history_lost"
            assert quiet.closed is None
            assert names(quiet.packets) == [COUNT, NEW, "job:updated", COUNT]
            assert quiet.offsets[1:] == [house.at(COPIED + 1), house.at(COPIED + 2), house.at(COPIED + 2)]

    async def test_the_numbers_go_on_from_where_the_copy_ended(self, path: Path, tmp_path: Path, autojump_clock):
        """What the writer remembers of the lost rows is forgotten."""
        async with self.lost(path, tmp_path) as (house, copy, _):
            put_back_online(copy, path)
            await do_each(house, notes("new", 3))
            log = await house.log(ANN, 0)
            assert [change.offset.seq for change in log] == list(range(1, COPIED + 4))
            assert (await house.store.store.snapshot(1, ANN)).unread == COPIED + 3

    async def test_a_longer_past_is_put_in_place_of_a_shorter_one(self, path: Path, tmp_path: Path, autojump_clock):
        async with running(path) as house:
            await do_each(house, notes("kept", COPIED))
        longer = copy_of(path, tmp_path / "longer.db")
        async with running(longer) as house:
            await do_each(house, notes("other", 3 * LOST))
        async with running(path) as house:
            behind = await house.connected(ANN)
            await house.do(*notes("lost", 1, BOB))
            knows = await house.connected(BOB)
            put_back_online(longer, path)
            await house.do(*notes("new", 1))
            # What came between the two is read from the log.
            assert titles(behind) == [*(f"other {number}" for number in range(3 * LOST)), "new 0"]
            assert knows.closed == "history_lost"
            assert behind.closed is None

    async def test_who_else_writes_without_losing_anything_is_only_heard(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with running(path) as house:
            sockets = [await house.connected(ANN), await house.connected(BOB), await house.connected(21, 2)]
            await house.do(*notes("here", 1))
            async with await Database.open(path, threads=InlineRunner) as other:
                await Inbox(other).record([*notes("there", 2), note(21, 2)])
            await house.do(*notes("here again", 1))
            assert all(socket.closed is None for socket in sockets)
            assert titles(sockets[0]) == ["here 0", "there 0", "there 1", "here again 0"]
            assert sockets[0].counts == [0, 1, 4]
            assert sockets[2].new != [], "another tenant's actors look as well"

    async def test_a_copy_that_is_put_back_twice_is_found_out_though_the_end_is_as_before(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        """The server's own position is in the log again; that of the socket which came in between is not."""
        async with running(path) as house:
            # Somebody who is known: nobody has to be introduced, which would be a commit.
            await do_each(house, notes("kept", COPIED, BOB))
        longer = copy_of(path, tmp_path / "longer.db")
        async with running(longer) as house:
            await do_each(house, notes("other", LOST))
        async with running(path) as house:
            stays = await house.connected(ANN)
            await house.do(job())
            as_it_was = copy_of(path, tmp_path / "as it was.db")
            put_back_online(longer, path)
            between = await house.connected(BOB)
            assert between.offsets == [house.at(COPIED + LOST)]
            put_back_online(as_it_was, path)
            await house.do(job())
            assert between.closed == "history_lost"
            assert stays.closed is None
            assert names(stays.packets) == [COUNT, "job:updated", "job:updated", COUNT]

    async def test_whoever_returns_first_finds_it_out(self, path: Path, tmp_path: Path, autojump_clock):
        """Nobody has written since: the actor that reads the log finds that it lacks what its sockets were told."""
        async with self.lost(path, tmp_path) as (house, copy, knows):
            other = await house.connected(BOB)
            put_back_online(copy, path)
            early = await house.connected(ANN, since=house.at(COPIED - 1))
            assert titles(early) == [f"kept {COPIED - 1}"]
            assert early.counts == [COPIED]
            assert knows.closed == other.closed == "history_lost"

    async def test_a_past_that_is_back_before_it_is_missed_is_gone_on_from(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        """Two copies are put back between two reads of one actor: what it knows was lost, and is there again."""
        async with self.lost(path, tmp_path) as (house, copy, knows):
            longer = copy_of(path, tmp_path / "longer.db")
            async with await Database.open(longer, threads=InlineRunner) as other:
                await Inbox(other).record(notes("there", 2))

            async def put_back_the_longer() -> None:
                house.store.before_snapshot = house.store._pass
                put_back_online(longer, path)

            put_back_online(copy, path)
            house.store.before_snapshot = put_back_the_longer
            late = await house.connected(ANN, since=".0")
            assert len(titles(late)) == COPIED + LOST + 2
            assert knows.closed is None
            assert titles(knows)[LOST:] == ["there 0", "there 1"]

    async def test_a_socket_that_is_behind_is_judged_by_what_it_was_given(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with running(path, daily_limit=1000) as house:
            await house.do(*notes("kept", REPLAY_SLICE + 10))
            copy = copy_of(path, tmp_path / "copy.db")
            await house.do(*notes("lost", 2 * REPLAY_SLICE))
            begun = await house.connected(ANN, since=".0", roomy=False)
            beyond = await house.connected(ANN, since=".0", roomy=False)
            beyond.drain()
            await wait_all_tasks_blocked()
            assert [len(titles(socket)) for socket in (begun, beyond)] == [REPLAY_SLICE, 2 * REPLAY_SLICE]
            put_back_online(copy, path)
            begun.drain()
            beyond.drain()
            await wait_all_tasks_blocked()
            assert beyond.closed == "history_gone"
            assert begun.closed is None
            assert titles(begun) == [f"kept {number}" for number in range(REPLAY_SLICE + 10)]
            await house.do(*notes("new", 1))
            assert titles(begun)[-1] == "new 0"
            assert begun.counts == [REPLAY_SLICE + 10, REPLAY_SLICE + 11]

    async def test_a_commit_that_is_lost_before_it_is_told_is_not_told(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        """It was durable, but the copy is put back before those who are connected hear of it."""
        async with self.lost(path, tmp_path) as (house, copy, knows):
            told = len(knows.packets)
            gate = house.store.after_record = Gate()
            house.send(*notes("too late", 1))
            await wait_all_tasks_blocked()
            assert gate.waiting == 1
            put_back_online(copy, path)
            early = await house.connected(ANN, since=house.at(COPIED))
            gate.open()
            await wait_all_tasks_blocked()
            assert knows.closed == "history_lost"
            assert (len(knows.packets), titles(early), early.counts) == (told, [], [COPIED])
            await house.do(*notes("new", 1))
            assert titles(early) == ["new 0"]

    async def test_what_waits_in_a_mailbox_when_it_is_found_out_is_not_told(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with self.lost(path, tmp_path) as (house, copy, knows):
            told = len(knows.packets)
            recorded = await house.store.store.record(notes("waits", 1))
            house.rouse()
            await house.users.deliver(recorded, trio.current_time(), house.users.number_commit())
            put_back_online(copy, path)
            await house.users.doubt()
            await wait_all_tasks_blocked()
            assert knows.closed == "history_lost"
            assert len(knows.packets) == told

    async def test_an_actor_that_is_reading_as_it_is_found_out_looks_again(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        """Its snapshot is of the lost past, and it has it in hand when the next commit is told."""
        async with self.lost(path, tmp_path) as (house, copy, _):
            gate = house.store.after_snapshot = Gate()
            late = house.connect(BOB)
            await wait_all_tasks_blocked()
            assert gate.waiting == 1
            put_back_online(copy, path)
            await house.do(*notes("new", LOST + 3, BOB))
            gate.open()
            await wait_all_tasks_blocked()
            assert late.closed is None
            assert names(late.packets) == [COUNT]
            assert late.packets[0].body == {"count": LOST + 3, "unseen": LOST + 3}
            assert late.offsets == [house.at(COPIED + LOST + 3)]

    async def test_everybody_looks_once_and_then_it_costs_nothing_more(
        self, path: Path, tmp_path: Path, autojump_clock
    ):
        async with self.lost(path, tmp_path) as (house, copy, _):
            await house.connected(BOB)
            put_back_online(copy, path)
            await house.do(*notes("new", 1))
            back = await house.connected(ANN)
            house.store.before_snapshot = house.store.before_changes = Gate()
            await do_each(house, notes("next", 5))
            assert titles(back) == [f"next {number}" for number in range(5)]
