"""A database that was filled under the schema before reads after its upgrade as it did."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from djactors.domain.commands import Delete, ExpireSlice, MarkAllRead, MarkRead, Publish, PurgeSlice, SendSummaries
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.domain.limits import Limits
from djactors.inbox import history, log, pages
from djactors.inbox.recorder import Recorder
from djactors.store import migrate
from tests.inbox.desk import Desk

USERS = {1: (11, 12), 2: (21,)}
LIMITS = Limits(daily_limit=3)
WEEK = timedelta(days=7)
BEFORE_FEWER_PAGES = 3


def note(user_id: int) -> Publish:
    return Publish(
        NotificationRequested(
            tenant_id=user_id // 10, user_id=user_id, notification_type="note", priority="LOW", title="Hello"
        )
    )


def desk_of(connection: sqlite3.Connection) -> Desk:
    desk = Desk(connection)
    desk.recorder = Recorder(lambda: desk.now, LIMITS)
    return desk


@pytest.fixture
def lived_in(desk: Desk) -> Desk:
    """Unread, read, deleted, replaced, expired and purged notifications; limits reached yesterday and today."""
    desk.recorder = Recorder(lambda: desk.now, LIMITS)
    desk.record(note(11), note(21), note(11))
    desk.record(Delete(1, 11, 1), MarkRead(1, 11, 3))
    desk.now += timedelta(days=25)
    desk.record(*[note(12)] * 2, Publish(JobCreated(tenant_id=1, title="Banner", requester_id=11, assignee_id=12)))
    desk.now += timedelta(days=6)
    desk.record(ExpireSlice(100))
    for table in ("changes", "notifications"):
        desk.record(PurgeSlice(table, WEEK, 3))
    desk.record(*[note(11)] * 5, *[note(21)] * 3, MarkAllRead(2, 21))
    desk.now += timedelta(minutes=2)
    desk.record(note(11), SendSummaries(10))
    desk.now += timedelta(days=1)
    desk.record(*[note(11)] * 2, *[note(12)] * 4, note(21))
    (newest,) = desk.rows("SELECT max(id) FROM notifications WHERE user_id = 11 AND type = 'note'")[0]
    desk.record(MarkRead(1, 11, newest), Delete(1, 11, newest - 1))
    return desk


@pytest.fixture
def upgraded(lived_in: Desk, tmp_path: Path) -> Iterator[Desk]:
    """The same rows, put into a database of the schema before, which is upgraded then."""
    older = tmp_path / "older"
    older.mkdir()
    for migration in migrate.read_migrations()[:BEFORE_FEWER_PAGES]:
        (older / migration.name).write_text(migration.sql)
    path = tmp_path / "upgraded.db"
    migrate.apply(path, directory=older)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        copy_rows(lived_in.connection, connection)
    migrate.apply(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        desk = desk_of(connection)
        desk.now = lived_in.now
        yield desk


def copy_rows(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """As the program before would have written them: what a user was told today, too, is in `user_days`."""
    for (table,) in target.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if table == "schema_migrations":
            continue
        columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
        target.execute(f"DELETE FROM {table}")
        target.executemany(
            f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})",
            source.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall(),
        )
    target.executemany(
        """INSERT INTO user_days (tenant_id, user_id, day, sent) VALUES (?, ?, ?, ?)
        ON CONFLICT (tenant_id, user_id, day) DO UPDATE SET sent = excluded.sent""",
        source.execute("SELECT tenant_id, id, sent_day, sent_count FROM users WHERE sent_day IS NOT NULL").fetchall(),
    )


def everything_read(desk: Desk) -> list[Any]:
    """Every page, count, replay and past inbox of everybody."""
    connection, read = desk.connection, list[Any]()
    for tenant_id, users in USERS.items():
        reach = log.bounds(connection, tenant_id)
        for user_id in users:
            for limit in (1, 2, 100):
                for unread_only in (False, True):
                    before: int | None = None
                    while True:
                        page = pages.page(
                            connection, tenant_id, user_id, limit=limit, before=before, unread_only=unread_only
                        )
                        read.append(page)
                        before = page.next_before
                        if before is None:
                            break
                read += [
                    log.replay(connection, tenant_id, user_id, since, limit=limit, at_most=at_most)
                    for since in range(reach.oldest, reach.last + 1)
                    for at_most in (None, 3)
                ]
            read += [history.inbox_at(connection, tenant_id, user_id, seq) for seq in range(reach.oldest, reach.last)]
    return read


def test_the_life_before_left_something_of_everything(lived_in: Desk):
    reasons = {reason for (reason,) in lived_in.rows("SELECT removed_reason FROM notifications")}
    assert reasons == {None, "deleted", "replaced", "expired"}
    assert lived_in.rows("SELECT DISTINCT is_read FROM notifications ORDER BY 1") == [(0,), (1,)]
    assert lived_in.one("SELECT max(oldest_seq) FROM tenants") > 0
    assert lived_in.one("SELECT count(*) FROM notifications") < lived_in.one(
        "SELECT value FROM counters WHERE name = 'notifications'"
    )
    assert lived_in.one("SELECT count(DISTINCT day) FROM user_days WHERE user_id = 11") > 1


def test_it_reads_as_it_did(lived_in: Desk, upgraded: Desk):
    assert everything_read(upgraded) == everything_read(lived_in)


@pytest.mark.parametrize("later", [timedelta(0), timedelta(days=-1), timedelta(days=1)])
def test_the_limit_goes_on_counting_on_every_day(lived_in: Desk, upgraded: Desk, later: timedelta):
    more = [note(user_id) for users in USERS.values() for user_id in users for _ in range(4)]
    for desk in (lived_in, upgraded):
        desk.now += later
    assert upgraded.record(*more) == lived_in.record(*more)
    assert everything_read(upgraded) == everything_read(lived_in)
