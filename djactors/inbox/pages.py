"""The inbox as its owner reads it: the badge and the list.

These are plain functions of a connection, for `Database.read`. What one call returns comes from one snapshot, so a
list's offset belongs to its items. A caller names the offset that the reader was told last, and learns whether the
snapshot has it in its past. Otherwise a client could load a list that is older than what the client already shows, or
that has another past.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import msgspec

from djactors.domain.accounts import UNTOLD, Account
from djactors.domain.events import Priority
from djactors.domain.folding import folded
from djactors.domain.marks import Offset
from djactors.inbox import log
from djactors.inbox.accounts import SELECT_ACCOUNT, account_of
from djactors.store.connection import Connection
from djactors.store.errors import StoreInPart

__all__ = [
    "ALL",
    "HOT_QUERIES",
    "InboxPage",
    "Meta",
    "Snapshot",
    "StoredNotification",
    "Wanted",
    "last_seen",
    "meta",
    "page",
    "select_states",
    "snapshot",
    "snapshots",
]


@lru_cache
def select_states(users: int) -> str:
    """Where the inboxes of so many users stand, of whom each is a place, a tenant and a user: a row for each, in any
    order, that begins with the place, and with the tenant if there is one. By the primary keys."""
    wanted = ", ".join(["(CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT))"] * users)
    return f"""WITH wanted (place, tenant_id, user_id) AS (VALUES {wanted})
    SELECT w.place, t.id, {log.REACH_COLUMNS},
    u.unread_count, u.unseen_count, u.role, u.role_given, u.signed_out_at, u.deactivated_at
    FROM wanted w LEFT JOIN tenants t ON t.id = w.tenant_id
    {log.NEWEST_CHANGE} LEFT JOIN users u ON u.tenant_id = t.id AND u.id = w.user_id"""


_COLUMNS = "id, type, priority, title, message, data, is_read, read_at, created_at, replaces, snoozed_until"

# Served by idx_notifications_user_unread, twice: the unread and the read half are each read backwards and merged row by
# # row. Nothing is sorted, and no more rows are read than asked for, however large the inbox is.
PAGE = f"""
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND place IS NULL AND id < ?
UNION ALL
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = true AND removed_seq IS NULL AND place IS NULL AND id < ?
ORDER BY id DESC LIMIT ?"""

# Served by idx_notifications_user_unread, once. It says "= false" because PostgreSQL would refuse "= 0".
UNREAD_PAGE = f"""
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND is_read = false AND removed_seq IS NULL AND place IS NULL AND id < ?
ORDER BY id DESC LIMIT ?"""

# Served by idx_notifications_place, read backwards: what is archived, or snoozed.
PLACE_PAGE = f"""
SELECT {_COLUMNS} FROM notifications
WHERE tenant_id = ? AND user_id = ? AND place = ? AND removed_seq IS NULL AND id < ?
ORDER BY id DESC LIMIT ?"""

# The same pages for a search, by the same indexes: each row with what is searched in its job, by the primary key.
_WITH_JOB = f"""SELECT {", ".join(f"n.{column} AS {column}" for column in _COLUMNS.split(", "))},
    n.job_id AS job_id, j.title AS job_title, j.dj_id AS dj_id
