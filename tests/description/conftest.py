"""The rooms behind the port, as the tests of the routes have them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge.rooms import Rooms, rooms


@pytest.fixture
async def house(tmp_path: Path, autojump_clock: object) -> AsyncIterator[Rooms]:
    async with rooms(tmp_path, emit_burst=10_000, test_events=True) as opened:
        yield opened
