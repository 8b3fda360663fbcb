"""A desk to record at, and houses with a clock."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clockwork.desk import Desk
from tests.engines import AnyConnection


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
def desk(connection: AnyConnection) -> Desk:
    return Desk(connection)
