"""Who may do what to a job: by the role and by the part that a person has in it. One table.

A service is trusted: what it publishes happened. These rules are for people, who act through the job routes.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from djactors.domain import events
from djactors.domain.errors import Code, Refused
from djactors.domain.events import Role
from djactors.domain.jobs import Job


class Person(msgspec.Struct, frozen=True):
    """Who acts, as a token proves it."""

    user_id: int
    role: Role


ANYONE = "anyone"
"""The part of whoever is in the tenant."""

PERMISSIONS: Mapping[type, tuple[str, tuple[str, ...], tuple[Role, ...]]] = {
    events.JobCreated: ("create", (ANYONE,), ()),
    events.JobAssigned: ("assign", ("requester", "manager"), ("manager", "admin")),
    events.JobSubmitted: ("submit", ("assignee", "manager"), ("manager", "admin")),
    events.JobApproved: ("approve", ("approver",), ("admin",)),
    events.JobRejected: ("reject", ("approver",), ("admin",)),
    events.JobCompleted: ("complete", ("assignee", "requester", "manager"), ("manager", "admin")),
    events.JobDeadlineChanged: ("move the deadline of", ("requester", "manager"), ("manager", "admin")),
    events.CommentAdded: ("comment on", (ANYONE,), ()),
    events.JobWatched: ("watch", (ANYONE,), ()),
    events.JobUnwatched: ("stop watching", (ANYONE,), ()),
}
"""For each event: the verb, the parts in the job that may, and the roles that may whatever their part."""


def check(person: Person, event: object, job: Job | None) -> None:
    """Refuse what a person may not do.

    Raises:
        Refused: `forbidden`, with a message that says who may.
    """
    verb, parts, roles = PERMISSIONS[type(event)]
    if ANYONE in parts or person.role in roles:
        return
    if job is not None and person.user_id in (getattr(job, f"{part}_id") for part in parts):
        return
    label = "a job" if job is None else job.label
    people = ", ".join((*(f"its {part}" for part in parts), *(f"the role {role}" for role in roles)))
    raise Refused(Code.FORBIDDEN, f"you may not {verb} {label}; who may: {people}")
