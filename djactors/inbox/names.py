"""The folded names of people: all SQL on `people_names`, and the names that one transaction brings or changes.

Rules:
  * A name and its rows change in the same commit. A notification changes no name, so it touches none of this.
  * A name that was changed keeps its rows for as long as a list may still be read that was begun before (`LIST_LIFE`).
    A change of a name deletes old rows of its tenant, more than it leaves, so there is nothing for retention to do.
  * The names of a database from before, or those that were folded by other rules, are folded in slices at the start of
    the server (`fold_slice`), before anybody can ask for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TypeAlias

from djactors.domain import folding, names
from djactors.domain.times import utc_text
from djactors.inbox import sharing
from djactors.inbox.rows import Tenant, User
from djactors.store.connection import Connection

LIST_LIFE = timedelta(hours=1)
"""How long a list of people can be read on after its first page. People who look for somebody need seconds."""

MAX_ENDED = 8
"""Earlier names of one person that are kept at a time, so that a name which changes all the time leaves no heap. Only
a list that was begun before the ninth change may then miss that person."""

DELETED_AT_ONCE = 4 * (names.MAX_WORDS + 1)
"""Old rows that a change of a name deletes: those of four names. It leaves those of one."""

FOLDED_AT_ONCE = 500
"""People whose names one commit folds: some 4,000 rows, 20 ms."""

# Served by idx_people_names_user.
SELECT_NAMES = """SELECT part, text, since, until FROM people_names WHERE tenant_id = ? AND user_id = ?"""
# Served by idx_people_names_ended.
SELECT_ENDED = """SELECT part, text, user_id, since FROM people_names
    WHERE tenant_id = ? AND ended_at IS NOT NULL AND ended_at < ? ORDER BY ended_at LIMIT ?"""
# Served by the primary keys.
SELECT_UNFOLDED = """SELECT tenant_id, id, name FROM users WHERE (tenant_id, id) > (?, ?)
    ORDER BY tenant_id, id LIMIT ?"""
SELECT_RULES = "SELECT names_folded FROM meta WHERE id = 1"
INSERT_NAME = "INSERT INTO people_names (tenant_id, part, text, user_id, since) VALUES (?, ?, ?, ?, ?)"
UPDATE_ENDED = """UPDATE people_names SET until = ?, ended_at = ?
    WHERE tenant_id = ? AND part = ? AND text = ? AND user_id = ? AND since = ?"""
DELETE_NAME = """DELETE FROM people_names
    WHERE tenant_id = ? AND part = ? AND text = ? AND user_id = ? AND since = ?"""
# Served by idx_people_names_user.
DELETE_NAMES = "DELETE FROM people_names WHERE tenant_id = ? AND user_id = ?"
UPDATE_RULES = "UPDATE meta SET names_folded = ? WHERE id = 1"

WHOLE, WORDS = 0, 1
"""The parts: the whole name, once for each person, and what begins at each of its words."""

_Row: TypeAlias = tuple[int, int, str, int, int]
"""The primary key of a row: tenant, part, text, user, since."""


def rows_of(tenant_id: int, user_id: int, name: str, since: int) -> list[_Row]:
    """The rows of a name."""
    whole, texts = names.parts(name)
    return [(tenant_id, WHOLE, whole, user_id, since), *((tenant_id, WORDS, text, user_id, since) for text in texts)]


class NameRows:
    """The people whom one transaction makes known, and those whose names it changes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._new: list[tuple[User, Tenant]] = []
        self._renamed: dict[User, Tenant] = {}

    def introduce(self, user: User, tenant: Tenant) -> None:
        """Stage the name of a new person, which may change until it is flushed."""
        self._new.append((user, tenant))

    def rename(self, user: User, tenant: Tenant) -> None:
        """Stage the new name of a person who is known. The tenant's row is touched by the caller."""
        tenant.names_version += 1
        self._renamed[user] = tenant

    def flush(self, moment: datetime) -> None:
        """Write what is staged. The people's own rows are written."""
        staged: list[_Row] = []
        for user, tenant in self._new:
            staged += rows_of(user.tenant_id, user.id, user.name, tenant.names_version)
        self._new.clear()
        for user, tenant in self._renamed.items():
            staged += self._change(user, tenant, utc_text(moment))
        for tenant_id in {tenant.id for tenant in self._renamed.values()}:
            query = tenant_id, utc_text(moment - LIST_LIFE), DELETED_AT_ONCE * len(self._renamed)
            old = self._connection.execute(SELECT_ENDED, query).fetchall()
            self._connection.executemany(DELETE_NAME, [(tenant_id, *row) for row in old])
        self._renamed.clear()
        if staged:
            self._connection.insert(INSERT_NAME, staged)

    def _change(self, user: User, tenant: Tenant, now: str) -> list[_Row]:
        """End the rows of the name that a person had. Returns those of the new one."""
        stored = self._connection.execute(SELECT_NAMES, (user.tenant_id, user.id)).fetchall()
        ended = sorted({until for *_, until in stored if until is not None})
        forgotten = set(ended[: max(0, len(ended) + 1 - MAX_ENDED)])
        run = self._connection.executemany
        if forgotten:
            old = [(user.tenant_id, *row[:2], user.id, row[2]) for row in stored if row[3] in forgotten]
            run(DELETE_NAME, old)
        present = [row for row in stored if row[3] is None]
        run(
            UPDATE_ENDED,
            [
                (tenant.names_version, now, user.tenant_id, part, text, user.id, since)
                for part, text, since, _ in present
            ],
        )
        return rows_of(user.tenant_id, user.id, user.name, tenant.names_version)


def are_folded(connection: Connection) -> bool:
    """Whether all names are folded by the rules of this program."""
    return bool(connection.execute(SELECT_RULES).fetchone() == (folding.RULES,))


def fold_slice(connection: Connection, after: tuple[int, int]) -> tuple[int, int] | None:
    """Fold the names of the next people anew, in the order of tenant and user.

    This may be done again, in part or wholly, and beside a server that writes.

    Args:
        connection: the writer's, inside its transaction.
        after: the tenant and the user up to whom that is done, (0, 0) at first.

    Returns:
        The new value of `after`; None once all names are folded, which is then written down.
    """
    people = connection.execute(SELECT_UNFOLDED, (*after, FOLDED_AT_ONCE)).fetchall()
    if connection.is_shared and people:
        # Another node may rename them, or fold them as well: the second look is under the tenants' locks.
        tenants = {tenant_id for tenant_id, *_ in people}
        connection.executemany(sharing.LOCK_TENANTS, [(sharing.array_of(sorted(tenants)),)])
        again = connection.execute(SELECT_UNFOLDED, (*after, len(people))).fetchall()
        people = list(takewhile(lambda row: row[0] in tenants, again))
        if not people:
            return after  # somebody came in between, in a tenant that is not held
    if not people:
        connection.execute(UPDATE_RULES, (folding.RULES,))
        return None
    connection.executemany(DELETE_NAMES, [row[:2] for row in people])
    connection.insert(INSERT_NAME, list(_all_rows(people)))
    tenant_id, user_id, _ = people[-1]
    return tenant_id, user_id


def _all_rows(people: Iterable[tuple[int, int, str]]) -> Iterable[_Row]:
    for tenant_id, user_id, name in people:
        yield from rows_of(tenant_id, user_id, name, 0)
