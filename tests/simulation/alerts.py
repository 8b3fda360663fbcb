"""Judges the alerts of deadlines: each is sent once, and none is left out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.history import Finding

SELECT_JOBS = "SELECT tenant_id, id, deadline FROM jobs WHERE id >= ? AND deadline IS NOT NULL"
SELECT_ALERTS = """SELECT count(*) FROM domain_events WHERE tenant_id = ? AND job_id = ? AND type = ?"""


def judge_alerts(database: Path, first_job: int, now: str) -> Iterator[Finding]:
    """Of the jobs from this number on, which nobody touched again, each has its alerts at a time that is the log's."""
    with closing(sqlite3.connect(database)) as connection:
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
