"""Carries out the commands of the clock: sends the SLA alerts and the daily summaries that are due, each exactly once.

An alert is a domain event that the clock publishes. The alert has a row of its own in `domain_events`, so that an admin
can find out why somebody was not notified of it.
"""

from __future__ import annotations

from djactors.domain import jobs
from djactors.domain.commands import RaiseAlerts, SendSummaries, Sliced
from djactors.domain.jobs import Job, SlaAlert
from djactors.inbox import notices, telling
from djactors.inbox.rows import SERVED
from djactors.inbox.unit import UnitOfWork

# Both are served by idx_jobs_next_alert.
SELECT_DUE = f"""SELECT tenant_id, id FROM jobs WHERE next_alert_at <= ? AND {SERVED}
    ORDER BY next_alert_at, tenant_id, id LIMIT ?"""
SELECT_NEXT = f"""SELECT next_alert_at FROM jobs WHERE next_alert_at IS NOT NULL AND {SERVED}
    ORDER BY next_alert_at LIMIT 1"""


def raise_alerts(unit: UnitOfWork, command: RaiseAlerts) -> Sliced:
    """Look at the jobs whose moment has come, earliest first. Send what is due, and set the next moment of each job."""
    unit.flush()
    found = unit.connection.execute(SELECT_DUE, (unit.now, command.limit)).fetchall()
    due = unit.held(found, 0)
    for tenant_id, job_id in due:
        job = unit.jobs.get(tenant_id, job_id)
        assert job is not None
        alert = jobs.due_alert(job, unit.moment)
        if alert is None:
            # The moment of this job is not the one that was saved, because the rules have changed since.
            job = jobs.scheduled(job)
        else:
            _publish(unit, job, alert)
            job = jobs.alerted(job, alert)
        unit.save_job(job)
    unit.flush()
    row = unit.connection.execute(SELECT_NEXT).fetchone()
    return Sliced(len(due), len(found) == command.limit or len(due) < len(found), None if row is None else row[0])


def send_summaries(unit: UnitOfWork, command: SendSummaries) -> Sliced:
    """Send the summaries that are due: the minute in which a user gets at most one summary is over."""
    unit.flush()
    found = unit.days.due(unit.now, command.limit)
    due = unit.held(found, 0)
    for key in due:
        notices.send_summary(unit, unit.days.get(*key))
    unit.flush()
    return Sliced(len(due), len(found) == command.limit or len(due) < len(found), unit.days.next_due())


def _publish(unit: UnitOfWork, job: Job, alert: SlaAlert) -> None:
    tenant = unit.ensure_tenant(job.tenant_id)
    event_id = unit.next_id("domain_events")
    told = telling.told(unit, job, (alert,), data={"deadline": job.deadline})
    notices.tell(unit, tenant, event_id, told.drafts, job.id, by_person=job.deadline_by_person)
    unit.add_event((event_id, tenant.id, alert, None, job.id, tenant.last_seq, unit.now, unit.now))
