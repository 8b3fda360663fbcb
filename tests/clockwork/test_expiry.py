"""What is thirty days old leaves the inbox: found by walking along the ids, whatever the clock did meanwhile."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from djactors.domain.commands import Delete, ExpireSlice, MarkRead, Sliced
from djactors.domain.limits import Limits
from djactors.domain.times import utc_text
from djactors.inbox import walks
from tests.clockwork.desk import DAY, HOUR, MORNING, Desk, T, note
from tests.engines import Opened

EXPIRY = MORNING + 30 * DAY


def expire(desk: Desk, limit: int = 500) -> Sliced:
    """Slices until there are no more; the last one."""
    while (sliced := desk.slice(ExpireSlice(limit))).more:
        pass
    return sliced


def test_a_notification_leaves_after_thirty_days_and_the_badge_with_it(desk: Desk):
    desk.publish(note(11), note(11), note(12))
    desk.record(MarkRead(T, 11, 1))
    desk.now = EXPIRY - HOUR
    assert desk.slice(ExpireSlice(500)).next_due == utc_text(EXPIRY)
    assert len(desk.inbox(11)) == 2
    desk.now = EXPIRY
    sliced = desk.slice(ExpireSlice(500))
    assert (sliced.rows, sliced.more, sliced.next_due) == (3, False, None)
    assert desk.inbox(11) == []
    assert desk.recorded[-1].unread == {(T, 11): 0, (T, 12): 0}
    assert desk.changes(11)[-1] == ("notification:deleted", {"notificationIds": [1, 2]})
    assert desk.changes(12)[-1] == ("notification:deleted", {"notificationIds": [3]})
    assert desk.rows("SELECT DISTINCT removed_reason, removed_at FROM notifications") == [("expired", utc_text(EXPIRY))]


def test_expiry_goes_by_slices_one_change_for_each_user_and_slice(desk: Desk):
    desk.limits = Limits(daily_limit=1000)
    desk.publish(*[note(11 + number % 2) for number in range(10)])
    desk.now = EXPIRY
    assert [desk.slice(ExpireSlice(4)).rows for _ in range(4)] == [4, 4, 2, 0]
    expired = [body["notificationIds"] for name, body in desk.changes(11) if name == "notification:deleted"]
    assert [len(ids) for ids in expired] == [2, 2, 1]
    assert desk.inbox(11) == desk.inbox(12) == []


def test_what_was_deleted_or_replaced_does_not_expire(desk: Desk):
    desk.publish(note(11))
    desk.record(Delete(T, 11, 1))
    desk.now = EXPIRY
    assert desk.slice(ExpireSlice(500)).rows == 0


def test_what_came_while_the_clock_was_ahead_holds_up_nobody_behind_it(desk: Desk):
    desk.publish(note(11))
    desk.now += 40 * DAY
    desk.publish(note(11))
    desk.now -= 40 * DAY - HOUR
    desk.publish(note(11))
    desk.now += DAY
    desk.publish(note(11))
    desk.now = EXPIRY
    assert expire(desk).next_due == utc_text(EXPIRY + HOUR)
    assert [item.id for item in desk.inbox(11)] == [4, 3, 2]
    desk.now = EXPIRY + HOUR
    assert expire(desk).next_due == utc_text(EXPIRY + HOUR + DAY)
    assert [item.id for item in desk.inbox(11)] == [4, 2]
    desk.now += DAY
    assert expire(desk).next_due == utc_text(EXPIRY + 40 * DAY)
    desk.now = EXPIRY + 40 * DAY
    expire(desk)
    assert desk.inbox(11) == []


@pytest.mark.sqlite_only("PostgreSQL has no walks")
def test_a_walk_that_has_come_to_its_end_is_forgotten(desk: Desk):
    for _ in range(3):
        desk.publish(note(11))
        desk.now -= HOUR
    assert len(desk.rows("SELECT * FROM expiry_walks")) == 3
    desk.now = EXPIRY
    expire(desk)
    assert desk.rows("SELECT first_id, next_id FROM expiry_walks") == [(3, 4)]
    desk.publish(note(11))
    desk.now += 30 * DAY
    assert expire(desk).rows == 1


@pytest.mark.sqlite_only("PostgreSQL has no walks")
def test_a_clock_that_is_set_back_by_little_or_again_and_again_begins_no_more_walks(desk: Desk):
    desk.limits = Limits(daily_limit=1000)
    for _ in range(10):
        desk.publish(note(11))
        desk.now -= timedelta(seconds=5)
    assert len(desk.rows("SELECT * FROM expiry_walks")) == 1
    for _ in range(walks.MAX_WALKS + 10):
        desk.publish(note(11))
        desk.now -= HOUR
    assert len(desk.rows("SELECT * FROM expiry_walks")) == walks.MAX_WALKS
    desk.now = EXPIRY
    expire(desk)
    assert desk.inbox(11) == []


@pytest.mark.sqlite_only("PostgreSQL has no walks")
def test_the_walks_find_the_clock_set_back_over_a_restart_too(desk: Desk):
    """The desk has a new recorder for each commit: nothing is known but what is stored."""
    desk.publish(note(11))
    desk.record(Delete(T, 11, 1))
    desk.now -= DAY
    desk.publish(note(11))
    assert desk.rows("SELECT first_id FROM expiry_walks") == [(1,), (2,)]


_HOURS = (0, 1, 5, 24, 24 * 8, -1, -24, -24 * 3, -24 * 40, 24 * 40)


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(st.tuples(st.sampled_from(_HOURS), st.sampled_from(["note", "delete"])), max_size=40),
    limit=st.sampled_from([1, 3, 500]),
)
def test_whatever_the_clock_does_what_has_expired_leaves_and_nothing_else(
    opened: Opened, steps: list[tuple[int, str]], limit: int
):
    with opened() as connection:
        desk = Desk(connection)
        desk.limits = Limits(daily_limit=1000)
        for hours, what in steps:
            desk.now += hours * HOUR
            if what == "note":
                desk.publish(note(11), note(12))
            else:
                desk.record(*[Delete(T, 11, item.id) for item in desk.inbox(11)[:1]])
            sliced = expire(desk, limit)
            moments = desk.rows("SELECT expires_at FROM notifications WHERE removed_seq IS NULL ORDER BY 1")
            assert all(moment > utc_text(desk.now) for (moment,) in moments)
            assert sliced.next_due == (moments[0][0] if moments else None)
            reasons = desk.rows(
                "SELECT id FROM notifications WHERE removed_reason = 'expired' AND removed_at < expires_at"
            )
            assert reasons == []
