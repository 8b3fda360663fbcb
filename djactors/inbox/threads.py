"""The comments on a job as a thread: plain functions of a connection, for `Database.read`.

A page and its offset come from one snapshot. Names are those of now.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from djactors.domain.comments import CommentView
from djactors.domain.marks import Offset
from djactors.domain.names import Named
from djactors.inbox import log
from djactors.store.connection import Connection

# Served by the primary key of jobs.
SELECT_JOB = "SELECT id FROM jobs WHERE tenant_id = ? AND id = ?"
# Served by idx_job_comments_job, read backwards, and by the primary key of users.
SELECT_COMMENTS = """SELECT c.id, c.author_id, u.name, c.text, c.created_at FROM job_comments c
    LEFT JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.author_id
    WHERE c.tenant_id = ? AND c.job_id = ? AND c.id < ? ORDER BY c.id DESC LIMIT ?"""
# Served by the primary keys of comment_mentions and users.
SELECT_MENTIONS = """SELECT m.user_id, u.name FROM comment_mentions m
    JOIN users u ON u.tenant_id = m.tenant_id AND u.id = m.user_id WHERE m.comment_id = ? ORDER BY m.user_id"""

HOT_QUERIES: Mapping[str, str] = MappingProxyType(
    {"thread_job": SELECT_JOB, "thread": SELECT_COMMENTS, "mentions": SELECT_MENTIONS}
)
"""The statements that a request may run, by name. Each is served by the index that the comment above it names."""

_ABOVE_ALL_IDS = 2**63 - 1


class Thread(msgspec.Struct, frozen=True):
    """A page of a job's comments, newest first, from one snapshot.

    Attributes:
        items: the comments; None if the tenant has no such job.
        next_before: the `before` that gets the next page; None if this page is the last.
        at: the offset of the tenant's newest change in the same snapshot.
        follows: whether the offset that the reader was told is in the past of this snapshot.
    """

    items: list[CommentView] | None
    next_before: int | None
    at: Offset
    follows: bool = True


def page(
    connection: Connection,
    *,
    tenant_id: int,
    job_id: int,
    before: int | None,
    limit: int,
    told: Offset | None = None,
) -> Thread:
    """The `limit` newest comments on a job with an id below `before`. `told` is the offset that the reader was told
    last."""
    reach = log.reach(connection, tenant_id)
    follows = told is None or log.holds(connection, tenant_id, told, reach)
    if connection.execute(SELECT_JOB, (tenant_id, job_id)).fetchone() is None:
        return Thread(None, None, reach.last, follows)
    wanted = tenant_id, job_id, _ABOVE_ALL_IDS if before is None else before, limit + 1
    rows = connection.execute(SELECT_COMMENTS, wanted).fetchall()
    items = [
        CommentView(id_, job_id, author_id, name, text, _mentions(connection, id_), created_at)
        for id_, author_id, name, text, created_at in rows[:limit]
    ]
    return Thread(items, items[-1].id if len(rows) > limit else None, reach.last, follows)


def _mentions(connection: Connection, comment_id: int) -> tuple[Named, ...]:
    return tuple(Named(*row) for row in connection.execute(SELECT_MENTIONS, (comment_id,)))
