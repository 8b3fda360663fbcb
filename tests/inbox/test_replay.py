"""Reading the log back: a returning client is given what it may see of what it missed, once, in order, in slices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given as anything
from hypothesis import settings
from hypothesis import strategies as st

from djactors.domain.commands import Change, Delete, MarkAllRead, MarkRead, Publish, PurgeSlice
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.domain.limits import Limits
from djactors.domain.marks import BEGINNING, Offset
from djactors.inbox import log
from djactors.inbox.log import SLICE_BYTES, Astray, Found, Replay
from djactors.inbox.recorder import Recorder
from tests.engines import AnyConnection, Opened
from tests.inbox.desk import Desk
from tests.offsets import invented, offset_in

WEEK = timedelta(days=7)


def note(user_id: int = 11, tenant_id: int = 1, message: str | None = None) -> Publish:
    return Publish(
        NotificationRequested(
            tenant_id=tenant_id,
            user_id=user_id,
            notification_type="note",
            priority="LOW",
            title="Hello",
            message=message,
        )
    )


def job(tenant_id: int = 1) -> Publish:
    """A change that everyone in the tenant sees."""
    return Publish(JobCreated(tenant_id=tenant_id, title="Banner", requester_id=tenant_id * 1000))


def replay(
    desk: Desk,
    since: int | Offset,
    limit: int = 1000,
    *,
    until: int | None = None,
    at_most: int | None = None,
    user_id: int = 11,
    tenant_id: int = 1,
) -> Found:
    """From and to the changes of these numbers, each with its mark."""
    start = offset_in(desk.connection, since, tenant_id) if isinstance(since, int) else since
    end = None if until is None else offset_in(desk.connection, until, tenant_id)
    return log.replay(desk.connection, tenant_id, user_id, start, until=end, limit=limit, at_most=at_most)


def given(found: Found) -> Replay:
    """What was found, where something was."""
    assert isinstance(found, Replay), found
    return found


def seqs(found: Found) -> list[int]:
    return [change.offset.seq for change in given(found).changes]


def reach(found: Found) -> tuple[int, int]:
    """Up to which change it leads, and the newest."""
    return given(found).position.seq, given(found).last.seq


@pytest.fixture
def mixed(desk: Desk) -> Desk:
    """Own changes 1, 4 and 7, the tenant's 2, 5 and 8, somebody else's 3, 6 and 9; another tenant's besides."""
    for _ in range(3):
        desk.record(note(11), job(), note(12))
        desk.record(note(21, 2), job(2))
    return desk


class TestBounds:
    @pytest.mark.parametrize(("since", "left"), [(0, [1, 2, 4, 5, 7, 8]), (1, [2, 4, 5, 7, 8]), (7, [8]), (8, [])])
    def test_it_is_what_came_after(self, mixed: Desk, since: int, left: list[int]):
        found = replay(mixed, since)
        assert seqs(found) == left
        assert reach(found) == (9, 9)

    def test_at_the_newest_nothing_is_missing(self, mixed: Desk):
        newest = offset_in(mixed.connection, 9)
        assert replay(mixed, 9) == Replay([], newest, newest)

    @pytest.mark.parametrize("since", [10, 11, 2**53, 9_999_999_999_999_999])
    def test_what_has_not_happened_yet_leads_nowhere(self, mixed: Desk, since: int):
        assert replay(mixed, invented(since)) is Astray.SINCE

    def test_an_unknown_tenant_has_a_log_without_changes(self, mixed: Desk):
        assert replay(mixed, 0, tenant_id=3) == Replay([], BEGINNING, BEGINNING)
        assert replay(mixed, invented(1), tenant_id=3) is Astray.SINCE

    def test_an_unknown_user_sees_what_the_tenant_does(self, mixed: Desk):
        assert seqs(replay(mixed, 0, user_id=99)) == [2, 5, 8]

    def test_history_ends_where_it_was_purged(self, mixed: Desk):
        mixed.now += timedelta(days=8)
        mixed.record(note(11))
        at = [offset_in(mixed.connection, seq) for seq in range(11)]
        mixed.record(PurgeSlice("changes", WEEK, 4))
        assert [replay(mixed, at[since]) for since in (0, 3)] == [Astray.SINCE] * 2
        assert seqs(replay(mixed, at[4])) == [5, 7, 8, 10]
        mixed.record(PurgeSlice("changes", WEEK, 100))
        assert replay(mixed, at[8]) is Astray.SINCE
        assert seqs(replay(mixed, at[9])) == [10]
        assert replay(mixed, at[10]) == Replay([], at[10], at[10])

    def test_what_is_left_of_a_purged_history_is_whole(self, mixed: Desk):
        mixed.record(Delete(1, 11, 1), MarkAllRead(1, 11))
        before = replay(mixed, 9)
        mixed.now += timedelta(days=6)
        mixed.record(note(11))
        mixed.now += timedelta(days=3)
        for table in ("changes", "notifications"):
            mixed.record(PurgeSlice(table, WEEK, 100))
        after = replay(mixed, 11)
        assert len(given(before).changes) == 2
        assert seqs(after) == [12]
        assert json.loads(given(after).changes[0].body)["title"] == "Hello"


