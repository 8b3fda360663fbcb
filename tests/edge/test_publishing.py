"""Publishing over HTTP: answers, keys, batches, and whatever is wrong with an event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from djactors.domain.commands import Publish
from djactors.domain.events import decode_event
from djactors.edge.batch import Batch
from tests.edge.rooms import Rooms, notification

EVENT = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}


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
    "an id as text with a zero before it": b'{"type":"job.assigned","tenantId":1,"jobId":"05","assigneeId":7}',
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
        ("job.submitted", {"jobId": 5, "approverId": 9}),
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
async def test_every_event_may_be_of_a_job_that_was_never_created_here(
    house: Rooms, type_: str, fields: dict[str, Any]
) -> None:
    event = {"type": type_, "tenantId": 1, "id": "once", **fields}
    first = await house.publish(event)
    assert first.status == 201
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=[event])
    assert answer.json["results"] == [first.json], "the same answer again"


async def test_the_key_of_a_refused_event_is_free(house: Rooms) -> None:
    await house.publish({"type": "job.created", "tenantId": 1, "title": "x", "requesterId": 9})
    before = await house.offset()
    answer = await house.publish({"type": "job.approved", "tenantId": 1, "jobId": 1, "id": "once"})
    assert (answer.status, answer.error) == (409, "conflict")
    assert await house.offset() == before
    assert (await house.publish({**EVENT, "jobId": 1, "id": "once"})).status == 201


async def test_a11_a_number_that_another_tenant_uses_is_as_good_as_any(house: Rooms) -> None:
    await house.notify(2, 8)
    before = await house.offset(2)
    answer = await house.publish({**EVENT, "assigneeId": 8})
    assert answer.status == 201
    assert [item["type"] for item in (await house.inbox(1, 8))["items"]] == ["job_assigned"]
    assert await house.offset(2) == before


async def test_a10_a_key_belongs_to_the_backend_that_sends_it(house: Rooms) -> None:
    """One of the tenant and one of the whole installation may use the same key, each for its own event."""
    for token in (house.service(), house.service(1)):
        first = await house.publish({**EVENT, "id": "order-4711"}, token=token)
        again = await house.publish({**EVENT, "id": "order-4711"}, token=token)
        assert (first.status, again.status, again.body) == (201, 200, first.body)
        other = await house.publish({**EVENT, "jobId": 6, "id": "order-4711"}, token=token)
        assert (other.status, other.error) == (422, "idempotency_key_reused")
    assert len((await house.inbox(1, EVENT["assigneeId"]))["items"]) == 2


# Batches


async def test_one_bad_event_in_a_thousand_is_named_and_the_others_are_stored(house: Rooms) -> None:
    # CRITICAL, for a day holds fewer of the others.
    items: list[Any] = [notification(title=f"n{number}", priority="CRITICAL") for number in range(1000)]
    items[500] = {**items[500], "userId": "x"}
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


async def test_others_get_their_turn_while_a_long_batch_is_decoded(house: Rooms) -> None:
    answers: list[Any] = []

    async def publish_batch() -> None:
        items = [EVENT] * 1000
        answers.append(await house.request("POST", "/api/events/batch", token=house.service(), body=items))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish_batch)
        # After the first of these the batch may or may not have begun, after the second it has.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        other = await house.publish(EVENT)
    ids = [result["eventId"] for result in answers[0].json["results"]]
    assert ids == sorted(ids)
    assert len(ids) == 1000
    assert other.json["eventId"] < ids[-1]


async def test_a3_a_batch_of_large_events_gives_way_to_commits_while_it_is_decoded_and_then_takes_few(
    house: Rooms,
) -> None:
    """The commits of others were five times as long beside it, and its own were as many as its turns."""
    steps: list[str] = []
    give_way, record = house.store.give_way, house.store.record

    async def giving_way(seconds: float) -> None:
        steps.append("way")
        await give_way(seconds)

    async def recording(*args: Any) -> Any:
        recorded = await record(*args)
        steps.append(f"{len(recorded.outcomes)} recorded")
        return recorded

    house.store.give_way, house.store.record = giving_way, recording
    items = [notification(data={"a": [1e300] * 300})] * 200
    answer = await house.request("POST", "/api/events/batch", token=house.service(), body=items)
    assert len(answer.json["results"]) == 200
    assert steps[:-1] == ["way"] * (len(steps) - 1)
    assert len(steps) > 20
    assert steps[-1] == "200 recorded"


async def test_a_batch_whose_first_items_are_done_before_its_last_are_sent_is_answered_whole(house: Rooms) -> None:
    refused: list[Exception] = []
    batch = Batch(house.router, refused.append)
    event = decode_event(msgspec.json.encode(EVENT))
    for _ in range(2):
        batch.add(Publish(event, None))
        await trio.testing.wait_all_tasks_blocked()
    batch.add(Publish(event, None))
    assert len(msgspec.json.decode(await batch.results(1.0))["results"]) == 3
    assert refused == []


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
