"""Remembers how far expiry has come: all SQL on `expiry_walks`.

An index on `expires_at` would cost a page in every commit. No such index is needed, because ids and `expires_at` rise
together: expiry walks along the ids and remembers how far it has come. Only a clock that is set back breaks this order,
because notifications that come afterwards expire before the last ones from before. So the ids from there on have a walk
of their own, and neither walk waits for the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import msgspec

from djactors.domain.times import from_text
from djactors.store.connection import Connection

TOLERANCE = timedelta(minutes=1)
"""A clock that is set back by less, as time servers do, begins no walk. Notifications then expire up to this much
late."""

MAX_WALKS = 64
"""The most walks at a time, because each is a look-up in every slice. Nobody sets a clock back so often in 30 days. If
it happens, later notifications expire no earlier than the ones before."""

# Served by the primary keys.
SELECT_WALKS = "SELECT first_id, next_id FROM expiry_walks ORDER BY first_id LIMIT ?"
SELECT_LATEST = "SELECT expires_at FROM notifications WHERE id = (SELECT max(id) FROM notifications)"
INSERT_WALK = "INSERT INTO expiry_walks (first_id, next_id) VALUES (?, ?)"
UPDATE_WALK = "UPDATE expiry_walks SET next_id = ? WHERE first_id = ?"
DELETE_WALK = "DELETE FROM expiry_walks WHERE first_id = ?"


class Walk(msgspec.Struct, frozen=True):
    """A walk along the ids from `next_id` up to `end`, which is not included. The last walk has no end."""

    first_id: int
    next_id: int
    end: int | None


def note(connection: Connection, latest: str | None, notification_id: int, expires_at: str) -> str:
    """Note a notification that is about to be stored. If the clock was set back before, a new walk begins with it.

    Args:
        connection: the writer's, inside its transaction.
        latest: the latest time at which a notification on the newest walk expires, as this function returned it; None
            if that is not known any more.
        notification_id: the notification's id.
        expires_at: when the notification expires.

    Returns:
        The new value of `latest`.
    """
    if latest is None:
        row = connection.execute(SELECT_LATEST).fetchone()
        latest = expires_at if row is None else row[0]
    if expires_at < latest:
        if from_text(latest) - from_text(expires_at) < TOLERANCE or len(all_walks(connection)) >= MAX_WALKS:
            return latest
        connection.execute(INSERT_WALK, (notification_id, notification_id))
    return expires_at


class Begins:
    """Finds where walks are to begin in notifications that are there already.

    Args:
        room: how many walks there may be.

    Attributes:
        found: the ids of those that expire earlier than one before them, as far as there is room.
    """

    def __init__(self, room: int) -> None:
        self.found: list[int] = []
        self._room = room
        self._latest = ""

    def look(self, rows: Iterable[tuple[int, str]]) -> None:
        """Go on with the next notifications, in the order of their ids: the id, and when it expires."""
        for id_, expires_at in rows:
            if expires_at < self._latest:
                early = from_text(self._latest) - from_text(expires_at)
                if early < TOLERANCE or len(self.found) >= self._room:
                    continue
                self.found.append(id_)
            self._latest = expires_at


def all_walks(connection: Connection) -> list[Walk]:
    """All walks, by their ids."""
    rows = connection.execute(SELECT_WALKS, (MAX_WALKS,)).fetchall()
    ends = [first for first, _ in rows[1:]]
    return [Walk(first, next_id, end) for (first, next_id), end in zip(rows, [*ends, None], strict=True)]


def move(connection: Connection, walk: Walk, next_id: int) -> None:
    """Note that everything before `next_id` on the walk has left the inbox."""
    connection.execute(UPDATE_WALK, (next_id, walk.first_id))


def finish(connection: Connection, walk: Walk) -> None:
    """Note that everything on the walk has left the inbox."""
    connection.execute(DELETE_WALK, (walk.first_id,))
