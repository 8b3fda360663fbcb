"""What is not carried, and what is left where a move was refused, stopped or killed."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.inbox import schema
from djactors.operations import progress
from djactors.operations.moving import Step, move
from djactors.store.errors import DatabaseLocked, StoreError
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.sqlite import moving as sqlite_moving
from djactors.store.sqlite.lock import DatabaseLock
from tests.engines import open_connection
from tests.moving.conftest import query, rows_of, text_of
from tests.moving.test_moving import no_report
from tests.operations.commands import complaint, run


def refusal(source: str | Path, target: str | Path) -> str:
    with pytest.raises(StoreError) as refused:
        move(source, target, no_report)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def tables_of(url: str) -> list[tuple[object, ...]]:
    return query(url, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")


def connected(url: str) -> psycopg.Connection:
    """As a server is."""
    return psycopg.connect(**Conninfo.of(url).parameters, autocommit=True)


# Servers


def test_a_source_that_a_server_serves_is_not_carried(house: Path, url: str, tmp_path: Path) -> None:
    with DatabaseLock(house):
        assert f"is in use by process {os.getpid()}: stop it first" in refusal(house, url)
    assert not tables_of(url)
    move(house, url, no_report)
    with connected(url):
        said = refusal(url, tmp_path / "back.db")
        assert "is in use: 1 connections to the database are named 'moving_" in said
        assert "stop all servers on it first" in said
    assert not (tmp_path / "back.db").exists()


def test_a_node_that_was_seen_lately_is_a_server_even_if_no_connection_tells(
    house: Path, url: str, tmp_path: Path
) -> None:
    move(house, url, no_report)
    with open_connection(url) as connection:
        now = utc_text(WALL_CLOCK())
        connection.execute("INSERT INTO nodes VALUES ('one-1234', ?, ?, '', '', 0, 0)", (now, now))
        connection.execute("INSERT INTO nodes VALUES ('two-1234', ?, '2020-01-01', '', '', 0, 0)", (now,))
        connection.settle()
    said = refusal(url, tmp_path / "back.db")
    assert f"is in use: one-1234 (at {now}) was seen there less than 15 s ago" in said
    with open_connection(url) as connection:
        connection.execute("UPDATE nodes SET seen_at = '2020-01-01'")
        connection.settle()
    move(url, tmp_path / "back.db", no_report)
    assert rows_of(tmp_path / "back.db")["nodes"] == []


def test_a_transaction_that_writes_to_the_source_is_not_overtaken(house: Path, url: str, tmp_path: Path) -> None:
    move(house, url, no_report)
    with psycopg.connect(**Conninfo.of(url).parameters | {"application_name": "psql"}) as somebody:
        somebody.execute("UPDATE users SET name = 'x'")
        assert "somebody holds its tables: stop all servers" in refusal(url, tmp_path / "back.db")


def is_locked(url: str, statement: str) -> bool:
    with psycopg.connect(**Conninfo.of(url).parameters, autocommit=True) as somebody:
        somebody.execute("SET lock_timeout = '20ms'")
        try:
            somebody.execute(statement.encode())
        except psycopg.errors.LockNotAvailable:
            return True
    return False


def test_nobody_writes_to_the_source_while_it_is_carried(house: Path, url: str, tmp_path: Path) -> None:
    move(house, url, no_report)
    found = []

    def write(_: Step) -> None:
        if not found:
            found.append(is_locked(url, "UPDATE users SET name = 'x'"))

    move(url, tmp_path / "back.db", write)
    assert found == [True]
    assert text_of(tmp_path / "back.db") == text_of(house)


def test_nobody_reads_the_target_before_it_is_whole(house: Path, url: str) -> None:
    found = []

    def read(step: Step) -> None:
        if step.doing == "verifying" and not found:
            found.append(is_locked(url, "SELECT pid_key FROM meta"))

    move(house, url, read)
    assert found == [True]


def test_no_server_takes_the_name_of_a_target_that_is_being_written(house: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.db"
    found = []

    def look(step: Step) -> None:
        if step.doing == "verifying" and not found:
            with pytest.raises(DatabaseLocked), DatabaseLock(target):
                pass
            found.append(target.exists())

    move(house, target, look)
    assert found == [False]


# Places


def test_a_target_that_is_not_empty_is_left_alone(house: Path, url: str, tmp_path: Path, path: Path) -> None:
    move(house, url, no_report)
    before = rows_of(url)
    assert "is not empty, " in (said := refusal(house, url))
    assert "name an empty database, or a schema of its own with ?options=" in said
    assert rows_of(url) == before
    used = tmp_path / "used.db"
    used.write_bytes(b"anything")
    assert refusal(house, used) == f"{used} exists already: name a new file, or move this one away"
    assert used.read_bytes() == b"anything"
    assert "is both source and target" in refusal(house, house)
    log = tmp_path / "late.db-wal"
    log.write_bytes(b"")
    assert f"{log} is left of another database" in refusal(house, tmp_path / "late.db")
    # One that was only migrated has nothing to lose.
    with connected(url) as connection:
        connection.execute("CREATE TABLE of_somebody_else (id int)")
    other = tmp_path / "gone.db"
    DatabaseLock(other).path.write_text("\ndatabase 1 2 3\n")
    assert "notes that a database was here" in refusal(house, other)


def test_a_target_that_was_only_migrated_is_filled(house: Path, url: str) -> None:
    schema.apply(url)
    seeded = query(url, "SELECT pid_key FROM meta")
    move(house, url, no_report)
    assert query(url, "SELECT pid_key FROM meta") != seeded
    assert query(url, "SELECT pid_key FROM meta") == rows_of_meta(house)


def rows_of_meta(path: Path) -> list[tuple[object, ...]]:
    return [(row[1],) for row in rows_of(path)["meta"]]


def test_a_target_with_tables_of_another_program_is_left_alone(house: Path, url: str) -> None:
    with connected(url) as connection:
        connection.execute("CREATE TABLE of_somebody_else (id int)")
    assert "has tables of another program" in refusal(house, url)


def test_a_source_that_is_missing_behind_or_foreign_is_told(url: str, tmp_path: Path) -> None:
    assert "has no installation: name the file that the server uses" in refusal(tmp_path / "no.db", url)
    assert not (tmp_path / "no.db").exists()
    assert "has no installation: name the database that the server uses" in refusal(url, tmp_path / "new.db")
    behind = tmp_path / "behind.db"
    schema.apply(behind)
    with closing(sqlite3.connect(behind, isolation_level=None)) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE name > '0010'")
    said = refusal(behind, url)
    assert said.startswith(f"--database: {behind} is behind by 0010_imports.compatible.sql, 0011_")
    assert said.endswith(f": run `djactors migrate --database {behind}`")
    assert not tables_of(url)


def test_tables_that_are_not_ours_are_left_behind_and_named(house: Path, url: str) -> None:
    with open_connection(house) as connection:
        connection.execute("CREATE TABLE notes_of_the_operator (text TEXT)")
    assert move(house, url, no_report).left_behind == ("notes_of_the_operator",)


# Rows


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE jobs SET title = 'a' || char(0) || 'b'", "has the character NUL, which PostgreSQL cannot store"),
        ("UPDATE jobs SET title = CAST(x'ff41' AS TEXT)", "is no text in UTF-8: correct it"),
        ("UPDATE jobs SET title = hex(zeroblob(150))", "has 300 characters, of 255 at most"),
        ("UPDATE jobs SET title = x'41'", "is no text"),
        ("UPDATE jobs SET project_id = 'many'", "is no whole number"),
        ("UPDATE jobs SET deadline_by_person = 2", "is 2, neither 0 nor 1"),
    ],
)
def test_a_row_that_postgresql_does_not_take_is_named(house: Path, url: str, damage: str, told: str) -> None:
    with open_connection(house) as connection:
        [(tenant_id, id_)] = connection.execute("SELECT tenant_id, id FROM jobs ORDER BY 1 DESC, 2 DESC LIMIT 1")
        connection.execute(f"{damage} WHERE tenant_id = ? AND id = ?", (tenant_id, id_))
    column = damage.split()[3]
    assert refusal(house, url).startswith(f"jobs, tenant_id = {tenant_id}, id = {id_}: {column} {told}")
    assert rows_of(url)["users"] == []


def test_a_row_that_points_nowhere_is_named(house: Path, url: str, tmp_path: Path) -> None:
    with open_connection(house) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM users WHERE tenant_id = 1 AND id = 1")
    assert "Key (tenant_id, " in (said := refusal(house, url))
    assert '=(1, 1) is not present in table "users"' in said
    assert "point nowhere" in refusal(house, tmp_path / "other.db")
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    "damage", ["UPDATE users SET name = 'Mallory'", "DELETE FROM suppressions", "INSERT INTO counters VALUES ('x', 1)"]
)
def test_a_copy_that_differs_is_thrown_away(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    complete = sqlite_moving.SqliteTarget.complete

    def damaged(self: sqlite_moving.SqliteTarget) -> None:
        complete(self)
        self.connection.execute(damage)

    monkeypatch.setattr(sqlite_moving.SqliteTarget, "complete", damaged)
    assert "the copy differs from the source, so it was thrown away" in refusal(house, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    assert not (tmp_path / "new.db.moving").exists()


# Ends


KILLED = """
import os, signal, sys
from djactors.operations.moving import move
def step(step):
    if (step.doing, step.table) == (sys.argv[3], sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
move(sys.argv[1], sys.argv[2], step)
"""


@pytest.mark.parametrize("at", [("copying", "notifications"), ("verifying", "users")])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_whoever_is_killed_leaves_nothing_that_can_be_served_and_can_begin_anew(
    house: Path, url: str, tmp_path: Path, engine: str, at: tuple[str, str]
) -> None:
    target: str | Path = url if engine == "postgresql" else tmp_path / "new.db"
    done = subprocess.run([sys.executable, "-c", KILLED, house, target, *at], check=False)
    assert done.returncode == -signal.SIGKILL
    if engine == "postgresql":
        assert {name for name, rows in rows_of(url).items() if rows} == {"schema_migrations", "meta", "expiry_walks"}
    else:
        assert not (tmp_path / "new.db").exists()
    move(house, target, no_report)
    assert {name: len(rows) for name, rows in rows_of(target).items()} == {
        name: len(rows) for name, rows in rows_of(house).items()
    }
    assert not list(tmp_path.glob("*.moving*"))


def test_whoever_interrupts_it_is_told_that_nothing_was_carried(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object, step: Step) -> None:
        if step.rows > 100:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "step", interrupt)
    told = complaint(run("export", "--database", str(house), "--to", str(tmp_path / "new.db")))
    assert told == "djactors: interrupted: nothing was carried; the same command begins anew"
    assert not (tmp_path / "new.db").exists()


# The command


def test_the_last_line_says_what_was_carried_and_no_password(house: Path, url: str) -> None:
    secret = url.replace("postgres@", "postgres:hunter2@")
    done = run("export", "--database", str(house), "--to", secret)
    assert done.exit_code == 0, done.output
    total = sum(len(rows) for rows in rows_of(house).values())
    assert done.stdout.splitlines() == [
        f"carried and verified {total} rows of 19 tables from {house} to {url}, every row equal; start the servers "
        "with the new place now"
    ]
    assert "hunter2" not in done.output
    assert re.fullmatch(rf"copying \w+: 0 of {total} rows \(0 %\)", done.stderr.splitlines()[0])


def test_what_is_refused_is_one_line_and_exit_1(house: Path, tmp_path: Path) -> None:
    used = tmp_path / "used.db"
    used.write_text("anything")
    assert "exists already" in complaint(run("export", "--database", str(house), "--to", str(used)))
    nowhere = tmp_path / "no" / "folder" / "new.db"
    assert "check the path and the rights" in complaint(run("export", "--database", str(house), "--to", str(nowhere)))
    away = "postgresql://nobody@127.0.0.1:9/nothing"
    assert "127.0.0.1:9" in complaint(run("export", "--database", str(house), "--to", away))
