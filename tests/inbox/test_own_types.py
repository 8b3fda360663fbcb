"""Notification types of an installation's own, down to the rows: whom they reach, and that all limits hold for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from djactors.domain.commands import Erased, EraseSlice, MuteJob, Publish, RaiseAlerts, SendSummaries, Swept
from djactors.domain.events import (
    CommentAdded,
    DomainEvent,
    JobAssigned,
    JobCancelled,
    JobCompleted,
    JobCreated,
    JobRejected,
    JobRetitled,
    JobSubmitted,
    JobWatched,
    NotificationRequested,
    Role,
    TenantUpserted,
    UserActivated,
    UserDeactivated,
    UserUpserted,
)
from djactors.domain.limits import DAILY_LIMIT, PERSONS_CRITICAL, PERSONS_CRITICAL_LIMIT, PERSONS_LIMIT, Limits
from djactors.domain.notification_rules import Rules
from djactors.domain.notification_types import MAX_OF_ROLE, NotificationType
from djactors.domain.permissions import Person
from djactors.inbox.recorder import Recorder
from tests.inbox.desk import Desk

T, REQUESTER, ASSIGNEE, APPROVER, MANAGER, ADMIN, STRANGER = 1, 3, 4, 5, 6, 7, 8
Title = tuple[int, str, str]


def use(desk: Desk, *types: NotificationType, limits: Limits | None = None) -> None:
    """Have the desk record by these types, as after a restart."""
    desk.recorder = Recorder(lambda: desk.now, limits or Limits(), node="desk", rules=Rules(types))


def own(event: str, *recipients: str, name: str = "own", title: str = "{job}", **more: Any) -> NotificationType:
    return NotificationType(name, **{"events": (event,), "recipients": recipients, "title": title, **more})


@pytest.fixture
def office(desk: Desk) -> Desk:
    """Job 1 with somebody in each part."""
    for user_id, name in ((REQUESTER, "Rita"), (ASSIGNEE, "Ann"), (APPROVER, "Paul"), (MANAGER, "Mona")):
        desk.publish(UserUpserted(tenant_id=T, user_id=user_id, name=name, role="user"))
    desk.publish(UserUpserted(tenant_id=T, user_id=ADMIN, name="Adam", role="admin"))
    desk.publish(
        JobCreated(
            tenant_id=T,
            job_id=1,
            dj_id="DJ-1",
            title="Roof",
            requester_id=REQUESTER,
            assignee_id=ASSIGNEE,
            approver_id=APPROVER,
            manager_id=MANAGER,
            deadline=datetime(2026, 1, 28, 10, 30, tzinfo=UTC),
        )
    )
    return desk


def told(desk: Desk, event: DomainEvent, by: int | None = None) -> list[tuple[int, str]]:
    """Whom an event notifies, and by which type."""
    outcome = desk.do(Publish(event, person=None if by is None else Person(by, "admin")))
    answer = json.loads(outcome.answer)  # type: ignore[union-attr]
    return [(entry["userId"], entry["type"]) for entry in answer["notifications"]]


def newest(desk: Desk, user_id: int) -> tuple[str, str, str]:
    """The priority, the title and the message of somebody's newest notification."""
    [row] = desk.rows(
        "SELECT priority, title, message FROM notifications WHERE user_id = ? ORDER BY id DESC LIMIT 1", user_id
    )
    return row


def test_an_event_that_causes_nothing_by_itself_causes_an_own_type(office: Desk):
    use(office, own("job.retitled", "assignee", "manager", title="{actor} calls {job} now {job_title}"))
    assert told(office, JobRetitled(tenant_id=T, job_id=1, title="Attic", actor_id=MANAGER)) == [(ASSIGNEE, "own")]
    assert newest(office, ASSIGNEE) == ("MEDIUM", "Mona calls DJ-1 now Attic", "Attic")
    [left_out] = office.rows("SELECT user_id, type, reason FROM suppressions")
    assert left_out == (MANAGER, "own", "actor")