class TestMarks:
    @pytest.mark.parametrize("since", [1, 4, 8, 9])
    def test_a_number_alone_leads_nowhere(self, mixed: Desk, since: int):
        """The change of that number is there, but it is not the one that the client saw."""
        assert replay(mixed, invented(since)) is Astray.SINCE
        before = offset_in(mixed.connection, since - 1)
        assert replay(mixed, Offset(before.mark, since)) is Astray.SINCE

    def test_another_tenants_offset_leads_nowhere(self, mixed: Desk):
        assert replay(mixed, offset_in(mixed.connection, 2, 2)) is Astray.SINCE

    @pytest.mark.parametrize("purged", [4, 9])
    def test_where_history_was_purged_the_mark_of_its_last_change_counts(self, mixed: Desk, purged: int):
        at = [offset_in(mixed.connection, seq) for seq in range(10)]
        mixed.now += timedelta(days=8)
        mixed.record(PurgeSlice("changes", WEEK, purged))
        assert reach(replay(mixed, at[purged])) == (9, 9)
        assert replay(mixed, invented(purged)) is Astray.SINCE
        assert replay(mixed, BEGINNING) is Astray.SINCE
        assert replay(mixed, Offset(at[purged].mark, purged - 1)) is Astray.SINCE

    def test_where_it_is_to_stop_is_judged_first(self, mixed: Desk):
        connection, at = mixed.connection, offset_in(mixed.connection, 4)
        for since in (BEGINNING, at, invented(4)):
            for end in ({"until": invented(4)}, {"told": invented(4)}, {"until": at, "told": invented(10)}):
                assert log.replay(connection, 1, 11, since, limit=1, **end) is Astray.TOLD
        assert seqs(log.replay(connection, 1, 11, BEGINNING, until=at, told=at, limit=10)) == [1, 2, 4]

    def test_what_starts_behind_its_end_leads_nowhere(self, mixed: Desk):
        assert replay(mixed, 5, until=4) is Astray.SINCE
        assert seqs(replay(mixed, 4, until=4)) == []

    def test_every_change_is_replayed_with_the_mark_that_it_was_announced_with(self, mixed: Desk):
        mixed.record(MarkRead(1, 11, 1), Delete(1, 11, 1), MarkAllRead(1, 11))
        for change in given(replay(mixed, 0)).changes:
            assert change.offset == offset_in(mixed.connection, change.offset.seq)


class TestSlices:
    @pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
    def test_an_answer_holds_so_many_changes_and_says_how_far_they_lead(self, mixed: Desk, limit: int):
        found = replay(mixed, 0, limit)
        visible = [1, 2, 4, 5, 7, 8]
        assert seqs(found) == visible[:limit]
        # A slice that is full, and not the last, leads up to its last change.
        assert reach(found) == (visible[limit - 1] if limit < 6 else 9, 9)
        assert given(found).position == offset_in(mixed.connection, given(found).position.seq)

    @pytest.mark.parametrize(("until", "expected"), [(0, []), (1, [1]), (3, [1, 2]), (7, [1, 2, 4, 5, 7])])
    def test_it_stops_where_it_is_told(self, mixed: Desk, until: int, expected: list[int]):
        found = replay(mixed, 0, until=until)
        assert seqs(found) == expected
        assert reach(found) == (until, 9)

    def test_what_ends_exactly_with_a_slice_leads_to_its_end(self, mixed: Desk):
        found = replay(mixed, 0, 3, until=4)
        assert seqs(found) == [1, 2, 4]
        assert reach(found) == (4, 9)

    def test_a_slice_ends_once_it_is_large(self, desk: Desk):
        desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=200))
        desk.record(*[note(message="x" * 4000) for _ in range(200)])
        position, slices = BEGINNING, []
        while position.seq < 200:
            found = given(replay(desk, position))
            slices.append(found.changes)
            position = found.position
        assert [change.offset.seq for part in slices for change in part] == list(range(1, 201))
        assert len(slices) > 2
        for part in slices:
            sizes = [len(change.body) for change in part]
            # It is over by no more than its last change, and only the last slice is small.
            assert sum(sizes[:-1]) < SLICE_BYTES
            assert part is slices[-1] or sum(sizes) >= SLICE_BYTES

    def test_a_change_that_is_larger_than_a_slice_comes_alone(self, desk: Desk):
        desk.record(job(), job(), job())
        desk.connection.execute("UPDATE changes SET data = ?", (json.dumps("x" * SLICE_BYTES),))
        assert [seqs(replay(desk, since)) for since in range(4)] == [[1], [2], [3], []]

    def test_bytes_are_counted_and_not_characters(self, desk: Desk):
        desk.record(*[note(message="é€𝄞" * 1333) for _ in range(60)])
        found = given(replay(desk, 0))
        assert sum(len(change.body) for change in found.changes[:-1]) < SLICE_BYTES
        assert len(found.changes) < 60


