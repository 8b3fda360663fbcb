"""Whom a person may name: people whom the tenant knows. The same number in two tenants is two people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from djactors.domain.commands import Publish
from djactors.domain.errors import Code
from djactors.domain.events import DomainEvent, JobAssigned, JobCreated, JobSubmitted, JobUnwatched, JobWatched
from djactors.domain.permissions import Person
from djactors.store.engines import Place
from tests.edge.rooms import Answer, Rooms, rooms
from tests.edge.sockets import Client, settle
from tests.inbox.desk import Desk
from tests.workflow.people import ASSIGNEE, OTHER, REQUESTER, STRANGER, T

FOREIGN, UNKNOWN = 20, 700

NAMINGS = [
    ("", {"title": "x"}, "assigneeId"),
    ("", {"title": "x"}, "approverId"),
    ("", {"title": "x"}, "managerId"),
    ("", {"title": "x"}, "requesterId"),
    ("", {"title": "x"}, "watcherIds"),
    ("/1/assign", {}, "assigneeId"),
    ("/2/submit", {}, "approverId"),
    ("/1/watch", {}, "userId"),
    ("/1/unwatch", {}, "userId"),
]
"""Every place in which a job route takes somebody's id: path, the rest of the body, the field."""


async def post(house: Rooms, path: str, user_id: int, body: Any = None, *, tenant: int = T, **claims: Any) -> Answer:
    token = house.token(tenant, user_id, **claims)
    return await house.request("POST", f"/api/jobs{path}", token=token, body=body)


@pytest.fixture
async def house(tmp_path: Path, place: Place, autojump_clock: object) -> AsyncIterator[Rooms]:
    """Job 1 is open and job 2 assigned; user 20 is tenant 2's; nobody knows user 700. The test events are on."""
    async with rooms(tmp_path, place, test_events=True) as house:
        await house.arrive(T, REQUESTER, ASSIGNEE)
        await house.introduce(OTHER, FOREIGN)
        for body in ({"title": "a"}, {"title": "b", "assigneeId": ASSIGNEE}):
            assert (await post(house, "", REQUESTER, body)).status == 201
        yield house


@pytest.mark.parametrize("role", ["manager", "admin"])
@pytest.mark.parametrize(("path", "body", "field"), NAMINGS)
async def test_whom_the_tenant_does_not_know_a_person_cannot_name_whoever_else_knows_them(
    house: Rooms, path: str, body: dict[str, Any], field: str, role: str
) -> None:
    before = await house.offset(), await house.offset(OTHER)
    answers = []
    for id_ in (UNKNOWN, FOREIGN):
        named = {field: [ASSIGNEE, id_] if field == "watcherIds" else id_}
        answers.append(await post(house, path, REQUESTER, {**body, **named}, role=role))
    first, second = answers
    assert (first.status, first.error) == (404, "not_found")
    assert first.json["error"]["message"] == f"{field}: no such user"
    assert (first.status, first.headers, first.body) == (second.status, second.headers, second.body)
    assert (await house.offset(), await house.offset(OTHER)) == before


@pytest.mark.parametrize(("path", "body", "field"), NAMINGS)
async def test_whom_a_person_names_in_vain_is_not_made_known(
    house: Rooms, path: str, body: dict[str, Any], field: str
) -> None:
    named = {field: [UNKNOWN] if field == "watcherIds" else UNKNOWN}
    for _ in range(2):
        assert (await post(house, path, REQUESTER, {**body, **named}, role="admin")).status == 404
    assert house.stored_users(UNKNOWN) == []


async def test_a_refusal_for_another_reason_creates_nobody_either(house: Rooms) -> None:
    await post(house, "/1/complete", REQUESTER)
    assert (await post(house, "/1/assign", REQUESTER, {"assigneeId": UNKNOWN})).status == 404
    assert (await post(house, "/2/assign", STRANGER, {"assigneeId": UNKNOWN})).status == 403
    assert house.stored_users(UNKNOWN) == house.stored_users(STRANGER) == []


async def test_the_test_events_name_nobody_new_either(house: Rooms) -> None:
    client = Client(house)
    await client.connect(token=house.token(T, REQUESTER))
    for name, payload in (
        ("test:create-job", {"projectId": 1, "jobTypeId": 2}),
        ("test:assign-job", {"jobId": 1}),
    ):
        acks = [await client.ask(name, {**payload, "assigneeId": id_}) for id_ in (UNKNOWN, FOREIGN)]
        refusal = {"ok": False, "error": {"code": "not_found", "message": "assigneeId: no such user"}}
        assert acks == [refusal, refusal]
    await settle()
    assert house.stored_users(UNKNOWN) == []


