"""A post has an id: the client's, or one that is made up; the answer and the entry of a refusal have it."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from djactors.net import Request, Response
from djactors.telemetry.traces import REQUEST_HEADER, RESPONSE_HEADER
from tests.edge.rooms import Rooms, notification

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{PARENT}-01"
WHOLE = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]")


async def post(house: Rooms, path: str, body: Any, token: str, traceparent: str | None = None) -> Response:
    headers = {"authorization": f"Bearer {token}"}
    if traceparent is not None:
        headers[REQUEST_HEADER] = traceparent
    response = await house.routes.handle(Request("POST", path, {}, headers, msgspec.json.encode(body)))
    response.encode()
    return response


def answered(response: Response) -> tuple[str, str]:
    """The ids of the trace and of the span in the answer."""
    [(name, value)] = response.own_headers
    assert name == RESPONSE_HEADER
    match = WHOLE.fullmatch(value)
    assert match is not None, value
    assert set(match[1]) != {"0"}
    assert set(match[2]) != {"0"}
    return match[1], match[2]


async def test_the_answer_has_the_clients_trace_and_a_span_of_its_own(house: Rooms) -> None:
    response = await post(house, "/api/events", notification(), house.service(), GIVEN)
    assert response.status == 201
    trace, span = answered(response)
    assert trace == TRACE
    assert span != PARENT
    assert response.own_headers[0][1].endswith("-01")


async def test_what_has_no_id_gets_one_of_its_own(house: Rooms) -> None:
    first = answered(await post(house, "/api/events", notification(), house.service()))
    second = answered(await post(house, "/api/events", notification(), house.service()))
    assert first[0] != second[0]
    assert first[1] != second[1]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        GIVEN.upper(),
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"{GIVEN}-more",
        f"{GIVEN}, {GIVEN}",
        f"{GIVEN}\n",
        f"01{GIVEN[2:]}more",
        f"01{GIVEN[2:]}-{'x' * 10_000}",
        f"00-{TRACE[:-1]}٣-{PARENT}-01",
    ],
)
async def test_what_is_malformed_counts_as_missing(house: Rooms, given: str) -> None:
    response = await post(house, "/api/events", notification(), house.service(), given)
    assert response.status == 201
    assert answered(response)[0] != TRACE


async def test_one_of_a_version_to_come_is_taken_by_what_this_version_has(house: Rooms) -> None:
    response = await post(house, "/api/events", notification(), house.service(), f"cc{GIVEN[2:]}-what.comes")
    assert answered(response)[0] == TRACE


async def test_posts_of_people_and_posts_that_are_refused_have_it_as_well(house: Rooms) -> None:
    person = house.token(1, 7, role="manager")
    created = await post(house, "/api/jobs", {"title": "Banner"}, person, GIVEN)
    assert (created.status, answered(created)[0]) == (201, TRACE)
    refused = await post(house, "/api/events", {"type": "nothing"}, house.service(), GIVEN)
    assert (refused.status, answered(refused)[0]) == (400, TRACE)
    [entry] = [entry for entry in house.entries if entry["event"] == "request refused"]
    assert entry["trace_id"] == TRACE


async def test_what_is_refused_by_its_head_has_it(house: Rooms) -> None:
    request = Request("POST", "/api/events", {}, {REQUEST_HEADER: GIVEN}, content_length=10)
    refusal = house.routes.body_limit(request)
    assert isinstance(refusal, Response)
    assert (refusal.status, answered(refusal)[0]) == (401, TRACE)
    [entry] = house.entries
    assert entry["trace_id"] == TRACE


async def test_each_refused_event_of_a_batch_has_the_id_of_the_batch(house: Rooms) -> None:
    batch = [notification(), {"type": "nothing"}]
    response = await post(house, "/api/events/batch", batch, house.service(), GIVEN)
    assert (response.status, answered(response)[0]) == (200, TRACE)
    [entry] = [entry for entry in house.entries if entry["event"] == "event refused"]
    assert entry["trace_id"] == TRACE


async def test_what_only_reads_has_none(house: Rooms) -> None:
    headers = {"authorization": f"Bearer {house.token(1, 7)}", REQUEST_HEADER: GIVEN}
    response = await house.routes.handle(Request("GET", "/api/notifications", {}, headers))
    assert (response.status, response.own_headers) == (200, ())


def test_a_header_of_ones_own_cannot_bring_another_one() -> None:
    response = Response(200)
    response.own_headers = (("traceresponse", "a\r\nset-cookie: b"),)
    with pytest.raises(ValueError, match="printable ASCII"):
        response.encode()
