"""A creation that comes after what happened to the job: it fills in what is missing and takes nothing back."""

import msgspec
import pytest

from djactors.domain.events import DomainEvent
from tests.recording.desk import Desk, packets
from tests.workflow.people import (
    APPROVED,
    APPROVER,
    ASSIGNED,
    ASSIGNEE,
    COMMENTED,
    COMPLETED,
    CREATED,
    FAN,
    REJECTED,
    REQUESTER,
    STRANGER,
    SUBMITTED,
)

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
    # Nobody was given work: a job:assigned would say so to the whole tenant.
    assert (answer["notifications"], answer["suppressed"]) == ([], [])
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
