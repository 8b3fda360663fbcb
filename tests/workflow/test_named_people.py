"""Whom a person may name: people whom a service has made known in the tenant. Nobody claims an id by naming it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from djactors.domain.commands import Publish
from djactors.domain.errors import Code
from djactors.domain.events import DomainEvent, JobAssigned, JobCreated, JobSubmitted, JobUnwatched, JobWatched
from djactors.domain.permissions import Person
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
async def house(tmp_path: Path, autojump_clock: object) -> AsyncIterator[Rooms]:
    """Job 1 is open and job 2 assigned; user 20 is tenant 2's; nobody knows user 700. The test events are on."""
    async with rooms(tmp_path, test_events=True) as house:
        await house.introduce(T, REQUESTER, ASSIGNEE)
        await house.introduce(OTHER, FOREIGN)
        for body in ({"title": "a"}, {"title": "b", "assigneeId": ASSIGNEE}):
            assert (await post(house, "", REQUESTER, body)).status == 201
        yield house


@pytest.mark.parametrize("role", ["manager", "admin"])
@pytest.mark.parametrize(("path", "body", "field"), NAMINGS)
async def test_a_stranger_and_somebody_of_another_tenant_are_refused_alike(
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
async def test_whom_a_person_names_in_vain_is_still_free_for_another_tenant(
    house: Rooms, path: str, body: dict[str, Any], field: str
) -> None:
    named = {field: [UNKNOWN] if field == "watcherIds" else UNKNOWN}
    assert (await post(house, path, REQUESTER, {**body, **named}, role="admin")).status == 404
    assert (await house.introduce(OTHER, UNKNOWN)).status == 201
    assert (await post(house, "", UNKNOWN, {"title": "mine"}, tenant=OTHER)).status == 201


async def test_a_refusal_for_another_reason_creates_nobody_either(house: Rooms) -> None:
    await post(house, "/1/complete", REQUESTER)
    assert (await post(house, "/1/assign", REQUESTER, {"assigneeId": UNKNOWN})).status == 404
    assert (await post(house, "/2/assign", STRANGER, {"assigneeId": UNKNOWN})).status == 403
    for id_ in (UNKNOWN, STRANGER):
        assert (await house.introduce(OTHER, id_)).status == 201


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
    assert (await house.introduce(OTHER, UNKNOWN)).status == 201


async def test_a_service_makes_known_whom_it_names(house: Rooms) -> None:
    event = {"type": "job.assigned", "tenantId": T, "jobId": 1, "assigneeId": UNKNOWN}
    assert (await house.publish(event)).status == 201
    assert (await post(house, "/2/assign", REQUESTER, {"assigneeId": UNKNOWN})).status == 200
    refused = await house.publish({**event, "assigneeId": FOREIGN})
    assert (refused.status, refused.error) == (409, "conflict")


# Who acts


async def test_whoever_acts_first_is_known_by_the_token(house: Rooms) -> None:
    job = await post(house, "", STRANGER, {"title": "x", "assigneeId": STRANGER}, name="Mali", role="manager")
    assert (job.status, job.json["assigneeName"]) == (201, "Mali")
    assert house.user(STRANGER) == (T, "Mali", "manager")


async def test_a_token_without_a_name_still_tells_the_role(house: Rooms) -> None:
    assert (await post(house, "/1/watch", STRANGER, role="admin")).status == 200
    assert house.user(STRANGER) == (T, f"User {STRANGER}", "admin")


async def test_a_token_changes_nobody_who_is_known(house: Rooms) -> None:
    before = house.user(ASSIGNEE)
    assert (await post(house, "/1/watch", ASSIGNEE, name="Somebody", role="admin")).status == 200
    assert house.user(ASSIGNEE) == before


async def test_a_socket_s_token_tells_the_name_as_well(house: Rooms) -> None:
    client = Client(house)
    await client.connect(token=house.token(T, STRANGER, name="Mali"))
    assert (await client.ask("test:create-job", {"projectId": 1, "jobTypeId": 2}))["ok"]
    assert house.user(STRANGER) == (T, "Mali", "user")


@pytest.mark.parametrize(
    ("path", "body"),
    [("", {"title": "x"}), ("/1/watch", {}), ("/1/unwatch", {}), ("/1/comments", {"text": "x"}), ("/1/complete", {})],
)
async def test_a_token_whose_user_is_another_tenant_s_is_refused_and_tells_nothing_of_it(
    house: Rooms, path: str, body: dict[str, Any]
) -> None:
    before = await house.offset(), await house.offset(OTHER)
    answer = await post(house, path, FOREIGN, body, role="admin")
    assert (answer.status, answer.error) == (403, "forbidden")
    message = answer.json["error"]["message"]
    assert message == "this token's user is not one of its tenant's: get a token of the user's own tenant"
    assert (await house.offset(), await house.offset(OTHER)) == before
    assert house.user(FOREIGN)[0] == OTHER


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
