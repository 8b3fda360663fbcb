"""Every statement on the way of a command or a replay is served by an index, in an empty inbox and in a full one."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from djactors.domain.commands import Command, Delete, MarkRead, Publish
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.inbox import following, jobs, log, mentions, mutes, names, places, reading, recorder, threads, unit, walks
from djactors.store.sqlite.connection import SqliteConnection
from tests.inbox.desk import Desk

pytestmark = pytest.mark.sqlite_only("plans of SQLite")


def _statements(*modules: ModuleType) -> Mapping[str, str]:
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, str) and value.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
    }


HIGHEST = {f"unit.highest of {kind}": sql for kind, sql in unit.SELECT_HIGHEST.items()}


MODULES = unit, following, jobs, recorder, reading, places, mutes, log, walks, names, threads, mentions
STATEMENTS = {**_statements(*MODULES), **HIGHEST}
STATEMENTS.pop("names.LOCK_TENANTS", None)  # for PostgreSQL alone
STATEMENTS.pop("walks.SELECT_WALKS")  # a few rows, all of which are wanted


def fill(desk: Desk) -> None:
    commands: list[Command] = []
    for n in range(300):
        tenant_id = n % 3 + 1
        user_id = tenant_id * 100 + n % 20
        commands.append(
            Publish(
                JobCreated(
                    tenant_id=tenant_id, title="x", requester_id=tenant_id, assignee_id=user_id, watcher_ids=(user_id,)
                ),
                f"key {n}",
            )
        )
        commands += [
            Publish(
                NotificationRequested(
                    tenant_id=tenant_id, user_id=user_id, notification_type="a", priority="LOW", title="x"
                )
            )
        ] * 3
    desk.record(*commands)
    for id_, tenant_id, user_id in desk.rows("SELECT id, tenant_id, user_id FROM notifications WHERE id % 3 = 0"):
        desk.record(MarkRead(tenant_id, user_id, id_) if id_ % 2 else Delete(tenant_id, user_id, id_))


def steps(desk: Desk, sql: str) -> list[str]:
    return [row[3] for row in desk.rows(f"EXPLAIN QUERY PLAN {sql}", *[None] * sql.count("?"))]


@pytest.fixture(scope="module")
def plans(migrated: Path) -> Mapping[str, list[list[str]]]:
    """How each statement runs: in an empty inbox, in a full one, and in a full one with statistics."""
    with closing(sqlite3.connect(migrated)) as source:
        connection = sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)
        source.backup(connection)
    with closing(connection):
        desk = Desk(connection)
        empty = {name: steps(desk, sql) for name, sql in STATEMENTS.items()}
        fill(desk)
        full = {name: steps(desk, sql) for name, sql in STATEMENTS.items()}
        connection.execute("ANALYZE")
        analysed = {name: steps(desk, sql) for name, sql in STATEMENTS.items()}
    return {name: [empty[name], full[name], analysed[name]] for name in STATEMENTS}


@pytest.mark.parametrize("name", sorted(STATEMENTS))
@pytest.mark.parametrize("evil", ["SCAN", "TEMP B-TREE", "AUTOMATIC"])
def test_every_statement_has_its_index(plans: Mapping[str, list[list[str]]], name: str, evil: str):
    assert evil not in str(plans[name])


def test_the_statements_were_found():
    assert {
        "unit.SELECT_TENANT",
        "log.SELECT_OWN",
        "reading.UPDATE_ALL_READ",
        "recorder.SELECT_KEY",
    } <= STATEMENTS.keys()
    assert len(STATEMENTS) >= 20


def test_reading_all_touches_only_what_is_unread(desk: Desk):
    assert "idx_notifications_user_unread" in " ".join(steps(desk, reading.UPDATE_ALL_READ))


def test_what_is_read_as_a_whole_or_counted_walks_only_what_is_unread(desk: Desk):
    for sql in (reading.SELECT_UNREAD_SLICE, reading.SELECT_UNREAD_OF_JOB, reading.COUNT_NEWER):
        assert "idx_notifications_user_unread (tenant_id=? AND user_id=? AND is_read=?" in " ".join(steps(desk, sql))


def test_what_is_due_is_found_among_what_is_snoozed(desk: Desk):
    for sql in (places.SELECT_DUE, places.SELECT_NEXT_DUE):
        assert "idx_notifications_snoozed_until" in " ".join(steps(desk, sql))


def test_a_replay_walks_the_users_changes_in_order(desk: Desk):
    for sql in (log.SELECT_OWN, log.SELECT_SHARED):
        assert "idx_changes_user (<expr>=? AND user_id=? AND seq>?)" in " ".join(steps(desk, sql))
    for sql in (log.SELECT_NEW_UNREAD, log.SELECT_NEW_READ, log.SELECT_NEW_UNREAD_IDS, log.SELECT_NEW_READ_IDS):
        assert "idx_notifications_user_unread (tenant_id=? AND user_id=? AND is_read=? AND id>?" in " ".join(
            steps(desk, sql)
        )
