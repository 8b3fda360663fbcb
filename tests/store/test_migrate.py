"""Each migration is applied once, wholly or not at all, and only to a file that is ours."""

import hashlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlite_utils

from djactors.store import migrate
from djactors.store.errors import MigrationError

ADD_NOTES = (
    "-- Notes; with a semicolon in a comment.\nCREATE TABLE notes (text TEXT);\nINSERT INTO notes VALUES ('a;b');"
)


@contextmanager
def opened(path: Path) -> Iterator[sqlite_utils.Database]:
    with closing(sqlite3.connect(path)) as connection:
        yield sqlite_utils.Database(connection)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The program's own migrations and one more."""
    directory = tmp_path / "migrations"
    directory.mkdir()
    for migration in migrate.read_migrations():
        (directory / migration.name).write_text(migration.sql)
    (directory / f"{len(migrate.read_migrations()) + 1:04}_notes.sql").write_text(ADD_NOTES)
    return directory


@pytest.fixture
def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_new_file_gets_every_migration_once(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    assert migrate.inspect(path, directory) == names
    assert not path.exists()
    now = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)
    assert migrate.apply(path, directory=directory, now=lambda: now) == names
    assert migrate.apply(path, directory=directory) == []
    assert migrate.inspect(path, directory) == []
    with opened(path) as database:
        assert list(database["schema_migrations"].rows) == [
            {
                "name": name,
                "checksum": hashlib.sha256((directory / name).read_bytes()).hexdigest(),
                "applied_at": "2026-01-27T10:30:00.000000Z",
            }
            for name in names
        ]
        assert list(database["notes"].rows) == [{"text": "a;b"}]


def test_an_older_file_gets_what_it_lacks(path: Path, directory: Path, names: list[str]):
    with opened(path) as database:
        assert [migration.name for migration in migrate.pending(database, directory)] == names[-1:]
    assert migrate.apply(path, directory=directory) == names[-1:]


def test_a_new_file_is_its_owners_only_in_wal_mode_and_can_shrink(path: Path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with opened(path) as database:
        assert database.journal_mode == "wal"
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_a_file_that_somebody_else_created_empty_can_shrink_too(tmp_path: Path):
    path = tmp_path / "inbox.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("VACUUM")
    assert path.stat().st_size > 0
    migrate.apply(path)
    with opened(path) as database:
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert database.journal_mode == "wal"


def test_the_first_migration_gives_the_database_its_key(tmp_path: Path):
    path = tmp_path / "inbox.db"
    migrate.apply(path, token_bytes=lambda count: b"\xfb" * count, now=lambda: datetime(2026, 1, 27, tzinfo=UTC))
    with opened(path) as database:
        assert list(database["meta"].rows) == [
            {"id": 1, "pid_key": "fb" * 32, "created_at": "2026-01-27T00:00:00.000000Z"}
        ]


def test_a_migration_killed_half_way_leaves_nothing_and_is_taken_up_again(tmp_path: Path):
    path = tmp_path / "inbox.db"
    # The randomness is asked for inside the first migration, after its tables were made.
    script = (
        "import os, signal, sys\nfrom djactors.store import migrate\n"
        "migrate.apply(sys.argv[1], token_bytes=lambda count: os.kill(os.getpid(), signal.SIGKILL))"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    everything = [migration.name for migration in migrate.read_migrations()]
    assert migrate.inspect(path) == everything
    assert migrate.apply(path) == everything


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE TABLE notes (text TEXT); INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
        ("CREATE TABLE notes (text TEXT); COMMIT;", "take its COMMIT out"),
        ("CREATE TABLE notes (text TEXT); SELECT 'unfinished", "failed"),
        ("CREATE TABLE notes (t BIGINT REFERENCES tenants (id)); INSERT INTO notes VALUES (7);", "point nowhere"),
    ],
    ids=["unknown table", "own commit", "unfinished text", "orphan"],
)
def test_a_migration_that_fails_is_named_and_not_recorded(
    path: Path, directory: Path, names: list[str], sql: str, reason: str
):
    (directory / names[-1]).write_text(sql)
    with pytest.raises(MigrationError, match=f"inbox.db: {names[-1]}.*{reason}"):
        migrate.apply(path, directory=directory)
    assert migrate.inspect(path, directory) == names[-1:]


