"""The checker finds nothing in a good history, and each kind of fault in a bad one, under its rule."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from djactors.domain.commands import Delete, MarkAllRead, MarkRead, Publish
from djactors.domain.events import CommentAdded, JobApproved, JobCreated, JobSubmitted, NotificationRequested
from djactors.inbox import schema
from djactors.inbox.recorder import Recorder
from djactors.store.sqlite.connection import SqliteConnection
from tests.history import History, Ledger, judge, report
from tests.history.chain import judge_marks
from tests.history.ledger import StoredComment, StoredEvent, StoredNotification
from tests.history.records import (
    Acknowledged,
    Answered,
    Commanded,
    Connected,
    Marked,
    Opened,
    Paged,
    Received,
    Record,
    Reloaded,
    Sent,
)
from tests.history.stored import judge_log
from tests.history.story import (
    ADA,
    BOB,
    CAROL,
    COUNT,
    ENTRIES,
    EVENTS,
    MARKER,
    NEW,
    READ,
    RESET,
    ROWS,
    UPDATED,
    answer,
    at,
    counted,
    entry,
    ledger,
    new,
    polling_device,
    publishing,
    received,
    since_device,
    stock_device,
    story,
)

Change = Callable[[list[Record]], None]

COMMENT = StoredComment(31, 1, 5, BOB, "words", "2026-01-27T10:30:00.000000Z", (ADA,))
TOLD_COMMENT = {
    "id": 31,
    "jobId": 5,
    "authorId": BOB,
    "authorName": "Bob",
    "text": "words",
    "mentions": [{"id": ADA, "name": "Ada"}],
    "createdAt": "2026-01-27T10:30:00.000000Z",
}


def findings(history: History, **stored: object) -> list[tuple[str, str]]:
    return [(finding.rule, finding.text) for finding in judge(history, ledger(**stored))]  # type: ignore[arg-type]


def assert_found(history: History, rule: str, text: str, **stored: object) -> None:
    found = findings(history, **stored)
    assert any(rule == its_rule and text in its_text for its_rule, its_text in found), found


def changed(device: Callable[[], list[Record]], change: Change) -> History:
    """The story of one device, told differently."""

    def told() -> list[Record]:
        records = device()
        change(records)
        return records

    return story(told)


def without(*places: int) -> Change:
    def change(records: list[Record]) -> None:
        for place in sorted(places, reverse=True):
            del records[place]

    return change


def with_(place: int, *records_: Record) -> Change:
    def change(records: list[Record]) -> None:
        records[place:place] = records_

    return change


def instead(place: int, record: Record) -> Change:
    def change(records: list[Record]) -> None:
        records[place] = record

    return change


def test_a_good_history_has_no_findings() -> None:
    assert findings(story()) == []


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    story().save(tmp_path / "history.jsonl")
    assert History.load(tmp_path / "history.jsonl").records == story().records


def test_a_report_names_rule_and_device() -> None:
    text = report(judge(changed(stock_device, without(8)), ledger()))
    assert "[applied once] js (user 1): " in text


def test_a_record_of_a_device_that_was_never_opened_is_a_broken_history() -> None:
    with pytest.raises(ValueError, match="never opened"):
        findings(changed(stock_device, without(0)))


class TestStoredOnce:
    def test_an_acknowledged_event_is_missing(self) -> None:
        assert_found(story(), "stored once", "acknowledged and is stored 0 times", events=EVENTS[1:])

    def test_an_acknowledged_event_is_stored_twice(self) -> None:
        twice = [*EVENTS, msgspec.structs.replace(EVENTS[0], id=199)]
        assert_found(story(), "stored once", "acknowledged and is stored 2 times", events=twice)

    def test_an_event_that_nobody_heard_back_of_is_stored_twice(self) -> None:
        history = story()
        history.add(Sent(1, "key-x", {"type": "job.created"}))
        lost = [StoredEvent(id_, 1, "key-x", {}) for id_ in (190, 191)]
        assert findings(history, events=[*EVENTS, lost[0]]) == []
        assert_found(history, "stored once", "is stored 2 times", events=[*EVENTS, *lost])

    def test_an_event_is_stored_that_nobody_sent(self) -> None:
        strange = [*EVENTS, StoredEvent(199, 1, "key-99", {})]
        assert_found(story(), "stored once", "nobody sent it", events=strange)

    def test_a_retry_gets_another_answer(self) -> None:
        history = story()
        history.add(Answered(1, "key-11", 200, EVENTS[0].answer))
        assert findings(history) == []
        history.add(Answered(1, "key-11", 200, answer(11, ADA, 999)))
        assert_found(history, "stored once", "stored with it is")

    def test_a_retry_is_taken_for_a_new_event(self) -> None:
        history = story()
        history.add(Answered(1, "key-11", 201, EVENTS[0].answer))
        assert_found(history, "stored once", "201 more than once")

    def test_a_refused_event_is_stored(self) -> None:
        history = story()
        history.add(Sent(1, "key-x", {}))
        history.add(Answered(1, "key-x", 409, {"error": {}}))
        assert findings(history) == []
        assert_found(history, "stored once", "answered [409]", events=[*EVENTS, StoredEvent(190, 1, "key-x", {})])

    def test_an_answer_names_a_notification_that_is_not_there(self) -> None:
        assert_found(story(), "stored once", "names the notifications [11], stored are []", rows=ROWS[1:])

    def test_a_notification_went_to_somebody_else(self) -> None:
        rows = [msgspec.structs.replace(ROWS[0], user_id=BOB), *ROWS[1:]]
        assert_found(story(), "stored once", "was answered as", rows=rows)

    def test_a_notification_says_something_else_than_was_asked_for(self) -> None:
        rows = [msgspec.structs.replace(ROWS[0], title="another"), *ROWS[1:]]
        assert_found(story(), "stored once", "asked for", rows=rows)

    def test_the_marker_was_never_stored(self) -> None:
        entries = [*ENTRIES[:6], entry(1, 7, ADA, NEW, new(99)), ENTRIES[7]]
        assert_found(story(), "stored once", f"notification {MARKER} is not in the log", entries=entries)


class TestLog:
    def test_a_number_is_missing(self) -> None:
        assert_found(story(), "log", "gaps, repeats or strays at [3]", entries=ENTRIES[:2] + ENTRIES[3:])

    def test_a_number_is_there_twice(self) -> None:
        assert_found(story(), "log", "gaps, repeats or strays at [3]", entries=[*ENTRIES[:3], *ENTRIES[2:]])

    def test_a_row_tells_another_story_than_the_log(self) -> None:
        rows = [msgspec.structs.replace(ROWS[0], read_seq=None), *ROWS[1:]]
        assert_found(story(), "log", "its row says (1, None, None), the log (1, 5, None)", rows=rows)

    def test_the_log_brings_a_notification_that_has_no_row(self) -> None:
        assert_found(story(), "log", "has no row", rows=ROWS[1:])

    def test_read_all_reads_what_is_in_the_inbox(self) -> None:
        entries = [*ENTRIES[:4], entry(1, 5, ADA, READ, {"all": True}), *ENTRIES[5:]]
        rows = [ROWS[0], ROWS[1], msgspec.structs.replace(ROWS[2], read_seq=5), *ROWS[3:]]
        assert findings(History(publishing()), entries=entries, rows=rows) == []
        assert_found(History(publishing()), "log", "its row says", entries=entries)

    @pytest.mark.parametrize(
        ("stored", "finding"),
        [
            ([COMMENT], None),
            ([], "is in the log of tenant 1, but in no thread"),
            ([msgspec.structs.replace(COMMENT, text="other words")], "its row says"),
            ([msgspec.structs.replace(COMMENT, mentions=())], "its row says"),
            ([msgspec.structs.replace(COMMENT, tenant_id=2)], "the log []"),
            ([COMMENT, msgspec.structs.replace(COMMENT, id=32)], "the log []"),
        ],
    )
    def test_a_comment_is_told_as_it_is_stored(self, stored: list[StoredComment], finding: str | None) -> None:
        entries = [*ENTRIES[:2], entry(1, 3, None, "comment:added", {"comment": TOLD_COMMENT}), *ENTRIES[3:]]
        found = findings(History(publishing()), entries=entries, comments=stored)
        assert (found == []) if finding is None else any(finding in text for rule, text in found if rule == "log")

    def test_a_comment_is_told_twice(self) -> None:
        told = [entry(1, seq, None, "comment:added", {"comment": TOLD_COMMENT}) for seq in (3, 8)]
        entries = [*ENTRIES[:2], told[0], *ENTRIES[3:7], told[1], *ENTRIES[7:]]
        assert_found(History(publishing()), "log", "its row says", entries=entries, comments=[COMMENT])

    def test_the_stored_count_is_not_that_of_the_rows(self) -> None:
        unread = {(1, ADA): 2}
        assert_found(story(), "counts", "the stored count is 2, unread rows are 1", unread=unread)


class TestAppliedOnce:
    @pytest.mark.parametrize("place", [4, 6, 8, 9], ids=["live", "before the cut", "recovered", "recovered later"])
    def test_a_change_is_skipped(self, place: int) -> None:
        assert_found(changed(stock_device, without(place)), "applied once", "skips")

    def test_a_change_is_skipped_without_offsets(self) -> None:
        assert_found(changed(since_device, without(8)), "applied once", "skips 4 notification:new")

    def test_a_change_is_skipped_by_a_page(self) -> None:
        def change(records: list[Record]) -> None:
            page = records[3]
            assert isinstance(page, Paged)
            records[3] = msgspec.structs.replace(page, items=page.items[:1] + page.items[2:])

        assert_found(changed(polling_device, change), "applied once", "skips 5 notification:read")

    def test_a_page_ends_behind_what_it_left_out(self) -> None:
        def change(records: list[Record]) -> None:
            page = records[3]
            assert isinstance(page, Paged)
            records[3] = msgspec.structs.replace(page, items=page.items[:-1])

        assert_found(changed(polling_device, change), "applied once", "a page's end at 7 skips 7")

    def test_the_end_is_missing(self) -> None:
        assert_found(changed(stock_device, without(13, 14)), "applied once", "ends at 6, without 7")

    def test_a_tenants_change_did_not_reach_somebody(self) -> None:
        assert_found(changed(stock_device, without(6)), "applied once", f"skips 3 {UPDATED}")

    def test_a_change_says_something_else_than_the_log(self) -> None:
        odd = Received("js", NEW, new(13) | {"title": "odd"}, at(4))
        assert_found(changed(stock_device, instead(8, odd)), "applied once", "the log has")

    def test_a_change_is_made_up(self) -> None:
        made_up = Received("py", NEW, new(99))
        assert_found(changed(since_device, with_(5, made_up)), "applied once", "the log has")

    def test_an_unrecovered_client_never_reloads(self) -> None:
        assert_found(changed(stock_device, instead(7, Connected("js"))), "applied once", "never loaded its inbox")

    def test_a_client_that_was_reset_never_reloads(self) -> None:
        reset = Received("js", RESET, {"offset": at(3)}, at(3))
        assert_found(changed(stock_device, with_(8, reset)), "applied once", "never loaded its inbox")

    def test_a_client_that_was_reset_and_reloads_is_fine(self) -> None:
        reset = Received("js", RESET, {"offset": at(5)}, at(5))
        reloaded = Reloaded("js", at(5), 1, [(13, False), (11, True)], True)

        def change(records: list[Record]) -> None:
            records[7:10] = [Connected("js"), reset, reloaded]

        assert findings(changed(stock_device, change)) == []

    def test_what_comes_while_the_list_is_loaded_is_applied_behind_it(self) -> None:
        """The list is of an earlier moment than what has come meanwhile."""

        def change(records: list[Record]) -> None:
            records.append(records.pop(3))

        assert findings(changed(stock_device, change)) == []

    def test_a_list_ends_before_the_changes_begin(self) -> None:
        def change(records: list[Record]) -> None:
            records[7:10] = [Connected("js"), counted(1, 5), Reloaded("js", at(1), 1, [(11, False)], True)]

        assert_found(changed(stock_device, change), "applied once", "its list ends at 1, without 3")

    def test_a_list_differs_from_the_inbox_of_its_moment(self) -> None:
        odd = Reloaded("http", at(7), 1, [(MARKER, False), (11, False)], True)
        assert_found(changed(polling_device, instead(4, odd)), "applied once", "its list at 7 differs")

    def test_a_page_of_a_longer_list_is_its_beginning(self) -> None:
        page = Reloaded("http", at(7), 1, [(MARKER, False)], complete=False)
        assert findings(changed(polling_device, instead(4, page))) == []
        cut = msgspec.structs.replace(page, complete=True)
        assert_found(changed(polling_device, instead(4, cut)), "applied once", "its list at 7 differs")

    def test_a_client_without_offsets_connects_without_since(self) -> None:
        history = changed(since_device, instead(2, Connected("py")))
        assert_found(history, "applied once", "without `since`")

    def test_a_client_resumes_behind_what_it_has(self) -> None:
        assert_found(changed(since_device, instead(6, Connected("py", since=at(5)))), "applied once", "resumed at 5")

    def test_a_client_that_recovers_with_its_pid_alone_goes_on_behind_its_list(self) -> None:
        """It was cut off between the answer to its CONNECT and the first event."""

        def told() -> list[Record]:
            return [
                Opened("js", 1, ADA, "recovery"),
                Connected("js"),
                Reloaded("js", at(1), 1, [(11, False)], True),
                Connected("js", recovered=True),
                *(received(seq) for seq in (3, 4, 5, 6, 7)),
                counted(1, 7),
            ]

        assert findings(story(told)) == []
        assert_found(changed(told, without(4)), "applied once", "was never applied")


class TestReceivedOnce:
    def test_a_recovered_client_is_given_what_it_has(self) -> None:
        assert_found(changed(stock_device, with_(8, received(3))), "received once", "at 3 came again")

    def test_a_change_comes_twice_on_one_connection(self) -> None:
        assert_found(changed(stock_device, with_(9, received(4))), "received once", "at 4 came again")

    def test_changes_come_out_of_order(self) -> None:
        def change(records: list[Record]) -> None:
            records[8], records[9] = records[9], records[8]

        assert_found(changed(stock_device, change), "received once", "at 4 came again, or late, behind 5")

    def test_a_change_comes_twice_without_offsets(self) -> None:
        twice = received(3, device="py", numbered=False)
        assert_found(changed(since_device, with_(5, twice)), "received once", "at 3 came again")

    def test_what_a_client_resumes_behind_is_dropped_by_it(self) -> None:
        """Its own point lies behind what it has had since; it is given that once more, and knows it."""
        assert findings(story(since_device)) == []


class TestOffsets:
    def test_a_count_carries_an_offset_behind_the_last_one(self) -> None:
        assert_found(changed(stock_device, with_(9, counted(1, 3))), "offsets", "carries 3 behind 4")

    def test_a_count_carries_an_offset_that_skips_a_change(self) -> None:
        """A client that lost its connection now would resume behind a change that it never had."""
        assert_found(changed(stock_device, with_(8, counted(2, 4))), "applied once", "skips 4")

    def test_an_event_has_no_offset(self) -> None:
        assert_found(changed(stock_device, instead(5, counted(1, 1, numbered=False))), "offsets", "without an offset")

    def test_a_client_that_declined_offsets_is_given_one(self) -> None:
        assert_found(changed(since_device, instead(3, counted(1, 1, device="py"))), "offsets", "declined")

    def test_an_offset_is_of_another_database(self) -> None:
        foreign = Received("js", COUNT, {"count": 1}, at(1, past=9))
        assert_found(changed(stock_device, instead(5, foreign)), "offsets", "no offset of")

    def test_a_reset_contradicts_itself(self) -> None:
        reset = Received("js", RESET, {"offset": at(3)}, at(4))
        assert_found(changed(stock_device, with_(8, reset)), "offsets", "names 3 and carries 4")


class TestCounts:
    def test_a_wrong_count_is_shown(self) -> None:
        assert_found(
            changed(stock_device, instead(10, counted(2, 5))), "counts", "was shown 2 at 5, where 1 are unread"
        )

    def test_a_wrong_count_is_shown_without_offsets(self) -> None:
        wrong = counted(3, 7, device="py", numbered=False)
        assert_found(changed(since_device, instead(12, wrong)), "counts", "was shown 3 at 7")

    def test_the_last_count_is_missing(self) -> None:
        assert_found(changed(stock_device, without(14)), "counts", "no count at or behind 7")

    def test_a_list_says_a_wrong_count(self) -> None:
        odd = Reloaded("http", at(7), 4, [(MARKER, False), (11, True)], True)
        assert_found(changed(polling_device, instead(4, odd)), "counts", "its list said 4 at 7")

    def test_an_expiry_lowers_the_count_once_for_all_that_went(self) -> None:
        """It is one change of several notifications; those that were read do not count."""
        entries = [*ENTRIES[:5], entry(1, 6, ADA, "notification:deleted", {"notificationIds": [11, 13]}), *ENTRIES[6:]]
        view = ledger(entries=entries).view(1, ADA)
        assert [view.count_at(seq) for seq in range(8)] == [0, 1, 1, 1, 2, 1, 0, 1]

    def test_an_answer_has_a_count_that_never_was(self) -> None:
        good = Commanded("js", "read", 11, count=1, after=at(4))
        assert findings(changed(stock_device, with_(9, good))) == []
        bad = msgspec.structs.replace(good, count=2, after=at(5))
        assert_found(changed(stock_device, with_(9, bad)), "counts", "was answered 2, which no moment")

    def test_reading_all_leaves_something_unread(self) -> None:
        bad = Commanded("js", "read-all", count=1, after=at(7))
        assert_found(changed(stock_device, with_(9, bad)), "counts", "left 1 unread")

    def test_an_ack_goes_back_behind_what_its_socket_was_told(self) -> None:
        good = Acknowledged("js", 1, 1, at(4))
        assert findings(changed(stock_device, with_(9, good))) == []
        bad = msgspec.structs.replace(good, count=2, unseen=2, told=at(5))
        assert_found(changed(stock_device, with_(9, bad)), "counts", "an ack said 2, which no moment since")


class TestIsolation:
    def test_a_user_is_given_what_is_anothers(self) -> None:
        bobs = Received("js", NEW, new(12), at(2))
        assert_found(changed(stock_device, with_(6, bobs)), "isolation", "is of user 2")

    def test_a_user_is_given_what_is_anothers_without_offsets(self) -> None:
        carols = Received("py", NEW, new(21))
        assert_found(changed(since_device, with_(5, carols)), "isolation", f"is of user {CAROL}")

    def test_a_tenants_change_reaches_another_tenant(self) -> None:
        entries = [*ENTRIES, entry(2, 2, None, UPDATED, {"job": {"id": 9}})]
        stray = Received("js", UPDATED, {"job": {"id": 9}}, at(2))
        assert_found(changed(stock_device, with_(6, stray)), "isolation", "is of tenant 2", entries=entries)

    def test_a_list_has_what_is_anothers(self) -> None:
        odd = Reloaded("http", at(7), 1, [(MARKER, False), (12, False), (11, True)], True)
        assert_found(changed(polling_device, instead(4, odd)), "isolation", "notifications of others: [12]")

    def test_a_command_reaches_another_users_notification(self) -> None:
        history = changed(stock_device, with_(9, Commanded("js", "read", 12, count=1)))
        assert_found(history, "isolation", "read 12: was answered for another user's notification")


class TestCommands:
    def test_an_acknowledged_deletion_left_it_in_the_inbox(self) -> None:
        history = changed(stock_device, with_(9, Commanded("js", "delete", 11, count=1)))
        assert_found(history, "commands", "still in the inbox")

    def test_an_acknowledged_read_left_it_unread(self) -> None:
        history = changed(stock_device, with_(9, Commanded("js", "read", MARKER, count=1)))
        assert_found(history, "commands", "never read")

    def test_something_in_the_inbox_was_not_found(self) -> None:
        gone = Commanded("js", "read", 13, code="not_found")
        assert findings(changed(stock_device, with_(9, gone))) == []
        history = changed(stock_device, with_(9, Commanded("js", "read", 11, code="not_found")))
        assert_found(history, "commands", "was not found, but is in the inbox")


class TestStates:
    """Ada archives 11, sees everything, and 11 comes back from a snooze: changes 8 to 11, behind those of the story."""

    MORE = (
        entry(1, 8, ADA, "notification:unread", {"notificationIds": [11]}),
        entry(1, 9, ADA, "notification:seen", {"upTo": MARKER, "at": "now"}),
        entry(1, 10, ADA, "notification:snoozed", {"notificationIds": [11], "until": "soon"}),
        entry(1, 11, ADA, "notification:unsnoozed", {"notificationIds": [11]}),
        entry(1, 12, ADA, "notification:archived", {"notificationIds": [11]}),
        entry(1, 13, ADA, READ, {"all": True}),
    )
    ENTRIES = (*ENTRIES[:7], *MORE, ENTRIES[7])

    def test_the_counts_and_the_inbox_follow_from_the_log(self) -> None:
        view = ledger(entries=[*self.ENTRIES]).view(1, ADA)
        expected = [(1, 1), (2, 2), (2, 0), (1, 0), (2, 1), (1, 0), (0, 0)]
        assert [view.counts_at(seq) for seq in range(7, 14)] == expected
        assert view.inbox_at(11) == [(MARKER, False), (11, False)]
        assert view.inbox_at(13) == [(MARKER, True)]

    def seen_at(self, seq: int, **data: int) -> History:
        heard = [Received("js", self.ENTRIES[n - 1].event, self.ENTRIES[n - 1].data, at(n)) for n in range(8, seq + 1)]
        return changed(
            stock_device, lambda records: records.extend([*heard, Received("js", COUNT, dict(data), at(seq))])
        )

    def test_a_badge_with_a_wrong_unseen_count(self) -> None:
        for unseen in (1, 2):
            history = self.seen_at(9, count=2, unseen=unseen)
            found = judge(history, ledger(entries=[*self.ENTRIES]))
            assert [each.text for each in found if "unseen" in each.text] != []
        history = self.seen_at(9, count=2, unseen=0)
        assert not [each for each in judge(history, ledger(entries=[*self.ENTRIES])) if "was shown" in each.text]

    @pytest.mark.parametrize("verb", ["read", "archive", "snooze"])
    def test_an_acknowledged_command_left_nothing(self, verb: Any) -> None:
        history = changed(stock_device, with_(9, Commanded("js", verb, MARKER, count=1)))
        assert_found(history, "commands", "was acknowledged, but it was never")

    def test_an_answer_has_an_unseen_count_that_never_was(self) -> None:
        bad = Commanded("js", "read", 11, count=1, unseen=0, after=at(5))
        assert_found(changed(stock_device, with_(9, bad)), "counts", "was answered 1, which no moment")

    def test_the_stored_unseen_count_is_not_the_logs(self) -> None:
        good, bad = ({(1, ADA): count, (1, BOB): 1, (2, CAROL): 1} for count in (1, 0))
        book = ledger()
        for unseen, wrong in ((good, False), (bad, True)):
            book.unseen = unseen
            found = judge(story(), book)
            assert any("the stored unseen count" in each.text for each in found) is wrong


class TestPasts:
    """A copy from behind change 3 was put back; what came then is lost, and the numbers are given anew."""

    LOST_NEW, LOST_READ = new(91), {"notificationIds": [91]}
    LOST = (
        *ENTRIES[:3],
        entry(1, 4, ADA, NEW, LOST_NEW, past=1),
        entry(1, 5, ADA, READ, LOST_READ, past=1),
        ENTRIES[7],
    )
    KNOWS_WHAT_IS_LOST = (
        Opened("js", 1, ADA, "recovery"),
        Connected("js"),
        counted(0, 0),
        Reloaded("js", at(0), 0, [], True),
        received(1),
        counted(1, 1),
        received(3),
        Received("js", NEW, LOST_NEW, at(4, past=1)),
        Received("js", COUNT, {"count": 2}, at(4, past=1)),
    )
    TOLD_TO_RELOAD = (
        Connected("js"),
        Received("js", RESET, {"offset": at(6)}, at(6)),
        counted(0, 6),
        Reloaded("js", at(6), 0, [(11, True)], True),
        received(7),
        counted(1, 7),
    )

    def lost(self) -> Ledger:
        rows = [*ROWS[:2], ROWS[4], StoredNotification(91, 1, ADA, 191, "plain", "number 91", 4, read_seq=5)]
        rows[0] = msgspec.structs.replace(rows[0], read_seq=None)
        event = StoredEvent(191, 1, "key-91", answer(91, ADA, 191))
        unread = {(1, ADA): 1, (1, BOB): 1, (2, CAROL): 1}
        return Ledger(self.LOST, rows, [*EVENTS[:2], event], unread, last={1: 5, 2: 1})

    def found(self, *records: Record) -> list[tuple[str, str]]:
        sent = Sent(1, "key-91", {}), Answered(1, "key-91", 201, answer(91, ADA, 191))
        history = History([*publishing(), *sent, *records, Marked(1, ADA, MARKER)])
        return [(finding.rule, finding.text) for finding in judge(history, ledger(), [self.lost()])]

    def test_a_client_that_knew_what_is_lost_and_was_told_to_reload_is_fine(self) -> None:
        assert self.found(*self.KNOWS_WHAT_IS_LOST, *self.TOLD_TO_RELOAD) == []

    def test_a_client_that_knew_what_is_lost_is_recovered(self) -> None:
        """It never hears of the new change 4."""
        rest = (received(5), counted(1, 5), received(6), counted(0, 6), received(7), counted(1, 7))
        found = self.found(*self.KNOWS_WHAT_IS_LOST, Connected("js", recovered=True), *rest)
        assert any(rule == "pasts" and "which is lost, and goes on" in text for rule, text in found), found

    def test_a_client_that_knew_what_is_lost_is_told_of_a_later_change_on_the_same_connection(self) -> None:
        found = self.found(*self.KNOWS_WHAT_IS_LOST, received(7), counted(1, 7))
        assert any(rule == "pasts" and "which is lost, and goes on" in text for rule, text in found), found

    def test_a_client_that_had_not_come_so_far_goes_on(self) -> None:
        rest = (Connected("js", recovered=True), *(received(seq) for seq in (4, 5, 6, 7)), counted(1, 7))
        assert self.found(*self.KNOWS_WHAT_IS_LOST[:7], *rest) == []

    def test_a_list_that_is_ahead_of_its_session_and_is_lost_is_found_out_by_nobody(self) -> None:
        """Another node answered it than the one with the session. What the session was told is in both pasts."""
        ahead = Reloaded("js", at(4, past=1), 2, [(91, False), (11, False)], True)
        rest = (*(received(seq) for seq in (4, 5, 6, 7)), counted(1, 7))
        assert self.found(*self.KNOWS_WHAT_IS_LOST[:7], ahead, *rest) == []
        skipping = self.found(*self.KNOWS_WHAT_IS_LOST[:7], ahead, *rest[1:])
        assert any(rule == "applied once" and "skips 4" in text for rule, text in skipping), skipping

    def test_what_was_on_its_way_when_its_past_was_lost_comes_behind_another_nodes_list(self) -> None:
        """The session must be reset before it tells of the later past."""
        loaded = Reloaded("js", at(5), 1, [(13, False), (11, True)], True)
        late = Received("js", NEW, self.LOST_NEW, at(4, past=1)), Received("js", COUNT, {"count": 2}, at(4, past=1))
        assert self.found(*self.KNOWS_WHAT_IS_LOST[:7], loaded, *late, *self.TOLD_TO_RELOAD) == []
        found = self.found(*self.KNOWS_WHAT_IS_LOST[:7], loaded, *late, received(7), counted(1, 7))
        assert any(rule == "pasts" and "is told" in text for rule, text in found), found

    def test_a_client_loads_the_new_list_before_it_is_told_to_reload(self) -> None:
        loaded = Reloaded("js", at(5), 1, [(13, False), (11, True)], True)
        assert self.found(*self.KNOWS_WHAT_IS_LOST, loaded, *self.TOLD_TO_RELOAD) == []
        for after in (Connected("js", recovered=True), received(6)):
            found = self.found(*self.KNOWS_WHAT_IS_LOST, loaded, after, *self.TOLD_TO_RELOAD)
            assert any(rule == "pasts" and "lost" in text for rule, text in found), found

    def test_a_client_without_offsets_goes_on_from_what_both_pasts_share(self) -> None:
        told = [
            *since_device()[:5],
            Received("py", NEW, self.LOST_NEW),
            Connected("py", since=at(1)),
            *(received(seq, device="py", numbered=False) for seq in (3, 4, 5, 6, 7)),
            counted(1, 7, device="py", numbered=False),
        ]
        assert self.found(*told) == [], "nobody can know that it applied a change that is lost: it names its list only"

    def test_a_client_without_offsets_loads_its_list_after_it_went_on_from_what_both_pasts_share(self) -> None:
        """What is lost it had from an earlier connection; what this one said is in both pasts."""
        told = [
            *since_device()[:5],
            Received("py", NEW, self.LOST_NEW),
            Connected("py", since=at(1)),
            received(3, device="py", numbered=False),
            Reloaded("py", at(5), 1, [(13, False), (11, True)], True),
            *(received(seq, device="py", numbered=False) for seq in (4, 5, 6, 7)),
            counted(1, 7, device="py", numbered=False),
        ]
        assert self.found(*told) == [], "its socket has nothing to be reset from"

    def test_a_list_that_is_older_than_what_is_lost_is_loaded_on_the_way_back(self) -> None:
        """It ends where both pasts are still the same, before what the socket was told."""
        lost = [
            Opened("py", 1, ADA, "since"),
            Reloaded("py", at(4, past=1), 2, [(91, False), (11, False)], True),
            Connected("py", since=at(4, past=1)),
            Reloaded("py", at(3), 1, [(11, False)], True),
        ]
        back = [
            Connected("py", since=at(3)),
            *(received(seq, device="py", numbered=False) for seq in (4, 5, 6, 7)),
            counted(1, 7, device="py", numbered=False),
        ]
        assert self.found(*lost, *back) == []
        old = [
            Opened("py", 1, ADA, "since"),
            Reloaded("py", at(3), 1, [(11, False)], True),
            Connected("py", since=at(3)),
            Reloaded("py", at(1), 1, [(11, False)], True),
        ]
        found = self.found(*old, *back)
        assert any(rule == "applied once" and "its list ends at 1" in text for rule, text in found), found

    def test_a_client_without_offsets_cannot_tell_pasts_apart_that_told_it_the_same(self) -> None:
        """In what is lost, Bob was told something before Ada was told what she is told again."""
        entries = [*ENTRIES[:3], entry(1, 4, BOB, NEW, new(92), past=1), entry(1, 5, ADA, NEW, new(13), past=1)]
        rows = [msgspec.structs.replace(ROWS[0], read_seq=None), ROWS[1]]
        rows.append(StoredNotification(92, 1, BOB, 192, "plain", "number 92", 4))
        rows.append(msgspec.structs.replace(ROWS[2], seq=5, removed_seq=None))
        lost = Ledger(entries, rows, EVENTS[:2], {(1, ADA): 2, (1, BOB): 2}, last={1: 5})
        told = [
            *since_device()[:3],
            *(received(seq, device="py", numbered=False) for seq in (3, 4, 5, 6, 7)),
            counted(1, 7, device="py", numbered=False),
        ]
        history = History([*publishing(), *told, Marked(1, ADA, MARKER)])
        assert [(finding.rule, finding.text) for finding in judge(history, ledger(), [lost])] == []

    def test_a_client_without_offsets_names_what_is_lost(self) -> None:
        lost = [
            Opened("py", 1, ADA, "since"),
            Reloaded("py", at(4, past=1), 2, [(91, False), (11, False)], True),
            Connected("py", since=at(4, past=1)),
        ]
        reset = [
            Received("py", RESET, {"offset": at(7)}),
            counted(1, 7, device="py", numbered=False),
            Reloaded("py", at(7), 1, [(MARKER, False), (11, True)], True),
        ]
        assert self.found(*lost, *reset) == []
        found = self.found(*lost, received(5, device="py", numbered=False), *reset)
        assert any(rule == "pasts" for rule, _ in found), found

    def test_a_client_without_offsets_was_told_the_same_in_both_pasts_under_other_numbers(self) -> None:
        lost = Ledger(
            [*ENTRIES[:3], entry(1, 4, BOB, NEW, new(92), past=1), entry(1, 5, ADA, NEW, new(13), past=1)],
            [*ROWS[:2]],
            EVENTS[:2],
        )
        told = [
            *since_device()[:3],
            *(received(seq, device="py", numbered=False) for seq in (3, 4)),
            counted(2, 4, device="py", numbered=False),
            *(received(seq, device="py", numbered=False) for seq in (5, 6, 7)),
            counted(1, 7, device="py", numbered=False),
        ]
        found = judge(History([*publishing(), *told, Marked(1, ADA, MARKER)]), ledger(), [lost])
        assert [finding for finding in found if finding.who.startswith("py")] == []

    def test_a_list_that_ends_before_a_reset_is_of_a_later_past(self) -> None:
        """It was told to reload, an older copy was put back once more, and the list is what that one holds."""
        reset = (Connected("js"), Received("js", RESET, {"offset": at(5, past=1)}, at(5, past=1)))
        loaded = Reloaded("js", at(3), 1, [(11, False)], True)
        assert self.found(*self.KNOWS_WHAT_IS_LOST, *reset, loaded, *self.TOLD_TO_RELOAD) == []

    def test_what_is_stored_in_what_is_lost_may_be_refused_afterwards(self) -> None:
        refused = Sent(1, "key-91", {}), Answered(1, "key-91", 409, {})
        assert judge(History([*publishing(), *refused]), ledger(), [self.lost()]) == []

    def test_a_page_after_what_is_lost_is_a_reset_or_wrong(self) -> None:
        lost = [Opened("http", 1, ADA, "polling"), Reloaded("http", at(4, past=1), 2, [(91, False), (11, False)], True)]
        loaded = Reloaded("http", at(7), 1, [(MARKER, False), (11, True)], True)
        reset = Paged("http", at(4, past=1), [], at(7), reset=True)
        assert self.found(*lost, reset, loaded) == []
        page = Paged("http", at(4, past=1), polling_device()[3].items[1:], at(7))  # type: ignore[union-attr]
        assert any(rule == "pasts" for rule, _ in self.found(*lost, page, loaded))

    def test_what_was_acknowledged_before_is_stored_in_what_is_lost(self) -> None:
        history = History([*publishing(), Answered(1, "key-91", 201, answer(91, ADA, 191))])
        assert [finding.rule for finding in judge(history, ledger())] == ["stored once"]
        history.add(Sent(1, "key-91", {}))
        assert judge(history, ledger(), [self.lost()]) == []


class TestMarks:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[sqlite3.Connection]:
        """Changes of every kind, in two tenants, with texts that JSON escapes."""
        path = tmp_path / "inbox.db"
        schema.apply(path)
        with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
            recorder = Recorder(lambda: datetime(2026, 1, 27, tzinfo=UTC))
            created = JobCreated(tenant_id=1, title='"Ä\\/\u2028\x7f', requester_id=1, assignee_id=2, approver_id=3)
            note = NotificationRequested(
                tenant_id=2, user_id=1, notification_type="note", priority="LOW", title="\U0001f600\x1f\b\t",
                data={"b": 1.5e300, "a": [None, "é"]},
            )  # fmt: skip
            comment = CommentAdded(tenant_id=1, job_id=1, actor_id=1, text="\u2028@User 2", mentions=(3,))
            commands = [created, JobSubmitted(tenant_id=1, job_id=1), JobApproved(tenant_id=1, job_id=1), comment, note]
            recorder.record(connection, [Publish(event) for event in commands])
            recorder.record(connection, [MarkRead(1, 2, 1), MarkAllRead(1, 3), Delete(1, 2, 1)])
            yield connection

    def test_every_mark_follows_from_what_is_sent_and_from_the_one_before(self, database: sqlite3.Connection) -> None:
        kinds = {kind for (kind,) in database.execute("SELECT kind FROM changes")}
        assert len(kinds) == 7
        assert list(judge_marks(database)) == []
        ledger = Ledger.read(Path(database.execute("PRAGMA database_list").fetchone()[2]))
        assert ledger.marks == []
        assert [(comment.author_id, comment.mentions) for comment in ledger.comments] == [(1, (2, 3))]
        assert list(judge_log(ledger)) == []

    @pytest.mark.parametrize(
        "damage",
        [
            "UPDATE changes SET mark = mark + 1 WHERE tenant_id = 1 AND seq = 3",
            "UPDATE changes SET data = data || ' ' WHERE tenant_id = 1 AND kind = 'read'",
            "UPDATE notifications SET title = title || '.' WHERE id = 1",
            "UPDATE notifications SET mark = mark + 1 WHERE id = 1",
            "UPDATE notifications SET data = '{\"a\":1}' WHERE tenant_id = 2",
            "UPDATE changes SET user_id = 9 WHERE tenant_id = 2",
            "UPDATE changes SET user_id = NULL WHERE kind = 'deleted'",
            "DELETE FROM changes WHERE tenant_id = 1 AND seq = 3",
            "UPDATE tenants SET oldest_mark = 5",
        ],
    )
    def test_whatever_was_changed_shows(self, database: sqlite3.Connection, damage: str) -> None:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(damage)
        assert {finding.rule for finding in judge_marks(database)} == {"marks"}
