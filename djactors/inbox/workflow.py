"""What a domain event brings about: the job's new state, who is notified, and what everybody in the tenant sees.

Rule: every refusal comes before the first staging, so that a refused event leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from djactors.domain import events, jobs, notification_rules, permissions
from djactors.domain.commands import Counted, Introduce
from djactors.domain.comments import CommentView
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.ids import MAX_ID
from djactors.domain.jobs import Job, JobEvent, JobView
from djactors.domain.names import Named
from djactors.domain.notification_rules import NOBODY, Told
from djactors.domain.notification_types import ASSIGNED, COMMENTED, CREATED
from djactors.domain.notifications import Draft, encode
from djactors.domain.packets import ApprovalChanged, Commented, JobChanged, JobGiven
from djactors.domain.permissions import Person
from djactors.inbox import accounts, mentions, telling
from djactors.inbox.rows import Tenant
from djactors.inbox.telling import name_of
from djactors.inbox.unit import UnitOfWork

People = list[tuple[str, int | None]]


def _silent(_: Tenant) -> None:
    """The default: the tenant sees nothing."""


class Consequences(msgspec.Struct, frozen=True):
    """What an event brings about.

    Attributes:
        told: who is notified, and who is left out and why.
        job: the job that the event is about, in its new state.
        announce: logs the changes that everybody in the tenant sees.
    """

    told: Told = NOBODY
    job: Job | None = None
    announce: Callable[[Tenant], None] = _silent


def apply(unit: UnitOfWork, event: events.DomainEvent, person: Person | None) -> Consequences:
    """Carry out an event: stage the job's new state, and find out who is notified.

    Raises:
        Refused: the event cannot be carried out as it stands; nothing was staged.
    """
    if person is not None:
        person = accounts.in_office(unit, event.tenant_id, person)
    match event:
        case events.NotificationRequested():  # first, because it is the most frequent
            return _notification_requested(unit, event)
        case events.JobCreated():
            return _job_created(unit, event, person)
        case events.UserUpserted():
            return _user_upserted(unit, event)
        case events.UserDeactivated() | events.UserActivated():
            return _user_moved(unit, event, person)
        case events.TenantUpserted():
            return _tenant_upserted(unit, event)
        case _:
            return _job_event(unit, event, person)


def introduce(unit: UnitOfWork, command: Introduce) -> Counted:
    """Make a user known who is not known yet. A known user is not changed."""
    tenant_id, person = command.tenant_id, command.person
    user = unit.user(tenant_id, person.user_id)
    if user is None:
        unit.ensure_tenant(tenant_id)
        user = unit.ensure_user(tenant_id, person.user_id, person.name, person.role)
    return Counted(user.unread, user.unseen)


def _user_upserted(unit: UnitOfWork, event: events.UserUpserted) -> Consequences:
    people: People = [("userId", event.user_id), ("actorId", event.actor_id)]
    _ensure(unit, event.tenant_id, people)
    user = unit.ensure_user(event.tenant_id, event.user_id)
    unit.rename(user, event.name)
    accounts.give_role(unit, event.tenant_id, event.user_id, event.role)
    return Consequences()


def _user_moved(
    unit: UnitOfWork, event: events.UserDeactivated | events.UserActivated, person: Person | None
) -> Consequences:
    """Activate or deactivate somebody. Their jobs stay theirs, until somebody assigns them anew."""
    if person is not None:
        permissions.check_office(person, event, event.user_id)
        if unit.user(event.tenant_id, event.user_id) is None:
            raise not_found()
    people: People = [("userId", event.user_id), ("actorId", event.actor_id)]
    _ensure(unit, event.tenant_id, people, person)
    accounts.set_active(unit, event.tenant_id, event.user_id, active=isinstance(event, events.UserActivated))
    return Consequences()


def _tenant_upserted(unit: UnitOfWork, event: events.TenantUpserted) -> Consequences:
    people: People = [("actorId", event.actor_id)]
    if isinstance(event.time_zone, str):
        _check_time_zone(event.time_zone)
    _ensure(unit, event.tenant_id, people)
    tenant = unit.ensure_tenant(event.tenant_id)
    tenant.name = event.name
    if isinstance(event.time_zone, str):
        tenant.time_zone = event.time_zone
    unit.touch(tenant)
    return Consequences()


def _check_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # ZoneInfoNotFoundError is a KeyError; a directory's name is an OSError, a path upwards a ValueError.
        raise Refused(Code.INVALID, f"timeZone: {name!r} is no IANA time zone: send one such as Asia/Bangkok") from None


def _notification_requested(unit: UnitOfWork, event: events.NotificationRequested) -> Consequences:
    unit.ensure_tenant(event.tenant_id)
    unit.ensure_user(event.tenant_id, event.user_id)
    if event.actor_id is not None:
        unit.ensure_user(event.tenant_id, event.actor_id)
    if event.user_id == event.actor_id:
        return Consequences(Told((), ((event.user_id, notification_rules.ACTOR, events.TYPES[type(event)]),)))
    kind, priority = event.notification_type, event.priority
    if kind in unit.rules.requested:
        own = unit.rules.requested[kind]
        if own is None:
            return Consequences(Told((), ((event.user_id, notification_rules.SWITCHED_OFF, kind),)))
        priority = own
    data = None if event.data is None else encode(event.data)
    draft = Draft(event.user_id, kind, priority, event.title, event.message, data)
    return Consequences(Told((draft,), ()))


def _job_created(unit: UnitOfWork, event: events.JobCreated, person: Person | None) -> Consequences:
    tenant_id = event.tenant_id
    people: People = [
        ("requesterId", event.requester_id),
        ("assigneeId", event.assignee_id),
        ("approverId", event.approver_id),
        ("managerId", event.manager_id),
        ("actorId", event.actor_id),
        *(("watcherIds", user_id) for user_id in event.watcher_ids),
    ]
    if person is not None:
        permissions.check(person, event, None)
    if person is not None:
        _check_named(unit, tenant_id, people, person)
    _check_active(unit, tenant_id, people)
    earlier = _check_numbering(unit, event, person)

    _ensure(unit, tenant_id, people, person)
    tenant = unit.ensure_tenant(tenant_id)
    job_id = tenant.last_job_id + 1 if event.job_id is None else event.job_id
    tenant.last_job_id = max(tenant.last_job_id, job_id)
    tenant.job_numbering = _numbering(event)
    unit.touch(tenant)
    number = event.dj_id
    if event.job_id is None:
        year = int(unit.now[:4])
        number = jobs.dj_id(year, unit.jobs.next_number(tenant_id, year))
    job = jobs.created(event, job_id, number, earlier, unit.now)
    if person is not None and not person.is_backend and job.deadline is not None:
        job = msgspec.structs.replace(job, deadline_by_person=True)
    unit.save_job(job)
    unit.jobs.watch(tenant_id, job_id, event.watcher_ids)
    # Whoever creates a job for somebody assigns it as well.
    assigns = event.assignee_id is not None and job.status == "assigned"
    told = telling.told(unit, job, (CREATED, ASSIGNED) if assigns else (CREATED,), actor_id=event.actor_id)
    if event.assignee_id is not None and not assigns:
        told = notification_rules.too_late(unit.rules, told, event.assignee_id, event.actor_id)
    return Consequences(told, job, _announcement(unit, event, job))


def _numbering(event: events.JobCreated) -> str:
    return "djactors" if event.job_id is None else "backend"


def _numbered_here(unit: UnitOfWork, tenant_id: int) -> bool:
    """Whether djactors numbers the tenant's jobs. An unknown job is then a mistake, not a job from earlier times."""
    tenant = unit.tenant(tenant_id)
    return tenant is not None and tenant.job_numbering == "djactors"


