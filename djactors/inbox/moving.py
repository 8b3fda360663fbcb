"""What of an installation is not carried to another database as it stands: ids to come, expiry walks, nodes.

Rules:
  * On SQLite the next id follows the highest one of the table or of `counters`, on PostgreSQL it comes from a sequence.
    No id may be given twice, so the target goes on behind all three.
  * SQLite finds what has expired by walks along the ids (`walks`). What several nodes wrote does not follow the order
    of the ids, so a walk begins wherever a notification expires earlier than one before it, as in `walks.note`.
  * `nodes` tells of running servers, and whoever moves has none. `database_sizes` tells of the disk that is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from djactors.domain.times import utc_text
from djactors.inbox import walks
from djactors.inbox.copies import DELETE_COPIED
from djactors.inbox.retention import UPSERT_PURGED
from djactors.inbox.unit import SELECT_HIGHEST
from djactors.store.connection import Connection

LEFT_BEHIND = frozenset({"nodes", "database_sizes"})
"""Tables whose rows are not carried: who serves the database, and how it grew on its disk."""

SEEDED = frozenset({"schema_migrations", "meta", "expiry_walks", *LEFT_BEHIND})
"""Tables that may have rows where nobody has used the database yet."""

SELECT_COUNTERS = "SELECT name, value FROM counters ORDER BY name"
SELECT_SEQUENCE = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}_ids"
SET_SEQUENCE = "SELECT setval('{}_ids', ?, ?)"

# Served by the primary key.
SELECT_EXPIRIES = "SELECT id, expires_at FROM notifications WHERE id >= ? ORDER BY id LIMIT ?"

ROWS_OF_A_LOOK = 1000

SELECT_SEEN = "SELECT name, seen_at FROM nodes WHERE seen_at > ? ORDER BY name"

SEEN_WITHIN = timedelta(seconds=15)
"""A node that was seen so lately is at work: it notes every five seconds that it is there."""


def nodes_at_work(connection: Connection, now: datetime) -> list[tuple[str, str]]:
    """The nodes that were seen lately, and when. One that was killed is among them for a while."""
    return connection.execute(SELECT_SEEN, (utc_text(now - SEEN_WITHIN),)).fetchall()


def numbers_given(connection: Connection) -> dict[str, int]:
    """The highest id of each kind that was given out, 0 where there was none."""
    counters = dict(connection.execute(SELECT_COUNTERS).fetchall())
    given = {}
    for kind, select in SELECT_HIGHEST.items():
        numbers = [connection.execute(select).fetchone()[0] or 0, counters.get(kind, 0)]
        if connection.is_shared:
            numbers.append(connection.execute(SELECT_SEQUENCE.format(kind)).fetchone()[0])
        given[kind] = max(numbers)
    return given


def go_on_behind(connection: Connection, given: dict[str, int]) -> None:
    """Have the target of a move, which is filled, give out ids behind these."""
    # What was copied is the source.
    connection.execute(DELETE_COPIED)
    if connection.is_shared:
        for kind, number in given.items():
            connection.execute(SET_SEQUENCE.format(kind), (max(number, 1), number > 0))
        return
    reached = numbers_given(connection)
    raised = [(kind, number) for kind, number in given.items() if number > reached[kind]]
    connection.executemany(UPSERT_PURGED, raised)


def add_walks(connection: Connection, *, from_shared: bool) -> None:
    """Have the target of a move, which is filled, find all that expires."""
    if connection.is_shared or not from_shared:
        return
    known = walks.all_walks(connection)
    last = known[-1] if known else None
    room = walks.MAX_WALKS - len(known)
    begins = _begins(_expiries(connection, last.next_id if last else 1), room)
    if last is None and not begins:
        begins = [1]
    connection.executemany(walks.INSERT_WALK, [(id_, id_) for id_ in begins])


def begin_walks_anew(connection: Connection) -> None:
    """Find all that expires again, because notifications came in between others, where no walk may come by any more."""
    if connection.is_shared:
        return
    connection.execute("DELETE FROM expiry_walks")
    begins = [1, *_begins(_expiries(connection, 1), walks.MAX_WALKS - 1)]
    connection.executemany(walks.INSERT_WALK, [(id_, id_) for id_ in dict.fromkeys(begins)])


def _begins(rows: Iterable[tuple[int, str]], room: int) -> list[int]:
    begins = walks.Begins(room)
    begins.look(rows)
    return begins.found


def _expiries(connection: Connection, first_id: int) -> Iterator[tuple[int, str]]:
    while rows := connection.execute(SELECT_EXPIRIES, (first_id, ROWS_OF_A_LOOK)).fetchall():
        yield from rows
        first_id = rows[-1][0] + 1
