"""What everyone connected in the tenant sees of its jobs, in the order of the commits, and nobody else."""

import json
from typing import Any

import pytest

from djactors.domain.events import DomainEvent, JobCreated, NotificationRequested
from tests.edge.rooms import Rooms
from tests.edge.sockets import Client, settle
from tests.inbox.desk import MORNING_TEXT, Desk, packets
from tests.workflow.people import (
    APPROVED,
    APPROVER,
    ASSIGNED,
    ASSIGNEE,
    CANCELLED,
    COMMENTED,
    COMPLETED,
    CREATED,
    MOVED,
    OTHER,
    REJECTED,
    RETITLED,
    STRANGER,
    SUBMITTED,
    UNWATCHED,
    WATCHED,
    T,
    by,
    live,
)

HEAD = {"jobId": 1, "djId": "DJ-2026-0001"}
ASSIGNMENT = ("job:assigned", {**HEAD, "assigneeId": ASSIGNEE, "assigneeName": "Assignee"})

COMMENT = (
    "comment:added",
    {
        "comment": {
            "id": 1,
            "jobId": 1,
            "authorId": APPROVER,
            "authorName": "Approver",
            "text": "Which font?",
            "mentions": [],
            "createdAt": MORNING_TEXT,
        }
    },
)


def approval(status: str, by_whom: str | None) -> tuple[str, dict[str, Any]]:
    return "approval:status-changed", {**HEAD, "status": status, "approvedBy": by_whom}


def shared(desk: Desk) -> list[tuple[str, Any]]:
    return [(name, body) for user_id, name, body in packets(desk.announced) if user_id is None]


@pytest.mark.parametrize(
    ("status", "event", "first"),
    [
        ("open", ASSIGNED, ASSIGNMENT),
        ("assigned", SUBMITTED, approval("pending", None)),
        ("pending_approval", APPROVED, approval("approved", "Approver")),
        ("pending_approval", REJECTED, approval("rejected", "Approver")),
        ("approved", COMPLETED, None),
        ("assigned", CANCELLED, None),
        ("assigned", RETITLED, None),
        ("open", COMMENTED, COMMENT),
        ("open", MOVED, None),
        ("open", WATCHED, None),
        ("open", UNWATCHED, None),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "tenant_id") else None,
)
def test_each_event_is_announced_and_then_the_job_in_its_new_state(
    desk: Desk, status: str, event: DomainEvent, first: tuple[str, Any] | None
):
    live(desk, status)
    desk.publish(by(event, APPROVER))
    *before, (name, body) = shared(desk)
    assert before == ([] if first is None else [first])
    assert (name, list(body)) == ("job:updated", ["job"])
    job = body["job"]
    stored = desk.rows("SELECT status, assignee_id, updated_at FROM jobs")[0]
    assert (job["id"], job["djId"]) == (1, "DJ-2026-0001")
    assert (job["status"], job["assigneeId"], job["updatedAt"]) == stored
    assert job["watcherIds"] == [id_ for (id_,) in desk.rows("SELECT user_id FROM job_watchers ORDER BY 1")]
    # The log that is replayed is what was announced.
    assert [json.loads(change.body) for change in desk.since(T, 9999)][-1] == body


def test_an_approval_by_nobody_names_nobody(desk: Desk):
    live(desk, "pending_approval")
    desk.publish(APPROVED)
    assert shared(desk)[0] == approval("approved", None)


def test_a_refused_move_is_not_announced(desk: Desk):
    live(desk, "completed")
    desk.refusal(APPROVED)
    assert desk.announced == []


async def test_everyone_in_the_tenant_sees_it_in_order_and_nobody_else(house: Rooms) -> None:
    await house.publish({"type": "user.upserted", "tenantId": OTHER, "userId": 20, "name": "Spy", "role": "admin"})
    connected = {id_: Client(house) for id_ in (ASSIGNEE, STRANGER)}
    for id_, client in connected.items():
        await client.connect(token=house.token(T, id_))
    spy = Client(house)
    await spy.connect(token=house.token(OTHER, 20, role="admin"))

    created = {"type": "job.created", "tenantId": T, "title": "x", "requesterId": 10, "approverId": APPROVER}
    steps = [
        created,
        {"type": "job.assigned", "tenantId": T, "jobId": 1, "assigneeId": ASSIGNEE},
        {"type": "job.submitted", "tenantId": T, "jobId": 1},
        {"type": "job.approved", "tenantId": T, "jobId": 1, "actorId": APPROVER},
        {"type": "job.completed", "tenantId": T, "jobId": 1},
    ]
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=steps)
    assert all("error" not in result for result in answer.json["results"])
    await settle()
    for id_, client in connected.items():
        seen = [packet for packet in client.take() if packet[0] == "event"]
        mine = [packet[1] for packet in seen if packet[1] == "notification:new"]
        assert mine == (["notification:new"] if id_ == ASSIGNEE else [])
        queue = [
            (name, body.get("status") or body.get("job", {}).get("status"))
            for _, name, body, *_ in seen
            if not name.startswith("notification:")
        ]
        assert queue == [
            ("job:updated", "open"),
            ("job:assigned", None),
            ("job:updated", "assigned"),
            ("approval:status-changed", "pending"),
            ("job:updated", "pending_approval"),
            ("approval:status-changed", "approved"),
            ("job:updated", "approved"),
            ("job:updated", "completed"),
        ]
        offsets = [int(packet[-1].split(".")[1]) for packet in seen if packet[1] != "notification:unread-count"]
        assert offsets == sorted(set(offsets))
    assert [packet for packet in spy.take() if packet[0] == "event"] == []


def test_another_tenants_log_has_nothing_of_it(desk: Desk):
    live(desk, "approved")
    desk.publish(
        NotificationRequested(tenant_id=OTHER, user_id=20, notification_type="note", priority="LOW", title="Hello")
    )
    assert [change.name for change in desk.since(OTHER, 20)] == ["notification:new"]
    assert desk.rows("SELECT DISTINCT tenant_id FROM jobs") == [(T,)]
    assert isinstance(CREATED, JobCreated)
