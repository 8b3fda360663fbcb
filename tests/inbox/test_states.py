"""Seen, unread, archived, snoozed, muted: the recorder against a model that knows nothing of rows, by random commands.

After each command the answer, the counts, the list of each place and the inbox of a client that applied the log are the
model's. At the end the inbox as it was is the client's at every sequence number.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from djactors.domain.commands import (
    Archive,
    Command,
    Counted,
    Delete,
    ExpireSlice,
    MarkAllRead,
    MarkJobRead,
    MarkRead,
    MarkSeen,
    MarkUnread,
    MuteJob,
    Publish,
    PurgeSlice,
    Snooze,
    Unarchive,
    UnmuteJob,
    Unsnooze,
    WakeSnoozed,
)
from djactors.domain.errors import Code, Refused
from djactors.domain.events import CommentAdded, JobAssigned, JobCreated, JobSubmitted, NotificationRequested
from djactors.domain.folding import words_of
from djactors.domain.limits import Limits
from djactors.domain.times import utc_text
from djactors.inbox import pages, reading
from djactors.inbox.history import inbox_at
from djactors.inbox.recorder import Recorder
from djactors.store.sqlite.connection import SqliteConnection
from tests.engines import broken_references
from tests.inbox.desk import MORNING, Desk

T, ANN, BOB, JOB = 1, 11, 12, 1
MONTH = timedelta(days=30)

note = Publish(NotificationRequested(tenant_id=T, user_id=ANN, notification_type="note", priority="LOW", title="Hello"))
comment = Publish(CommentAdded(tenant_id=T, actor_id=BOB, job_id=JOB, text="Hm"))


def carry_out(desk: Desk, command: Command) -> Any:
    """What comes of a command, which is asked for again until it is done."""
    for _ in range(100):
        outcomes = desk.record(command).outcomes
        if outcomes:
            return outcomes[0]
    raise AssertionError(f"{command} is never done")


@dataclass
class Item:
    """A notification as its user knows it."""

    of_job: bool
    read: bool = False
    place: str | None = None
    until: Any = None
    unseen: bool = True
    expires: Any = None


@dataclass
class Model:
    """What Ann's inbox should be."""

    now: Any = MORNING
    items: dict[int, Item] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    muted: bool = False
    born: int = 0
    seen: int = 0

    @property
    def counts(self) -> tuple[int, int]:
        unread = [item for item in self.items.values() if not item.read and item.place is None]
        return len(unread), sum(item.unseen for item in unread)

    def arrive(self, *, of_job: bool) -> None:
        if not (of_job and self.muted):
            self.born += 1
            self.items[self.born] = Item(of_job, expires=self.now + MONTH)

    def expect(self, command: Command) -> object:
        """What it should come to: a code, or the counts; None for what has no answer of this kind."""
        match command:
            case Publish():
                self.arrive(of_job=command is comment)
                return None
            case WakeSnoozed():
                for item in self.items.values():
                    if item.place == "snoozed" and item.until <= self.now < item.expires:
                        self._return(item)
                return None
            case ExpireSlice():
                for id_ in [id_ for id_, item in self.items.items() if item.expires <= self.now]:
                    del self.items[id_]
                    self.gone.add(id_)
                return None
            case MarkAllRead() | MarkJobRead():
                for item in self.items.values():
                    if item.place is None and (item.of_job or isinstance(command, MarkAllRead)):
                        item.read = True
            case MarkSeen(up_to=up_to):
                self.seen = max(self.seen, self.born if up_to is None else min(up_to, self.born))
                for id_, item in self.items.items():
                    if id_ <= self.seen:
                        item.unseen = False
            case MuteJob() | UnmuteJob():
                self.muted = isinstance(command, MuteJob)
            case _:
                refused = self._one(command)
                if refused is not None:
                    return refused
        return self.counts

    def _one(self, command: Any) -> Code | None:
        id_ = command.notification_id
        item = self.items.get(id_)
        if item is None:
            return None if isinstance(command, Delete) and id_ in self.gone else Code.NOT_FOUND
        match command:
            case MarkRead():
                item.read = True
            case MarkUnread():
                item.read = False
            case Delete():
                del self.items[id_]
                self.gone.add(id_)
            case Archive():
                item.place, item.until = "archived", None
            case Unarchive() if item.place == "archived":
                item.place = None
            case Unsnooze() if item.place == "snoozed":
                self._return(item)
            case Snooze(until=until) if (item.place, item.until) != ("snoozed", until):
                if not self.now < until < item.expires:
                    return Code.INVALID
                item.place, item.until = "snoozed", until
            case _:
                pass
        return None

    def _return(self, item: Item) -> None:
        item.place, item.until, item.read, item.unseen = None, None, False, True


