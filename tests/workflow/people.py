"""The people around a job, each with one part in it, and the events of its life."""

from __future__ import annotations

import msgspec

from djactors.domain import events
from djactors.domain.commands import Introduce
from djactors.domain.events import DomainEvent, JobCreated
from djactors.domain.permissions import Person
from tests.inbox.desk import Desk

T, OTHER = 1, 2
REQUESTER, ASSIGNEE, APPROVER, MANAGER, WATCHER, FAN, STRANGER, ACTOR = 10, 11, 12, 13, 14, 15, 16, 17
PARTS = {
    "Requester": REQUESTER,
    "Assignee": ASSIGNEE,
    "Approver": APPROVER,
    "Manager": MANAGER,
    "Watcher": WATCHER,
    "Fan": FAN,
    "Stranger": STRANGER,
}
NAMES = {**{id_: name for name, id_ in PARTS.items()}, ACTOR: "Actor"}

CREATED = JobCreated(
    tenant_id=T,
    title="Banner Design",
    requester_id=REQUESTER,
    approver_id=APPROVER,
    manager_id=MANAGER,
    watcher_ids=(WATCHER, FAN),
)
ASSIGNED = events.JobAssigned(tenant_id=T, job_id=1, assignee_id=ASSIGNEE)
SUBMITTED = events.JobSubmitted(tenant_id=T, job_id=1)
APPROVED = events.JobApproved(tenant_id=T, job_id=1)
REJECTED = events.JobRejected(tenant_id=T, job_id=1, reason="Too dark")
COMPLETED = events.JobCompleted(tenant_id=T, job_id=1)
CANCELLED = events.JobCancelled(tenant_id=T, job_id=1)
RETITLED = events.JobRetitled(tenant_id=T, job_id=1, title="Poster Design")
COMMENTED = events.CommentAdded(tenant_id=T, job_id=1, text="Which font?")
MOVED = events.JobDeadlineChanged(tenant_id=T, job_id=1, deadline=None)
WATCHED = events.JobWatched(tenant_id=T, job_id=1, user_id=STRANGER)
UNWATCHED = events.JobUnwatched(tenant_id=T, job_id=1, user_id=WATCHER)

LIVES: dict[str, list[DomainEvent]] = {
    "open": [],
    "assigned": [ASSIGNED],
    "pending_approval": [ASSIGNED, SUBMITTED],
    "approved": [ASSIGNED, SUBMITTED, APPROVED],
    "rejected": [ASSIGNED, SUBMITTED, REJECTED],
    "completed": [ASSIGNED, COMPLETED],
    "cancelled": [ASSIGNED, CANCELLED],
}
"""How a job comes to each of its states."""


def by(event: DomainEvent, actor_id: int | None) -> DomainEvent:
    """The same event, done by somebody."""
    changed: DomainEvent = msgspec.structs.replace(event, actor_id=actor_id)
    return changed


def live(desk: Desk, status: str, **changes: object) -> None:
    """Make a job of a state, done by nobody, around people with names; forget what was announced."""
    for id_, name in NAMES.items():
        # By their own tokens, so that a token's role counts.
        desk.do(Introduce(T, Person(id_, "user", name)))
    desk.publish(msgspec.structs.replace(CREATED, **changes))
    for event in LIVES[status]:
        desk.publish(event)
    assert desk.one("SELECT status FROM jobs") == status
    desk.announced.clear()
