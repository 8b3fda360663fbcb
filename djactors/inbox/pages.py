"""The inbox as its owner reads it: the badge and the list.

These are plain functions of a connection, for `Database.read`. What one call returns comes from one snapshot, so a
list's offset belongs to its items. A caller names the offset that the reader was told last, and learns whether the
snapshot has it in its past. Otherwise a client could load a list that is older than what the client already shows, or
that has another past.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from djactors.domain.accounts import UNTOLD, Account
from djactors.domain.marks import Offset
from djactors.inbox import log
from djactors.inbox.accounts import SELECT_ACCOUNT, account_of

__all__ = [
    "HOT_QUERIES",
    "InboxPage",
    "Meta",
    "Snapshot",
    "StoredNotification",
    "last_seen",
    "meta",
    "page",
    "snapshot",
]

# The primary key.
SELECT_STATE = """SELECT unread_count, role, role_given, signed_out_at, deactivated_at FROM users
    WHERE tenant_id = ? AND id = ?"""

_COLUMNS = "id, type, priority, title, message, data, is_read, read_at, created_at, replaces"

# Served by idx_notifications_user_unread, twice: the unread and the read half are each read backwards and merged row by
# # row. Nothing is sorted, and no more rows are read than asked for, however large the inbox is.
PAGE = f"""
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND id < ?
UNION ALL
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = true AND removed_seq IS NULL AND id < ?
ORDER BY id DESC LIMIT ?"""

# Served by idx_notifications_user_unread, once. It says "= false" because PostgreSQL would refuse "= 0".
UNREAD_PAGE = f"""
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND id < ?
ORDER BY id DESC LIMIT ?"""

# The primary key.
META = "SELECT pid_key FROM meta WHERE id = 1"

# The primary keys, read backwards.
SELECT_LAST_EVENT = "SELECT received_at FROM domain_events ORDER BY id DESC LIMIT 1"
SELECT_LAST_NOTIFICATION = "SELECT created_at FROM notifications ORDER BY id DESC LIMIT 1"

HOT_QUERIES: Mapping[str, str] = MappingProxyType(
    {"unread": SELECT_STATE, "account": SELECT_ACCOUNT, "page": PAGE, "unread_page": UNREAD_PAGE, "meta": META}
)
"""The statements that a request may run, by name. Each is served by the index that the comment above it names."""

# A number above every id. Ids end at 2^53 - 1, and SQLite's integers at 2^63 - 1.
_ABOVE_ALL_IDS = 2**63 - 1


class Snapshot(msgspec.Struct, frozen=True):
    """Where a user's inbox stands in one snapshot.

    Attributes:
        unread: how many notifications are unread.
        at: the offset of the tenant's newest change.
        known: whether the tenant knows the user.
        follows: whether the offset that the user was told is in the past of this snapshot.
        account: what the tenant says of the user.
    """

    unread: int
    at: Offset
    known: bool = True
    follows: bool = True
    account: Account = UNTOLD


class StoredNotification(msgspec.Struct, frozen=True, gc=False):
    """A notification as it is in the table. Times are UTC text, and `data` is JSON text."""

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
    """A page of an inbox, newest first.

    Attributes:
        items: the notifications.
        next_before: the `before` that gets the next page; None if this page is the last.
        unread: how many of the whole inbox are unread.
        at: the offset of the tenant's newest change in the same snapshot.
        follows: whether the offset that the reader was told is in the past of this snapshot.
    """

    items: list[StoredNotification]
    next_before: int | None
    unread: int
    at: Offset
    follows: bool = True


@dataclass(frozen=True, slots=True)
class Meta:
    """What belongs to this database alone.

    Attributes:
        pid_key: the key that signs pids, 32 bytes. It is secret, so it is not in the repr.
    """

    pid_key: bytes = field(repr=False)


def snapshot(connection: sqlite3.Connection, tenant_id: int, user_id: int, told: Offset | None = None) -> Snapshot:
    """The user's unread count and the tenant's newest offset. For an unknown tenant these are 0 and the beginning.

    An unknown user in a known tenant has nothing unread and the tenant's offset, because changes from before are not
    replayed to this user. `told` is the offset that the user was told last.
    """
    row = connection.execute(SELECT_STATE, (tenant_id, user_id)).fetchone()
    reach = log.reach(connection, tenant_id)
    follows = told is None or log.holds(connection, tenant_id, told, reach)
    if row is None:
        return Snapshot(0, reach.last, known=False, follows=follows)
    return Snapshot(row[0], reach.last, follows=follows, account=account_of(*row[1:]))


def page(
    connection: sqlite3.Connection,
    tenant_id: int,
    user_id: int,
    *,
    limit: int,
    before: int | None = None,
    unread_only: bool = False,
    told: Offset | None = None,
) -> InboxPage:
    """Up to `limit` notifications with ids below `before`, newest first. `told` is the offset that the user was told
    last.

    Raises:
        ValueError: `limit` is below 1 (SQLite would take that for "all").
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    state = snapshot(connection, tenant_id, user_id, told)
    part = tenant_id, user_id, _ABOVE_ALL_IDS if before is None else before
    query, parts = (UNREAD_PAGE, part) if unread_only else (PAGE, part * 2)
    # One more row than asked for is read, to learn whether there is another page.
    rows = connection.execute(query, (*parts, limit + 1)).fetchall()
    more = len(rows) > limit
    if more:
        rows.pop()
    items = [
        StoredNotification(id_, type_, priority, title, message, data, is_read == 1, read_at, created_at, replaces)
        for id_, type_, priority, title, message, data, is_read, read_at, created_at, replaces in rows
    ]
    return InboxPage(items, items[-1].id if more else None, state.unread, state.at, state.follows)


def last_seen(connection: sqlite3.Connection) -> str | None:
    """The time of the newest event or notification; None where there is none."""
    found = [connection.execute(select).fetchone() for select in (SELECT_LAST_EVENT, SELECT_LAST_NOTIFICATION)]
    return max((row[0] for row in found if row is not None), default=None)


def meta(connection: sqlite3.Connection) -> Meta:
    """Read what the first migration put into the database."""
    [pid_key] = connection.execute(META).fetchone()
    return Meta(bytes.fromhex(pid_key))
