"""A desk to record at, and the rooms behind the port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from djactors.store.engines import Place
from tests.edge.rooms import Rooms, rooms
from tests.inbox.conftest import desk

__all__ = ["desk", "house"]


@pytest.fixture
async def house(tmp_path: Path, place: Place, autojump_clock: object) -> AsyncIterator[Rooms]:
    # As fast as a test likes: how fast a socket may be is tested with the limits.
    async with rooms(tmp_path, place, emit_burst=10_000) as opened:
        yield opened
