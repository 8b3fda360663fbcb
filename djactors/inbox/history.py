"""The inbox as it was at any sequence number that the log still reaches: time travel for support.

Rules:
  * A notification's row has the numbers of the changes that brought it, read it, put it where it is and removed it.
    Times in which it was read, archived or snoozed and is not any more are in `notification_spells`.
  * Notifications that have left the inbox since the requested moment are found by walking the user's log forward from
    there, so the log's own index is enough.
  * What was unseen is what the log says: the newest `seen` up to the moment, and what came back from a snooze between
    the two. If that `seen` has been purged, and another one took its place since, nobody knows what was unseen.
  * A row is purged only when the log no longer reaches back to the removal of its notification, so nothing is missing
    within the log's reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from djactors.inbox import log
from djactors.store.connection import Connection

SELECT_TENANT = "SELECT name FROM tenants WHERE id = ?"
SELECT_USER = "SELECT name, seen_id, seen_seq FROM users WHERE tenant_id = ? AND id = ?"
_COLUMNS = "id, type, priority, title, created_at, seq, read_seq, read_at, place_seq, place"
# Served by idx_notifications_user_unread. The rows are not in order, because removed notifications are sorted in later.
SELECT_PRESENT = f"""SELECT {_COLUMNS} FROM notifications
    WHERE tenant_id = ? AND user_id = ? AND removed_seq IS NULL"""
# idx_changes_user, then the primary key
SELECT_DELETIONS = """SELECT data FROM changes
    WHERE tenant_id + 0 = ? AND user_id = ? AND seq > ? AND kind = 'deleted' AND notification_id IS NULL ORDER BY seq"""
# idx_changes_user, read backwards.
SELECT_SEEN = """SELECT seq, data FROM changes
    WHERE tenant_id + 0 = ? AND user_id = ? AND seq <= ? AND kind = 'seen' ORDER BY seq DESC LIMIT 1"""
# idx_changes_user
SELECT_RETURNS = """SELECT data FROM changes
    WHERE tenant_id + 0 = ? AND user_id = ? AND seq > ? AND seq <= ? AND kind = 'unsnoozed' ORDER BY seq"""
SELECT_GONE = f"SELECT {_COLUMNS} FROM notifications WHERE id = ?"
# The primary key of notification_spells.
SELECT_SPELLS = """SELECT state, at FROM notification_spells
    WHERE notification_id = ? AND until_seq > ? AND since_seq <= ?"""


class OutOfReachError(Exception):
    """There is no such inbox, or the log does not reach that far. The message names the wrong option and its bounds."""


class PastItem(msgspec.Struct, frozen=True):
    """A notification as it was at the requested moment. `read_at` is None while it was unread; `place` is 'archived' or
    'snoozed', or None in the inbox itself."""

    id: int
    type: str
    priority: str
    title: str
    created_at: str
    read_at: str | None
    place: str | None = None


class PastInbox(msgspec.Struct, frozen=True):
    """An inbox at the sequence number `seq`, newest notification first.

    `newest` is the tenant's last number now. `unseen` counts the unread ones that the user had not seen; None if the
    log no longer tells.
    """

    tenant_name: str
    user_name: str
    seq: int
    newest: int
    items: list[PastItem]
    unseen: int | None = None

    @property
    def unread(self) -> int:
        """The unread count at that moment."""
        return sum(item.read_at is None and item.place is None for item in self.items)


class _Which(msgspec.Struct, rename="camel"):
    """Of a change: which notifications it is about."""

    notification_ids: list[int]


class _Seen(msgspec.Struct, rename="camel"):
    up_to: int


_decoder = msgspec.json.Decoder(_Which)
_seen_decoder = msgspec.json.Decoder(_Seen)


def inbox_at(connection: Connection, tenant_id: int, user_id: int, seq: int | None) -> PastInbox:
    """A user's inbox as it was right after the change `seq`, or as it is now if `seq` is None; read in one snapshot.

    Raises:
        OutOfReachError: there is no such tenant or user, or `seq` is not within the log.
    """
    tenant = connection.execute(SELECT_TENANT, (tenant_id,)).fetchone()
    if tenant is None:
        raise OutOfReachError(f"--tenant: there is no tenant {tenant_id}")
    reach = log.reach(connection, tenant_id)
    newest, oldest = reach.last.seq, reach.oldest.seq
    user = connection.execute(SELECT_USER, (tenant_id, user_id)).fetchone()
    if user is None:
        raise OutOfReachError(f"--user: tenant {tenant_id} has no user {user_id}")
    moment = newest if seq is None else seq
    if moment < oldest:
        raise OutOfReachError(f"--at: {moment} is older than the log reaches: the oldest is {oldest}")
    if moment > newest:
        raise OutOfReachError(f"--at: {moment} has not happened yet: the newest is {newest}")
    items = [_item(connection, row, moment) for row in _rows(connection, tenant_id, user_id, moment)]
    items.sort(key=lambda item: item.id, reverse=True)
    name, seen_id, seen_seq = user
    unread = [item.id for item in items if item.read_at is None and item.place is None]
    unseen = _unseen(connection, (tenant_id, user_id), moment, unread, (seen_id, seen_seq))
    return PastInbox(tenant[0], name, moment, newest, items, unseen)


_Row = tuple[int, str, str, str, str, int, int | None, str | None, int | None, str | None]


def _rows(connection: Connection, tenant_id: int, user_id: int, moment: int) -> Iterator[_Row]:
    """The rows that are in the inbox and were there at the moment, and the rows that have left the inbox since."""
    for row in connection.execute(SELECT_PRESENT, (tenant_id, user_id)):
        if row[5] <= moment:
            yield row
    for (data,) in connection.execute(SELECT_DELETIONS, (tenant_id, user_id, moment)):
        for id_ in _decoder.decode(data).notification_ids:
            row = connection.execute(SELECT_GONE, (id_,)).fetchone()
            if row is not None and row[5] <= moment:
                yield row


def _unseen(
    connection: Connection, whose: tuple[int, int], moment: int, unread: Sequence[int], seen: tuple[int, int]
) -> int | None:
    """How many of the unread ones were unseen. `seen` is what the user has seen by now, and the change that said so."""
    newest = connection.execute(SELECT_SEEN, (*whose, moment)).fetchone()
    if newest is not None:
        seen = _seen_decoder.decode(newest[1]).up_to, newest[0]
    elif seen[1] > moment:
        # Another `seen` before it may have been purged.
        if log.reach(connection, whose[0]).oldest.seq > 0:
            return None
        seen = 0, 0
    returned: set[int] = set()
    for (data,) in connection.execute(SELECT_RETURNS, (*whose, seen[1], moment)):
        returned.update(_decoder.decode(data).notification_ids)
    return sum(id_ > seen[0] or id_ in returned for id_ in unread)


def _item(connection: Connection, row: _Row, moment: int) -> PastItem:
    id_, kind, priority, title, created_at, _, read_seq, read_at, place_seq, place = row
    if read_seq is None or read_seq > moment:
        read_at = None
    if place_seq is None or place_seq > moment:
        place = None
    for state, at in connection.execute(SELECT_SPELLS, (id_, moment, moment)):
        if state == "read":
            read_at = at
        else:
            place = state
    return PastItem(id_, kind, priority, title, created_at, read_at, place)
