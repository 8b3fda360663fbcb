"""Fixtures over the test environment; `tests/conftest.py` imports them by name."""

import itertools
import os
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from bench.postgres import running_postgres
from djactors.inbox import schema
from djactors.store import migrations
from djactors.web.node import NODE, NPM
from tests.simulation.disk import Disk, disks


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The DSN of one PostgreSQL server for the whole session. Make a database or schema of your own in it."""
    with running_postgres() as dsn:
        yield dsn


@pytest.fixture
def postgres(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection whose schema of its own has every migration."""
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS djactors CASCADE")
        connection.execute("CREATE SCHEMA djactors")
        connection.execute("SET search_path TO djactors")
        for migration in migrations.read_migrations(schema.migrations_directory()):
            connection.execute(migrations.lines_for("postgresql", migration.sql).encode())
        yield connection
        connection.execute("DROP SCHEMA djactors CASCADE")


_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_dsn: str) -> Iterator[str]:
    """The URL of a schema of its own, which is empty, as the setting `database` takes it."""
    name = f"test_{next(_numbers)}"
    server = conninfo_to_dict(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        yield (
            f"postgresql://{server['user']}@{quote(str(server['host']), safe='')}/{server['dbname']}"
            f"?options=-csearch_path%3D{name}"
        )
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture(scope="session")
def path_with_node(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The search path of somebody who has Node and npm, for lines that are printed for people: those of the wheel."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "node").symlink_to(NODE)
    (folder / "npm").symlink_to(NPM)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def registered() -> Iterator[dict[str, Disk]]:
    """The simulated disks by their folders: SQLite finds those that are put here."""
    with disks() as its:
        yield its
