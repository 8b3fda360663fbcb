"""Old copies are put back under clients that know later changes: each is reset, none is passed old numbers off as new.

However the copy was made: `cp` of a server that was killed, with its write-ahead log; SQLite's backup while it serves;
`VACUUM INTO`; the commands `backup` and `restore`; and put back while it serves, as `.restore` of the SQLite shell
does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.clients.driver import stock_client
from tests.copies import WAYS, Way, copy_of, put_back, put_back_online
from tests.end_to_end.returning import (
    ALICE,
    BOB,
    COUNT,
    NEW,
    RESET,
    TENANT,
    auth,
    connect,
    expect_count,
    lose,
    said,
    scene,
    since,
)
from tests.serving import make_token

LOST = 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("published_after", [1, LOST, 6], ids=["fewer", "as many", "more"])
async def test_row_34_everyone_who_knows_more_is_reset_and_misses_nothing(
    tmp_path: Path, way: Way, published_after: int
) -> None:
    """The restored server's numbers are below, at, or beyond those that the clients know."""
    copy = tmp_path / "backup.db"
    token = make_token(tenant_id=TENANT, user_id=ALICE)
    async with scene(tmp_path) as place, stock_client("js") as js, stock_client("python") as python:
        lane = await place.lane()
        if way == "cp":
            # Of a server that was killed: most of it is still in the write-ahead log.
            async with place.served() as server:
                await place.tell(ALICE, "kept")
            await trio.to_thread.run_sync(copy_of, server.database, copy, way)
            assert copy.with_name("backup.db-wal").stat().st_size > 0
        async with place.served() as server:
            alice = await connect(js, lane, ALICE)
            if way != "cp":
                await place.tell(ALICE, "kept")
                await trio.to_thread.run_sync(copy_of, server.database, copy, way)
            for number in range(LOST):
                await place.tell(ALICE, f"undone {number}")
            await expect_count(alice, 1 + LOST)
            old = (await place.inbox(ALICE))["offset"]
            lose(lane)
            await alice.expect("disconnect")
        await trio.to_thread.run_sync(put_back, copy, server.database, way)

        async with place.served() as server:
            titles = [f"again {number}" for number in range(published_after)]
            for title in titles:
                await place.tell(ALICE, title)
            unread = 1 + published_after
            expected = [*reversed(titles), "kept"]

            # A stock client with its pid and offset.
            lane.heal()
            assert (await alice.expect("connect"))["recovered"] is False
            reset = (await alice.expect("event", name=RESET)).args[0]["offset"]
            await alice.expect("event", name=COUNT, args=[{"count": unread, "unseen": unread}, reset])
            assert said(since(alice, "connect")) == [(RESET, reset), (COUNT, unread)]

            # What it loads then is all there is, and belongs to the point from which it is told of changes.
            page = await place.inbox(ALICE)
            assert [item["title"] for item in page["items"]] == expected
            assert (page["unreadCount"], page["offset"]) == (unread, reset)

            # A client without recovery, and one without a socket.
            other = await python.connect(server.url, auth=auth(ALICE, recovery=False, since=old), ordered=True)
            assert (await other.expect("event", name=RESET)).args == [{"offset": reset}]
            await other.expect("event", name=COUNT, args=[{"count": unread, "unseen": unread}])
            changes = (await server.request("GET", f"/api/changes?since={old}", token=token)).json
            assert changes == {"items": [], "offset": reset, "reset": True}

            # From there on all of them go on as ever, over the next loss, too.
            await place.tell(ALICE, "live")
            await expect_count(alice, unread + 1)
            await other.expect("event", name=COUNT, args=[{"count": unread + 1, "unseen": unread + 1}])
            lose(lane)
            await alice.expect("disconnect")
            await place.tell(ALICE, "missed")
            lane.heal()
            assert (await alice.expect("connect"))["recovered"] is True
            await expect_count(alice, unread + 2)
            assert said(since(alice, "connect")) == [(NEW, "missed"), (COUNT, unread + 2)]
            changes = (await server.request("GET", f"/api/changes?since={reset}", token=token)).json
            assert [item["data"]["title"] for item in changes["items"]] == ["live", "missed"]
            assert changes["reset"] is False


async def test_who_had_not_come_further_than_the_copy_is_recovered(tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"
    async with scene(tmp_path) as place, stock_client("js") as js:
        lane = await place.lane()
        async with place.served() as server:
            alice = await connect(js, lane, ALICE)
            await place.tell(ALICE, "kept")
            await expect_count(alice, 1)
            lose(lane)
            await alice.expect("disconnect")
            await place.tell(ALICE, "kept, and missed")
            await trio.to_thread.run_sync(copy_of, server.database, copy)
            await place.tell(ALICE, "undone")
        await trio.to_thread.run_sync(put_back, copy, server.database)
        async with place.served():
            await place.tell(ALICE, "new")
            lane.heal()
            assert (await alice.expect("connect"))["recovered"] is True
            await expect_count(alice, 3)
            assert said(since(alice, "connect")) == [(NEW, "kept, and missed"), (NEW, "new"), (COUNT, 3)]


async def test_a_copy_that_is_put_back_while_it_serves_is_found_out_by_the_next_commit(tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"
    async with scene(tmp_path) as place, stock_client("js") as js:
        ways = [await place.lane("alice"), await place.lane("bob")]
        async with place.served() as server:
            bob = await connect(js, ways[1], BOB)
            await place.tell(ALICE, "kept")
            await trio.to_thread.run_sync(copy_of, server.database, copy)
            alice = await connect(js, ways[0], ALICE)
            for number in range(LOST):
                await place.tell(ALICE, f"undone {number}")
            await expect_count(alice, 1 + LOST)

            await trio.to_thread.run_sync(put_back_online, copy, server.database)
            await place.tell(BOB, "new")
            # Bob knew nothing that is lost, and only hears what is new.
            await expect_count(bob, 1)
            assert "disconnect" not in [each.what for each in bob.received]
            # Alice did: she is cut off, comes back by herself, and is told to load anew.
            await alice.expect("disconnect")
            assert (await alice.expect("connect"))["recovered"] is False
            reset = (await alice.expect("event", name=RESET)).args[0]["offset"]
            await alice.expect("event", name=COUNT, args=[{"count": 1, "unseen": 1}, reset])
            assert (await place.inbox(ALICE))["offset"] == reset
            await place.tell(ALICE, "next")
            await expect_count(alice, 2)
            assert said(since(alice, "connect")) == [(RESET, reset), (COUNT, 1), (NEW, "next"), (COUNT, 2)]
            assert "the database may be another one than before" in server.errors.read_text()
