"""Rows 36 and 37: somebody who sends as fast as they can, without a token and with a good one."""

from __future__ import annotations

import re
import socket
from collections import Counter
from pathlib import Path
from threading import Event
from typing import Any

import trio

from tests.clients.driver import stock_client
from tests.end_to_end.returning import QUICK
from tests.faults.backend import ENVIRONMENT, TENANT, USER, Backend
from tests.serving import ServedProcess, make_token, serving

PATIENCE = 30
ATTACKER = "127.0.0.2"
PIPELINED = 50
NEW = "notification:new"
MALLORY = 99


def flood(server: ServedProcess, statuses: Counter[int], refused: Event, stop: Event) -> None:
    """Ask for sessions from one address, pipelined, as fast as the answers can be read."""
    host, port = server.url.removeprefix("http://").split(":")
    request = f"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    while not stop.is_set():
        with socket.create_connection((host, int(port)), PATIENCE, source_address=(ATTACKER, 0)) as peer:
            peer.sendall(request * PIPELINED)
            answered = b""
            while answered.count(b"HTTP/1.1 ") < PIPELINED and (data := peer.recv(65536)):
                answered += data
        statuses.update(int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", answered))
        if statuses[429]:
            refused.set()


async def test_row_36_an_address_that_floods_is_told_429_and_others_come_in_and_are_served(tmp_path: Path) -> None:
    backend, statuses, refused, stop = Backend(), Counter[int](), Event(), Event()
    environment = {**ENVIRONMENT, "DJACTORS_ADMIT_BURST": "100", "DJACTORS_ADMIT_RATE": "50"}
    auth = {"token": make_token(tenant_id=TENANT, user_id=USER)}
    async with serving(tmp_path, environment=environment) as server, stock_client("js") as clients:
        witness = await clients.connect(server.url, auth=auth, transports=["websocket"], **QUICK)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, flood, server, statuses, refused, stop)
            try:
                assert await trio.to_thread.run_sync(refused.wait, PATIENCE)
                for transports in (["websocket"], ["polling"], ["polling", "websocket"]):
                    newcomer = await clients.connect(server.url, auth=auth, transports=transports, **QUICK)
                    assert await backend.post(server) == 201
                    for one in (witness, newcomer):
                        await one.expect("event", name=NEW)
                for path in ("/healthz", "/readyz", "/metrics"):
                    assert (await server.request("GET", path)).status == 200
            finally:
                stop.set()
        assert set(statuses) <= {200, 429, 503}
        assert not [one for one in witness.received if one.what == "disconnect"]
        assert await server.stop() == 0
    assert "Traceback" not in server.errors.read_text()
    backend.judge(server.database)


async def test_row_37_a_person_who_floods_is_told_429_and_the_backends_notifications_come_all_the_same(
    tmp_path: Path,
) -> None:
    limit = 10
    environment = {"DJACTORS_DAILY_LIMIT": str(limit), "DJACTORS_EMIT_BURST": "30", "DJACTORS_READ_BURST": "30"}
    mallory = make_token(tenant_id=TENANT, user_id=MALLORY)
    async with serving(tmp_path, environment=environment) as server, stock_client("js") as clients:
        await server.introduce(TENANT, USER, MALLORY)
        created = {"type": "job.created", "tenantId": TENANT, "title": "x", "requesterId": MALLORY, "assigneeId": USER}
        answer = await server.publish(created)
        assert answer.status == 201
        victim = await clients.connect(
            server.url, auth={"token": make_token(tenant_id=TENANT, user_id=USER)}, transports=["websocket"], **QUICK
        )

        async def until_429(method: str, path: str, body: Any = None) -> Any:
            for _ in range(2000):
                answer = await server.request(method, path, token=mallory, body=body)
                if answer.status == 429:
                    assert int(answer.headers["retry-after"]) >= 1
                    assert answer.json["error"]["code"] == "too_many_requests"
                    return
                assert answer.status in (200, 201), answer.body
            raise AssertionError("never told 429")

        await until_429("POST", "/api/jobs/1/comments", {"text": "again"})
        await until_429("GET", "/api/notifications")
        came = len(victim.events(NEW))
        assert came <= 1 + limit // 2, "what people cause uses up half of the limit at most"
        for number in range(limit // 2 - 1):
            answer = await server.publish(
                {
                    "type": "notification.requested",
                    "tenantId": TENANT,
                    "userId": USER,
                    "notificationType": "numbered",
                    "priority": "LOW",
                    "title": f"number {number}",
                }
            )
            assert (answer.status, answer.json["suppressed"]) == (201, [])
        with trio.fail_after(PATIENCE):
            while f"number {limit // 2 - 2}" not in [args[0]["title"] for args in victim.events(NEW)]:
                await victim.expect("event", name=NEW)
        assert await server.stop() == 0
    assert "Traceback" not in server.errors.read_text()