class TestTooMuch:
    @pytest.mark.parametrize("limit", [2, 6, 7])
    @pytest.mark.parametrize(("at_most", "allowed"), [(5, False), (6, True), (7, True), (1, False)])
    def test_more_than_is_worth_it_is_nothing(self, mixed: Desk, limit: int, at_most: int, allowed: bool):
        """Whether the first slice holds it all or is cut."""
        found = replay(mixed, 0, limit, at_most=at_most)
        assert isinstance(found, Replay) is allowed
        if allowed:
            assert found == replay(mixed, 0, limit)

    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_what_comes_later_than_the_end_does_not_count(self, mixed: Desk, limit: int):
        assert seqs(replay(mixed, 0, limit, until=4, at_most=3)) == [1, 2, 4][:limit]
        assert replay(mixed, 0, limit, until=5, at_most=3) is Astray.SINCE

    def test_a_slice_that_was_cut_for_its_size_is_counted_to_the_end(self, desk: Desk):
        desk.record(*[note(message="x" * 4000) for _ in range(100)])
        assert replay(desk, 0, at_most=99) is Astray.SINCE
        found = given(replay(desk, 0, at_most=100))
        assert len(found.changes) < 99

    @pytest.mark.sqlite_only("SQLite's own count of its steps")
    def test_a_slice_costs_the_same_however_long_nobody_was_notified(self, desk: Desk):
        """What SQLite does for it, by its own count."""

        def steps() -> int:
            taken: list[None] = []
            desk.connection.set_progress_handler(lambda: taken.append(None), 10)
            assert len(seqs(replay(desk, 0, 50))) == 50
            desk.connection.set_progress_handler(None, 0)
            return len(taken)

        desk.record(*[job() for _ in range(100)])
        few = steps()
        for _ in range(20):
            desk.record(*[job() for _ in range(100)])
        assert steps() < 2 * few

    def test_changes_of_others_do_not_count(self, desk: Desk):
        desk.record(note(11), *[note(12) for _ in range(20)], note(21, 2), *[job(2) for _ in range(20)])
        assert seqs(replay(desk, 0, at_most=1)) == [1]


class TestWhatIsSeen:
    def test_own_changes_and_the_tenants_are_one_sequence(self, mixed: Desk):
        found = given(replay(mixed, 0))
        assert [(change.offset.seq, change.user_id) for change in found.changes] == [
            (1, 11), (2, None), (4, 11), (5, None), (7, 11), (8, None),
        ]  # fmt: skip

    def test_it_is_to_the_byte_what_was_announced(self, mixed: Desk):
        mixed.record(MarkRead(1, 11, 1), MarkRead(1, 12, 2), Delete(1, 11, 1), MarkAllRead(1, 11))
        found = given(replay(mixed, 0))
        announced = [c for c in mixed.announced if c.tenant_id == 1 and c.user_id in (None, 11)]
        assert found.changes == announced

    def test_what_has_left_the_inbox_is_replayed_all_the_same(self, desk: Desk):
        desk.record(note(), note())
        desk.record(Delete(1, 11, 1), MarkAllRead(1, 11))
        found = given(replay(desk, 0))
        assert [change.name.removeprefix("notification:") for change in found.changes] == [
            "new", "new", "deleted", "read",
        ]  # fmt: skip

    def test_nobody_elses_changes_are_seen(self, mixed: Desk):
        for tenant_id, user_id, own in ((1, 11, {11, None}), (1, 12, {12, None}), (2, 21, {21, None}), (2, 11, {None})):
            found = given(replay(mixed, 0, user_id=user_id, tenant_id=tenant_id))
            assert {change.user_id for change in found.changes} == own
            assert {change.tenant_id for change in found.changes} == {tenant_id}


