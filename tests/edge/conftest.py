"""The rooms behind the port, opened for a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.edge.rooms import Rooms, rooms
from tests.edge.sockets import Client


@pytest.fixture
async def house(tmp_path: Path, autojump_clock: object) -> AsyncIterator[Rooms]:
    # As fast as a test likes: how fast a socket may be is tested with the limits.
    async with rooms(tmp_path, emit_burst=10_000) as opened:
        yield opened


@pytest.fixture
async def client(house: Rooms) -> Client:
    """User 7 of tenant 1, connected, with two unread notifications of the ids 1 and 2."""
    await house.notify()
    await house.notify()
    client = Client(house)
    await client.connect(token=house.token(1, 7))
    return client
