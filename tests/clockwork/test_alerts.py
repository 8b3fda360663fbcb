"""What the clock's command records: who hears of a deadline, once, and when the clock is to come back."""

import json
from datetime import datetime

import pytest

from djactors.domain.commands import MarkRead, Publish, RaiseAlerts
from djactors.domain.errors import Refused
from djactors.domain.events import JobSubmitted, JobWatched
from djactors.domain.limits import Limits
from djactors.domain.times import utc_text
from djactors.inbox import alerts, days
from djactors.inbox.recorder import Recorder
from tests.clockwork.desk import DAY, HOUR, MINUTE, MORNING, Desk, assigned, completed, job, moved
from tests.engines import begin, commit

DEADLINE = MORNING + 2 * DAY


def created(desk: Desk, deadline: datetime | None = DEADLINE, **options: int | None) -> int:
    """A job, and everything that its people heard of it so far taken out of sight."""
    job_id: int = desk.publish(job(deadline, **options))[0]["notifications"][0]["id"] and desk.one(
        "SELECT max(id) FROM jobs"
    )
    return job_id


def sla(desk: Desk, user_id: int) -> list[str]:
    return [kind for kind in desk.types(user_id) if kind.startswith("sla_")]


def test_the_assignee_hears_a_day_before_and_with_the_manager_when_it_is_over(desk: Desk):
    job_id = created(desk)
    desk.now = DEADLINE - DAY
    assert desk.alert().rows == 1
    assert (sla(desk, 10), sla(desk, 11), sla(desk, 12)) == ([], ["sla_alert_24h"], [])
    desk.now = DEADLINE
    assert desk.alert().rows == 1
    assert (sla(desk, 10), sla(desk, 11)) == ([], ["sla_alert_24h", "sla_alert_overdue"])
    assert sla(desk, 12) == ["sla_alert_overdue"]
    newest = desk.inbox(11)[0]
    assert newest.title == "DJ-2026-0001 is overdue"
    assert newest.priority == "CRITICAL"
    assert newest.message == "Banner Design"
    assert newest.data is not None
    assert json.loads(newest.data) == {"jobId": job_id, "djId": "DJ-2026-0001", "deadline": utc_text(DEADLINE)}


def test_before_the_moment_nothing_is_sent_and_the_moment_is_told(desk: Desk):
    recorded = desk.record()
    assert recorded.next_alert is None
    created(desk)
    assert desk.recorded[-1].next_alert == utc_text(DEADLINE - DAY)
    desk.now = DEADLINE - DAY - HOUR
    sliced = desk.alert()
    assert (sliced.rows, sliced.more, sliced.next_due) == (0, False, utc_text(DEADLINE - DAY))


def test_asked_again_it_sends_nothing_again(desk: Desk):
    created(desk)
    for hours in range(-30, 30):
        desk.now = DEADLINE + hours * HOUR
        desk.alert()
        desk.alert()
    assert sla(desk, 11) == ["sla_alert_24h", "sla_alert_overdue"]
    assert desk.alert().next_due is None


def test_after_a_pause_beyond_the_deadline_only_what_is_still_true_is_sent(desk: Desk):
    created(desk)
    desk.now = DEADLINE + 5 * DAY
    desk.alert()
    assert sla(desk, 11) == ["sla_alert_overdue"]


def test_whoever_has_the_job_at_that_moment_hears_of_it(desk: Desk):
    job_id = created(desk)
    desk.now = DEADLINE - DAY
    desk.publish(assigned(job_id, 21))
    desk.alert()
    assert (sla(desk, 11), sla(desk, 21)) == ([], ["sla_alert_24h"])
    desk.now = DEADLINE
    desk.publish(assigned(job_id, 12))
    desk.alert()
    assert sla(desk, 12) == ["sla_alert_overdue"]  # manager and assignee in one person: once
    assert sla(desk, 21) == ["sla_alert_24h"]


def test_an_alert_in_the_commit_of_what_changes_the_job_sees_the_change(desk: Desk):
    first, second = created(desk), created(desk)
    desk.now = DEADLINE
    desk.record(Publish(completed(first)), Publish(moved(second, DEADLINE + 5 * DAY)), RaiseAlerts(100))
    assert sla(desk, 11) == []


def test_a_job_completed_just_before_is_let_alone(desk: Desk):
    job_id = created(desk)
    desk.now = DEADLINE
    desk.publish(completed(job_id))
    assert desk.alert().rows == 0
    assert desk.one("SELECT next_alert_at FROM jobs") is None


def test_a_moved_deadline_is_told_anew_and_one_taken_away_not_at_all(desk: Desk):
    job_id = created(desk)
    desk.now = DEADLINE
    desk.alert()
    desk.publish(moved(job_id, DEADLINE + DAY))
    assert desk.recorded[-1].next_alert == utc_text(DEADLINE)
    desk.alert()
    assert sla(desk, 11) == ["sla_alert_overdue", "sla_alert_24h"]
    desk.publish(moved(job_id, None))
    desk.now = DEADLINE + 9 * DAY
    desk.alert()
    assert sla(desk, 11) == ["sla_alert_overdue", "sla_alert_24h"]


