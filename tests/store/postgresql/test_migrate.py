"""Each migration is applied once, wholly or not at all, and only to a schema that is ours."""

import dataclasses
import hashlib
import threading

import psycopg
import pytest

from djactors.store.connection import Connection
from djactors.store.engines import engine_at
from djactors.store.errors import MigrationError
from djactors.store.migrations import Migration, Schema, utc_now
from tests.store.writes import COUNTERS


def migration(number: int, sql: str) -> Migration:
    return Migration(number, f"{number:04}_test.sql", sql, hashlib.sha256(sql.encode()).hexdigest())


NOTES = Schema(
    [*COUNTERS.migrations, migration(2, "CREATE TABLE notes (text TEXT);\nINSERT INTO notes VALUES ('a;b%');")]
)
NAMES = [each.name for each in NOTES.migrations]


def apply(url: str, schema: Schema) -> list[str]:
    return engine_at(url).apply(schema, utc_now)


def inspect(url: str, schema: Schema) -> list[str]:
    return engine_at(url).inspect(schema)


@pytest.fixture
def admin(postgres_url: str) -> psycopg.Connection:
    return psycopg.connect(postgres_url, autocommit=True)


def tables(admin: psycopg.Connection) -> set[str]:
    rows = admin.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    return {name for (name,) in rows}


def test_a_new_database_gets_every_migration_once(postgres_url: str, admin: psycopg.Connection):
    assert inspect(postgres_url, NOTES) == NAMES
    assert tables(admin) == set()
    assert engine_at(postgres_url).apply(NOTES, lambda: "2026-01-27T10:30:00.000000Z") == NAMES
    assert apply(postgres_url, NOTES) == inspect(postgres_url, NOTES) == []
    assert admin.execute("SELECT * FROM schema_migrations ORDER BY name").fetchall() == [
        (each.name, each.checksum, "2026-01-27T10:30:00.000000Z") for each in NOTES.migrations
    ]
    assert admin.execute("SELECT text FROM notes").fetchall() == [("a;b%",)]
    admin.close()


def test_an_older_database_gets_what_it_lacks(url: str):
    assert apply(url, NOTES) == NAMES[1:]


def test_a_new_database_begins_with_the_seed_and_an_old_one_is_not_given_it_again(
    postgres_url: str, admin: psycopg.Connection
):
    def seed(connection: Connection) -> None:
        connection.execute("INSERT INTO counters VALUES ('seed', ?)", (1,))

    apply(postgres_url, dataclasses.replace(COUNTERS, seed=seed))
    apply(postgres_url, dataclasses.replace(NOTES, seed=seed))
    assert admin.execute("SELECT * FROM counters").fetchall() == [("seed", 1)]
    admin.close()


def test_two_nodes_that_start_together_do_not_both_migrate(postgres_url: str, admin: psycopg.Connection):
    seeded: list[str] = []
    meet = threading.Barrier(4)
    applied: list[list[str]] = []

    def seed(_: Connection) -> None:
        seeded.append("seed")

    def start() -> None:
        meet.wait()
        applied.append(apply(postgres_url, dataclasses.replace(NOTES, seed=seed)))

    nodes = [threading.Thread(target=start) for _ in range(4)]
    for node in nodes:
        node.start()
    for node in nodes:
        node.join()
    assert sorted(name for names in applied for name in names) == NAMES
    assert seeded == ["seed"]
    assert admin.execute("SELECT count(*) FROM notes").fetchone() == (1,)
    admin.close()


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE TABLE notes (text TEXT); INSERT INTO nowhere VALUES (1);", 'relation "nowhere" does not exist'),
        ("CREATE TABLE notes (text TEXT); COMMIT;", "take its COMMIT out"),
        ("CREATE TABLE notes (text TEXT); SELECT 'unfinished", "failed"),
        ("CREATE TABLE notes (t VARCHAR(50) REFERENCES counters); INSERT INTO notes VALUES ('x');", "foreign key"),
    ],
    ids=["unknown table", "own commit", "unfinished text", "orphan"],
)
def test_a_migration_that_fails_is_named_and_not_recorded(url: str, admin: psycopg.Connection, sql: str, reason: str):
    wrong = Schema([*COUNTERS.migrations, migration(2, sql)])
    with pytest.raises(MigrationError, match=f"^postgresql://.*: 0002_test.sql.*{reason}"):
        apply(url, wrong)
    assert inspect(url, wrong) == ["0002_test.sql"]
    if "COMMIT" not in sql:
        assert tables(admin) == {"counters", "schema_migrations"}
    admin.close()


def test_a_seed_that_fails_leaves_nothing_behind(postgres_url: str, admin: psycopg.Connection):
    def seed(_: Connection) -> None:
        raise LookupError("no randomness")

    with pytest.raises(LookupError):
        apply(postgres_url, dataclasses.replace(COUNTERS, seed=seed))
    assert tables(admin) == set()
    admin.close()


def test_databases_that_do_not_fit_are_refused(postgres_url: str):
    apply(postgres_url, NOTES)
    changed = Schema([*COUNTERS.migrations, migration(2, "SELECT 1;")])
    other = Schema([*COUNTERS.migrations, dataclasses.replace(NOTES.migrations[1], name="0002_zettel.sql")])
    retired = dataclasses.replace(NOTES, retired={COUNTERS.migrations[0].checksum: "it is from long ago: start anew"})
    for schema, reason in (
        (COUNTERS, r"newer than this program \(it has 0002_test.sql\): upgrade"),
        (changed, "0002_test.sql was changed after it was applied"),
        (other, "has the migration 0002_test.sql, which this program does not know"),
        (retired, "it is from long ago: start anew"),
    ):
        for attempt in (apply, inspect):
            with pytest.raises(MigrationError, match=f"^postgresql://.*{reason}"):
                attempt(postgres_url, schema)


@pytest.mark.parametrize("table", ["tracks", "schema_migrations"])
def test_tables_of_another_program_are_left_alone(postgres_url: str, admin: psycopg.Connection, table: str):
    admin.execute(f"CREATE TABLE {table} (title TEXT)".encode())
    for attempt in (apply, inspect):
        with pytest.raises(MigrationError, match=r"has tables of another program: name an empty database, or a schema"):
            attempt(postgres_url, COUNTERS)
    assert tables(admin) == {table}
    admin.close()


def test_a_schema_that_does_not_exist_is_named_with_the_mend(postgres_url: str):
    with pytest.raises(MigrationError, match="create one with CREATE SCHEMA, or correct search_path"):
        apply(f"{postgres_url}_nowhere", COUNTERS)


def test_a_read_only_server_is_refused(postgres_url: str):
    with pytest.raises(MigrationError, match="read-only: name the primary server"):
        apply(f"{postgres_url}%20-cdefault_transaction_read_only%3Don", COUNTERS)


def test_a_server_that_is_not_there_is_refused_in_one_line(postgres_url: str):
    nowhere = postgres_url.replace("postgres@%2F", "postgres:geheim@%2Fnowhere%2F")
    for attempt in (apply, inspect):
        with pytest.raises(
            MigrationError, match=r"^postgresql://.*cannot be connected to: see that the server"
        ) as error:
            attempt(nowhere, COUNTERS)
        assert "geheim" not in str(error.value)
        assert "\n" not in str(error.value)


def test_every_node_has_the_right_to_change_the_database(url: str):
    with engine_at(url).guard() as first, engine_at(url).guard() as second:
        first.hold_database()
        second.note_state()