def test_a_creation_an_assignment_and_a_watcher_cause_what_they_are(office: Desk):
    use(
        office,
        own("job.created", "manager", name="made"),
        own("job.watched", "assignee", name="watched"),
        own("job.cancelled", "assignee", name="gone", message="{words}"),
    )
    created = JobCreated(tenant_id=T, job_id=2, title="x", requester_id=REQUESTER, manager_id=MANAGER)
    assert told(office, created) == [(MANAGER, "made")]
    both = JobCreated(
        tenant_id=T, job_id=3, title="x", requester_id=REQUESTER, manager_id=MANAGER, assignee_id=ASSIGNEE
    )
    assert told(office, both) == [(MANAGER, "made"), (ASSIGNEE, "job_assigned")]
    assert told(office, JobWatched(tenant_id=T, job_id=3, user_id=STRANGER)) == [(ASSIGNEE, "watched")]
    # A cancellation with a reason is a comment as well, and one without is not.
    assert told(office, JobCancelled(tenant_id=T, job_id=3, reason="no money")) == [
        (ASSIGNEE, "gone"),
        (STRANGER, "comment_added"),
    ]
    assert newest(office, ASSIGNEE)[2] == "no money"
    assert told(office, JobCancelled(tenant_id=T, job_id=1)) == [(ASSIGNEE, "gone")]


def test_a_late_creation_tells_whom_its_own_type_names_and_leaves_the_assignee_out_of_the_other(office: Desk):
    use(office, own("job.created", "requester"))
    office.publish(JobCompleted(tenant_id=T, job_id=9))
    late = JobCreated(tenant_id=T, job_id=9, title="x", requester_id=REQUESTER, assignee_id=ASSIGNEE)
    assert told(office, late) == [(REQUESTER, "own")]
    assert office.rows("SELECT user_id, type, reason FROM suppressions") == [(ASSIGNEE, "job_assigned", "late")]
    use(office, own("job.created", "assignee"))
    office.publish(JobCompleted(tenant_id=T, job_id=10))
    assert told(office, JobCreated(tenant_id=T, job_id=10, title="x", requester_id=3, assignee_id=4)) == [(4, "own")]
    use(office, NotificationType("job_assigned", enabled=False))
    office.publish(JobCompleted(tenant_id=T, job_id=11))
    office.publish(JobCreated(tenant_id=T, job_id=11, title="x", requester_id=3, assignee_id=4))
    assert office.one("SELECT count(*) FROM suppressions") == 1


def test_names_states_and_deadlines_are_filled_in_as_people_read_them(office: Desk):
    words = "{requester} {assignee} {approver} {manager} {status} {deadline}"
    use(
        office, own("job.submitted", "manager", message=words), own("sla_alert_24h", "manager", name="due", title=words)
    )
    office.publish(TenantUpserted(tenant_id=T, name="Wat", time_zone="Asia/Bangkok"))
    office.publish(JobSubmitted(tenant_id=T, job_id=1))
    assert newest(office, MANAGER)[2] == "Rita Ann Paul Mona pending approval 2026-01-28 17:30"
    office.publish(JobSubmitted(tenant_id=T, job_id=9, approver_id=APPROVER))
    use(office, own("job.rejected", "approver", message=words))
    office.publish(JobRejected(tenant_id=T, job_id=9))
    assert newest(office, APPROVER)[2] == "nobody nobody Paul nobody rejected no deadline"
    use(office, own("sla_alert_24h", "manager", name="due", title=words))
    office.do(RaiseAlerts(10))
    assert newest(office, MANAGER)[1] == "Rita Ann Paul Mona pending approval 2026-01-28 17:30"
    use(office, own("job.created", "approver", message=words))
    far = JobCreated(
        tenant_id=T,
        job_id=12,
        title="x",
        requester_id=REQUESTER,
        approver_id=APPROVER,
        deadline=datetime(9999, 12, 31, 23, 30, tzinfo=UTC),
    )
    office.publish(far)
    assert newest(office, APPROVER)[2].endswith("9999-12-31 23:30")


def test_a_type_that_is_switched_off_is_told_by_no_event_and_a_backend_hears_why(office: Desk):
    use(office, NotificationType("job_completed", enabled=False), own("job.retitled", "manager", enabled=False))
    assert told(office, JobCompleted(tenant_id=T, job_id=1)) == []
    asked = NotificationRequested(
        tenant_id=T, user_id=STRANGER, notification_type="own", priority="CRITICAL", title="Hello"
    )
    answer = office.publish(asked)
    assert (answer["notifications"], answer["suppressed"]) == ([], [{"userId": STRANGER, "reason": "switched_off"}])
    assert office.rows("SELECT user_id, type, reason FROM suppressions") == [(STRANGER, "own", "switched_off")]
    office.publish(
        NotificationRequested(tenant_id=T, user_id=STRANGER, notification_type="x", priority="LOW", title="Hello")
    )
    assert newest(office, STRANGER)[1] == "Hello"


def test_a_backends_type_has_the_priority_of_the_installation(office: Desk):
    use(office, NotificationType("news", events=("notification.requested",), priority="LOW"))
    asked = NotificationRequested(
        tenant_id=T, user_id=STRANGER, notification_type="news", priority="CRITICAL", title="Hello"
    )
    office.publish(asked)
    assert newest(office, STRANGER)[0] == "LOW"