def _check_numbering(unit: UnitOfWork, event: events.JobCreated, person: Person | None) -> Job | None:
    """Refuse impossible ids. Returns the job if earlier events have already named its id, otherwise None."""
    known = unit.tenant(event.tenant_id)
    if known is not None and known.job_numbering not in (None, _numbering(event)):
        if person is not None:
            raise Refused(Code.CONFLICT, "this tenant's jobs are numbered by its backend: create the job there")
        mend = "leave it out" if event.job_id is not None else "send it"
        raise Refused(Code.CONFLICT, f"jobId: this tenant's jobs are numbered by {known.job_numbering}: {mend}")
    if event.dj_id is not None:
        if event.job_id is None:
            raise Refused(Code.INVALID, "djId: comes only with a jobId, one side numbers a tenant's jobs: send both")
        if unit.jobs.has_dj_id(event.tenant_id, event.dj_id):
            raise Refused(Code.CONFLICT, f"djId: {event.dj_id} is taken: send another one")
    if event.job_id is None:
        if known is not None and known.last_job_id >= MAX_ID:
            raise Refused(Code.CONFLICT, "jobId: this tenant's job ids are used up: its backend named the last one")
        return None
    earlier = unit.jobs.get(event.tenant_id, event.job_id)
    if earlier is not None and earlier.requester_id is not None:
        raise Refused(Code.CONFLICT, f"jobId: job {earlier.id} exists already")
    return earlier


