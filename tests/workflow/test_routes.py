"""The job routes over a real store and router: what a person asks for, and what comes back."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from djactors.store.engines import Place
from tests.edge.rooms import Answer, Rooms, rooms

REQUESTER, ASSIGNEE, APPROVER, MANAGER, WATCHER, STRANGER, FOREIGN = 10, 11, 12, 13, 14, 16, 20
FIELDS = [
    *("id", "djId", "title", "projectId", "jobTypeId", "status", "requesterId", "requesterName", "assigneeId"),
    *("assigneeName", "approverId", "approverName", "managerId", "managerName", "watcherIds", "watchers", "deadline"),
    *("createdAt", "updatedAt"),
]


PEOPLE = (REQUESTER, ASSIGNEE, APPROVER, MANAGER, WATCHER, STRANGER)


@pytest.fixture
async def house(house: Rooms) -> Rooms:
    """The rooms, where a service has made tenant 1's people known."""
    await house.arrive(1, *PEOPLE)
    return house


async def post(house: Rooms, path: str, user_id: int = REQUESTER, body: Any = None, **options: Any) -> Answer:
    token = house.token(options.pop("tenant", 1), user_id, role=options.pop("role", "user"))
    return await house.request("POST", f"/api/jobs{path}", token=token, body=body, **options)


async def get(house: Rooms, path: str, user_id: int = REQUESTER, tenant: int = 1, role: str = "user") -> Answer:
    return await house.request("GET", path, token=house.token(tenant, user_id, role=role))


async def create(house: Rooms, **fields: Any) -> Any:
    answer = await post(house, "", body={"title": "Banner Design", **fields})
    assert answer.status == 201, answer.body
    return answer.json


async def foreigner(house: Rooms) -> None:
    """User 20 belongs to tenant 2, whose job 1 is another one."""
    answer = await post(house, "", FOREIGN, {"title": "Theirs"}, tenant=2)
    assert answer.status == 201


async def test_a_job_goes_through_its_whole_life(house: Rooms) -> None:
    job = await create(house, approverId=APPROVER, managerId=MANAGER, projectId=3, deadline="2026-02-01T12:00:00+07:00")
    assert list(job) == FIELDS
    assert (job["id"], job["djId"], job["status"]) == (1, "DJ-2026-0001", "open")
    assert (job["requesterId"], job["approverId"], job["managerId"]) == (REQUESTER, APPROVER, MANAGER)
    assert job["deadline"] == "2026-02-01T05:00:00.000000Z"
    for move, user_id, body, status, code in (
        ("assign", REQUESTER, {"assigneeId": ASSIGNEE}, "assigned", 200),
        ("comments", STRANGER, {"text": "Which font?"}, "assigned", 201),
        ("submit", ASSIGNEE, None, "pending_approval", 200),
        ("reject", APPROVER, {"reason": "Too dark"}, "rejected", 200),
        ("submit", ASSIGNEE, {}, "pending_approval", 200),
        ("approve", APPROVER, {}, "approved", 200),
        ("complete", REQUESTER, None, "completed", 200),
    ):
        answer = await post(house, f"/1/{move}", user_id, body)
        assert (answer.status, answer.json["status"]) == (code, status), move
        assert list(answer.json) == FIELDS
        assert (await get(house, "/api/jobs/1")).json == answer.json
    assert [item["type"] for item in (await house.inbox(1, APPROVER))["items"]] == ["approval_needed"] * 2
    assert [item["type"] for item in (await house.inbox(1, ASSIGNEE))["items"]] == ["approval_rejected", "job_assigned"]
    assert [item["type"] for item in (await house.inbox(1, REQUESTER))["items"]] == [
        "approval_approved",
        "approval_rejected",
    ]


async def test_a_move_that_the_state_does_not_allow_says_what_is(house: Rooms) -> None:
    await create(house, approverId=APPROVER)
    before = await house.offset()
    answer = await post(house, "/1/approve", APPROVER)
    assert (answer.status, answer.error) == (409, "conflict")
    assert "allowed: assign, complete" in answer.json["error"]["message"]
    assert await house.offset() == before


