"""The seed's six manual test scenarios, run by stock JavaScript clients against a served process.

Connection, job assignment, approval workflow, SLA alert, multi-user sync, connection recovery. Every wait is for
something that must come, and ends as soon as it does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import trio

from djactors.domain.times import utc_text
from tests.clients.driver import StockClients, StockSocket, stock_client
from tests.serving import ServedProcess, make_token, serving

TENANT, OTHER_TENANT = 1, 2
ALICE, BOB, NOK, CAROL = 11, 12, 13, 14
"""Who asks for jobs, who does them, who approves them, and a colleague."""

PEOPLE = {ALICE: ("Alice", "user"), BOB: ("Bob", "user"), NOK: ("Nok", "manager"), CAROL: ("Carol", "user")}
STRANGER = 21
"""Of the other tenant."""

BANNER = "Banner Design - Q1 Campaign"
RECONNECT_MS = 200
"""What a client waits before it comes back: the default of a second only makes the tests longer."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServedProcess]:
    async with serving(tmp_path) as process:
        yield process


@pytest.fixture
async def clients() -> AsyncIterator[StockClients]:
    async with stock_client("js") as opened:
        yield opened


def token_of(user_id: int) -> str:
    if user_id == STRANGER:
        return make_token(tenant_id=OTHER_TENANT, user_id=STRANGER)
    return make_token(tenant_id=TENANT, user_id=user_id, role=PEOPLE[user_id][1])


async def connect(clients: StockClients, server: ServedProcess, user_id: int, **options: Any) -> StockSocket:
    """A connected socket whose first count has been taken."""
    socket = await clients.connect(server.url, auth={"token": token_of(user_id)}, **options)
    await socket.expect("event", name="notification:unread-count")
    return socket


async def introduce(server: ServedProcess) -> None:
    """Tell the server the people's names: without that nobody may name them."""
    for user_id, (name, role) in PEOPLE.items():
        event = {"type": "user.upserted", "tenantId": TENANT, "userId": user_id, "name": name, "role": role}
        assert (await server.publish(event)).status == 201


async def act(server: ServedProcess, user_id: int, path: str, **body: Any) -> Any:
    """What a person does over HTTP; returns the job."""
    answer = await server.request("POST", f"/api/jobs{path}", token=token_of(user_id), body=body)
    assert answer.status in (200, 201), answer.body
    return answer.json


async def told(socket: StockSocket) -> dict[str, Any]:
    """The next notification."""
    notification: dict[str, Any] = (await socket.expect("event", name="notification:new")).args[0]
    return notification


async def expect_count(socket: StockSocket, count: int) -> None:
    while (await socket.expect("event", name="notification:unread-count")).args[0] != {"count": count, "unseen": count}:
        pass


async def inbox(server: ServedProcess, user_id: int) -> dict[str, Any]:
    page: dict[str, Any] = (await server.request("GET", "/api/notifications?limit=100", token=token_of(user_id))).json
    return page


async def expect_silence(socket: StockSocket) -> None:
    """That a socket has heard nothing but its first count.

    The answer to a command of its own comes behind all that was on its way to it.
    """
    assert await socket.emit("notification:read-all", {}, ack=True) == [{"ok": True, "count": 0, "unseen": 0}]
    assert [one["name"] for one in socket.received if one.what == "event"] == ["notification:unread-count"]


