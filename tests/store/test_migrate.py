"""Each migration is applied once, wholly or not at all, and only to a file that is ours."""

import dataclasses
import hashlib
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlite_utils

from djactors.store.errors import MigrationError
from djactors.store.migrations import Dialect, Migration, Schema, lines_for, read_migrations, statements
from djactors.store.sqlite import migrate
from tests.store.writes import COUNTERS

ADD_NOTES = (
    "-- Notes; with a semicolon in a comment.\nCREATE TABLE notes (text TEXT);\nINSERT INTO notes VALUES ('a;b');"
)


@contextmanager
def opened(path: Path) -> Iterator[sqlite_utils.Database]:
    with closing(sqlite3.connect(path)) as connection:
        yield sqlite_utils.Database(connection)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The migration that the database has, and one more."""
    directory = tmp_path / "migrations"
    directory.mkdir()
    for migration in COUNTERS.migrations:
        (directory / migration.name).write_text(migration.sql)
    (directory / "0002_notes.sql").write_text(ADD_NOTES)
    return directory


def schema_in(directory: Path) -> Schema:
    return Schema(read_migrations(directory))


@pytest.fixture
def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_new_file_gets_every_migration_once(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    assert migrate.inspect(path, schema_in(directory)) == names
    assert not path.exists()
    now = "2026-01-27T10:30:00.000000Z"
    assert migrate.apply(path, schema_in(directory), now=lambda: now) == names
    assert migrate.apply(path, schema_in(directory)) == []
    assert migrate.inspect(path, schema_in(directory)) == []
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
        assert [migration.name for migration in migrate.pending(database, schema_in(directory))] == names[-1:]
    assert migrate.apply(path, schema_in(directory)) == names[-1:]


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
    migrate.apply(path, COUNTERS)
    with opened(path) as database:
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert database.journal_mode == "wal"


def test_the_time_is_kept_as_utc_text_of_one_width(path: Path):
    with opened(path) as database:
        [record] = database["schema_migrations"].rows
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record["applied_at"])


def test_a_new_database_begins_with_the_seed_and_an_old_one_is_not_given_it_again(tmp_path: Path, directory: Path):
    path = tmp_path / "inbox.db"

    def seed(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO counters VALUES ('seed', 1)")

    seeded = dataclasses.replace(COUNTERS, seed=seed)
    migrate.apply(path, seeded)
    migrate.apply(path, dataclasses.replace(schema_in(directory), seed=seed))
    with opened(path) as database:
        assert list(database["counters"].rows) == [{"name": "seed", "value": 1}]


def test_a_seed_that_fails_leaves_nothing_behind(tmp_path: Path):
    path = tmp_path / "inbox.db"

    def seed(connection: sqlite3.Connection) -> None:
        raise LookupError("no randomness")

    with pytest.raises(LookupError):
        migrate.apply(path, dataclasses.replace(COUNTERS, seed=seed))
    with opened(path) as database:
        assert database.table_names() == []


def test_a_database_of_a_retired_schema_is_refused_in_its_own_words(path: Path, directory: Path):
    checksum = COUNTERS.migrations[0].checksum
    schema = dataclasses.replace(schema_in(directory), retired={checksum: "it is from long ago: start anew"})
    before = path.read_bytes()
    for attempt in (migrate.apply, migrate.inspect):
        with pytest.raises(MigrationError, match=r"inbox\.db: it is from long ago: start anew$"):
            attempt(path, schema)
    assert path.read_bytes() == before


def test_a_migration_killed_half_way_leaves_nothing_and_is_taken_up_again(tmp_path: Path):
    path = tmp_path / "inbox.db"
    # The seed is put in inside the first migration, after its tables were made.
    script = (
        "import dataclasses, os, signal, sys\n"
        "from djactors.store.sqlite import migrate\nfrom tests.store.writes import COUNTERS\n"
        "seed = lambda connection: os.kill(os.getpid(), signal.SIGKILL)\n"
        "migrate.apply(sys.argv[1], dataclasses.replace(COUNTERS, seed=seed))"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    everything = [migration.name for migration in COUNTERS.migrations]
    assert migrate.inspect(path, COUNTERS) == everything
    assert migrate.apply(path, COUNTERS) == everything


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE TABLE notes (text TEXT); INSERT INTO nowhere VALUES (1);", "no such table: nowhere"),
        ("CREATE TABLE notes (text TEXT); COMMIT;", "take its COMMIT out"),
        ("CREATE TABLE notes (text TEXT); SELECT 'unfinished", "failed"),
        ("CREATE TABLE notes (t TEXT REFERENCES counters (name)); INSERT INTO notes VALUES ('x');", "point nowhere"),
    ],
    ids=["unknown table", "own commit", "unfinished text", "orphan"],
)
def test_a_migration_that_fails_is_named_and_not_recorded(
    path: Path, directory: Path, names: list[str], sql: str, reason: str
):
    (directory / names[-1]).write_text(sql)
    with pytest.raises(MigrationError, match=f"inbox.db: {names[-1]}.*{reason}"):
        migrate.apply(path, schema_in(directory))
    assert migrate.inspect(path, schema_in(directory)) == names[-1:]


@pytest.mark.parametrize("sql", ["SELECT * FROM nowhere;", "SELECT 'unfinished"])
def test_a_migration_that_failed_leaves_no_table_behind(path: Path, directory: Path, names: list[str], sql: str):
    (directory / names[-1]).write_text(f"CREATE TABLE notes (text TEXT); {sql}")
    with pytest.raises(MigrationError):
        migrate.apply(path, schema_in(directory))
    (directory / names[-1]).write_text(ADD_NOTES)
    assert migrate.apply(path, schema_in(directory)) == names[-1:]


def test_a_migration_that_was_changed_after_it_was_applied_is_refused(
    tmp_path: Path, directory: Path, names: list[str]
):
    path = tmp_path / "inbox.db"
    migrate.apply(path, schema_in(directory))
    (directory / names[-1]).write_text(ADD_NOTES + "\n")
    for attempt in (migrate.apply, migrate.inspect):
        with pytest.raises(MigrationError, match=f"{names[-1]} was changed after it was applied"):
            attempt(path, schema_in(directory))


def test_a_database_newer_than_the_program_is_refused(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    migrate.apply(path, schema_in(directory))
    with pytest.raises(MigrationError, match=rf"newer than this program \(it has {names[-1]}\): upgrade"):
        migrate.apply(path, COUNTERS)


def test_an_older_program_goes_on_beside_migrations_that_are_compatible(tmp_path: Path, directory: Path):
    path = tmp_path / "inbox.db"
    (directory / "0002_notes.sql").rename(directory / "0002_notes.compatible.sql")
    assert migrate.apply(path, schema_in(directory)) == [COUNTERS.migrations[0].name, "0002_notes.compatible.sql"]
    assert migrate.inspect(path, COUNTERS) == migrate.apply(path, COUNTERS) == []


def test_but_not_beside_one_that_is_not(tmp_path: Path, directory: Path):
    path = tmp_path / "inbox.db"
    (directory / "0002_notes.sql").rename(directory / "0002_notes.compatible.sql")
    (directory / "0003_more.sql").write_text("CREATE TABLE more (id INTEGER NOT NULL PRIMARY KEY);")
    migrate.apply(path, schema_in(directory))
    with pytest.raises(MigrationError, match=r"newer than this program \(it has 0003_more.sql\): upgrade"):
        migrate.apply(path, COUNTERS)


def test_a_database_with_another_history_is_refused(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    migrate.apply(path, schema_in(directory))
    (directory / names[-1]).rename(directory / names[-1].replace("notes", "zettel"))
    with pytest.raises(MigrationError, match=f"has the migration {names[-1]}, which this program does not know"):
        migrate.apply(path, schema_in(directory))


def test_a_database_that_lacks_an_earlier_migration_is_refused(tmp_path: Path, directory: Path, names: list[str]):
    path = tmp_path / "inbox.db"
    migrate.apply(path, schema_in(directory))
    with opened(path) as database, database.conn:
        database.execute("DELETE FROM schema_migrations WHERE name = ?", [names[0]])
    with pytest.raises(MigrationError, match=f"{names[0]} was never applied"):
        migrate.apply(path, schema_in(directory))


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
        read_migrations(tmp_path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path):
    path = tmp_path / "music.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE tracks (title TEXT)")
    before = path.read_bytes()
    for attempt in (migrate.apply, migrate.inspect):
        with pytest.raises(MigrationError, match=r"music.db: it is an SQLite database of another program"):
            attempt(path, COUNTERS)
    assert path.read_bytes() == before


def test_another_programs_schema_migrations_are_told_apart(tmp_path: Path):
    path = tmp_path / "rails.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE schema_migrations (version TEXT)")
    with pytest.raises(MigrationError, match="another program"):
        migrate.apply(path, COUNTERS)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 1000)
    before = path.read_bytes()
    for attempt in (migrate.apply, migrate.inspect):
        with pytest.raises(MigrationError, match=r"letter.txt: it is not an SQLite database: name another file"):
            attempt(path, COUNTERS)
    assert path.read_bytes() == before


def test_a_truncated_database_is_refused_as_corrupt(path: Path):
    with path.open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(MigrationError, match="it is corrupt: move it away and restore a backup"):
        migrate.apply(path, COUNTERS)


def test_a_missing_directory_is_named(tmp_path: Path):
    with pytest.raises(MigrationError, match=r"nowhere/inbox.db: cannot be created: No such file or directory"):
        migrate.apply(tmp_path / "nowhere" / "inbox.db", COUNTERS)


def test_a_path_with_signs_of_its_own_is_taken_as_it_is(tmp_path: Path):
    path = tmp_path / "odd ?mode=memory#%20.db"
    assert migrate.apply(path, COUNTERS)
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
    assert list(statements(script)) == expected


SCRIPT = """\
CREATE TABLE t (
    id INTEGER PRIMARY KEY,  -- sqlite only
    id BIGINT PRIMARY KEY,   -- postgresql only
    note TEXT  -- sqlite only in name
)
WITHOUT ROWID --sqlite only
;
"""


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("sqlite", [0, 1, 3, 4, 5, 6]),
        ("postgresql", [0, 2, 3, 4, 6]),
    ],
)
def test_a_line_that_is_marked_for_one_engine_is_left_out_of_the_other(engine: Dialect, expected: list[int]):
    lines = SCRIPT.splitlines()
    assert lines_for(engine, SCRIPT).splitlines() == [lines[number] for number in expected]


def test_the_lines_for_sqlite_are_what_is_applied(tmp_path: Path):
    path = tmp_path / "new.db"
    sql = "CREATE TABLE notes (\n text TEXT -- sqlite only\n text JSONB -- postgresql only\n);"
    migrate.apply(path, Schema([Migration(1, "0001_notes.sql", sql, "0")]))
    with opened(path) as database:
        assert [column.type for column in database["notes"].columns] == ["TEXT"]