FROM notifications n LEFT JOIN jobs j ON j.tenant_id = n.tenant_id AND j.id = n.job_id
WHERE n.tenant_id = ? AND n.user_id = ? AND n.removed_seq IS NULL AND"""
SEARCH = f"""{_WITH_JOB} n.is_read = false AND n.place IS NULL AND n.id < ?
UNION ALL
{_WITH_JOB} n.is_read = true AND n.place IS NULL AND n.id < ?
ORDER BY id DESC LIMIT ?"""
UNREAD_SEARCH = f"{_WITH_JOB} n.is_read = false AND n.place IS NULL AND n.id < ? ORDER BY n.id DESC LIMIT ?"
PLACE_SEARCH = f"{_WITH_JOB} n.place = ? AND n.id < ? ORDER BY n.id DESC LIMIT ?"

# The primary key.
META = "SELECT pid_key FROM meta WHERE id = 1"

# The primary keys, read backwards.
SELECT_LAST_EVENT = "SELECT received_at FROM domain_events ORDER BY id DESC LIMIT 1"
SELECT_LAST_NOTIFICATION = "SELECT created_at FROM notifications ORDER BY id DESC LIMIT 1"

HOT_QUERIES: Mapping[str, str] = MappingProxyType(
    {
        "unread": select_states(1),
        "unread_of_two": select_states(2),
        "account": SELECT_ACCOUNT,
        "page": PAGE,
        "unread_page": UNREAD_PAGE,
        "place_page": PLACE_PAGE,
        "search": SEARCH,
        "unread_search": UNREAD_SEARCH,
        "place_search": PLACE_SEARCH,
        "meta": META,
    }
)
"""The statements that a request may run, by name. Each is served by the index that the comment above it names."""

# A number above every id. Ids end at 2^53 - 1, and SQLite's integers at 2^63 - 1.
_ABOVE_ALL_IDS = 2**63 - 1

EXAMINED = 500
"""The most notifications that a search looks at for one page: a few milliseconds of a reader. A page that ends there
has fewer items than asked for, perhaps none, and names where to go on."""

_CHUNK = 100
"""Notifications that a search reads at a time, since most pages are full after the first."""


_Row: TypeAlias = tuple[Any, ...]

Place: TypeAlias = Literal["archived", "snoozed"]


class Wanted(msgspec.Struct, frozen=True):
    """Which notifications a reader wants; all of the inbox itself by default.

    Attributes:
        place: those in this place, and not those of the inbox itself.
        unread_only, type, priority, job_id: those of which this is true.
        words: those in whose title, message, or job's title or number all of these are found. They are folded.
    """

    place: Place | None = None
    unread_only: bool = False
    type: str | None = None
    priority: str | None = None
    job_id: int | None = None
    words: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether an index has these and no others."""
        narrowed = self.type is not None or self.priority is not None or self.job_id is not None or self.words
        return not (narrowed or (self.place is not None and self.unread_only))

    def has(self, row: _Row) -> bool:
        """Whether a row of a search is wanted."""
        _, type_, priority, title, message, _, is_read, *_, job_id, job_title, dj_id = row
        return (
            not (self.unread_only and is_read)
            and self.type in (None, type_)
            and self.priority in (None, priority)
            and self.job_id in (None, job_id)
            and (not self.words or _has_words((title, message, job_title, dj_id), self.words))
        )


ALL = Wanted()


def _has_words(texts: Iterable[str | None], words: Iterable[str]) -> bool:
    text = folded("\n".join(filter(None, texts)))
    return all(word in text for word in words)


