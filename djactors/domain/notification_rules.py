"""Who is notified of what: the seed's table of notification types, as a table, and `mentioned`, which is beyond it.
This code is pure: it uses no clock and no store.

A rule names its audience by the parts that people have in a job, and `recipients` finds these people for one job.
Nobody is notified of what they did themselves. Nobody is notified twice of one event, even if one person has two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum

import msgspec

from djactors.domain import lengths
from djactors.domain.events import Priority
from djactors.domain.jobs import Job
from djactors.domain.notifications import Draft, NotificationType, encode


class Audience(StrEnum):
    """The part that a person has in a job."""

    ASSIGNEE = "assignee"
    APPROVER = "approver"
    REQUESTER = "requester"
    MANAGER = "manager"
    WATCHERS = "watchers"
    MENTIONED = "mentioned"


class Rule(msgspec.Struct, frozen=True):
    """One row of the table.

    `title` and `message` are filled in with the job's label and title, the actor's name, and the event's own words.
    """

    type: NotificationType
    priority: Priority
    audience: tuple[Audience, ...]
    title: str
    message: str = "{job_title}"


_A = Audience
RULES: Mapping[NotificationType, Rule] = {
    rule.type: rule
    for rule in (
        Rule("job_assigned", "HIGH", (_A.ASSIGNEE,), "{job} assigned to you"),
        Rule("approval_needed", "CRITICAL", (_A.APPROVER,), "{job} needs your approval"),
        Rule("approval_approved", "MEDIUM", (_A.REQUESTER,), "{job} approved"),
        Rule("approval_rejected", "HIGH", (_A.REQUESTER, _A.ASSIGNEE), "{job} rejected", "{words}"),
        Rule("sla_alert_24h", "HIGH", (_A.ASSIGNEE,), "{job} is due within 24 hours"),
        Rule("sla_alert_overdue", "CRITICAL", (_A.ASSIGNEE, _A.MANAGER), "{job} is overdue"),
        Rule("comment_added", "MEDIUM", (_A.WATCHERS,), "{actor} commented on {job}", "{words}"),
        Rule("job_completed", "LOW", (_A.REQUESTER,), "{job} completed"),
        Rule("mentioned", "MEDIUM", (_A.MENTIONED,), "{actor} mentioned you in {job}", "{words}"),
    )
}
"""The seed's eight notification types with their priorities and recipients, and `mentioned`."""

TRIGGERS: Mapping[str, NotificationType] = {
    "job.created": "job_assigned",
    "job.assigned": "job_assigned",
    "job.submitted": "approval_needed",
    "job.approved": "approval_approved",
    "job.rejected": "approval_rejected",
    "job.completed": "job_completed",
    "comment.added": "comment_added",
    "job.cancelled": "comment_added",
}
"""The notification type that each domain event causes. The clock causes the two SLA alerts, and a comment causes
`mentioned` for those whom it mentions. The seed knows no type for a job that is cancelled or retitled: neither causes
one, but the reason for which a job is cancelled is a comment, and causes what a comment causes."""

ACTOR = "actor"
"""The recorded reason for not notifying the person who did it."""

DEACTIVATED = "deactivated"
"""The recorded reason for not notifying a person who is deactivated."""

LATE = "late"
"""The recorded reason for not notifying an assignee: the creation that names them came after the job was submitted,
approved, completed or cancelled."""


MUTED = "muted"
"""The recorded reason for not notifying somebody who has muted the job."""

NEVER_MUTED = frozenset({"job_assigned", "approval_needed", "mentioned"})
"""What is told to somebody who has muted the job as well: others wait for this person, and nobody else can answer."""


class Told(msgspec.Struct, frozen=True):
    """The result of a rule: a draft for each person who is notified, and each person who is left out, with the
    reason."""

    drafts: tuple[Draft, ...]
    suppressed: tuple[tuple[int, str], ...]


def apply(
    rule: Rule,
    job: Job,
    *,
    actor_id: int | None,
    actor_name: str,
    watchers: Callable[[], Iterable[int]],
    mentioned: Collection[int] = (),
    words: str | None = None,
    data: Mapping[str, object] | None = None,
) -> Told:
    """Find who is notified of one event by one rule, and with which words.

    `watchers` is called only if the rule needs the watchers. `mentioned` are those whom the rule for mentions concerns,
    and no other rule does, because nobody is notified twice of one event. `words` are the event's own words, such as a
    reason or a comment; without them the message is the job's title. `data` is what the type adds to `jobId` and
    `djId`.
    """
    facts = {"job": job.label, "job_title": job.title, "actor": actor_name, "words": words or job.title}
    body = encode({"jobId": job.id, "djId": job.dj_id, **(data or {})})
    title = rule.title.format_map(facts)[: lengths.TITLE]
    message = rule.message.format_map(facts)
    people = recipients(rule, job, watchers, mentioned)
    return Told(
        drafts=tuple(
            Draft(user_id, rule.type, rule.priority, title, message, body) for user_id in people if user_id != actor_id
        ),
        suppressed=tuple((user_id, ACTOR) for user_id in people if user_id == actor_id),
    )


def too_late(assignee_id: int, actor_id: int | None) -> Told:
    """Notify nobody, because a late creation assigns nothing: see `jobs.created`."""
    return Told((), ((assignee_id, ACTOR if assignee_id == actor_id else LATE),))


def recipients(
    rule: Rule, job: Job, watchers: Callable[[], Iterable[int]], mentioned: Collection[int] = ()
) -> tuple[int, ...]:
    """The people whom a rule concerns, each once, in the order in which the rule names their parts."""
    people: dict[int, None] = {}
    for part in rule.audience:
        match part:
            case Audience.ASSIGNEE:
                found: Iterable[int | None] = (job.assignee_id,)
            case Audience.APPROVER:
                found = (job.approver_id,)
            case Audience.REQUESTER:
                found = (job.requester_id,)
            case Audience.MANAGER:
                found = (job.manager_id,)
            case Audience.WATCHERS:
                found = watchers()
                if mentioned:
                    found = [person for person in found if person not in mentioned]
            case Audience.MENTIONED:
                found = mentioned
        people.update((person, None) for person in found if person is not None)
    return tuple(people)
