"""When a job's deadline is told to people: 24 hours before it and once it has passed. Pure: no clock, no store.

Rules:
  * Each alert is sent once for a job and a deadline. A deadline that moved is another one and starts anew; moved back,
    it is the one that was told already.
  * What is still true is sent, not what is stale: after a pause beyond the deadline the job is overdue, and nobody is
    told that it is due in 24 hours.
  * A completed job gets none, and neither does one without a deadline.
  * Whoever is the assignee (and the manager) at that moment hears of it. If that is nobody, the alert is spent all the
    same: whoever gets the job later is told so by the assignment.

Source: the seed's table of notification types.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from msgspec.structs import replace

from djactors.domain.jobs import Job
from djactors.domain.times import from_text, utc_text

SlaAlert: TypeAlias = Literal["sla_alert_24h", "sla_alert_overdue"]

WARNING = timedelta(hours=24)
"""How long before the deadline the first alert is due (seed)."""

REMEMBERED = 8
"""Deadlines of which a job remembers that they were told: so many fit into the column, and few ever move so often."""


def next_alert(job: Job) -> datetime | None:
    """The moment of the job's next alert; it may have passed. None if there will be none as things are."""
    if job.deadline is None or job.status == "completed" or _was_sent(job.alerted_overdue, job.deadline):
        return None
    deadline = from_text(job.deadline)
    if _was_sent(job.alerted_24h, job.deadline):
        return deadline
    return max(deadline, _FIRST) - WARNING


def due_alert(job: Job, now: datetime) -> SlaAlert | None:
    """The alert that is to be sent for the job now; None before its moment."""
    moment = next_alert(job)
    if moment is None or job.deadline is None or now < moment:
        return None
    return "sla_alert_overdue" if now >= from_text(job.deadline) else "sla_alert_24h"


def alerted(job: Job, alert: SlaAlert) -> Job:
    """The job after an alert was sent for its deadline."""
    if alert == "sla_alert_overdue":
        return replace(job, alerted_overdue=_remember(job.alerted_overdue, job.deadline))
    return replace(job, alerted_24h=_remember(job.alerted_24h, job.deadline))


def scheduled(job: Job) -> Job:
    """The job with the moment at which the clock is to look at it: what every job that is saved goes through."""
    moment = next_alert(job)
    text = None if moment is None else utc_text(moment)
    return job if text == job.next_alert_at else replace(job, next_alert_at=text)


_FIRST = datetime.min.replace(tzinfo=UTC) + WARNING
"""A deadline before this has no moment 24 hours before it."""


def _was_sent(deadlines: str | None, deadline: str) -> bool:
    return deadlines is not None and deadline in deadlines.split(" ")


def _remember(deadlines: str | None, deadline: str | None) -> str | None:
    if deadline is None:
        return deadlines
    earlier = [] if deadlines is None else deadlines.split(" ")
    return " ".join([*earlier, deadline][-REMEMBERED:])
