"""What holds for every command: one answer for a key, dense sequence numbers, one bad command never hurts another."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest

from djactors.domain.commands import (
    Command,
    Counted,
    Delete,
    Introduce,
    MarkAllRead,
    MarkRead,
    Outcome,
    Publish,
    Published,
    Recorded,
)
from djactors.domain.errors import Code, Refused
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.domain.permissions import Person
from djactors.inbox.recorder import Recorder
from djactors.inbox.unit import UnitOfWork
from djactors.store.errors import StoreError
from djactors.store.sqlite.connection import SqliteConnection
from tests.inbox.desk import MORNING_TEXT, Desk, answer

T, OTHER = 1, 2


def note(user_id: int = 11, tenant_id: int = T, **changes: object) -> NotificationRequested:
    event = NotificationRequested(
        tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="LOW", title="Hello"
    )
    return msgspec.structs.replace(event, **changes)


def job(**changes: object) -> JobCreated:
    event = JobCreated(tenant_id=T, title="Banner Design", requester_id=10, assignee_id=11)
    return msgspec.structs.replace(event, **changes)


POISON = Publish(job(project_id=2**70, assignee_id=12), decoded=True)
"""SQLite holds no such number, and this one claims to have been checked: it fails when it is written, together with
everything else in its batch."""


# Keys


def test_a_retry_gets_the_same_bytes_and_changes_nothing(desk: Desk):
    first = desk.do(Publish(job(), "k"))
    before = desk.dump()
    recorded = desk.record(Publish(job(), "k"))
    (again,) = recorded.outcomes
    assert isinstance(first, Published)
    assert isinstance(again, Published)
    assert (first.repeated, again.repeated) == (False, True)
    assert first.answer == again.answer
    assert recorded.changes == {}
    assert desk.dump() == before


def test_a_retry_within_the_same_batch_is_told_apart_as_well(desk: Desk):
    first, again, other = desk.record(Publish(note(), "k"), Publish(note(), "k"), Publish(note(12), "k")).outcomes
    assert isinstance(again, Published)
    assert again.repeated
    assert answer(first) == answer(again)
    assert isinstance(other, Refused)
    assert other.code is Code.KEY_REUSED
    assert desk.one("SELECT count(*) FROM notifications") == 1


def test_another_body_under_a_known_key_is_refused(desk: Desk):
    desk.publish(note(), "k")
    refused = desk.refusal(Publish(note(title="Bye"), "k"))
    assert refused.code is Code.KEY_REUSED
    assert "'k'" in refused.message


def test_a_key_is_its_tenants_own(desk: Desk):
    desk.publish(note(), "k")
    outcome = desk.do(Publish(note(20, OTHER), "k"))
    assert isinstance(outcome, Published)
    assert not outcome.repeated


def test_a10_a_key_is_its_senders_own(desk: Desk):
    """A person, another person, the tenant's backend and the installation's: an event each, under one key."""
    desk.publish(job())
    people = (Person(10, "admin"), Person(11, "admin"))
    commands = [
        Publish(job(), "k"),
        Publish(job(), "k", tenants_own=True),
        *(Publish(job(actor_id=person.user_id), "k", person) for person in people),
    ]
    first = [desk.do(command) for command in commands]
    again = [desk.do(command) for command in commands]
    together = desk.record(*commands).outcomes
    assert [outcome.repeated for outcome in first if isinstance(outcome, Published)] == [False] * 4
    assert [outcome.repeated for outcome in again if isinstance(outcome, Published)] == [True] * 4
    assert [answer(outcome) for outcome in first] == [answer(outcome) for outcome in again]
    assert [answer(outcome) for outcome in first] == [answer(outcome) for outcome in together]
    assert desk.one("SELECT count(*) FROM jobs") == 5


def test_another_body_under_a_key_is_refused_to_the_same_sender_only(desk: Desk):
    def command(title: str, person: Person | None, tenants_own: bool) -> Publish:
        return Publish(job(actor_id=11, requester_id=11, title=title), "k", person, tenants_own=tenants_own)

    desk.do(Introduce(T, Person(11, "admin")))
    for sender in ((None, False), (None, True), (Person(11, "admin"), False)):
        desk.do(command("One", *sender))
        assert desk.refusal(command("Two", *sender)).code is Code.KEY_REUSED


def test_a_refused_event_does_not_use_its_key_up(desk: Desk):
    desk.publish(job())
    desk.refusal(Publish(job(job_id=9), "k"))
    outcome = desk.do(Publish(note(11), "k"))
    assert isinstance(outcome, Published)
    assert not outcome.repeated


def test_events_without_a_key_are_each_their_own(desk: Desk):
    desk.record(Publish(note()), Publish(note()))
    assert desk.one("SELECT count(*) FROM notifications") == 2
    assert desk.rows("SELECT DISTINCT idempotency_key, fingerprint, answer FROM domain_events") == [(None, None, None)]


def test_keys_are_compared_letter_by_letter(desk: Desk):
    for key in ("k", "K", "k ", "%"):
        outcome = desk.do(Publish(note(), key))
        assert isinstance(outcome, Published)
        assert not outcome.repeated


def test_a_retry_is_recognised_when_the_batch_is_taken_apart(desk: Desk):
    outcomes = desk.record(Publish(note(), "k"), POISON, Publish(note(), "k")).outcomes
    assert desk.fell_back == 1
    assert isinstance(outcomes[2], Published)
    assert outcomes[2].repeated
    assert answer(outcomes[0]) == answer(outcomes[2])


# Rows


def test_a_notification_is_stored_as_it_was_asked_for_and_stays_thirty_days(desk: Desk):
    desk.now = datetime(2026, 2, 20, 23, 59, 59, 999_999, tzinfo=UTC)
    desk.publish(note(message="How are you", data={"ß": [1, "x", None]}, priority="CRITICAL"))
    columns = "type, priority, title, message, data, is_read, read_at, created_at, expires_at, seq"
    ((*row, data, is_read, read_at, created_at, expires_at, seq),) = [
        (kind, priority, title, message, data, *rest)
        for kind, priority, title, message, data, *rest in desk.rows(f"SELECT {columns} FROM notifications")
    ]
    assert row == ["note", "CRITICAL", "Hello", "How are you"]
    assert json.loads(data) == {"ß": [1, "x", None]}
    assert (is_read, read_at, seq) == (0, None, 1)
    assert (created_at, expires_at) == ("2026-02-20T23:59:59.999999Z", "2026-03-22T23:59:59.999999Z")


def test_an_event_is_stored_with_its_time_its_actor_and_its_job(desk: Desk):
    occurred = datetime(2026, 1, 1, tzinfo=UTC)
    desk.publish(job(actor_id=9, occurred_at=occurred), "k")
    columns = "type, actor_id, job_id, idempotency_key, seq, occurred_at, received_at"
    assert desk.rows(f"SELECT {columns} FROM domain_events") == [
        ("job.created", 9, 1, "k", 3, "2026-01-01T00:00:00.000000Z", MORNING_TEXT)
    ]


@pytest.mark.parametrize("hostile", ["'; DROP TABLE users; --", '"', "?", ":a", "\r\n", "<script>", "%s", "\x1b[2J"])
def test_row_29_no_text_is_ever_read_as_sql(desk: Desk, hostile: str):
    desk.publish(note(title=hostile, message=hostile, data={hostile: hostile}), "'; DROP TABLE users; --")
    (change,) = desk.since(T, 11)
    body = json.loads(change.body)
    assert (body["title"], body["message"], body["data"]) == (hostile, hostile, {hostile: hostile})


# The log


def test_sequence_numbers_are_dense_and_rise_in_each_tenant(desk: Desk):
    desk.record(Publish(note()), Publish(note(20, OTHER)), Publish(job()), Publish(note(21, OTHER)))
    desk.record(Publish(note(20, OTHER)), MarkAllRead(T, 11), Delete(T, 11, 1))
    for tenant_id in (T, OTHER):
        numbers = [change.offset.seq for change in desk.announced if change.tenant_id == tenant_id]
        assert numbers == list(range(1, len(numbers) + 1))
        assert desk.rows("SELECT seq FROM changes WHERE tenant_id = ?", tenant_id) == [(seq,) for seq in numbers]


def test_the_answers_sequence_number_is_that_of_the_events_last_change(desk: Desk):
    outcomes = desk.record(Publish(note()), Publish(job()), Publish(note())).outcomes
    assert [answer(outcome)["seq"] for outcome in outcomes] == [1, 4, 5]


def test_what_is_replayed_is_to_the_byte_what_was_announced(desk: Desk):
    desk.record(Publish(note(message="ß", data={"a": [1.50, "é"]})), Publish(job()), Publish(note(data={})))
    desk.record(MarkRead(T, 11, 1), Publish(note(12)), Delete(T, 11, 1), MarkAllRead(T, 11))
    for user_id in (11, 12, 99):
        mine = [change for change in desk.announced if change.user_id in (None, user_id)]
        assert desk.since(T, user_id) == mine
        for seq in range(10):
            for limit in (1, 2, 3, 100):
                assert desk.since(T, user_id, seq, limit) == [c for c in mine if c.offset.seq > seq][:limit]


def test_nothing_of_one_tenant_is_replayed_in_another(desk: Desk):
    desk.record(Publish(job()), Publish(note()))
    desk.publish(note(20, OTHER))
    assert [change.name for change in desk.since(OTHER, 20)] == ["notification:new"]
    assert desk.since(OTHER, 11) == []
    assert desk.since(3, 11) == []


# Trouble

OUT_OF_RANGE = OverflowError, psycopg.DataError
"""What each engine says of a number that is too large."""


def test_a_command_that_fails_in_the_database_fails_alone(desk: Desk):
    commands = [Publish(note(12)) for _ in range(5)] + [POISON] + [Publish(note(12)) for _ in range(5)]
    recorded = desk.record(*commands)
    assert desk.fell_back == 1
    failed = recorded.outcomes.pop(5)
    assert isinstance(failed, OUT_OF_RANGE)
    assert all(isinstance(outcome, Published) for outcome in recorded.outcomes)
    assert [change.offset.seq for change in recorded.changes[T]] == list(range(1, 11))
    assert recorded.unread == {(T, 12): 10}
    for table in ("notifications", "domain_events"):
        ids = [id_ for (id_,) in desk.rows(f"SELECT id FROM {table} ORDER BY id")]
        assert len(ids) == 10
        assert desk.connection.is_shared or ids == [*range(1, 11)]
    assert desk.one("SELECT count(*) FROM jobs") == 0


def test_one_bad_command_among_a_thousand_does_not_hurt_the_others(desk: Desk):
    commands = [Publish(note(n % 50 + 1), f"k{n}") for n in range(1000)]
    commands[500] = POISON
    outcomes = desk.record(*commands).outcomes
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [500]
    assert desk.one("SELECT count(*) FROM notifications") == 999
    assert desk.one("SELECT sum(unread_count) FROM users") == 999


def test_only_bad_commands_change_nothing(desk: Desk):
    before = desk.dump()
    recorded = desk.record(POISON, POISON)
    assert all(isinstance(outcome, OUT_OF_RANGE) for outcome in recorded.outcomes)
    assert recorded.changes == {}
    assert recorded.unread == {}
    assert desk.dump() == before


class _Reconsiders(Recorder):
    """Refuses events of one title after everything was staged for them."""

    def _carry_out(self, unit: UnitOfWork, command: Command) -> Outcome:
        outcome = super()._carry_out(unit, command)
        if isinstance(command, Publish) and getattr(command.event, "title", "") == "Oh no":
            raise Refused(Code.CONFLICT, "after all")
        return outcome


def test_a_command_that_is_refused_too_late_leaves_nothing_behind_either(desk: Desk):
    desk.recorder = _Reconsiders(lambda: desk.now)
    recorded = desk.record(Publish(note()), Publish(note(title="Oh no")), Publish(note()))
    assert desk.fell_back == 1
    assert isinstance(recorded.outcomes[1], Refused)
    assert [change.offset.seq for change in recorded.changes[T]] == [1, 2]
    assert recorded.unread == {(T, 11): 2}
    assert desk.one("SELECT count(*) FROM domain_events") == 2


@pytest.mark.sqlite_only("copies the file; test_differential compares both ways on PostgreSQL as well")
def test_both_ways_of_recording_come_to_the_same(desk: Desk, path: Path, tmp_path: Path):
    commands: list[Command] = [
        Publish(job(), "a"),
        Publish(note(20, OTHER)),
        Publish(job(dj_id="A")),
        Publish(job(), "a"),
        MarkAllRead(T, 11),
        Publish(note()),
        MarkRead(T, 11, 999),
        MarkAllRead(OTHER, 20),
    ]
    with closing(sqlite3.connect(tmp_path / "twin.db", isolation_level=None, factory=SqliteConnection)) as connection:
        desk.connection.backup(connection)
        twin = Desk(connection)
        one, other = desk.record(*commands), twin.record_each(*commands)
        assert [repr(outcome) for outcome in one.outcomes] == [repr(outcome) for outcome in other.outcomes]
        assert one.changes == other.changes
        assert (one.unread, one.unseen) == (other.unread, other.unseen)
        assert desk.dump() == twin.dump()


@pytest.mark.sqlite_only("a limit of the file")
def test_a_disk_that_fills_up_while_a_batch_is_taken_apart_is_no_commands_fault(desk: Desk):
    """It must come out as the storage's failure, so that senders are told to try again."""
    desk.connection.execute(f"PRAGMA max_page_count = {desk.one('PRAGMA page_count') + 2}")
    desk.connection.execute("BEGIN IMMEDIATE")
    big = {"a": "x" * 8000}
    with pytest.raises((sqlite3.OperationalError, StoreError), match="full"):
        desk.recorder.record_each(desk.connection, [Publish(note(data=big)) for _ in range(10)])


