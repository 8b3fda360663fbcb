"""The schema of the inbox: frozen, marked in every new database, and not to be mixed up with that of version 0.1."""

import hashlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from djactors.inbox import pages, schema
from djactors.store import migrations
from djactors.store.errors import MigrationError
from djactors.store.sqlite import migrate

FROZEN = {
    "0001_initial.sql": "28654dc7bd6534630ae2312bfbe552f201686a37ce84a95638ccfa3f53af84f9",
    "0002_persons_share.sql": "ed3a7aeb7dadf300e51886b64c355c3e8ec17cb20b1607b5494f6d7fd0d85b74",
    "0003_accounts.sql": "10110781c5c9740553cf9d6810839e4e1f3d42c5ca4c055d8ed5b124811ceac6",
    "0004_people.sql": "8c2a1a6e4d9d6b419a0c3952bd805a56475421a8c12c574d1382a8c21a32c15f",
    "0005_threads.sql": "d628d46d152da75ac1e5098d9b5b0978ef7736a672d6173ae3492ed9884bc317",
    "0006_inbox_states.sql": "89b3f08ba2a06d7662361d7635229ff6e2d564334bb41979e242e3596203ad52",
    "0007_expiry_by_time.sql": "e5759fecb21e447daa2d97c94fadacbe66fa16ebfc617a8aea74ddf7957eb499",
    "0008_nodes.compatible.sql": "6619d6a28c5b6e05aff8e8b30953fc9337433a1855ee59d47c8464f479f97184",
    "0009_room.compatible.sql": "b28c09095578c63243d4ffd3e21cad3776b7697c097a6cbe47dadd12f400436e",
    "0010_imports.compatible.sql": "1b92045dbe1843f3e356af481c66e4af0a36d23e73ce12c511175a78543ec2de",
    "0011_tenant_of_the_log.compatible.sql": "cedee992440ec996cf0b5a28b17457b6c51883c963d0e436c2685ec9651dc4a9",
    "0012_mentions_by_user.compatible.sql": "3025e7a1868755cc82bdc7a130ffd286ab94eaddf1abca8e32f5bb83688464a8",
    "0013_abandoned_imports.compatible.sql": "b8a33d1034c43d857f5f6c7bb04850480d0da6965a6b628a253fed40789ac029",
    "0014_types_of_nodes.compatible.sql": "b6d9cb7aef7d2b6e0c6034a559864ceec17f5b7576c00fa2774eabd84b031c38",
}
"""What was applied is history: a change to the schema is another migration, never a change to one of these."""

VERSION_0_1 = Path(__file__).parent / "version_0_1"
"""The four migrations of version 0.1."""


def test_a_migration_is_never_changed_and_never_missing():
    files = {file.name: file.read_bytes() for file in schema.migrations_directory().iterdir()}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == FROZEN


def test_the_database_finds_what_points_at_a_row_that_is_deleted(tmp_path: Path):
    path = tmp_path / "inbox.db"
    schema.apply(path)
    # Only a tenant is deleted, once at the end of an import that is abandoned, and each event would pay for the index.
    scanned = {("domain_events", "tenants")}
    found = set()
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            keys = {}
            for number, _, parent, column, *_ in connection.execute(f"PRAGMA foreign_key_list({table})"):
                keys.setdefault((number, parent), []).append(column)
            for (_, parent), columns in keys.items():
                where = " AND ".join(f"{column} = ?" for column in columns)
                plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {where}", columns).fetchall()
                if "SEARCH" not in plan[0][3]:
                    found.add((table, parent))
    assert found == scanned


def test_a_new_database_begins_with_a_key(tmp_path: Path):
    path = tmp_path / "inbox.db"
    schema.apply(path, token_bytes=lambda count: b"\xfb" * count, now=lambda: datetime(2026, 1, 27, tzinfo=UTC))
    with closing(sqlite3.connect(path)) as connection:
        assert pages.meta(connection).pid_key == b"\xfb" * 32
        times = connection.execute("SELECT created_at FROM meta UNION SELECT applied_at FROM schema_migrations")
        assert times.fetchall() == [("2026-01-27T00:00:00.000000Z",)]


def test_two_databases_differ_in_their_key(tmp_path: Path):
    keys = []
    for name in ("one.db", "other.db"):
        schema.apply(tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            keys.append(pages.meta(connection).pid_key)
    assert keys[0] != keys[1]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of version 0.1 with one notification."""
    path = tmp_path / "old.db"
    migrate.apply(path, migrations.Schema(migrations.read_migrations(VERSION_0_1)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO tenants (id, name, created_at, updated_at) VALUES (1, 'T', '', '')")
        connection.execute("INSERT INTO users (id, tenant_id, name, created_at, updated_at) VALUES (7, 1, 'U', '', '')")
        connection.execute(
            "INSERT INTO notifications (id, tenant_id, user_id, type, priority, title, created_at, expires_at, seq) "
            "VALUES (1, 1, 7, 'note', 'LOW', 'From before', '', '', 1)"
        )
    return path


def test_a_database_of_version_0_1_is_refused_with_the_mend_and_left_alone(old: Path):
    before = old.read_bytes()
    for attempt in (schema.apply, schema.inspect):
        with pytest.raises(MigrationError) as refused:
            attempt(old)
        message = str(refused.value)
        assert "\n" not in message
        assert message.startswith(f"{old}: it was made by djactors 0.1, ")
        assert "name a new file" in message
        assert "sqlite-utils rows FILE notifications" in message
    assert old.read_bytes() == before


def test_the_old_inbox_is_read_as_the_refusal_says(old: Path):
    command = [str(Path(sys.executable).parent / "sqlite-utils"), "rows", str(old), "notifications"]
    read = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "From before" in read.stdout


def test_a_database_from_before_the_persons_share_keeps_its_people_and_jobs(tmp_path: Path):
    path = tmp_path / "inbox.db"
    first = [each for each in migrations.read_migrations(schema.migrations_directory()) if each.number == 1]
    migrate.apply(path, migrations.Schema(first, lambda connection: None))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO tenants (id, name, created_at, updated_at) VALUES (1, 'T', '', '')")
        connection.execute(
            "INSERT INTO users (tenant_id, id, name, sent_day, sent_count, created_at, updated_at) "
            "VALUES (1, 7, 'U', '2026-01-27', 60, '', '')"
        )
        connection.execute(
            "INSERT INTO jobs (tenant_id, id, title, status, created_at, updated_at) VALUES (1, 1, 'x', 'open', '', '')"
        )
    assert "0002_persons_share.sql" in schema.apply(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT sent_count, persons_count, earlier_persons_count FROM users").fetchall() == [
            (60, 0, 0)
        ]
        assert connection.execute("SELECT deadline_by_person FROM jobs").fetchall() == [(0,)]
