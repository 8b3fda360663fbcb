"""Applies the rules of notification types to an event of a job: looks up what they need of people and of the tenant."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from djactors.domain import notification_rules
from djactors.domain.jobs import Job
from djactors.domain.notification_rules import NOBODY, Rule, Told
from djactors.domain.times import local_text
from djactors.inbox.unit import UnitOfWork


def told(
    unit: UnitOfWork,
    job: Job,
    causes: tuple[str, ...],
    *,
    actor_id: int | None = None,
    words: str | None = None,
    data: dict[str, object] | None = None,
    mentioned: tuple[int, ...] = (),
) -> Told:
    """Who is notified of an event of a job. `causes` is what the event is, usually itself alone.

    The other arguments are those of `notification_rules.apply`.
    """
    rules = unit.rules.caused_by(*causes)
    if not rules:
        return NOBODY
    return notification_rules.apply(
        rules,
        job,
        actor_id=actor_id,
        actor_name=name_of(unit, job.tenant_id, actor_id) or "Somebody",
        watchers=lambda: unit.jobs.watchers(job.tenant_id, job.id),
        of_role=partial(unit.of_role, job.tenant_id),
        muted_by=lambda: unit.jobs.deaf(job.tenant_id, job.id),
        mentioned=mentioned,
        words=words,
        data=data,
        more=_more(unit, job, rules),
    )


def _more(unit: UnitOfWork, job: Job, rules: Sequence[Rule]) -> dict[str, str] | None:
    """What the wording of rules takes beyond the words of the event and of the job; None for most rules."""
    if not any(rule.uses for rule in rules):
        return None
    parts = {
        "requester": job.requester_id,
        "assignee": job.assignee_id,
        "approver": job.approver_id,
        "manager": job.manager_id,
    }
    time_zone = unit.ensure_tenant(job.tenant_id).time_zone
    return {
        **{part: name_of(unit, job.tenant_id, user_id) or "nobody" for part, user_id in parts.items()},
        "status": job.status.replace("_", " "),
        "deadline": "no deadline" if job.deadline is None else local_text(job.deadline, time_zone),
    }


def name_of(unit: UnitOfWork, tenant_id: int, user_id: int | None) -> str | None:
    """What somebody is called; None for nobody and for somebody who is not known."""
    user = None if user_id is None else unit.user(tenant_id, user_id)
    return None if user is None else user.name
