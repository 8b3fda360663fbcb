"""The main job, as the people whom it is for see it: stock clients, unmodified, against a served process."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.clients.driver import Kind, StockClients, StockSocket, stock_client
from tests.offsets import number_of
from tests.serving import ServedProcess, make_token, service_token, serving

POLLING, WEBSOCKET, UPGRADE = ["polling"], ["websocket"], None

CLIENTS = [
    pytest.param("js", POLLING, id="js-polling"),
    pytest.param("js", WEBSOCKET, id="js-websocket"),
    pytest.param("js", UPGRADE, id="js-upgrade"),
    pytest.param("python", POLLING, id="python-polling"),
    pytest.param("python", WEBSOCKET, id="python-websocket"),
    pytest.param("python", UPGRADE, id="python-upgrade"),
]
every_client = pytest.mark.parametrize(("kind", "transports"), CLIENTS)

ALICE, BOB = 11, 12
TENANT, OTHER_TENANT = 1, 2
CAROL = 21  # of the other tenant


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServedProcess]:
    async with serving(tmp_path) as process:
        yield process


def auth(user_id: int, kind: Kind, tenant_id: int = TENANT, **more: Any) -> dict[str, Any]:
    """What a client of this kind presents; python-socketio's handlers take one argument, so no offsets for it."""
    token = make_token(tenant_id=tenant_id, user_id=user_id)
    return {"token": token, "tenantId": tenant_id, **({"recovery": False} if kind == "python" else {}), **more}


async def connect(
    clients: StockClients, server: ServedProcess, user_id: int, transports: list[str] | None, tenant_id: int = TENANT
) -> StockSocket:
    """A connected socket whose first count has been taken."""
    socket = await clients.connect(server.url, auth=auth(user_id, clients.kind, tenant_id), transports=transports)
    await socket.expect("event", name="notification:unread-count")
    return socket


async def expect_count(socket: StockSocket, count: int) -> None:
    while (await socket.expect("event", name="notification:unread-count")).args[0] != {"count": count, "unseen": count}:
        pass


async def curl_assign(server: ServedProcess, job_id: int, assignee_id: int) -> dict[str, Any]:
    """Post a job.assigned by curl itself, as the seed's backend developer would."""
    body = f'{{"type":"job.assigned","tenantId":{TENANT},"jobId":{job_id},"assigneeId":{assignee_id}}}'
    headers = ["-H", f"Authorization: Bearer {service_token()}", "-H", "Content-Type: application/json"]
    curl = ["curl", "-sS", "-w", "\n%{http_code}", f"{server.url}/api/events", "-d", body, *headers]
    done = await trio.run_process(curl, capture_stdout=True, stderr=subprocess.STDOUT)
    answer, status = done.stdout.decode().rsplit("\n", 1)
    assert status == "201", answer
    decoded: dict[str, Any] = msgspec.json.decode(answer)
    return decoded


@every_client
async def test_a_job_that_is_assigned_shows_at_once(
    server: ServedProcess, kind: Kind, transports: list[str] | None
) -> None:
    created = await server.publish(
        {"type": "job.created", "tenantId": TENANT, "title": "Banner Design - Q1 Campaign", "requesterId": BOB}
    )
    assert created.status == 201
    async with stock_client(kind) as clients:
        alice = await clients.connect(server.url, auth=auth(ALICE, kind), transports=transports)
        first = await alice.expect("event", name="notification:unread-count")
        assert first.args[0] == {"count": 0, "unseen": 0}

        answer = await curl_assign(server, 1, ALICE)
        # The seed's bound for a delivery is half a second; a busy machine is given the "same second" and more.
        new = await alice.expect("event", name="notification:new")
        notification = new.args[0]
        assert answer["notifications"] == [{"id": notification["id"], "userId": ALICE, "type": "job_assigned"}]
        number = notification["data"]["djId"]
        assert notification | {"createdAt": ""} == {
            "id": notification["id"],
            "type": "job_assigned",
            "priority": "HIGH",
            "title": f"{number} assigned to you",
            "message": "Banner Design - Q1 Campaign",
            "data": {"jobId": 1, "djId": number},
            "createdAt": "",
        }
        await expect_count(alice, 1)
        assigned = await alice.expect("event", name="job:assigned")
        assert assigned.args[0] == {
            "jobId": 1,
            "djId": number,
            "assigneeId": ALICE,
            "assigneeName": f"User {ALICE}",
        }


