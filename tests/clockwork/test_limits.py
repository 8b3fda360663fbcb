"""How much a user is told in a day, the summary of the rest, and bursts that are collapsed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from djactors.domain.commands import Delete, ExpireSlice, MarkAllRead, MarkRead, Publish, RaiseAlerts, SendSummaries
from djactors.domain.events import CommentAdded, JobWatched, TenantUpserted
from djactors.domain.limits import Limits, day_of, next_summary
from djactors.domain.times import utc_text
from djactors.inbox import notices
from tests.clockwork.desk import DAY, HOUR, MINUTE, MORNING, Desk, T, assigned, job, note

SECOND = timedelta(seconds=1)


def kinds(desk: Desk, user_id: int = 11) -> dict[str, int]:
    """How many of each type are in the inbox."""
    found: dict[str, int] = {}
    for kind in desk.types(user_id):
        found[kind] = found.get(kind, 0) + 1
    return found


def test_the_hundred_and_first_of_a_day_is_held_back_answered_recorded_and_summed_up(desk: Desk):
    answers = [desk.publish(note(11))[0] for _ in range(101)]
    assert all(answer["suppressed"] == [] for answer in answers[:100])
    last = answers[100]
    assert last["notifications"] == []
    assert last["suppressed"] == [{"userId": 11, "reason": "daily_limit"}]
    assert desk.rows("SELECT user_id, event_id, type, reason FROM suppressions") == [
        (11, last["eventId"], "note", "daily_limit")
    ]
    assert kinds(desk) == {"note": 100, "daily_summary": 1}
    summary = desk.inbox(11)[0]
    assert (summary.priority, summary.title, summary.replaces) == ("LOW", "1 more updates today", None)
    assert summary.data is not None
    assert json.loads(summary.data) == {"count": 1, "day": "2026-01-27"}


def test_deleting_and_reading_free_nothing(desk: Desk):
    desk.limits = Limits(daily_limit=2)
    first, second = (desk.publish(note(11))[0]["notifications"][0]["id"] for _ in range(2))
    desk.record(Delete(T, 11, first), MarkRead(T, 11, second))
    assert desk.publish(note(11))[0]["suppressed"] != []


def test_the_limit_is_each_users_own(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.publish(note(11), note(11), note(12))
    assert kinds(desk, 12) == {"note": 1}


def test_critical_ones_pass_beyond_the_limit_and_count(desk: Desk):
    desk.limits = Limits(daily_limit=2)
    desk.publish(note(11, "CRITICAL"), note(11, "CRITICAL"), note(11, "HIGH"), note(11, "CRITICAL"))
    assert kinds(desk) == {"note": 3, "daily_summary": 1}


def test_a_setting_restores_the_plain_limit(desk: Desk):
    desk.limits = Limits(daily_limit=2, critical_beyond_limit=False)
    desk.publish(*[note(11, "CRITICAL")] * 3)
    assert kinds(desk) == {"note": 2, "daily_summary": 1}


def test_a_day_is_a_day_in_the_tenants_time_zone(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.publish(TenantUpserted(tenant_id=T, name="Acme", time_zone="Asia/Bangkok"))
    for now, held in (
        (datetime(2026, 1, 27, 16, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 1, 27, 17, 0, tzinfo=UTC), False),  # midnight in Bangkok
        (datetime(2026, 1, 28, 0, 0, tzinfo=UTC), True),
        (datetime(2026, 1, 28, 17, 0, tzinfo=UTC), False),
    ):
        desk.now = now
        assert bool(desk.publish(note(11))[0]["suppressed"]) == held
    assert desk.rows("SELECT earlier_day, sent_day FROM users WHERE id = 11") == [("2026-01-28", "2026-01-29")]
    assert desk.rows("SELECT day FROM user_days") == [("2026-01-28",)]


def test_a_clock_that_is_set_back_finds_what_was_told_on_that_day(desk: Desk):
    desk.limits = Limits(daily_limit=2)
    desk.publish(note(11))
    desk.now += DAY
    desk.publish(note(11), note(11))
    desk.now -= DAY
    assert [bool(answer["suppressed"]) for answer in desk.publish(note(11), note(11))] == [False, True]
    desk.now += DAY
    assert desk.publish(note(11))[0]["suppressed"] != []


def test_a_clock_that_is_set_back_by_days_goes_on_counting(desk: Desk):
    desk.limits = Limits(daily_limit=2)
    desk.publish(note(11), note(11))
    desk.now -= 3 * DAY
    assert desk.publish(note(11))[0]["suppressed"] != []
    desk.now += 3 * DAY
    assert desk.publish(note(11))[0]["suppressed"] != []
    desk.now += DAY
    assert desk.publish(note(11))[0]["suppressed"] == []


def test_a_clock_that_was_far_ahead_silences_nobody_when_it_is_right_again(desk: Desk):
    desk.limits = Limits(daily_limit=2)
    desk.publish(note(11))
    desk.now += 40 * DAY
    desk.publish(note(11), note(11), note(11))
    desk.now -= 40 * DAY
    assert [bool(answer["suppressed"]) for answer in desk.publish(note(11), note(11))] == [False, True]
    desk.now += DAY
    assert desk.publish(note(11))[0]["suppressed"] == []


def test_a_time_zone_that_is_changed_to_and_fro_gives_no_second_limit(desk: Desk):
    desk.limits = Limits(daily_limit=2)
    desk.now = datetime(2026, 1, 27, 20, 0, tzinfo=UTC)
    desk.publish(note(11), note(11))
    for zone, held in (("Asia/Bangkok", False), ("UTC", True), ("Asia/Bangkok", True), ("America/New_York", True)):
        desk.publish(TenantUpserted(tenant_id=T, name="Acme", time_zone=zone))
        answers = desk.publish(note(11), note(11))
        assert [bool(answer["suppressed"]) for answer in answers] == [held] * 2


def test_a_day_costs_a_row_only_where_something_was_held_back(desk: Desk):
    desk.limits = Limits(daily_limit=2)
    for _ in range(3):
        desk.publish(note(11), note(11), note(12))
        desk.now += DAY
    assert desk.rows("SELECT * FROM user_days") == []
    desk.publish(note(11), note(11), note(11), note(12))
    assert desk.rows("SELECT user_id, held FROM user_days") == [(11, 1)]


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("UTC", datetime(2026, 1, 27, 23, 59, 59, 999999, tzinfo=UTC), "2026-01-27"),
        ("Pacific/Kiritimati", datetime(2026, 1, 27, 10, tzinfo=UTC), "2026-01-28"),
        ("Pacific/Pago_Pago", datetime(2026, 1, 27, 10, 59, tzinfo=UTC), "2026-01-26"),
        # The night in which an hour is missing and the one that has it twice.
        ("Europe/Berlin", datetime(2026, 3, 28, 23, 0, tzinfo=UTC), "2026-03-29"),
        ("Europe/Berlin", datetime(2026, 3, 29, 21, 59, tzinfo=UTC), "2026-03-29"),
        ("Europe/Berlin", datetime(2026, 10, 25, 22, 59, tzinfo=UTC), "2026-10-25"),
        ("Atlantis/Nowhere", datetime(2026, 1, 27, 10, tzinfo=UTC), "2026-01-27"),
    ],
)
def test_days_of_the_world(zone: str, moment: datetime, day: str):
    assert day_of(zone, moment) == day


def test_a_burst_in_one_commit_is_one_summary_with_the_right_count(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.publish(*[note(11)] * 50)
    assert kinds(desk) == {"note": 1, "daily_summary": 1}
    assert desk.inbox(11)[0].title == "49 more updates today"
    assert desk.recorded[-1].unread == {(T, 11): 2}


def test_a_summary_comes_at_once_then_at_most_once_a_minute_and_replaces_its_predecessor(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.publish(note(11), note(11))
    first = desk.inbox(11)[0]
    desk.now += 20 * SECOND
    desk.publish(note(11))
    assert desk.recorded[-1].next_alert == utc_text(MORNING + MINUTE)
    desk.now += 20 * SECOND
    desk.publish(note(11))
    assert desk.recorded[-1].next_alert is None
    assert desk.inbox(11)[0] == first
    assert desk.summarize().rows == 0
    desk.now = MORNING + MINUTE
    assert desk.summarize().rows == 1
    second = desk.inbox(11)[0]
    assert (second.title, second.replaces) == ("3 more updates today", first.id)
    assert kinds(desk) == {"note": 1, "daily_summary": 1}
    assert desk.recorded[-1].unread == {(T, 11): 2}
    deleted, new = desk.changes(11)[-2:]
    assert deleted == ("notification:deleted", {"notificationIds": [first.id]})
    assert new[0] == "notification:new"
    assert (new[1]["id"], new[1]["replaces"]) == (second.id, first.id)
    assert desk.rows("SELECT removed_reason FROM notifications WHERE id = ?", first.id) == [("replaced",)]
    assert desk.summarize().rows == 0
    assert desk.one("SELECT summary_due FROM user_days") is None


def test_a_summary_that_was_read_is_replaced_by_an_unread_one_and_one_that_was_deleted_by_none(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.publish(note(11), note(11))
    first = desk.inbox(11)[0]
    desk.record(MarkAllRead(T, 11))
    desk.now += 2 * MINUTE
    desk.publish(note(11))
    second = desk.inbox(11)[0]
    assert second.replaces == first.id
    assert desk.recorded[-1].unread == {(T, 11): 1}
    desk.record(Delete(T, 11, second.id))
    desk.now += 2 * MINUTE
    desk.publish(note(11))
    third = desk.inbox(11)[0]
    assert (third.title, third.replaces) == ("3 more updates today", None)


def test_the_summary_of_a_day_that_is_over_is_still_sent_and_the_next_day_starts_anew(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    desk.now = datetime(2026, 1, 27, 23, 59, 30, tzinfo=UTC)
    desk.publish(note(11), note(11))
    desk.publish(note(11))
    desk.now = datetime(2026, 1, 28, 0, 1, tzinfo=UTC)
    desk.publish(note(11), note(11))
    desk.summarize()
    days = [json.loads(item.data or "{}") for item in desk.inbox(11) if item.type == "daily_summary"]
    assert sorted(days, key=lambda data: data["day"]) == [
        {"count": 2, "day": "2026-01-27"},
        {"count": 1, "day": "2026-01-28"},
    ]


def test_a_summary_from_the_future_does_not_silence_those_after_it():
    assert next_summary(utc_text(MORNING + DAY), MORNING) == MORNING
    assert next_summary(utc_text(MORNING), MORNING + SECOND) == MORNING + MINUTE
    assert next_summary(None, MORNING) == MORNING


def test_summaries_come_in_slices(desk: Desk):
    desk.limits = Limits(daily_limit=1)
    users = range(11, 16)
    desk.publish(*[note(user) for user in users for _ in range(2)])
    desk.publish(*[note(user) for user in users])
    desk.now += MINUTE
    assert [desk.summarize(2).rows for _ in range(4)] == [2, 2, 1, 0]


# Bursts


def comments(desk: Desk, *texts: str, job_id: int = 1, actor_id: int = 10) -> None:
    desk.publish(*[CommentAdded(tenant_id=T, job_id=job_id, actor_id=actor_id, text=text) for text in texts])


@pytest.fixture
def burst(desk: Desk) -> Desk:
    """User 20 watches two jobs, and bursts are collapsed."""
    desk.limits = Limits(collapse_bursts=True)
    desk.publish(job(), job(), *(JobWatched(tenant_id=T, job_id=n, user_id=20) for n in (1, 2)))
    return desk


def test_bursts_are_left_alone_by_default(desk: Desk):
    desk.publish(job(), JobWatched(tenant_id=T, job_id=1, user_id=20))
    comments(desk, "one", "two")
    assert kinds(desk, 20) == {"comment_added": 2}


def test_the_next_one_of_the_same_type_and_job_replaces_the_unread_one_and_counts(burst: Desk):
    comments(burst, "one")
    [first] = burst.inbox(20)
    comments(burst, "two")
    comments(burst, "three")
    [last] = burst.inbox(20)
    assert last.message == "three"
    assert json.loads(last.data or "")["count"] == 3
    assert "count" not in json.loads(first.data or "")
    names = [name for name, _ in burst.changes(20)]
    assert names == ["notification:new", *["notification:deleted", "notification:new"] * 2]


def test_a_burst_within_one_commit_is_collapsed_too(burst: Desk):
    comments(burst, "one", "two", "three", "four")
    [last] = burst.inbox(20)
    assert (last.message, json.loads(last.data or "")["count"]) == ("four", 4)


def test_another_job_another_type_and_what_was_read_are_left_alone(burst: Desk):
    comments(burst, "one")
    comments(burst, "two", job_id=2)
    assert kinds(burst, 20) == {"comment_added": 2}
    burst.record(MarkAllRead(T, 20))
    comments(burst, "three")
    assert kinds(burst, 20) == {"comment_added": 3}
    assert "count" not in json.loads(burst.inbox(20)[0].data or "")
    burst.publish(assigned(1, 20))
    assert kinds(burst, 20) == {"comment_added": 3, "job_assigned": 1}


def test_only_the_newest_unread_are_looked_through(burst: Desk):
    comments(burst, "one")
    burst.publish(*[note(20)] * notices.BURST_DEPTH)
    burst.limits = Limits(daily_limit=1000, collapse_bursts=True)
    burst.publish(note(20))
    comments(burst, "two")
    assert kinds(burst, 20)["comment_added"] == 2


@pytest.mark.sqlite_only("a plan of SQLite")
def test_the_walk_through_the_unread_uses_their_index(desk: Desk):
    plan = [row[3] for row in desk.rows(f"EXPLAIN QUERY PLAN {notices.SELECT_UNREAD}", 1, 1, 1)]
    assert len(plan) == 1
    assert "idx_notifications_user_unread" in plan[0]


# The badge, whatever happens

steps = st.lists(
    st.one_of(
        st.tuples(st.just("note"), st.integers(11, 12), st.sampled_from(["LOW", "CRITICAL"])),
        st.tuples(st.just("comment"), st.integers(1, 2), st.none()),
        st.tuples(st.just("read"), st.integers(11, 12), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(11, 12), st.integers(0, 9)),
        st.tuples(st.just("read all"), st.integers(11, 12), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([1, 30, 60, 3600, 86400, 31 * 86400]), st.none()),
        st.tuples(st.just("tick"), st.none(), st.none()),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(steps=steps, together=st.integers(1, 4), collapse=st.booleans())
def test_the_badge_is_right_and_the_limit_holds_whatever_happens(
    desk: Desk, steps: list[tuple[str, int, object]], together: int, collapse: bool
):
    """Through cap, summaries, replacement, expiry: the count is what is unread, changes replay to the inbox."""
    _clear(desk)
    desk.limits = Limits(daily_limit=3, collapse_bursts=collapse)
    desk.publish(
        job(MORNING + DAY),
        job(MORNING + 2 * HOUR),
        *(JobWatched(tenant_id=T, job_id=n, user_id=user) for n in (1, 2) for user in (11, 12)),
    )
    waiting = []
    for what, who, more in steps:
        inbox = desk.inbox(who) if what in ("read", "delete") else []
        match what:
            case "note":
                waiting.append(Publish(note(who, more)))  # type: ignore[arg-type]
            case "comment":
                waiting.append(Publish(CommentAdded(tenant_id=T, job_id=who, actor_id=10, text="Nice")))
            case "read" | "delete" if inbox:
                command = MarkRead if what == "read" else Delete
                waiting.append(command(T, who, inbox[more % len(inbox)].id))  # type: ignore[operator]
            case "read all":
                waiting.append(MarkAllRead(T, who))
            case "wait":
                desk.now += timedelta(seconds=who)
            case "tick":
                waiting += [RaiseAlerts(10), SendSummaries(10), ExpireSlice(3)]
        if len(waiting) >= together:
            desk.record(*waiting)
            waiting = []
    for user in (11, 12):
        inbox = desk.inbox(user)
        shown: dict[int, object] = {}
        for name, body in desk.changes(user):
            if name == "notification:new":
                assert body.get("replaces") not in shown  # it was taken away before
                shown[body["id"]] = body
            elif name == "notification:deleted":
                for id_ in body["notificationIds"]:
                    del shown[id_]
        assert sorted(shown) == sorted(item.id for item in inbox)
        summaries = [json.loads(item.data or "")["day"] for item in inbox if item.type == "daily_summary"]
        assert len(summaries) == len(set(summaries))
        counted = desk.rows(
            "SELECT substr(created_at, 1, 10), count(*) FROM notifications "
            "WHERE user_id = ? AND type <> 'daily_summary' AND priority <> 'CRITICAL' GROUP BY 1",
            user,
        )
        assert all(count <= 3 for _, count in counted)
        held = desk.one("SELECT coalesce(sum(held), 0) FROM user_days WHERE user_id = ?", user)
        assert held == desk.one("SELECT count(*) FROM suppressions WHERE user_id = ? AND reason = 'daily_limit'", user)


def _clear(desk: Desk) -> None:
    """Hypothesis runs all examples on one desk."""
    for table in ("suppressions", "notifications", "changes", "domain_events", "user_days", "jobs", "users", "tenants"):
        desk.connection.execute(f"DELETE FROM {table}")
    desk.connection.execute("DELETE FROM expiry_walks")
    desk.connection.execute("INSERT INTO expiry_walks VALUES (1, 1)")
    desk.now = MORNING
