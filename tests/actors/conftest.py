"""A migrated database of the test's own."""

from pathlib import Path

import pytest

from djactors.store import migrate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "inbox.db"
    migrate.apply(path)
    return path
