"""What is made in Python is checked as what comes in as JSON: the same refusals, in the same words."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf, nan
from typing import Any

import msgspec
import pytest

from djactors.domain import events, lengths
from djactors.domain.commands import (
    Command,
    Delete,
    ExpireSlice,
    Introduce,
    MarkAllRead,
    MarkRead,
    Publish,
    RaiseAlerts,
    checked,
)
from djactors.domain.errors import Code, Refused
from djactors.domain.events import DomainEvent, NotificationRequested, check_event, decode_event
from djactors.domain.ids import MAX_ID
from djactors.domain.permissions import Person
from tests.domain.bodies import MINIMAL, OPTIONAL, body, encoded

NOTE = NotificationRequested(tenant_id=1, user_id=2, notification_type="note", priority="LOW", title="Hello")


def changed(event: DomainEvent, **fields: Any) -> Any:
    return msgspec.structs.replace(event, **fields)


def refusal(call: Any, *args: Any) -> str:
    with pytest.raises(Refused) as caught:
        call(*args)
    assert caught.value.code is Code.INVALID
    return caught.value.message


@pytest.mark.parametrize("kind", MINIMAL)
def test_every_good_event_passes_unchanged(kind: str):
    for fields in ({}, {"actorId": 9, "id": "k", "occurredAt": "2026-01-27T10:30:00Z", **OPTIONAL.get(kind, {})}):
        event = decode_event(encoded(body(kind, **fields)))
        assert check_event(event) == event
        assert checked(Publish(event, "k")) == Publish(event, "k", decoded=True)


BAD: list[tuple[str, Any, str]] = [
    ("priority", "SUPER", "priority"),
    ("priority", None, "priority"),
    ("title", "x" * (lengths.TITLE + 1), "title"),
    ("title", "", "title"),
    ("title", None, "title"),
    ("title", "a\0b", "title"),
    ("message", "\0", "message"),
    ("message", "x" * 4001, "message"),
    ("user_id", "x", "userId"),
    ("user_id", 2.0, "userId"),
    ("user_id", True, "userId"),
    ("user_id", 0, "userId"),
    ("user_id", -1, "userId"),
    ("user_id", MAX_ID + 1, "userId"),
    ("user_id", 2**70, "userId"),
    ("tenant_id", None, "tenantId"),
    ("actor_id", 2**70, "actorId"),
    ("id", "", "id"),
    ("id", "x" * (lengths.KEY + 1), "id"),
    ("id", "caf\u00e9", "id"),
    ("notification_type", "x" * (lengths.TYPE + 1), "notificationType"),
    ("notification_type", "Not-a-type", "notificationType"),
    ("data", [1], "data"),
    ("data", {"a": {"b": "\0"}}, "data.a.b"),
    ("data", {"a\0": 1}, "data"),
    ("data", {"a": 2**53}, "data.a"),
    ("data", {"a": "x" * 9000}, "data"),
]


@pytest.mark.parametrize(("field", "value", "named"), BAD)
def test_a_bad_value_gets_the_words_that_its_json_gets(field: str, value: Any, named: str):
    bad = changed(NOTE, **{field: value})
    said = refusal(check_event, bad)
    assert named in said
    try:
        raw = msgspec.json.encode(bad)
    except (OverflowError, ValueError):
        raw = json.dumps({**msgspec.to_builtins(NOTE), "actorId" if field == "actor_id" else "userId": value}).encode()
    assert refusal(decode_event, raw) == said
    assert refusal(checked, Publish(bad)) == said


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"title": "\ud800"}, "title holds half of a surrogate pair"),
        ({"message": "\udfff"}, "message holds half of a surrogate pair"),
        ({"data": {"a": "\ud800"}}, "data holds half of a surrogate pair"),
        ({"data": {"a": {1, 2}, "b": object()}}, "data is no JSON"),
        ({"occurred_at": datetime(2026, 1, 27)}, "occurredAt"),
        ({"occurred_at": "2026-01-27"}, "occurredAt"),
    ],
)
def test_what_json_cannot_even_say_is_refused_by_its_name(fields: dict[str, Any], named: str):
    assert named in refusal(check_event, changed(NOTE, **fields))


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


BOTH_DOORS: list[tuple[Any, str, str]] = [
    ({"a": nan}, '{"a": NaN}', "data.a is nan"),
    ({"a": inf}, '{"a": 1e400}', "data.a is inf"),
    ({"a": -inf}, '{"a": -1e400}', "data.a is -inf"),
    ({"a": [1, {"b": (0.5, nan)}]}, '{"a": [1, {"b": [0.5, NaN]}]}', "data.a[1].b[1] is nan"),
    ({"a": {7: nan}}, '{"a": {"7": NaN}}', "data.a.7 is nan"),
    ({"a": {nan}}, '{"a": [NaN]}', "data.a[0] is nan"),
    ({"a": 2**53}, '{"a": 9007199254740992}', "data.a is an integer beyond 2^53 - 1"),
    ({"a": [-(2**53)]}, '{"a": [-9007199254740992]}', "data.a[0] is an integer beyond 2^53 - 1"),
    ({"a": 2**64}, '{"a": 18446744073709551616}', "data.a is an integer beyond 2^53 - 1"),
    ({"a": 10**5000}, f'{{"a": 1{"0" * 5000}}}', ""),
    ({"a": "\ud800"}, '{"a": "\\ud800"}', "half of a surrogate pair"),
    ({"\udfff": 1}, '{"\\udfff": 1}', "half of a surrogate pair"),
    ({"a": "\0"}, '{"a": "\\u0000"}', "data.a holds a NUL"),
    ({"\0": 1}, '{"\\u0000": 1}', "a key of data holds a NUL"),
    ({None: 1}, "{null: 1}", "at `key` in `$.data`"),
    ({"a": {None: 1}}, '{"a": {null: 1}}', "data is no JSON"),
    ({7: 1}, "{7: 1}", "at `key` in `$.data`"),
    ({"a": {True: 1}}, '{"a": {true: 1}}', "data is no JSON"),
    ({"a": {(1, 2): 1}}, '{"a": {[1, 2]: 1}}', "data is no JSON"),
    ({"a": 1j}, '{"a": 1j}', "data is no JSON"),
    (nested(17), json.dumps(nested(17)), "data is nested more than 16 levels deep"),
    ({"a": "x" * 8192}, json.dumps({"a": "x" * 8192}), "data is 8200 bytes as JSON"),
    ({"a": ["\x01"] * 1100}, json.dumps({"a": ["\x01"] * 1100}), "data is 9907 bytes as JSON"),
    (["a"], '["a"]', "data"),
    ("a", '"a"', "data"),
]


def test_data_that_is_json_already_is_taken() -> None:
    event = check_event(changed(NOTE, data={"rows": msgspec.Raw(b'{"q":1}')}))
    assert isinstance(event, NotificationRequested)
    assert event.data == {"rows": {"q": 1}}


@pytest.mark.parametrize(("data", "text", "named"), BOTH_DOORS)
def test_data_that_is_refused_as_json_is_refused_from_python(data: Any, text: str, named: str) -> None:
    event = changed(NOTE, data=data)
    assert named in refusal(check_event, event)
    assert refusal(checked, Publish(event)) == refusal(check_event, event)
    refusal(decode_event, msgspec.json.encode(NOTE).replace(b'"data":null', b'"data":' + text.encode()))


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"a": nested(15)}, {"a": nested(15)}),
        ({"a": None, "b": 0.5, "c": -0.0, "d": 1e308}, {"a": None, "b": 0.5, "c": -0.0, "d": 1e308}),
        ({"a": 2**53 - 1, "b": "x" * 8000}, {"a": 2**53 - 1, "b": "x" * 8000}),
        ({"a": "nan", "nan": 1}, {"a": "nan", "nan": 1}),
        ({"a": Decimal("1.50"), "b": b"x", "c": date(2026, 1, 27)}, {"a": "1.50", "b": "eA==", "c": "2026-01-27"}),
        ({"a": {1: 2, 1.5: 3}}, {"a": {"1": 2, "1.5": 3}}),
    ],
)
def test_data_that_json_can_say_is_taken(data: Any, kept: Any) -> None:
    event = check_event(changed(NOTE, data=data))
    assert isinstance(event, NotificationRequested)
    assert event.data == kept
    assert decode_event(msgspec.json.encode(event)) == event


def test_two_keys_that_json_cannot_tell_apart_are_refused() -> None:
    said = refusal(check_event, changed(NOTE, data={"a": [{3: 1, "3": 2}]}))
    assert said == "data.a[0] has two keys that are the same as text: leave one of them out"


def test_nested_data_is_refused_before_it_is_walked_to_its_end():
    data: Any = 1
    for _ in range(5000):
        data = {"a": data}
    assert "levels deep" in refusal(check_event, changed(NOTE, data=data))
    tuples: Any = 1
    for _ in range(100_000):
        tuples = (tuples,)
    assert "levels deep" in refusal(check_event, changed(NOTE, data={"a": tuples}))


def test_what_is_told_of_the_data_is_what_json_makes_of_it():
    event = check_event(changed(NOTE, data={"when": datetime(2026, 1, 27, tzinfo=UTC), "who": (1, 2), "n": {3: None}}))
    assert isinstance(event, NotificationRequested)
    assert event.data == {"when": "2026-01-27T00:00:00Z", "who": [1, 2], "n": {"3": None}}


@pytest.mark.parametrize("event", [None, {}, "x", MarkAllRead(1, 2), events.Common(tenant_id=1)])
def test_what_is_no_event_is_refused(event: Any):
    refusal(checked, Publish(event))


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (Publish(NOTE, ""), "key"),
        (Publish(NOTE, "x" * (lengths.KEY + 1)), "key"),
        (Publish(NOTE, "a\nb"), "key"),
        (Publish(NOTE, 7), "key"),  # type: ignore[arg-type]
        (Publish(NOTE, person=Person(0, "user")), "user_id"),
        (Publish(NOTE, person=Person(1, "boss")), "role"),  # type: ignore[arg-type]
        (Publish(NOTE, person=Person(1, "user", "x" * (lengths.NAME + 1))), "name"),
        (Publish(NOTE, person=Person(1, "user", "a\0")), "name"),
        (Introduce(1, Person(1, "user", "\ud800")), "name"),
        (Introduce(2**70, Person(1, "user")), "tenant_id"),
        (MarkRead(1, 2, 2**63), "notification_id"),
        (MarkRead(1, "2", 3), "user_id"),  # type: ignore[arg-type]
        (MarkAllRead(0, 2), "tenant_id"),
        (Delete(1, 2, None), "notification_id"),  # type: ignore[arg-type]
    ],
)
def test_every_command_of_somebody_is_checked(command: Command, named: str):
    assert named in refusal(checked, command)


@pytest.mark.parametrize(
    "command", [MarkRead(1, 2, 3), MarkAllRead(1, MAX_ID), Delete(1, 2, 3), RaiseAlerts(5), ExpireSlice(7)]
)
def test_good_commands_pass_as_they_are(command: Command):
    assert checked(command) is command
