"""The inbox as its owner reads it: the badge and the list.

Plain functions of a connection, for `Database.read`. What each call returns is of one snapshot, so a list's offset is
the one that its items belong to. Whoever asks for one names what they were told last, and learns whether the snapshot
has that in its past: a list that was older, or of another past, would be loaded over what is shown already.
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

__all__ = ["HOT_QUERIES", "InboxPage", "Meta", "Snapshot", "StoredNotification", "meta", "page", "snapshot"]

# The primary key.
SELECT_STATE = "SELECT unread_count, role, role_given, signed_out_at FROM users WHERE tenant_id = ? AND id = ?"

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
META = "SELECT pid_key FROM meta WHERE id = 1"

HOT_QUERIES: Mapping[str, str] = MappingProxyType(
    {"unread": SELECT_STATE, "account": SELECT_ACCOUNT, "page": PAGE, "unread_page": UNREAD_PAGE, "meta": META}
)
"""What a request may run, by name: each is served by the index named above it."""

# Above every id: they end at 2^53 - 1, and SQLite's integers at 2^63 - 1.
_ABOVE_ALL_IDS = 2**63 - 1


class Snapshot(msgspec.Struct, frozen=True):
    """Where a user's inbox stands, of one moment.

    Attributes:
        unread: how many notifications are unread.
        at: the offset of the tenant's newest change.
        known: whether the tenant knows the user.
        follows: whether what was told is in the past of this.
        account: what the tenant says of the user.
    """

    unread: int
    at: Offset
    known: bool = True
    follows: bool = True
    account: Account = UNTOLD


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
        at: the offset of the tenant's newest change in the same snapshot.
        follows: whether what was told is in the past of that.
    """

    items: list[StoredNotification]
    next_before: int | None
    unread: int
    at: Offset
    follows: bool = True


@dataclass(frozen=True, slots=True)
class Meta:
    """What is this database's own.

    Attributes:
        pid_key: 32 bytes, the key under which pids are given out. Secret, hence not in the repr.
    """

    pid_key: bytes = field(repr=False)


def snapshot(connection: sqlite3.Connection, tenant_id: int, user_id: int, told: Offset | None = None) -> Snapshot:
    """The user's unread count and the tenant's newest offset; 0 and the beginning where nobody was heard of yet.

    A user who is not known yet in a known tenant has no unread, but the tenant's offset: what was before is not theirs
    to replay. `told` is what the user was told last.
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
    """Up to `limit` notifications with ids below `before`, newest first. `told` is what the user was told last.

    Raises:
        ValueError: `limit` is below 1 (SQLite would take that for "all").
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    state = snapshot(connection, tenant_id, user_id, told)
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
    return InboxPage(items, items[-1].id if more else None, state.unread, state.at, state.follows)


def meta(connection: sqlite3.Connection) -> Meta:
    """What the migrations put into the database when they made it."""
    [pid_key] = connection.execute(META).fetchone()
    return Meta(bytes.fromhex(pid_key))
