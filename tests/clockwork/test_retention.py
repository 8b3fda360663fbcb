"""What leaves the inbox by itself, what is purged later, and what becomes of the file."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio

from djactors.actors.retention import FIRST_ROUND, SLICE, Keeping
from djactors.domain.commands import Delete, ExpireSlice, MarkRead, Publish, Purged, PurgeSlice
from djactors.domain.limits import Limits
from djactors.domain.times import utc_text
from djactors.inbox import log, retention, schema, walks
from djactors.inbox.inbox import Inbox
from djactors.store.database import Database
from djactors.store.sqlite import space
from djactors.store.sqlite.connection import SqliteConnection
from djactors.store.threads import InlineRunner
from tests.clockwork.desk import DAY, HOUR, MORNING, Desk, T, job, note
from tests.clockwork.house import WallClock, running
from tests.inbox.desk import served_by
from tests.offsets import offset_in

EXPIRY = MORNING + 30 * DAY
WEEK = 7 * DAY
KEEPING = Keeping(history_days=7, event_days=30, suppression_days=30)


def purge(desk: Desk, table: Purged, keep: timedelta = WEEK, limit: int = 500) -> list[int]:
    """Slices until there are no more; the rows of each."""
    rows, after = [], 0
    while True:
        sliced = desk.slice(PurgeSlice(table, keep, limit, after))
        rows.append(sliced.rows)
        if not sliced.more:
            return rows
        after = sliced.after


def count(desk: Desk, table: str) -> int:
    found: int = desk.one(f"SELECT count(*) FROM {table}")
    return found


# Purging


def test_no_number_is_given_twice_though_everything_was_purged(desk: Desk):
    """Ids and sequence numbers follow the highest that is stored, and here nothing is."""
    desk.limits = Limits(daily_limit=1)
    first = desk.publish(note(11), note(11))
    desk.record(MarkRead(T, 11, 1))
    desk.now = EXPIRY
    desk.slice(ExpireSlice(500))
    for _ in range(2):
        desk.now += 31 * DAY
        for table in ("changes", "notifications", "domain_events", "suppressions", "user_days"):
            purge(desk, table)
    assert [count(desk, table) for table in ("changes", "notifications", "domain_events", "suppressions")] == [0] * 4
    seq = log.reach(desk.connection, T).last.seq
    assert seq == log.reach(desk.connection, T).oldest.seq > first[-1]["seq"]
    again = desk.publish(note(11), note(11))
    assert again[0]["seq"] == seq + 1
    assert again[0]["eventId"] > first[-1]["eventId"]
    if not desk.connection.is_shared:  # where ids have gaps
        assert again[0]["eventId"] == first[-1]["eventId"] + 1
        assert again[0]["notifications"][0]["id"] == 3  # the summary was 2
        assert desk.rows("SELECT id FROM suppressions") == [(2,)]


def test_a_row_and_its_changes_go_a_week_after_it_left_and_the_log_says_up_to_where(desk: Desk):
    desk.publish(note(11), note(11))
    desk.record(Delete(T, 11, 1))
    desk.now += WEEK - HOUR
    assert purge(desk, "changes") == [0]
    assert purge(desk, "notifications") == [0]
    desk.publish(note(11))
    third = offset_in(desk.connection, 3, T)
    desk.now += HOUR
    assert purge(desk, "changes") == [3]
    assert purge(desk, "notifications") == [1]
    assert log.reach(desk.connection, T) == log.Reach(last=offset_in(desk.connection, 4, T), oldest=third)
    assert [item.id for item in desk.inbox(11)] == [3, 2]
    assert [body["id"] for _, body in desk.changes(11, since=3)] == [3]


def test_a_row_stays_while_the_log_still_shows_how_it_left(desk: Desk):
    desk.publish(note(11))
    desk.record(Delete(T, 11, 1))
    desk.now += WEEK
    assert purge(desk, "notifications") == [0]
    assert [name for name, _ in desk.changes(11)] == ["notification:new", "notification:deleted"]
    purge(desk, "changes")
    assert purge(desk, "notifications") == [1]


def test_the_logs_of_all_tenants_are_purged_in_slices_whatever_their_sizes(desk: Desk):
    sizes = {1: 7, 2: 0, 3: 4, 5: 1, 9: 12}
    for tenant, size in sizes.items():
        desk.publish(note(100 * tenant, tenant_id=tenant))
        desk.publish(*[note(100 * tenant, tenant_id=tenant) for _ in range(size)])
    desk.now += WEEK
    rows = purge(desk, "changes", limit=5)
    assert sum(rows) == sum(sizes.values()) + len(sizes)
    assert max(rows) <= 5
    assert count(desk, "changes") == 0
    assert dict(desk.rows("SELECT id, oldest_seq FROM tenants")) == {tenant: size + 1 for tenant, size in sizes.items()}


def test_many_tenants_without_anything_to_purge_are_walked_in_bounded_slices(desk: Desk):
    desk.publish(*[note(tenant, tenant_id=tenant) for tenant in range(1, 251)])
    assert purge(desk, "changes") == [0, 0, 0]


def test_a_change_from_a_clock_that_was_ahead_goes_with_the_older_ones_behind_it(desk: Desk):
    desk.now += 365 * DAY
    desk.publish(note(11))
    desk.now -= 365 * DAY
    desk.publish(note(11))
    desk.now += WEEK
    assert purge(desk, "changes") == [2]


@pytest.mark.parametrize("table", ["changes", "domain_events", "suppressions"])
def test_rows_from_a_clock_that_was_behind_take_nothing_with_them(desk: Desk, table: Purged):
    """As a machine without a battery starts in another year, until its clock is set."""
    if desk.connection.is_shared and table != "changes":
        return  # there each row goes by its own time, and takes no other with it
    desk.limits = Limits(daily_limit=1)
    desk.publish(note(11), note(11))
    desk.now -= 365 * DAY
    desk.publish(note(11), note(11))
    desk.now += 365 * DAY + HOUR
    before = count(desk, table)
    assert purge(desk, table) == [0]
    assert count(desk, table) == before
    desk.now += WEEK
    assert purge(desk, table) == [before]


def test_events_and_suppressions_have_their_own_retention(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.publish(note(11), note(11))
    desk.record(Publish(note(11), key="once"))
    desk.now += 30 * DAY - HOUR
    desk.publish(note(12))
    assert (purge(desk, "domain_events", 30 * DAY), purge(desk, "suppressions", 30 * DAY)) == ([0], [0])
    desk.now += HOUR
    assert [rows for rows in purge(desk, "domain_events", 30 * DAY, limit=2) if rows] == [2, 1]
    assert purge(desk, "suppressions", 30 * DAY) == [2]
    assert count(desk, "domain_events") == 1
    assert desk.publish(note(12))[0]["eventId"] == 5


def test_the_counts_of_days_are_forgotten_when_no_summary_is_due(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.publish(note(11), note(11), note(12))
    desk.publish(note(12))
    desk.publish(note(12))
    desk.now += WEEK + DAY
    assert purge(desk, "user_days") == [0]
    desk.now += DAY
    assert purge(desk, "user_days") == [1]
    desk.summarize()
    assert purge(desk, "user_days") == [1]


# Plans

# Each step's index, or the table whose primary key it walks.
INDEXES = {
    retention.SELECT_WALKED: ["notifications"],
    walks.SELECT_LATEST: ["notifications", "", ""],
    walks.UPDATE_WALK: ["expiry_walks"],
    walks.DELETE_WALK: ["expiry_walks"],
    retention.UPDATE_EXPIRED: ["notifications"],
    retention.SELECT_TENANTS: ["tenants"],
    retention.SELECT_CHANGES: ["changes"],
    retention.DELETE_CHANGES: ["changes"],
    retention.UPDATE_OLDEST: ["tenants"],
    retention.SELECT_REMOVED: ["idx_notifications_removed", "tenants"],
    retention.DELETE_NOTIFICATION: ["notifications", "notification_spells"],
    retention.SELECT_EVENTS: ["domain_events"],
    retention.DELETE_EVENTS: ["domain_events"],
    retention.SELECT_SUPPRESSIONS: ["suppressions"],
    retention.DELETE_SUPPRESSIONS: ["suppressions"],
    retention.SELECT_DAYS: ["idx_user_days_day"],
    retention.DELETE_DAY: ["user_days"],
}


@pytest.mark.sqlite_only("plans of SQLite")
@pytest.mark.parametrize("analysed", [False, True], ids=["fresh", "analysed"])
def test_every_query_of_retention_walks_an_index_in_order(desk: Desk, analysed: bool):
    fill(desk.connection, 3000)
    if analysed:
        desk.connection.execute("ANALYZE")
    for query, indexes in INDEXES.items():
        plan = [row[3] for row in desk.rows(f"EXPLAIN QUERY PLAN {query}", *["1"] * query.count("?"))]
        used = [served_by(step) for step in plan]
        assert (query, used) == (query, indexes), plan


# A hundred thousand rows


def fill(connection: sqlite3.Connection, rows: int, users: int = 300) -> None:
    """An inbox of this many notifications, a third read, that came over a month; one tenant in three."""
    connection.execute("BEGIN")
    tenants = 3
    connection.executemany(
        "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (?, 'T', '', '')",
        [(tenant,) for tenant in range(1, tenants + 1)],
    )
    unread: dict[int, int] = dict.fromkeys(range(1, users + 1), 0)
    notifications, changes, events = [], [], []
    for number in range(1, rows + 1):
        user = 1 + number % users
        tenant = 1 + user % tenants
        is_read = number % 7 < 2
        unread[user] += not is_read
        at = MORNING + number * (20 * DAY / rows)
        seq = (number + tenants - 1) // tenants
        text = "x" * 100
        notifications.append((number, tenant, user, text, is_read, utc_text(at), utc_text(at + 30 * DAY), seq))
        changes.append((tenant, seq, user, number, utc_text(at)))
        events.append((number, tenant, utc_text(at), utc_text(at)))
    connection.executemany(
        "INSERT INTO users (id, tenant_id, name, unread_count, created_at, updated_at) VALUES (?, ?, 'U', ?, '', '')",
        [(user, 1 + user % tenants, unread[user]) for user in unread],
    )
    connection.executemany(
        "INSERT INTO notifications (id, tenant_id, user_id, type, priority, title, is_read, created_at, expires_at, "
        "seq, mark) VALUES (?, ?, ?, 'note', 'LOW', ?, ?, ?, ?, ?, 0)",
        notifications,
    )
    connection.executemany(
        "INSERT INTO changes (tenant_id, seq, user_id, kind, notification_id, mark, created_at) "
        "VALUES (?, ?, ?, 'new', ?, 0, ?) ON CONFLICT DO NOTHING",
        changes,
    )
    connection.executemany(
        "INSERT INTO domain_events (id, tenant_id, type, seq, occurred_at, received_at) VALUES (?, ?, 'note', 0, ?, ?)",
        events,
    )
    connection.execute("COMMIT")


async def test_row_31_a_hundred_thousand_rows_leave_in_bounded_commits_with_turns_for_others(
    fast_path: Path, autojump_clock
):
    rows = 100_000
    with closing(sqlite3.connect(fast_path, isolation_level=None, factory=SqliteConnection)) as connection:
        fill(connection, rows)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    full = fast_path.stat().st_size
    now = WallClock()
    now.jump(51 * DAY)
    sizes: list[int] = []
    async with running(fast_path, now, keeping=KEEPING) as house:
        record = house.ledger.store.record

        async def counting(commands: Sequence[object], is_awaited: Callable[[], bool]) -> object:
            recorded = await record(commands, is_awaited)  # type: ignore[arg-type]
            sizes.extend(outcome.rows for outcome in recorded.outcomes if hasattr(outcome, "rows"))
            return recorded

        house.ledger.store.record = counting  # type: ignore[method-assign, assignment]
        await trio.sleep(FIRST_ROUND - 2)
        # Others get their turn between any two slices.
        for _ in range(20):
            await trio.sleep(0.3)
            await house.publish(note(3))  # of tenant 1
        await trio.sleep(60)
        with closing(sqlite3.connect(fast_path)) as connection:
            assert connection.execute("SELECT sum(unread_count) FROM users").fetchone() == (20,)
            assert connection.execute(
                "SELECT count(*) FROM notifications WHERE removed_seq IS NULL AND id <= ?", (rows,)
            ).fetchone() == (0,)
        now.jump(38 * DAY)
        await trio.sleep(2 * 3600)
        with closing(sqlite3.connect(fast_path)) as connection:
            for table in ("notifications", "changes", "domain_events", "user_days"):
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] <= 21, table
            assert connection.execute("SELECT sum(unread_count) FROM users").fetchone() == (0,)
    assert max(sizes) <= SLICE
    assert sum(sizes) >= 3 * rows
    assert fast_path.stat().st_size < full / 10


async def test_retention_sleeps_until_something_expires(path: Path, autojump_clock):
    now = WallClock()
    async with running(path, now, keeping=KEEPING) as house:
        await house.publish(note(11), job())
        start = now()
        await trio.sleep((29 * DAY).total_seconds())
        rounds = house.ledger.asked("ExpireSlice")
        assert len(rounds) <= 29 * 24 + 1  # once an hour, to see that the clock was not set
        await trio.sleep((DAY + HOUR).total_seconds())
        with closing(sqlite3.connect(path)) as connection:
            [(removed,)] = connection.execute("SELECT DISTINCT removed_at FROM notifications").fetchall()
        late = datetime.fromisoformat(removed) - (start + 30 * DAY)
        assert -timedelta(seconds=1) < late < timedelta(minutes=2)


async def test_retention_stops_in_the_middle_and_goes_on_at_the_next_start(fast_path: Path, autojump_clock):
    with closing(sqlite3.connect(fast_path, isolation_level=None, factory=SqliteConnection)) as connection:
        fill(connection, 10_000)
    now = WallClock()
    now.jump(51 * DAY)
    async with running(fast_path, now, keeping=KEEPING, has_looked=False):
        await trio.sleep(FIRST_ROUND + 0.2)
        asked = trio.current_time()
    assert trio.current_time() - asked < 0.2
    left = "SELECT count(*) FROM notifications WHERE removed_seq IS NULL"
    with closing(sqlite3.connect(fast_path)) as connection:
        assert 0 < connection.execute(left).fetchone()[0] < 10_000
    async with running(fast_path, now, keeping=KEEPING):
        await trio.sleep(FIRST_ROUND + 10)
    with closing(sqlite3.connect(fast_path)) as connection:
        assert connection.execute(left).fetchone() == (0,)


async def test_while_the_store_fails_retention_waits(path: Path, autojump_clock):
    now = WallClock()
    async with running(path, now, keeping=KEEPING) as house:
        await house.publish(note(11))
        house.ledger.failing = True
        now.jump(31 * DAY)
        await trio.sleep(2 * 3600)
        house.ledger.failing = False
        await trio.sleep(120)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT removed_reason FROM notifications").fetchall() == [("expired",)]
        assert not [child for child in house.root.statistics().children if child.tally.crashes]


# The file's space


async def test_free_pages_go_back_in_small_steps_and_some_are_kept(tmp_path: Path, autojump_clock):
    path = tmp_path / "inbox.db"
    schema.apply(path)
    with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
        fill(connection, 20_000)
        connection.execute("DELETE FROM notifications")
        connection.execute("DELETE FROM changes")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    full = path.stat().st_size
    async with await Database.open(path, threads=InlineRunner) as database:
        store = Inbox(database)
        left = [await store.reclaim_space()]
        while left[-1]:
            left.append(await store.reclaim_space())
        kept = await database.read(lambda connection: connection.execute("PRAGMA freelist_count").fetchone()[0])
    assert left == sorted(left, reverse=True)
    assert max(before - after for before, after in zip([free, *left], left, strict=False)) <= 128 + 256
    assert 0 < kept <= 256
    assert path.stat().st_size <= full - (free - 256) * 4096


async def test_a_file_with_few_free_pages_is_let_alone(path: Path, autojump_clock):
    work = partial(space.reclaimable, keep=0)
    async with await Database.open(path, threads=InlineRunner) as database:
        before = await database.read(work)
        assert await Inbox(database).reclaim_space() == 0
        assert await database.read(work) == before
