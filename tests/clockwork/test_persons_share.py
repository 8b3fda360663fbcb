"""What persons cause has a part of the daily limit, so that a colleague silences nobody: found.md A8 and A9."""

import json
from datetime import timedelta
from typing import Any

import pytest

from djactors.domain.commands import Publish, Published
from djactors.domain.events import (
    CommentAdded,
    DomainEvent,
    JobCreated,
    JobDeadlineChanged,
    JobSubmitted,
    Priority,
    Role,
)
from djactors.domain.limits import (
    DAILY_LIMIT,
    PERSONS_CRITICAL,
    PERSONS_CRITICAL_LIMIT,
    PERSONS_LIMIT,
    Limits,
)
from djactors.domain.notification_rules import ACTOR
from djactors.domain.permissions import Person
from djactors.inbox import job_lists
from tests.clockwork.desk import DAY, HOUR, MORNING, Desk, T, job, note

MALLORY, VICTIM, COLLEAGUE = 10, 20, 21


def by_mallory(desk: Desk, *events: DomainEvent, role: Role = "user") -> list[dict[str, Any]]:
    """The answers to what a token of Mallory's causes, in one commit."""
    person = Person(MALLORY, role)
    outcomes = desk.record(*(Publish(event, person=person) for event in events)).outcomes
    assert all(isinstance(outcome, Published) for outcome in outcomes), outcomes
    answers = [json.loads(outcome.answer) for outcome in outcomes if isinstance(outcome, Published)]
    for answer in answers:
        # Mallory watches from the first comment on, and is never notified of an own one.
        answer["suppressed"] = [held for held in answer["suppressed"] if held["reason"] != ACTOR]
    return answers


def comments(count: int) -> list[DomainEvent]:
    return [CommentAdded(tenant_id=T, job_id=1, actor_id=MALLORY, text="ha") for _ in range(count)]


def approvals(desk: Desk, count: int) -> list[str | None]:
    """Ask the victim to approve so many jobs of a person's own; why each was held back, or None."""
    reasons: list[str | None] = []
    for _ in range(count):
        created = JobCreated(
            tenant_id=T, actor_id=MALLORY, title="x", requester_id=MALLORY, assignee_id=MALLORY, approver_id=VICTIM
        )
        by_mallory(desk, created)
        job_id = desk.one("SELECT max(id) FROM jobs")
        [answer] = by_mallory(desk, JobSubmitted(tenant_id=T, actor_id=MALLORY, job_id=job_id))
        held = {each["userId"]: each["reason"] for each in answer["suppressed"]}
        reasons.append(held.get(VICTIM))
    return reasons


@pytest.fixture
def office(desk: Desk) -> Desk:
    """Job 1 is watched by two; everybody is known."""
    desk.publish(
        JobCreated(
            tenant_id=T, title="x", requester_id=MALLORY, manager_id=12, watcher_ids=(VICTIM, COLLEAGUE), job_id=None
        )
    )
    return desk


def backends(desk: Desk, count: int, priority: Priority = "HIGH") -> list[bool]:
    """Whether the victim got each of so many notifications from a backend."""
    return [answer["suppressed"] == [] for answer in desk.publish(*[note(VICTIM, priority)] * count)]


def test_a8_what_a_person_causes_uses_up_half_of_the_limit_at_most(office: Desk):
    answers = by_mallory(office, *comments(101))
    reasons = [{held["reason"] for held in answer["suppressed"]} for answer in answers]
    assert reasons == [set()] * 50 + [{PERSONS_LIMIT}] * 51
    assert backends(office, 51) == [True] * 50 + [False]
    page = job_lists.suppressions(office.connection, tenant_id=T, user_id=VICTIM, before=None, limit=100)
    assert {item.reason for item in page.items} == {PERSONS_LIMIT, DAILY_LIMIT}


def test_a8_what_was_held_back_is_summed_up_as_what_it_is(office: Desk):
    by_mallory(office, *comments(53))
    summary = office.inbox(VICTIM)[0]
    assert (summary.type, summary.title) == ("daily_summary", "3 more updates today")
    assert summary.message == "The daily limit of 50 notifications that people cause is reached."
    office.now += HOUR
    backends(office, 51)
    summary = office.inbox(VICTIM)[0]
    assert (summary.title, summary.message) == (
        "4 more updates today",
        "The daily limit of 100 notifications is reached.",
    )


