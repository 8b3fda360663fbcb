"""Whatever root does to another user's database, that user can serve it then: each file beside it is the user's."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest

from djactors.inbox import schema
from djactors.store.sqlite.lock import DatabaseLock
from tests.operations.commands import EVERY_COMMAND, run

OWNER, GROUP = 12_345, 54_321
PERSON = ("--tenant", "1", "--user", "7")

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

COMMANDS = {
    "backup": ("../copy.db",),
    "check": (),
    "erase": (*PERSON, "--yes"),
    "export": ("--to", "../moved.db"),
    "import": ("../tenant",),
    "inbox": PERSON,
    "migrate": (),
    "restore": ("../whole.db",),
    "sign-out": PERSON,
}
"""All commands with an installation's database, and their arguments. What serves goes the way of `migrate`."""


@pytest.fixture
def place(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Path]:
    """Makes a database of another user in a folder of that user, behind or not, without a lock file."""
    for path in (own_folder / "whole.db", own_folder / "source.db"):
        schema.apply(path)
    with closing(sqlite3.connect(own_folder / "source.db")) as connection, connection:
        connection.execute(
            "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (1, 'x', '2026-01-01', '2026-01-01')"
        )
    assert run("export", "--json", "tenant", "--tenant", "1", "--database", "source.db").exit_code == 0
    folder = own_folder / "var"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def make(is_behind: bool) -> Path:
        schema.apply("inbox.db")
        with closing(sqlite3.connect("inbox.db")) as connection, connection:
            if is_behind:
                connection.execute("ALTER TABLE nodes DROP COLUMN types")
                connection.execute("DELETE FROM schema_migrations WHERE name > '0014'")
        for path in (folder, *folder.iterdir()):
            os.chown(path, OWNER, GROUP)
        assert os.listdir() == ["inbox.db"]
        return folder

    return make


def test_every_command_with_a_database_is_here() -> None:
    with_database = {
        name
        for name, command in EVERY_COMMAND.items()
        if any(isinstance(option, click.Option) and option.name == "database" for option in command.params)
    }
    assert with_database == {*COMMANDS, "serve", "demo", "outbox"}


@AS_ROOT
@pytest.mark.parametrize("is_behind", [False, True], ids=["current", "behind"])
@pytest.mark.parametrize("command", COMMANDS)
def test_each_file_is_the_owners(place: Callable[[bool], Path], command: str, is_behind: bool) -> None:
    folder = place(is_behind)
    result = run(command, *COMMANDS[command], "--database", "inbox.db")
    found = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()}
    assert found == dict.fromkeys(found, (OWNER, GROUP)), result.output
    if command in ("erase", "migrate", "restore", "sign-out"):
        assert "inbox.db.lock" in found


@AS_ROOT
def test_a_lock_is_given_away_when_it_is_made_and_only_then(place: Callable[[bool], Path], tmp_path: Path) -> None:
    folder = place(False)
    victim = tmp_path / "victim"
    victim.touch()
    lock = folder / "inbox.db.lock"
    # The owner of the folder can put there whatever they like.
    for put in (lock.symlink_to, lock.hardlink_to):
        put(victim)
        with DatabaseLock("inbox.db"):
            pass
        assert victim.stat().st_uid == 0
        lock.unlink()
    with DatabaseLock("inbox.db"):
        assert (lock.stat().st_uid, lock.stat().st_mode & 0o777) == (OWNER, 0o600)
    with DatabaseLock(tmp_path / "none.db"):
        assert (tmp_path / "none.db.lock").stat().st_uid == 0


def test_whoever_is_not_root_gives_nothing_away(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.apply("inbox.db")
    given: list[object] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "fchown", lambda *arguments: given.append(arguments))
    with DatabaseLock("inbox.db"):
        assert given == []
    Path("inbox.db.lock").unlink()
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    # So it is where a server of files takes root for nobody.
    monkeypatch.setattr(os, "fchown", refused)
    with DatabaseLock("inbox.db") as lock:
        assert lock.held
