"""A creation that comes after what happened to the job: it fills in what is missing and takes nothing back."""

from datetime import UTC, datetime

import msgspec
import pytest

from djactors.domain.events import DomainEvent
from tests.inbox.desk import Desk, packets
from tests.workflow.people import (
    APPROVED,
    APPROVER,
    ASSIGNED,
    ASSIGNEE,
    COMMENTED,
    COMPLETED,
    CREATED,
    FAN,
    MOVED,
    REJECTED,
    REQUESTER,
    STRANGER,
    SUBMITTED,
    by,
)

FEBRUARY, MARCH = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)

CREATION = msgspec.structs.replace(CREATED, job_id=1, dj_id="DJ-7", assignee_id=ASSIGNEE)
FIRST_SUBMITTED = msgspec.structs.replace(SUBMITTED, approver_id=STRANGER)


@pytest.mark.parametrize(
    ("heard", "status"),
    [
        ([FIRST_SUBMITTED], "pending_approval"),
        ([FIRST_SUBMITTED, APPROVED], "approved"),
        ([APPROVED], "approved"),
        ([COMPLETED], "completed"),
    ],
    ids=["submitted", "submitted and approved", "approved", "completed"],
)
def test_it_does_not_reopen_what_was_submitted_approved_or_completed(
    desk: Desk, heard: list[DomainEvent], status: str
) -> None:
    for event in heard:
        desk.publish(event)
    desk.announced.clear()
    answer = desk.publish(CREATION)
    assert desk.rows("SELECT status, title, dj_id, requester_id, assignee_id FROM jobs") == [
        (status, "Banner Design", "DJ-7", REQUESTER, ASSIGNEE)
    ]
    # Nobody was given work: a job:assigned would say so to the whole tenant. Whom it names may wonder, though.
    assert (answer["notifications"], answer["suppressed"]) == ([], [{"userId": ASSIGNEE, "reason": "late"}])
    assert desk.rows("SELECT user_id, type, reason FROM suppressions WHERE event_id = ?", answer["eventId"]) == [
        (ASSIGNEE, "job_assigned", "late")
    ]
    ((user_id, name, body),) = packets(desk.announced)
    assert (user_id, name, body["job"]["status"]) == (None, "job:updated", status)


@pytest.mark.parametrize("heard", [COMMENTED, ASSIGNED, REJECTED], ids=["nothing", "assigned", "rejected"])
def test_where_an_assignment_is_allowed_it_is_one(desk: Desk, heard: DomainEvent) -> None:
    desk.publish(heard)
    desk.announced.clear()
    answer = desk.publish(CREATION)
    assert desk.one("SELECT status FROM jobs") == "assigned"
    assert [(entry["userId"], entry["type"]) for entry in answer["notifications"]] == [(ASSIGNEE, "job_assigned")]
    assert [name for _, name, _ in packets(desk.announced)] == ["notification:new", "job:assigned", "job:updated"]


def test_it_takes_a_submitted_job_from_nobody_who_is_at_it(desk: Desk) -> None:
    desk.publish(msgspec.structs.replace(ASSIGNED, assignee_id=FAN))
    desk.publish(FIRST_SUBMITTED)
    desk.publish(CREATION)
    assert desk.rows("SELECT assignee_id, approver_id FROM jobs") == [(FAN, STRANGER)]
    assert [entry["userId"] for entry in desk.publish(REJECTED)["notifications"]] == [REQUESTER, FAN]
    assert [entry["userId"] for entry in desk.publish(SUBMITTED)["notifications"]] == [STRANGER]


def test_it_names_who_was_missing(desk: Desk) -> None:
    desk.publish(COMPLETED)
    desk.publish(CREATION)
    assert desk.rows("SELECT assignee_id, approver_id FROM jobs") == [(ASSIGNEE, APPROVER)]


def test_whoever_named_themselves_is_not_told_for_that_reason(desk: Desk) -> None:
    desk.publish(COMPLETED)
    answer = desk.publish(by(CREATION, ASSIGNEE))
    assert answer["suppressed"] == [{"userId": ASSIGNEE, "reason": "actor"}]


def test_without_an_assignee_nobody_is_left_out(desk: Desk) -> None:
    desk.publish(COMPLETED)
    assert desk.publish(msgspec.structs.replace(CREATION, assignee_id=None))["suppressed"] == []


@pytest.mark.parametrize(
    "heard", [[], [ASSIGNED], [FIRST_SUBMITTED], [COMPLETED]], ids=["alone", "assigned", "submitted", "completed"]
)
def test_a_deadline_that_moved_meanwhile_stays(desk: Desk, heard: list[DomainEvent]) -> None:
    for event in (*heard, msgspec.structs.replace(MOVED, deadline=MARCH)):
        desk.publish(event)
    desk.publish(msgspec.structs.replace(CREATION, deadline=FEBRUARY))
    assert desk.one("SELECT deadline FROM jobs") == "2026-03-01T00:00:00.000000Z"


@pytest.mark.parametrize("heard", [ASSIGNED, COMPLETED], ids=["assigned", "completed"])
def test_a_deadline_that_nobody_told_before_is_taken(desk: Desk, heard: DomainEvent) -> None:
    desk.publish(heard)
    desk.publish(msgspec.structs.replace(CREATION, deadline=FEBRUARY))
    assert desk.one("SELECT deadline FROM jobs") == "2026-02-01T00:00:00.000000Z"
