"""Who hears of what: the seed's table of notification types, row by row."""

import json

import pytest

from djactors.domain.jobs import Job
from djactors.domain.notification_rules import BUILT_IN_RULES, RULES, Told, apply
from djactors.domain.notification_types import EVENTS
from djactors.domain.notifications import Draft

ASSIGNEE, APPROVER, REQUESTER, MANAGER, WATCHER_1, WATCHER_2, STRANGER = 1, 2, 3, 4, 5, 6, 7
JOB = Job(
    tenant_id=1,
    id=5,
    dj_id="DJ-2026-0005",
    title="Banner Design",
    status="assigned",
    created_at="2026-01-27T10:30:00.000000Z",
    updated_at="2026-01-27T10:30:00.000000Z",
    requester_id=REQUESTER,
    assignee_id=ASSIGNEE,
    approver_id=APPROVER,
    manager_id=MANAGER,
)
WORDS = "Please use the new logo"


def told(kind: str, job: Job = JOB, *, actor_id: int | None = STRANGER, words: str | None = WORDS) -> Told:
    return apply(
        (RULES[kind],),
        job,
        actor_id=actor_id,
        actor_name="Mary",
        watchers=lambda: (WATCHER_1, WATCHER_2),
        words=words,
    )


def job(**changes: int | str | None) -> Job:
    return Job(**{**{name: getattr(JOB, name) for name in Job.__struct_fields__}, **changes})


@pytest.mark.parametrize(
    ("kind", "priority", "users", "title", "message"),
    [
        ("job_assigned", "HIGH", [ASSIGNEE], "DJ-2026-0005 assigned to you", "Banner Design"),
        ("approval_needed", "CRITICAL", [APPROVER], "DJ-2026-0005 needs your approval", "Banner Design"),
        ("approval_approved", "MEDIUM", [REQUESTER], "DJ-2026-0005 approved", "Banner Design"),
        ("approval_rejected", "HIGH", [REQUESTER, ASSIGNEE], "DJ-2026-0005 rejected", WORDS),
        ("sla_alert_24h", "HIGH", [ASSIGNEE], "DJ-2026-0005 is due within 24 hours", "Banner Design"),
        ("sla_alert_overdue", "CRITICAL", [ASSIGNEE, MANAGER], "DJ-2026-0005 is overdue", "Banner Design"),
        ("comment_added", "MEDIUM", [WATCHER_1, WATCHER_2], "Mary commented on DJ-2026-0005", WORDS),
        ("job_completed", "LOW", [REQUESTER], "DJ-2026-0005 completed", "Banner Design"),
    ],
)
def test_each_type_reaches_whom_the_seed_names(kind: str, priority: str, users: list[int], title: str, message: str):
    outcome = told(kind)
    assert [draft.user_id for draft in outcome.drafts] == users
    assert outcome.suppressed == ()
    for draft in outcome.drafts:
        assert (draft.type, draft.priority, draft.title, draft.message) == (kind, priority, title, message)
        assert draft.data is not None
        assert json.loads(draft.data) == {"jobId": 5, "djId": "DJ-2026-0005"}


def test_there_are_the_seeds_eight_types_and_the_one_for_mentions():
    assert len(RULES) == 8 + 1
    assert all(RULES[kind].type == kind for kind in RULES)


CAUSED = {
    "job.assigned": ["job_assigned"],
    "job.submitted": ["approval_needed"],
    "job.approved": ["approval_approved"],
    "job.rejected": ["approval_rejected"],
    "comment.added": ["mentioned", "comment_added"],
    "job.completed": ["job_completed"],
    "sla_alert_24h": ["sla_alert_24h"],
    "sla_alert_overdue": ["sla_alert_overdue"],
}


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_sets_off_its_types_and_no_others(event: str):
    assert [rule.type for rule in BUILT_IN_RULES.caused_by(event)] == CAUSED.get(event, [])


def test_what_is_two_events_at_once_sets_off_the_types_of_both():
    assert [rule.type for rule in BUILT_IN_RULES.caused_by("job.created", "job.assigned")] == ["job_assigned"]
    assert [rule.type for rule in BUILT_IN_RULES.caused_by("job.cancelled", "comment.added")] == CAUSED["comment.added"]


@pytest.mark.parametrize("kind", sorted(RULES))
def test_nobody_is_notified_of_what_they_did_themselves_and_the_reason_is_kept(kind: str):
    everyone = [draft.user_id for draft in told(kind).drafts]
    for actor in everyone:
        outcome = told(kind, actor_id=actor)
        assert [draft.user_id for draft in outcome.drafts] == [user for user in everyone if user != actor]
        assert outcome.suppressed == ((actor, "actor", kind),)


def test_without_an_actor_everyone_is_told():
    assert [draft.user_id for draft in told("approval_rejected", actor_id=None).drafts] == [REQUESTER, ASSIGNEE]


def test_a_person_with_two_parts_is_told_once():
    both = job(assignee_id=REQUESTER)
    assert [draft.user_id for draft in told("approval_rejected", both).drafts] == [REQUESTER]
    left_out = told("approval_rejected", both, actor_id=REQUESTER).suppressed
    assert left_out == ((REQUESTER, "actor", "approval_rejected"),)
    assert [draft.user_id for draft in told("sla_alert_overdue", job(manager_id=ASSIGNEE)).drafts] == [ASSIGNEE]


@pytest.mark.parametrize("kind", sorted(set(RULES) - {"comment_added"}))
def test_a_part_that_nobody_has_is_passed_over(kind: str):
    empty = job(assignee_id=None, approver_id=None, requester_id=None, manager_id=None)
    assert told(kind, empty) == Told((), ())


def test_watchers_are_asked_for_only_where_they_are_told():
    def watchers() -> tuple[int, ...]:
        raise AssertionError

    for kind in set(RULES) - {"comment_added"}:
        apply((RULES[kind],), JOB, actor_id=None, actor_name="", watchers=watchers)


def test_without_words_of_its_own_a_message_is_the_jobs_title():
    assert {draft.message for draft in told("approval_rejected", words=None).drafts} == {"Banner Design"}


def test_a_job_without_a_number_is_called_by_its_id():
    (draft,) = told("job_assigned", job(dj_id=None)).drafts
    assert draft.title == "Job 5 assigned to you"
    assert json.loads(draft.data or b"") == {"jobId": 5, "djId": None}


def test_what_people_write_is_never_read_as_a_template():
    (draft,) = told("job_assigned", job(title="{actor} {0} {job.title!r} %s", dj_id="{words}")).drafts
    assert draft.message == "{actor} {0} {job.title!r} %s"
    assert draft.title == "{words} assigned to you"


def test_a_title_never_outgrows_its_column():
    outcome = apply(
        (RULES["comment_added"],), JOB, actor_id=None, actor_name="😀" * 255, watchers=lambda: (WATCHER_1,), words="x"
    )
    assert len(outcome.drafts[0].title) == 255


def test_a_type_can_add_to_the_data():
    outcome = apply(
        (RULES["sla_alert_24h"],), JOB, actor_id=None, actor_name="", watchers=tuple, data={"deadline": "2026-01-28"}
    )
    (draft,) = outcome.drafts
    assert isinstance(draft, Draft)
    assert json.loads(draft.data or b"") == {"jobId": 5, "djId": "DJ-2026-0005", "deadline": "2026-01-28"}