async def test_a_service_makes_known_whom_it_names(house: Rooms) -> None:
    event = {"type": "job.assigned", "tenantId": T, "jobId": 1, "assigneeId": UNKNOWN}
    assert (await house.publish(event)).status == 201
    assert (await post(house, "/2/assign", REQUESTER, {"assigneeId": UNKNOWN})).status == 200


# Two people of one number


async def test_ids_that_a_service_of_one_tenant_names_are_as_good_in_another(house: Rooms) -> None:
    """Neither tenant hears of the other, whoever comes first."""
    ids = [ASSIGNEE, *range(800, 805)]
    service = house.token(OTHER, role="service")
    for id_ in ids:
        event = {"type": "notification.requested", "tenantId": OTHER, "userId": id_, "notificationType": "note"}
        answer = await house.publish({**event, "priority": "LOW", "title": f"Two's {id_}"}, token=service)
        assert (answer.status, answer.json["suppressed"]) == (201, [])
    for id_ in ids:
        event = {"type": "user.upserted", "tenantId": T, "userId": id_, "name": f"One's {id_}", "role": "admin"}
        assert (await house.publish(event)).status == 201
        assert (await post(house, "/1/assign", REQUESTER, {"assigneeId": id_})).status == 200
    for id_ in ids:
        assert house.stored_users(id_) == [(T, f"One's {id_}", "admin"), (OTHER, f"User {id_}", "user")]
        one, two = await house.inbox(T, id_), await house.inbox(OTHER, id_)
        assert {item["type"] for item in one["items"]} == {"job_assigned"}
        assert [item["title"] for item in two["items"]] == [f"Two's {id_}"]
        assert two["unreadCount"] == 1
        jobs = await house.request("GET", "/api/jobs?assignee=me", token=house.token(OTHER, id_))
        assert jobs.json["items"] == []
    names = (await house.request("GET", "/api/jobs/1", token=house.token(T, REQUESTER))).json
    assert names["assigneeName"] == f"One's {ids[-1]}"


async def test_a_socket_hears_of_its_own_tenants_user_only(house: Rooms) -> None:
    clients = {tenant: Client(house) for tenant in (T, OTHER)}
    for tenant, client in clients.items():
        await client.connect(token=house.token(tenant, FOREIGN))
    await house.notify(OTHER, FOREIGN)
    await settle()
    heard = {tenant: [packet[1] for packet in client.take()] for tenant, client in clients.items()}
    assert "notification:new" in heard[OTHER]
    assert heard[T] == []


# Who acts


async def test_whoever_acts_first_is_known_by_the_token(house: Rooms) -> None:
    job = await post(house, "", STRANGER, {"title": "x", "assigneeId": STRANGER}, name="Mali", role="manager")
    assert (job.status, job.json["assigneeName"]) == (201, "Mali")
    assert house.stored_users(STRANGER) == [(T, "Mali", "manager")]


async def test_a_token_without_a_name_still_tells_the_role(house: Rooms) -> None:
    assert (await post(house, "/1/watch", STRANGER, role="admin")).status == 200
    assert house.stored_users(STRANGER) == [(T, f"User {STRANGER}", "admin")]


async def test_a_token_changes_nobody_who_is_known(house: Rooms) -> None:
    before = house.stored_users(ASSIGNEE)
    assert (await post(house, "/1/watch", ASSIGNEE, name="Somebody", role="admin")).status == 200
    assert house.stored_users(ASSIGNEE) == before


async def test_a_socket_s_token_tells_the_name_as_well(house: Rooms) -> None:
    client = Client(house)
    await client.connect(token=house.token(T, STRANGER, name="Mali"))
    assert (await client.ask("test:create-job", {"projectId": 1, "jobTypeId": 2}))["ok"]
    assert house.stored_users(STRANGER) == [(T, "Mali", "user")]


# At the store's own door


@pytest.mark.parametrize(
    "event",
    [
        JobCreated(tenant_id=T, actor_id=REQUESTER, title="x", requester_id=REQUESTER, approver_id=UNKNOWN),
        JobAssigned(tenant_id=T, actor_id=REQUESTER, job_id=1, assignee_id=UNKNOWN),
        JobSubmitted(tenant_id=T, actor_id=REQUESTER, job_id=1, approver_id=UNKNOWN),
        JobWatched(tenant_id=T, actor_id=REQUESTER, job_id=1, user_id=UNKNOWN),
        JobUnwatched(tenant_id=T, actor_id=REQUESTER, job_id=1, user_id=UNKNOWN),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_refused_naming_stages_nothing(desk: Desk, event: DomainEvent) -> None:
    desk.publish(JobCreated(tenant_id=T, title="x", requester_id=REQUESTER, assignee_id=ASSIGNEE))
    refused = desk.refusal(Publish(event, person=Person(REQUESTER, "admin")))
    assert refused.code is Code.NOT_FOUND
    assert desk.fell_back == 0
