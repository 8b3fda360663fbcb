"""Any commands in any order: the recorder against a model that fits on a page."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from djactors.domain.commands import Command, Counted, Delete, MarkAllRead, MarkRead, Publish, Published
from djactors.domain.errors import Code, Refused
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.store.sqlite.connection import SqliteConnection
from tests.engines import broken_references
from tests.inbox.desk import Desk, answer

User = tuple[int, int]
"""Tenant and id: the same number in two tenants is two people."""

USERS: list[User] = [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3)]

POISON = Publish(JobCreated(tenant_id=3, title="x", requester_id=30, project_id=2**70), decoded=True)
"""SQLite holds no such number, and this one claims to have been checked: it takes its whole batch apart."""


class Model:
    """What the inbox should be: a dictionary and a few rules."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[User, str]] = {}
        self.keys: dict[tuple[int, str], tuple[NotificationRequested, int]] = {}
        self.seqs = {1: 0, 2: 0}
        self.next_id = 1

    def unread(self, user: User) -> int:
        return sum(row == (user, "unread") for row in self.rows.values())

    def expect(self, command: Command) -> object:
        """What the command should come to: a code, a count, or the id of the notification that answers it."""
        match command:
            case Publish(event=NotificationRequested() as event, key=key):
                return self._publish(event, key)
            case Publish():
                return "failed"
            case MarkAllRead(tenant_id=tenant_id, user_id=user_id):
                user = tenant_id, user_id
                mine = [id_ for id_, row in self.rows.items() if row == (user, "unread")]
                self.rows.update(dict.fromkeys(mine, (user, "read")))
                self.seqs[tenant_id] += bool(mine)
                return 0
            case MarkRead() | Delete():
                return self._mark(command)

    def _publish(self, event: NotificationRequested, key: str | None) -> object:
        if key is not None and (event.tenant_id, key) in self.keys:
            earlier, id_ = self.keys[event.tenant_id, key]
            return id_ if earlier == event else Code.KEY_REUSED
        id_, self.next_id = self.next_id, self.next_id + 1
        self.rows[id_] = ((event.tenant_id, event.user_id), "unread")
        self.seqs[event.tenant_id] += 1
        if key is not None:
            self.keys[event.tenant_id, key] = (event, id_)
        return id_

    def _mark(self, command: MarkRead | Delete) -> object:
        user = command.tenant_id, command.user_id
        owner, state = self.rows.get(command.notification_id, (None, "gone"))
        if owner != user:
            return Code.NOT_FOUND
        new = "read" if isinstance(command, MarkRead) else "removed"
        if state == "removed" and new == "read":
            return Code.NOT_FOUND
        if (state, new) not in {("read", "read"), ("removed", "removed")}:
            self.rows[command.notification_id] = (user, new)
            self.seqs[command.tenant_id] += 1
        return self.unread(user)


def seen(outcome: object) -> object:
    match outcome:
        case Refused():
            return outcome.code
        case Counted():
            return outcome.count
        case Published():
            return answer(outcome)["notifications"][0]["id"]
        case _:
            return "failed"


_who = st.sampled_from(USERS)
_publish = st.builds(
    lambda who, title, key: Publish(
        NotificationRequested(tenant_id=who[0], user_id=who[1], notification_type="note", priority="LOW", title=title),
        key,
    ),
    _who,
    st.sampled_from("ab"),
    st.sampled_from([None, None, None, "k", "l"]),
)


def _commands(known: int) -> st.SearchStrategy[Command]:
    """Nobody knows a notification's id before its commit, so commands name ids of earlier batches, or none at all."""
    ids = st.integers(1, known) | st.just(10**6) if known else st.just(10**6)
    marks = st.builds(lambda kind, who, id_: kind(*who, id_), st.sampled_from([MarkRead, Delete]), _who, ids)
    return st.one_of(_publish, _publish, marks, marks, st.builds(lambda who: MarkAllRead(*who), _who), st.just(POISON))


@pytest.fixture(scope="module")
def image(migrated: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(migrated)) as connection:
        yield connection


@pytest.mark.sqlite_only("the model counts ids without gaps; test_differential has PostgreSQL do the same as SQLite")
@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_counts_log_and_rows_agree_with_the_model_after_any_commands(image: sqlite3.Connection, data: st.DataObject):
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)) as connection:
        image.backup(connection)
        desk, model = Desk(connection), Model()
        for _ in range(data.draw(st.integers(1, 5), label="batches")):
            batch = data.draw(st.lists(_commands(model.next_id - 1), min_size=1, max_size=6), label="batch")
            before = {user: model.unread(user) for user in USERS}
            expected = [model.expect(command) for command in batch]
            recorded = desk.record(*batch)
            assert [seen(outcome) for outcome in recorded.outcomes] == expected
            assert recorded.unread == {user: model.unread(user) for user in recorded.unread}
            assert {user for user, count in before.items() if model.unread(user) != count} <= recorded.unread.keys()
            _check(desk, model)


def _check(desk: Desk, model: Model) -> None:
    for *user, count in desk.rows("SELECT tenant_id, id, unread_count FROM users"):
        assert count == model.unread((user[0], user[1]))
    stored = {
        id_: ((tenant_id, user_id), "removed" if removed else "read" if is_read else "unread")
        for id_, tenant_id, user_id, is_read, removed in desk.rows(
            "SELECT id, tenant_id, user_id, is_read, removed_seq FROM notifications"
        )
    }
    assert stored == model.rows
    for tenant_id in (1, 2):
        mine = [change for change in desk.announced if change.tenant_id == tenant_id]
        assert [change.offset.seq for change in mine] == list(range(1, model.seqs[tenant_id] + 1))
        for user_id in (1, 2, 3):
            for seq in (0, len(mine) // 2, len(mine)):
                expected = [c for c in mine if c.user_id in (None, user_id) and c.offset.seq > seq]
                assert desk.since(tenant_id, user_id, seq) == expected
    assert broken_references(desk.connection) == []


def test_the_model_is_not_trivial():
    """The strategies reach every outcome that the model knows."""
    model = Model()
    event = NotificationRequested(tenant_id=1, user_id=1, notification_type="note", priority="LOW", title="a")
    assert model.expect(Publish(event, "k")) == 1
    assert model.expect(Publish(event, "k")) == 1
    assert model.expect(Publish(msgspec.structs.replace(event, title="b"), "k")) is Code.KEY_REUSED
    assert model.expect(Publish(msgspec.structs.replace(event, tenant_id=2), "k")) == 2
    assert model.expect(MarkRead(2, 1, 1)) is Code.NOT_FOUND
    assert model.expect(MarkRead(1, 1, 1)) == 0
    assert model.expect(Delete(1, 1, 1)) == 0
    assert model.expect(MarkRead(1, 1, 1)) is Code.NOT_FOUND
    assert model.seqs == {1: 3, 2: 1}
