"""The inbox as its owner reads it: the badge, the list, and the mark of the database.

Plain functions of a connection, for `Database.read`. What each call returns is of one snapshot, so a list's sequence
number is the one that its items belong to.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from djactors.inbox.rows import LAST_SEQ

__all__ = ["HOT_QUERIES", "InboxPage", "Meta", "Snapshot", "StoredNotification", "meta", "page", "snapshot"]

# The primary keys of tenants, users and changes.
SNAPSHOT = f"""
SELECT coalesce(users.unread_count, 0), {LAST_SEQ}, users.id IS NOT NULL
FROM tenants LEFT JOIN users ON users.tenant_id = tenants.id AND users.id = ?
WHERE tenants.id = ?"""

_COLUMNS = "id, type, priority, title, message, data, is_read, read_at, created_at, replaces"

# idx_notifications_user_unread, twice: the unread and the read, each read backwards and merged row by row. No sorting,
# and no more rows than asked for, however large the inbox.
PAGE = f"""
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND id < ?
UNION ALL
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = true AND removed_seq IS NULL AND id < ?
ORDER BY id DESC LIMIT ?"""

# idx_notifications_user_unread, once. "= false", not "= 0": PostgreSQL would refuse that.
UNREAD_PAGE = f"""
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND id < ?
ORDER BY id DESC LIMIT ?"""

# The primary key.
META = "SELECT epoch, pid_key FROM meta WHERE id = 1"

HOT_QUERIES: Mapping[str, str] = MappingProxyType(
    {"snapshot": SNAPSHOT, "page": PAGE, "unread_page": UNREAD_PAGE, "meta": META}
)
"""What a request may run, by name: each is served by the index named above it."""

# Above every id: they end at 2^53 - 1, and SQLite's integers at 2^63 - 1.
_ABOVE_ALL_IDS = 2**63 - 1


class Snapshot(msgspec.Struct, frozen=True):
    """The badge and the tenant's newest sequence number, of one moment, and whether the tenant knows the user."""

    unread: int
    seq: int
    known: bool = True


class StoredNotification(msgspec.Struct, frozen=True, gc=False):
    """A notification as the table has it; times are UTC text, `data` is JSON text."""

    id: int
    type: str
    priority: str
    title: str
    message: str | None
    data: str | None
    is_read: bool
    read_at: str | None
    created_at: str
    replaces: int | None


class InboxPage(msgspec.Struct, frozen=True):
    """Some of an inbox, newest first.

    Attributes:
        items: the notifications.
        next_before: the `before` that gets the next page, None if this is the last.
        unread: how many of the whole inbox are unread.
        seq: the tenant's newest sequence number in the same snapshot.
    """

    items: list[StoredNotification]
    next_before: int | None
    unread: int
    seq: int


@dataclass(frozen=True, slots=True)
class Meta:
    """What marks this database.

    Attributes:
        epoch: 12 URL-safe characters, part of every offset.
        pid_key: 32 bytes, the key under which pids are given out. Secret, hence not in the repr.
    """

    epoch: str
    pid_key: bytes = field(repr=False)


def snapshot(connection: sqlite3.Connection, tenant_id: int, user_id: int) -> Snapshot:
    """The user's unread count and the tenant's newest sequence number; each 0 where nobody was heard of yet.

    A user who is not known yet in a known tenant has no unread, but the tenant's sequence number: what was before is
    not theirs to replay.
    """
    row = connection.execute(SNAPSHOT, (user_id, tenant_id)).fetchone()
    return Snapshot(0, 0, known=False) if row is None else Snapshot(row[0], row[1], row[2] == 1)


def page(
    connection: sqlite3.Connection,
    tenant_id: int,
    user_id: int,
    *,
    limit: int,
    before: int | None = None,
    unread_only: bool = False,
) -> InboxPage:
    """Up to `limit` notifications with ids below `before`, newest first.

    Raises:
        ValueError: `limit` is below 1 (SQLite would take that for "all").
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    badge = snapshot(connection, tenant_id, user_id)
    part = tenant_id, user_id, _ABOVE_ALL_IDS if before is None else before
    query, parts = (UNREAD_PAGE, part) if unread_only else (PAGE, part * 2)
    # One more than asked for tells whether there is another page.
    rows = connection.execute(query, (*parts, limit + 1)).fetchall()
    more = len(rows) > limit
    if more:
        rows.pop()
    items = [
        StoredNotification(id_, type_, priority, title, message, data, is_read == 1, read_at, created_at, replaces)
        for id_, type_, priority, title, message, data, is_read, read_at, created_at, replaces in rows
    ]
    return InboxPage(items, items[-1].id if more else None, badge.unread, badge.seq)


def meta(connection: sqlite3.Connection) -> Meta:
    """The mark of the database; the migrations made it."""
    epoch, pid_key = connection.execute(META).fetchone()
    return Meta(epoch, bytes.fromhex(pid_key))
