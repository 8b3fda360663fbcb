"""Who hears of what: the seed's table of notification types, driven through the recorder."""

import json

import msgspec
import pytest

from djactors.domain.commands import Publish
from djactors.domain.events import DomainEvent, UserUpserted
from tests.inbox.desk import Desk, packets
from tests.workflow.people import (
    ACTOR,
    APPROVED,
    APPROVER,
    ASSIGNED,
    ASSIGNEE,
    COMMENTED,
    COMPLETED,
    CREATED,
    FAN,
    MANAGER,
    MOVED,
    NAMES,
    PARTS,
    REJECTED,
    REQUESTER,
    STRANGER,
    SUBMITTED,
    UNWATCHED,
    WATCHED,
    WATCHER,
    T,
    by,
    live,
)

JOB = "DJ-2026-0001"
EVENTS = {
    "job.assigned": ASSIGNED,
    "job.submitted": SUBMITTED,
    "job.approved": APPROVED,
    "job.rejected": REJECTED,
    "job.completed": COMPLETED,
    "comment.added": COMMENTED,
}

TABLE = """
| type              | priority | recipients                        | event         | state            | title                        | message       | data                 |
| job_assigned      | HIGH     | Assignee                          | job.assigned  | open             | {job} assigned to you        | Banner Design |                      |
| approval_needed   | CRITICAL | Approver                          | job.submitted | assigned         | {job} needs your approval    | Banner Design |                      |
| approval_approved | MEDIUM   | Requester                         | job.approved  | pending_approval | {job} approved               | Banner Design |                      |
| approval_rejected | HIGH     | Requester + Assignee              | job.rejected  | pending_approval | {job} rejected               | Too dark      | {"reason":"Too dark"} |
| comment_added     | MEDIUM   | Watcher + Fan                     | comment.added | open             | Actor commented on {job}     | Which font?   | {"commentId":1}      |
| job_completed     | LOW      | Requester                         | job.completed | approved         | {job} completed              | Banner Design |                      |
"""  # noqa: E501 - a table
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.strip().splitlines()[1:]]
IDS = [row[0] for row in ROWS]


def told(desk: Desk) -> list[tuple[int, str, str]]:
    return [
        (int(user_id or 0), str(body["type"]), str(body["priority"]))
        for user_id, name, body in packets(desk.announced)
        if name == "notification:new"
    ]


@pytest.mark.parametrize(
    ("type_", "priority", "recipients", "event", "state", "title", "message", "data"), ROWS, ids=IDS
)
def test_each_event_tells_whom_the_table_names(
    desk: Desk, type_: str, priority: str, recipients: str, event: str, state: str, title: str, message: str, data: str
):
    live(desk, state)
    answer = desk.publish(by(EVENTS[event], ACTOR))
    expected = [PARTS[name] for name in recipients.split(" + ")]
    assert told(desk) == [(user_id, type_, priority) for user_id in expected]
    assert [entry["userId"] for entry in answer["notifications"]] == expected
    assert answer["suppressed"] == []
    for _, name, body in packets(desk.announced):
        if name == "notification:new":
            assert body["title"] == title.replace("{job}", JOB)
            assert body["message"] == message
            assert body["data"] == {"jobId": 1, "djId": JOB, **json.loads(data or "{}")}
    stored = desk.rows(
        "SELECT DISTINCT job_id, title FROM notifications WHERE type = ? AND event_id = ?", type_, answer["eventId"]
    )
    assert stored == [(1, title.replace("{job}", JOB))]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
@pytest.mark.parametrize("actor", PARTS)
def test_nobody_hears_of_what_they_did_and_why_is_recorded(desk: Desk, row: list[str], actor: str):
    type_, _, recipients, event, state, *_ = row
    live(desk, state)
    answer = desk.publish(by(EVENTS[event], PARTS[actor]))
    names = recipients.split(" + ")
    assert [user_id for user_id, _, _ in told(desk)] == [PARTS[name] for name in names if name != actor]
    expected = [(PARTS[actor], type_, "actor")] if actor in names else []
    assert desk.rows("SELECT user_id, type, reason FROM suppressions WHERE event_id = ?", answer["eventId"]) == expected
    assert answer["suppressed"] == [{"userId": user_id, "reason": reason} for user_id, _, reason in expected]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_person_with_all_parts_is_told_once(desk: Desk, row: list[str]):
    type_, priority, _, event, state, *_ = row
    one = {"requester_id": ASSIGNEE, "approver_id": ASSIGNEE, "manager_id": ASSIGNEE, "watcher_ids": (ASSIGNEE,)}
    live(desk, state, **one)
    desk.publish(by(EVENTS[event], ACTOR))
    assert told(desk) == [(ASSIGNEE, type_, priority)]
    assert desk.one("SELECT unread_count FROM users WHERE id = ?", ASSIGNEE) == desk.one(
        "SELECT count(*) FROM notifications WHERE user_id = ?", ASSIGNEE
    )


