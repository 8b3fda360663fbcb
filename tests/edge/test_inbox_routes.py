"""The inbox over HTTP: pages, counts, reading and deleting, and texts that come back as they were sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from djactors.domain.marks import BEGINNING
from djactors.inbox.log import Replay, as_it_is
from djactors.net import Request
from tests.edge.rooms import Answer, Rooms

EVENT = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}


# The inbox


async def test_pages_have_no_gap_and_no_repeat_while_new_ones_arrive(house: Rooms) -> None:
    ids = [await house.notify(title=f"n{number}") for number in range(45)]
    seen: list[list[int]] = []
    query = ""
    while True:
        page = await house.inbox(query=query)
        seen.append([item["id"] for item in page["items"]])
        if page["nextBefore"] is None:
            break
        query = f"?before={page['nextBefore']}"
        await house.notify(title="meanwhile")
    assert [len(page) for page in seen] == [20, 20, 5]
    assert [number for page in seen for number in page] == ids[::-1]


async def test_a_list_is_of_one_snapshot_with_its_count_and_offset(house: Rooms) -> None:
    before = await house.inbox()
    assert before == {"items": [], "nextBefore": None, "unreadCount": 0, "unseenCount": 0, "offset": ".0"}
    answer = await house.publish(EVENT)
    page = await house.inbox()
    assert page["offset"] == house.at(answer.json["seq"])
    assert page["unreadCount"] == 1
    [item] = page["items"]
    assert item == {
        "id": 1,
        "type": "job_assigned",
        "priority": "HIGH",
        "title": "Job 5 assigned to you",
        "message": "Job 5",
        "data": {"jobId": 5, "djId": None},
        "createdAt": "2026-01-27T10:30:00.000000Z",
        "isRead": False,
        "readAt": None,
    }


async def test_only_the_unread_are_listed_where_that_is_asked(house: Rooms) -> None:
    ids = [await house.notify() for _ in range(5)]
    for number in ids[:4]:
        await house.request("POST", f"/api/notifications/{number}/read", token=house.token(1, 7))
    assert [item["id"] for item in (await house.inbox(query="?unread=true"))["items"]] == ids[4:]
    assert len((await house.inbox(query="?unread=false"))["items"]) == 5


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=",
        "limit=x",
        "limit=1.5",
        "limit=1e1",
        "limit=+5",
        "limit= 5",
        "limit=5\n",
        "limit=\u0665",
        "limit=99999999999999999999",
        "before=0",
        "before=-1",
        "before=9007199254740992",
        "before=9999999999999999",
        "before=x",
        "before=",
        "before=1 OR 1=1",
        "unread=1",
        "unread=yes",
        "unread=",
        "unread=TRUE",
        "offset=5",
        "Limit=5",
        "=",
    ],
)
async def test_a_wrong_parameter_is_named(house: Rooms, query: str) -> None:
    answer = await house.request("GET", f"/api/notifications?{query}", token=house.token(1, 7))
    assert (answer.status, answer.error) == (400, "invalid")
    assert query.partition("=")[0] in answer.json["error"]["message"]


@pytest.mark.parametrize("query", ["limit=1", "limit=100", "limit=007", "before=1", "before=9007199254740991"])
async def test_bounds_are_inclusive(house: Rooms, query: str) -> None:
    assert (await house.request("GET", f"/api/notifications?{query}", token=house.token(1, 7))).status == 200


async def test_reading_and_deleting_may_be_repeated(house: Rooms) -> None:
    token = house.token(1, 7)
    one, two, three = [await house.notify() for _ in range(3)]

    async def do(method: str, path: str) -> Any:
        answer = await house.request(method, f"/api/notifications/{path}", token=token)
        assert answer.status == 200, answer.body
        assert answer.json["ok"] is True
        return answer.json["count"]

    assert [await do("POST", f"{one}/read") for _ in range(2)] == [2, 2]
    offset = await house.offset()
    assert await do("POST", f"{one}/read") == 2
    assert await house.offset() == offset, "what changes nothing is no change"
    assert await do("DELETE", f"{two}") == 1
    assert [await do("POST", "read-all") for _ in range(2)] == [0, 0]
    assert await do("DELETE", f"{three}") == 0
    items = (await house.inbox())["items"]
    assert [(item["id"], item["isRead"]) for item in items] == [(one, True)]
    assert items[0]["readAt"] == "2026-01-27T10:30:00.000000Z"


async def test_deleting_twice_is_deleting_once_and_what_is_deleted_cannot_be_read(house: Rooms) -> None:
    token, number = house.token(1, 7), await house.notify()
    first = await house.request("DELETE", f"/api/notifications/{number}", token=token)
    offset = await house.offset()
    again = await house.request("DELETE", f"/api/notifications/{number}", token=token)
    assert (first.status, again.status, again.body) == (200, 200, first.body)
    read = await house.request("POST", f"/api/notifications/{number}/read", token=token)
    missing = await house.request("POST", "/api/notifications/12345/read", token=token)
    assert (read.status, read.body) == (404, missing.body)
    assert await house.offset() == offset


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/notifications/{}/read"), ("DELETE", "/api/notifications/{}")]
)
async def test_anothers_notification_is_answered_like_a_missing_one(house: Rooms, method: str, path: str) -> None:
    others, elsewhere = await house.notify(1, 8), await house.notify(2, 9)
    answers: list[Answer] = [
        await house.request(method, path.format(number), token=house.token(1, 7))
        for number in (others, elsewhere, 12345, 0, 2**53 - 1, 2**53, 10**16, "00", "9" * 6000)
    ]
    assert {(answer.status, answer.body, tuple(answer.headers.items())) for answer in answers} == {
        (404, b'{"error":{"code":"not_found","message":"not found"}}', ())
    }
    assert (await house.inbox(1, 8))["unreadCount"] == 1
    assert (await house.inbox(2, 9))["unreadCount"] == 1


async def test_a_user_whom_nobody_has_heard_of_has_an_empty_inbox(house: Rooms) -> None:
    token = house.token(77, 99)
    answer = await house.request("GET", "/api/notifications/unread-count", token=token)
    assert answer.json == {"count": 0, "unseen": 0, "offset": ".0"}
    answer = await house.request("POST", "/api/notifications/read-all", token=token)
    assert (answer.status, answer.json) == (200, {"ok": True, "count": 0, "unseen": 0})


# Whatever is in a text

TEXTS = [
    "'; DROP TABLE notifications; --",
    '" OR ""="',
    "1; ATTACH DATABASE '/tmp/x' AS x",
    "a\r\nSet-Cookie: x=y\r\n\r\n<html>",
    "\x1b[2J\x1b[31mred\x07\x08",
    "<script>alert(1)</script>",
    "{job_title} %s %(x)s {0.__class__}",
    "\u2028\u2029\u202e\ufeff\x85",
    "สวัสดี 👩‍👩‍👧‍👦 \U0010ffff",
    "\\u0000 \\ud800",
    "x" * 255,
]


@pytest.mark.parametrize("text", TEXTS)
async def test_a_text_comes_back_as_it_was_sent(house: Rooms, text: str) -> None:
    names = {"type": "user.upserted", "tenantId": 1, "userId": 9, "name": text, "role": "user"}
    assert (await house.publish(names)).status == 201
    await house.notify(title=text, message=text, data={"a": text, text: [text]})
    created = {"type": "job.created", "tenantId": 1, "title": text, "requesterId": 9, "assigneeId": 7}
    assert (await house.publish(created)).status == 201
    items = (await house.inbox())["items"]
    assert items[0]["message"] == text
    assert (items[1]["title"], items[1]["message"]) == (text, text)
    assert items[1]["data"] == {"a": text, text: [text]}
    replay = await house.store.replay(1, 7, BEGINNING, limit=100, make=as_it_is)
    assert isinstance(replay, Replay)
    [change] = [c for c in replay.changes if c.name == "job:updated"]
    assert msgspec.json.decode(change.body)["job"]["title"] == text


@pytest.mark.parametrize("text", TEXTS)
async def test_row_29_logs_stay_one_json_line_an_entry(house: Rooms, text: str) -> None:
    token = house.token(1, 7)
    await house.request("GET", f"/api/notifications?{text.replace('=', '')}=1", token=token)
    await house.routes.handle(Request("GET", f"/api/notifications/{text}"))
    await house.routes.handle(Request(text, "/api/notifications", headers={"authorization": text}))
    await house.request("POST", "/api/events", token=house.service(), body=text.encode())
    lines = house.log.getvalue().split("\n")
    assert lines[-1] == ""
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert len(house.entries) == len(lines) - 1 > 0
