"""Finds what is lost if another database takes the place of the present one: what this one has and that one lacks.

The marks of a log form a chain, so two logs that agree on one change agree on all before it. Where they part is found
by looking at a few changes of each tenant, however long the logs are.

Either database may be of an older version, so what is read here is what all versions have. Where an account has columns
that came later, the caller says whether they are there.

What `djactors probe` leaves is nobody's, so it is no loss.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from djactors.domain.erasure import stand_in
from djactors.domain.marks import Offset
from djactors.domain.reserved import PROBE_TENANT
from djactors.inbox.log import SELECT_MARK, reach_in_part
from djactors.store.connection import Connection

SELECT_TENANTS = "SELECT id, name FROM tenants WHERE id <> ? ORDER BY id"
# Served by the primary key.
SELECT_BEYOND = """SELECT count(notification_id), min(created_at), max(created_at) FROM changes
    WHERE tenant_id = ? AND seq > ?"""
SELECT_ACCOUNTS = """SELECT tenant_id, id, name, {signed_out_at}, {deactivated_at} FROM users
    WHERE {signed_out_at} IS NOT NULL OR {deactivated_at} IS NOT NULL ORDER BY tenant_id, id"""
SELECT_NAME = "SELECT name FROM users WHERE tenant_id = ? AND id = ?"

ENDINGS = ("signed_out_at", "deactivated_at")
"""The columns of a user that end what the user may do. Databases of older versions lack one of them, or both."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What of a tenant one database has and the other one lacks.

    Attributes:
        tenant_id: whose it is.
        name: the tenant's name.
        changes: how many changes of the log.
        notifications: how many of them brought a notification.
        first_at: when the first of them was, as text; None if that was purged already.
        last_at: when the last was.
    """

    tenant_id: int
    name: str
    changes: int
    notifications: int
    first_at: str | None
    last_at: str | None


def losses(having: Connection, lacking: Connection) -> list[Loss]:
    """What each tenant loses if `lacking` takes the place of `having`. Both are inside one snapshot each."""
    found = []
    for tenant_id, name in tenants(having):
        newest = reach_in_part(having, tenant_id).last.seq
        shared = _shared(having, lacking, tenant_id)
        if newest > shared:
            found.append(loss_beyond(having, tenant_id, name, newest, shared))
    return found


def tenants(connection: Connection) -> list[tuple[int, str]]:
    """The tenants of which something can be lost, each with its name."""
    return connection.execute(SELECT_TENANTS, (PROBE_TENANT,)).fetchall()


def loss_beyond(having: Connection, tenant_id: int, name: str, newest: int, shared: int) -> Loss:
    """What a tenant has behind the change `shared`, up to its newest one."""
    notifications, first_at, last_at = having.execute(SELECT_BEYOND, (tenant_id, shared)).fetchone()
    return Loss(tenant_id, name, newest - shared, notifications, first_at, last_at)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The people of a database whom it does not let in any more, or not by their older tokens.

    Attributes:
        connection: to the database, inside one snapshot.
        columns: the columns of its table of users.
    """

    connection: Connection
    columns: Collection[str]

    def __iter__(self) -> Iterator[tuple[int, int, str, str | None, str | None]]:
        """Each with the tenant, the id, the name, the moment of the sign-out and that of the deactivation."""
        known = {name: name if name in self.columns else "NULL" for name in ENDINGS}
        return iter(self.connection.execute(SELECT_ACCOUNTS.format(**known)))

    def name(self, tenant_id: int, user_id: int) -> str | None:
        """The name of anybody; None if the database does not know the person."""
        row = self.connection.execute(SELECT_NAME, (tenant_id, user_id)).fetchone()
        return None if row is None else row[0]


@dataclass(frozen=True, slots=True)
class Returned:
    """The people for whom a database undoes what another one has done to their accounts later.

    Attributes:
        reopened: how many are let in again after a sign-out or a deactivation; nobody who was erased.
        erased: the tenant and the id of each who was erased, and is there again.
    """

    reopened: int
    erased: tuple[tuple[int, int], ...]


def returned(having: Accounts, lacking: Accounts) -> Returned:
    """Who returns if `lacking` takes the place of `having`.

    An erasure leaves a stand-in for the name, and nothing else says that there was one. Whoever had the stand-in before
    was erased once more, since an erasure signs out again: what it has taken out is back as well.
    """
    there = {(tenant, user): state for tenant, user, _, *state in lacking}
    reopened, erased = 0, []
    for tenant, user, name, signed_out_at, deactivated_at in having:
        before, inactive = there.get((tenant, user), (None, None))
        is_later = (signed_out_at or "") > (before or "")
        is_erased = deactivated_at is not None and name == stand_in(user)
        if is_erased and (former := lacking.name(tenant, user)) is not None:
            if is_later or former != name:
                erased.append((tenant, user))
        else:
            reopened += is_later or (deactivated_at is not None and inactive is None)
    return Returned(reopened, tuple(erased))


def _shared(one: Connection, other: Connection, tenant_id: int) -> int:
    """The number of the last change that both logs have, as far as they tell; 0 if there is none."""
    here, there = reach_in_part(one, tenant_id), reach_in_part(other, tenant_id)
    low, high = max(here.oldest.seq, there.oldest.seq), min(here.last.seq, there.last.seq)
    if low > high:
        # One log is purged beyond the other's end, so nobody can tell whether they had parted before. What is behind
        # the end of `other` is lost in either case. Where `one` ends first, all of it may be something else.
        return there.last.seq if there.last.seq < here.last.seq else here.oldest.seq
    if not _agree(one, other, tenant_id, low, here.oldest, there.oldest):
        return here.oldest.seq
    while low < high:
        middle = (low + high + 1) // 2
        if _agree(one, other, tenant_id, middle, here.oldest, there.oldest):
            low = middle
        else:
            high = middle - 1
    return low


def _agree(one: Connection, other: Connection, tenant_id: int, seq: int, here: Offset, there: Offset) -> bool:
    return _mark(one, tenant_id, seq, here) == _mark(other, tenant_id, seq, there)


def _mark(connection: Connection, tenant_id: int, seq: int, oldest: Offset) -> int | None:
    if seq == oldest.seq:
        return oldest.mark
    row = connection.execute(SELECT_MARK, (tenant_id, seq)).fetchone()
    return None if row is None else int(row[0])