Shown = dict[int, tuple[bool, str | None]]
"""What a client shows: id to whether it is read, and its place."""


def applied(shown: Shown, name: str, body: Any) -> None:
    """Take a change into what a client shows, by the README's table."""
    ids = body.get("notificationIds", [])
    match name:
        case "notification:new":
            shown[body["id"]] = False, None
        case "notification:read" if body.get("all"):
            shown.update({id_: (True, None) for id_, (_, place) in shown.items() if place is None})
        case "notification:read":
            shown.update({id_: (True, shown[id_][1]) for id_ in ids})
        case "notification:unread":
            shown.update({id_: (False, shown[id_][1]) for id_ in ids})
        case "notification:archived" | "notification:snoozed":
            shown.update({id_: (shown[id_][0], name.rpartition(":")[2]) for id_ in ids})
        case "notification:unarchived":
            shown.update({id_: (shown[id_][0], None) for id_ in ids})
        case "notification:unsnoozed":
            shown.update(dict.fromkeys(ids, (False, None)))
        case "notification:deleted":
            for id_ in ids:
                del shown[id_]
        case _:
            pass


@pytest.fixture(scope="module")
def image(migrated: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(migrated)) as connection:
        yield connection


_ids = st.integers(1, 8)
_one = st.builds(
    lambda kind, id_: kind(T, ANN, id_),
    st.sampled_from([MarkRead, MarkUnread, Archive, Unarchive, Unsnooze, Delete]),
    _ids,
)
_snooze = st.builds(
    lambda id_, hours: Snooze(T, ANN, id_, MORNING + timedelta(hours=hours)), _ids, st.sampled_from([0, 5, 30, 800])
)
_own = st.sampled_from(
    [
        MarkAllRead(T, ANN),
        MarkJobRead(T, ANN, JOB),
        MuteJob(T, ANN, JOB),
        UnmuteJob(T, ANN, JOB),
        MarkSeen(T, ANN),
        MarkSeen(T, ANN, 3),
        WakeSnoozed(2),
        WakeSnoozed(100),
        ExpireSlice(100),
    ]
)
_step = st.tuples(
    st.one_of(st.sampled_from([note, comment]), _one, _one, _snooze, _own), st.sampled_from([0, 0, 7, 400])
)


@pytest.mark.sqlite_only("the model counts ids without gaps; test_differential has PostgreSQL do the same as SQLite")
@given(st.lists(_step, min_size=1, max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_answers_counts_lists_log_and_past_are_the_models(image: sqlite3.Connection, steps: list[tuple[Command, int]]):
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)) as connection,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(reading, "READ_SLICE", 2)
        image.backup(connection)
        desk, model = Desk(connection), Model()
        unseen: dict[int, int] = {}
        desk.publish(JobCreated(tenant_id=T, title="Banner", requester_id=BOB, watcher_ids=(ANN,)))
        for command, hours in steps:
            for again in (False, True):
                if again and isinstance(command, Publish):
                    break
                expected, before = model.expect(command), desk.dump()
                while True:
                    outcome = carry_out(desk, command)
                    if not (isinstance(command, WakeSnoozed) and outcome.more):
                        break
                if isinstance(outcome, Refused):
                    assert outcome.code is expected
                elif isinstance(outcome, Counted):
                    assert (outcome.count, outcome.unseen) == expected
                if again:
                    assert desk.dump() == before, "a repeated command changes nothing"
                _check(desk, model)
                unseen[desk.one("SELECT max(seq) FROM changes")] = model.counts[1]
            desk.now = model.now = model.now + timedelta(hours=hours)
        _check_past(desk)
        for seq, count in unseen.items():
            assert inbox_at(desk.connection, T, ANN, seq).unseen == count


