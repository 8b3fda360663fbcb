"""Who may do what to a job. This depends on a person's role and on the person's part in the job: one table and three
rules.

  * Whoever may give a part in a job away names anybody for it whom the tenant knows. The requester, who makes the job,
    names its assignee, approver and manager, and later those do whom the table names. Each part is one person's. To
    request a job and to watch it is one's own affair: only the roles manager and admin name somebody else for that, at
    the creation as well as later. Otherwise anybody could have hundreds of colleagues notified of each comment. In a
    comment everybody mentions whom they like, but only so many at once, and whoever is mentioned may stop watching.
  * Nobody decides on their own work. Only an admin may make one person both the assignee and the approver of a job, or
    decide on a job as both.
  * An assignee may name the first approver of a job. Only the job's manager and the roles manager and admin may replace
    an approver.

A service is trusted, because it reports events that have already happened. These rules are for people, who act through
the job routes.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from djactors.domain import events
from djactors.domain.errors import Code, Refused
from djactors.domain.events import Name, Role
from djactors.domain.ids import Id
from djactors.domain.jobs import Job


class Person(msgspec.Struct, frozen=True):
    """The person who acts, as a token proves. `name` is used if the tenant does not know the person yet."""

    user_id: Id
    role: Role
    name: Name | None = None

    @property
    def is_backend(self) -> bool:
        """Whether a service acts in the person's name: keys and limits are then those of the backend."""
        return self.role == "service"


ANYONE = "anyone"
"""The part that everybody in the tenant has."""

PERMISSIONS: Mapping[type, tuple[str, tuple[str, ...], tuple[Role, ...]]] = {
    events.JobCreated: ("create", (ANYONE,), ()),
    events.JobAssigned: ("assign", ("requester", "manager"), ("manager", "admin")),
    events.JobSubmitted: ("submit", ("assignee", "manager"), ("manager", "admin")),
    events.JobApproved: ("approve", ("approver",), ("admin",)),
    events.JobRejected: ("reject", ("approver",), ("admin",)),
    events.JobCompleted: ("complete", ("assignee", "requester", "manager"), ("manager", "admin")),
    events.JobCancelled: ("cancel", ("requester", "manager"), ("manager", "admin")),
    events.JobRetitled: ("retitle", ("requester", "manager"), ("manager", "admin")),
    events.JobDeadlineChanged: ("move the deadline of", ("requester", "manager"), ("manager", "admin")),
    events.CommentAdded: ("comment on", (ANYONE,), ()),
    events.JobWatched: ("watch", (ANYONE,), ()),
    events.JobUnwatched: ("stop watching", (ANYONE,), ()),
}
"""For each event: the verb, the parts in the job that allow it, and the roles that allow it without any part."""


def check(person: Person, event: object, job: Job | None) -> None:
    """Refuse what a person may not do.

    Raises:
        Refused: `forbidden`, with a message that says who may do it.
    """
    verb, parts, roles = PERMISSIONS[type(event)]
    if not (ANYONE in parts or person.role in roles or _has_part(person, job, parts)):
        label = "a job" if job is None else job.label
        people = ", ".join((*(f"its {part}" for part in parts), *(f"the role {role}" for role in roles)))
        raise Refused(Code.FORBIDDEN, f"you may not {verb} {label}; who may: {people}")
    if person.role != "admin":
        _check_own_work(person, event, job)


OFFICE: tuple[Role, ...] = ("admin", "service")
"""The roles that may sign somebody out, deactivate and activate somebody."""


def check_office(person: Person, event: object, user_id: int) -> None:
    """Refuse what only an admin may do to a user, and what an admin may not do to themselves.

    Raises:
        Refused: `forbidden`.
    """
    if person.role != "admin":
        raise Refused(Code.FORBIDDEN, "only an admin or a service may activate or deactivate somebody")
    if isinstance(event, events.UserDeactivated) and person.user_id == user_id:
        raise Refused(Code.FORBIDDEN, "nobody deactivates themselves: ask another admin")


ANYBODYS: tuple[Role, ...] = ("manager", "admin")
"""The roles that name somebody else as a requester or a watcher."""


def check_own(person: Person, field: str, *user_ids: int | None) -> None:
    """Refuse somebody else's id where only a person's own is allowed: the first rule of the module.

    Raises:
        Refused: `forbidden`, naming the field.
    """
    if person.role not in ANYBODYS and any(user_id not in (None, person.user_id) for user_id in user_ids):
        raise Refused(Code.FORBIDDEN, f"{field}: only a manager or admin names somebody else: leave it out")


def _has_part(person: Person, job: Job | None, parts: tuple[str, ...]) -> bool:
    return job is not None and person.user_id in (getattr(job, f"{part}_id") for part in parts)


def _check_own_work(person: Person, event: object, job: Job | None) -> None:
    """The other two rules of the module, which do not apply to an admin."""
    match event:
        case events.JobCreated(assignee_id=int(assignee_id), approver_id=approver_id) if assignee_id == approver_id:
            raise _one_person("approverId", assignee_id, "assignee")
        case events.JobAssigned(assignee_id=assignee_id) if job is not None and assignee_id == job.approver_id:
            raise _one_person("assigneeId", assignee_id, "approver")
        case events.JobSubmitted(approver_id=int(approver_id)) if job is not None:
            if approver_id == job.assignee_id:
                raise _one_person("approverId", approver_id, "assignee")
            replaced = job.approver_id not in (None, approver_id)
            if replaced and person.role != "manager" and not _has_part(person, job, ("manager",)):
                raise Refused(
                    Code.FORBIDDEN,
                    f"approverId: {job.label} has an approver, whom only its manager and the roles manager and admin "
                    "may replace: leave it out",
                )
        case events.JobApproved() | events.JobRejected() if job is not None and job.assignee_id == person.user_id:
            verb = PERMISSIONS[type(event)][0]
            raise Refused(
                Code.FORBIDDEN, f"you may not {verb} {job.label}: you are its assignee, and {_OWN}: ask an admin"
            )
        case _:
            pass


_OWN = "nobody decides on their own work"


def _one_person(field: str, user_id: int, part: str) -> Refused:
    message = f"{field}: user {user_id} is the {part}, and {_OWN}: name somebody else, or ask an admin"
    return Refused(Code.FORBIDDEN, message)