# Any log at all, walked by slices, against a model that is a list


_entries = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.sampled_from([None, 11, 12]), st.sampled_from([10, 10, 5_000, 200_000])),
    max_size=40,
)


def marked(seq: int) -> Offset:
    """The offset of this number in the logs made here."""
    return Offset(1000 * seq, seq)


def _log(connection: AnyConnection, entries: Sequence[tuple[int, int | None, int]], oldest: int) -> None:
    """Make this log: for each entry the tenant, who sees it, and how large it is."""
    last = {1: 0, 2: 0}
    for tenant_id in last:
        connection.execute(
            "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (?, 'T', '2026', '2026')", (tenant_id,)
        )
    for tenant_id, user_id, size in entries:
        last[tenant_id] += 1
        connection.execute(
            "INSERT INTO changes (tenant_id, seq, user_id, kind, data, mark, created_at) "
            "VALUES (?, ?, ?, 'read', ?, ?, '2026')",
            (tenant_id, last[tenant_id], user_id, "x" * size, marked(last[tenant_id]).mark),
        )
    for tenant_id, seq in last.items():
        kept = marked(min(oldest, seq))
        connection.execute(
            "UPDATE tenants SET oldest_seq = ?, oldest_mark = ? WHERE id = ?", (kept.seq, kept.mark, tenant_id)
        )
        connection.execute("DELETE FROM changes WHERE tenant_id = ? AND seq <= ?", (tenant_id, kept.seq))
    connection.settle()


@settings(deadline=None, max_examples=200)
@anything(
    entries=_entries,
    oldest=st.sampled_from([0, 0, 0, 3, 20]),
    since=st.integers(0, 45),
    limit=st.sampled_from([1, 2, 3, 7, 100]),
    end=st.none() | st.integers(0, 45),
    forged=st.booleans(),
    at_most=st.none() | st.integers(1, 30),
    viewer=st.sampled_from([(1, 11), (1, 12), (2, 11), (1, 99)]),
)
def test_by_slices_everybody_is_given_exactly_what_they_may_see_once_and_in_order(
    opened: Opened,
    entries: list[tuple[int, int | None, int]],
    oldest: int,
    since: int,
    limit: int,
    end: int | None,
    forged: bool,
    at_most: int | None,
    viewer: tuple[int, int],
):
    tenant_id, user_id = viewer
    tenant = [entry for entry in entries if entry[0] == tenant_id]
    last, first = len(tenant), min(oldest, len(tenant))
    until = last if end is None else end
    expected = [seq for seq, (_, who, _) in enumerate(tenant, 1) if since < seq <= until and who in (None, user_id)]
    stop = None if end is None else marked(end)
    with opened() as connection:
        _log(connection, entries, oldest)
        start = Offset(marked(since).mark + 1, since) if forged else marked(since)
        found = log.replay(connection, tenant_id, user_id, start, until=stop, limit=limit, at_most=at_most)
        if not first <= until <= last:
            assert found is Astray.TOLD
            return
        if forged or not first <= since <= until or (at_most is not None and len(expected) > at_most):
            assert found is Astray.SINCE
            return
        told: list[Change] = []
        position = start
        while True:
            assert isinstance(found, Replay)
            assert found.last == marked(last)
            assert len(found.changes) <= limit
            sizes = [len(change.body) for change in found.changes]
            assert sum(sizes[:-1]) < SLICE_BYTES
            told += found.changes
            assert found.position.seq >= max([position.seq, *(change.offset.seq for change in told)])
            position = found.position
            assert position == marked(position.seq)
            if position.seq >= until:
                break
            assert found.changes, "a slice that leads nowhere would be asked for for ever"
            found = log.replay(connection, tenant_id, user_id, position, until=stop, limit=limit)
        assert [change.offset.seq for change in told] == expected
        assert all(change.user_id in (None, user_id) and change.tenant_id == tenant_id for change in told)