# 1. Connection


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], None], ids=["polling", "websocket", "upgrade"])
async def test_connection_only_a_valid_token_opens_it_and_only_the_user_s_own_room(
    server: ServedProcess, clients: StockClients, transports: list[str] | None
) -> None:
    forged = {"token": make_token(tenant_id=TENANT, user_id=ALICE)[:-4] + "AAAA"}
    expired = {"token": make_token(tenant_id=TENANT, user_id=ALICE, ttl=-10)}
    elsewhere = {"token": token_of(ALICE), "tenantId": OTHER_TENANT}
    for auth in ({}, forged, expired, elsewhere):
        refused = await clients.open(server.url, auth=auth, transports=transports)
        assert (await refused.expect("connect_error"))["message"] == "Unauthorized"

    alice = await connect(clients, server, ALICE, transports=transports)
    second_tab = await connect(clients, server, ALICE, transports=transports)
    bob = await connect(clients, server, BOB, transports=transports)
    stranger = await connect(clients, server, STRANGER, transports=transports)
    request = {
        "type": "notification.requested",
        "tenantId": TENANT,
        "userId": ALICE,
        "notificationType": "note",
        "priority": "LOW",
        "title": "for Alice alone",
    }
    assert (await server.publish(request)).status == 201
    for tab in (alice, second_tab):
        assert (await told(tab))["title"] == "for Alice alone"
        await expect_count(tab, 1)
    for other in (bob, stranger):
        for name, payload in (
            ("notification:read", {"notificationId": 1}),
            ("notification:delete", {"notificationId": 1}),
            ("notification:read-all", {"userId": ALICE}),
        ):
            [answer] = await other.emit(name, payload, ack=True)
            assert answer["error"]["code"] == "not_found"
        await expect_silence(other)
    assert (await inbox(server, ALICE))["unreadCount"] == 1


# 2. Job assignment


async def test_job_assignment_the_assignee_is_told_at_once_and_the_badge_moves(
    server: ServedProcess, clients: StockClients
) -> None:
    await introduce(server)
    alice, bob = await connect(clients, server, ALICE), await connect(clients, server, BOB)
    job = await act(server, ALICE, "", title=BANNER, assigneeId=BOB)
    assert (job["status"], job["assigneeName"], job["requesterId"]) == ("assigned", "Bob", ALICE)

    notification = await told(bob)
    assert notification | {"createdAt": ""} == {
        "id": notification["id"],
        "type": "job_assigned",
        "priority": "HIGH",
        "title": f"{job['djId']} assigned to you",
        "message": BANNER,
        "data": {"jobId": job["id"], "djId": job["djId"]},
        "createdAt": "",
    }
    await expect_count(bob, 1)
    # The one who did it sees the queue move, and is not notified.
    await alice.expect("event", name="job:assigned")
    assert alice.events("notification:new") == []
    queue = (await server.request("GET", "/api/jobs?assignee=me", token=token_of(BOB))).json
    assert queue["items"] == [job]


# 3. Approval workflow


async def test_approval_the_approver_is_asked_and_the_requester_sees_the_answer(
    server: ServedProcess, clients: StockClients
) -> None:
    await introduce(server)
    alice, bob, nok = [await connect(clients, server, user_id) for user_id in (ALICE, BOB, NOK)]
    job = await act(server, ALICE, "", title=BANNER, assigneeId=BOB, approverId=NOK)
    head = {"jobId": job["id"], "djId": job["djId"]}
    await act(server, BOB, f"/{job['id']}/submit")

    asked = await told(nok)
    assert (asked["type"], asked["priority"], asked["data"]) == ("approval_needed", "CRITICAL", head)
    await expect_count(nok, 1)
    pending = (await alice.expect("event", name="approval:status-changed")).args[0]
    assert pending == {**head, "status": "pending", "approvedBy": None}

    assert await nok.emit("notification:read", {"notificationId": asked["id"]}, ack=True) == [
        {"ok": True, "count": 0, "unseen": 0}
    ]
    await expect_count(nok, 0)

    await act(server, NOK, f"/{job['id']}/approve")
    answered = await told(alice)
    assert (answered["type"], answered["priority"], answered["data"]) == ("approval_approved", "MEDIUM", head)
    for socket in (alice, bob, nok):
        await expect_status(socket, {**head, "status": "approved", "approvedBy": "Nok"})
    detail = await server.request("GET", f"/api/jobs/{job['id']}", token=token_of(ALICE))
    assert detail.json["status"] == "approved"


