"""A fresh migrated database of each engine, for tests of what is above the store.

A test that asks for `place`, `connection` or `desk` runs once on SQLite and once on PostgreSQL. One that is about
SQLite alone is marked `sqlite_only`, with the reason. For SQLite each test has a file of its own; on PostgreSQL all
tests have one schema, which is emptied before each, because a database or a schema of its own costs 50 ms and more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from djactors.inbox import schema, sharing
from djactors.store import migrations
from djactors.store.engines import Place
from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.session import connect, writing_begins
from djactors.store.sqlite.connection import SqliteConnection

AnyConnection = SqliteConnection | PostgresConnection
Opened = Callable[[], AbstractContextManager[AnyConnection]]
"""Makes a connection to a fresh database, whatever was in it before."""

Fresh = Callable[[], str | None]
"""Makes a fresh PostgreSQL database; None where the test has a file of its own."""

_SCHEMA = "desks"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `engine_name`, by whatever fixture, on both engines unless it is marked."""
    if "engine_name" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("sqlite_only")
        metafunc.parametrize("engine_name", ["sqlite"] if alone else ["sqlite", "postgresql"], scope="session")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file that nobody writes to."""
    path = tmp_path_factory.mktemp("migrated") / "inbox.db"
    schema.apply(path)
    return path


@pytest.fixture
def path(sqlite_file: Path) -> Path:
    """A database file of the test's own."""
    return sqlite_file


@pytest.fixture
def sqlite_file(tmp_path: Path, migrated: Path) -> Path:
    """The same by a name that no test has for a parameter of its own."""
    path = tmp_path / "inbox.db"
    with closing(sqlite3.connect(migrated)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = WAL")
    return path


@pytest.fixture(scope="session")
def migrated_url(postgres_dsn: str) -> Iterator[str]:
    """A PostgreSQL database that tests have one after the other."""
    server = conninfo_to_dict(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {_SCHEMA}".encode())
    host = quote(str(server["host"]), safe="")
    url = f"postgresql://{server['user']}@{host}/{server['dbname']}?options=-csearch_path%3D{_SCHEMA}"
    schema.apply(url)
    with psycopg.connect(**Conninfo.of(url).parameters, autocommit=True) as cleaner:
        _cleaners[url] = cleaner
        yield url
        del _cleaners[url]


@pytest.fixture
def place(request: pytest.FixtureRequest, engine_name: str) -> Place:
    """A database of the test's own, of each engine."""
    if engine_name == "sqlite":
        path: Path = request.getfixturevalue("sqlite_file")
        return path
    url: str = request.getfixturevalue("migrated_url")
    empty(url)
    return url


@pytest.fixture
def connection(place: Place) -> Iterator[AnyConnection]:
    with open_connection(place) as connection:
        yield connection


@pytest.fixture(scope="session")
def opened(request: pytest.FixtureRequest, engine_name: str) -> Opened:
    """For a test that needs many fresh databases, one after the other."""
    if engine_name == "postgresql":
        url: str = request.getfixturevalue("migrated_url")

        @contextmanager
        def on_postgresql() -> Iterator[AnyConnection]:
            empty(url)
            with open_connection(url) as connection:
                yield connection

        return on_postgresql
    migrated: Path = request.getfixturevalue("migrated")

    @contextmanager
    def in_memory() -> Iterator[AnyConnection]:
        with closing(sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)) as connection:
            with closing(sqlite3.connect(migrated)) as source:
                source.backup(connection)
            yield connection

    return in_memory


@pytest.fixture(scope="session")
def fresh(request: pytest.FixtureRequest, engine_name: str) -> Fresh:
    """The same where the test opens the database itself."""
    if engine_name == "sqlite":
        return lambda: None
    url: str = request.getfixturevalue("migrated_url")

    def emptied() -> str:
        empty(url)
        return url

    return emptied


@contextmanager
def open_connection(place: Place) -> Iterator[AnyConnection]:
    """A connection to a database, outside a transaction."""
    if isinstance(place, str):
        with closing(connect(Conninfo.of(place))) as connection:
            yield connection
    else:
        with closing(sqlite3.connect(place, isolation_level=None, factory=SqliteConnection)) as file:
            file.execute("PRAGMA foreign_keys = ON")
            yield file


def empty(url: str) -> None:
    """Make a migrated PostgreSQL database as it was when it was migrated."""
    # Deleting a few rows is much faster than TRUNCATE, which makes a new file for each table and each index. All of it
    # is one message, so it takes a millisecond or two.
    _cleaners[url].execute("; ".join(_EMPTYING).encode())


# Transactions, as the store's writer makes them


def begin(connection: AnyConnection) -> None:
    """Begin a transaction that writes."""
    if isinstance(connection, PostgresConnection):
        connection.settle()  # what a test wrote by hand
        connection.begin(*writing_begins())
    else:
        connection.execute("BEGIN IMMEDIATE")


def commit(connection: AnyConnection) -> None:
    """End it."""
    if isinstance(connection, PostgresConnection):
        connection.commit()
    else:
        connection.execute("COMMIT")


def roll_back(connection: AnyConnection) -> None:
    """Undo it."""
    if isinstance(connection, PostgresConnection):
        connection.roll_back()
    else:
        connection.execute("ROLLBACK")


def dump(connection: AnyConnection) -> list[str]:
    """All that is stored, except for who wrote it last, in the same text on both engines."""
    lines = []
    for table, columns in TABLES.items():
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
        lines += sorted(f"{table} {tuple(int(v) if isinstance(v, bool) else v for v in row)}" for row in rows)
    return lines


def broken_references(connection: AnyConnection) -> list[object]:
    """Rows that point nowhere. PostgreSQL has none, because it checks each when it is written."""
    if isinstance(connection, PostgresConnection):
        return []
    return list(connection.execute("PRAGMA foreign_key_check"))


def _tables() -> dict[str, list[str]]:
    with closing(sqlite3.connect(":memory:")) as scratch:
        for migration in migrations.read_migrations(schema.migrations_directory()):
            scratch.executescript(migrations.lines_for("sqlite", migration.sql))
        names = [name for (name,) in scratch.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [row[1] for row in scratch.execute(f"PRAGMA table_info({name})") if row[1] != "writer"]
            for name in sorted(names)
            if name not in ("meta", "counters", "expiry_walks")
        }


_EMPTYING = (
    "SET LOCAL session_replication_role = replica",  # no foreign key is checked
    "SET LOCAL lock_timeout = '5s'",
    *(f"DELETE FROM {table}" for table in (*_tables(), "expiry_walks")),
    *(f"SELECT setval('{kind}_ids', 1, false)" for kind in sharing.KINDS),
    "INSERT INTO expiry_walks (first_id, next_id) VALUES (1, 1)",
)
_cleaners: dict[str, psycopg.Connection] = {}

TABLES = _tables()
"""The tables that both engines fill alike, with their columns. Only SQLite's rules use counters and walks."""
