"""A database with a table of its own, of each engine, and both ways to run its work."""

from pathlib import Path

import pytest

from djactors.store.engines import Place, engine_at
from djactors.store.migrations import utc_now
from djactors.store.sqlite import migrate
from djactors.store.threads import DedicatedThreads, InlineRunner, ThreadFactory
from tests.store.writes import COUNTERS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file that was just migrated."""
    path = tmp_path / "inbox.db"
    migrate.apply(path, COUNTERS)
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place without a schema, of each engine."""
    if request.param == "sqlite":
        return tmp_path / "inbox.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def place(empty: Place) -> Place:
    """A database that was just migrated, of each engine."""
    engine_at(empty).apply(COUNTERS, utc_now)
    return empty


@pytest.fixture
def url(postgres_url: str) -> str:
    """A PostgreSQL database that was just migrated."""
    engine_at(postgres_url).apply(COUNTERS, utc_now)
    return postgres_url


@pytest.fixture(params=[DedicatedThreads, InlineRunner], ids=["threads", "inline"])
def threads(request: pytest.FixtureRequest) -> ThreadFactory:
    """What both executors promise is tested on both."""
    factory: ThreadFactory = request.param
    return factory
