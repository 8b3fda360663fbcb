"""When people are alerted to a job's deadline: 24 hours before it, and once it has passed. Pure: no clock, no store.

Rules:
  * Each alert is sent once for a job and a deadline. A deadline that is moved to a new time gets its own alerts. If it
    is moved back to an earlier time, the alerts that were sent for that time are not sent again.
  * Only an alert that is still true is sent. If the server was down until after the deadline, the job is overdue, and
    nobody is told that it is due within 24 hours.
  * A completed job gets no alert, and neither does a job without a deadline.
  * The assignee at that moment is notified, and of an overdue job also its manager. If there is nobody, the alert
    counts as sent, because whoever gets the job later is notified of the assignment.

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
"""The number of deadlines for which a job remembers that an alert was sent. So many fit into the column, and few
deadlines move that often."""


def next_alert(job: Job) -> datetime | None:
    """The moment of the job's next alert, which may have passed already. None if the job, as it is now, needs none."""
    if job.deadline is None or job.status == "completed" or _was_sent(job.alerted_overdue, job.deadline):
        return None
    deadline = from_text(job.deadline)
    if _was_sent(job.alerted_24h, job.deadline):
        return deadline
    return max(deadline, _FIRST) - WARNING


def due_alert(job: Job, now: datetime) -> SlaAlert | None:
    """The alert that must be sent for the job now; None if its moment has not come."""
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
    """The job with the moment at which the clock must look at it. Every job that is saved goes through this
    function."""
    moment = next_alert(job)
    text = None if moment is None else utc_text(moment)
    return job if text == job.next_alert_at else replace(job, next_alert_at=text)


_FIRST = datetime.min.replace(tzinfo=UTC) + WARNING
"""Before this deadline, there is no moment that is 24 hours earlier."""


def _was_sent(deadlines: str | None, deadline: str) -> bool:
    return deadlines is not None and deadline in deadlines.split(" ")


def _remember(deadlines: str | None, deadline: str | None) -> str | None:
    if deadline is None:
        return deadlines
    earlier = [] if deadlines is None else deadlines.split(" ")
    return " ".join([*earlier, deadline][-REMEMBERED:])
