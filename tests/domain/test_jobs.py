"""A job's life: how it comes to be, which moves its state allows, how clients see it; and how times are written."""

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from djactors.domain import jobs
from djactors.domain.errors import Code, Refused
from djactors.domain.events import (
    CommentAdded,
    JobApproved,
    JobAssigned,
    JobCancelled,
    JobCompleted,
    JobCreated,
    JobDeadlineChanged,
    JobRejected,
    JobRetitled,
    JobSubmitted,
    JobUnwatched,
    JobWatched,
)
from djactors.domain.jobs import Job
from djactors.domain.names import Named
from djactors.domain.times import from_text, utc_text

THEN = "2026-01-27T10:30:00.000000Z"
NOW = "2026-01-28T00:00:00.000000Z"
EVENT = JobCreated(tenant_id=1, title="Banner Design", requester_id=2)


def job(status: jobs.Status = "open", **changes: object) -> Job:
    return msgspec.structs.replace(
        jobs.first_heard_of(1, 5, THEN), **{"status": status, "dj_id": "DJ-2026-0005", "requester_id": 2, **changes}
    )


ALLOWED = {
    "open": {"assign", "complete", "cancel"},
    "assigned": {"assign", "submit", "complete", "cancel"},
    "pending_approval": {"approve", "reject", "cancel"},
    "approved": {"complete", "cancel"},
    "rejected": {"assign", "submit", "complete", "cancel"},
    "completed": set[str](),
    "cancelled": set[str](),
}
"""The contract: open → assigned → pending_approval → approved | rejected → completed; a rejected job may be reassigned
or submitted again; completion from any state but pending_approval; cancellation from every state that is no end."""

MOVES: dict[str, jobs.JobEvent] = {
    "assign": JobAssigned(tenant_id=1, job_id=5, assignee_id=4),
    "submit": JobSubmitted(tenant_id=1, job_id=5, approver_id=4),
    "approve": JobApproved(tenant_id=1, job_id=5),
    "reject": JobRejected(tenant_id=1, job_id=5, reason="Too dark"),
    "complete": JobCompleted(tenant_id=1, job_id=5),
    "cancel": JobCancelled(tenant_id=1, job_id=5, reason="No budget"),
}
OTHERS: list[jobs.JobEvent] = [
    JobDeadlineChanged(tenant_id=1, job_id=5, deadline=None),
    JobRetitled(tenant_id=1, job_id=5, title="Poster"),
    CommentAdded(tenant_id=1, job_id=5, text="x"),
    JobWatched(tenant_id=1, job_id=5, user_id=4),
    JobUnwatched(tenant_id=1, job_id=5, user_id=4),
]


@pytest.mark.parametrize("status", ALLOWED)
@pytest.mark.parametrize("event", OTHERS, ids=lambda event: type(event).__name__)
def test_what_is_no_move_is_allowed_in_every_state_and_keeps_it(status: jobs.Status, event: jobs.JobEvent):
    jobs.check_move(job(status), event)
    assert jobs.after(job(status), event, NOW).status == status


def test_a_state_that_nobody_told_forbids_nothing():
    """A job that was first heard of by a comment is open for want of anything better."""
    for event in MOVES.values():
        jobs.check_move(job("open", requester_id=None), event)


@pytest.mark.parametrize("status", ALLOWED)
@pytest.mark.parametrize("move", MOVES)
def test_the_state_decides_which_moves_are_allowed(status: jobs.Status, move: str):
    if move in ALLOWED[status]:
        jobs.check_move(job(status), MOVES[move])
        return
    with pytest.raises(Refused) as caught:
        jobs.check_move(job(status), MOVES[move])
    assert caught.value.code is Code.CONFLICT
    head, _, allowed = caught.value.message.partition("; allowed: ")
    assert head == f"DJ-2026-0005 is {status}: {move} is not allowed"
    assert set(allowed.split(", ")) == (ALLOWED[status] or {"nothing"})


