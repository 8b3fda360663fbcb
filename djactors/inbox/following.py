"""What other nodes have written, as a node reads it for the people who are connected to it.

A node knows of each of its tenants up to which change it has told its users (`Position`). `follow` reads what the log
has behind that change, and finds out in the same snapshot whether the log still has it, and what the users' sessions
were given besides. If it has not, commits were lost that clients know of, and nothing is told behind them.

A change of an account is in no log, because no client is shown it. It has a number of its own, which rises in the
tenant with each such change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from djactors.domain.commands import Change
from djactors.domain.marks import Offset
from djactors.inbox import alerts, days, log, places
from djactors.inbox.unit import NAMES
from djactors.store.connection import Connection
from djactors.store.errors import StoreInPart

# The primary keys of both tables.
SELECT_CHANGES = """SELECT c.seq, c.mark, n.id, n.type, n.priority, n.title, n.message, n.data, n.created_at,
    n.replaces, c.user_id, c.kind, c.data FROM changes c LEFT JOIN notifications n ON n.id = c.notification_id
    WHERE c.tenant_id = ? AND c.seq > ? ORDER BY c.seq LIMIT ?"""
# The primary keys of both tables.
SELECT_COUNTS = """SELECT id, unread_count, unseen_count FROM users WHERE tenant_id = ? AND id IN
    (SELECT user_id FROM changes WHERE tenant_id = ? AND seq > ? AND seq <= ?)"""
# Both are served by idx_users_account_number.
SELECT_ACCOUNTS = """SELECT account_number, id FROM users
    WHERE tenant_id = ? AND account_number IS NOT NULL AND account_number > ? ORDER BY account_number LIMIT ?"""
SELECT_LAST_ACCOUNT = "SELECT max(account_number) FROM users WHERE tenant_id = ? AND account_number IS NOT NULL"
FOLLOWED_AT_ONCE = 1000
"""Changes of a tenant that are read for all its users together: some milliseconds of a reader. A node that is further
behind has each of the users read the log, as after a reconnect, which takes slices and turns."""

FOLLOWED_BYTES = 4 * 1024 * 1024
"""Bytes of their payloads, for the same."""

ACCOUNTS_AT_ONCE = 1000
"""Accounts that are told one by one; where more have changed, all of the tenant's are read again."""

TENANTS_OF_A_STATEMENT = 100
"""Tenants of whom one statement asks how far they are, so that the text of a statement stays short."""


class Position(msgspec.Struct, frozen=True):
    """Up to where a node has told of a tenant: the change `at`, and the change of an account `accounts`."""

    at: Offset
    accounts: int


class Wanted(msgspec.Struct, frozen=True):
    """What is to be read of a tenant.

    Attributes:
        since: what the node has told all of the tenant's sessions already.
        told: what sessions of the tenant were given by other ways. The log must have each of them.
    """

    since: Position
    told: frozenset[Offset] = frozenset()


class Followed(msgspec.Struct, frozen=True):
    """What there is of a tenant behind a position.

    Attributes:
        upto: the position of the snapshot.
        changes: in order; None where they are too many.
        unread, unseen: the counts of those users whom the changes concern alone, by tenant and user.
        accounts: the users whose account has changed; None where they are too many.
        lost: whether the log has not the position, or something that a session was given.
        in_part: whether the tenant is being imported, so that nobody may be connected in it.
    """

    upto: Position
    changes: list[Change] | None = None
    unread: dict[tuple[int, int], int] = {}
    unseen: dict[tuple[int, int], int] = {}
    accounts: list[int] | None = None
    lost: bool = False
    in_part: bool = False


def stand(connection: Connection, tenant_id: int) -> Position:
    """Where a tenant stands."""
    return Position(log.reach(connection, tenant_id).last, _last_account(connection, tenant_id))


def follow(connection: Connection, wanted: Mapping[int, Wanted]) -> dict[int, Followed]:
    """Read what there is of tenants behind what was told of them, all in one snapshot."""
    return {tenant_id: _follow(connection, tenant_id, each) for tenant_id, each in wanted.items()}


