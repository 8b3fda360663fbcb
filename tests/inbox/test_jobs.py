"""Jobs as events make them: numbers, ids, state, who is told, what the tenant at large sees."""

from datetime import UTC, datetime

import msgspec
import pytest

from djactors.domain.commands import Publish
from djactors.domain.errors import Code, Refused
from djactors.domain.events import (
    CommentAdded,
    DomainEvent,
    JobApproved,
    JobAssigned,
    JobCompleted,
    JobCreated,
    JobDeadlineChanged,
    JobRejected,
    JobSubmitted,
    JobUnwatched,
    JobWatched,
    NotificationRequested,
    TenantUpserted,
    UserUpserted,
)
from djactors.domain.ids import MAX_ID
from djactors.domain.jobs import NAMED_WATCHERS
from djactors.domain.notifications import encode
from djactors.inbox import job_lists
from tests.inbox.desk import MORNING_TEXT, Desk, answer, packets

T, OTHER = 1, 2


def created(**changes: object) -> JobCreated:
    return msgspec.structs.replace(JobCreated(tenant_id=T, title="Banner Design", requester_id=10), **changes)


def assigned(job_id: int, assignee_id: int = 11, **changes: object) -> JobAssigned:
    event = JobAssigned(tenant_id=T, job_id=job_id, assignee_id=assignee_id)
    return msgspec.structs.replace(event, **changes)


def requested(user_id: int, tenant_id: int = T) -> NotificationRequested:
    return NotificationRequested(
        tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="LOW", title="Hello"
    )


def numbers(desk: Desk, tenant_id: int = T) -> list[tuple[int, str | None]]:
    return desk.rows("SELECT id, dj_id FROM jobs WHERE tenant_id = ? ORDER BY id", tenant_id)


def job(desk: Desk, job_id: int, tenant_id: int = T) -> tuple[object, ...]:
    (row,) = desk.rows(
        "SELECT dj_id, title, status, requester_id, assignee_id, created_at FROM jobs WHERE tenant_id = ? AND id = ?",
        tenant_id,
        job_id,
    )
    return row


def test_djactors_numbers_the_jobs_of_each_tenant_and_year_without_gaps(desk: Desk):
    for _ in range(2):
        desk.publish(created())
    desk.publish(created(tenant_id=OTHER, requester_id=20))
    desk.now = datetime(2027, 1, 1, tzinfo=UTC)
    desk.publish(created())
    assert numbers(desk) == [(1, "DJ-2026-0001"), (2, "DJ-2026-0002"), (3, "DJ-2027-0001")]
    assert numbers(desk, OTHER) == [(1, "DJ-2026-0001")]


def test_a_batch_is_numbered_as_single_posts_are(desk: Desk):
    desk.record(*[Publish(created()) for _ in range(3)])
    desk.record(*[Publish(created()) for _ in range(2)])
    assert [number for _, number in numbers(desk)] == [f"DJ-2026-000{n}" for n in range(1, 6)]


def test_a_refused_or_failed_creation_leaves_no_gap(desk: Desk):
    recorded = desk.record(
        Publish(created()),
        Publish(created(job_id=9)),
        Publish(created(project_id=2**70), decoded=True),
        Publish(created()),
    )
    assert desk.fell_back == 1
    assert [isinstance(outcome, Exception) for outcome in recorded.outcomes] == [False, True, True, False]
    desk.publish(created())
    assert numbers(desk) == [(1, "DJ-2026-0001"), (2, "DJ-2026-0002"), (3, "DJ-2026-0003")]


def test_the_ten_thousandth_job_of_a_year_is_numbered_too(desk: Desk):
    desk.publish(created())
    desk.connection.execute("UPDATE job_numbers SET last_number = 9998")
    desk.record(Publish(created()), Publish(created()))
    assert numbers(desk)[1:] == [(2, "DJ-2026-9999"), (3, "DJ-2026-10000")]


