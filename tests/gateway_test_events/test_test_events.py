"""`test:create-job` and `test:assign-job`: jobs from a socket, but only where the server was started with them."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.driver import Kind, StockClients, StockSocket, stock_client
from tests.serving import ServedProcess, make_token, serving

TENANT, ALICE, BOB, CAROL = 1, 11, 12, 13
CREATE = {"projectId": 1, "jobTypeId": 2}
every_kind = pytest.mark.parametrize("kind", ["js", "python"])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServedProcess]:
    async with serving(tmp_path, environment={"DJACTORS_TEST_EVENTS": "true"}) as process:
        await process.introduce(TENANT, ALICE, BOB, CAROL)
        yield process


async def connect(clients: StockClients, server: ServedProcess, user_id: int, role: str = "user") -> StockSocket:
    token = make_token(tenant_id=TENANT, user_id=user_id, role=role)
    # python-socketio's handlers take one argument.
    more = {"recovery": False} if clients.kind == "python" else {}
    return await clients.connect(server.url, auth={"token": token, **more})


def refusal(code: str, message: str) -> list[Any]:
    return [{"ok": False, "error": {"code": code, "message": message}}]


@every_kind
async def test_a_job_is_created_and_then_assigned_from_a_socket(server: ServedProcess, kind: Kind) -> None:
    async with stock_client(kind) as clients:
        alice, bob = await connect(clients, server, ALICE), await connect(clients, server, BOB)
        [created] = await alice.emit("test:create-job", CREATE, ack=True)
        number = created["djId"]
        assert created == {"ok": True, "jobId": 1, "djId": number}
        assert number.startswith("DJ-")
        job = (await bob.expect("event", name="job:updated")).args[0]["job"]
        assert {name: job[name] for name in ("djId", "title", "projectId", "jobTypeId", "requesterId", "status")} == {
            "djId": number,
            "title": "Test job",
            "projectId": 1,
            "jobTypeId": 2,
            "requesterId": ALICE,
            "status": "open",
        }

        assert await alice.emit("test:assign-job", {"jobId": 1, "assigneeId": BOB}, ack=True) == [{"ok": True}]
        told = (await bob.expect("event", name="notification:new")).args[0]
        assert (told["type"], told["data"]) == ("job_assigned", {"jobId": 1, "djId": number})


@every_kind
async def test_a_job_is_created_with_a_title_and_an_assignee_without_an_ack(server: ServedProcess, kind: Kind) -> None:
    async with stock_client(kind) as clients:
        alice, bob = await connect(clients, server, ALICE), await connect(clients, server, BOB)
        await alice.emit("test:create-job", {**CREATE, "title": "Banner", "assigneeId": BOB})
        assert (await bob.expect("event", name="notification:new")).args[0]["message"] == "Banner"
        assigned = (await alice.expect("event", name="job:assigned")).args[0]
        assert assigned["assigneeId"] == BOB


async def test_the_rules_are_those_of_the_job_routes(server: ServedProcess) -> None:
    async with stock_client("js") as clients:
        alice, carol = await connect(clients, server, ALICE), await connect(clients, server, CAROL)
        manager = await connect(clients, server, 14, role="manager")
        await alice.emit("test:create-job", CREATE, ack=True)
        assignment = {"jobId": 1, "assigneeId": BOB}
        [forbidden] = await carol.emit("test:assign-job", assignment, ack=True)
        assert forbidden["error"]["code"] == "forbidden"
        assert await manager.emit("test:assign-job", assignment, ack=True) == [{"ok": True}]
        missing = await manager.emit("test:assign-job", {"jobId": 99, "assigneeId": BOB}, ack=True)
        assert missing == refusal("not_found", "not found")
        stranger = await manager.emit("test:assign-job", {"jobId": 1, "assigneeId": 99}, ack=True)
        assert stranger == refusal("not_found", "assigneeId: no such user")


@pytest.mark.parametrize(
    ("name", "payload", "named"),
    [
        ("test:create-job", {"projectId": 1}, "jobTypeId"),
        ("test:create-job", {**CREATE, "projectId": 0}, "$.projectId"),
        ("test:create-job", {**CREATE, "title": ""}, "$.title"),
        ("test:create-job", {**CREATE, "title": "a\0b"}, "title"),
        ("test:create-job", {**CREATE, "requesterId": BOB}, "requesterId"),
        ("test:assign-job", {"jobId": 1}, "assigneeId"),
    ],
)
async def test_a_payload_of_the_wrong_shape_is_refused(
    server: ServedProcess, name: str, payload: dict[str, Any], named: str
) -> None:
    async with stock_client("js") as clients:
        alice = await connect(clients, server, ALICE)
        [answer] = await alice.emit(name, payload, ack=True)
        assert answer["error"]["code"] == "invalid"
        assert named in answer["error"]["message"]
    listed = await server.request("GET", "/api/jobs", token=make_token(tenant_id=TENANT, user_id=ALICE))
    assert listed.json["items"] == []


@every_kind
async def test_where_they_are_off_they_are_unknown_events(tmp_path: Path, kind: Kind) -> None:
    async with serving(tmp_path) as server, stock_client(kind) as clients:
        alice = await connect(clients, server, ALICE)
        for name, payload in (("test:create-job", CREATE), ("test:assign-job", {"jobId": 1, "assigneeId": BOB})):
            answer = await alice.emit(name, payload, ack=True)
            assert answer == refusal("invalid", f"unknown event {name!r}")
        listed = await server.request("GET", "/api/jobs", token=make_token(tenant_id=TENANT, user_id=ALICE))
        assert listed.json["items"] == []


async def test_the_demo_has_them_on_and_a_deadline_that_is_near(tmp_path: Path) -> None:
    demo = (sys.executable, "-m", "djactors.cli", "demo")
    async with serving(tmp_path, command=demo, environment={"TMPDIR": str(tmp_path)}) as server:
        links = re.findall(r"^  (\w+).* \(\w+\): \S+#token=(\S+)$", "\n".join(server.output), re.MULTILINE)
        tokens = dict(links)
        async with stock_client("js") as clients:
            mali = await clients.connect(server.url, auth={"token": tokens["Mali"]})
            [created] = await mali.emit("test:create-job", CREATE, ack=True)
            assert created["ok"]
            # For her job, and for its deadline.
            anna = await clients.connect(server.url, auth={"token": tokens["Anna"]})
            while (await anna.expect("event", name="notification:unread-count")).args[0] != {"count": 2, "unseen": 2}:
                pass
        page = await server.request("GET", "/api/notifications", token=tokens["Anna"])
        assert [item["type"] for item in page.json["items"]] == ["sla_alert_24h", "job_assigned"]