def moved(connection: Connection, positions: Mapping[int, tuple[int, int]]) -> list[int]:
    """Those tenants of which there is more than was told: the numbers of the last change and of the last account."""
    found = []
    tenant_ids = list(positions)
    for start in range(0, len(tenant_ids), TENANTS_OF_A_STATEMENT):
        some = tenant_ids[start : start + TENANTS_OF_A_STATEMENT]
        for tenant_id, seq, account in connection.execute(_select_ends(len(some)), some).fetchall():
            if (seq, account) != positions[tenant_id]:
                found.append(tenant_id)
    return found


def _select_ends(tenants: int) -> str:
    # Served by the primary keys and by idx_users_account_number, once for each tenant.
    return f"""SELECT t.id, coalesce((SELECT max(seq) FROM changes WHERE tenant_id = t.id), t.oldest_seq),
        coalesce((SELECT max(account_number) FROM users WHERE tenant_id = t.id AND account_number IS NOT NULL), 0)
        FROM tenants t WHERE t.id IN ({", ".join("?" * tenants)})"""


def next_due(connection: Connection) -> str | None:
    """The next moment at which the clock has something to do, whichever node has brought it about."""
    moments = [
        row[0]
        for statement in (alerts.SELECT_NEXT, days.SELECT_NEXT_DUE, places.SELECT_NEXT_DUE)
        if (row := connection.execute(statement).fetchone()) is not None
    ]
    return min(moments, default=None)


def _follow(connection: Connection, tenant_id: int, wanted: Wanted) -> Followed:
    since = wanted.since
    try:
        ends = log.reach(connection, tenant_id)
    except StoreInPart:
        return Followed(since, [], accounts=[], in_part=True)
    rows: Sequence[tuple[Any, ...]] = ()
    if ends.last.seq > since.at.seq:
        rows = connection.execute(SELECT_CHANGES, (tenant_id, since.at.seq, FOLLOWED_AT_ONCE + 1)).fetchall()
    changes = None if len(rows) > FOLLOWED_AT_ONCE else [_change(tenant_id, row) for row in rows]
    if changes is not None and sum(len(change.body) for change in changes) > FOLLOWED_BYTES:
        changes = None
    users, accounts = _accounts(connection, tenant_id, since.accounts)
    upto = Position(ends.last, accounts)
    if not _has(connection, tenant_id, (since.at, *wanted.told), ends, changes or ()):
        return Followed(upto, accounts=users, lost=True)
    if not changes:
        return Followed(upto, changes, accounts=users)
    counts = connection.execute(SELECT_COUNTS, (tenant_id, tenant_id, since.at.seq, ends.last.seq)).fetchall()
    unread = {(tenant_id, user_id): count for user_id, count, _ in counts}
    unseen = {(tenant_id, user_id): count for user_id, _, count in counts}
    return Followed(upto, changes, unread, unseen, users)


def _has(
    connection: Connection, tenant_id: int, told: Iterable[Offset], ends: log.Reach, changes: Collection[Change]
) -> bool:
    """Whether the log has all of these in its past."""
    known = {change.offset for change in changes}
    return all(offset in known or log.holds(connection, tenant_id, offset, ends) for offset in told)


def _accounts(connection: Connection, tenant_id: int, since: int) -> tuple[list[int] | None, int]:
    """Whose accounts have changed since the one of this number, and the number of the newest."""
    rows = connection.execute(SELECT_ACCOUNTS, (tenant_id, since, ACCOUNTS_AT_ONCE + 1)).fetchall()
    if len(rows) > ACCOUNTS_AT_ONCE:
        return None, _last_account(connection, tenant_id)
    return [user_id for _, user_id in rows], rows[-1][0] if rows else since


def _last_account(connection: Connection, tenant_id: int) -> int:
    number: int | None = connection.execute(SELECT_LAST_ACCOUNT, (tenant_id,)).fetchone()[0]
    return number or 0


def _change(tenant_id: int, row: tuple[Any, ...]) -> Change:
    user_id, kind, data = row[10:]
    body = log.body_of(row[:10]) if data is None else data.encode()
    return Change(tenant_id, Offset(row[1], row[0]), user_id, NAMES[kind], body)