def test_the_first_creation_decides_that_djactors_numbers(desk: Desk):
    desk.publish(created())
    refused = desk.refusal(created(job_id=50))
    assert refused.code is Code.CONFLICT
    assert refused.message.startswith("jobId")


def test_the_first_creation_decides_that_the_backend_numbers(desk: Desk):
    desk.publish(created(job_id=50, dj_id="A-50"))
    refused = desk.refusal(created())
    assert refused.code is Code.CONFLICT
    assert refused.message.startswith("jobId")
    desk.publish(created(job_id=7))
    assert numbers(desk) == [(7, None), (50, "A-50")]


def test_who_numbers_is_settled_within_a_batch_too(desk: Desk):
    outcomes = desk.record(Publish(created()), Publish(created(job_id=9)), Publish(created())).outcomes
    assert isinstance(outcomes[1], Refused)
    assert [id_ for id_, _ in numbers(desk)] == [1, 2]


def test_a_dj_number_without_an_id_is_refused(desk: Desk):
    refused = desk.refusal(created(dj_id="DJ-2026-0001"))
    assert refused.code is Code.INVALID
    assert refused.message.startswith("djId")


def test_an_id_that_is_taken_is_refused_even_within_a_batch(desk: Desk):
    recorded = desk.record(Publish(created(job_id=5)), Publish(created(job_id=5, title="Again")))
    assert isinstance(recorded.outcomes[1], Refused)
    refused = desk.refusal(created(job_id=5, title="Again"))
    assert refused.code is Code.CONFLICT
    assert refused.message.startswith("jobId")
    assert job(desk, 5)[1] == "Banner Design"


def test_a_dj_number_that_is_taken_is_refused_even_within_a_batch_but_not_across_tenants(desk: Desk):
    recorded = desk.record(Publish(created(job_id=5, dj_id="A")), Publish(created(job_id=6, dj_id="A")))
    assert isinstance(recorded.outcomes[1], Refused)
    refused = desk.refusal(created(job_id=6, dj_id="A"))
    assert refused.code is Code.CONFLICT
    assert refused.message.startswith("djId")
    desk.publish(created(job_id=6, dj_id="A", tenant_id=OTHER, requester_id=20))


def test_the_same_job_id_in_two_tenants_is_two_jobs(desk: Desk):
    desk.publish(created(job_id=5, title="Ours"))
    desk.publish(created(job_id=5, title="Theirs", tenant_id=OTHER, requester_id=20))
    assert (job(desk, 5)[1], job(desk, 5, OTHER)[1]) == ("Ours", "Theirs")


def test_the_last_id_there_is_can_be_used_but_nothing_after_it(desk: Desk):
    desk.publish(assigned(MAX_ID))
    refused = desk.refusal(created())
    assert refused.code is Code.CONFLICT
    assert refused.message.startswith("jobId")


def test_a_job_first_heard_of_by_its_id_keeps_its_assignee_when_it_is_created(desk: Desk):
    first = desk.publish(assigned(5))
    assert [entry["userId"] for entry in first["notifications"]] == [11]
    assert job(desk, 5) == (None, "Job 5", "assigned", None, 11, MORNING_TEXT)
    second = desk.publish(created(job_id=5, dj_id="A-5"))
    assert second["notifications"] == []
    assert job(desk, 5) == ("A-5", "Banner Design", "assigned", 10, 11, MORNING_TEXT)
    assert desk.refusal(created(job_id=5)).code is Code.CONFLICT


def test_a_job_that_djactors_numbers_does_not_take_the_id_of_one_heard_of(desk: Desk):
    desk.publish(assigned(5))
    desk.publish(created())
    assert numbers(desk) == [(5, None), (6, "DJ-2026-0001")]


