"""Row 18: an id of another person or tenant is answered like one that does not exist, on every route and event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from djactors.edge.commands import COMMANDS, TEST_COMMANDS
from djactors.edge.table import ROUTES
from tests.edge.rooms import Rooms, rooms
from tests.edge.sockets import Client

HERE, THERE = 1, 2
ME, COLLEAGUE, FOREIGNER = 7, 8, 20
MISSING = (12345, 2**53 - 1)
LATER = "2026-02-01T00:00:00Z"

BODIES: dict[str, dict[str, Any]] = {
    "/api/jobs/{id}/assign": {"assigneeId": COLLEAGUE},
    "/api/jobs/{id}/title": {"title": "Another one"},
    "/api/jobs/{id}/comments": {"text": "x"},
    "/api/jobs/{id}/deadline": {"deadline": None},
    "/api/notifications/{id}/snooze": {"until": LATER},
}
"""What is posted where the body may not be empty, so that nothing is wrong but the id."""

FIELDS: dict[str, dict[str, Any]] = {
    "notification:snooze": {"until": LATER},
    "test:assign-job": {"assigneeId": COLLEAGUE},
}
"""The same for the other fields of events."""


def routes() -> list[tuple[str, str]]:
    """Each method of each route with an id."""
    return [(route.method, route.path) for route in ROUTES if "{id}" in route.path]


def named_by(shape: type[msgspec.Struct]) -> str | None:
    """The field of a payload that names a notification or a job."""
    return next((field for field in shape.__struct_encode_fields__ if field in ("notificationId", "jobId")), None)


EVENTS = {
    name: field for name, event in (dict(COMMANDS) | dict(TEST_COMMANDS)).items() if (field := named_by(event.payload))
}


async def others(house: Rooms, what: str) -> tuple[int, ...]:
    """Ids that are somebody's, but not the asker's: of another tenant, and of a colleague where it is personal."""
    if what == "users":
        await house.introduce(THERE, FOREIGNER)
        return (FOREIGNER,)
    if what == "notifications":
        return await house.notify(HERE, COLLEAGUE), await house.notify(THERE, FOREIGNER)
    # Two, since jobs are numbered by tenant, and the first is the asker's own in this one.
    for title in ("first", "second"):
        answer = await house.request(
            "POST", "/api/jobs", token=house.token(THERE, FOREIGNER), body={"title": title, "assigneeId": FOREIGNER}
        )
        assert answer.status == 201
    return (answer.json["id"],)


async def here(house: Rooms) -> None:
    """The asker has a job and is known, and so is the colleague."""
    await house.introduce(HERE, COLLEAGUE)
    await house.introduce(HERE, ME, role="admin")
    answer = await house.request("POST", "/api/jobs", token=house.token(HERE, ME, role="admin"), body={"title": "Mine"})
    assert answer.status == 201


@pytest.mark.parametrize(("method", "path"), routes())
async def test_row_18_an_id_of_somebody_else_is_answered_like_a_missing_one_on_every_route(
    house: Rooms, method: str, path: str
) -> None:
    await here(house)
    found = await others(house, path.split("/")[2])
    before = [await house.offset(tenant) for tenant in (HERE, THERE)]
    token = house.token(HERE, ME, role="admin")
    body = BODIES.get(path, {}) if method == "POST" else None
    answers = [
        await house.request(method, path.format(id=number), token=token, body=body) for number in (*found, *MISSING)
    ]
    assert [answer.status for answer in answers] == [404] * len(answers), answers[0].body
    assert len({(answer.body, tuple(answer.headers.items())) for answer in answers}) == 1
    assert [await house.offset(tenant) for tenant in (HERE, THERE)] == before


@pytest.mark.parametrize("name", EVENTS)
async def test_row_18_an_id_of_somebody_else_is_answered_like_a_missing_one_by_every_event(
    tmp_path: Any, autojump_clock: object, name: str
) -> None:
    async with rooms(tmp_path, emit_burst=10_000, test_events=True) as house:
        await here(house)
        field = EVENTS[name]
        found = await others(house, "jobs" if field == "jobId" else "notifications")
        client = Client(house)
        await client.connect(token=house.token(HERE, ME))
        before = [await house.offset(tenant) for tenant in (HERE, THERE)]
        answers = [await client.ask(name, {field: number, **FIELDS.get(name, {})}) for number in (*found, *MISSING)]
        assert answers == [{"ok": False, "error": {"code": "not_found", "message": "not found"}}] * len(answers)
        assert [await house.offset(tenant) for tenant in (HERE, THERE)] == before


def test_row_18_every_event_and_route_with_an_id_is_known() -> None:
    assert len(EVENTS) >= 10
    assert len(routes()) >= 20
