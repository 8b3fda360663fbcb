"""A desk with a fresh database, for each test."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from djactors.inbox import schema
from djactors.store import migrate
from tests.inbox.desk import Desk


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file that nobody writes to."""
    path = tmp_path_factory.mktemp("migrated") / "inbox.db"
    schema.apply(path)
    return path


@pytest.fixture
def path(tmp_path: Path, migrated: Path) -> Path:
    """A database file of the test's own."""
    path = tmp_path / "inbox.db"
    with closing(sqlite3.connect(migrated)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = WAL")
    return path


@pytest.fixture
def desk(path: Path) -> Iterator[Desk]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield Desk(connection)


@pytest.fixture
def postgres(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection whose schema of its own has every migration."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS djactors CASCADE")
        connection.execute("CREATE SCHEMA djactors")
        connection.execute("SET search_path TO djactors")
        for migration in migrate.read_migrations(schema.migrations_directory()):
            connection.execute(migrate.lines_for("postgresql", migration.sql).encode())
        yield connection
        connection.execute("DROP SCHEMA djactors CASCADE")