class _FailingDisk(Recorder):
    """Meets an I/O error that SQLite did not roll the transaction back for."""

    def _carry_out(self, unit: UnitOfWork, command: Command) -> Outcome:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
        raise error


@pytest.mark.sqlite_only("an error of SQLite's")
def test_a_disk_that_fails_while_a_batch_is_taken_apart_is_no_commands_fault(desk: Desk):
    desk.connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="I/O"):
        _FailingDisk(lambda: desk.now).record_each(desk.connection, [Publish(note())])


def test_an_empty_batch_is_no_work(desk: Desk):
    assert desk.record() == Recorded([], {}, {})


# The inbox


def test_reading_counts_down_once(desk: Desk):
    desk.record(Publish(note()), Publish(note()))
    assert desk.do(MarkRead(T, 11, 1)) == Counted(1, 1)
    before = desk.dump()
    assert desk.do(MarkRead(T, 11, 1)) == Counted(1, 1)
    assert desk.dump() == before
    assert json.loads(desk.announced[-1].body) == {"notificationIds": [1], "readAt": MORNING_TEXT}
    assert desk.rows("SELECT is_read, read_at, read_seq FROM notifications WHERE id = 1") == [(1, MORNING_TEXT, 3)]


def test_reading_all_is_one_change_and_takes_what_came_before_it_in_the_same_batch(desk: Desk):
    desk.publish(note())
    recorded = desk.record(Publish(note()), MarkAllRead(T, 11), Publish(note()))
    assert recorded.outcomes[1] == Counted(0, 0)
    assert [change.name for change in recorded.changes[T]] == [
        "notification:new",
        "notification:read",
        "notification:new",
    ]
    assert json.loads(recorded.changes[T][1].body) == {"all": True, "readAt": MORNING_TEXT}
    assert recorded.unread == {(T, 11): 1}
    assert desk.rows("SELECT id, is_read FROM notifications ORDER BY id") == [(1, 1), (2, 1), (3, 0)]


