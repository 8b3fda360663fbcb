"""A migrated database, and both ways to run its work."""

from pathlib import Path

import pytest

from djactors.store import migrate
from djactors.store.threads import DedicatedThreads, InlineRunner, ThreadFactory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database file that was just migrated."""
    path = tmp_path / "inbox.db"
    migrate.apply(path)
    return path


@pytest.fixture(params=[DedicatedThreads, InlineRunner], ids=["threads", "inline"])
def threads(request: pytest.FixtureRequest) -> ThreadFactory:
    """What both executors promise is tested on both."""
    factory: ThreadFactory = request.param
    return factory
