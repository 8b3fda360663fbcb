"""A database with a table of its own, and both ways to run its work."""

from pathlib import Path

import pytest

from djactors.store.sqlite import migrate
from djactors.store.threads import DedicatedThreads, InlineRunner, ThreadFactory
from tests.store.writes import COUNTERS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file that was just migrated."""
    path = tmp_path / "inbox.db"
    migrate.apply(path, COUNTERS)
    return path


@pytest.fixture(params=[DedicatedThreads, InlineRunner], ids=["threads", "inline"])
def threads(request: pytest.FixtureRequest) -> ThreadFactory:
    """What both executors promise is tested on both."""
    factory: ThreadFactory = request.param
    return factory