async def test_who_may_not_is_told_who_may(house: Rooms) -> None:
    await create(house, approverId=APPROVER, assigneeId=ASSIGNEE)
    await post(house, "/1/submit", ASSIGNEE)
    answer = await post(house, "/1/approve", ASSIGNEE)
    assert (answer.status, answer.error) == (403, "forbidden")
    assert "its approver" in answer.json["error"]["message"]
    assert (await post(house, "/1/approve", STRANGER, role="admin")).status == 200


async def test_a_service_has_no_part_in_a_job(house: Rooms) -> None:
    for path in ("", "/1/approve"):
        answer = await house.request("POST", f"/api/jobs{path}", token=house.service(), body={})
        assert answer.status in (401, 403)
    assert (await house.request("POST", "/api/jobs", body={"title": "x"})).status == 401
    assert (await house.request("GET", "/api/jobs")).status == 401
    assert (await house.request("GET", "/api/jobs/1")).status == 401


MOVES: dict[str, Any] = {
    "assign": {"assigneeId": ASSIGNEE},
    "submit": {},
    "approve": {},
    "reject": {},
    "complete": {},
    "comments": {"text": "x"},
    "watch": {},
    "unwatch": {},
    "deadline": {"deadline": None},
}


NOBODYS = (0, 2**53, 10**16 - 1, 10**16, "0" * 20 + "1", "9" * 6000)
"""What no job can have as its id; Python reads no number of 6,000 digits."""


@pytest.mark.parametrize("move", MOVES)
async def test_another_tenants_job_is_answered_like_a_missing_one(house: Rooms, move: str) -> None:
    await create(house)
    await foreigner(house)
    await post(house, "", FOREIGN, {"title": "Theirs, too"}, tenant=2)
    before = await house.offset(), await house.offset(2)
    answers = [await post(house, f"/{id_}/{move}", REQUESTER, MOVES[move], role="admin") for id_ in (2, 99, *NOBODYS)]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.body for answer in answers}) == 1
    shown = [await get(house, f"/api/jobs/{id_}") for id_ in (2, 99, *NOBODYS)]
    assert {(answer.status, answer.body) for answer in shown} == {(404, answers[0].body)}
    assert (await house.offset(), await house.offset(2)) == before


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("", {}, "title"),
        ("", {"title": ""}, "title"),
        ("", {"title": "x" * 256}, "title"),
        ("", {"title": "a\0b"}, "title"),
        ("", {"title": "x", "assigneeId": "x11"}, "assigneeId"),
        ("", {"title": "x", "assigneeId": 0}, "assigneeId"),
        ("", {"title": "x", "projectId": 2**53}, "projectId"),
        ("", {"title": "x", "watcherIds": [1, "x"]}, "watcherIds"),
        ("", {"title": "x", "watcherIds": list(range(1, 1002))}, "watcherIds"),
        ("", {"title": "x", "deadline": "tomorrow"}, "deadline"),
        ("", {"title": "x", "deadline": "2026-01-01T00:00:00"}, "deadline"),
        ("", {"title": "x", "deadline": "0001-01-01T00:00:00+14:00"}, "deadline"),
        ("", {"title": "x", "jobId": 7}, "jobId"),
        ("", {"title": "x", "tenantId": 2}, "tenantId"),
        ("", {"title": "x", "actorId": 2}, "actorId"),
        ("/1/assign", {}, "assigneeId"),
        ("/1/assign", {"assigneeId": None}, "assigneeId"),
        ("/1/assign", {"assigneeId": 1.5}, "assigneeId"),
        ("/1/submit", {"approverId": []}, "approverId"),
        ("/1/approve", {"reason": "x"}, "reason"),
        ("/1/reject", {"reason": ""}, "reason"),
        ("/1/reject", {"reason": "x" * 4001}, "reason"),
        ("/1/reject", {"reason": "\0"}, "reason"),
        ("/1/comments", {}, "text"),
        ("/1/comments", {"text": "\0"}, "text"),
        ("/1/deadline", {}, "deadline"),
        ("/1/watch", {"userId": True}, "userId"),
        ("/1/complete", {"surprise": 1}, "surprise"),
    ],
)
async def test_a_bad_body_is_told_by_the_name_of_its_field(house: Rooms, path: str, body: Any, field: str) -> None:
    await create(house)
    before = await house.offset()
    answer = await post(house, path, role="admin", body=body)
    assert (answer.status, answer.error) == (400, "invalid")
    assert field in answer.json["error"]["message"]
    assert await house.offset() == before


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"hello", b"\xff", b"{", b"1", b"[" * 100_000, b'{"title":"\\ud800"}']
)
async def test_what_is_no_body_at_all_is_refused(house: Rooms, body: bytes) -> None:
    await create(house)
    for path in ("", *(f"/1/{move}" for move in MOVES)):
        answer = await post(house, path, body=body)
        assert (answer.status, answer.error) == (400, "invalid"), path


