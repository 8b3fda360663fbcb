"""The same commands on SQLite and on PostgreSQL come to the same: outcomes, changes, pages, and everything stored.

Where ids have no gaps, all of it is the same to the last byte. Where PostgreSQL fetches ids in blocks, they have gaps,
and ids are compared by the order in which they were given out.
"""

from __future__ import annotations

import random
import re
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from djactors.domain.commands import Command, MarkSeen, NoteRoom, OneNotification, Outcome, Publish, Published, Recorded
from djactors.domain.errors import Refused
from djactors.domain.events import JobCreated
from djactors.domain.limits import Limits
from djactors.inbox import history, job_lists, pages, people, reading, sharing, threads
from djactors.inbox.recorder import Recorder
from djactors.store.sqlite.connection import SqliteConnection
from tests.engines import TABLES, dump, empty, open_connection
from tests.inbox.anything import JOBS, TENANTS, USERS, Anything
from tests.inbox.desk import Desk

BATCHES = 150
"""Commits of one seed: some 600 commands."""

POISON = Publish(JobCreated(tenant_id=1, title="x", requester_id=1, project_id=2**70), decoded=True)
"""Neither engine holds such a number, and this one claims to have been checked: it takes its whole batch apart."""


@pytest.fixture
def desks(path: Path, migrated_url: str) -> Iterator[tuple[Desk, Desk]]:
    """A desk on SQLite and one on PostgreSQL."""
    empty(migrated_url)
    with (
        closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as ours,
        open_connection(migrated_url) as theirs,
    ):
        ours.execute("PRAGMA foreign_keys = ON")
        # Each commit goes to the disk otherwise, and nobody reads it after the test.
        ours.execute("PRAGMA synchronous = OFF")
        yield Desk(ours), Desk(theirs)


def ids_of(desk: Desk, table: str = "notifications") -> list[int]:
    return [id_ for (id_,) in desk.rows(f"SELECT id FROM {table} ORDER BY id")]


