"""What a domain event brings about: the job's new state, who is told, what the tenant at large sees of it.

Rule: every refusal comes before the first staging, so that a refused event leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable

from djactors.domain import events, jobs, rules
from djactors.domain.errors import Code, Refused
from djactors.domain.notifications import Draft, encode
from djactors.domain.rules import RULES, TRIGGERS, Told
from djactors.store.unit import Tenant, UnitOfWork

_NOBODY = Told((), ())
_Announce = Callable[[Tenant], None]


def _silent(_: Tenant) -> None:
    """Nothing for the tenant at large."""


def apply(unit: UnitOfWork, event: events.DomainEvent) -> tuple[Told, int | None, _Announce]:
    """Bring an event's consequences about: who is told, which job it is of, what the tenant at large sees of it.

    Every refusal comes from here, before anything is staged.
    """
    match event:
        case events.JobCreated():
            return _job_created(unit, event)
        case events.JobAssigned():
            return _job_assigned(unit, event)
        case events.UserUpserted():
            unit.check_users(event.tenant_id, [("userId", event.user_id), ("actorId", event.actor_id)])
            unit.ensure_tenant(event.tenant_id)
            user = unit.ensure_user(event.tenant_id, event.user_id)
            user.name, user.role = event.name, event.role
            unit.touch(user)
            return _NOBODY, None, _silent
        case events.NotificationRequested():
            unit.check_users(event.tenant_id, [("userId", event.user_id), ("actorId", event.actor_id)])
            unit.ensure_tenant(event.tenant_id)
            unit.ensure_user(event.tenant_id, event.user_id)
            return _requested(event), None, _silent
        case _:
            raise Refused(Code.NOT_IMPLEMENTED, f"type: {events.event_type(event)} is not implemented yet")


def _requested(event: events.NotificationRequested) -> Told:
    if event.user_id == event.actor_id:
        return Told((), ((event.user_id, rules.ACTOR),))
    data = None if event.data is None else encode(event.data)
    draft = Draft(event.user_id, event.notification_type, event.priority, event.title, event.message, data)
    return Told((draft,), ())


def _job_created(unit: UnitOfWork, event: events.JobCreated) -> tuple[Told, int, _Announce]:
    tenant_id = event.tenant_id
    people = [
        ("requesterId", event.requester_id),
        ("assigneeId", event.assignee_id),
        ("approverId", event.approver_id),
        ("managerId", event.manager_id),
        ("actorId", event.actor_id),
        *(("watcherIds", user_id) for user_id in event.watcher_ids),
    ]
    unit.check_users(tenant_id, people)
    numbering = "djactors" if event.job_id is None else "backend"
    known = unit.tenant(tenant_id)
    if known is not None and known.job_numbering not in (None, numbering):
        mend = "leave it out" if event.job_id is not None else "send it"
        raise Refused(Code.CONFLICT, f"jobId: this tenant's jobs are numbered by {known.job_numbering}: {mend}")
    if event.dj_id is not None:
        if event.job_id is None:
            raise Refused(Code.INVALID, "djId: comes only with a jobId, one side numbers a tenant's jobs: send both")
        if unit.jobs.has_dj_id(tenant_id, event.dj_id):
            raise Refused(Code.CONFLICT, f"djId: {event.dj_id} is taken: send another one")
    if event.job_id is None and known is not None and known.last_job_id >= events.MAX_ID:
        raise Refused(Code.CONFLICT, "jobId: this tenant's job ids are used up: its backend named the last one")
    earlier = None if event.job_id is None else unit.jobs.get(tenant_id, event.job_id)
    if earlier is not None and earlier.requester_id is not None:
        raise Refused(Code.CONFLICT, f"jobId: job {earlier.id} exists already")

    tenant = unit.ensure_tenant(tenant_id)
    for _, user_id in people:
        if user_id is not None:
            unit.ensure_user(tenant_id, user_id)
    job_id, number = event.job_id, event.dj_id
    if job_id is None:
        job_id = tenant.last_job_id + 1
        number = unit.jobs.next_number(tenant_id, int(unit.now[:4]))
    tenant.last_job_id = max(tenant.last_job_id, job_id)
    tenant.job_numbering = numbering
    unit.touch(tenant)
    job = jobs.created(event, job_id, number, earlier, unit.now)
    unit.save_job(job)
    unit.jobs.watch(tenant_id, job_id, event.watcher_ids)
    told = _NOBODY if event.assignee_id is None else _told(unit, event, job)
    return told, job_id, _announcement(unit, job, assigned=event.assignee_id is not None)


def _job_assigned(unit: UnitOfWork, event: events.JobAssigned) -> tuple[Told, int, _Announce]:
    tenant_id = event.tenant_id
    unit.check_users(tenant_id, [("assigneeId", event.assignee_id), ("actorId", event.actor_id)])
    job = unit.jobs.get(tenant_id, event.job_id)
    if job is None:
        job = jobs.first_heard_of(tenant_id, event.job_id, unit.now)
    jobs.check_move(job, "assign")

    tenant = unit.ensure_tenant(tenant_id)
    unit.ensure_user(tenant_id, event.assignee_id)
    tenant.last_job_id = max(tenant.last_job_id, job.id)
    unit.touch(tenant)
    job = jobs.assigned(job, event, unit.now)
    unit.save_job(job)
    return _told(unit, event, job), job.id, _announcement(unit, job, assigned=True)


def _told(unit: UnitOfWork, event: events.DomainEvent, job: jobs.Job) -> Told:
    actor = None if event.actor_id is None else unit.user(event.actor_id)
    return rules.apply(
        RULES[TRIGGERS[events.event_type(event)]],
        job,
        actor_id=event.actor_id,
        actor_name="Somebody" if actor is None else actor.name,
        watchers=lambda: unit.jobs.watchers(job.tenant_id, job.id),
    )


def _announcement(unit: UnitOfWork, job: jobs.Job, *, assigned: bool) -> _Announce:
    """What the tenant at large sees of a job's new state, in the order of the log."""

    def announce(tenant: Tenant) -> None:
        assignee = None if job.assignee_id is None else unit.user(job.assignee_id)
        name = None if assignee is None else assignee.name
        if assigned:
            body = {"jobId": job.id, "djId": job.dj_id, "assigneeId": job.assignee_id, "assigneeName": name}
            unit.log(tenant, None, "job_assigned", encode(body))
        view = jobs.view(job, name, unit.jobs.watchers(tenant.id, job.id))
        unit.log(tenant, None, "job_updated", encode({"job": view}))

    return announce
