"""A peer does what a sound server does: the bench would take its flaws for its figures."""

from __future__ import annotations

from pathlib import Path

import trio

from bench.peers import express_server
from djactors.config import Settings
from djactors.operations.tokens import sign
from tests.clients.driver import stock_client
from tests.serving import send_request

COUNT = "notification:unread-count"
BACKENDS, POSTS = 32, 10
"""So many at once that one commit is often answered after the next."""


async def test_the_express_peer_shows_no_unread_count_after_a_newer_one(tmp_path: Path) -> None:
    with express_server(tmp_path) as target:
        url, settings = f"http://{target.host}:{target.port}", Settings(jwt_secret=target.secret)
        service = sign(settings, role="service")

        async def post(**event: object) -> None:
            answer = await send_request(url, "POST", "/api/events", token=service, body={"tenantId": 1, **event})
            assert answer.status == 201, answer.body

        async def work() -> None:
            for _ in range(POSTS):
                await post(type="notification.requested", userId=2, notificationType="news", priority="LOW", title="x")

        await post(type="user.upserted", userId=2, name="Nok", role="user")
        async with stock_client("js") as clients:
            auth = {"token": sign(settings, tenant_id=1, user_id=2)}
            socket = await clients.connect(url, auth=auth, transports=["websocket"])
            async with trio.open_nursery() as backends:
                for _ in range(BACKENDS):
                    backends.start_soon(work)
            await socket.expect("event", name=COUNT, args=[{"count": BACKENDS * POSTS}])
            counts = [args[0]["count"] for args in socket.events(COUNT)]
    assert counts == sorted(counts)
