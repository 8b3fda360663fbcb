"""Which rows are a tenant's: what is handed over of it, and read back, table by table.

Rules:
  * Every table is either in `PARTS` or in `LEFT_OUT`.
  * Rows come in the order of their keys, a slice at a time, so that whoever reads them needs little memory.
  * Ids, sequence numbers and marks are handed over as they are, because clients know them. A mark covers the ids in a
    change, so none can be another one elsewhere.
  * What is handed over is right if each change's mark follows from the mark before it and from what is sent of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from djactors.domain.marks import Offset, mark_of
from djactors.inbox import log
from djactors.inbox.names import INSERT_NAME, rows_of
from djactors.inbox.unit import NAMES, SELECT_HIGHEST
from djactors.store.connection import Connection
from djactors.store.moving import ROWS_AT_A_TIME

Row = tuple[Any, ...]


# Each reads its table once, so they are for a command and not for a server.
_TENANTLESS = (
    (
        "domain_events",
        "SELECT 1 FROM domain_events WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE tenants.id = tenant_id) LIMIT 1",
    ),
    ("changes", "SELECT 1 FROM changes WHERE NOT EXISTS (SELECT 1 FROM tenants WHERE tenants.id = tenant_id) LIMIT 1"),
)


def without_tenant(connection: Connection) -> str | None:
    """The table that has a row of a tenant which is not there, where PostgreSQL has no foreign key for that."""
    for table, query in _TENANTLESS:
        if connection.execute(query).fetchone() is not None:
            return table
    return None


class Part(msgspec.Struct, frozen=True):
    """A table of which a tenant has rows.

    Attributes:
        name: the table's.
        key: the columns that put the tenant's rows into an order; with `tenant_id` or alone they are the primary key.
        where: which rows are the tenant's.
        texts: how many of the last columns of the key are texts; the others are numbers.
    """

    name: str
    key: tuple[str, ...]
    where: str = "tenant_id = ?"
    texts: int = 0

    def select(self, columns: Sequence[str]) -> str:
        """The statement for the rows behind a key; its parameters are the tenant, the key and how many rows."""
        names, marks = ", ".join(self.key), ", ".join("?" * len(self.key))
        return (
            f"SELECT {', '.join(columns)} FROM {self.name} WHERE {self.where} AND ({names}) > ({marks}) "
            f"ORDER BY {names} LIMIT ?"
        )

    @property
    def first(self) -> tuple[object, ...]:
        """A key before all others."""
        return (0,) * (len(self.key) - self.texts) + ("",) * self.texts


# "+ 0" keeps SQLite from reading the whole tenant by another index and sorting it for each slice.
_BY_ID = "tenant_id + 0 = ?"

PARTS = (
    Part("tenants", ("id",), "id = ?"),
    Part("users", ("id",)),
    Part("jobs", ("id",)),
    Part("job_numbers", ("year",)),
    Part("job_watchers", ("job_id", "user_id")),
    Part("job_mutes", ("job_id", "user_id")),
    Part("job_comments", ("id",), _BY_ID),
    Part("comment_mentions", ("comment_id", "user_id"), _BY_ID),
    Part("domain_events", ("id",), _BY_ID),
    Part("changes", ("seq",)),
    Part("notifications", ("id",), _BY_ID),
    Part(
        "notification_spells",
        ("notification_id", "until_seq", "state"),
        "EXISTS (SELECT 1 FROM notifications n WHERE n.id = notification_spells.notification_id "
        "AND n.tenant_id + 0 = ?)",
        texts=1,
    ),
    Part("user_days", ("user_id", "day"), texts=1),
    Part("suppressions", ("id",), _BY_ID),
)
"""What is handed over, parents first."""

LEFT_OUT: Mapping[str, str] = {
    "people_names": "made anew from the names, by the rules of the program that reads them",
    "meta": "of the installation",
    "schema_migrations": "of the installation",
    "counters": "of the installation",
    "expiry_walks": "of the installation",
    "nodes": "of the installation",
    "database_sizes": "of the installation",
    "imports": "of the installation",
}
"""The other tables, and why they are not handed over."""

LEFT_OUT_COLUMNS: Mapping[tuple[str, str], object] = {("tenants", "writer"): None, ("tenants", "importing"): False}
"""Columns that are the installation's, and what they have in a tenant that has just come."""

# By the primary keys.
SELECT_TENANT = "SELECT oldest_seq, oldest_mark FROM tenants WHERE id = ?"
SELECT_TAKEN = "SELECT id FROM {} WHERE id >= ? AND id <= ? ORDER BY id LIMIT 1"
SELECT_PEOPLE = "SELECT id, name FROM users WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?"
SELECT_CHAIN = """SELECT c.seq, c.user_id, c.kind, c.data, c.mark, n.mark, n.id, n.type, n.priority, n.title, n.message,
    n.data, n.created_at, n.replaces FROM changes c LEFT JOIN notifications n ON n.id = c.notification_id
    WHERE c.tenant_id = ? AND c.seq > ? ORDER BY c.seq LIMIT ?"""