async def test_a8_only_a_manager_or_admin_acts_in_anothers_name(house: Rooms) -> None:
    await create(house)
    for path, body, field in (
        ("", {"title": "x", "requesterId": STRANGER}, "requesterId"),
        ("", {"title": "x", "watcherIds": [STRANGER]}, "watcherIds"),
        ("", {"title": "x", "watcherIds": [REQUESTER, STRANGER]}, "watcherIds"),
        ("/1/watch", {"userId": STRANGER}, "userId"),
        ("/1/unwatch", {"userId": STRANGER}, "userId"),
    ):
        answer = await post(house, path, body=body)
        assert (answer.status, answer.error) == (403, "forbidden")
        assert field in answer.json["error"]["message"]
        assert (await post(house, path, MANAGER, body, role="manager")).status in (200, 201)
        own = [REQUESTER] if field == "watcherIds" else REQUESTER
        mine = {name: own if name == field else value for name, value in body.items()}
        assert (await post(house, path, body=mine)).status in (200, 201)


async def test_watchers_come_and_go(house: Rooms) -> None:
    await create(house)
    assert (await post(house, "/1/watch", WATCHER)).json["watcherIds"] == [WATCHER]
    assert (await post(house, "/1/watch", STRANGER)).json["watcherIds"] == [WATCHER, STRANGER]
    assert (await post(house, "/1/watch", STRANGER)).json["watcherIds"] == [WATCHER, STRANGER]
    assert (await post(house, "/1/comments", REQUESTER, {"text": "x"})).status == 201
    assert (await house.inbox(1, STRANGER))["unreadCount"] == 1
    assert (await post(house, "/1/unwatch", STRANGER)).json["watcherIds"] == [REQUESTER, WATCHER], (
        "who comments watches"
    )


async def test_a_deadline_moves_and_goes(house: Rooms) -> None:
    await create(house)
    answer = await post(house, "/1/deadline", body={"deadline": "2026-03-01T00:00:00Z"})
    assert (answer.status, answer.json["deadline"]) == (200, "2026-03-01T00:00:00.000000Z")
    assert (await post(house, "/1/deadline", body={"deadline": None})).json["deadline"] is None


# Retries


async def test_a_retry_gets_the_first_answer_and_does_nothing(house: Rooms) -> None:
    key = {"idempotency-key": "once"}
    first = await post(house, "", body={"title": "x", "assigneeId": ASSIGNEE}, headers=key)
    await post(house, "/1/complete")
    again = await post(house, "", body={"assigneeId": ASSIGNEE, "title": "x"}, headers=key)
    assert (first.status, again.status) == (201, 200)
    assert first.body == again.body
    assert (await get(house, "/api/jobs")).json["items"][0]["id"] == 1
    assert (await house.inbox(1, ASSIGNEE))["unreadCount"] == 1
    other = await post(house, "", body={"title": "y"}, headers=key)
    assert (other.status, other.error) == (422, "idempotency_key_reused")
    another = await post(house, "", STRANGER, {"title": "x", "assigneeId": ASSIGNEE}, headers=key)
    assert (another.status, another.json["id"]) == (201, 2), "another person's key is another one"


