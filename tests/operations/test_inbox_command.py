"""`djactors inbox`: what support staff read, and what they are told where there is nothing to read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from djactors.cli import main
from djactors.domain.commands import Command, Delete, MarkRead, Publish
from djactors.domain.events import NotificationRequested, UserUpserted
from djactors.inbox import schema
from djactors.inbox.recorder import Recorder
from djactors.store.sqlite.connection import SqliteConnection
from djactors.store.sqlite.lock import DatabaseLock
from tests.inbox.desk import MORNING

STAMP = "2026-01-27T10:30:00.000000Z"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["inbox", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def note(title: str) -> Publish:
    return Publish(
        NotificationRequested(tenant_id=1, user_id=11, notification_type="note", priority="HIGH", title=title)
    )


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "inbox.db"
    schema.apply(path)
    commands: list[Command] = [
        Publish(UserUpserted(tenant_id=1, user_id=11, name="Ann", role="user")),
        note("First"),
        note("\x1b[31mSecond"),
        MarkRead(1, 11, 1),
        Delete(1, 11, 2),
    ]
    with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
        for command in commands:
            connection.execute("BEGIN")
            Recorder(lambda: MORNING).record(connection, [command])
            connection.execute("COMMIT")
    return str(path)


def test_the_inbox_is_printed_as_it_is_now(database: str):
    result = run("--tenant", "1", "--user", "11", "--database", database)
    assert result.output.splitlines() == [
        "Ann in Tenant 1 at 4 (now): 0 unread (0 unseen) of 1",
        f"1  {STAMP}  HIGH  note  First  (read {STAMP})",
    ]


def test_the_inbox_is_printed_as_it_was_and_nothing_in_it_drives_the_terminal(database: str):
    result = run("--tenant", "1", "--user", "11", "--at", "2", "--database", database)
    assert result.output.splitlines() == [
        "Ann in Tenant 1 at 2 (newest 4): 2 unread (2 unseen) of 2",
        f"2  {STAMP}  HIGH  note  '\\x1b[31mSecond'  (unread)",
        f"1  {STAMP}  HIGH  note  First  (unread)",
    ]


def test_a_server_at_work_is_not_in_the_way(database: str):
    with DatabaseLock(database):
        assert run("--tenant", "1", "--user", "11", "--database", database).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tenant", "2", "--user", "11"), "--tenant: there is no tenant 2"),
        (("--tenant", "1", "--user", "12"), "--user: tenant 1 has no user 12"),
        (("--tenant", "1", "--user", "11", "--at", "5"), "--at: 5 has not happened yet"),
    ],
)
def test_what_there_is_not_is_one_line_and_exit_1(database: str, arguments: tuple[str, ...], words: str):
    result = run(*arguments, "--database", database)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"djactors: {words}")
    assert len(result.stderr.splitlines()) == 1


def test_a_database_that_is_missing_foreign_or_broken_is_told(tmp_path: Path):
    broken = tmp_path / "broken.db"
    broken.write_text("hello " * 1000)
    for path in (tmp_path / "none.db", broken):
        result = run("--tenant", "1", "--user", "11", "--database", str(path))
        assert result.exit_code == 1
        assert str(path) in result.stderr
    assert not (tmp_path / "none.db").exists()
