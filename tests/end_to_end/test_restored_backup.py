"""A backup is restored under clients that know later changes: each is reset, none is passed old numbers off as new.

The copy is what the contract asks of one: consistent, and with a new epoch of its own.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from tests.clients.driver import stock_client
from tests.end_to_end.returning import (
    ALICE,
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


def back_up(database: Path, copy: Path) -> None:
    """Copy a database that is being written to, and mark the copy as another one."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("UPDATE meta SET epoch = ?", (secrets.token_urlsafe(9),))
        target.commit()


def restore(copy: Path, database: Path) -> None:
    """Put a copy in the place of a database that nobody serves."""
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, database)


@pytest.mark.parametrize("published_after", [1, 3, 6], ids=["fewer", "as many", "more"])
async def test_everyone_who_returns_is_reset_and_misses_nothing(tmp_path: Path, published_after: int) -> None:
    """The restored server's numbers are below, at, or beyond those that the clients know."""
    copy = tmp_path / "backup.db"
    token = make_token(tenant_id=TENANT, user_id=ALICE)
    async with scene(tmp_path) as place, stock_client("js") as js, stock_client("python") as python:
        lane = await place.lane()
        async with place.served() as server:
            alice = await connect(js, lane, ALICE)
            await place.tell(ALICE, "kept")
            await trio.to_thread.run_sync(back_up, server.database, copy)
            for number in range(3):
                await place.tell(ALICE, f"undone {number}")
            await expect_count(alice, 4)
            old = (await place.inbox(ALICE))["offset"]
            lose(lane)
            await alice.expect("disconnect")
        await trio.to_thread.run_sync(restore, copy, server.database)

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
            await alice.expect("event", name=COUNT, args=[{"count": unread}, reset])
            assert said(since(alice, "connect")) == [(RESET, reset), (COUNT, unread)]

            # What it loads then is all there is, and belongs to the point from which it is told of changes.
            page = await place.inbox(ALICE)
            assert [item["title"] for item in page["items"]] == expected
            assert (page["unreadCount"], page["offset"]) == (unread, reset)
            assert page["offset"].partition(".")[0] != old.partition(".")[0]

            # A client without recovery, and one without a socket.
            other = await python.connect(server.url, auth=auth(ALICE, recovery=False, since=old), ordered=True)
            assert (await other.expect("event", name=RESET)).args == [{"offset": reset}]
            await other.expect("event", name=COUNT, args=[{"count": unread}])
            changes = (await server.request("GET", f"/api/changes?since={old}", token=token)).json
            assert changes == {"items": [], "offset": reset, "reset": True}

            # From there on all of them go on as ever, over the next loss, too.
            await place.tell(ALICE, "live")
            await expect_count(alice, unread + 1)
            await other.expect("event", name=COUNT, args=[{"count": unread + 1}])
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