def _check(desk: Desk, model: Model) -> None:
    stored = desk.rows("SELECT unread_count, unseen_count FROM users WHERE id = ?", ANN)
    assert (stored or [(0, 0)])[0] == model.counts
    for place in (None, "archived", "snoozed"):
        expected = [(id_, item.read) for id_, item in sorted(model.items.items(), reverse=True) if item.place == place]
        for wanted in (pages.Wanted(place), pages.Wanted(place, type=None, words=("o",))):
            page = pages.page(desk.connection, T, ANN, limit=100, wanted=wanted)
            assert [(item.id, item.is_read) for item in page.items] == expected
            assert (page.unread, page.unseen) == model.counts
        until = [item.snoozed_until for item in page.items]
        if place == "snoozed":
            # What has expired in the meantime waits for expiry without a moment.
            assert set(until) <= {None, *(utc_text(item.until) for item in model.items.values() if item.until)}
        else:
            assert set(until) <= {None}
    assert broken_references(desk.connection) == []


def _check_past(desk: Desk) -> None:
    shown: Shown = {}
    seqs = dict.fromkeys(range(desk.one("SELECT max(seq) FROM changes") + 1), shown)
    for change in desk.since(T, ANN):
        applied(shown, change.name, json.loads(change.body))
        seqs[change.offset.seq] = dict(shown)
        past = inbox_at(desk.connection, T, ANN, change.offset.seq)
        assert {item.id: (item.read_at is not None, item.place) for item in past.items} == shown
        assert past.unread == sum(state == (False, None) for state in shown.values())


# What the model does not show


def test_what_was_unseen_is_not_guessed_where_the_log_no_longer_tells(desk: Desk):
    desk.record(note, note)
    desk.do(MarkSeen(T, ANN, 1))
    desk.now += timedelta(days=8)
    desk.record(note)
    desk.record(PurgeSlice("changes", timedelta(days=7), 100))
    assert inbox_at(desk.connection, T, ANN, 4).unseen == 2
    desk.do(MarkSeen(T, ANN, None))
    assert inbox_at(desk.connection, T, ANN, 4).unseen is None
    assert inbox_at(desk.connection, T, ANN, 5).unseen == 0


def test_a_snoozed_one_comes_back_once_over_restarts_and_the_clock_is_told(desk: Desk):
    desk.record(note)
    until = desk.now + timedelta(hours=3)
    recorded = desk.record(Snooze(T, ANN, 1, until))
    assert recorded.next_alert == utc_text(until)
    desk.recorder = Recorder(lambda: desk.now)
    assert desk.do(WakeSnoozed(10)).next_due == utc_text(until)  # type: ignore[union-attr]
    desk.now = until
    for _ in range(3):
        desk.recorder = Recorder(lambda: desk.now)
        desk.do(WakeSnoozed(10))
    assert [change.name for change in desk.since(T, ANN)][-2:] == ["notification:snoozed", "notification:unsnoozed"]


def test_a_snooze_beyond_expiry_is_refused_and_says_until_when_it_may_be(desk: Desk):
    desk.record(note)
    refused = desk.refusal(Snooze(T, ANN, 1, desk.now + MONTH))
    assert refused.code is Code.INVALID
    assert (
        refused.message == f"until: the notification expires at {utc_text(desk.now + MONTH)}: choose an earlier moment"
    )
    assert desk.refusal(Snooze(T, ANN, 1, desk.now)).message.endswith("is past: choose a later moment")