class Snapshot(msgspec.Struct, frozen=True):
    """Where a user's inbox stands in one snapshot.

    Attributes:
        unread: how many notifications are unread.
        unseen: how many of these are unseen.
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
    unseen: int = 0


class StoredNotification(msgspec.Struct, frozen=True, gc=False):
    """A notification as it is in the table. Times are UTC text, and `data` is JSON text."""

    id: int
    type: str
    priority: Priority
    title: str
    message: str | None
    data: str | None
    is_read: bool
    read_at: str | None
    created_at: str
    replaces: int | None
    snoozed_until: str | None = None


class InboxPage(msgspec.Struct, frozen=True):
    """A page of an inbox, newest first.

    Attributes:
        items: the notifications.
        next_before: the `before` that gets the next page; None if this page is the last. A page of a search may have
            fewer items than asked for and be followed by others.
        unread: how many of the whole inbox are unread.
        unseen: how many of these are unseen.
        at: the offset of the tenant's newest change in the same snapshot.
        follows: whether the offset that the reader was told is in the past of this snapshot.
    """

    items: list[StoredNotification]
    next_before: int | None
    unread: int
    at: Offset
    follows: bool = True
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Meta:
    """What belongs to this database alone.

    Attributes:
        pid_key: the key that signs pids, 32 bytes. It is secret, so it is not in the repr.
    """

    pid_key: bytes = field(repr=False)


def snapshot(connection: Connection, tenant_id: int, user_id: int, told: Offset | None = None) -> Snapshot:
    """The user's unread count and the tenant's newest offset. For an unknown tenant these are 0 and the beginning.

    An unknown user in a known tenant has nothing unread and the tenant's offset, because changes from before are not
    replayed to this user. `told` is the offset that the user was told last.
    """
    [row] = _states(connection, [(tenant_id, user_id)])
    reach = log.whole_reach(tenant_id, row)
    return _snapshot_of(row, reach, follows=told is None or log.holds(connection, tenant_id, told, reach))


def snapshots(connection: Connection, users: Sequence[tuple[int, int]]) -> list[Snapshot | Exception]:
    """The same for several users, by tenant and user, who were told nothing yet: from one statement.

    `StoreInPart` stands for the snapshot of who is of a tenant that is being imported.
    """
    found: list[Snapshot | Exception] = []
    for (tenant_id, _), row in zip(users, _states(connection, users), strict=True):
        try:
            found.append(_snapshot_of(row, log.whole_reach(tenant_id, row), follows=True))
        except StoreInPart as error:
            found.append(error)
    return found


def _states(connection: Connection, users: Sequence[tuple[int, int]]) -> list[Sequence[Any] | None]:
    """The rows of these users from `REACH_COLUMNS` on; None for one of an unknown tenant."""
    wanted = [number for place, user in enumerate(users) for number in (place, *user)]
    rows: list[Sequence[Any] | None] = [None] * len(users)
    for place, tenant_id, *row in connection.execute(select_states(len(users)), wanted).fetchall():
        rows[place] = row if tenant_id else None
    return rows


def _snapshot_of(row: Sequence[Any] | None, reach: log.Reach, *, follows: bool) -> Snapshot:
    if row is None or row[5] is None:
        return Snapshot(0, reach.last, known=False, follows=follows)
    unread, unseen, *account = row[5:]
    return Snapshot(unread, reach.last, follows=follows, account=account_of(*account), unseen=unseen)


def page(
    connection: Connection,
    tenant_id: int,
    user_id: int,
    *,
    limit: int,
    before: int | None = None,
    wanted: Wanted = ALL,
    told: Offset | None = None,
) -> InboxPage:
    """Up to `limit` notifications with ids below `before`, newest first, of those that are wanted. `told` is the offset
    that the user was told last.

    Raises:
        ValueError: `limit` is below 1 (SQLite would take that for "all").
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    state = snapshot(connection, tenant_id, user_id, told)
    below = _ABOVE_ALL_IDS if before is None else before
    if wanted.everything:
        # One more row than asked for is read, to learn whether there is another page.
        query = PLACE_PAGE if wanted.place is not None else UNREAD_PAGE if wanted.unread_only else PAGE
        rows = _rows(connection, query, (tenant_id, user_id), wanted, below, limit + 1)
        next_before = rows[limit - 1][0] if len(rows) > limit else None
        rows = rows[:limit]
    else:
        rows, next_before = _search(connection, (tenant_id, user_id), wanted, below, limit)
    items = [_stored(*row[: len(_STORED)]) for row in rows]
    return InboxPage(items, next_before, state.unread, state.at, state.follows, state.unseen)


_STORED = StoredNotification.__struct_fields__


def _stored(*columns: Any) -> StoredNotification:
    fields = dict(zip(_STORED, columns, strict=True))
    return StoredNotification(**{**fields, "is_read": fields["is_read"] == 1})


def _rows(
    connection: Connection, query: str, whose: tuple[int, int], wanted: Wanted, below: int, limit: int
) -> list[_Row]:
    """Rows of one of the pages, whatever its parameters are. The halves of the inbox have the same ones twice."""
    if wanted.place is not None:
        return connection.execute(query, (*whose, wanted.place, below, limit)).fetchall()
    halves = 1 if wanted.unread_only else 2
    return connection.execute(query, (*(*whose, below) * halves, limit)).fetchall()


def _search(
    connection: Connection, whose: tuple[int, int], wanted: Wanted, below: int, limit: int
) -> tuple[list[_Row], int | None]:
    """The first rows that are wanted, and where to go on. It looks at `EXAMINED` rows at most."""
    query = PLACE_SEARCH if wanted.place is not None else UNREAD_SEARCH if wanted.unread_only else SEARCH
    found: list[_Row] = []
    for _ in range(EXAMINED // _CHUNK):
        rows = _rows(connection, query, whose, wanted, below, _CHUNK)
        for place, row in enumerate(rows):
            below = row[0]
            if wanted.has(row):
                found.append(row)
                if len(found) == limit:
                    return found, None if len(rows) < _CHUNK and place == len(rows) - 1 else below
        if len(rows) < _CHUNK:
            return found, None
    return found, below


def last_seen(connection: Connection) -> str | None:
    """The time of the newest event or notification; None where there is none."""
    found = [connection.execute(select).fetchone() for select in (SELECT_LAST_EVENT, SELECT_LAST_NOTIFICATION)]
    return max((row[0] for row in found if row is not None), default=None)


def meta(connection: Connection) -> Meta:
    """Read what the first migration put into the database."""
    [pid_key] = connection.execute(META).fetchone()
    return Meta(bytes.fromhex(pid_key))