@pytest.mark.parametrize("seed", range(4))
def test_without_gaps_everything_is_the_same(
    desks: tuple[Desk, Desk], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(sharing, "FIRST_BLOCK", 1)
    monkeypatch.setattr(sharing, "LAST_BLOCK", 1)
    monkeypatch.setattr(sharing.Ids, "expect", _exactly)
    monkeypatch.setattr(reading, "READ_SLICE", 3)
    one, other = desks
    dice = random.Random(seed)
    limits = Limits(daily_limit=dice.choice((2, 6)), collapse_bursts=seed % 2 == 1)
    for desk in desks:
        desk.recorder = Recorder(lambda: one.now, limits, node="desk")
    anything = Anything(dice, lambda: ids_of(one))
    kinds = set()
    for number in range(BATCHES):
        batch = anything.batch(one.now)
        if dice.random() < 0.1:
            batch.append(NoteRoom(dice.randrange(10**9), dice.choice((None, 0, 10**12)), 1000))
        while batch:
            here, there = one.record(*batch), other.record(*batch)
            assert told(here) == told(there), batch
            kinds |= {type(outcome) for outcome in here.outcomes}
            batch = batch[len(here.outcomes) :]
        if number % 10 == 0:
            assert dump(one.connection) == dump(other.connection)
            assert seen(one, dice.getstate()) == seen(other, dice.getstate())
        one.now += timedelta(hours=dice.choice((0, 0, 0, 1, 5, 40)))
    assert dump(one.connection) == dump(other.connection)
    assert one.fell_back == other.fell_back == 0
    assert len(kinds) >= 5


def _exactly(self: sharing.Ids, wanted: dict[str, int]) -> None:
    """Fetch an id only when it is needed, so that none is thrown away."""
    for kind, number in wanted.items():
        if number == 1 and not self._blocks[kind] and len(wanted) == 1:
            query = f"SELECT nextval('{kind}_ids')"
            self._blocks[kind].append(self._connection.execute(query).fetchone()[0])


def told(recorded: Recorded) -> list[object]:
    """What a commit came to, without what only one engine says."""
    return [
        [_outcome(outcome) for outcome in recorded.outcomes],
        recorded.changes,
        recorded.unread,
        recorded.unseen,
        recorded.accounts,
        recorded.next_alert,
    ]


def _outcome(outcome: Outcome | Exception) -> object:
    return (outcome.code, outcome.message) if isinstance(outcome, Refused) else outcome


def seen(desk: Desk, state: Any) -> list[object]:
    """What people read, some of them."""
    dice = random.Random()
    dice.setstate(state)
    connection = desk.connection
    found: list[object] = []
    for tenant_id in TENANTS:
        user_id, job_id = dice.choice(USERS), dice.choice(JOBS)
        lists = pages.ALL, pages.Wanted("archived"), pages.Wanted("snoozed"), pages.Wanted(words=("l",))
        whole = {"tenant_id": tenant_id, "before": None, "limit": 50}
        found += [pages.page(connection, tenant_id, user_id, limit=7, wanted=wanted) for wanted in lists]
        found += [pages.page(connection, tenant_id, user_id, limit=7, wanted=pages.Wanted(unread_only=True))]
        found += [job_lists.page(connection, assignee_id=None, status=None, **whole)]
        found += [job_lists.suppressions(connection, user_id=user_id, **whole)]
        found += [threads.page(connection, job_id=job_id, **whole)]
        found += [people.page(connection, query=query, now=0, **whole) for query in ("", "p", "ång")]
        try:
            found.append(history.inbox_at(connection, tenant_id, user_id, None))
        except history.OutOfReachError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("seed", range(4, 8))
def test_with_gaps_everything_is_the_same_but_for_the_ids(desks: tuple[Desk, Desk], seed: int) -> None:
    one, other = desks
    dice = random.Random(seed)
    for desk in desks:
        desk.recorder = Recorder(lambda: one.now, Limits(daily_limit=6), node="desk")
    maps = Maps(one, other)
    anything = Anything(dice, lambda: maps.stored("notifications"))
    for number in range(BATCHES):
        batch = anything.batch(one.now)
        if dice.random() < 0.1:
            batch.insert(dice.randrange(len(batch) + 1), POISON)
        here, there = one.record(*batch), other.record(*[maps.translated(command) for command in batch])
        maps.note()
        assert [_kind(outcome) for outcome in here.outcomes] == [_kind(outcome) for outcome in there.outcomes]
        assert (here.unread, here.unseen) == (there.unread, there.unseen)
        assert _shape(here) == _shape(there)
        if number % 15 == 0:
            maps.check()
        one.now += timedelta(hours=dice.choice((0, 0, 0, 1, 5, 40)))
    maps.check()
    assert one.fell_back == other.fell_back > 0


def _kind(outcome: Outcome | Exception) -> object:
    match outcome:
        case Refused():
            return outcome.code
        case Published():
            return outcome.repeated, outcome.notified, outcome.suppressed
        case Exception():
            return "failed"
        case _:
            return outcome


def _shape(recorded: Recorded) -> list[tuple[int, int | None, str]]:
    return [(c.offset.seq, c.user_id, c.name) for changes in recorded.changes.values() for c in changes]


class Maps:
    """Which id on PostgreSQL stands for which one on SQLite: both give them out in the same order."""

    KINDS = ("notifications", "domain_events", "suppressions", "job_comments")

    def __init__(self, one: Desk, other: Desk) -> None:
        self._one = one
        self._other = other
        self._here: dict[str, list[int]] = {kind: [] for kind in self.KINDS}
        self._there: dict[str, list[int]] = {kind: [] for kind in self.KINDS}

    def note(self) -> None:
        """Take in what was stored last. Nothing is purged in the commit in which it comes."""
        for kind in self.KINDS:
            for desk, ids in ((self._one, self._here[kind]), (self._other, self._there[kind])):
                query = f"SELECT id FROM {kind} WHERE id > ? ORDER BY id"
                ids += [id_ for (id_,) in desk.rows(query, ids[-1] if ids else 0)]
            assert len(self._here[kind]) == len(self._there[kind]), kind

    def stored(self, kind: str) -> list[int]:
        return self._here[kind]

    def translated(self, command: Command) -> Command:
        """A command for SQLite as PostgreSQL must be told it."""
        ids = dict(zip(self._here["notifications"], self._there["notifications"], strict=True))
        match command:
            case OneNotification(notification_id=id_):
                return _with(command, notification_id=ids[id_])
            case MarkSeen(up_to=up_to) if up_to is not None:
                return _with(command, up_to=ids[up_to])
            case _:
                return command

    def check(self) -> None:
        """Both have stored the same."""
        for table, columns in TABLES.items():
            kept = [column for column in columns if column not in ("mark", "oldest_mark")]
            query = f"SELECT {', '.join(kept)} FROM {table}"
            here = sorted(str(self._row(table, kept, row, self._here)) for row in self._one.rows(query))
            there = sorted(str(self._row(table, kept, row, self._there)) for row in self._other.rows(query))
            assert (table, here) == (table, there)

    def _row(self, table: str, columns: list[str], row: tuple[Any, ...], ids: dict[str, list[int]]) -> list[object]:
        return [self._value(table, column, value, ids) for column, value in zip(columns, row, strict=True)]

    def _value(self, table: str, column: str, value: object, ids: dict[str, list[int]]) -> object:
        kind = table if column == "id" and table in self.KINDS else _REFERS.get(column)
        if isinstance(value, int) and kind is not None:
            return bisect_left(ids[kind], value)
        if isinstance(value, str) and column in ("data", "answer"):
            return _IN_JSON.sub("#", value)
        return int(value) if isinstance(value, bool) else value


_REFERS = {
    "notification_id": "notifications",
    "replaces": "notifications",
    "seen_id": "notifications",
    "summary_id": "notifications",
    "event_id": "domain_events",
    "comment_id": "job_comments",
}
_IN_JSON = re.compile(r'"(?:id|upTo|eventId|commentId|replaces)":\d+|"notificationIds":\[[\d,]*\]')
"""The ids in an answer or in the body of a change."""


def _with(command: Any, **fields: int) -> Any:
    return msgspec.structs.replace(command, **fields)
