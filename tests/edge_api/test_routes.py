"""Every route of the contract: who may ask, what is answered, and how a refusal looks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from djactors.edge.http_messages import Request
from djactors.store.errors import StoreBroken, StoreBusy, StoreClosed, StoreUnavailable
from tests.edge_api.rooms import SECRET, Answer, Rooms, notification, rooms

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "QUERY")

SERVICE_ROUTES = [("POST", "/api/events"), ("POST", "/api/events/batch")]
USER_ROUTES = [
    ("GET", "/api/notifications"),
    ("GET", "/api/notifications/unread-count"),
    ("POST", "/api/notifications/1/read"),
    ("POST", "/api/notifications/read-all"),
    ("DELETE", "/api/notifications/1"),
]
OPEN_ROUTES = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")]
ROUTES = SERVICE_ROUTES + USER_ROUTES + OPEN_ROUTES

EVENT = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}


# Routes and methods


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_route_takes_its_methods_and_names_them_to_others(house: Rooms, method: str, path: str) -> None:
    allowed = {way for way, other in ROUTES if other == path} | ({"HEAD"} if method == "GET" else set())
    for wrong in METHODS:
        if wrong not in allowed:
            answer = await house.request(wrong, path, token=house.token(1, 7))
            assert (answer.status, answer.error) == (405, "method_not_allowed")
            assert answer.headers["allow"] == method


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/events/",
        "/api/events/batch/1",
        "/API/EVENTS",
        "/api/notifications/",
        "/api/notifications/x",
        "/api/notifications/-1",
        "/api/notifications/1/read/",
        "/api/notifications/1/delete",
        "/api/notifications/\u0661/read",
        "/api/notifications/1\n/read",
        "/api/notifications/1 OR 1=1",
        "/api/notifications/../events",
        "/api//events",
        "/healthz/",
        "/admin",
        "/.env",
        "/\r\nx: y",
        "/\ufffd",
    ],
)
async def test_what_is_no_route_is_not_found(house: Rooms, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await house.request(method, path, token=house.token(1, 7))
        assert (answer.status, answer.error) == (404, "not_found")


@pytest.mark.parametrize(("method", "path"), USER_ROUTES + SERVICE_ROUTES)
async def test_a_query_parameter_that_does_not_exist_is_refused(house: Rooms, method: str, path: str) -> None:
    token = house.token(1, 7) if (method, path) in USER_ROUTES else house.service()
    answer = await house.request(method, f"{path}?limitt=5", token=token, body=EVENT)
    assert (answer.status, answer.error) == (400, "invalid")
    assert "limitt" in answer.json["error"]["message"]
    assert (await house.inbox())["items"] == []


# Who may ask


@pytest.mark.parametrize(("method", "path"), USER_ROUTES + SERVICE_ROUTES)
async def test_without_a_good_token_nothing_is_answered(house: Rooms, method: str, path: str) -> None:
    await house.notify()
    before = await house.offset()
    expired = house.token(1, 7, ttl=10)
    expired_service = house.token(role="service", ttl=10)
    house.clock.advance(10)
    good = house.token(1, 7)
    for authorization in (
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer garbage",
        f"Bearer {expired}",
        f"Bearer {expired_service}",
        f"Basic {good}",
        good,
        f"Token {good}",
        f"Bearer {good} {good}",
        f"Bearer {good[:-2]}",
        f"Bearer: {good}",
    ):
        headers = {} if authorization is None else {"authorization": authorization}
        answer = await house.request(method, path, headers=headers, body=EVENT)
        assert (answer.status, answer.error) == (401, "unauthorized"), authorization
        assert answer.headers["www-authenticate"] == "Bearer"
    assert await house.offset() == before


async def test_the_scheme_of_the_authorization_is_taken_in_any_case(house: Rooms) -> None:
    headers = {"authorization": f"bEARER   {house.token(1, 7)} "}
    assert (await house.request("GET", "/api/notifications", headers=headers)).status == 200


@pytest.mark.parametrize(("method", "path"), SERVICE_ROUTES)
@pytest.mark.parametrize("role", ["user", "manager", "admin"])
async def test_people_may_not_publish(house: Rooms, method: str, path: str, role: str) -> None:
    answer = await house.request(method, path, token=house.token(1, 7, role=role), body=EVENT)
    assert (answer.status, answer.error) == (403, "forbidden")
    assert (await house.inbox())["items"] == []


@pytest.mark.parametrize(("method", "path"), USER_ROUTES)
async def test_a_service_has_no_inbox(house: Rooms, method: str, path: str) -> None:
    for token in (house.service(), house.service(1)):
        answer = await house.request(method, path, token=token)
        assert (answer.status, answer.error) == (401, "unauthorized")


async def test_a_tenants_service_publishes_for_that_tenant_only(house: Rooms) -> None:
    assert (await house.publish(EVENT, token=house.service(1))).status == 201
    refused = await house.publish({**EVENT, "tenantId": 2}, token=house.service(1))
    assert (refused.status, refused.error) == (403, "forbidden")
    batch = [EVENT, {**EVENT, "tenantId": 2}, EVENT]
    answer = await house.request("POST", "/api/events/batch", token=house.service(1), body=batch)
    assert ["eventId" in result for result in answer.json["results"]] == [True, False, True]
    assert answer.json["results"][1]["error"]["code"] == "forbidden"
    assert (await house.inbox(2))["items"] == []


# Publishing


async def test_an_event_is_answered_with_what_came_of_it(house: Rooms) -> None:
    answer = await house.publish(EVENT)
    assert answer.status == 201
    assert answer.json == {
        "eventId": 1,
        "seq": answer.json["seq"],
        "notifications": [{"id": 1, "userId": 7, "type": "job_assigned"}],
        "suppressed": [],
    }
    own = await house.publish({**EVENT, "actorId": 7})
    assert own.json["notifications"] == []
    assert own.json["suppressed"] == [{"userId": 7, "reason": "actor"}]


@pytest.mark.parametrize("way", ["header", "id", "both"])
async def test_a_retry_is_answered_as_the_first_time_and_another_body_is_refused(house: Rooms, way: str) -> None:
    headers = {"idempotency-key": "key 1"} if way != "id" else {}
    event = {**EVENT, "id": "key 1"} if way != "header" else EVENT
    first = await house.publish(event, headers=headers)
    offset = await house.offset()
    again = await house.publish(dict(reversed(event.items())), headers=headers)
    assert (first.status, again.status) == (201, 200)
    assert again.body == first.body
    other = await house.publish({**event, "jobId": 6}, headers=headers)
    assert (other.status, other.error) == (422, "idempotency_key_reused")
    assert await house.offset() == offset
    elsewhere = await house.publish({**event, "tenantId": 2, "assigneeId": 8}, headers=headers)
    assert elsewhere.status == 201, "a key is a tenant's own"


async def test_the_same_key_by_header_and_by_id_is_one_key(house: Rooms) -> None:
    first = await house.publish({**EVENT, "id": "k"})
    both = await house.publish({**EVENT, "id": "k"}, headers={"idempotency-key": "k"})
    assert (both.status, both.body) == (200, first.body)
    assert (await house.publish({**EVENT, "jobId": 6}, headers={"idempotency-key": "k"})).status == 422


async def test_a_key_and_an_id_that_differ_are_refused(house: Rooms) -> None:
    answer = await house.publish({**EVENT, "id": "a"}, headers={"idempotency-key": "b"})
    assert (answer.status, answer.error) == (400, "invalid")
    assert (await house.inbox())["items"] == []


@pytest.mark.parametrize("key", ["k", "k" * 255, " !~", "'; DROP TABLE domain_events --", "%00", "{}"])
async def test_a_key_is_1_to_255_printable_ascii_characters(house: Rooms, key: str) -> None:
    assert (await house.publish(EVENT, headers={"idempotency-key": key})).status == 201
    assert (await house.publish(EVENT, headers={"idempotency-key": key})).status == 200
    assert (await house.publish({**EVENT, "jobId": 6, "id": key + "2"[: 255 - len(key)]})).status in (201, 422)


@pytest.mark.parametrize("key", ["", "k" * 256, "é", "a\tb", "a\x7f", "a\nb", "ก"])
async def test_any_other_key_is_refused_with_the_bounds(house: Rooms, key: str) -> None:
    answer = await house.publish(EVENT, headers={"idempotency-key": key})
    assert (answer.status, answer.error) == (400, "invalid")
    assert "255" in answer.json["error"]["message"]
    answer = await house.publish({**EVENT, "id": key})
    assert (answer.status, answer.error) == (400, "invalid")
    assert (await house.inbox())["items"] == []


BAD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"  ",
    "null": b"null",
    "a number": b"5",
    "text": b'"job.assigned"',
    "an array": b"[]",
    "an empty object": b"{}",
    "half an object": b'{"type":"job.assigned"',
    "two objects": b'{"type":"job.assigned","tenantId":1,"jobId":5,"assigneeId":7}{}',
    "no type": b'{"tenantId":1,"jobId":5,"assigneeId":7}',
    "an unknown type": b'{"type":"job.exploded","tenantId":1,"jobId":5}',
    "a type that is a number": b'{"type":5,"tenantId":1}',
    "a type that is null": b'{"type":null}',
    "a missing field": b'{"type":"job.assigned","tenantId":1,"jobId":5}',
    "no tenant": b'{"type":"job.assigned","jobId":5,"assigneeId":7}',
    "a field too many": b'{"type":"job.assigned","tenantId":1,"jobId":5,"assigneeId":7,"x":1}',
    "a name in another case": b'{"type":"job.assigned","tenant_id":1,"jobId":5,"assigneeId":7}',
    "an id as text": b'{"type":"job.assigned","tenantId":1,"jobId":"5","assigneeId":7}',
    "an id as true": b'{"type":"job.assigned","tenantId":1,"jobId":true,"assigneeId":7}',
    "an id as a fraction": b'{"type":"job.assigned","tenantId":1,"jobId":5.5,"assigneeId":7}',
    "an id as null": b'{"type":"job.assigned","tenantId":1,"jobId":null,"assigneeId":7}',
    "an id of 0": b'{"type":"job.assigned","tenantId":1,"jobId":0,"assigneeId":7}',
    "an id below 0": b'{"type":"job.assigned","tenantId":1,"jobId":-5,"assigneeId":7}',
    "an id of 2^53": b'{"type":"job.assigned","tenantId":1,"jobId":9007199254740992,"assigneeId":7}',
    "an id of 2^63": b'{"type":"job.assigned","tenantId":1,"jobId":9223372036854775808,"assigneeId":7}',
    "an id of 2^64": b'{"type":"job.assigned","tenantId":1,"jobId":18446744073709551616,"assigneeId":7}',
    "an id of 10,000 digits": b'{"type":"job.assigned","tenantId":1,"jobId":%b,"assigneeId":7}' % (b"9" * 10_000),
    "1e999": b'{"type":"job.assigned","tenantId":1,"jobId":1e999,"assigneeId":7}',
    "NaN": b'{"type":"job.assigned","tenantId":1,"jobId":NaN,"assigneeId":7}',
    "not UTF-8": b'{"type":"job.assigned","tenantId":1,"jobId":5,"assigneeId":7,"id":"\xff\xfe"}',
    "a lone surrogate": b'{"type":"job.created","tenantId":1,"title":"\\ud800","requesterId":7}',
    "a lone surrogate in data": msgspec.json.encode(notification(data={})).replace(b"{}", b'{"a":"\\udfff"}'),
    "a lone surrogate in a key of data": msgspec.json.encode(notification(data={})).replace(b"{}", b'{"\\ud800":1}'),
    "NUL": b'{"type":"job.created","tenantId":1,"title":"a\\u0000b","requesterId":7}',
    "an empty title": b'{"type":"job.created","tenantId":1,"title":"","requesterId":7}',
    "a title of 256": b'{"type":"job.created","tenantId":1,"title":"%b","requesterId":7}' % (b"x" * 256),
    "an unknown priority": msgspec.json.encode(notification(priority="URGENT")),
    "data that is a list": msgspec.json.encode(notification(data=[1])),
    "data of 2^63": msgspec.json.encode(notification(data={"a": 2**63})),
    "data of 17 levels": msgspec.json.encode(notification(data={})).replace(b"{}", b'{"a":' * 17 + b"1" + b"}" * 17),
    "data of 9 kB": msgspec.json.encode(notification(data={"a": "x" * 9000})),
    "a time without a zone": b'{"type":"job.assigned","tenantId":1,"jobId":5,"assigneeId":7,'
    b'"occurredAt":"2026-01-01T00:00:00"}',
    "a time that is none": b'{"type":"job.assigned","tenantId":1,"jobId":5,"assigneeId":7,"occurredAt":"soon"}',
    "a time before the year 1": b'{"type":"job.assigned","tenantId":1,"jobId":5,"assigneeId":7,'
    b'"occurredAt":"0001-01-01T00:00:00+01:00"}',
    "1,001 watchers": b'{"type":"job.created","tenantId":1,"title":"x","requesterId":7,"watcherIds":[%b]}'
    % b",".join([b"7"] * 1001),
    "100,000 levels of arrays": b"[" * 100_000,
    "100,000 levels of objects": b'{"a":' * 100_000,
    "100,000 levels in data": msgspec.json.encode(notification(data={})).replace(b"{}", b'{"a":' * 100_000),
    "100,000 closed levels in data": msgspec.json.encode(notification(data={})).replace(
        b"{}", b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    ),
    "10 MB of blanks": b" " * 10_000_000,
    "10 MB of text": b'{"type":"' + b"x" * 10_000_000 + b'"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_a_bad_event_is_refused_and_nothing_is_stored(house: Rooms, body: bytes) -> None:
    await house.publish(EVENT)
    before = await house.offset()
    answer = await house.request("POST", "/api/events", token=house.service(), body=body)
    assert (answer.status, answer.error) == (400, "invalid")
    assert len(answer.body) < 1000
    batch = b"[" + msgspec.json.encode(EVENT) + b"," + body + b"," + msgspec.json.encode(EVENT) + b"]"
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=batch)
    if answer.status == 200:
        codes = [result.get("error", {}).get("code") for result in answer.json["results"]]
        assert codes[0] is None
        assert codes[-1] is None
        assert set(codes[1:-1]) == {"invalid"}
    else:
        assert (answer.status, answer.error) == (400, "invalid")
        assert await house.offset() == before
    # The server goes on.
    assert (await house.publish(EVENT)).status == 201


@pytest.mark.parametrize(
    ("type_", "fields"),
    [
        ("job.submitted", {"jobId": 5}),
        ("job.approved", {"jobId": 5}),
        ("job.rejected", {"jobId": 5}),
        ("job.completed", {"jobId": 5}),
        ("job.deadline_changed", {"jobId": 5, "deadline": None}),
        ("comment.added", {"jobId": 5, "text": "x"}),
        ("job.watched", {"jobId": 5, "userId": 7}),
        ("job.unwatched", {"jobId": 5, "userId": 7}),
        ("tenant.upserted", {"name": "x"}),
    ],
)
async def test_an_event_that_is_not_built_yet_is_told_so(house: Rooms, type_: str, fields: dict[str, Any]) -> None:
    await house.publish(EVENT)
    before = await house.offset()
    event = {"type": type_, "tenantId": 1, "id": "once", **fields}
    answer = await house.publish(event)
    assert (answer.status, answer.error) == (501, "not_implemented")
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=[event])
    assert answer.json["results"][0]["error"]["code"] == "not_implemented"
    assert await house.offset() == before
    assert (await house.publish({**EVENT, "id": "once"})).status == 201, "the key of a refused event is free"


async def test_a_user_of_another_tenant_is_an_error_that_names_the_field(house: Rooms) -> None:
    await house.notify(2, 8)
    before = await house.offset(2)
    answer = await house.publish({**EVENT, "assigneeId": 8})
    assert answer.status in (400, 409)
    assert "assigneeId" in answer.json["error"]["message"]
    assert (await house.inbox(1, 8))["items"] == []
    assert await house.offset(2) == before


# Batches


async def test_one_bad_event_in_a_thousand_is_named_and_the_others_are_stored(house: Rooms) -> None:
    items: list[Any] = [notification(title=f"n{number}") for number in range(1000)]
    items[500] = {**items[500], "userId": "7"}
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=items)
    assert answer.status == 200
    results = answer.json["results"]
    assert len(results) == 1000
    assert [place for place, result in enumerate(results) if "error" in result] == [500]
    assert "userId" in results[500]["error"]["message"]
    ids = [result["notifications"][0]["id"] for result in results if "error" not in result]
    assert ids == sorted(ids)
    assert (await house.inbox())["unreadCount"] == 999


async def test_a_batch_that_is_too_long_or_none_is_refused_whole(house: Rooms) -> None:
    for body in (
        [EVENT] * 1001,
        EVENT,
        None,
        "x",
        b"",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[1,",
        b"\xff",
        b"[" + b"1," * 1_000_000 + b"1]",
    ):
        content = b"null" if body is None else body
        answer = await house.request("POST", "/api/events/batch", token=house.service(), body=content)
        assert (answer.status, answer.error) == (400, "invalid")
    assert (await house.inbox())["items"] == []


async def test_an_empty_batch_has_no_results(house: Rooms) -> None:
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=[])
    assert (answer.status, answer.json) == (200, {"results": []})


async def test_in_a_batch_only_the_ids_count(house: Rooms) -> None:
    items = [{**EVENT, "id": "a"}, EVENT, {**EVENT, "id": "a"}, {**EVENT, "id": "a", "jobId": 6}]
    for _ in range(2):
        answer = await house.request(
            "POST", "/api/events/batch", token=house.service(), body=items, headers={"idempotency-key": "k"}
        )
        results = answer.json["results"]
        assert results[0] == results[2]
        assert results[1]["eventId"] != results[0]["eventId"]
        assert results[3]["error"]["code"] == "idempotency_key_reused"
    assert (await house.inbox())["unreadCount"] == 3


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
    assert before == {"items": [], "nextBefore": None, "unreadCount": 0, "offset": "epochepochep.0"}
    answer = await house.publish(EVENT)
    page = await house.inbox()
    assert page["offset"] == f"epochepochep.{answer.json['seq']}"
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
        for number in (others, elsewhere, 12345, 0, 2**53 - 1, 2**53, "9999999999999999", "00")
    ]
    assert {(answer.status, answer.body, tuple(answer.headers.items())) for answer in answers} == {
        (404, b'{"error":{"code":"not_found","message":"not found"}}', ())
    }
    assert (await house.inbox(1, 8))["unreadCount"] == 1
    assert (await house.inbox(2, 9))["unreadCount"] == 1


async def test_a_user_whom_nobody_has_heard_of_has_an_empty_inbox(house: Rooms) -> None:
    token = house.token(77, 99)
    answer = await house.request("GET", "/api/notifications/unread-count", token=token)
    assert answer.json == {"count": 0, "offset": "epochepochep.0"}
    answer = await house.request("POST", "/api/notifications/read-all", token=token)
    assert (answer.status, answer.json) == (200, {"ok": True, "count": 0})


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
    [change] = [c for c in await house.store.changes_since(1, 7, 0, 100) if c.name == "job:updated"]
    assert msgspec.json.decode(change.body)["job"]["title"] == text


@pytest.mark.parametrize("text", TEXTS)
async def test_logs_stay_one_json_line_an_entry(house: Rooms, text: str) -> None:
    token = house.token(1, 7)
    await house.request("GET", f"/api/notifications?{text.replace('=', '')}=1", token=token)
    await house.routes.handle(Request("GET", f"/api/notifications/{text}"))
    await house.routes.handle(Request(text, "/api/notifications", headers={"authorization": text}))
    await house.request("POST", "/api/events", token=house.service(), body=text.encode())
    lines = house.log.getvalue().split("\n")
    assert lines[-1] == ""
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert len(house.entries) == len(lines) - 1 > 0


async def test_no_secret_is_logged_or_told(house: Rooms) -> None:
    token, key = house.token(1, 7), "the-key-of-this-post"
    bodies = []
    for headers in (
        {"authorization": f"Bearer {token}x"},
        {"authorization": f"Bearer {token}", "idempotency-key": key},
    ):
        for method, path in ROUTES:
            answer = await house.request(method, path, headers=headers, body={**EVENT, "title": "the-title"})
            bodies.append(answer.body)
    await house.publish(EVENT, headers={"idempotency-key": key})
    bodies.append((await house.publish({**EVENT, "jobId": 9}, headers={"idempotency-key": "other"})).body)
    house.store.error = RuntimeError("a failure inside")
    with pytest.raises(RuntimeError):
        await house.request("GET", "/api/notifications", token=token)
    text = house.log.getvalue() + b"".join(bodies).decode()
    for secret in (SECRET, token, key, "Bearer ey", "the-title", "a failure inside"):
        assert secret not in text


# The operator


async def test_health_readiness_and_metrics(house: Rooms) -> None:
    assert (await house.request("GET", "/healthz")).json == {"status": "ok"}
    assert (await house.request("GET", "/readyz")).json == {"status": "ready"}
    house.not_ready = "the server is stopping"
    answer = await house.request("GET", "/readyz")
    assert (answer.status, answer.error) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert (await house.request("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", 200),
        ("127.9.9.9", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("10.0.0.1", 404),
        ("::ffff:10.0.0.1", 404),
        ("fe80::1%eth0", 404),
        ("", 404),
        ("testclient", 404),
    ],
)
async def test_metrics_are_given_by_address(house: Rooms, peer: str, status: int) -> None:
    answer = await house.request("GET", "/metrics", peer=peer, headers={"x-forwarded-for": "127.0.0.1"})
    assert answer.status == status
    if status == 200:
        assert b"# TYPE djactors_domain_events_total counter" in answer.body


async def test_metrics_may_be_opened(tmp_path: Path, autojump_clock: object) -> None:
    async with rooms(tmp_path, metrics_addresses=("0.0.0.0/0", "::/0")) as house:
        for peer in ("8.8.8.8", "2001:db8::1", "fe80::1%eth0"):
            assert (await house.request("GET", "/metrics", peer=peer)).status == 200


async def test_no_label_of_a_metric_comes_from_outside(house: Rooms) -> None:
    await house.request("EVIL", "/evil", token="evil")
    await house.request("EVIL", "/api/events", token="evil")
    await house.request("POST", "/api/events", token=house.service(), body={"type": "evil"})
    assert b"evil" not in (await house.request("GET", "/metrics")).body.lower()


# Overload and failure


DOWN = (StoreBusy, StoreUnavailable, StoreClosed, StoreBroken)


@pytest.mark.parametrize("kind", DOWN)
async def test_a_store_that_cannot_is_503_without_details(house: Rooms, kind: type[Exception]) -> None:
    number = await house.notify()
    house.store.error = kind("/secret/path/inbox.db: the disk is full")
    user, service = house.token(1, 7), house.service()
    for method, path, token, body in (
        ("POST", "/api/events", service, EVENT),
        ("GET", "/api/notifications", user, None),
        ("GET", "/api/notifications/unread-count", user, None),
        ("POST", f"/api/notifications/{number}/read", user, None),
        ("POST", "/api/notifications/read-all", user, None),
        ("DELETE", f"/api/notifications/{number}", user, None),
    ):
        answer = await house.request(method, path, token=token, body=body)
        assert (answer.status, answer.error) == (503, "unavailable"), path
        assert answer.headers["retry-after"] == "1"
        assert b"secret" not in answer.body
    answer = await house.request("POST", "/api/events/batch", token=service, body=[EVENT, {}])
    assert [result["error"]["code"] for result in answer.json["results"]] == ["unavailable", "invalid"]
    house.store.error = None
    assert (await house.inbox())["unreadCount"] == 1, "it heals"
    assert (await house.publish(EVENT)).status == 201


async def test_a_fault_of_ours_is_not_told_to_clients(house: Rooms) -> None:
    house.store.error = RuntimeError("/secret/path")
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=[EVENT, {}])
    assert answer.status == 200
    codes = [result["error"]["code"] for result in answer.json["results"]]
    assert codes[1] == "invalid"
    assert codes[0] in ("unavailable", "internal")
    assert b"secret" not in answer.body


async def test_a_router_without_room_is_503_and_a_batch_is_told_item_by_item(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with rooms(tmp_path, router_mailbox=5) as house:
        body = [notification(title=str(number)) for number in range(20)]
        answer = await house.request("POST", "/api/events/batch", token=house.service(), body=body)
        codes = [result.get("error", {}).get("code") for result in answer.json["results"]]
        assert codes == [None] * 5 + ["unavailable"] * 15
        assert (await house.inbox())["unreadCount"] == 5

        answers: list[Answer] = []

        async def post() -> None:
            answers.append(await house.publish(EVENT))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(post)
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {201, 503}
        for answer in answers:
            if answer.status == 503:
                assert answer.error == "unavailable"
                assert re.fullmatch("[1-9][0-9]*", answer.headers["retry-after"])
        stored = (await house.inbox())["unreadCount"]
        assert stored == 5 + statuses.count(201)
