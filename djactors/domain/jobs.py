"""A job as the workflow sees it, how a domain event changes it, and when people are alerted to its deadline. This code
is pure: it uses no clock and no store.

Rules of the alerts, 24 hours before the deadline and once it has passed:
  * Each alert is sent once for a job and a deadline. A deadline that is moved to a new time gets its own alerts. If it
    is moved back to an earlier time, the alerts that were sent for that time are not sent again.
  * Only an alert that is still true is sent. If the server was down until after the deadline, the job is overdue, and
    nobody is told that it is due within 24 hours.
  * A completed or cancelled job gets no alert, and neither does a job without a deadline.
  * The assignee at that moment is notified, and of an overdue job also its manager. If there is nobody, the alert
    counts as sent, because whoever gets the job later is notified of the assignment.

Source: the contract's job shape and its list of states; the seed's table of notification types for the alerts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from djactors.domain.errors import Code, Refused
from djactors.domain.events import (
    CommentAdded,
    JobApproved,
    JobAssigned,
    JobCancelled,
    JobCompleted,
    JobCreated,
    JobDeadlineChanged,
    JobRejected,
    JobRetitled,
    JobSubmitted,
    JobUnwatched,
    JobWatched,
)
from djactors.domain.names import Named
from djactors.domain.times import UtcText, from_text, utc_text

JobEvent: TypeAlias = (
    JobAssigned
    | JobSubmitted
    | JobApproved
    | JobRejected
    | JobCompleted
    | JobCancelled
    | JobRetitled
    | JobDeadlineChanged
    | CommentAdded
    | JobWatched
    | JobUnwatched
)
"""Events about a job that exists, or that is heard of for the first time by this event."""

Status: TypeAlias = Literal["open", "assigned", "pending_approval", "approved", "rejected", "completed", "cancelled"]

FINISHED: tuple[Status, ...] = ("completed", "cancelled")
"""The states that a job does not leave."""

SlaAlert: TypeAlias = Literal["sla_alert_24h", "sla_alert_overdue"]

WARNING = timedelta(hours=24)
"""How long before the deadline the first alert is due (seed)."""

REMEMBERED = 8
"""The number of deadlines for which a job remembers that an alert was sent. So many fit into the column, and few
deadlines move that often."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job of one tenant. `dj_id` is None for a job that was first heard of by its bare id. Times are UTC texts.

    The last four fields belong to the alerts: when the clock must look at the job, the deadlines for which each alert
    was sent, and whether a person set the deadline, so that the alerts count as caused by a person.
    """

    tenant_id: int
    id: int
    dj_id: str | None
    title: str
    status: Status
    created_at: str
    updated_at: str
    project_id: int | None = None
    job_type_id: int | None = None
    requester_id: int | None = None
    assignee_id: int | None = None
    approver_id: int | None = None
    manager_id: int | None = None
    deadline: str | None = None
    next_alert_at: str | None = None
    alerted_24h: str | None = None
    alerted_overdue: str | None = None
    deadline_by_person: bool = False

    @property
    def label(self) -> str:
        """The job's name for people: `DJ-2026-0005`, or `Job 5` if no such number is known."""
        return self.dj_id or f"Job {self.id}"


NAMED_WATCHERS = 100
"""Watchers of a job who are shown with their names: more than anybody reads. Thousands of people may watch a job, and
each of its changes is told to everybody in the tenant and kept in the log."""


class JobView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A job as clients see it. The name beside an id is what the person was called at the moment of the view."""

    id: int
    dj_id: str | None
    title: str
    project_id: int | None
    job_type_id: int | None
    status: Status
    requester_id: int | None
    requester_name: str | None
    assignee_id: int | None
    assignee_name: str | None
    approver_id: int | None
    approver_name: str | None
    manager_id: int | None
    manager_name: str | None
    watcher_ids: tuple[int, ...]
    watchers: tuple[Named, ...]
    deadline: UtcText | None
    created_at: UtcText
    updated_at: UtcText


Names: TypeAlias = tuple[str | None, str | None, str | None, str | None]
"""The names of a job's requester, assignee, approver and manager; None where there is nobody."""


def dj_id(year: int, number: int) -> str:
    """The DJ number, such as `DJ-2026-0005`: the year, and the job's number in that year with at least four digits
    (seed)."""
    return f"DJ-{year:04d}-{number:04d}"


def created(event: JobCreated, job_id: int, number: str | None, earlier: Job | None, now: str) -> Job:
    """The job that a `job.created` makes, with the id and the DJ number that the store has settled.

    `earlier` is what was heard of the job before, by its bare id. Whatever the event does not name stays as it was. If
    the job was already submitted, approved, completed or cancelled, the creation comes late. It then fills in what is
    missing, but it neither reopens the job nor takes it from the people who work on it. A deadline that was heard of
    before is always newer than the one in the creation, because only a later move of the deadline can have set it.
    """
    if earlier is None:
        earlier = first_heard_of(event.tenant_id, job_id, now)
    late = earlier.status not in MOVES["assign"]
    assigned = event.assignee_id is not None and not late
    job = Job(
        tenant_id=event.tenant_id,
        id=job_id,
        dj_id=number,
        title=event.title,
        status="assigned" if assigned else earlier.status,
        project_id=event.project_id,
        job_type_id=event.job_type_id,
        requester_id=event.requester_id,
        assignee_id=_settled(event.assignee_id, earlier.assignee_id, late),
        approver_id=_settled(event.approver_id, earlier.approver_id, late),
        manager_id=event.manager_id,
        deadline=earlier.deadline or _text(event.deadline),
        created_at=earlier.created_at,
        updated_at=now,
        next_alert_at=earlier.next_alert_at,
        alerted_24h=earlier.alerted_24h,
        alerted_overdue=earlier.alerted_overdue,
        deadline_by_person=earlier.deadline_by_person,
    )
    return scheduled(job)