async def test_approval_a_rejection_reaches_requester_and_assignee_with_its_reason(
    server: ServedProcess, clients: StockClients
) -> None:
    await introduce(server)
    job = await act(server, ALICE, "", title=BANNER, assigneeId=BOB, approverId=NOK)
    await act(server, BOB, f"/{job['id']}/submit")
    alice, bob, nok = [await connect(clients, server, user_id) for user_id in (ALICE, BOB, NOK)]
    await act(server, NOK, f"/{job['id']}/reject", reason="the logo is the old one")
    for socket in (alice, bob):
        answered = await told(socket)
        assert (answered["type"], answered["priority"]) == ("approval_rejected", "HIGH")
        assert answered["data"] == {"jobId": job["id"], "djId": job["djId"], "reason": "the logo is the old one"}
        assert answered["message"] == "the logo is the old one"
    await expect_status(nok, {"jobId": job["id"], "djId": job["djId"], "status": "rejected", "approvedBy": "Nok"})
    assert nok.events("notification:new") == []


async def expect_status(socket: StockSocket, status: dict[str, Any]) -> None:
    while (await socket.expect("event", name="approval:status-changed")).args[0] != status:
        pass


# 4. SLA alert


def from_now(**span: float) -> str:
    return utc_text(datetime.now(UTC) + timedelta(**span))


async def test_sla_a_job_that_is_due_within_a_day_alerts_its_assignee_and_leads_to_the_job(
    server: ServedProcess, clients: StockClients
) -> None:
    await introduce(server)
    alice, bob = await connect(clients, server, ALICE), await connect(clients, server, BOB)
    job = await act(server, ALICE, "", title=BANNER, assigneeId=BOB, managerId=NOK, deadline=from_now(hours=23))
    assert (await told(bob))["type"] == "job_assigned"
    alert = await told(bob)
    assert (alert["type"], alert["priority"]) == ("sla_alert_24h", "HIGH")
    assert alert["data"] == {"jobId": job["id"], "djId": job["djId"], "deadline": job["deadline"]}
    await expect_count(bob, 2)
    # The click on it.
    detail = await server.request("GET", f"/api/jobs/{alert['data']['jobId']}", token=token_of(BOB))
    assert (detail.status, detail.json["djId"], detail.json["deadline"]) == (
        200,
        alert["data"]["djId"],
        job["deadline"],
    )
    assert alice.events("notification:new") == []
    assert (await inbox(server, NOK))["items"] == []


async def test_sla_a_deadline_that_passes_reaches_assignee_and_manager_once(
    server: ServedProcess, clients: StockClients
) -> None:
    await introduce(server)
    bob, nok = await connect(clients, server, BOB), await connect(clients, server, NOK)
    job = await act(server, ALICE, "", title=BANNER, assigneeId=BOB, managerId=NOK, deadline=from_now(milliseconds=600))
    for socket in (bob, nok):
        alert = await told(socket)
        while alert["type"] != "sla_alert_overdue":
            alert = await told(socket)
        assert alert["priority"] == "CRITICAL"
        assert alert["data"] == {"jobId": job["id"], "djId": job["djId"], "deadline": job["deadline"]}
    await act(server, BOB, f"/{job['id']}/complete")
    for user_id in (BOB, NOK):
        types = [item["type"] for item in (await inbox(server, user_id))["items"]]
        assert types.count("sla_alert_overdue") == 1


# 5. Multi-user sync


async def test_sync_everyone_in_the_tenant_sees_each_assignment_in_the_order_of_the_commits(
    server: ServedProcess, clients: StockClients
) -> None:
    await introduce(server)
    jobs = [await act(server, ALICE, "", title=f"{BANNER} {number}") for number in range(6)]
    watching = [await connect(clients, server, user_id) for user_id in (ALICE, NOK, CAROL)]
    stranger = await connect(clients, server, STRANGER)
    async with trio.open_nursery() as nursery:
        for number, job in enumerate(jobs):
            by, to = ((ALICE, BOB), (NOK, CAROL))[number % 2]
            nursery.start_soon(assign, server, by, job["id"], to)
    for socket in watching:
        for _ in jobs:
            await socket.expect("event", name="job:updated")

    queues = [queue_events(socket) for socket in watching]
    assert queues[1:] == queues[:-1]
    seen = queues[0]
    assert [name for name, _, _ in seen] == ["job:assigned", "job:updated"] * len(jobs)
    assert {(event["djId"], event["assigneeName"]) for name, event, _ in seen if name == "job:assigned"} == {
        (job["djId"], ("Bob", "Carol")[number % 2]) for number, job in enumerate(jobs)
    }
    for (_, assigned, _), (_, updated, _) in zip(seen[::2], seen[1::2], strict=True):
        assert updated["job"]["id"] == assigned["jobId"]
        assert (updated["job"]["assigneeId"], updated["job"]["status"]) == (assigned["assigneeId"], "assigned")
    numbers = [int(offset.split(".")[1]) for _, _, offset in seen]
    assert numbers == sorted(set(numbers))
    await expect_silence(stranger)


