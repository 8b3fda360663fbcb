"""A desk with a fresh database, for each test."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from djactors.inbox import schema
from djactors.store.sqlite.connection import SqliteConnection
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
    with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
        yield Desk(connection)
