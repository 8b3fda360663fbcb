"""Random workflow events by random people over two tenants: states, recipients and counts are the model's."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.edge.rooms import Answer, Rooms, rooms
from tests.edge.sockets import Client, settle
from tests.engines import Fresh
from tests.workflow.model import APPROVER, HOME, MANAGER, ROLE, STRANGERS, Model, comment, deadline

MOVES = [
    *("create", "assign", "submit", "approve", "reject", "complete", "comments", "mention", "watch", "unwatch"),
    *("deadline", "cancel", "title", "deactivate", "activate"),
]
OFFICE = ("deactivate", "activate")
"""What is done to people, and not to a job."""
STEP = st.tuples(
    st.sampled_from(sorted(HOME)),
    st.sampled_from(MOVES),
    st.integers(1, 3),
    st.none() | st.sampled_from(sorted([*HOME, *STRANGERS])),
    st.booleans(),
)
Step = tuple[int, str, int, int | None, bool]
"""Who does what to which job, whom it names, and whether a trusted service says so."""

OUTSIDER = 1000
"""Takes no part, and looks on as an admin."""

TYPES = {
    "create": "job.created",
    "assign": "job.assigned",
    "submit": "job.submitted",
    "approve": "job.approved",
    "reject": "job.rejected",
    "complete": "job.completed",
    "comments": "comment.added",
    "mention": "comment.added",
    "cancel": "job.cancelled",
    "title": "job.retitled",
    "deactivate": "user.deactivated",
    "activate": "user.activated",
    "watch": "job.watched",
    "unwatch": "job.unwatched",
    "deadline": "job.deadline_changed",
}


def body_of(move: str, who: int, other: int | None) -> dict[str, Any]:
    match move:
        case "create":
            named = {} if other is None else {"assigneeId": other, "approverId": APPROVER[who]}
            return {"title": "x", "managerId": MANAGER[who], **named}
        case "assign":
            return {"assigneeId": other}
        case "submit":
            return {} if other is None else {"approverId": other}
        case "comments":
            return {"text": comment(other)}
        case "mention":
            return {"text": "look", **({} if other is None else {"mentions": [other]})}
        case "cancel":
            return {} if other is None else {"reason": "no longer"}
        case "title":
            return {"title": f"title {other}"}
        case "watch" | "unwatch":
            return {} if other is None else {"userId": other}
        case "deadline":
            return {"deadline": deadline(other)}
        case _:
            return {}


async def ask(house: Rooms, who: int, move: str, job_id: int, other: int | None, *, trusted: bool) -> Answer:
    body = body_of(move, who, other)
    if trusted:
        event = {"type": TYPES[move], "tenantId": HOME[who], "actorId": who, **body}
        if move not in OFFICE:
            event |= {"requesterId": who} if move == "create" else {"jobId": job_id}
        if move in ("watch", "unwatch", *OFFICE):
            event["userId"] = other or who
        return await house.publish(event)
    path = "/api/jobs" if move == "create" else f"/api/jobs/{job_id}/{'comments' if move == 'mention' else move}"
    if move in OFFICE:
        path = f"/api/users/{other or who}/{move}"
    return await house.request("POST", path, token=house.token(HOME[who], who, role=ROLE[who]), body=body)


async def play(house: Rooms, model: Model, steps: list[Step]) -> Counter[str]:
    """Make the steps; what came of them, by name and status."""
    for user, tenant in HOME.items():
        person = {"userId": user, "name": f"Person {user}", "role": ROLE[user]}
        assert (await house.publish({"type": "user.upserted", "tenantId": tenant, **person})).status == 201
        model.known.add((tenant, user))
    sockets = {user: Client(house) for user in HOME}
    for user, client in sockets.items():
        await client.connect(token=house.token(HOME[user], user, role=ROLE[user]))
    seen: Counter[str] = Counter()
    states: dict[int, list[tuple[int, str]]] = {1: [], 2: []}
    for who, move, job_id, other, trusted in steps:
        if move == "assign" and other is None:
            other = who
        expected = model.do(who, move, job_id, other, trusted=trusted)
        answer = await ask(house, who, move, job_id, other, trusted=trusted)
        assert answer.status == expected, (who, move, job_id, other, answer.body)
        seen[f"{move} {expected}"] += 1
        if expected < 300 and move not in OFFICE:
            tenant = HOME[who]
            id_ = model.last[tenant] if move == "create" else job_id
            states[tenant].append((id_, model.jobs[tenant, id_].status))
            if not trusted:
                assert (answer.json["id"], answer.json["status"]) == states[tenant][-1]
    await settle()
    await agree(house, model)
    for user in STRANGERS:
        seen[f"stranger {'known' if any(user == known for _, known in model.known) else 'unknown'}"] += 1
    for user, client in sockets.items():
        events = [packet for packet in client.take() if packet[0] == "event"]
        new = [(body["type"], body["data"]["jobId"]) for _, name, body, *_ in events if name == "notification:new"]
        updates = [body["job"] for _, name, body, *_ in events if name == "job:updated"]
        told = [(job["id"], job["status"]) for job in updates]
        thread = [body["comment"] for _, name, body, *_ in events if name == "comment:added"]
        said = [(one["jobId"], one["authorId"], one["text"], [n["id"] for n in one["mentions"]]) for one in thread]
        if (HOME[user], user) in model.ever_left:
            # Nothing comes any more from the moment at which the sockets end.
            assert client.gone
            assert new == model.inbox[HOME[user], user][: len(new)]
            assert told == states[HOME[user]][: len(told)]
            assert said == model.said[HOME[user]][: len(said)]
            continue
        assert new == model.inbox[HOME[user], user]
        assert told == states[HOME[user]]
        assert said == model.said[HOME[user]]
        counts = [body["count"] for _, name, body, *_ in events if name == "notification:unread-count"]
        assert (counts or [0])[-1] == len(model.inbox[HOME[user], user])
    return seen


async def agree(house: Rooms, model: Model) -> None:
    """The store and HTTP say what the model says."""
    for tenant, user in sorted(model.known):
        expected = model.inbox[tenant, user]
        inbox = await house.store.page(tenant, user, limit=100)
        assert [(item.type, msgspec.json.decode(item.data)["jobId"]) for item in inbox.items][::-1] == expected
        stored = await house.store.snapshot(tenant, user)
        assert inbox.unread == stored.unread == len(expected)
        assert stored.account.active is ((tenant, user) not in model.left)
        # An admin of whom no service has told, so that the token's role is the one that counts.
        admin = house.token(tenant, OUTSIDER, role="admin")
        kept = (await house.request("GET", f"/api/admin/suppressions?userId={user}&limit=100", token=admin)).json
        why = [type_ for who, type_ in model.sup if who == (tenant, user)]
        assert [item["type"] for item in kept["items"]][::-1] == why
        listed = (await house.request("GET", "/api/jobs?limit=100", token=admin)).json["items"]
        mine = {id_: job for (home, id_), job in model.jobs.items() if home == tenant}
        assert [job["id"] for job in listed] == sorted(mine, reverse=True)
        for job in listed:
            stored_job = mine[job["id"]]
            assert (job["status"], set(job["watcherIds"])) == (stored_job.status, stored_job.watchers)
            assert (job["deadline"], job["title"]) == (stored_job.deadline, stored_job.title)
            thread = (await house.request("GET", f"/api/jobs/{job['id']}/comments?limit=100", token=admin)).json[
                "items"
            ]
            said = [(item["authorId"], item["text"], [one["id"] for one in item["mentions"]]) for item in thread]
            assert said[::-1] == stored_job.thread
            parts = (stored_job.requester, stored_job.assignee, stored_job.approver, stored_job.manager)
            assert (job["requesterId"], job["assigneeId"], job["approverId"], job["managerId"]) == parts
        if (tenant, user) in model.left:
            assert (await house.request("GET", "/api/notifications", token=house.token(tenant, user))).status == 401
            continue
        queue = await house.request("GET", "/api/jobs?assignee=me&limit=100", token=house.token(tenant, user))
        assert [job["id"] for job in queue.json["items"]] == sorted(
            (id_ for id_, job in mine.items() if job.assignee == user), reverse=True
        )


def run(steps: list[Step], fresh: Fresh) -> Counter[str]:
    async def main() -> Counter[str]:
        with tempfile.TemporaryDirectory() as folder:
            async with rooms(Path(folder), fresh()) as house:
                return await play(house, Model(), steps)

    seen: Counter[str] = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return seen


@pytest.mark.sqlite_only("a new server for each of a hundred lives; one long life is lived on both engines below")
@given(st.lists(STEP, max_size=40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_states_recipients_and_counts_are_the_models_in_the_store_over_http_and_at_the_sockets(
    fresh: Fresh, steps: list[Step]
):
    create = [(1, "create", 1, 2, False), (5, "create", 1, 6, True), (3, "create", 2, None, False)]
    run(create + steps, fresh)


def test_the_model_reaches_every_outcome_that_it_knows(fresh: Fresh):
    life: list[tuple[int, str, int, int | None]] = [
        *[(1, "create", 1, 2), (1, "create", 1, None), (5, "create", 1, 1)],
        *[(2, "watch", 1, None), (2, "watch", 1, 3), (4, "watch", 1, 3), (1, "comments", 1, None)],
        *[(3, "submit", 1, None), (2, "submit", 1, None), (1, "submit", 2, None), (1, "assign", 2, 3)],
        *[(3, "submit", 2, None), (4, "reject", 1, None), (1, "assign", 1, 3), (3, "submit", 1, None)],
        *[(4, "approve", 1, None), (1, "complete", 1, None), (1, "complete", 1, None), (1, "assign", 2, 5)],
        *[(7, "complete", 1, None), (4, "unwatch", 1, 3), (4, "unwatch", 1, 7)],
        *[(1, "deadline", 1, 3), (3, "deadline", 2, None), (2, "deadline", 2, 5)],
        *[(1, "create", 1, 4), (1, "create", 1, 8), (4, "watch", 2, 8), (1, "assign", 2, 5)],
        *[(2, "comments", 2, 3), (2, "comments", 2, 2), (3, "mention", 2, 1), (3, "mention", 2, 8)],
        *[(2, "title", 2, 1), (2, "cancel", 2, None)],
        *[(1, "title", 2, 1), (1, "deactivate", 1, 2), (4, "deactivate", 1, 4), (4, "deactivate", 1, 8)],
        *[(4, "deactivate", 1, 2), (2, "comments", 2, None), (3, "comments", 2, 2), (3, "mention", 2, 2)],
        *[(1, "assign", 2, 2), (1, "cancel", 2, 3), (1, "cancel", 2, None), (3, "cancel", 2, 1), (4, "activate", 1, 2)],
        *[(2, "watch", 2, None), (1, "complete", 2, None)],
    ]
    seen = run([(*step, False) for step in life] + [(1, "watch", 2, 9, True), (5, "create", 1, 9, True)], fresh)
    statuses = {name.split()[1] for name in seen}
    assert statuses == {"200", "201", "400", "401", "403", "404", "409", "known", "unknown"}
    assert {name.split()[0] for name in seen if name[-3] == "2"} == set(MOVES)
    assert {"mention 404", "mention 409", "title 403", "cancel 403", "cancel 409", "deactivate 403"} <= set(seen)
    assert {"create 403", "create 404", "watch 404", "assign 404", "complete 409"} <= set(seen)
