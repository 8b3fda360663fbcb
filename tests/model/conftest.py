"""A migrated database of the test's own."""

from pathlib import Path

import pytest

from djactors.inbox import schema


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "inbox.db"
    schema.apply(path)
    return path