@every_client
async def test_offsets_come_with_every_event_unless_they_were_declined(
    server: ServedProcess, kind: Kind, transports: list[str] | None
) -> None:
    async with stock_client(kind) as clients:
        alice = await clients.connect(server.url, auth=auth(ALICE, kind), transports=transports)
        await alice.expect("event", name="notification:unread-count")
        await curl_assign(server, 1, ALICE)
        await expect_count(alice, 1)
        await alice.expect("event", name="job:updated")
        events = [occurrence.args for occurrence in alice.received if occurrence.what == "event"]
        if kind == "python":
            assert all(len(args) == 1 for args in events)
        else:
            numbers = [number_of(args[1]) for args in events]
            assert numbers == sorted(numbers)
            # Two events of one change, the notification and the count behind it say, have one offset.
            assert len({args[1] for args in events}) == len(set(numbers)) > 1


@every_client
@pytest.mark.parametrize("ack", [True, False], ids=["ack", "no-ack"])
async def test_reading_and_deleting_with_and_without_ack(
    server: ServedProcess, kind: Kind, transports: list[str] | None, ack: bool
) -> None:
    for job_id in (1, 2, 3, 4):
        await curl_assign(server, job_id, ALICE)
    async with stock_client(kind) as clients:
        alice = await clients.connect(server.url, auth=auth(ALICE, kind), transports=transports)
        other = await clients.connect(server.url, auth=auth(ALICE, kind), transports=transports)
        for socket in (alice, other):
            await expect_count(socket, 4)

        answer = await alice.emit("notification:read", {"notificationId": 1}, ack=ack)
        assert answer == ([{"ok": True, "count": 3, "unseen": 3}] if ack else [])
        for socket in (alice, other):
            read = (await socket.expect("event", name="notification:read")).args[0]
            assert read["notificationIds"] == [1]
            await expect_count(socket, 3)

        answer = await alice.emit("notification:delete", {"notificationId": 2}, ack=ack)
        assert answer == ([{"ok": True, "count": 2, "unseen": 2}] if ack else [])
        for socket in (alice, other):
            assert (await socket.expect("event", name="notification:deleted")).args[0] == {"notificationIds": [2]}
            await expect_count(socket, 2)

        answer = await other.emit("notification:read-all", {"userId": ALICE}, ack=ack)
        assert answer == ([{"ok": True, "count": 0, "unseen": 0}] if ack else [])
        for socket in (alice, other):
            assert (await socket.expect("event", name="notification:read")).args[0]["all"] is True
            await expect_count(socket, 0)

        if ack:
            for name, payload in (
                ("notification:read", {"notificationId": 999}),
                ("notification:delete", {"notificationId": 999}),
                ("notification:read-all", {"userId": BOB}),
            ):
                [refusal] = await alice.emit(name, payload, ack=True)
                assert refusal == {"ok": False, "error": {"code": "not_found", "message": "not found"}}
        inbox = (await server.request("GET", "/api/notifications", token=make_token(tenant_id=1, user_id=ALICE))).json
        assert [(item["id"], item["isRead"]) for item in inbox["items"]] == [(4, True), (3, True), (1, True)]


