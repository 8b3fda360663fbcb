"""When an alert is due, by the table and against a model that looks at every moment."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from djactors.domain.jobs import REMEMBERED, Job, SlaAlert, alerted, due_alert, next_alert, scheduled
from djactors.domain.times import utc_text
from tests.clockwork.desk import DAY, HOUR

NOON = datetime(2026, 1, 27, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
JOB = Job(tenant_id=1, id=5, dj_id=None, title="Banner", status="assigned", created_at="", updated_at="")
DUE_AT_NOON = replace(JOB, deadline=utc_text(NOON))


@pytest.mark.parametrize(
    ("now", "alert"),
    [
        (NOON - DAY - MICROSECOND, None),
        (NOON - DAY, "sla_alert_24h"),
        (NOON - MICROSECOND, "sla_alert_24h"),
        (NOON, "sla_alert_overdue"),
        (NOON + 400 * DAY, "sla_alert_overdue"),
    ],
)
def test_the_alert_that_is_true_at_a_moment_is_due(now: datetime, alert: SlaAlert | None):
    assert due_alert(DUE_AT_NOON, now) == alert


def test_each_alert_is_due_once_for_a_deadline():
    job = alerted(DUE_AT_NOON, "sla_alert_24h")
    assert due_alert(job, NOON - HOUR) is None
    assert next_alert(job) == NOON
    job = alerted(job, "sla_alert_overdue")
    assert due_alert(job, NOON + HOUR) is None
    assert next_alert(job) is None


def test_who_was_told_that_it_is_overdue_is_not_told_that_it_is_due_when_the_clock_is_set_back():
    job = alerted(DUE_AT_NOON, "sla_alert_overdue")
    assert due_alert(job, NOON - HOUR) is None
    assert next_alert(job) is None


def test_a_moved_deadline_starts_anew_and_one_that_is_moved_back_does_not():
    job = alerted(alerted(DUE_AT_NOON, "sla_alert_24h"), "sla_alert_overdue")
    later = replace(job, deadline=utc_text(NOON + DAY))
    assert due_alert(later, NOON) == "sla_alert_24h"
    back = replace(alerted(later, "sla_alert_24h"), deadline=utc_text(NOON))
    assert due_alert(back, NOON) is None


def test_a_completed_job_and_one_without_a_deadline_have_no_moment():
    assert next_alert(JOB) is None
    done = replace(DUE_AT_NOON, status="completed")
    assert next_alert(done) is None
    assert due_alert(done, NOON) is None


def test_the_first_day_of_all_has_no_moment_before_it():
    job = replace(JOB, deadline="0001-01-01T05:00:00.000000Z")
    assert next_alert(job) == datetime.min.replace(tzinfo=UTC)
    assert scheduled(job).next_alert_at == "0001-01-01T00:00:00.000000Z"


def test_what_a_job_remembers_fits_its_column():
    job = JOB
    for hours in range(3 * REMEMBERED):
        job = alerted(replace(job, deadline=utc_text(NOON + hours * HOUR)), "sla_alert_24h")
    assert job.alerted_24h is not None
    assert len(job.alerted_24h) <= 255
    assert len(job.alerted_24h.split(" ")) == REMEMBERED


class Model:
    """Looks at one job at every hour, and remembers everything."""

    def __init__(self) -> None:
        self.told: set[tuple[str, int]] = set()
        self.log: list[tuple[int, str, int]] = []

    def look(self, now: int, deadline: int | None, *, done: bool) -> None:
        if deadline is None or done or ("sla_alert_overdue", deadline) in self.told:
            return
        alert = "sla_alert_overdue" if now >= deadline else "sla_alert_24h" if now >= deadline - 24 else None
        if alert is not None and (alert, deadline) not in self.told:
            self.told.add((alert, deadline))
            self.log.append((now, alert, deadline))


moves = st.lists(
    st.tuples(st.integers(-30, 60), st.one_of(st.none(), st.integers(0, 60)), st.sampled_from(["open", "completed"])),
    max_size=REMEMBERED,
)


@given(moves)
def test_looking_at_the_next_moments_alone_finds_what_looking_at_every_hour_finds(
    steps: list[tuple[int, int | None, str]],
):
    """The steps are hours by which the clock goes on (or back), then a new deadline and state."""
    model, found, job, now = Model(), [], JOB, 0
    for hours, deadline, status in steps:
        for hour in range(now + min(hours, 0), now + hours + 1) if hours >= 0 else [now + hours]:
            model.look(hour, _hour(job), done=job.status == "completed")
            moment = next_alert(job)
            # Only where the moment says so is the job looked at.
            while moment is not None and NOON + hour * HOUR >= moment:
                alert = due_alert(job, NOON + hour * HOUR)
                assert alert is not None
                found.append((hour, alert, _hour(job)))
                job = alerted(job, alert)
                moment = next_alert(job)
        now += hours
        text = None if deadline is None else utc_text(NOON + deadline * HOUR)
        job = replace(job, deadline=text, status=status)
    assert found == model.log


def _hour(job: Job) -> int | None:
    return None if job.deadline is None else int((datetime.fromisoformat(job.deadline) - NOON) / HOUR)
