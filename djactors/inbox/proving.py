"""Proves a log: each change has the mark that follows from the change before it and from what clients were sent of it.

So a database whose log is proved tells returning clients the truth. It takes some microseconds a change, so this is for
commands that look at a copy, and not for a server.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from djactors.domain.marks import Offset, mark_of
from djactors.domain.reserved import PROBE_TENANT
from djactors.inbox.log import body_of
from djactors.inbox.unit import NAMES
from djactors.store.connection import Connection

CHANGES_AT_A_TIME = 5000
"""Changes that are read and reported at a time, a small part of a second. The largest has some 100 KiB."""

SELECT_TENANTS = "SELECT id, oldest_seq, oldest_mark FROM tenants ORDER BY id"
# Served by the primary keys. The columns of a notification are those that `body_of` takes.
SELECT_LOG = """SELECT c.seq, c.mark, c.user_id, c.kind, c.data, n.seq, n.mark, n.id, n.type, n.priority, n.title,
    n.message, n.data, n.created_at, n.replaces FROM changes c LEFT JOIN notifications n ON n.id = c.notification_id
    WHERE c.tenant_id = ? AND c.seq > ? ORDER BY c.seq LIMIT ?"""
COUNT_CHANGES = "SELECT count(*) FROM changes"
COUNT_CHANGES_OF = "SELECT count(*) FROM changes WHERE tenant_id = ?"


@dataclass(frozen=True, slots=True)
class Proved:
    """A log that was proved: how many tenants it has, and how many changes, without what belongs to no customer."""

    tenants: int
    changes: int


class LogBrokenError(Exception):
    """A log is not as it was written; the message says where."""


def prove(connection: Connection, report: Callable[[int, int], None], in_part: Collection[int] = frozenset()) -> Proved:
    """Prove the logs of all tenants.

    Args:
        connection: is inside one snapshot.
        report: told how many changes are proved, and of how many.
        in_part: the tenants that are being imported. Nothing of them can be proved before they are here.

    Raises:
        LogBrokenError: a change was altered, or is missing.
    """
    total: int = connection.execute(COUNT_CHANGES).fetchone()[0]
    for tenant_id in in_part:
        total -= connection.execute(COUNT_CHANGES_OF, (tenant_id,)).fetchone()[0]
    tenants = [row for row in connection.execute(SELECT_TENANTS).fetchall() if row[0] not in in_part]
    done = of_probe = 0
    report(0, total)
    for tenant_id, seq, mark in tenants:
        last = Offset(mark, seq)
        while rows := connection.execute(SELECT_LOG, (tenant_id, last.seq, CHANGES_AT_A_TIME)).fetchall():
            for row in rows:
                last = _next(tenant_id, last, row)
            done += len(rows)
            of_probe += len(rows) if tenant_id == PROBE_TENANT else 0
            report(done, total)
    if done != total:
        # They are of a tenant that is missing, or lie before the number up to which the log was purged.
        raise LogBrokenError(f"{total - done} changes belong to no tenant's log")
    return Proved(sum(row[0] != PROBE_TENANT for row in tenants), done - of_probe)


def _next(tenant_id: int, last: Offset, row: tuple[object, ...]) -> Offset:
    seq, mark, user_id, kind, data, *notification = row
    where = f"change {seq} of tenant {tenant_id}"
    if seq != last.seq + 1:
        raise LogBrokenError(f"{where} follows change {last.seq}: those in between are missing")
    name = NAMES.get(str(kind))
    if name is None:
        raise LogBrokenError(f"{where} is of the unknown kind {kind!r}")
    if kind == "new":
        if notification[0] is None:
            raise LogBrokenError(f"the notification of {where} is missing")
        body = body_of((notification[0], *notification[1:]))
    else:
        body = str(data).encode()
    expected = mark_of(last.mark, last.seq + 1, name, user_id, body)  # type: ignore[arg-type]
    if mark != expected:
        raise LogBrokenError(f"{where} is not as it was written, or one before it: its mark does not follow from them")
    return Offset(expected, last.seq + 1)