async def test_a_retry_of_a_move_is_no_conflict(house: Rooms) -> None:
    await create(house)
    key = {"idempotency-key": "k"}
    first = await post(house, "/1/complete", headers=key)
    again = await post(house, "/1/complete", headers=key)
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    assert (await post(house, "/1/complete")).status == 409


async def test_a_key_that_a_service_used_is_no_person_s_key_and_the_other_way_round(house: Rooms) -> None:
    await create(house)
    await create(house)
    for job_id, first_is_person in ((1, True), (2, False)):
        key = {"idempotency-key": f"k{job_id}"}
        event = {"type": "job.completed", "tenantId": 1, "jobId": job_id, "actorId": REQUESTER}
        by_person = partial(post, house, f"/{job_id}/complete", headers=key)
        by_service = partial(house.publish, event, headers=key)
        first, second = (by_person, by_service) if first_is_person else (by_service, by_person)
        done, before = await first(), await house.offset()
        # No 422: the job is completed already, and that is all that is wrong with it.
        refused = await second()
        assert (refused.status, refused.error) == (409, "conflict")
        again = await first()
        assert (again.status, again.body) == (200, done.body)
        assert await house.offset() == before


async def test_the_same_key_in_another_tenant_is_another_key(house: Rooms) -> None:
    key = {"idempotency-key": "k"}
    assert (await post(house, "", body={"title": "x"}, headers=key)).status == 201
    assert (await post(house, "", FOREIGN, {"title": "x"}, tenant=2, headers=key)).status == 201


async def test_a7_a_person_works_on_jobs_no_faster_than_they_may(
    tmp_path: Path, place: Place, autojump_clock: MockClock
) -> None:
    async with rooms(tmp_path, place, emit_rate=1, emit_burst=2) as house:
        answers = [await post(house, "", body={"title": "x"}) for _ in range(3)]
        assert [answer.status for answer in answers] == [201, 201, 429]
        assert (answers[-1].error, answers[-1].headers["retry-after"]) == ("too_many_requests", "1")
        assert (await post(house, "/1/complete")).status == 429
        assert [job["id"] for job in (await get(house, "/api/jobs")).json["items"]] == [2, 1]
        await trio.sleep(1)
        assert (await post(house, "/1/complete")).status == 200


async def test_where_a_backend_numbers_a_person_is_sent_there(house: Rooms) -> None:
    await house.publish({"type": "job.created", "tenantId": 1, "title": "x", "requesterId": REQUESTER, "jobId": 5})
    answer = await post(house, "", body={"title": "y"})
    assert (answer.status, answer.error) == (409, "conflict")
    assert answer.json["error"]["message"] == "this tenant's jobs are numbered by its backend: create the job there"
    assert [job["id"] for job in (await get(house, "/api/jobs")).json["items"]] == [5]


async def test_a_bad_key_or_parameter_is_refused(house: Rooms) -> None:
    answer = await post(house, "", body={"title": "x"}, headers={"idempotency-key": "é"})
    assert (answer.status, answer.error) == (400, "invalid")
    assert (await post(house, "?dry=1", body={"title": "x"})).status == 400
    assert (await get(house, "/api/jobs")).json["items"] == []


# Lists


async def test_pages_of_the_queue_follow_one_another(house: Rooms) -> None:
    for number in range(25):
        await create(house, assigneeId=ASSIGNEE if number % 2 else STRANGER)
    await foreigner(house)
    first = (await get(house, "/api/jobs")).json
    assert list(first) == ["items", "nextBefore", "offset"]
    assert [job["id"] for job in first["items"]] == list(range(25, 5, -1))
    assert first["nextBefore"] == 6
    assert first["offset"] == await house.offset()
    assert list(first["items"][0]) == FIELDS
    rest = (await get(house, f"/api/jobs?before={first['nextBefore']}")).json
    assert ([job["id"] for job in rest["items"]], rest["nextBefore"]) == ([5, 4, 3, 2, 1], None)
    whole = (await get(house, "/api/jobs?limit=25")).json
    assert (len(whole["items"]), whole["nextBefore"]) == (25, None)
    theirs = (await get(house, "/api/jobs", FOREIGN, 2)).json
    assert [job["title"] for job in theirs["items"]] == ["Theirs"]


