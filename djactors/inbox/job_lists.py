"""Jobs as people read them, and why somebody was not notified: plain functions of a connection, for `Database.read`.

A list and its offset come from one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from djactors.domain.jobs import JobView, Status, view
from djactors.domain.marks import Offset
from djactors.domain.times import UtcText
from djactors.inbox import log
from djactors.inbox.jobs import COLUMNS, SELECT_WATCHER_NAMES, SELECT_WATCHERS, job_of, named_watchers_of, watchers_of
from djactors.store.connection import Connection

_PARTS = ("requester", "assignee", "approver", "manager")
_NAMES = ", ".join(f"{part}.name" for part in _PARTS)
# Each by the primary key of users.
_PEOPLE = " ".join(
    f"LEFT JOIN users {part} ON {part}.tenant_id = j.tenant_id AND {part}.id = j.{part}_id" for part in _PARTS
)
_FROM = f"""SELECT {_NAMES}, {", ".join(f"j.{column}" for column in COLUMNS)}
    FROM jobs j {_PEOPLE} WHERE j.tenant_id = :tenant"""
_NEWEST = "AND j.id < :before ORDER BY j.id DESC LIMIT :limit"

# Served by the primary key of jobs.
SELECT_JOB = f"{_FROM} AND j.id = :id"
SELECT_ALL = f"{_FROM} {_NEWEST}"
# Served by idx_jobs_status, idx_jobs_assignee and idx_jobs_assignee_status, read backwards, so nothing is sorted.
SELECT_BY_STATUS = f"{_FROM} AND j.status = :status {_NEWEST}"
SELECT_BY_ASSIGNEE = f"{_FROM} AND j.assignee_id = :assignee {_NEWEST}"
SELECT_BY_ASSIGNEE_AND_STATUS = f"{_FROM} AND j.assignee_id = :assignee AND j.status = :status {_NEWEST}"
# Served by idx_suppressions_user, read backwards.
SELECT_SUPPRESSIONS = """SELECT s.id, s.user_id, u.name, s.event_id, s.type, s.reason, s.created_at
    FROM suppressions s JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
    WHERE s.tenant_id = ? AND s.user_id = ? AND s.id < ? ORDER BY s.id DESC LIMIT ?"""

HOT_QUERIES: Mapping[str, str] = MappingProxyType(
    {
        "job": SELECT_JOB,
        "jobs": SELECT_ALL,
        "jobs_by_status": SELECT_BY_STATUS,
        "jobs_by_assignee": SELECT_BY_ASSIGNEE,
        "jobs_by_assignee_and_status": SELECT_BY_ASSIGNEE_AND_STATUS,
        "watchers": SELECT_WATCHERS,
        "watcher_names": SELECT_WATCHER_NAMES,
    }
)
"""The statements that a request may run, by name. Each is served by the index that the comment above it names."""

_ABOVE_ALL_IDS = 2**63 - 1


class JobPage(msgspec.Struct, frozen=True):
    """A page of jobs, newest first, from one snapshot.

    Attributes:
        items: the jobs.
        next_before: the `before` that gets the next page; None if this page is the last.
        at: the offset of the tenant's newest change in the same snapshot.
        follows: whether the offset that the reader was told is in the past of this snapshot.
    """

    items: list[JobView]
    next_before: int | None
    at: Offset
    follows: bool = True


class Suppression(msgspec.Struct, frozen=True, rename="camel"):
    """Why one user was not notified of one event."""

    id: int
    user_id: int
    user_name: str
    event_id: int
    type: str
    reason: str
    created_at: UtcText


class SuppressionPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of suppressions, newest first."""

    items: list[Suppression]
    next_before: int | None


def job(connection: Connection, *, tenant_id: int, job_id: int) -> JobView | None:
    """One job of the tenant, or None."""
    row = connection.execute(SELECT_JOB, {"tenant": tenant_id, "id": job_id}).fetchone()
    return None if row is None else _view(connection, tenant_id, row)


def page(
    connection: Connection,
    *,
    tenant_id: int,
    assignee_id: int | None,
    status: Status | None,
    before: int | None,
    limit: int,
    told: Offset | None = None,
) -> JobPage:
    """The `limit` newest jobs with an id below `before`, of one assignee or all, in one state or all.

    `told` is the offset that the reader was told last.
    """
    if assignee_id is None:
        query = SELECT_ALL if status is None else SELECT_BY_STATUS
    else:
        query = SELECT_BY_ASSIGNEE if status is None else SELECT_BY_ASSIGNEE_AND_STATUS
    wanted = {
        "tenant": tenant_id,
        "assignee": assignee_id,
        "status": status,
        "before": _ABOVE_ALL_IDS if before is None else before,
        "limit": limit + 1,
    }
    rows = connection.execute(query, wanted).fetchall()
    items = [_view(connection, tenant_id, row) for row in rows[:limit]]
    reach = log.reach(connection, tenant_id)
    follows = told is None or log.holds(connection, tenant_id, told, reach)
    return JobPage(items, items[-1].id if len(rows) > limit else None, reach.last, follows)


def suppressions(
    connection: Connection, *, tenant_id: int, user_id: int, before: int | None, limit: int
) -> SuppressionPage:
    """The `limit` newest suppressions of a user with an id below `before`."""
    above = _ABOVE_ALL_IDS if before is None else before
    rows = connection.execute(SELECT_SUPPRESSIONS, (tenant_id, user_id, above, limit + 1)).fetchall()
    items = [Suppression(*row) for row in rows[:limit]]
    return SuppressionPage(items, items[-1].id if len(rows) > limit else None)


def _view(connection: Connection, tenant_id: int, row: tuple[Any, ...]) -> JobView:
    requester, assignee, approver, manager, *columns = row
    job = job_of(columns)
    watcher_ids = watchers_of(connection, tenant_id, job.id)
    watchers = named_watchers_of(connection, tenant_id, job.id) if watcher_ids else ()
    return view(job, (requester, assignee, approver, manager), watcher_ids, watchers)
