"""Somebody who left is deactivated: signs in no more, gets no new work, and keeps what was theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.edge.rooms import Answer, Rooms, rooms
from tests.edge.sockets import Client, settle

ADMIN, LEAVER, OTHER = 1, 7, 8


async def move(house: Rooms, deed: str, user_id: Any = LEAVER, *, token: str | None = None, body: Any = None) -> Answer:
    token = house.token(1, ADMIN, role="admin") if token is None else token
    return await house.request("POST", f"/api/users/{user_id}/{deed}", token=token, body=body)


async def status(house: Rooms, user_id: int = LEAVER) -> int:
    return (await house.request("GET", "/api/notifications", token=house.token(1, user_id))).status


async def test_who_is_deactivated_loses_sockets_and_tokens_at_once_and_has_them_again_when_activated(
    house: Rooms, client: Client
) -> None:
    neighbour = Client(house)
    await neighbour.connect(token=house.token(1, OTHER))
    answer = await move(house, "deactivate")
    assert (answer.status, answer.json) == (200, {"userId": LEAVER, "active": False})
    await settle()
    assert client.gone
    assert not neighbour.gone
    again = Client(house)
    assert await again.connect(token=house.token(1, LEAVER)) == [
        ("connect_error", {"message": "Unauthorized", "data": {"code": "user_deactivated"}})
    ]
    refused = await house.request("GET", "/api/notifications", token=house.token(1, LEAVER))
    assert (refused.status, refused.error) == (401, "unauthorized")
    assert refused.json["error"]["message"] == "the user is deactivated: ask an admin"
    assert await status(house, OTHER) == 200

    assert (await move(house, "deactivate")).status == 200, "once more"
    answer = await move(house, "activate")
    assert (answer.status, answer.json) == (200, {"userId": LEAVER, "active": True})
    inbox = await house.inbox(1, LEAVER)
    assert [item["id"] for item in inbox["items"]] == [2, 1], "the inbox was kept"
    assert (await again.connect(token=house.token(1, LEAVER)))[0][0] == "connect"


async def test_a_deactivation_holds_over_a_restart_and_over_a_new_name(tmp_path: Path, autojump_clock: object) -> None:
    async with rooms(tmp_path) as house:
        await house.introduce(1, LEAVER)
        assert (await move(house, "deactivate")).status == 200
        await house.introduce(1, LEAVER, role="manager")
        assert await status(house) == 401
    async with rooms(tmp_path) as house:
        assert await status(house) == 401
        client = Client(house)
        assert (await client.connect(token=house.token(1, LEAVER)))[0][0] == "connect_error"


async def test_who_may_deactivate_whom(house: Rooms) -> None:
    await house.introduce(1, LEAVER)
    await house.introduce(2, 9)
    for role in ("user", "manager"):
        assert (await move(house, "deactivate", token=house.token(1, OTHER, role=role))).error == "forbidden"
    missing = await move(house, "deactivate", 5555)
    assert missing.status == 404
    assert (await move(house, "deactivate", 9)).body == missing.body, "of another tenant, as one that is missing"
    own = await move(house, "deactivate", ADMIN)
    assert (own.status, own.error) == (403, "forbidden")
    assert (await move(house, "deactivate", body={"tenantId": 2})).error == "forbidden"
    assert (await move(house, "deactivate", token=house.service())).error == "invalid"
    assert (await move(house, "deactivate", 9, token=house.service(), body={"tenantId": 2})).status == 200
    assert (await move(house, "deactivate", 4444, token=house.service(1))).status == 200, "a backend knows its users"
    demoted = house.token(1, 3, role="admin")
    await house.introduce(1, 3, role="user")
    assert (await move(house, "deactivate", token=demoted)).status == 403
    assert await status(house) == 200


NAMED: list[tuple[str, dict[str, Any]]] = [
    ("job.created", {"title": "x", "requesterId": LEAVER}),
    ("job.created", {"title": "x", "requesterId": OTHER, "assigneeId": LEAVER}),
    ("job.created", {"title": "x", "requesterId": OTHER, "approverId": LEAVER}),
    ("job.created", {"title": "x", "requesterId": OTHER, "managerId": LEAVER}),
    ("job.created", {"title": "x", "requesterId": OTHER, "watcherIds": [OTHER, LEAVER]}),
    ("job.assigned", {"jobId": 1, "assigneeId": LEAVER}),
    ("job.submitted", {"jobId": 1, "approverId": LEAVER}),
    ("job.watched", {"jobId": 1, "userId": LEAVER}),
    ("comment.added", {"jobId": 1, "text": "x", "mentions": [LEAVER]}),
]


@pytest.mark.parametrize(("kind", "fields"), NAMED)
async def test_new_work_does_not_name_who_left_and_the_refusal_says_the_field(
    house: Rooms, kind: str, fields: dict[str, Any]
) -> None:
    await house.introduce(1, LEAVER, OTHER)
    job = {"type": "job.created", "tenantId": 1, "title": "x", "requesterId": OTHER, "assigneeId": OTHER}
    assert (await house.publish(job)).status == 201
    assert (await move(house, "deactivate")).status == 200
    answer = await house.publish({"type": kind, "tenantId": 1, **fields})
    assert (answer.status, answer.error) == (409, "conflict")
    [field] = [name for name, value in fields.items() if value == LEAVER or (type(value) is list and LEAVER in value)]
    mend = f"{field}: user {LEAVER} is deactivated: name somebody else, or activate them first"
    assert answer.json["error"]["message"] == mend
    assert (await move(house, "activate")).status == 200
    assert (await house.publish({"type": kind, "tenantId": 1, **fields})).status == 201


async def test_the_jobs_of_who_left_stay_theirs_and_they_are_not_notified(house: Rooms) -> None:
    await house.introduce(1, LEAVER, OTHER)
    job = {"type": "job.created", "tenantId": 1, "title": "x", "requesterId": OTHER, "assigneeId": LEAVER}
    assert (await house.publish({**job, "approverId": LEAVER, "watcherIds": [LEAVER]})).status == 201
    assert (await move(house, "deactivate")).status == 200
    token = house.token(1, OTHER)
    assert (await house.request("GET", "/api/jobs/1", token=token)).json["assigneeId"] == LEAVER
    left_out = [{"userId": LEAVER, "reason": "deactivated"}]
    for event in (
        {"type": "comment.added", "jobId": 1, "text": f"@Known {LEAVER}, are you there?", "actorId": OTHER},
        {"type": "job.submitted", "jobId": 1},
        {
            "type": "notification.requested",
            "userId": LEAVER,
            "notificationType": "news",
            "priority": "LOW",
            "title": "News",
        },
    ):
        answer = await house.publish({"tenantId": 1, **event})
        assert (answer.status, answer.json["notifications"], answer.json["suppressed"]) == (201, [], left_out)
    # What they did before they left may be told late, and they can be taken out.
    late = {"type": "comment.added", "tenantId": 1, "jobId": 1, "text": "bye", "actorId": LEAVER}
    assert (await house.publish(late)).status == 201
    unwatched = {"type": "job.unwatched", "tenantId": 1, "jobId": 1, "userId": LEAVER}
    assert (await house.publish(unwatched)).status == 201
    assert (await house.request("GET", "/api/jobs/1", token=token)).json["watcherIds"] == [OTHER]


async def test_a_request_that_was_under_way_is_refused_at_the_commit(house: Rooms) -> None:
    await house.introduce(1, LEAVER)
    token = house.token(1, LEAVER)
    assert (await house.request("POST", "/api/jobs", token=token, body={"title": "x"})).status == 201

    async def judged_before(request: Any) -> None:
        """As if the user had been deactivated only after this."""
        house.routes._api.proved(request)

    assert (await move(house, "deactivate")).status == 200
    house.routes._api.judge = judged_before  # type: ignore[method-assign]
    answer = await house.request("POST", "/api/jobs", token=token, body={"title": "y"})
    assert (answer.status, answer.error) == (401, "unauthorized")
