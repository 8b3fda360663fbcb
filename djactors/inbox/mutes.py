"""Muting jobs: who has muted one hears only of the types that reach such people as well (`Rules.never_muted`). A
repeated command changes nothing."""

from __future__ import annotations

from djactors.domain.commands import Counted, MuteJob, UnmuteJob
from djactors.domain.errors import not_found
from djactors.domain.notifications import encode
from djactors.domain.packets import OfJob
from djactors.inbox.reading import counted
from djactors.inbox.rows import Tenant, User
from djactors.inbox.unit import UnitOfWork
from djactors.store.connection import Connection

# The primary keys of jobs and of job_mutes.
SELECT_MUTED = """SELECT m.user_id FROM jobs j LEFT JOIN job_mutes m
    ON m.tenant_id = j.tenant_id AND m.job_id = j.id AND m.user_id = ? WHERE j.tenant_id = ? AND j.id = ?"""
INSERT_MUTE = "INSERT INTO job_mutes (tenant_id, job_id, user_id, created_at) VALUES (?, ?, ?, ?)"
DELETE_MUTE = "DELETE FROM job_mutes WHERE tenant_id = ? AND job_id = ? AND user_id = ?"


def mute(unit: UnitOfWork, command: MuteJob) -> Counted:
    """Have a user hear less of a job.

    Raises:
        Refused: `not_found`, here and below, for a job that the tenant does not have.
    """
    tenant, user, deaf = _of(unit, command)
    if user.id not in deaf:
        # The user may be new, and the row names the user.
        unit.flush()
        unit.log(tenant, user.id, "job_muted", encode(OfJob(command.job_id)))
        unit.connection.execute(INSERT_MUTE, (tenant.id, command.job_id, user.id, unit.now))
        deaf.add(user.id)
    return counted(user)


def unmute(unit: UnitOfWork, command: UnmuteJob) -> Counted:
    """Have a user hear of a job as before."""
    tenant, user, deaf = _of(unit, command)
    if user.id in deaf:
        unit.log(tenant, user.id, "job_unmuted", encode(OfJob(command.job_id)))
        unit.connection.execute(DELETE_MUTE, (tenant.id, command.job_id, user.id))
        deaf.remove(user.id)
    return counted(user)


def is_muted(connection: Connection, *, tenant_id: int, user_id: int, job_id: int) -> bool | None:
    """Whether a user has muted a job; None if the tenant has no such job."""
    row = connection.execute(SELECT_MUTED, (user_id, tenant_id, job_id)).fetchone()
    return None if row is None else row[0] is not None


def _of(unit: UnitOfWork, command: MuteJob | UnmuteJob) -> tuple[Tenant, User, set[int]]:
    if unit.jobs.get(command.tenant_id, command.job_id) is None:
        raise not_found()
    tenant, user = unit.ensure_tenant(command.tenant_id), unit.ensure_user(command.tenant_id, command.user_id)
    return tenant, user, unit.jobs.deaf(tenant.id, command.job_id)