def test_an_assignment_tells_the_assignee_and_the_tenant(desk: Desk):
    desk.publish(UserUpserted(tenant_id=T, user_id=11, name="John Doe", role="user"))
    answered = desk.publish(created(assignee_id=11))
    new, everyone, updated = packets(desk.announced)
    assert new == (
        11,
        "notification:new",
        {
            "id": 1,
            "type": "job_assigned",
            "priority": "HIGH",
            "title": "DJ-2026-0001 assigned to you",
            "message": "Banner Design",
            "data": {"jobId": 1, "djId": "DJ-2026-0001"},
            "createdAt": MORNING_TEXT,
        },
    )
    assert everyone == (
        None,
        "job:assigned",
        {"jobId": 1, "djId": "DJ-2026-0001", "assigneeId": 11, "assigneeName": "John Doe"},
    )
    assert updated[:2] == (None, "job:updated")
    assert updated[2]["job"]["assigneeName"] == "John Doe"
    assert answered == {
        "eventId": 2,
        "seq": 3,
        "notifications": [{"id": 1, "userId": 11, "type": "job_assigned"}],
        "suppressed": [],
    }


def test_a_creation_without_an_assignee_tells_the_tenant_alone(desk: Desk):
    assert desk.publish(created(watcher_ids=(14, 13, 14)))["notifications"] == []
    ((user_id, name, body),) = packets(desk.announced)
    assert (user_id, name, body["job"]["status"], body["job"]["watcherIds"]) == (None, "job:updated", "open", [13, 14])
    assert desk.rows("SELECT user_id FROM job_watchers ORDER BY 1") == [(13,), (14,)]


def test_an_assignment_to_oneself_is_recorded_but_not_told_and_the_reason_is_kept(desk: Desk):
    answered = desk.publish(created(assignee_id=11, actor_id=11))
    assert answered["notifications"] == []
    assert answered["suppressed"] == [{"userId": 11, "reason": "actor"}]
    assert desk.rows("SELECT id, tenant_id, user_id, event_id, type, reason, created_at FROM suppressions") == [
        (1, T, 11, 1, "job_assigned", "actor", MORNING_TEXT)
    ]
    assert desk.one("SELECT unread_count FROM users WHERE id = 11") == 0


def test_a_request_that_somebody_makes_of_themselves_is_suppressed_under_its_own_name(desk: Desk):
    desk.publish(msgspec.structs.replace(requested(11), actor_id=11))
    assert desk.rows("SELECT user_id, type, reason FROM suppressions") == [(11, "notification.requested", "actor")]


def test_reassigning_tells_the_new_assignee(desk: Desk):
    desk.publish(created(assignee_id=11))
    answered = desk.publish(assigned(1, 12))
    assert [entry["userId"] for entry in answered["notifications"]] == [12]
    assert job(desk, 1)[4] == 12


@pytest.mark.parametrize("status", ["pending_approval", "approved", "completed"])
def test_a_state_that_allows_no_assignment_refuses_it(desk: Desk, status: str):
    desk.publish(created(assignee_id=11))
    desk.connection.execute("UPDATE jobs SET status = ?", (status,))
    refused = desk.refusal(assigned(1, 12))
    assert refused.code is Code.CONFLICT
    assert status in refused.message


def test_users_and_tenants_that_are_not_known_are_created(desk: Desk):
    desk.publish(created(assignee_id=11, approver_id=12, manager_id=13, watcher_ids=(14,)))
    assert desk.rows("SELECT id, name, time_zone FROM tenants") == [(T, "Tenant 1", "UTC")]
    assert desk.rows("SELECT id, tenant_id, name, role FROM users ORDER BY id") == [
        (id_, T, f"User {id_}", "user") for id_ in (10, 11, 12, 13, 14)
    ]


def test_an_upserted_user_has_the_new_name_and_role_and_keeps_the_unread_count(desk: Desk):
    desk.publish(requested(11))
    desk.publish(UserUpserted(tenant_id=T, user_id=11, name="John Doe", role="manager"))
    assert desk.rows("SELECT name, role, unread_count FROM users") == [("John Doe", "manager", 1)]