def test_reading_all_when_all_is_read_changes_nothing(desk: Desk):
    desk.publish(note())
    assert desk.do(MarkAllRead(T, 11)) == Counted(0, 0)
    before = desk.dump()
    assert desk.record(MarkAllRead(T, 11), MarkAllRead(T, 99), MarkAllRead(77, 11)) == Recorded(
        [Counted(0, 0)] * 3, {}, {}, ends={T: 2}
    )
    assert desk.dump() == before


def test_deleting_takes_an_unread_one_off_the_count_once(desk: Desk):
    desk.record(Publish(note()), Publish(note()))
    assert desk.do(MarkRead(T, 11, 1)) == Counted(1, 1)
    assert desk.do(Delete(T, 11, 1)) == Counted(1, 1)
    assert desk.do(Delete(T, 11, 2)) == Counted(0, 0)
    before = desk.dump()
    assert desk.do(Delete(T, 11, 2)) == Counted(0, 0)
    assert desk.dump() == before
    assert desk.rows("SELECT removed_seq, removed_at, removed_reason FROM notifications") == [
        (4, MORNING_TEXT, "deleted"),
        (5, MORNING_TEXT, "deleted"),
    ]


def test_two_of_the_same_command_in_one_batch_are_one(desk: Desk):
    desk.record(Publish(note()), Publish(note()))
    recorded = desk.record(MarkRead(T, 11, 1), MarkRead(T, 11, 1), Delete(T, 11, 1), Delete(T, 11, 1))
    assert recorded.outcomes == [Counted(1, 1)] * 4
    assert [change.name for change in recorded.changes[T]] == ["notification:read", "notification:deleted"]