def test_a_moment_that_an_earlier_program_set_too_early_is_put_right(desk: Desk):
    created(desk)
    desk.connection.execute("UPDATE jobs SET next_alert_at = ?", (utc_text(MORNING),))
    sliced = desk.alert()
    assert (sliced.rows, sliced.next_due) == (1, utc_text(DEADLINE - DAY))
    assert sla(desk, 11) == []


def test_a_job_that_nobody_has_spends_its_alert(desk: Desk):
    job_id = desk.publish(job(DEADLINE, assignee_id=None, manager_id=None)) and 1
    desk.now = DEADLINE - DAY
    desk.alert()
    desk.publish(assigned(job_id, 11))
    desk.alert()
    assert desk.types(11) == ["job_assigned"]


def test_what_does_not_touch_the_deadline_moves_no_alarm(desk: Desk):
    job_id = created(desk)
    desk.publish(JobWatched(tenant_id=1, job_id=job_id, user_id=30))
    assert desk.recorded[-1].next_alert is None
    desk.publish(JobSubmitted(tenant_id=1, job_id=job_id, approver_id=31))
    assert desk.recorded[-1].next_alert is None


def test_alerts_come_in_slices_the_earliest_first(desk: Desk):
    for hours in (5, 1, 4, 2, 3):
        created(desk, DEADLINE + hours * HOUR, assignee_id=100 + hours)
    desk.now = DEADLINE + 6 * HOUR
    for users, more in (((101, 102), True), ((103, 104), True), ((105,), False)):
        before = desk.one("SELECT max(id) FROM notifications")
        sliced = desk.alert(limit=2)
        assert (sliced.rows, sliced.more) == (len(users), more)
        told = desk.rows("SELECT user_id FROM notifications WHERE id > ? AND user_id <> 12 ORDER BY id", before)
        assert [user_id for (user_id,) in told] == list(users)


def test_an_alert_beyond_the_daily_limit_is_explained(desk: Desk):
    desk.limits = Limits(daily_limit=1, critical_beyond_limit=False)
    created(desk)
    desk.now = DEADLINE - HOUR
    desk.alert()
    desk.now = DEADLINE
    desk.alert()
    reasons = desk.rows(
        "SELECT s.user_id, s.type, s.reason, e.job_id FROM suppressions s JOIN domain_events e ON e.id = s.event_id"
    )
    assert reasons == [(11, "sla_alert_overdue", "daily_limit", 1)]


def test_a_clock_that_jumps_to_and_fro_neither_doubles_nor_loses_an_alert(desk: Desk):
    created(desk)
    for now in (DEADLINE - DAY, MORNING, DEADLINE + DAY, DEADLINE - HOUR, DEADLINE + HOUR, MORNING, DEADLINE + DAY):
        desk.now = now
        desk.alert()
    assert sla(desk, 11) == ["sla_alert_24h", "sla_alert_overdue"]


def test_commands_that_are_carried_out_one_by_one_tell_the_earliest_moment_and_sum_up_too(desk: Desk):
    limits = Limits(daily_limit=1)
    commands = [Publish(job(DEADLINE + hours * HOUR)) for hours in (3, 1, 2)]
    begin(desk.connection)
    recorded = Recorder(lambda: desk.now, limits).record_each(desk.connection, [*commands, MarkRead(1, 11, 999)])
    commit(desk.connection)
    assert isinstance(recorded.outcomes[-1], Refused)
    # The second job held something back, the third made its summary due in a minute: before any deadline.
    assert recorded.next_alert == utc_text(MORNING + MINUTE)
    assert desk.types(11) == ["job_assigned", "daily_summary"]
    desk.alert()
    assert desk.alert().next_due == utc_text(DEADLINE + HOUR - DAY)


@pytest.mark.sqlite_only("plans of SQLite")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        (alerts.SELECT_DUE, "idx_jobs_next_alert"),
        (alerts.SELECT_NEXT, "idx_jobs_next_alert"),
        (days.SELECT_DAY, "user_days USING PRIMARY KEY"),
        (days.SELECT_DUE, "idx_user_days_summary_due"),
        (days.SELECT_NEXT_DUE, "idx_user_days_summary_due"),
    ],
)
def test_every_query_of_the_clock_walks_an_index_in_order(desk: Desk, query: str, index: str):
    plan = [row[3] for row in desk.rows(f"EXPLAIN QUERY PLAN {query}", *[1] * query.count("?"))]
    assert index in plan[0]
    # Beside that, only the few tenants that are being imported are looked up.
    assert all("imports" in step for step in plan[1:]), plan