def _settled(named: int | None, heard: int | None, late: bool) -> int | None:
    """The person in a part: the one whom the creation names, or else the one heard of before; if late, vice versa."""
    first, second = (heard, named) if late else (named, heard)
    return second if first is None else first


def first_heard_of(tenant_id: int, job_id: int, now: str) -> Job:
    """A job that was never created here, because an installation may begin in the middle of a job's life."""
    return Job(
        tenant_id=tenant_id,
        id=job_id,
        dj_id=None,
        title=f"Job {job_id}",
        status="open",
        created_at=now,
        updated_at=now,
    )


def after(job: Job, event: JobEvent, now: str) -> Job:
    """The job after an event. Comments and watchers leave it as it is."""
    return scheduled(_moved(job, event, now))


def _moved(job: Job, event: JobEvent, now: str) -> Job:
    match event:
        case JobAssigned(assignee_id=assignee_id):
            return replace(job, assignee_id=assignee_id, status="assigned", updated_at=now)
        case JobSubmitted(approver_id=approver_id):
            approver_id = job.approver_id if approver_id is None else approver_id
            return replace(job, approver_id=approver_id, status="pending_approval", updated_at=now)
        case JobApproved():
            return replace(job, status="approved", updated_at=now)
        case JobRejected():
            return replace(job, status="rejected", updated_at=now)
        case JobCompleted():
            return replace(job, status="completed", updated_at=now)
        case JobCancelled():
            return replace(job, status="cancelled", updated_at=now)
        case JobRetitled(title=title):
            return replace(job, title=title, updated_at=now)
        case JobDeadlineChanged(deadline=deadline):
            return replace(job, deadline=_text(deadline), updated_at=now)
        case _:
            return job


def view(job: Job, names: Names, watcher_ids: tuple[int, ...], watchers: tuple[Named, ...]) -> JobView:
    """The job as clients see it, with names and watchers, which are not part of the job itself.

    `watchers` are the first `NAMED_WATCHERS` of `watcher_ids`.
    """
    requester_name, assignee_name, approver_name, manager_name = names
    return JobView(
        id=job.id,
        dj_id=job.dj_id,
        title=job.title,
        project_id=job.project_id,
        job_type_id=job.job_type_id,
        status=job.status,
        requester_id=job.requester_id,
        requester_name=requester_name,
        assignee_id=job.assignee_id,
        assignee_name=assignee_name,
        approver_id=job.approver_id,
        approver_name=approver_name,
        manager_id=job.manager_id,
        manager_name=manager_name,
        watcher_ids=watcher_ids,
        watchers=watchers,
        deadline=job.deadline,
        created_at=job.created_at,
        updated_at=job.updated_at,
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else utc_text(moment)


MOVES: Mapping[str, tuple[Status, ...]] = {
    "assign": ("open", "assigned", "rejected"),
    "submit": ("assigned", "rejected"),
    "approve": ("pending_approval",),
    "reject": ("pending_approval",),
    "complete": ("open", "assigned", "approved", "rejected"),
    "cancel": ("open", "assigned", "pending_approval", "approved", "rejected"),
}
"""The states in which each move is allowed. This is the whole state machine, as the contract draws it."""


_MOVE_OF: Mapping[type, str] = {
    JobAssigned: "assign",
    JobSubmitted: "submit",
    JobApproved: "approve",
    JobRejected: "reject",
    JobCompleted: "complete",
    JobCancelled: "cancel",
}
"""The move that each event is. Other events are no moves."""


def check_move(job: Job, event: JobEvent) -> None:
    """Refuse a move that the job's state does not allow.

    Raises:
        Refused: `conflict`, with a message that says what is allowed.
    """
    if job.status == "open" and job.requester_id is None:
        return  # The job's state is not known here: see `first_heard_of`.
    move = _MOVE_OF.get(type(event))
    if move is not None and job.status not in MOVES[move]:
        allowed = [name for name, states in MOVES.items() if job.status in states]
        raise Refused(
            Code.CONFLICT,
            f"{job.label} is {job.status}: {move} is not allowed; allowed: {', '.join(allowed) or 'nothing'}",
        )


# Alerts


def next_alert(job: Job) -> datetime | None:
    """The moment of the job's next alert, which may have passed already. None if the job, as it is now, needs none."""
    if job.deadline is None or job.status in FINISHED or _was_sent(job.alerted_overdue, job.deadline):
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
        return scheduled(replace(job, alerted_overdue=_remember(job.alerted_overdue, job.deadline)))
    return scheduled(replace(job, alerted_24h=_remember(job.alerted_24h, job.deadline)))


def scheduled(job: Job) -> Job:
    """The job with the moment at which the clock must look at it. Whatever changes a job here ends with this."""
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