@pytest.mark.parametrize("kind", [MarkRead, Delete])
def test_a_foreign_notification_is_refused_exactly_as_a_missing_one(desk: Desk, kind: type[MarkRead] | type[Delete]):
    desk.record(Publish(note()), Publish(note(12)), Publish(note(20, OTHER)))
    missing = desk.refusal(kind(T, 11, 999))
    for command in (kind(T, 11, 2), kind(T, 11, 3), kind(OTHER, 11, 1), kind(OTHER, 20, 1), kind(T, 20, 3)):
        refused = desk.refusal(command)
        assert (refused.code, refused.message) == (missing.code, missing.message)
    assert missing.code is Code.NOT_FOUND


def test_a_deleted_notification_cannot_be_read(desk: Desk):
    desk.publish(note())
    desk.do(Delete(T, 11, 1))
    assert desk.refusal(MarkRead(T, 11, 1)).code is Code.NOT_FOUND


def test_reading_all_of_a_user_of_another_tenant_reads_nothing(desk: Desk):
    desk.publish(note(20, OTHER))
    desk.publish(note())
    assert desk.do(MarkAllRead(T, 20)) == Counted(0, 0)
    assert desk.one("SELECT unread_count FROM users WHERE id = 20") == 1


def test_a_clock_that_goes_back_does_not_disturb_the_order(desk: Desk):
    desk.publish(note())
    desk.now -= timedelta(days=400)
    desk.publish(note())
    assert [change.offset.seq for change in desk.since(T, 11)] == [1, 2]
