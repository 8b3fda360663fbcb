"""Stock clients do not notice that the installation behind them has moved to another database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.clients.driver import stock_client
from tests.end_to_end.returning import ALICE, COUNT, NEW, TENANT, connect, expect_count, lose, said, scene, since
from tests.serving import SECRET, make_token

EXPORT = (sys.executable, "-m", "djactors.cli", "export")

KEYED = {
    "type": "notification.requested",
    "tenantId": TENANT,
    "userId": ALICE,
    "notificationType": "told",
    "priority": "LOW",
    "title": "once",
}


async def export(source: str, target: str) -> subprocess.CompletedProcess[bytes]:
    return await trio.run_process(
        [*EXPORT, "--database", source, "--to", target],
        env={"JWT_SECRET": SECRET},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


@pytest.mark.parametrize("direction", ["to PostgreSQL", "to SQLite"])
async def test_clients_go_on_with_the_offsets_and_pids_that_they_were_given(
    tmp_path: Path, url: str, direction: str
) -> None:
    source, target = str(tmp_path / "here.db"), url
    if direction == "to SQLite":
        source, target = target, source
    token = make_token(tenant_id=TENANT, user_id=ALICE)
    headers = {"idempotency-key": "once"}
    async with scene(tmp_path) as place, stock_client("js") as js, stock_client("python") as python:
        ways = [await place.lane("js"), await place.lane("python")]
        async with place.served(DJACTORS_DATABASE=source) as server:
            alice = await connect(js, ways[0], ALICE)
            other = await connect(python, ways[1], ALICE)
            await place.tell(ALICE, "seen")
            for client in (alice, other):
                await expect_count(client, 1)
            old = (await place.inbox(ALICE))["offset"]
            lose(ways[0])
            lose(ways[1])
            for client in (alice, other):
                await client.expect("disconnect")
            await place.tell(ALICE, "missed here")
            first = await server.publish(KEYED, headers=headers)
            assert first.status == 201
            refused = await export(source, target)
            assert refused.returncode == 1
            assert b" is in use" in refused.stderr
            assert await server.stop() == 0
        done = await export(source, target)
        assert done.returncode == 0, done.stderr
        assert b"carried and verified" in done.stdout
        async with place.served(DJACTORS_DATABASE=target) as server:
            await place.tell(ALICE, "missed there")
            # A backend that did not get its answer in time, and asks the new place.
            again = await server.publish(KEYED, headers=headers)
            assert (again.status, again.json["notifications"]) == (200, first.json["notifications"])
            for way in ways:
                way.heal()
            # The stock JavaScript client brings its pid and its offset.
            assert (await alice.expect("connect"))["recovered"] is True
            await expect_count(alice, 4)
            missed = [(NEW, "missed here"), (NEW, "once"), (NEW, "missed there"), (COUNT, 4)]
            assert said(since(alice, "connect")) == missed
            await other.expect("connect")
            await expect_count(other, 4)
            answer = (await server.request("GET", f"/api/changes?since={old}", token=token)).json
            assert answer["reset"] is False
            assert [item["data"]["title"] for item in answer["items"]] == [title for _, title in missed[:-1]]
            page = await place.inbox(ALICE)
            assert [item["title"] for item in page["items"]] == ["missed there", "once", "missed here", "seen"]
            assert page["unreadCount"] == 4
            # And from here on as ever.
            await place.tell(ALICE, "live")
            await expect_count(alice, 5)
            assert await server.stop() == 0