def test_a_new_job_is_open_or_assigned():
    fresh = jobs.created(EVENT, 7, "DJ-2026-0007", None, NOW)
    assert (fresh.id, fresh.dj_id, fresh.status, fresh.title) == (7, "DJ-2026-0007", "open", "Banner Design")
    assert fresh.created_at == fresh.updated_at == NOW
    assigned = jobs.created(msgspec.structs.replace(EVENT, assignee_id=3), 7, None, None, NOW)
    assert (assigned.status, assigned.assignee_id) == ("assigned", 3)


def test_a_job_that_was_known_by_its_id_alone_keeps_its_state_when_it_is_created():
    earlier = job("assigned", dj_id=None, assignee_id=3)
    merged = jobs.created(EVENT, 5, "DJ-7", earlier, NOW)
    assert (merged.status, merged.assignee_id, merged.title) == ("assigned", 3, "Banner Design")
    assert (merged.created_at, merged.updated_at) == (THEN, NOW)


def test_a_creation_that_names_an_assignee_reassigns_the_job_that_was_known_by_its_id():
    merged = jobs.created(msgspec.structs.replace(EVENT, assignee_id=4), 5, None, job(assignee_id=3), NOW)
    assert (merged.status, merged.assignee_id) == ("assigned", 4)


def test_the_deadline_is_kept_as_utc_text():
    local = datetime(2026, 2, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert jobs.created(msgspec.structs.replace(EVENT, deadline=local), 5, None, None, NOW).deadline == (
        "2026-01-31T23:00:00.000000Z"
    )


def test_an_assignment_changes_the_assignee_the_state_and_the_time_alone():
    before = job("rejected", requester_id=2, assignee_id=3)
    after = jobs.after(before, JobAssigned(tenant_id=1, job_id=5, assignee_id=4), NOW)
    assert after == msgspec.structs.replace(before, status="assigned", assignee_id=4, updated_at=NOW)


def test_a_job_first_heard_of_is_called_by_its_id():
    heard = jobs.first_heard_of(1, 5, NOW)
    assert (heard.label, heard.title, heard.dj_id, heard.status) == ("Job 5", "Job 5", None, "open")


@pytest.mark.parametrize(
    ("year", "number", "text"),
    [
        (2026, 1, "DJ-2026-0001"),
        (2026, 9999, "DJ-2026-9999"),
        (2026, 10_000, "DJ-2026-10000"),
        (999, 5, "DJ-0999-0005"),
    ],
)
def test_a_number_has_four_digits_at_least(year: int, number: int, text: str):
    assert jobs.dj_id(year, number) == text


def test_clients_see_a_job_as_the_contract_says():
    names = ("Ann", "John Doe", None, "Max")
    watchers = (Named(7, "Mo"), Named(8, "Joe"))
    seen = json.loads(msgspec.json.encode(jobs.view(job(assignee_id=3), names, (7, 8), watchers)))
    assert list(seen) == [
        *("id", "djId", "title", "projectId", "jobTypeId", "status", "requesterId", "requesterName", "assigneeId"),
        *(
            "assigneeName",
            "approverId",
            "approverName",
            "managerId",
            "managerName",
            "watcherIds",
            "watchers",
            "deadline",
        ),
        *("createdAt", "updatedAt"),
    ]
    assert tuple(seen[f"{part}Name"] for part in ("requester", "assignee", "approver", "manager")) == names
    assert seen["watcherIds"] == [7, 8]
    assert seen["watchers"] == [{"id": 7, "name": "Mo"}, {"id": 8, "name": "Joe"}]


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 1, 27, 10, 30, tzinfo=UTC), "2026-01-27T10:30:00.000000Z"),
        (datetime(2026, 1, 27, 10, 30, 0, 7, tzinfo=UTC), "2026-01-27T10:30:00.000007Z"),
        (datetime(2026, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2025-12-31T19:30:00.000000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_is_utc_text_of_one_width(moment: datetime, text: str):
    assert utc_text(moment) == text


def test_a_moment_that_utc_puts_outside_the_calendar_has_no_text():
    with pytest.raises(OverflowError):
        utc_text(datetime.min.replace(tzinfo=timezone(timedelta(minutes=1))))


_zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=_zones)


@given(_moments, _moments)
def test_times_sort_as_their_texts_and_come_back_from_them(one: datetime, other: datetime):
    assert (one < other) == (utc_text(one) < utc_text(other))
    assert from_text(utc_text(one)) == one
