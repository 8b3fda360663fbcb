"""Domain events come in as bytes: good ones are decoded, all others refused with a message that names the field."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djactors.domain import events
from djactors.domain.errors import Code, Refused
from djactors.domain.events import TYPES, JobAssigned, JobCreated, NotificationRequested, decode_batch, decode_event
from djactors.domain.ids import MAX_ID
from tests.domain.bodies import MINIMAL, OPTIONAL, body, encoded

COMMON = {"actorId": 9, "id": "order-77", "occurredAt": "2026-01-27T10:30:00Z"}


def refusal(raw: bytes) -> str:
    with pytest.raises(Refused) as caught:
        decode_event(raw)
    assert caught.value.code is Code.INVALID
    assert str(caught.value) == caught.value.message
    return caught.value.message


def nested(levels: int, leaf: Any = 1) -> Any:
    value = leaf
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("kind", MINIMAL)
def test_every_type_is_understood_with_its_required_fields_alone(kind: str):
    event = decode_event(encoded(body(kind)))
    assert events.TYPES[type(event)] == kind
    assert event.tenant_id == 1
    assert event.actor_id is event.id is event.occurred_at is None


@pytest.mark.parametrize("kind", MINIMAL)
def test_every_type_takes_all_its_fields_and_says_them_back(kind: str):
    full = body(kind, **COMMON, **OPTIONAL.get(kind, {}))
    assert json.loads(msgspec.json.encode(decode_event(encoded(full)))) == full


@pytest.mark.parametrize("kind", MINIMAL)
def test_a_missing_field_is_named(kind: str):
    for field in ["type", "tenantId", *MINIMAL[kind]]:
        spoilt = body(kind)
        del spoilt[field]
        assert f"`{field}`" in refusal(encoded(spoilt))


@pytest.mark.parametrize("kind", MINIMAL)
def test_an_unknown_field_is_named(kind: str):
    assert "`assignee_id`" in refusal(encoded(body(kind, assignee_id=3)))


def test_the_nearest_field_of_the_same_event_is_named():
    mistyped = {**body("job.assigned", assigne_id=3)}
    assert refusal(encoded(mistyped)).endswith("`assigne_id`: the nearest one is `assigneeId`; correct or remove it")
    assert "nearest" not in refusal(encoded(body("job.assigned", colour="red")))
    # Another event has one that is nearer.
    assert refusal(encoded(body("job.assigned", watcherIds=[1]))).endswith("`watcherIds`")


@pytest.mark.parametrize("kind", MINIMAL)
def test_a_field_of_a_wrong_type_is_named(kind: str):
    for field in ["tenantId", *COMMON, *MINIMAL[kind], *OPTIONAL.get(kind, {})]:
        for wrong in (True, 1.5, [[]]):
            assert field in refusal(encoded(body(kind, **{field: wrong})))


@pytest.mark.parametrize("wrong", ["job.creatd", "", "JOB.CREATED", "notification:new", 5, None, ["job.created"]])
def test_an_unknown_type_is_refused(wrong: object):
    assert "type" in refusal(encoded({**body("job.approved"), "type": wrong}))


@pytest.mark.parametrize("id_", [1, MAX_ID])
def test_ids_reach_from_1_to_the_largest_integer_that_javascript_holds(id_: int):
    event = decode_event(encoded(body("job.assigned", jobId=id_)))
    assert isinstance(event, JobAssigned)
    assert event.job_id == id_


@pytest.mark.parametrize(
    "id_",
    [0, -1, 2**53, 2**63, 2**64, -(2**63) - 1, 10**30, 5.0, "05", " 5", "5.0", "x", "", "0", str(2**53), None, True],
)
def test_other_ids_are_refused(id_: object):
    assert "jobId" in refusal(encoded(body("job.approved", jobId=id_)))


@pytest.mark.parametrize("id_", ["05", " 5", "5 ", "5\n", "+5", "5.0", "x", "", "0", "-1", "๕", str(2**53), "9" * 5000])
def test_a16_text_that_is_no_id_is_refused_as_it_was_sent(id_: str):
    assert "jobId" in refusal(encoded(body("job.approved", jobId=id_)))


def test_a16_every_id_of_an_event_may_come_as_decimal_text():
    """A BIGINT arrives so from node-postgres."""
    for kind in MINIMAL:
        said = json.loads(encoded(body(kind, actorId=9)))
        # Numbers on the first floor are ids, whatever a field is called.
        texts = {name: str(value) if type(value) is int else value for name, value in said.items()}
        assert texts != said
        assert decode_event(encoded(texts)) == decode_event(encoded(said))
    said = body("job.created", watcherIds=["3", 4, str(MAX_ID)], djId="17")
    event = decode_event(encoded(said))
    assert isinstance(event, JobCreated)
    assert (event.watcher_ids, event.dj_id) == ((3, 4, MAX_ID), "17")
    note = decode_event(encoded(body("notification.requested", userId="2", data={"userId": "2", "n": 1.5})))
    assert isinstance(note, NotificationRequested)
    assert note.data == {"userId": "2", "n": 1.5}
    said_as_number = msgspec.structs.replace(note, user_id=2)
    assert events.fingerprint(note) == events.fingerprint(said_as_number), "a retry is the same event"


def test_a16_what_else_is_wrong_beside_an_id_as_text_is_named():
    for more, named in (({"jobId": "x"}, "jobId"), ({"jobid": 1}, "jobid"), ({"actorId": 2**70}, "actorId")):
        said = {**body("job.approved"), "tenantId": "1", **more}
        assert named in refusal(encoded(said))


@pytest.mark.parametrize(
    ("kind", "field", "longest"),
    [
        ("job.created", "title", 255),
        ("job.created", "djId", 50),
        ("job.rejected", "reason", 4000),
        ("comment.added", "text", 4000),
        ("user.upserted", "name", 255),
        ("tenant.upserted", "name", 255),
        ("tenant.upserted", "timeZone", 64),
        ("notification.requested", "title", 255),
        ("notification.requested", "message", 4000),
    ],
)
def test_texts_have_the_lengths_of_the_schema_in_characters(kind: str, field: str, longest: int):
    for character in ("x", "ß", "😀"):
        decode_event(encoded(body(kind, **{field: character * longest})))
        assert field in refusal(encoded(body(kind, **{field: character * (longest + 1)})))
    assert field in refusal(encoded(body(kind, **{field: ""})))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("job.created", "title"),
        ("job.created", "djId"),
        ("job.rejected", "reason"),
        ("comment.added", "text"),
        ("user.upserted", "name"),
        ("tenant.upserted", "timeZone"),
        ("notification.requested", "message"),
    ],
)
def test_a_nul_is_refused_where_postgresql_could_not_store_it(kind: str, field: str):
    message = refusal(encoded(body(kind, **{field: "a\0b"})))
    assert message.startswith(field)
    assert "NUL" in message


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"a": {"b": [1, "x\0"]}}, "data.a.b[1]"),
        ({"a\0": 1}, "data"),
        ({"a": [{"\0": 1}]}, "data.a[0]"),
    ],
)
def test_a_nul_inside_data_is_found_and_its_place_named(data: object, where: str):
    message = refusal(encoded(body("notification.requested", data=data)))
    assert where in message
    assert "NUL" in message


@pytest.mark.parametrize("escaped", [r"\ud800", r"\udc00", r"a\udfffb", r"\ud83d", r"\ude00\ud83d", r"\uD83Dx"])
def test_half_a_surrogate_pair_is_refused(escaped: str):
    text = json.loads(f'"{escaped}"')
    assert "surrogate" in refusal(encoded(body("comment.added", text=text)))
    assert "surrogate" in refusal(encoded(body("notification.requested", data={"a": text})))


def test_a_whole_surrogate_pair_is_one_character():
    event = decode_event(rb'{"type": "job.created", "tenantId": 1, "requesterId": 2, "title": "\ud83d\ude00"}')
    assert isinstance(event, JobCreated)
    assert event.title == "😀"


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type": "job.approved", "tenantId": 1, "jobId": 5, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type": "notification.requested", "tenantId": 1, "userId": 3, "notificationType": "a", "priority": "LOW", '
        b'"title": "t", "data": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b"",
        b" ",
        b"null",
        b"[]",
        b'"job.created"',
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"type": "job.approved", "tenantId": 1, "jobId": 5} {}',
        b'{"type": "job.approved", "tenantId": 1, "jobId": 5',
        b'{"type": "job.approved", "tenantId": 1, "jobId": NaN}',
        b'{"type": "job.approved", "tenantId": 1, "jobId": 1e999}',
        b'{"type": "job.approved", "tenantId": 1, "jobId": ' + b"9" * 100_000 + b"}",
        b'{"type": "job.approved", "tenantId": 1, "jobId": 5, "id": "a\xffb"}',
        b'{"type": "job.approved", "tenantId": 1, "jobId": 5, "\xff": 1}',
        b'{"type": "comment.added", "tenantId": 1, "jobId": 5, "text": "\xed\xa0\x80"}',
        b'{"type": "comment.added", "tenantId": 1, "jobId": 5, "text": "\x00"}',
        b'{"type": "comment.added", "tenantId": 1, "jobId": 5, "text": "\n"}',
        b'{"type": "job.approved", "type": "job.created", "tenantId": 1, "jobId": 5}',
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_what_is_no_event_at_all_is_refused_briefly(raw: bytes):
    assert 0 < len(refusal(raw)) < 500


def test_a_refusal_does_not_echo_a_megabyte():
    assert len(refusal(encoded(body("job.approved", **{"x" * 1_000_000: 1})))) < 1000
    assert len(refusal(encoded({**body("job.approved"), "type": "x" * 1_000_000}))) < 1000
    assert len(refusal(encoded(body("notification.requested", data={"x" * 1_000_000: "\0"})))) < 1000


def test_a_long_key_over_many_items_does_not_multiply():
    """Naming each of 10,000 items by a path of 20,000 characters would stall the loop."""
    message = refusal(encoded(body("notification.requested", data={"x" * 20_000: [1] * 10_000, "ß": "ß"})))
    assert message.startswith("data is")


@pytest.mark.parametrize("field", ["occurredAt", "deadline"])
@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-27T10:30:00",
        "2026-01-27",
        "2026-02-30T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "tomorrow",
        "",
        1_700_000_000,
    ],
)
def test_a_time_without_zone_or_outside_the_calendar_is_refused(field: str, moment: object):
    assert field in refusal(encoded(body("job.created", **{field: moment})))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-27T10:30:00Z", datetime(2026, 1, 27, 10, 30, tzinfo=UTC)),
        ("2026-01-27T10:30:00.25+05:30", datetime(2026, 1, 27, 5, 0, 0, 250_000, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime.min.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_time_with_a_zone_is_that_moment(text: str, moment: datetime):
    event = decode_event(encoded(body("job.created", deadline=text)))
    assert isinstance(event, JobCreated)
    assert event.deadline == moment


@pytest.mark.parametrize("key", ["a", "~" * 255, "a b", " ", "0b1c-4d", "{}'\"; DROP TABLE users"])
def test_an_idempotency_key_is_printable_ascii(key: str):
    assert decode_event(encoded(body("job.approved", id=key))).id == key


@pytest.mark.parametrize("key", ["", "a" * 256, "é", "a\n", "\ta", "a\x7f", "a\0", "a\u2028", 7])
def test_any_other_idempotency_key_is_refused(key: object):
    assert "id" in refusal(encoded(body("job.approved", id=key)))


@pytest.mark.parametrize("name", ["a", "invoice_paid2", "a" * 50])
def test_a_notification_type_is_a_short_lower_case_word(name: str):
    decode_event(encoded(body("notification.requested", notificationType=name)))


@pytest.mark.parametrize("name", ["", "A", "a-b", "_a", "1a", "a\n", "a" * 51, "ä"])
def test_any_other_notification_type_is_refused(name: str):
    assert "notificationType" in refusal(encoded(body("notification.requested", notificationType=name)))


def test_priorities_and_roles_come_from_the_lists():
    for priority in ("CRITICAL", "HIGH", "MEDIUM", "LOW"):
        decode_event(encoded(body("notification.requested", priority=priority)))
    for role in ("user", "manager", "admin", "service"):
        decode_event(encoded(body("user.upserted", role=role)))
    assert "priority" in refusal(encoded(body("notification.requested", priority="high")))
    assert "role" in refusal(encoded(body("user.upserted", role="root")))


def test_watchers_are_at_most_a_thousand_ids():
    event = decode_event(encoded(body("job.created", watcherIds=list(range(1, 1001)))))
    assert isinstance(event, JobCreated)
    assert len(event.watcher_ids) == 1000
    assert "watcherIds" in refusal(encoded(body("job.created", watcherIds=list(range(1, 1002)))))
    assert "watcherIds[1]" in refusal(encoded(body("job.created", watcherIds=[1, 0])))


def test_data_may_be_sixteen_levels_deep_and_no_more():
    decode_event(encoded(body("notification.requested", data=nested(16))))
    decode_event(encoded(body("notification.requested", data=nested(16, "ß"))))
    for levels in (17, 500, 900):
        for leaf in (1, "ß", "\0"):
            message = refusal(encoded(body("notification.requested", data=nested(levels, leaf))))
            assert "data" in message
            assert "nested more than 16 levels" in message


def test_data_is_bounded_by_its_encoded_size():
    frame = len('{"a":""}')
    decode_event(encoded(body("notification.requested", data={"a": "x" * (8192 - frame)})))
    assert "data is 8193 bytes" in refusal(encoded(body("notification.requested", data={"a": "x" * (8193 - frame)})))
    assert "data is" in refusal(encoded(body("notification.requested", data={"a": "😀" * 2048})))


@pytest.mark.parametrize("number", [MAX_ID, -MAX_ID, 0, 1.5, 1e300, True, None])
def test_data_holds_numbers_that_javascript_holds(number: object):
    event = decode_event(encoded(body("notification.requested", data={"a": [number]})))
    assert isinstance(event, NotificationRequested)
    assert event.data == {"a": [number]}


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, 2**64, 10**100])
def test_data_holds_no_integer_that_javascript_would_round(number: int):
    assert "data.a[1]" in refusal(encoded(body("notification.requested", data={"a": [1, number]})))


@pytest.mark.parametrize("data", [[], "x", 1, True])
def test_data_is_an_object(data: object):
    assert "data" in refusal(encoded(body("notification.requested", data=data)))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_whatever_raise_anything_but_a_refusal(raw: bytes):
    with pytest.raises(Refused):
        decode_event(raw)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=5)
    | st.just("2026-01-27T10:30:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(MINIMAL)), st.data())
@settings(max_examples=400, deadline=None)
def test_whatever_stands_in_a_field_the_event_is_understood_or_refused(kind: str, data: st.DataObject):
    whole = body(kind, **COMMON, **OPTIONAL.get(kind, {}))
    field = data.draw(st.sampled_from(sorted(whole)))
    whole[field] = data.draw(_json)
    raw = bytearray(encoded(whole))
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        event = decode_event(bytes(raw))
    except Refused:
        return
    assert decode_event(msgspec.json.encode(event)) == event


def test_the_fingerprint_does_not_depend_on_spacing_or_the_order_of_keys():
    whole = body("notification.requested", **COMMON, message="m", data={"b": {"y": 1, "x": 2}, "a": [1]})
    backwards = {key: whole[key] for key in reversed(whole)} | {"data": {"a": [1], "b": {"x": 2, "y": 1}}}
    first = events.fingerprint(decode_event(encoded(whole)))
    assert first == events.fingerprint(decode_event(json.dumps(backwards, indent=3).encode()))
    assert len(first) == 64


def test_the_fingerprint_takes_an_absent_field_and_a_null_for_the_same():
    event = decode_event(encoded(body("job.created", assigneeId=None)))
    assert events.fingerprint(event) == events.fingerprint(decode_event(encoded(body("job.created"))))


def test_the_fingerprint_takes_one_moment_in_two_zones_for_the_same():
    def mark(deadline: str) -> str:
        return events.fingerprint(decode_event(encoded(body("job.created", deadline=deadline))))

    assert mark("2026-01-27T10:30:00Z") == mark("2026-01-27T10:30:00+00:00")


def test_fingerprints_of_different_events_differ():
    bodies = [body(kind) for kind in MINIMAL]
    bodies += [body("job.approved", jobId=6), body("job.approved", tenantId=2), body("job.approved", actorId=1)]
    bodies += [body("job.created", watcherIds=[1, 2]), body("job.created", watcherIds=[2, 1])]
    marks = {events.fingerprint(decode_event(encoded(one))) for one in bodies}
    assert len(marks) == len(bodies)


def test_the_fingerprint_tells_who_wants_the_job_as_the_answer():
    event = decode_event(encoded(body("job.approved")))
    assert events.fingerprint(event, with_job=True) != events.fingerprint(event)


def test_a_batch_is_an_array_of_up_to_a_thousand_items_that_are_decoded_one_by_one():
    items = decode_batch(encoded([body("job.approved"), {"type": "nonsense"}] * 500))
    assert len(items) == 1000
    assert events.TYPES[type(decode_event(items[0]))] == "job.approved"
    with pytest.raises(Refused):
        decode_event(items[1])


@pytest.mark.parametrize("raw", [b"{}", b"", b"[1,", b"[" * 100_000, b"\xff", b"null", encoded([1] * 1001)])
def test_what_is_no_batch_is_refused(raw: bytes):
    with pytest.raises(Refused) as caught:
        decode_batch(raw)
    assert caught.value.code is Code.INVALID
    assert len(caught.value.message) < 500


def test_a3_a_batch_is_not_taken_apart_that_cannot_be_one_of_a_thousand_events():
    decode_batch(encoded([body("comment.added", text="," * 60) for _ in range(1000)]))
    with pytest.raises(Refused, match=f"at most {events.MAX_BATCH_COMMAS} commas"):
        decode_batch(b"[" + b"1," * 1_000_000 + b"1]")


def test_a3_an_event_longer_than_any_real_one_is_not_read():
    longest = body("notification.requested", message="ß" * 4000, data={"a": "x" * 8000})
    assert len(encoded(longest)) < events.MAX_EVENT_BYTES
    decode_event(encoded(longest))
    assert refusal(encoded(longest) + b" " * events.MAX_EVENT_BYTES).startswith("an event has at most 65536 bytes")


@pytest.mark.parametrize("literal", [b"1e300", b"4.9e-324", b"1.5", b"-0.0", b"0.30000000000000004"])
def test_a3_numbers_in_data_are_read_exactly(literal: bytes):
    raw = encoded(body("notification.requested", data={"a": 0})).replace(b'"a":0', b'"a":' + literal)
    event = decode_event(raw.replace(b'"a": 0', b'"a":' + literal))
    assert isinstance(event, NotificationRequested)
    assert repr((event.data or {})["a"]) == repr(float(literal))


def test_a3_a_number_beyond_all_doubles_is_refused():
    raw = encoded(body("notification.requested", data={"a": 987654}))
    assert "out of range" in refusal(raw.replace(b"987654", b"1e400"))


def test_a_batch_with_a_broken_item_in_good_json_is_still_a_batch():
    items = decode_batch(b'[{"type": "job.approved", "tenantId": 1, "jobId": 5}, 7, "\xff", {"a": "\xff"}]')
    decode_event(items[0])
    for item in items[1:]:
        with pytest.raises(Refused):
            decode_event(item)


def test_an_item_of_a_batch_is_checked_as_closely_as_a_post():
    (item,) = decode_batch(encoded([body("comment.added", text="a\0")]))
    with pytest.raises(Refused, match="text holds a NUL"):
        decode_event(item)


def test_times_in_other_zones_say_the_same_moment():
    zone = timezone(timedelta(hours=-8))
    event = decode_event(encoded(body("job.created", occurredAt=datetime(2026, 1, 1, tzinfo=zone).isoformat())))
    assert event.occurred_at == datetime(2026, 1, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["job.create", "", "JOB.CREATED", 5])
def test_a_type_that_is_none_is_answered_with_those_that_are(kind: object) -> None:
    with pytest.raises(Refused) as caught:
        decode_event(json.dumps({"type": kind, "tenantId": 1}).encode())
    for tag in TYPES.values():
        assert tag in caught.value.message