async def test_the_queue_is_filtered_by_assignee_and_state(house: Rooms) -> None:
    for number in range(12):
        await create(house, assigneeId=(None, ASSIGNEE, STRANGER)[number % 3])
    for id_ in (2, 5, 9):
        assert (await post(house, f"/{id_}/complete")).status == 200

    async def ids(query: str, user_id: int = ASSIGNEE) -> list[int]:
        return [job["id"] for job in (await get(house, f"/api/jobs{query}", user_id)).json["items"]]

    assert await ids("?assignee=me") == [11, 8, 5, 2]
    assert await ids("?assignee=me&status=completed") == [5, 2]
    assert await ids("?assignee=me&status=assigned&limit=1") == [11]
    assert await ids("?assignee=me&before=8") == [5, 2]
    assert await ids(f"?assignee={STRANGER}") == [12, 9, 6, 3] == await ids("?assignee=me", STRANGER)
    assert await ids("?status=completed") == [9, 5, 2]
    assert await ids("?status=open") == [10, 7, 4, 1]
    assert await ids("?assignee=999") == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "before=0", "before=-1", "status=done", "assignee=you", "assignee=0", "page=2"],
)
async def test_a_bad_parameter_is_told_by_its_name(house: Rooms, query: str) -> None:
    answer = await get(house, f"/api/jobs?{query}")
    assert (answer.status, answer.error) == (400, "invalid")
    assert query.partition("=")[0] in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("DELETE", "/api/jobs", "GET, POST"), ("PUT", "/api/jobs/1", "GET"), ("GET", "/api/jobs/1/assign", "POST")],
)
async def test_another_method_is_told_which_there_are(house: Rooms, method: str, path: str, allow: str) -> None:
    answer = await house.request(method, path, token=house.token(1, 7))
    assert (answer.status, answer.headers["allow"]) == (405, allow)


# Why somebody was not notified


async def test_an_admin_learns_why_somebody_was_not_notified(house: Rooms) -> None:
    for _ in range(3):
        await create(house, assigneeId=REQUESTER)
    newest = (await house.introduce(1, WATCHER)).json["eventId"] - 1
    path = f"/api/admin/suppressions?userId={REQUESTER}"
    answer = await get(house, f"{path}&limit=2", STRANGER, role="admin")
    assert answer.status == 200
    assert list(answer.json) == ["items", "nextBefore"]
    ids = [item["id"] for item in answer.json["items"]]
    assert ids[0] > ids[1] > 1
    assert answer.json["items"][0] == {
        "id": ids[0],
        "userId": REQUESTER,
        "userName": f"Known {REQUESTER}",
        "eventId": newest,
        "type": "job_assigned",
        "reason": "actor",
        "createdAt": "2026-01-27T10:30:00.000000Z",
    }
    rest = await get(house, f"{path}&before={answer.json['nextBefore']}", STRANGER, role="admin")
    assert ([item["id"] for item in rest.json["items"]], rest.json["nextBefore"]) == ([1], None)


async def test_nobody_else_does(house: Rooms) -> None:
    await create(house, assigneeId=REQUESTER)
    await foreigner(house)
    path = f"/api/admin/suppressions?userId={REQUESTER}"
    for role in ("user", "manager", "service"):
        answer = await get(house, path, REQUESTER, role=role)
        assert (answer.status, answer.error) == (403, "forbidden")
    assert (await house.request("GET", path)).status == 401
    assert (await get(house, path, FOREIGN, 2, role="admin")).json == {"items": [], "nextBefore": None}
    for query in ("", "?userId=x", "?userId=1&all=1"):
        answer = await get(house, f"/api/admin/suppressions{query}", 1, role="admin")
        assert (answer.status, answer.error) == (400, "invalid")
