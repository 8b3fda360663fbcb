"""The rooms behind the port, opened for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge_api.rooms import Rooms, rooms


@pytest.fixture
async def house(tmp_path: Path, autojump_clock: object) -> AsyncIterator[Rooms]:
    async with rooms(tmp_path) as opened:
        yield opened