def _job_event(unit: UnitOfWork, event: JobEvent, person: Person | None) -> Consequences:
    """Carry out an event of a job, which is recorded from the event if it was never created here."""
    tenant_id = event.tenant_id
    people: People = [
        ("assigneeId", getattr(event, "assignee_id", None)),
        ("approverId", getattr(event, "approver_id", None)),
        ("userId", getattr(event, "user_id", None)),
        ("actorId", event.actor_id),
        *(("mentions", user_id) for user_id in _mentions(event)),
    ]
    before = unit.jobs.get(tenant_id, event.job_id)
    if before is None and (person is not None or _numbered_here(unit, tenant_id)):
        raise not_found()
    if person is not None:
        permissions.check(person, event, before)
    if person is not None:
        _check_named(unit, tenant_id, people, person)
    if not isinstance(event, events.JobUnwatched):
        _check_active(unit, tenant_id, people)
    if before is not None:
        jobs.check_move(before, event)
    if isinstance(event, events.JobWatched):
        _check_watchers(unit, event)
    job = before or jobs.first_heard_of(tenant_id, event.job_id, unit.now)
    job = jobs.after(job, event, unit.now)
    if isinstance(event, events.JobDeadlineChanged):
        job = msgspec.structs.replace(job, deadline_by_person=person is not None and not person.is_backend)
    if isinstance(event, events.JobSubmitted) and job.approver_id is None:
        raise Refused(Code.INVALID, f"approverId: {job.label} has no approver yet: name one")
    comment = _comment(event)
    mentioned = () if comment is None else mentions.mentioned(unit, tenant_id, comment, _mentions(event))

    _ensure(unit, tenant_id, people, person)
    tenant = unit.ensure_tenant(tenant_id)
    if before is None:
        tenant.last_job_id = max(tenant.last_job_id, job.id)
        unit.touch(tenant)
    unit.save_job(job)
    if comment is not None:
        return _commented(unit, event, job, comment, mentioned)
    words, data = _record_part(unit, event)
    told = telling.told(unit, job, (events.TYPES[type(event)],), actor_id=event.actor_id, words=words, data=data)
    return Consequences(told, job, _announcement(unit, event, job))


def _comment(event: JobEvent) -> str | None:
    """What an event says in the job's thread; None if it says nothing there."""
    match event:
        case events.CommentAdded(text=text):
            return text
        case events.JobCancelled(reason=reason):
            return reason
        case _:
            return None


def _mentions(event: JobEvent) -> tuple[int, ...]:
    """The people whom a comment mentions by id."""
    return event.mentions if isinstance(event, events.CommentAdded) and isinstance(event.mentions, tuple) else ()


def _commented(unit: UnitOfWork, event: JobEvent, job: Job, text: str, mentioned: tuple[int, ...]) -> Consequences:
    """Stage a comment on a job. Those whom it mentions are told of that, and those who watch already of the comment.

    From then on the author and those who are mentioned watch as well, as long as there is room for more watchers.
    """
    author_id = event.actor_id
    id_ = unit.add_comment(job.tenant_id, job.id, author_id, text, mentioned)
    # The reason for which a job is cancelled is a comment, and causes what a comment causes.
    causes = (COMMENTED,) if isinstance(event, events.CommentAdded) else (events.TYPES[type(event)], COMMENTED)
    told = telling.told(unit, job, causes, actor_id=author_id, words=text, data={"commentId": id_}, mentioned=mentioned)
    _begin_to_watch(unit, job, *mentioned, *(() if author_id is None else (author_id,)))

    def announce(tenant: Tenant) -> None:
        people = tuple(Named(user_id, name_of(unit, tenant.id, user_id) or "") for user_id in mentioned)
        author = name_of(unit, tenant.id, author_id)
        view_ = CommentView(id_, job.id, author_id, author, text, people, unit.now)
        unit.log(tenant, None, "comment_added", encode(Commented(view_)))
        _announcement(unit, event, job)(tenant)

    return Consequences(told, job, announce)


def _begin_to_watch(unit: UnitOfWork, job: Job, *user_ids: int) -> None:
    watchers = unit.jobs.watchers(job.tenant_id, job.id)
    new: list[int] = []
    for user_id in dict.fromkeys(user_ids):
        user = unit.user(job.tenant_id, user_id)
        # A backend may tell late of what somebody wrote who has left meanwhile.
        if user_id not in watchers and user is not None and user.deactivated_at is None:
            new.append(user_id)
    unit.jobs.watch(job.tenant_id, job.id, tuple(new[: max(0, events.MAX_JOB_WATCHERS - len(watchers))]))


