"""Sessions that had to end, keys that are refused, and a log that is made whole again."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.history.archive import NOBODY, Archive
from tests.history.barred import judge_barred
from tests.history.ledger import Entry, StoredNotification
from tests.history.records import Answered, Barred, Connected, History, Opened, Received, Record, Sent
from tests.history.stored import judge_stored
from tests.history.story import ADA, BOB, NEW, answer, at, entry, ledger, new, publishing

TELLING = Received("js", NEW, new(12), at(2))


def told_after(*between: Record, bar: Barred) -> list[str]:
    """What is found if a session is told of 12, which was posted behind the bar, unless something comes between."""
    records: list[Record] = [
        Opened("js", 1, ADA, "recovery"),
        Connected("js"),
        bar,
        Sent(1, "key-12", {}),
        *between,
        TELLING,
        Answered(1, "key-12", 201, answer(12, ADA, 102)),
    ]
    return [finding.text for finding in judge_barred(History(records))]


def test_a_session_that_had_to_end_is_told_nothing_that_was_posted_later() -> None:
    for bar in (Barred(1, ADA), Barred(1, ADA, "js")):
        assert told_after(bar=bar) == ["was told of 12, which was posted after its session had to end"]
        assert told_after(Connected("js"), bar=bar) == []
    for bar in (Barred(1, BOB), Barred(2, ADA), Barred(1, ADA, "other")):
        assert told_after(bar=bar) == []


def test_what_was_posted_before_may_still_come() -> None:
    records = [
        Opened("js", 1, ADA, "recovery"),
        Connected("js"),
        Sent(1, "key-12", {}),
        Barred(1, ADA),
        TELLING,
        Answered(1, "key-12", 201, answer(12, ADA, 102)),
    ]
    assert list(judge_barred(History(records))) == []


def test_a_key_of_ones_own_is_never_refused_as_used() -> None:
    refusal = {"error": {"code": "idempotency_key_reused", "message": "…"}}
    history = History([*publishing(), Sent(1, "mine", {}), Answered(1, "mine", 422, refusal)])
    [finding] = judge_stored(history, [ledger()])
    assert finding.who == "mine"


def test_an_archive_gives_back_what_was_purged_and_nothing_of_another_past() -> None:
    archive = Archive()
    lost = entry(1, 2, ADA, NEW, new(12), past=1)
    for each in (entry(1, 1, ADA, NEW, new(11)), lost):
        archive.entries[1, each.seq] = each
    archive.notifications = {
        11: StoredNotification(11, 1, ADA, 101, "plain", "number 11", 1, removed_seq=2),
        13: StoredNotification(13, 1, ADA, 103, "plain", "number 13", 2),
    }
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE tenants (id, oldest_seq, oldest_mark)")
        connection.execute("INSERT INTO tenants VALUES (1, 2, 77)")
        whole, rows = archive.complete(connection, [entry(1, 3, ADA, NEW, new(14))], [], {1: 2})
    # The change with which the log ends was never seen: an erasure has purged it in its own commit.
    assert [(each.seq, each.user_id) for each in whole] == [(1, ADA), (2, NOBODY), (3, ADA)]
    assert whole[1] == Entry(1, 2, NOBODY, "notification:deleted", {"notificationIds": []}, 77)
    assert [row.id for row in rows] == [11]