@pytest.mark.parametrize("event", ["job.approved", "job.rejected", "job.completed"])
def test_a_part_that_nobody_has_is_nobody(desk: Desk, event: str):
    """A job that was never created here has no requester."""
    before: DomainEvent = msgspec.structs.replace(EVENTS[event], job_id=5)
    assert desk.publish(before)["notifications"] == []
    assert desk.rows("SELECT * FROM suppressions") == []


def test_a_creation_that_names_an_assignee_is_an_assignment(desk: Desk):
    desk.publish(by(msgspec.structs.replace(CREATED, assignee_id=ASSIGNEE), REQUESTER))
    assert told(desk) == [(ASSIGNEE, "job_assigned", "HIGH")]


def test_a_submission_may_name_another_approver_who_is_told_instead(desk: Desk):
    live(desk, "assigned")
    desk.publish(msgspec.structs.replace(SUBMITTED, approver_id=STRANGER))
    assert told(desk) == [(STRANGER, "approval_needed", "CRITICAL")]
    desk.announced.clear()
    desk.publish(by(REJECTED, STRANGER))
    desk.publish(SUBMITTED)
    assert told(desk)[-1] == (STRANGER, "approval_needed", "CRITICAL")


def test_a_submission_without_any_approver_is_refused(desk: Desk):
    live(desk, "assigned", approver_id=None)
    assert desk.refusal(SUBMITTED).message == "approverId: DJ-2026-0001 has no approver yet: name one"


def test_a_rejection_without_a_reason_says_the_jobs_title(desk: Desk):
    live(desk, "pending_approval")
    desk.publish(msgspec.structs.replace(REJECTED, reason=None))
    (body, _) = [body for _, name, body in packets(desk.announced) if name == "notification:new"]
    assert (body["message"], body["data"]) == ("Banner Design", {"jobId": 1, "djId": JOB})


@pytest.mark.parametrize("event", [MOVED, WATCHED, UNWATCHED], ids=lambda event: type(event).__name__)
def test_what_the_table_does_not_name_tells_nobody(desk: Desk, event: DomainEvent):
    live(desk, "assigned")
    answer = desk.publish(event)
    assert (answer["notifications"], answer["suppressed"], told(desk)) == ([], [], [])


def test_watchers_come_and_go(desk: Desk):
    live(desk, "open")
    desk.publish(WATCHED)
    desk.publish(WATCHED)
    desk.publish(UNWATCHED)
    desk.publish(UNWATCHED)
    desk.announced.clear()
    desk.publish(COMMENTED)
    assert [user_id for user_id, _, _ in told(desk)] == [FAN, STRANGER]


def test_watchers_come_and_go_within_a_batch_too(desk: Desk):
    live(desk, "open")
    again = msgspec.structs.replace(WATCHED, user_id=WATCHER)
    gone = msgspec.structs.replace(UNWATCHED, user_id=STRANGER)
    desk.record(*(Publish(event) for event in (UNWATCHED, again, UNWATCHED, WATCHED, gone, again, COMMENTED)))
    assert [user_id for user_id, _, _ in told(desk)] == [WATCHER, FAN]
    assert desk.rows("SELECT user_id FROM job_watchers ORDER BY 1") == [(WATCHER,), (FAN,)]


def test_a_comment_of_nobody_is_of_somebody(desk: Desk):
    live(desk, "open")
    desk.publish(COMMENTED)
    (first, _) = [body for _, name, body in packets(desk.announced) if name == "notification:new"]
    assert first["title"] == f"Somebody commented on {JOB}"
    assert desk.rows("SELECT tenant_id, job_id, author_id, text FROM job_comments") == [(T, 1, None, "Which font?")]


def test_a_title_keeps_within_the_schema_however_long_the_names_are(desk: Desk):
    live(desk, "open")
    desk.publish(UserUpserted(tenant_id=T, user_id=ACTOR, name="x{job}" * 42, role="user"))
    desk.publish(by(COMMENTED, ACTOR))
    (title,) = desk.rows("SELECT DISTINCT title FROM notifications")[0]
    assert len(title) == 255
    assert title.startswith("x{job}x{job}")


def test_the_names_are_not_the_parts():
    assert len({REQUESTER, ASSIGNEE, APPROVER, MANAGER, WATCHER, FAN, STRANGER, ACTOR}) == len(NAMES)