def _check_watchers(unit: UnitOfWork, event: events.JobWatched) -> None:
    watchers = unit.jobs.watchers(event.tenant_id, event.job_id)
    if len(watchers) >= events.MAX_JOB_WATCHERS and event.user_id not in watchers:
        raise Refused(Code.CONFLICT, f"userId: {events.MAX_JOB_WATCHERS} people watch the job, and no more may")


def _record_part(unit: UnitOfWork, event: JobEvent) -> tuple[str | None, dict[str, object]]:
    """Stage what an event adds beside the job. Returns its text, and its part of a notification's data."""
    match event:
        case events.JobWatched(user_id=user_id):
            unit.jobs.watch(event.tenant_id, event.job_id, (user_id,))
        case events.JobUnwatched(user_id=user_id):
            unit.jobs.unwatch(event.tenant_id, event.job_id, user_id)
        case events.JobRejected(reason=reason) if reason is not None:
            return reason, {"reason": reason}
        case _:
            pass
    return None, {}


def _check_named(unit: UnitOfWork, tenant_id: int, people: People, person: Person) -> None:
    """Refuse ids that a person may not name. This creates nobody.

    A person may name themselves, because the token proves who they are, and everybody whom the tenant knows. Otherwise
    anybody could fill the tenant with people who do not exist.

    Raises:
        Refused: `not_found`, naming the field.
    """
    for field, user_id in people:
        if user_id not in (None, person.user_id) and unit.user(tenant_id, user_id) is None:
            raise Refused(Code.NOT_FOUND, f"{field}: no such user")


def _check_active(unit: UnitOfWork, tenant_id: int, people: People) -> None:
    """Refuse new work for somebody who is deactivated. What they did themselves may be told of late.

    Raises:
        Refused: `conflict`, naming the field.
    """
    for field, user_id in people:
        user = None if user_id is None or field == "actorId" else unit.user(tenant_id, user_id)
        if user is not None and user.deactivated_at is not None:
            raise Refused(
                Code.CONFLICT, f"{field}: user {user_id} is deactivated: name somebody else, or activate them first"
            )


def _ensure(unit: UnitOfWork, tenant_id: int, people: People, person: Person | None = None) -> None:
    """Make the people known whom an event names. A service makes everybody known, a person only themselves."""
    unit.ensure_tenant(tenant_id)
    if person is not None:
        unit.ensure_user(tenant_id, person.user_id, person.name, person.role)
        return
    for _, user_id in people:
        if user_id is not None:
            unit.ensure_user(tenant_id, user_id)


def view(unit: UnitOfWork, job: Job) -> JobView:
    """Make the job's view for clients."""
    tenant_id = job.tenant_id
    names = (
        name_of(unit, tenant_id, job.requester_id),
        name_of(unit, tenant_id, job.assignee_id),
        name_of(unit, tenant_id, job.approver_id),
        name_of(unit, tenant_id, job.manager_id),
    )
    watching = unit.jobs.watchers(tenant_id, job.id)
    named = watching[: jobs.NAMED_WATCHERS]
    # A watcher is a user: the table says so. They may be new in this commit, so they are looked up here and not in SQL.
    watchers = [Named(user_id, name_of(unit, tenant_id, user_id) or "") for user_id in named]
    return jobs.view(job, names, watching, tuple(watchers))


_APPROVALS: dict[type, Literal["pending", "approved", "rejected"]] = {
    events.JobSubmitted: "pending",
    events.JobApproved: "approved",
    events.JobRejected: "rejected",
}
"""The status in `approval:status-changed`, by event."""


def _announcement(unit: UnitOfWork, event: events.JobCreated | JobEvent, job: Job) -> Callable[[Tenant], None]:
    """What everybody in the tenant sees of a job's new state, in the order of the log."""

    def announce(tenant: Tenant) -> None:
        given = isinstance(event, (events.JobCreated, events.JobAssigned)) and event.assignee_id is not None
        if given and job.status == "assigned":
            name = name_of(unit, job.tenant_id, job.assignee_id)
            body = encode(JobGiven(job.id, job.dj_id, job.assignee_id, name))
            unit.log(tenant, None, "job_assigned", body)
        status = _APPROVALS.get(type(event))
        if status is not None:
            by = None if status == "pending" else name_of(unit, event.tenant_id, event.actor_id)
            unit.log(tenant, None, "approval_changed", encode(ApprovalChanged(job.id, job.dj_id, status, by)))
        unit.log(tenant, None, "job_updated", encode(JobChanged(view(unit, job))))

    return announce