def test_a8_the_seeds_hundred_stay_the_whole(office: Desk):
    assert backends(office, 80) == [True] * 80
    answers = by_mallory(office, *comments(21))
    reasons = [{held["reason"] for held in answer["suppressed"]} for answer in answers]
    assert reasons == [set()] * 20 + [{DAILY_LIMIT}]


def test_a8_the_share_is_each_days_and_a_clock_that_is_set_back_gives_no_second_one(office: Desk):
    office.limits = Limits(daily_limit=4)
    assert [bool(answer["suppressed"]) for answer in by_mallory(office, *comments(3))] == [False, False, True]
    office.now += DAY
    assert [bool(answer["suppressed"]) for answer in by_mallory(office, *comments(3))] == [False, False, True]
    office.now -= DAY
    assert [bool(answer["suppressed"]) for answer in by_mallory(office, *comments(1))] == [True]


def test_a8_a_limit_of_one_is_anybodys(office: Desk):
    office.limits = Limits(daily_limit=1)
    assert [bool(answer["suppressed"]) for answer in by_mallory(office, *comments(2))] == [False, True]


def test_a9_critical_ones_that_a_person_causes_have_a_bound_of_their_own(office: Desk):
    reasons = approvals(office, 130)
    assert reasons == [None] * (50 + PERSONS_CRITICAL) + [PERSONS_CRITICAL_LIMIT] * (80 - PERSONS_CRITICAL)
    assert backends(office, 51) == [True] * 50 + [False]
    assert backends(office, 10, "CRITICAL") == [True] * 10


def test_a9_other_ones_leave_room_for_critical_ones(office: Desk):
    by_mallory(office, *comments(60))
    reasons = approvals(office, PERSONS_CRITICAL + 1)
    assert reasons == [None] * PERSONS_CRITICAL + [PERSONS_CRITICAL_LIMIT]


def test_a9_where_critical_ones_stay_within_the_limit_those_of_persons_stay_within_their_half(office: Desk):
    office.limits = Limits(daily_limit=6, critical_beyond_limit=False)
    assert approvals(office, 5) == [None] * 3 + [PERSONS_LIMIT] * 2
    assert backends(office, 4) == [True] * 3 + [False]


@pytest.mark.parametrize("moved_later", [False, True])
def test_a9_deadlines_that_a_person_sets_are_bounded_as_well(office: Desk, moved_later: bool):
    past = MORNING - timedelta(minutes=1)
    for _ in range(120):
        created = JobCreated(
            tenant_id=T,
            actor_id=MALLORY,
            title="x",
            requester_id=MALLORY,
            assignee_id=VICTIM,
            deadline=None if moved_later else past,
        )
        by_mallory(office, created)
        if moved_later:
            job_id = office.one("SELECT max(id) FROM jobs")
            by_mallory(office, JobDeadlineChanged(tenant_id=T, actor_id=MALLORY, job_id=job_id, deadline=past))
    while office.alert().more:
        pass
    kinds = office.types(VICTIM)
    assert (kinds.count("job_assigned"), kinds.count("sla_alert_overdue")) == (50, PERSONS_CRITICAL)
    reasons = {reason for (reason,) in office.rows("SELECT reason FROM suppressions WHERE type = 'sla_alert_overdue'")}
    assert reasons == {PERSONS_CRITICAL_LIMIT}
    assert backends(office, 50) == [True] * 50


def test_a9_deadlines_that_a_backend_sets_alert_without_that_bound(office: Desk):
    office.publish(*(job(MORNING - timedelta(minutes=1), assignee_id=VICTIM) for _ in range(120)))
    while office.alert().more:
        pass
    assert office.types(VICTIM).count("sla_alert_overdue") == 120


def test_a8_what_a_backend_does_in_somebodys_name_is_the_backends(office: Desk):
    by_mallory(office, *comments(101))
    answers = by_mallory(office, *comments(51), role="service")
    assert [answer["suppressed"] != [] for answer in answers] == [False] * 50 + [True]


def test_a10_a_backend_that_acts_in_somebodys_name_has_keys_of_its_own(office: Desk):
    said = [Publish(event, person=Person(MALLORY, "user"), key="order-4711") for event in comments(1)]
    other = CommentAdded(tenant_id=T, job_id=1, actor_id=MALLORY, text="done")
    said.append(Publish(other, person=Person(MALLORY, "service"), key="order-4711"))
    assert [type(outcome) for outcome in office.record(*said).outcomes] == [Published, Published]
    [again] = office.record(said[1]).outcomes
    assert isinstance(again, Published)
    assert again.repeated