async def assign(server: ServedProcess, by: int, job_id: int, to: int) -> None:
    await act(server, by, f"/{job_id}/assign", assigneeId=to)


def queue_events(socket: StockSocket) -> list[tuple[str, dict[str, Any], str]]:
    """What a socket saw of the queue: event, payload, offset."""
    return [
        (one["name"], one.args[0], one.args[1])
        for one in socket.received
        if one.what == "event" and one["name"].startswith("job:")
    ]


# 6. Connection recovery


async def assign_by_backend(server: ServedProcess, job_id: int) -> None:
    event = {"type": "job.assigned", "tenantId": TENANT, "jobId": job_id, "assigneeId": BOB}
    assert (await server.publish(event)).status == 201


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]], ids=["polling", "websocket"])
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_recovery_a_lost_connection_comes_back_by_itself_and_the_inbox_is_whole(
    server: ServedProcess, clients: StockClients, how: Literal["reset", "close"], transports: list[str]
) -> None:
    bob = await connect(clients, server, BOB, transports=transports, reconnectionDelay=RECONNECT_MS)
    await assign_by_backend(server, 1)
    await expect_count(bob, 1)

    await bob.kill_transport(how)
    await bob.expect("disconnect")
    for job_id in (2, 3):
        await assign_by_backend(server, job_id)
    await bob.expect("connect")
    await expect_count(bob, 3)
    assert jobs_in(await inbox(server, BOB)) == [3, 2, 1]

    await assign_by_backend(server, 4)
    await expect_live(bob, 4)
    await expect_count(bob, 4)


async def test_recovery_whoever_closed_the_page_finds_on_return_what_came_meanwhile(
    server: ServedProcess, clients: StockClients
) -> None:
    bob = await connect(clients, server, BOB)
    await bob.disconnect()
    await bob.expect("disconnect")
    await assign_by_backend(server, 1)
    await bob.connect()
    await bob.expect("connect")
    await expect_count(bob, 1)
    assert jobs_in(await inbox(server, BOB)) == [1]
    await assign_by_backend(server, 2)
    await expect_live(bob, 2)


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_recovery_clients_come_back_to_a_server_that_was_restarted(
    tmp_path: Path, clients: StockClients, end: str
) -> None:
    async with serving(tmp_path) as server:
        bob = await connect(clients, server, BOB, reconnectionDelay=RECONNECT_MS, reconnectionDelayMax=RECONNECT_MS)
        await assign_by_backend(server, 1)
        await expect_count(bob, 1)
        if end == "killed":
            server.kill()
        else:
            assert await server.stop() == 0
        await bob.expect("disconnect")
    port = server.url.rpartition(":")[2]
    async with serving(tmp_path, environment={"SOCKET_PORT": port}) as restarted:
        await assign_by_backend(restarted, 2)
        await bob.expect("connect")
        await expect_count(bob, 2)
        assert jobs_in(await inbox(restarted, BOB)) == [2, 1]
        await assign_by_backend(restarted, 3)
        await expect_live(bob, 3)
        await expect_count(bob, 3)


def jobs_in(page: dict[str, Any]) -> list[int]:
    """The jobs that an inbox tells of, newest first; all unread, as its count says."""
    jobs = [item["data"]["jobId"] for item in page["items"]]
    assert page["unreadCount"] == len(jobs)
    return jobs


async def expect_live(socket: StockSocket, job_id: int) -> None:
    while (await told(socket))["data"]["jobId"] != job_id:
        pass
