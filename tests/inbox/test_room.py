"""How the database grows is noted once a day, and the admins hear once a day that its disk will be full."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

import pytest

from djactors.domain.commands import NoteRoom, Sliced
from djactors.domain.events import NotificationRequested, UserDeactivated, UserUpserted
from djactors.domain.limits import Limits
from djactors.domain.room import DISK_FILLING
from djactors.inbox import room
from djactors.inbox.recorder import Recorder
from tests.engines import begin, commit, empty, open_connection, roll_back
from tests.inbox.desk import MORNING_TEXT, Desk

GIB = 2**30
DAY = timedelta(days=1)
ADMINS = [(1, 10), (1, 11), (2, 10)]


def people(desk: Desk) -> None:
    for tenant_id, user_id in ADMINS:
        desk.publish(UserUpserted(tenant_id=tenant_id, user_id=user_id, name="Admin", role="admin"))
    desk.publish(UserUpserted(tenant_id=1, user_id=12, name="User", role="user"))
    desk.publish(UserUpserted(tenant_id=2, user_id=13, name="Left", role="admin"))
    desk.publish(UserDeactivated(tenant_id=2, user_id=13))


def look(desk: Desk, filled: float, free: float | None = 5) -> int:
    outcome = desk.do(NoteRoom(int(filled * GIB), None if free is None else int(free * GIB), 100))
    assert isinstance(outcome, Sliced)
    return outcome.rows


def told(desk: Desk) -> list[tuple[int, int]]:
    return desk.rows(
        f"SELECT tenant_id, user_id FROM notifications WHERE type = '{DISK_FILLING}' ORDER BY id, tenant_id, user_id"
    )


def test_the_size_of_a_day_is_noted_at_its_first_look(desk: Desk) -> None:
    assert look(desk, 1) == look(desk, 2) == 0
    desk.now += DAY
    look(desk, 3)
    assert [(size.at[:10], size.bytes) for size in room.record(desk.connection)[0]] == [
        ("2026-01-28", 3 * GIB),
        ("2026-01-27", GIB),
    ]
    assert room.is_noted(room.record(desk.connection)[0], desk.now)
    assert not room.is_noted(room.record(desk.connection)[0], desk.now + DAY)


def test_sizes_are_kept_for_two_months(desk: Desk) -> None:
    for number in range(room.DAYS_KEPT + 5):
        look(desk, number)
        desk.now += DAY
    sizes, _ = room.record(desk.connection)
    assert [size.bytes // GIB for size in sizes] == list(range(room.DAYS_KEPT + 4, 4, -1))
    assert desk.one("SELECT count(*) FROM database_sizes") == room.DAYS_KEPT


def test_all_admins_are_told_with_a_change_of_the_log_and_an_event_for_each_tenant(desk: Desk) -> None:
    people(desk)
    look(desk, 1)
    desk.now += DAY
    before = len(desk.announced)
    assert look(desk, 2) == len(ADMINS)
    assert told(desk) == ADMINS
    assert [(change.tenant_id, change.user_id, change.name) for change in desk.announced[before:]] == [
        (*admin, "notification:new") for admin in ADMINS
    ]
    assert b"will be full in about 5 days" in desk.announced[-1].body
    assert desk.rows(f"SELECT tenant_id FROM domain_events WHERE type = '{DISK_FILLING}' ORDER BY id") == [(1,), (2,)]
    assert desk.one("SELECT unread_count FROM users WHERE tenant_id = 2 AND id = 10") == 1


def test_they_are_told_once_a_day_and_a_restart_changes_nothing(desk: Desk) -> None:
    people(desk)
    look(desk, 1)
    desk.now += DAY
    assert look(desk, 2) == len(ADMINS)
    for _ in range(3):
        desk.now += timedelta(hours=7)
        desk.recorder = Recorder(lambda: desk.now, node="another life")
        assert look(desk, 3) == 0
    desk.now += timedelta(hours=3)
    assert look(desk, 3) == len(ADMINS)
    assert told(desk) == ADMINS * 2


def test_nobody_is_told_while_there_is_room_or_nobody_knows(desk: Desk) -> None:
    people(desk)
    assert look(desk, 1) == 0, "nothing is known of the growth"
    desk.now += DAY
    assert look(desk, 2, free=100) == 0
    assert look(desk, 2, free=None) == 0
    assert look(desk, 1, free=1) == 0, "it does not grow"
    assert look(desk, 1, free=0.1) == len(ADMINS), "it is nearly full, whether it grows or not"


def test_a_limit_of_admins_bounds_the_commit(desk: Desk) -> None:
    people(desk)
    outcome = desk.do(NoteRoom(GIB, 0, 2))
    assert outcome == Sliced(2, more=False)
    assert told(desk) == ADMINS[:2]


def test_the_daily_limit_holds_for_it_too(desk: Desk) -> None:
    people(desk)
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=1), node="desk")
    desk.publish(NotificationRequested(tenant_id=1, user_id=10, notification_type="n", priority="LOW", title="First"))
    look(desk, 1, free=0)
    assert told(desk) == ADMINS[1:]
    assert desk.rows("SELECT user_id, type, reason FROM suppressions") == [(10, DISK_FILLING, "daily_limit")]


@pytest.mark.sqlite_only("PostgreSQL plans by its statistics")
def test_the_admins_are_found_by_an_index(desk: Desk) -> None:
    [(*_, plan), *_] = desk.rows(f"EXPLAIN QUERY PLAN {room.SELECT_ADMINS}", 100)
    assert "idx_users_admins" in plan


def test_of_several_nodes_one_tells(migrated_url: str) -> None:
    with ExitStack() as stack:
        empty(migrated_url)
        a, b = (Desk(stack.enter_context(open_connection(migrated_url)), name) for name in "ab")
        people(a)
        begin(a.connection)
        (first,) = a.recorder.record(a.connection, [NoteRoom(GIB, 0, 100)]).outcomes
        assert look(b, 1, free=0) == 0, "it is the other one's turn"
        commit(a.connection)
        assert first == Sliced(len(ADMINS), more=False)
        assert look(b, 1, free=0) == 0, "it was told"
        assert told(b) == ADMINS
        b.now += 2 * DAY
        begin(b.connection)
        b.recorder.record(b.connection, [NoteRoom(GIB, 0, 100)])
        roll_back(b.connection)
        a.now += 2 * DAY
        assert look(a, 1, free=0) == len(ADMINS), "what was rolled back was not told"


def test_the_day_begins_at_midnight_in_utc(desk: Desk) -> None:
    look(desk, 1)
    [(day, at)] = desk.rows("SELECT day, noted_at FROM database_sizes")
    assert (day, at) == (MORNING_TEXT[:10], MORNING_TEXT)