@pytest.mark.parametrize("sql", ["SELECT * FROM nowhere;", "SELECT 'unfinished"])
def test_a_migration_that_failed_leaves_no_table_behind(path: Path, directory: Path, names: list[str], sql: str):
    (directory / names[-1]).write_text(f"CREATE TABLE notes (text TEXT); {sql}")
    with pytest.raises(MigrationError):
        migrate.apply(path, directory=directory)
    (directory / names[-1]).write_text(ADD_NOTES)
    assert migrate.apply(path, directory=directory) == names[-1:]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    tmp_path: Path, directory: Path, names: list[str]
):
    path = tmp_path / "inbox.db"
    migrate.apply(path, directory=directory)
    (directory / names[-1]).write_text(ADD_NOTES + "\n")
    for attempt in (migrate.apply, migrate.inspect):
        with pytest.raises(MigrationError, match=f"{names[-1]} was changed after it was applied"):
            attempt(path, directory=directory)


def test_a_database_newer_than_the_program_is_refused(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    migrate.apply(path, directory=directory)
    with pytest.raises(MigrationError, match=rf"newer than this program \(it has {names[-1]}\): upgrade"):
        migrate.apply(path)


def test_a_database_with_another_history_is_refused(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    migrate.apply(path, directory=directory)
    (directory / names[-1]).rename(directory / names[-1].replace("notes", "zettel"))
    with pytest.raises(MigrationError, match=f"has the migration {names[-1]}, which this program does not know"):
        migrate.apply(path, directory=directory)


def test_a_database_that_lacks_an_earlier_migration_is_refused(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    migrate.apply(path, directory=directory)
    with opened(path) as database, database.conn:
        database.execute("DELETE FROM schema_migrations WHERE name = ?", [names[0]])
    with pytest.raises(MigrationError, match=f"{names[0]} was never applied"):
        migrate.apply(path, directory=directory)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["0001_a.sql", "0003_c.sql"], "0003_c.sql: the migration before it, 0002, is missing"),
        (["0002_b.sql"], "0002_b.sql: the migration before it, 0001, is missing"),
        (["0001_a.sql", "0002_b.sql", "0002_c.sql"], "0002_c.sql: the number 0002 is given twice"),
        (["0000_a.sql"], "0000_a.sql: migrations are numbered from 0001"),
        (["1_a.sql"], "1_a.sql: a migration is named NNNN_name.sql"),
        (["README.md"], "carries no migrations"),
    ],
)
def test_numbers_have_neither_gaps_nor_duplicates(tmp_path: Path, files: list[str], reason: str):
    for file in files:
        (tmp_path / file).write_text("")
    with pytest.raises(MigrationError, match=reason):
        migrate.read_migrations(tmp_path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path):
    path = tmp_path / "music.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE tracks (title TEXT)")
    before = path.read_bytes()
    for attempt in (migrate.apply, migrate.inspect):
        with pytest.raises(MigrationError, match=r"music.db: it is an SQLite database of another program"):
            attempt(path)
    assert path.read_bytes() == before


def test_another_programs_schema_migrations_are_told_apart(tmp_path: Path):
    path = tmp_path / "rails.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE schema_migrations (version TEXT)")
    with pytest.raises(MigrationError, match="another program"):
        migrate.apply(path)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 1000)
    before = path.read_bytes()
    for attempt in (migrate.apply, migrate.inspect):
        with pytest.raises(MigrationError, match=r"letter.txt: it is not an SQLite database: name another file"):
            attempt(path)
    assert path.read_bytes() == before


def test_a_truncated_database_is_refused_as_corrupt(path: Path):
    with path.open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(MigrationError, match="it is corrupt: move it away and restore a backup"):
        migrate.apply(path)


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(MigrationError, match=r"nowhere/inbox.db: cannot be created: No such file or directory"):
        migrate.apply(tmp_path / "nowhere" / "inbox.db")


def test_a_path_with_signs_of_its_own_is_taken_as_it_is(tmp_path: Path):
    path = tmp_path / "odd ?mode=memory#%20.db"
    assert migrate.apply(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        ("SELECT 1; SELECT 2;", ["SELECT 1;", "SELECT 2;"]),
        ("SELECT ';'; -- a; b\nSELECT 2; -- done", ["SELECT ';';", "-- a; b\nSELECT 2;", "-- done"]),
        ("/* ; */ SELECT 1", ["/* ; */ SELECT 1"]),
        (
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END; SELECT 1;",
            ["CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END;", "SELECT 1;"],
        ),
    ],
)
def test_a_script_is_split_where_a_statement_ends(script: str, expected: list[str]):
    assert list(migrate.statements(script)) == expected
