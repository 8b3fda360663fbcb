"""A served process has the clock and retention in its tree, and keeps the limits that its settings name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio

from tests.clients.driver import StockSocket, stock_client
from tests.serving import make_token, serving

PATIENCE = 30


async def notified(socket: StockSocket, kind: str) -> dict[str, Any]:
    """The next notification of this type."""
    with trio.fail_after(PATIENCE):
        while True:
            notification: dict[str, Any] = (await socket.expect("event", name="notification:new")).args[0]
            if notification["type"] == kind:
                return notification


def token(user_id: int) -> dict[str, Any]:
    return {"token": make_token(tenant_id=1, user_id=user_id), "recovery": False}


async def test_what_is_overdue_reaches_the_assignee_and_the_manager_at_once(tmp_path: Path):
    deadline = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    async with serving(tmp_path) as server, stock_client("python") as clients:
        sockets = [await clients.connect(server.url, auth=token(user), transports=["websocket"]) for user in (2, 3)]
        created = await server.publish(
            {
                "type": "job.created",
                "tenantId": 1,
                "title": "Banner Design",
                "requesterId": 1,
                "assigneeId": 2,
                "managerId": 3,
                "deadline": deadline,
            }
        )
        assert created.status == 201
        for socket in sockets:
            alert = await notified(socket, "sla_alert_overdue")
            assert alert["priority"] == "CRITICAL"
            assert alert["data"]["jobId"] == 1


async def test_an_alert_that_became_due_while_the_server_was_down_is_sent_once_at_the_next_start(tmp_path: Path):
    soon = datetime.now(UTC) + timedelta(hours=20)
    event = {"type": "job.created", "tenantId": 1, "title": "Banner", "requesterId": 1, "deadline": soon.isoformat()}
    for _ in range(3):
        async with serving(tmp_path) as server, stock_client("python") as clients:
            socket = await clients.connect(server.url, auth=token(2), transports=["websocket"])
            if event:
                await server.publish({**event, "assigneeId": 2})
                await notified(socket, "sla_alert_24h")
                event = {}
    async with serving(tmp_path) as server:
        answer = await server.request("GET", "/api/notifications", token=make_token(tenant_id=1, user_id=2))
        assert [item["type"] for item in answer.json["items"]] == ["sla_alert_24h", "job_assigned"]


async def test_the_settings_of_the_limits_reach_the_store_and_the_edge(tmp_path: Path):
    environment = {"DJACTORS_DAILY_LIMIT": "1", "DJACTORS_POST_BURST": "4", "DJACTORS_POST_RATE": "0.1"}
    note = {
        "type": "notification.requested",
        "tenantId": 1,
        "userId": 2,
        "notificationType": "note",
        "priority": "CRITICAL",
        "title": "Hello",
    }
    async with serving(tmp_path, environment=environment) as server, stock_client("python") as clients:
        socket = await clients.connect(server.url, auth=token(2), transports=["websocket"])
        assert (await server.publish(note)).json["suppressed"] == []
        assert (await server.publish(note)).json["suppressed"] == []
        held = await server.publish({**note, "priority": "HIGH"})
        assert held.json["suppressed"] == [{"userId": 2, "reason": "daily_limit"}]
        assert (await notified(socket, "daily_summary"))["title"] == "1 more updates today"
        await server.publish(note)
        refused = await server.publish(note)
        assert refused.status == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 10
        assert refused.json["error"]["code"] == "too_many_requests"


async def test_a_socket_in_a_loop_is_refused_and_then_closed(tmp_path: Path):
    # A token in ten seconds: hardly one comes back, however long this machine takes to send the rest.
    environment = {"DJACTORS_EMIT_RATE": "0.1"}
    # Not the Python client: one that is writing while the close comes can miss it until its own timeout, 45 s later.
    async with serving(tmp_path, environment=environment) as server, stock_client("js") as clients:
        socket = await clients.connect(server.url, auth=token(2), transports=["websocket"])
        for _ in range(60 + 100 + 60):
            await socket.emit("notification:read-all", {})
        await socket.expect("disconnect")
        answer = await server.publish(
            {"type": "user.upserted", "tenantId": 1, "userId": 9, "name": "X", "role": "user"}
        )
        assert answer.status == 201
