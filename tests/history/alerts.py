"""Judges the alerts of deadlines: each is sent once, and none is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.history.findings import Finding
from tests.history.tables import reading

SELECT_JOBS = "SELECT tenant_id, id, deadline FROM jobs WHERE id >= ? AND deadline IS NOT NULL"
SELECT_ALERTS = """SELECT count(*) FROM domain_events WHERE tenant_id = ? AND job_id = ? AND type = ?"""
SELECT_TOLD_TWICE = """SELECT tenant_id, job_id, user_id, type, count(*) FROM notifications
    WHERE job_id >= ? AND type IN ('sla_alert_24h', 'sla_alert_overdue')
    GROUP BY tenant_id, job_id, user_id, type HAVING count(*) > 1"""


def judge_alerts(
    place: Path | str, first_job: int, now: str, *, must_warn_before: str | None = None
) -> Iterator[Finding]:
    """Of the jobs from this number on, which nobody touched again, each has its alerts at a time that is the log's.

    A job whose deadline is before `must_warn_before` has had at least one alert, of either kind.
    """
    with reading(place) as connection:
        for tenant_id, job_id, deadline in connection.execute(SELECT_JOBS, (first_job,)).fetchall():
            warned, overdue = (
                connection.execute(SELECT_ALERTS, (tenant_id, job_id, kind)).fetchone()[0]
                for kind in ("sla_alert_24h", "sla_alert_overdue")
            )
            who = f"job {job_id} of tenant {tenant_id}"
            if warned > 1 or overdue > 1:
                yield Finding("stored once", who, f"was warned of {warned} times, and overdue {overdue} times")
            if overdue == 0 and deadline < now:
                yield Finding("stored once", who, f"was due at {deadline}, and nobody was told until {now}")
            if warned + overdue == 0 and must_warn_before is not None and deadline < must_warn_before:
                yield Finding("stored once", who, f"is due at {deadline}, and nobody was warned until {now}")
        for tenant_id, job_id, user_id, kind, times in connection.execute(SELECT_TOLD_TWICE, (first_job,)).fetchall():
            yield Finding(
                "stored once", f"job {job_id} of tenant {tenant_id}", f"{kind} was sent {times} times to user {user_id}"
            )