IDS_OF_ALL = frozenset(SELECT_HIGHEST)
"""The tables whose ids are given out for the whole installation, not by tenant."""


class BrokenChainError(Exception):
    """The log of a tenant is not what its marks say. The message names the first change that is wrong."""


def rows(connection: Connection, part: Part, columns: Sequence[str], tenant_id: int) -> Iterator[list[Row]]:
    """A tenant's rows of a table, `ROWS_AT_A_TIME` at a time.

    Args:
        connection: inside one snapshot.
        part: which table.
        columns: which columns.
        tenant_id: whose rows.
    """
    after = part.first
    while True:
        found, after = rows_behind(connection, part, columns, tenant_id, after)
        if not found:
            return
        yield found


def rows_behind(
    connection: Connection, part: Part, columns: Sequence[str], tenant_id: int, after: tuple[object, ...]
) -> tuple[list[Row], tuple[object, ...]]:
    """The next `ROWS_AT_A_TIME` of a tenant's rows of a table behind a key, and the key of the last of them."""
    statement = part.select([*columns, *part.key])
    found = connection.execute(statement, (tenant_id, *after, ROWS_AT_A_TIME)).fetchall()
    if found:
        after = tuple(found[-1][len(columns) :])
    return [tuple(row[: len(columns)]) for row in found], after


def knows(connection: Connection, tenant_id: int) -> bool:
    """Whether there is such a tenant."""
    return connection.execute(SELECT_TENANT, (tenant_id,)).fetchone() is not None


def check_chain(connection: Connection, tenant_id: int) -> Iterator[int]:
    """Compute every mark of a tenant's log anew. Yields how many changes were compared, now and then.

    Raises:
        BrokenChainError: a mark differs, or a number is missing.
    """
    at = beginning(connection, tenant_id)
    first = at.seq
    while (reached := chained(connection, tenant_id, at)) != at:
        at = reached
        yield at.seq - first


def beginning(connection: Connection, tenant_id: int) -> Offset:
    """Where a tenant's log begins.

    Raises:
        BrokenChainError: no log begins so.
    """
    seq, mark = connection.execute(SELECT_TENANT, (tenant_id,)).fetchone()
    if seq == 0 and mark != 0:
        raise BrokenChainError("nothing was purged, but oldest_mark is not 0")
    return Offset(mark, seq)


def chained(connection: Connection, tenant_id: int, at: Offset) -> Offset:
    """Compute the marks of the next `ROWS_AT_A_TIME` changes behind an offset. Returns the offset of the last of them.

    Raises:
        BrokenChainError: a mark differs, or a number is missing.
    """
    seq, mark = at.seq, at.mark
    found = connection.execute(SELECT_CHAIN, (tenant_id, seq, ROWS_AT_A_TIME)).fetchall()
    for number, user_id, kind, data, stored, of_row, *row in found:
        seq += 1
        if number != seq:
            raise BrokenChainError(f"change {seq} is missing")
        mark = mark_of(mark, seq, *_seen(seq, kind, user_id, data, row))
        if stored != mark or (kind == "new" and of_row != mark):
            raise BrokenChainError(f"change {seq} has another mark than its content: it was changed")
    return Offset(mark, seq)


def _seen(seq: int, kind: str, user_id: int | None, data: str | None, row: Row) -> tuple[str, int | None, bytes]:
    """What the mark of a change covers: the event's name, the user and the payload."""
    name = NAMES.get(kind)
    if name is None:
        raise BrokenChainError(f"change {seq} is of the kind {kind!r}, which this version does not know")
    if kind != "new":
        if data is None:
            raise BrokenChainError(f"change {seq} has no data")
        return name, user_id, data.encode()
    if row[0] is None:
        raise BrokenChainError(f"change {seq} is of a notification that is missing")
    return name, user_id, log.body_of((seq, 0, *row))


def end_of(connection: Connection, tenant_id: int) -> tuple[Offset, Offset]:
    """The offsets of a tenant's newest change and of the last purged one."""
    reach = log.reach(connection, tenant_id)
    return reach.last, reach.oldest


def first_taken(connection: Connection, table: str, ids: Sequence[int]) -> int | None:
    """The first of some ids, in order, that a table has already; None if it has none of them."""
    if not ids or connection.execute(SELECT_TAKEN.format(table), (ids[0], ids[-1])).fetchone() is None:
        return None
    for id_ in ids:
        if connection.execute(SELECT_TAKEN.format(table), (id_, id_)).fetchone() is not None:
            return id_
    return None


def fold_names(connection: Connection, tenant_id: int) -> None:
    """Make the people of a tenant, who has just been brought in, known by their names."""
    version = connection.execute("SELECT names_version FROM tenants WHERE id = ?", (tenant_id,)).fetchone()[0]
    after = 0
    while found := connection.execute(SELECT_PEOPLE, (tenant_id, after, ROWS_AT_A_TIME)).fetchall():
        for id_, name in found:
            connection.insert(INSERT_NAME, rows_of(tenant_id, id_, name, version))
        after = found[-1][0]
