"""A migrated database, a desk to record at, and houses with a clock."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from djactors.inbox import schema
from djactors.store.sqlite.connection import SqliteConnection
from tests.clockwork.desk import Desk


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file that nobody writes to."""
    path = tmp_path_factory.mktemp("clockwork") / "inbox.db"
    schema.apply(path)
    return path


@pytest.fixture
def path(tmp_path: Path, migrated: Path) -> Path:
    """A database file of the test's own."""
    path = tmp_path / "inbox.db"
    path.write_bytes(migrated.read_bytes())
    return path


@pytest.fixture
def fast_path(path: Path) -> Iterator[Path]:
    """A database in memory where the machine has a file system there: for many commits that need not survive."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        fast = Path(folder) / path.name
        fast.write_bytes(path.read_bytes())
        yield fast


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, factory=SqliteConnection)) as connection:
        yield connection


@pytest.fixture
def desk(connection: sqlite3.Connection) -> Desk:
    return Desk(connection)
