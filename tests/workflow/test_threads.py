"""Comments are a thread: paged, live and replayed; those who are mentioned are told, and watch from then on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from djactors.domain import events
from djactors.domain.commands import Publish
from djactors.domain.errors import Code
from djactors.domain.mentions import MAX_MENTIONS
from djactors.domain.permissions import Person
from tests.edge.rooms import Rooms
from tests.edge.sockets import Client, settle
from tests.inbox.desk import Desk
from tests.workflow.people import ACTOR, APPROVER, COMMENTED, FAN, REQUESTER, STRANGER, WATCHER, T, live

NAMES = {1: "Mali Requester", 2: "Somchai", 3: "Zoë", 4: "Anna", 5: "Anna Lee", 6: "Anna Lee"}


@pytest.fixture
async def house(house: Rooms) -> Rooms:
    """The rooms, with people who have names, and their job 1."""
    for user_id, name in NAMES.items():
        event = {"type": "user.upserted", "tenantId": 1, "userId": user_id, "name": name, "role": "user"}
        assert (await house.publish(event)).status == 201
    assert (await house.request("POST", "/api/jobs", token=house.token(1, 1), body={"title": "Banner"})).status == 201
    return house


async def say(house: Rooms, text: str, user_id: int = 1, **fields: Any) -> Any:
    token = house.token(1, user_id)
    answer = await house.request("POST", "/api/jobs/1/comments", token=token, body={"text": text, **fields})
    assert answer.status == 201, answer.body
    return answer.json


async def thread(house: Rooms, query: str = "", user_id: int = 1, job: int = 1, tenant: int = 1) -> Any:
    answer = await house.request("GET", f"/api/jobs/{job}/comments{query}", token=house.token(tenant, user_id))
    return answer.json if answer.status == 200 else answer


async def told(house: Rooms, user_id: int) -> list[tuple[str, str]]:
    return [(item["type"], item["title"]) for item in (await house.inbox(1, user_id))["items"]]


async def test_a_thread_is_paged_newest_first_with_the_names_of_now(house: Rooms) -> None:
    for number in range(5):
        await say(house, f"words {number}", 1 + number % 2)
    first = await thread(house, "?limit=2")
    assert [item["text"] for item in first["items"]] == ["words 4", "words 3"]
    assert first["items"][0] == {
        "id": 5,
        "jobId": 1,
        "authorId": 1,
        "authorName": "Mali Requester",
        "text": "words 4",
        "mentions": [],
        "createdAt": "2026-01-27T10:30:00.000000Z",
    }
    rest = await thread(house, f"?limit=3&before={first['nextBefore']}")
    assert [item["id"] for item in rest["items"]] == [3, 2, 1]
    assert rest["nextBefore"] is None
    assert rest["offset"] == await house.offset(1)

    renamed = {"type": "user.upserted", "tenantId": 1, "userId": 1, "name": "Mali Owner", "role": "user"}
    assert (await house.publish(renamed)).status == 201
    assert (await thread(house))["items"][0]["authorName"] == "Mali Owner"
    await say(house, "@mali owner and @Mali Requester", 2)
    assert (await thread(house))["items"][0]["mentions"] == [{"id": 1, "name": "Mali Owner"}]


async def test_a_thread_of_another_tenant_is_answered_like_a_missing_one(house: Rooms) -> None:
    await say(house, "words")
    foreign, missing = await thread(house, tenant=2), await thread(house, job=77)
    assert (foreign.status, missing.status) == (404, 404)
    assert foreign.body == missing.body
    for query in ("?limit=0", "?limit=101", "?before=x", "?page=2"):
        assert (await thread(house, query)).error == "invalid"
    assert (await house.request("GET", "/api/jobs/1/comments")).status == 401


async def test_a_comment_is_told_to_the_tenant_live_in_replays_and_with_the_same_bytes(house: Rooms) -> None:
    client, spy = Client(house), Client(house)
    await client.connect(token=house.token(1, 4))
    await spy.connect(token=house.token(2, 4))
    before = await house.offset(1)
    await say(house, "hello @zoe")
    await settle()
    [(body, offset)] = [(packet[2], packet[3]) for packet in client.take() if packet[1] == "comment:added"]
    [listed] = (await thread(house))["items"]
    assert body == {"comment": listed}
    assert listed["mentions"] == [{"id": 3, "name": "Zoë"}]
    answer = await house.request("GET", f"/api/changes?since={before}&limit=100", token=house.token(1, 4))
    [replayed] = [item for item in answer.json["items"] if item["event"] == "comment:added"]
    assert (replayed["data"], replayed["offset"]) == (body, offset)
    assert json.dumps({"comment": listed}, ensure_ascii=False, separators=(",", ":")).encode() in answer.body
    assert [packet for packet in spy.take() if packet[0] == "event"] == []


async def test_who_is_mentioned_is_told_of_that_instead_of_the_comment_and_begins_to_watch(house: Rooms) -> None:
    token = house.token(1, 3)
    await house.request("POST", "/api/jobs/1/watch", token=token)
    await house.request("POST", "/api/jobs/1/watch", token=house.token(1, 4))
    job = await say(house, "@Somchai and @zoë, and @nobody", 1)
    assert job["watcherIds"] == [1, 2, 3, 4]
    mentioned = [("mentioned", "Mali Requester mentioned you in DJ-2026-0001")]
    assert await told(house, 2) == await told(house, 3) == mentioned
    assert await told(house, 4) == [("comment_added", "Mali Requester commented on DJ-2026-0001")]
    [item] = (await house.inbox(1, 2))["items"]
    assert (item["priority"], item["message"]) == ("MEDIUM", "@Somchai and @zoë, and @nobody")
    assert item["data"] == {"jobId": 1, "djId": "DJ-2026-0001", "commentId": 1}
    await say(house, "fine", 2)
    assert [kind for kind, _ in await told(house, 1)] == ["comment_added"]


async def test_the_longest_name_is_meant_and_one_of_several_people_has_to_be_named_by_id(house: Rooms) -> None:
    await say(house, "@Anna, look")
    await say(house, "@Anna Lee, look")
    await say(house, "@Anna Lee, look", mentions=[6, 6])
    await say(house, "nobody by name", mentions=["5"])
    mentions = [[one["id"] for one in item["mentions"]] for item in (await thread(house))["items"]]
    assert mentions == [[5], [6], [], [4]]


async def test_nobody_is_told_of_their_own_mention(house: Rooms) -> None:
    await say(house, "note to @Mali Requester")
    assert await told(house, 1) == []
    assert [one["id"] for one in (await thread(house))["items"][0]["mentions"]] == [1]


@pytest.mark.parametrize(
    ("mentions", "status"),
    [([77], 404), ([20], 404), (list(range(1, MAX_MENTIONS + 2)), 400), ([0], 400), ("2", 400), (None, 400), ([], 201)],
)
async def test_whom_a_person_may_mention(house: Rooms, mentions: Any, status: int) -> None:
    await house.introduce(2, 20)
    body = {"text": "x", "mentions": mentions}
    answer = await house.request("POST", "/api/jobs/1/comments", token=house.token(1, 1), body=body)
    assert answer.status == status
    if status >= 400:
        assert "mentions" in answer.json["error"]["message"]
        assert (await thread(house))["items"] == []


def test_a_service_mentions_somebody_whom_nobody_knew(desk: Desk) -> None:
    live(desk, "open")
    event = events.CommentAdded(tenant_id=T, job_id=1, text="x", mentions=(99,), actor_id=REQUESTER)
    answer = desk.publish(event)
    assert [(entry["userId"], entry["type"]) for entry in answer["notifications"]] == [
        (99, "mentioned"),
        (WATCHER, "comment_added"),
        (FAN, "comment_added"),
    ]
    assert desk.one("SELECT name FROM users WHERE id = 99") == "User 99"


def test_names_and_renames_of_the_same_commit_are_found(desk: Desk) -> None:
    live(desk, "open")
    upserted = events.UserUpserted(tenant_id=T, user_id=50, name="Late Comer", role="user")
    desk.record(
        Publish(upserted), Publish(events.CommentAdded(tenant_id=T, job_id=1, text="@late comer", actor_id=ACTOR))
    )
    assert desk.rows("SELECT user_id FROM comment_mentions") == [(50,)]
    assert desk.fell_back == 0


def test_a_comment_by_nobody_makes_nobody_watch(desk: Desk) -> None:
    live(desk, "open")
    desk.publish(COMMENTED)
    assert desk.rows("SELECT user_id FROM job_watchers ORDER BY 1") == [(WATCHER,), (FAN,)]


def test_where_there_is_no_room_for_more_watchers_the_comment_is_taken_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_JOB_WATCHERS", 3)
    live(desk, "open")
    event = events.CommentAdded(tenant_id=T, job_id=1, text="x", mentions=(STRANGER,), actor_id=REQUESTER)
    desk.publish(event)
    assert desk.rows("SELECT user_id FROM job_watchers ORDER BY 1") == [(WATCHER,), (FAN,), (STRANGER,)]


def test_mentions_by_a_person_use_up_the_persons_part_of_the_limit(desk: Desk) -> None:
    live(desk, "open")
    event = events.CommentAdded(tenant_id=T, job_id=1, text="@Stranger", actor_id=REQUESTER)
    for _ in range(60):
        desk.do(Publish(event, person=Person(REQUESTER, "user")))
    assert desk.one("SELECT count(*) FROM notifications WHERE user_id = ? AND type = 'mentioned'", STRANGER) == 50
    reasons = desk.rows("SELECT DISTINCT type, reason FROM suppressions WHERE user_id = ?", STRANGER)
    assert reasons == [("mentioned", "persons_limit")]


# Titles and cancellations


def test_the_reason_of_a_cancellation_is_a_comment_and_without_one_nobody_is_notified(desk: Desk) -> None:
    live(desk, "assigned")
    reason = events.JobCancelled(tenant_id=T, job_id=1, reason="No budget, @Approver", actor_id=REQUESTER)
    answer = desk.publish(reason)
    assert [(entry["userId"], entry["type"]) for entry in answer["notifications"]] == [
        (APPROVER, "mentioned"),
        (WATCHER, "comment_added"),
        (FAN, "comment_added"),
    ]
    assert desk.rows("SELECT author_id, text FROM job_comments") == [(REQUESTER, "No budget, @Approver")]
    assert [change.name for change in desk.announced if change.user_id is None] == ["comment:added", "job:updated"]
    desk.publish(events.JobCreated(tenant_id=T, title="x", requester_id=REQUESTER, watcher_ids=(WATCHER,)))
    assert desk.publish(events.JobCancelled(tenant_id=T, job_id=2))["notifications"] == []
    assert desk.refusal(events.JobCancelled(tenant_id=T, job_id=2)).code is Code.CONFLICT


async def test_a_job_gets_another_title_and_is_cancelled_over_http(house: Rooms) -> None:
    token = house.token(1, 1)
    answer = await house.request("POST", "/api/jobs/1/title", token=token, body={"title": "Poster"})
    assert (answer.status, answer.json["title"]) == (200, "Poster")
    refused = await house.request("POST", "/api/jobs/1/title", token=house.token(1, 2), body={"title": "Mine"})
    assert (refused.status, refused.error) == (403, "forbidden")
    for body in ({}, {"title": ""}, {"title": "x" * 256}, {"title": "x", "reason": "y"}):
        assert (await house.request("POST", "/api/jobs/1/title", token=token, body=body)).status == 400
    assert (await house.request("POST", "/api/jobs/1/cancel", token=house.token(1, 2))).status == 403
    key = {"idempotency-key": "cancel"}
    answer = await house.request("POST", "/api/jobs/1/cancel", token=token, body={"reason": "late"}, headers=key)
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    again = await house.request("POST", "/api/jobs/1/cancel", token=token, body={"reason": "late"}, headers=key)
    assert (again.status, again.body) == (200, answer.body)
    assert [item["text"] for item in (await thread(house))["items"]] == ["late"]
    listed = await house.request("GET", "/api/jobs?status=cancelled", token=token)
    assert [job["id"] for job in listed.json["items"]] == [1]


def test_a_cancelled_job_has_no_alerts_any_more(desk: Desk) -> None:
    live(desk, "assigned", deadline=desk.now)
    assert desk.one("SELECT next_alert_at FROM jobs") is not None
    desk.publish(events.JobCancelled(tenant_id=T, job_id=1))
    assert desk.one("SELECT next_alert_at FROM jobs") is None
