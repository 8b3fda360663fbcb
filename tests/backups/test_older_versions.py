"""Files of older versions: every command that reads one knows what was there then, and what would be lost is said."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from djactors.inbox import schema
from djactors.operations import restoring
from djactors.operations.restoring import NewerError, lines_of, restore
from tests.backups.conftest import execute, no_report
from tests.moving.conftest import text_of
from tests.operations.commands import complaint, run
from tests.upgrades import older

EVERY_VERSION = [migration.number for migration in older.MIGRATIONS]
NEWEST = EVERY_VERSION[-1]
WITH_SIGN_OUTS = 3
WITH_DEACTIVATIONS = 5
BEYOND = 3
"""So many changes the database has more than the copy."""

LOST = f"tenant 1 (Tenant 1): 3 changes, 3 notifications, from {older.AT} to {older.AT}"
SIGN_OUT = f"UPDATE users SET signed_out_at = '{older.LATER}' WHERE tenant_id = 1 AND id = 7"
DEACTIVATION = f"UPDATE users SET deactivated_at = '{older.LATER}' WHERE tenant_id = 1 AND id = 8"

PAIRS = [
    *(pytest.param(number, NEWEST, id=f"copy-of-{number:04}") for number in EVERY_VERSION),
    *(pytest.param(NEWEST, number, id=f"database-of-{number:04}") for number in older.OUTDATED),
]
"""The versions of a copy and of the database whose place it takes."""


def make(path: Path, number: int, *, lacks: int = 0) -> Path:
    """A file of a version, whose log lacks the last few changes."""
    older.make(path, number)
    for statement in (
        f"DELETE FROM changes WHERE seq > {older.NOTES - lacks}",
        f"DELETE FROM notifications WHERE seq > {older.NOTES - lacks}",
    ):
        execute(path, statement)
    return path


@pytest.mark.parametrize(("of_copy", "of_database"), PAIRS)
def test_what_would_be_lost_is_said_whatever_versions_the_two_are_of(
    tmp_path: Path, of_copy: int, of_database: int
) -> None:
    copy = make(tmp_path / "copy.db", of_copy, lacks=BEYOND)
    database = make(tmp_path / "inbox.db", of_database)
    before = text_of(database)
    result = run("restore", str(copy), "--database", str(database))
    assert "so it was left as it is: to lose that, say --over-newer" in complaint(result)
    assert result.stdout.splitlines() == ["this would be lost:", f"  {LOST}"]
    assert text_of(database) == before
    assert run("restore", str(copy), "--database", str(database), "--over-newer").exit_code == 0
    assert schema.apply(database) == schema.names()[of_copy:]


@pytest.mark.parametrize(("of_copy", "of_database"), PAIRS)
def test_a_copy_that_has_all_is_put_back_whatever_versions_the_two_are_of(
    tmp_path: Path, of_copy: int, of_database: int
) -> None:
    copy = make(tmp_path / "copy.db", of_copy)
    database = make(tmp_path / "inbox.db", of_database, lacks=BEYOND)
    assert lines_of(restore(copy, database, no_report).difference) == []


@pytest.mark.parametrize(("of_copy", "of_database"), PAIRS)
def test_a_sign_out_is_said_that_an_older_copy_cannot_have(tmp_path: Path, of_copy: int, of_database: int) -> None:
    copy = make(tmp_path / "copy.db", of_copy)
    database = make(tmp_path / "inbox.db", of_database)
    ended = 0
    for since, statement in ((WITH_SIGN_OUTS, SIGN_OUT), (WITH_DEACTIVATIONS, DEACTIVATION)):
        if of_database >= since:
            execute(database, statement)
            ended += 1
    if not ended:
        assert lines_of(restore(copy, database, no_report).difference) == []
        return
    with pytest.raises(NewerError) as refused:
        restore(copy, database, no_report)
    assert refused.value.difference.reopened == ended


@pytest.mark.parametrize("number", EVERY_VERSION)
def test_an_erasure_is_said_whatever_version_the_copy_is_of(tmp_path: Path, number: int) -> None:
    copy = make(tmp_path / "copy.db", number)
    database = make(tmp_path / "inbox.db", NEWEST)
    # The answers of these files are no JSON, in which an erasure looks for names.
    execute(database, "UPDATE domain_events SET answer = NULL")
    erased = run("erase", "--tenant", "1", "--user", "2", "--no-overwrite", "--yes", "--database", str(database))
    assert erased.exit_code == 0, erased.output
    difference = restore(copy, database, no_report, over_newer=True).difference
    assert (difference.erased, difference.reopened) == (((1, 2),), 0)


@pytest.mark.parametrize("number", older.OUTDATED)
@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("backup", "copy.db"),
        ("restore", "other.db", "--over-newer"),
        ("export", "--to", "moved.db"),
        ("export", "--json", "tenant", "--tenant", "1"),
        ("export", "--json", "person", "--tenant", "1", "--user", "2"),
        ("import", "folder"),
        ("inbox", "--tenant", "1", "--user", "2"),
        ("sign-out", "--tenant", "1", "--user", "2"),
        ("erase", "--tenant", "1", "--user", "2", "--yes"),
        ("migrate", "--check"),
    ],
    ids=" ".join,
)
def test_no_command_looks_for_what_a_version_did_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, arguments: Sequence[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("inbox.db"), number)
    make(Path("other.db"), number)
    result = run(*arguments, "--database", "inbox.db")
    assert "no such" not in result.output
    if arguments[0] in ("backup", "restore"):
        assert result.exit_code == 0, result.output
        assert f"2 tenants, {older.NOTES} changes" in result.stdout
    else:
        assert result.exit_code == 1
        assert "`djactors migrate --database inbox.db`" in result.output or arguments[0] in ("import", "migrate")


def test_what_cannot_be_told_may_be_a_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it comes that it cannot be told: here a statement looks for a column that nobody has."""
    copy, database = make(tmp_path / "copy.db", NEWEST), make(tmp_path / "inbox.db", NEWEST)
    before = text_of(database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE changes RENAME COLUMN mark TO stamp")
        connection.commit()
    renamed = text_of(database)
    said = complaint(run("restore", str(copy), "--database", str(database)))
    assert said.startswith(f"djactors: what {database} has and {copy} lacks cannot be told (")
    assert said.endswith(
        f"so it was left as it is: to put the copy in its place all the same, say --over-newer; {database} then stays "
        "under another name"
    )
    assert text_of(database) == renamed
    done = restoring.restore(copy, database, no_report, over_newer=True)
    assert lines_of(done.difference)[0].startswith("what is lost cannot be told: ")
    assert text_of(database) == before
    assert done.replaced is not None
    assert text_of(done.replaced) == renamed