def test_who_has_muted_a_job_is_still_told_what_only_they_can_answer(desk: Desk):
    desk.publish(JobCreated(tenant_id=T, title="Banner", requester_id=BOB, approver_id=ANN, watcher_ids=(ANN,)))
    desk.publish(JobAssigned(tenant_id=T, actor_id=BOB, job_id=JOB, assignee_id=BOB))
    desk.do(MuteJob(T, ANN, JOB))
    told = desk.publish(CommentAdded(tenant_id=T, actor_id=BOB, job_id=JOB, text="Hm"))
    assert (told["notifications"], told["suppressed"]) == ([], [{"userId": ANN, "reason": "muted"}])
    assert desk.rows("SELECT user_id, type, reason FROM suppressions WHERE user_id = ?", ANN) == [
        (ANN, "comment_added", "muted")
    ]
    told = desk.publish(JobSubmitted(tenant_id=T, actor_id=BOB, job_id=JOB))
    assert [entry["type"] for entry in told["notifications"]] == ["approval_needed"]
    desk.do(UnmuteJob(T, ANN, JOB))
    told = desk.publish(CommentAdded(tenant_id=T, actor_id=BOB, job_id=JOB, text="Hm"))
    assert [entry["userId"] for entry in told["notifications"]] == [ANN]


@pytest.mark.parametrize("kind", [MuteJob, UnmuteJob, MarkJobRead])
def test_another_tenants_job_is_answered_like_a_missing_one(desk: Desk, kind: type[MuteJob]):
    desk.publish(JobCreated(tenant_id=2, title="Banner", requester_id=BOB))
    desk.record(note)
    assert desk.refusal(kind(T, ANN, JOB)).code is desk.refusal(kind(T, ANN, 99)).code is Code.NOT_FOUND


def test_reading_thousands_is_many_small_commits_and_the_log_is_exact_after_each(desk: Desk):
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=5000))
    for _ in range(3):
        desk.record(*[note] * 400)
    slices = []
    while not (recorded := desk.record(MarkAllRead(T, ANN))).outcomes:
        slices.append(len(json.loads(recorded.changes[T][0].body)["notificationIds"]))
    assert slices == [reading.READ_SLICE] * 2
    assert recorded.outcomes == [Counted(0, 0)]
    assert json.loads(recorded.changes[T][0].body)["all"] is True
    if not desk.connection.is_shared:  # a query for each row and each number: half a minute across a socket
        _check_past(desk)


def test_a_batch_with_a_long_reading_is_taken_up_to_it(desk: Desk):
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=5000))
    desk.record(*[note] * 600)
    assert len(desk.record(note, MarkAllRead(T, ANN), note).outcomes) == 1
    assert len(desk.record(MarkAllRead(T, ANN), note).outcomes) == 2
    assert len(desk.record_each(MarkRead(T, ANN, 601), note).outcomes) == 2


# Searching


def found(desk: Desk, **wanted: Any) -> list[int]:
    return [item.id for item in pages.page(desk.connection, T, ANN, limit=50, wanted=pages.Wanted(**wanted)).items]


def test_a_list_is_narrowed_by_type_priority_job_and_words(desk: Desk):
    desk.publish(JobCreated(tenant_id=T, title="Bannière d'été", requester_id=BOB, watcher_ids=(ANN,)))
    desk.record(comment, note)
    event = NotificationRequested(
        tenant_id=T, user_id=ANN, notification_type="news", priority="HIGH", title="Nőtiz", message="Straße ünd mehr"
    )
    desk.publish(event)
    first, second, third = (id_ for (id_,) in desk.rows("SELECT id FROM notifications ORDER BY id"))
    assert found(desk, type="news") == [third]
    assert found(desk, priority="LOW") == [second]
    assert found(desk, job_id=JOB) == [first]
    for query, ids in {
        "BANNIERE": [first],
        "banniere ete": [first],
        "NOTIZ": [third],
        "STRASSE unD": [third],
        "dj-2026": [first],
        "xx": [],
    }.items():
        assert (query, found(desk, words=words_of(query))) == (query, ids)


def test_a_search_looks_at_a_bounded_number_and_goes_on_from_there(desk: Desk):
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=5000))
    rare = NotificationRequested(tenant_id=T, user_id=ANN, notification_type="rare", priority="LOW", title="x")
    desk.publish(rare)
    for _ in range(3):
        desk.record(*[note] * 400)
    before, seen, counts = None, [], []
    while True:
        page = pages.page(desk.connection, T, ANN, limit=20, before=before, wanted=pages.Wanted(type="rare"))
        seen += [item.id for item in page.items]
        counts.append(len(page.items))
        before = page.next_before
        if before is None:
            break
    assert (seen, counts) == ([1], [0, 0, 1])
