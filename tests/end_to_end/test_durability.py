"""kill -9 in the middle of a stream of posts: what was acknowledged is there once, and a retry repeats its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from tests.serving import Answer, ServedProcess, make_token, service_token, serving

TENANT, USER = 1, 7
PRODUCERS = 8
ACKNOWLEDGED_BEFORE_THE_KILL = 60
# All go to one user, who is to get every one.
ENVIRONMENT = {"DJACTORS_DAILY_LIMIT": "1000"}


def event(number: int) -> dict[str, Any]:
    return {
        "type": "notification.requested",
        "tenantId": TENANT,
        "userId": USER,
        "notificationType": "numbered",
        "priority": "LOW",
        "title": f"number {number}",
    }


async def post(server: ServedProcess, number: int) -> Answer:
    return await server.publish(event(number), token=service_token(), headers={"idempotency-key": f"key-{number}"})


async def inbox(server: ServedProcess) -> list[dict[str, Any]]:
    token = make_token(tenant_id=TENANT, user_id=USER)
    items: list[dict[str, Any]] = []
    before = ""
    while True:
        page = (await server.request("GET", f"/api/notifications?limit=100{before}", token=token)).json
        items += page["items"]
        if page["nextBefore"] is None:
            assert page["unreadCount"] == len(items)
            return items
        before = f"&before={page['nextBefore']}"


@pytest.mark.parametrize("round_", range(3))
async def test_a_killed_server_keeps_what_it_acknowledged_once(tmp_path: Path, round_: int) -> None:
    acknowledged: dict[int, Any] = {}
    sent = 0
    enough = trio.Event()

    async def produce(server: ServedProcess) -> None:
        nonlocal sent
        while True:
            sent += 1
            number = sent
            try:
                answer = await post(server, number)
            except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError):
                if not enough.is_set():
                    raise
                return  # the server is dead, as it should be
            assert answer.status == 201
            acknowledged[number] = answer.json
            if len(acknowledged) >= ACKNOWLEDGED_BEFORE_THE_KILL + 20 * round_:
                enough.set()

    async with serving(tmp_path, environment=ENVIRONMENT) as server, trio.open_nursery() as nursery:
        for _ in range(PRODUCERS):
            nursery.start_soon(produce, server)
        await enough.wait()
        server.kill()

    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        stored = await inbox(server)
        titles = [item["title"] for item in stored]
        assert len(titles) == len(set(titles))
        # Beside what was acknowledged only the posts under way at the kill may be there.
        assert {f"number {number}" for number in acknowledged} <= set(titles)
        assert len(titles) <= len(acknowledged) + PRODUCERS

        for number, first in acknowledged.items():
            again = await post(server, number)
            assert (again.status, again.json) == (200, first)
        for number in range(1, sent + 1):
            assert (await post(server, number)).status in (200, 201)
        assert sorted(item["title"] for item in await inbox(server)) == sorted(
            f"number {n}" for n in range(1, sent + 1)
        )