def test_a_role_is_who_has_it_at_the_moment_of_the_event(office: Desk):
    use(office, own("job.retitled", "role:admin", "assignee"))

    def titled() -> list[int]:
        return [user_id for user_id, _ in told(office, JobRetitled(tenant_id=T, job_id=1, title="x"))]

    assert titled() == [ADMIN, ASSIGNEE]
    assert titled() == [ADMIN, ASSIGNEE]

    def give(user_id: int, role: Role) -> None:
        office.publish(UserUpserted(tenant_id=T, user_id=user_id, name="x", role=role))

    give(STRANGER, "admin")
    assert titled() == [ADMIN, STRANGER, ASSIGNEE]
    give(ADMIN, "user")
    assert titled() == [STRANGER, ASSIGNEE]
    office.publish(UserDeactivated(tenant_id=T, user_id=STRANGER))
    assert titled() == [ASSIGNEE]
    office.publish(UserActivated(tenant_id=T, user_id=STRANGER))
    assert titled() == [STRANGER, ASSIGNEE]
    # A refused event leaves nothing behind, and neither does a commit that was taken back.
    office.recorder.forget()
    assert titled() == [STRANGER, ASSIGNEE]
    # Another tenant's admins are not concerned, and within one commit the event before counts.
    admin = UserUpserted(tenant_id=2, user_id=ADMIN, name="x", role="admin")
    other = JobCreated(tenant_id=2, job_id=1, title="x", requester_id=REQUESTER)
    new = UserUpserted(tenant_id=T, user_id=99, name="x", role="admin")
    title = JobRetitled(tenant_id=T, job_id=1, title="y")
    outcomes = office.record(*map(Publish, (admin, other, new, title))).outcomes
    answer = json.loads(outcomes[-1].answer)  # type: ignore[union-attr]
    assert [entry["userId"] for entry in answer["notifications"]] == [STRANGER, 99, ASSIGNEE]


def test_whoever_is_new_has_a_role_at_once_and_costs_no_look(office: Desk):
    use(office, own("job.created", "role:user", "role:admin"))

    def made(requester_id: int) -> list[int]:
        created = JobCreated(tenant_id=T, job_id=100 + requester_id, title="x", requester_id=requester_id)
        return [user_id for user_id, _ in told(office, created)]

    everybody = [REQUESTER, ASSIGNEE, APPROVER, MANAGER]
    assert made(REQUESTER) == [*everybody, ADMIN]
    assert made(50) == [*everybody, 50, ADMIN]
    assert made(2) == [2, *everybody, 50, ADMIN]
    office.recorder.forget()
    assert made(60) == [2, *everybody, 50, 60, ADMIN]


def test_at_most_a_thousand_people_of_a_role_are_told(office: Desk):
    use(office, own("job.retitled", "role:manager"))
    office.record(
        *(
            Publish(UserUpserted(tenant_id=T, user_id=user_id, name="m", role="manager"))
            for user_id in range(1001, 1003 + MAX_OF_ROLE)
        )
    )
    people = [user_id for user_id, _ in told(office, JobRetitled(tenant_id=T, job_id=1, title="x"))]
    assert people == [*range(1001, 1001 + MAX_OF_ROLE)]


def test_who_has_muted_a_job_is_told_only_of_types_that_reach_such_people(office: Desk):
    office.do(MuteJob(T, ASSIGNEE, 1))
    use(office, own("job.retitled", "assignee"))
    assert told(office, JobRetitled(tenant_id=T, job_id=1, title="x")) == []
    use(office, own("job.retitled", "assignee", even_if_muted=True))
    assert told(office, JobRetitled(tenant_id=T, job_id=1, title="y")) == [(ASSIGNEE, "own")]
    use(office, NotificationType("job_assigned", even_if_muted=False))
    assert told(office, JobAssigned(tenant_id=T, job_id=1, assignee_id=ASSIGNEE)) == []


def test_a_type_that_does_not_reach_who_has_muted_a_job_hides_none_that_does(office: Desk):
    use(office, own("job.assigned", "assignee", "requester"))
    assigned = JobAssigned(tenant_id=T, job_id=1, assignee_id=ASSIGNEE)
    assert dict(told(office, assigned))[ASSIGNEE] == "own"
    office.do(MuteJob(T, ASSIGNEE, 1))
    assert dict(told(office, assigned))[ASSIGNEE] == "job_assigned", "which comes behind it, and reaches them"


