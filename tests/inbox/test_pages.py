"""The inbox as it is read: pages, the badge, and the indexes that serve them."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from djactors.domain.marks import BEGINNING, Offset
from djactors.inbox import pages, schema
from djactors.inbox.pages import InboxPage, Snapshot, StoredNotification
from djactors.store.errors import StoreInPart
from djactors.store.sqlite.connection import SqliteConnection
from tests.inbox.desk import served_by
from tests.offsets import invented

NOW = "2026-01-27T10:30:00.000000Z"
LATER = "2026-02-26T10:30:00.000000Z"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
        yield connection


def add_user(connection: sqlite3.Connection, tenant_id: int, user_id: int, *, unread: int = 0, seq: int = 0) -> None:
    connection.execute(
        "INSERT INTO tenants (id, name, oldest_seq, oldest_mark, created_at, updated_at) VALUES (?, 'T', ?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING",
        (tenant_id, seq, invented(seq).mark, NOW, NOW),
    )
    connection.execute(
        "INSERT INTO users (id, tenant_id, name, unread_count, created_at, updated_at) VALUES (?, ?, 'U', ?, ?, ?)",
        (user_id, tenant_id, unread, NOW, NOW),
    )


def add_notification(
    connection: sqlite3.Connection,
    id_: int,
    *,
    tenant_id: int = 1,
    user_id: int = 10,
    is_read: bool = False,
    removed: bool = False,
) -> None:
    connection.execute(
        "INSERT INTO notifications (id, tenant_id, user_id, type, priority, title, data, is_read, read_at, created_at, "
        "expires_at, seq, mark, removed_seq) VALUES (?, ?, ?, 'job_assigned', 'high', ?, ?, ?, ?, ?, ?, ?, 0, ?)",
        (
            id_,
            tenant_id,
            user_id,
            f"Title {id_}",
            json.dumps({"jobId": id_}),
            is_read,
            NOW if is_read else None,
            NOW,
            LATER,
            id_,
            id_ if removed else None,
        ),
    )


def ids(page: InboxPage) -> list[int]:
    return [item.id for item in page.items]


def test_a_page_has_the_notification_as_it_was_stored(connection: sqlite3.Connection):
    add_user(connection, 1, 10, unread=1, seq=7)
    add_notification(connection, 5)
    connection.execute("UPDATE notifications SET replaces = 3, message = 'Hello' WHERE id = 5")
    assert pages.page(connection, 1, 10, limit=20) == InboxPage(
        items=[
            StoredNotification(
                id=5,
                type="job_assigned",
                priority="high",
                title="Title 5",
                message="Hello",
                data='{"jobId": 5}',
                is_read=False,
                read_at=None,
                created_at=NOW,
                replaces=3,
            )
        ],
        next_before=None,
        unread=1,
        at=invented(7),
    )


def test_a_read_notification_says_so_and_when(connection: sqlite3.Connection):
    add_user(connection, 1, 10)
    add_notification(connection, 5, is_read=True)
    (item,) = pages.page(connection, 1, 10, limit=1).items
    assert item.is_read is True
    assert item.read_at == NOW


@pytest.mark.parametrize("read", [(), (1, 2, 6), (3, 4, 7), range(1, 8)], ids=["unread", "mixed", "other mix", "read"])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 100])
def test_the_pages_together_are_the_inbox_newest_first(connection: sqlite3.Connection, limit: int, read: Sequence[int]):
    add_user(connection, 1, 10)
    for id_ in range(1, 8):
        add_notification(connection, id_, is_read=id_ in read)
    collected: list[int] = []
    before: int | None = None
    while True:
        page = pages.page(connection, 1, 10, limit=limit, before=before)
        assert 1 <= len(page.items) <= limit
        collected += ids(page)
        before = page.next_before
        if before is None:
            break
    assert collected == [7, 6, 5, 4, 3, 2, 1]


def test_a_page_leaves_out_what_is_removed_and_if_asked_what_is_read(connection: sqlite3.Connection):
    add_user(connection, 1, 10)
    add_notification(connection, 1)
    add_notification(connection, 2, is_read=True)
    add_notification(connection, 3, removed=True)
    add_notification(connection, 4, is_read=True, removed=True)
    assert ids(pages.page(connection, 1, 10, limit=20)) == [2, 1]
    assert ids(pages.page(connection, 1, 10, limit=20, wanted=pages.Wanted(unread_only=True))) == [1]


def test_nobody_sees_what_belongs_to_another_user_or_tenant(connection: sqlite3.Connection):
    add_user(connection, 1, 10, unread=1, seq=4)
    add_user(connection, 1, 11, unread=2)
    add_user(connection, 2, 20, unread=3, seq=9)
    add_notification(connection, 1)
    add_notification(connection, 2, user_id=11)
    add_notification(connection, 3, tenant_id=2, user_id=20)
    assert ids(pages.page(connection, 1, 10, limit=20)) == [1]
    assert pages.page(connection, 1, 20, limit=20) == InboxPage([], None, 0, invented(4))
    assert pages.page(connection, 2, 10, limit=20) == InboxPage([], None, 0, invented(9))


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(connection: sqlite3.Connection, limit: int):
    with pytest.raises(ValueError, match="at least 1"):
        pages.page(connection, 1, 10, limit=limit)


def test_the_badge_is_zero_and_the_log_at_its_beginning_where_nobody_was_heard_of(connection: sqlite3.Connection):
    assert pages.snapshot(connection, 1, 10) == Snapshot(0, BEGINNING, known=False)
    add_user(connection, 1, 10, unread=3, seq=8)
    assert pages.snapshot(connection, 1, 10) == Snapshot(3, invented(8))
    assert pages.snapshot(connection, 1, 11) == Snapshot(0, invented(8), known=False)
    assert pages.snapshot(connection, 2, 10) == Snapshot(0, BEGINNING, known=False)


def test_badges_of_many_are_those_that_each_would_get_alone(connection: sqlite3.Connection):
    add_user(connection, 1, 10, unread=3, seq=8)
    add_user(connection, 1, 11, unread=4)
    add_user(connection, 2, 10, unread=5)
    add_user(connection, 3, 10, unread=6)
    connection.execute("UPDATE users SET signed_out_at = ? WHERE tenant_id = 1 AND id = 11", (NOW,))
    connection.execute("UPDATE tenants SET importing = true WHERE id = 3")
    # Nobody knows tenant 4, and tenant 2 does not know user 12. Whoever comes twice is answered twice.
    users = [(2, 10), (4, 10), (1, 11), (1, 10), (2, 12), (1, 11)]
    for count in range(1, len(users) + 1):
        alone = [pages.snapshot(connection, *user) for user in users[:count]]
        assert pages.snapshots(connection, users[:count]) == alone
    found, kept_back = pages.snapshots(connection, [(1, 10), (3, 10)])
    assert found == pages.snapshot(connection, 1, 10)
    with pytest.raises(StoreInPart, match="tenant 3"):
        raise kept_back  # type: ignore[misc]


@pytest.mark.parametrize(
    ("told", "follows"),
    [
        (None, True),
        (invented(8), True),
        (Offset(1, 8), False),
        (invented(9), False),
        (invented(7), False),
        (BEGINNING, False),
    ],
)
def test_a_badge_and_a_page_say_whether_they_follow_from_what_was_told(
    connection: sqlite3.Connection, told: Offset | None, follows: bool
):
    add_user(connection, 1, 10, seq=8)
    assert pages.snapshot(connection, 1, 10, told).follows is follows
    assert pages.page(connection, 1, 10, limit=1, told=told).follows is follows


def test_the_key_is_read_back_and_not_printed(tmp_path: Path):
    path = tmp_path / "made.db"
    schema.apply(path, token_bytes=lambda count: b"k" * count)
    with closing(sqlite3.connect(path)) as connection:
        meta = pages.meta(connection)
    assert meta.pid_key == b"k" * 32
    assert "kkk" not in repr(meta)
    assert b"k".hex() * 8 not in repr(meta)


# Each step's index, or the table whose primary key it walks.
INDEXES = {
    "unread": ["t", "c", "changes", "u"],  # the tenant, its last change, and the user, by their keys
    "unread_of_two": ["t", "c", "changes", "u"],  # the same, for each of those that are asked for
    "account": ["t", "u"],  # the tenant and the user, by their keys
    "page": ["idx_notifications_user_unread", "idx_notifications_user_unread"],
    "unread_page": ["idx_notifications_user_unread"],
    "place_page": ["idx_notifications_place"],
    "search": [
        "idx_notifications_user_unread",
        "sqlite_autoindex_jobs_1",
        "idx_notifications_user_unread",
        "sqlite_autoindex_jobs_1",
    ],
    "unread_search": ["idx_notifications_user_unread", "sqlite_autoindex_jobs_1"],
    "place_search": ["idx_notifications_place", "sqlite_autoindex_jobs_1"],
    "meta": ["meta"],
}

NO_SEARCHES = (
    "MERGE (UNION ALL)",
    "LEFT",
    "RIGHT",
    "CO-ROUTINE wanted",
    "SCAN CONSTANT ROW",
    "SCAN 2 CONSTANT ROWS",
    "SCAN w",
)
"""Two halves of a merge, and those whom the statement itself names."""

# Users beside those that have notifications: of a table with a single row SQLite says, rightly, that a scan is as good.
BYSTANDERS = range(1001, 1021)
# How many users share the notifications, and how many of ten are unread: no statistics may talk the planner out of it.
SHAPES = {"many users": (500, 3), "one user has all": (1, 3), "all unread": (20, 10), "all read": (20, 0)}


@pytest.mark.parametrize("analysed", [False, True], ids=["fresh", "analysed"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_query_is_served_by_its_index(connection: sqlite3.Connection, shape: str, analysed: bool):
    users, unread = SHAPES[shape]
    connection.execute("BEGIN")
    for user_id in range(1, users + 1):
        add_user(connection, 1 + user_id % 3, user_id)
    for user_id in BYSTANDERS:
        add_user(connection, user_id, user_id)
    for id_ in range(1, 5001):
        user_id = 1 + id_ % users
        add_notification(
            connection,
            id_,
            tenant_id=1 + user_id % 3,
            user_id=user_id,
            is_read=id_ // users % 10 >= unread,
            removed=id_ % 97 == 0,
        )
    connection.execute("COMMIT")
    if analysed:
        connection.execute("ANALYZE")
    assert INDEXES.keys() == pages.HOT_QUERIES.keys()
    for name, query in pages.HOT_QUERIES.items():
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", [1] * query.count("?"))]
        searches = [step for step in plan if step not in NO_SEARCHES and "SCALAR SUBQUERY" not in step]
        used = [served_by(step) for step in searches]
        assert (name, used) == (name, INDEXES[name]), plan
        assert all(step.startswith("SEARCH ") for step in searches), plan