@every_client
async def test_what_http_changes_shows_on_the_sockets(
    server: ServedProcess, kind: Kind, transports: list[str] | None
) -> None:
    await curl_assign(server, 1, ALICE)
    token = make_token(tenant_id=TENANT, user_id=ALICE)
    async with stock_client(kind) as clients:
        alice = await clients.connect(server.url, auth=auth(ALICE, kind), transports=transports)
        await expect_count(alice, 1)
        assert (await server.request("POST", "/api/notifications/1/read", token=token)).json["count"] == 0
        await alice.expect("event", name="notification:read")
        await expect_count(alice, 0)
        assert (await server.request("DELETE", "/api/notifications/1", token=token)).status == 200
        await alice.expect("event", name="notification:deleted")


@every_client
async def test_another_tenant_sees_nothing(server: ServedProcess, kind: Kind, transports: list[str] | None) -> None:
    async with stock_client(kind) as clients:
        alice = await connect(clients, server, ALICE, transports)
        bob = await connect(clients, server, BOB, transports)
        carol = await connect(clients, server, CAROL, transports, OTHER_TENANT)
        await curl_assign(server, 1, ALICE)
        await alice.expect("event", name="notification:new")
        # Everyone in the tenant sees the job, the assignee alone the notification.
        await bob.expect("event", name="job:updated")
        assert bob.events("notification:new") == []
        # A command of Carol's, answered after all that went before it, shows that nothing was on its way to her.
        assert await carol.emit("notification:read-all", {}, ack=True) == [{"ok": True, "count": 0, "unseen": 0}]
        assert [one.what for one in carol.received if one.what == "event"] == ["event"]
        foreign = make_token(tenant_id=OTHER_TENANT, user_id=CAROL)
        assert (await server.request("GET", "/api/notifications", token=foreign)).json["items"] == []
        assert (await server.request("POST", "/api/notifications/1/read", token=foreign)).status == 404


@every_client
async def test_a_token_that_proves_nothing_is_refused(
    server: ServedProcess, kind: Kind, transports: list[str] | None
) -> None:
    good = make_token(tenant_id=TENANT, user_id=ALICE)
    cases = {
        "token_invalid": {"token": f"{good[:-3]}abc"},
        "token_expired": {"token": make_token(tenant_id=TENANT, user_id=ALICE, ttl=-10)},
        "tenant_mismatch": {"token": good, "tenantId": OTHER_TENANT},
        "token_missing": {},
    }
    async with stock_client(kind) as clients:
        for code, presented in cases.items():
            socket = await clients.open(server.url, auth=presented, transports=transports)
            refusal = await socket.expect("connect_error")
            assert refusal["message"] == "Unauthorized"
            assert refusal["data"] == {"code": code}


async def test_forty_five_missed_events_are_counted_and_paged_without_gap_or_repeat(server: ServedProcess) -> None:
    for job_id in range(1, 46):
        await server.publish({"type": "job.assigned", "tenantId": TENANT, "jobId": job_id, "assigneeId": ALICE})
    token = make_token(tenant_id=TENANT, user_id=ALICE)
    async with stock_client("js") as clients:
        alice = await clients.connect(server.url, auth=auth(ALICE, "js"))
        assert (await alice.expect("event", name="notification:unread-count")).args[0] == {"count": 45, "unseen": 45}

        pages: list[list[int]] = []
        before = ""
        while True:
            answer = (await server.request("GET", f"/api/notifications?limit=20{before}", token=token)).json
            pages.append([item["id"] for item in answer["items"]])
            # New ones arrive between the pages, and show live, not in the older pages.
            job_id = 100 + len(pages)
            await server.publish({"type": "job.assigned", "tenantId": TENANT, "jobId": job_id, "assigneeId": ALICE})
            if answer["nextBefore"] is None:
                break
            before = f"&before={answer['nextBefore']}"
        assert [len(page) for page in pages] == [20, 20, 5]
        assert [one for page in pages for one in page] == list(range(45, 0, -1))
        await expect_count(alice, 45 + len(pages))