def test_what_persons_cause_by_an_own_type_has_their_part_of_the_limit_and_is_summed_up(office: Desk):
    limits = Limits(daily_limit=4)
    use(office, own("job.retitled", "requester"), limits=limits)
    for number in range(4):
        told(office, JobRetitled(tenant_id=T, job_id=1, title=f"x{number}", actor_id=ADMIN), by=ADMIN)
    assert office.rows("SELECT type, reason FROM suppressions") == [("own", PERSONS_LIMIT)] * 2
    office.now += timedelta(minutes=2)
    office.do(SendSummaries(10))
    assert newest(office, REQUESTER)[1] == "2 more updates today"
    for number in range(3):
        told(office, JobRetitled(tenant_id=T, job_id=1, title=f"y{number}"))
    assert office.rows("SELECT type, reason FROM suppressions")[2:] == [("own", DAILY_LIMIT)]


def test_critical_of_an_own_type_goes_beyond_the_limit_as_far_as_persons_may(office: Desk):
    use(office, own("job.retitled", "requester", priority="CRITICAL"), limits=Limits(daily_limit=2))
    events = [JobRetitled(tenant_id=T, job_id=1, title=f"x{number}", actor_id=ADMIN) for number in range(53)]
    office.record(*(Publish(event, person=Person(ADMIN, "admin")) for event in events))
    assert office.one("SELECT count(*) FROM notifications WHERE type = 'own'") == 1 + PERSONS_CRITICAL
    assert office.rows("SELECT DISTINCT type, reason FROM suppressions") == [("own", PERSONS_CRITICAL_LIMIT)]


def test_a_burst_of_an_own_type_is_collapsed_by_job(office: Desk):
    use(office, own("job.retitled", "requester"), limits=Limits(collapse_bursts=True))
    for title in ("a", "b", "c"):
        office.publish(JobRetitled(tenant_id=T, job_id=1, title=title))
    [(message, data)] = office.rows(
        "SELECT message, data FROM notifications WHERE user_id = ? AND removed_seq IS NULL", REQUESTER
    )
    assert (message, json.loads(data)["count"]) == ("c", 3)


def test_an_own_type_takes_the_words_of_an_event_with_its_data(office: Desk):
    use(office, own("comment.added", "manager", message="{actor}: {words}"))
    comment = CommentAdded(tenant_id=T, job_id=1, actor_id=ASSIGNEE, text="x" * 4000)
    assert told(office, comment) == [(MANAGER, "own")]
    [(message, data)] = office.rows("SELECT message, data FROM notifications WHERE type = 'own'")
    assert message == "Ann: " + "x" * 3995
    assert json.loads(data) == {"jobId": 1, "djId": "DJ-1", "commentId": 1}


def test_what_somebody_wrote_is_erased_from_own_types_even_if_they_are_there_no_more(office: Desk):
    titled = own("job.retitled", "manager", name="titled", title="{actor} has renamed {job}", message="{actor} did it")
    use(
        office,
        titled,
        own("comment.added", "manager", message="{actor} says: {words}"),
        own("job.rejected", "manager", name="no", title="No: {actor}", message="{words}"),
    )
    office.publish(UserUpserted(tenant_id=T, user_id=APPROVER, name="Paula Earlier", role="user"))
    office.publish(JobRetitled(tenant_id=T, job_id=1, title="Attic", actor_id=APPROVER))
    office.publish(UserUpserted(tenant_id=T, user_id=APPROVER, name="Paul Now", role="user"))
    office.publish(CommentAdded(tenant_id=T, job_id=1, actor_id=APPROVER, text="my secret words"))
    office.publish(JobSubmitted(tenant_id=T, job_id=1))
    office.publish(JobRejected(tenant_id=T, job_id=1, actor_id=APPROVER, reason="my secret reason"))
    # Two of the three types are gone meanwhile; the third one takes out even an earlier name.
    use(
        office,
        own("job.retitled", "manager", name="titled", title="{actor} has renamed {job}", message="{actor} did it"),
    )
    after: Swept | None = Swept()
    while after is not None:
        outcome = office.do(EraseSlice(T, APPROVER, after=after))
        assert isinstance(outcome, Erased)
        after = outcome.after
    rows = office.rows("SELECT type, title, message FROM notifications WHERE user_id = ? ORDER BY id", MANAGER)
    assert rows == [
        ("titled", "Erased user 5 has renamed DJ-1", "Erased user 5 did it"),
        ("own", "DJ-1", "[erased]"),
        ("no", "No: Erased user 5", "[erased]"),
    ]
    assert "secret" not in "\n".join(office.dump())
