"""How the database grows, and the notification of it: all SQL on `database_sizes`.

A size is noted once a day. Who is told, and when that was last, is in the same transaction as the notifications. So a
restart, or another node, tells nobody a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from djactors.domain import room
from djactors.domain.commands import NoteRoom, Sliced
from djactors.domain.room import DISK_FILLING, Outlook, Size
from djactors.domain.times import utc_text
from djactors.inbox import notices
from djactors.inbox.rows import SERVED
from djactors.inbox.unit import UnitOfWork
from djactors.store.connection import Connection

DAYS_KEPT = 60
"""Sizes that are kept: two months, for people who look."""

# By the primary key.
SELECT_SIZES = "SELECT noted_at, bytes, told_at FROM database_sizes ORDER BY day DESC LIMIT ?"
INSERT_SIZE = "INSERT INTO database_sizes (day, noted_at, bytes) VALUES (?, ?, ?) ON CONFLICT (day) DO NOTHING"
UPDATE_TOLD = "UPDATE database_sizes SET told_at = ? WHERE day = ?"
DELETE_OLD = """DELETE FROM database_sizes WHERE day < (SELECT min(day) FROM
    (SELECT day FROM database_sizes ORDER BY day DESC LIMIT ?) AS kept)"""
# Served by idx_users_admins.
SELECT_ADMINS = f"""SELECT tenant_id, id FROM users WHERE role = 'admin' AND deactivated_at IS NULL AND {SERVED}
    ORDER BY tenant_id, id LIMIT ?"""


def record(connection: Connection) -> tuple[list[Size], str | None]:
    """The sizes that are noted, newest first, and when the admins were told last."""
    rows = connection.execute(SELECT_SIZES, (DAYS_KEPT,)).fetchall()
    told = [told_at for _, _, told_at in rows if told_at is not None]
    return [Size(at, size) for at, size, _ in rows], max(told, default=None)


def is_noted(sizes: Sequence[Size], now: datetime) -> bool:
    """Whether the size of this day is among those that are noted."""
    today = utc_text(now)[:10]
    return any(size.at[:10] == today for size in sizes)


def to_tell(connection: Connection, command: NoteRoom, now: datetime) -> tuple[Outlook, list[tuple[int, int]]]:
    """The outlook, and the admins who are to be told of it now: tenant and user."""
    sizes, told_at = record(connection)
    found = room.outlook(sizes, command.filled, command.free, now)
    if found.concern is None or not room.is_due(told_at, now):
        return found, []
    return found, [(tenant_id, user_id) for tenant_id, user_id in connection.execute(SELECT_ADMINS, (command.limit,))]


def note(unit: UnitOfWork, command: NoteRoom) -> Sliced:
    """Note the size of the day, and tell the admins if the disk will soon be full."""
    unit.flush()
    today = unit.now[:10]
    unit.connection.executemany(INSERT_SIZE, [(today, unit.now, command.filled)])
    unit.connection.executemany(DELETE_OLD, [(DAYS_KEPT,)])
    found, admins = to_tell(unit.connection, command, unit.moment)
    admins = list(unit.held(admins, 0))
    for tenant_id, users in groupby(admins, key=itemgetter(0)):
        tenant = unit.ensure_tenant(tenant_id)
        event_id = unit.next_id("domain_events")
        drafts = [room.notice(user_id, found) for _, user_id in users]
        notices.tell(unit, tenant, event_id, drafts, None, by_person=False)
        unit.add_event((event_id, tenant.id, DISK_FILLING, None, None, tenant.last_seq, unit.now, unit.now))
    if admins:
        unit.connection.executemany(UPDATE_TOLD, [(unit.now, today)])
    unit.flush()
    return Sliced(len(admins), more=False)