@pytest.mark.parametrize(
    "event",
    [
        created(requester_id=20),
        created(assignee_id=20),
        created(approver_id=20),
        created(manager_id=20),
        created(actor_id=20),
        created(watcher_ids=(13, 20)),
        assigned(5, 20),
        assigned(5, actor_id=20),
        requested(20),
        msgspec.structs.replace(requested(11), actor_id=20),
        UserUpserted(tenant_id=T, user_id=20, name="Twin", role="admin"),
        UserUpserted(tenant_id=T, user_id=11, name="x", role="user", actor_id=20),
    ],
)
def test_the_same_number_in_another_tenant_is_somebody_else(desk: Desk, event: DomainEvent):
    desk.publish(UserUpserted(tenant_id=OTHER, user_id=20, name="Ann", role="manager"))
    desk.publish(requested(20, OTHER))
    before = desk.rows("SELECT * FROM users WHERE tenant_id = ?", OTHER)
    desk.publish(event)
    assert desk.rows("SELECT * FROM users WHERE tenant_id = ?", OTHER) == before
    assert desk.rows("SELECT name FROM users WHERE tenant_id = ? AND id = 20", T) != [("Ann",)]
    assert [change.tenant_id for change in desk.since(OTHER, 20)] == [OTHER]
    assert [change.tenant_id for change in desk.since(T, 20)] == [T] * len(desk.since(T, 20))


def test_two_people_of_one_number_in_one_batch_have_an_inbox_each(desk: Desk):
    outcomes = desk.record(
        Publish(requested(20, OTHER)), Publish(requested(20)), Publish(requested(20, OTHER))
    ).outcomes
    assert all(answer(outcome)["notifications"] for outcome in outcomes)
    assert desk.fell_back == 0
    assert desk.rows("SELECT tenant_id, id, unread_count FROM users ORDER BY 1") == [(T, 20, 1), (OTHER, 20, 2)]


OF_UNKNOWN = [
    JobAssigned(tenant_id=T, job_id=5, assignee_id=11),
    JobSubmitted(tenant_id=T, job_id=5, approver_id=12),
    JobApproved(tenant_id=T, job_id=5),
    JobRejected(tenant_id=T, job_id=5),
    JobCompleted(tenant_id=T, job_id=5),
    JobDeadlineChanged(tenant_id=T, job_id=5, deadline=None),
    CommentAdded(tenant_id=T, job_id=5, text="x"),
    JobWatched(tenant_id=T, job_id=5, user_id=11),
    JobUnwatched(tenant_id=T, job_id=5, user_id=11),
]
STATES = ["assigned", "pending_approval", "approved", "rejected", "completed", "open", "open", "open", "open"]


@pytest.mark.parametrize("event", OF_UNKNOWN, ids=lambda event: type(event).__name__)
def test_an_unknown_job_is_a_typing_error_where_djactors_numbers(desk: Desk, event: DomainEvent):
    desk.publish(created())
    assert desk.refusal(event).code is Code.NOT_FOUND


@pytest.mark.parametrize("decided", [True, False])
@pytest.mark.parametrize(
    ("event", "status"), list(zip(OF_UNKNOWN, STATES, strict=True)), ids=lambda value: str(value)[:12]
)
def test_elsewhere_it_is_recorded_from_what_the_event_says(desk: Desk, event: DomainEvent, status: str, decided: bool):
    if decided:
        desk.publish(created(job_id=77))
    desk.publish(event)
    assert job(desk, 5)[:4] == (None, "Job 5", status, None)
    # What a comment or a watcher tells of its state is nothing, and that forbids nothing.
    if status == "open":
        desk.publish(JobApproved(tenant_id=T, job_id=5))
        assert job(desk, 5)[2] == "approved"


def test_what_was_heard_of_a_job_stays_when_it_is_created(desk: Desk):
    deadline = datetime(2026, 3, 1, tzinfo=UTC)
    desk.publish(JobDeadlineChanged(tenant_id=T, job_id=5, deadline=deadline))
    desk.publish(JobSubmitted(tenant_id=T, job_id=5, approver_id=12))
    desk.publish(created(job_id=5))
    assert desk.rows("SELECT status, approver_id, deadline FROM jobs") == [
        ("pending_approval", 12, "2026-03-01T00:00:00.000000Z")
    ]
    assert desk.publish(JobApproved(tenant_id=T, job_id=5))["notifications"]


@pytest.mark.parametrize("name", ["Mars/Olympus", "..", "/etc/passwd", "Asia", "Asia/Bangkok "])
def test_a_time_zone_that_is_none_is_refused(desk: Desk, name: str):
    refused = desk.refusal(TenantUpserted(tenant_id=T, name="Acme", time_zone=name))
    assert refused.code is Code.INVALID
    assert refused.message.startswith("timeZone")


def test_a_tenant_keeps_its_time_zone_when_an_upsert_names_none(desk: Desk):
    desk.publish(TenantUpserted(tenant_id=T, name="Acme", time_zone="Asia/Bangkok"))
    desk.publish(TenantUpserted(tenant_id=T, name="Acme & Sons"))
    assert desk.rows("SELECT name, time_zone FROM tenants") == [("Acme & Sons", "Asia/Bangkok")]


def test_every_id_of_a_job_has_its_name_live_and_in_lists(desk: Desk):
    people = {10: "Rita Requester", 11: "Ann Assignee", 12: "Ada Approver", 13: "Max Manager", 14: "Wim Watcher"}
    for user_id, name in people.items():
        desk.publish(UserUpserted(tenant_id=T, user_id=user_id, name=name, role="user"))
    desk.publish(created(assignee_id=11, approver_id=12, manager_id=13, watcher_ids=(14, 99)))
    (*_, (_, _, body)) = packets(desk.announced)
    told = body["job"]
    parts = ("requester", "assignee", "approver", "manager")
    assert [(told[f"{part}Id"], told[f"{part}Name"]) for part in parts] == list(people.items())[:4]
    assert told["watchers"] == [{"id": 14, "name": "Wim Watcher"}, {"id": 99, "name": "User 99"}]
    (listed,) = job_lists.page(desk.connection, tenant_id=T, assignee_id=None, status=None, before=None, limit=5).items
    one = job_lists.job(desk.connection, tenant_id=T, job_id=1)
    assert listed == one
    assert msgspec.json.decode(encode(one)) == told


def test_what_was_told_of_a_job_is_replayed_as_it_was_though_names_have_changed(desk: Desk):
    desk.publish(UserUpserted(tenant_id=T, user_id=11, name="Ann Before", role="user"))
    desk.publish(created(assignee_id=11, watcher_ids=(11,)))
    live = [(change.offset, change.body) for change in desk.announced]
    desk.publish(UserUpserted(tenant_id=T, user_id=11, name="Ann After", role="user"))
    replayed = desk.since(T, 11)
    assert [(change.offset, change.body) for change in replayed] == live
    job = job_lists.job(desk.connection, tenant_id=T, job_id=1)
    assert job is not None
    assert (job.assignee_name, job.watchers[0].name) == ("Ann After", "Ann After")


def test_of_many_watchers_the_first_are_named(desk: Desk):
    ids = tuple(range(1001, 1001 + NAMED_WATCHERS + 5))
    desk.publish(created(watcher_ids=ids))
    (*_, (_, _, body)) = packets(desk.announced)
    one = job_lists.job(desk.connection, tenant_id=T, job_id=1)
    assert msgspec.json.decode(encode(one)) == body["job"]
    assert body["job"]["watcherIds"] == list(ids)
    assert [watcher["id"] for watcher in body["job"]["watchers"]] == list(ids[:NAMED_WATCHERS])
