"""Served echoes. Their tests ask for `autojump_clock` themselves, as only a test's own arguments set the clock."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from djactors.engine import EngineSettings
from djactors.engine.example import SUITE_SETTINGS
from tests.engine.clients import CALM, ENGINE, SOCKET, Served
from tests.engine.echo import EchoApplication

Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Serve:
    async def start(settings: EngineSettings = CALM, path: str = ENGINE, **arguments: Any) -> Served:
        application = EchoApplication(settings, **arguments)
        await nursery.start(application.engine.run)
        await nursery.start(application.socket.run)
        return Served(nursery, application, path)

    return start


@pytest.fixture
async def engine(serve: Serve) -> Served:
    """The Engine.IO echo with the intervals of the official suite."""
    return await serve(SUITE_SETTINGS)


@pytest.fixture
async def socket(serve: Serve) -> Served:
    """The Socket.IO echo with the intervals of the official suite."""
    return await serve(SUITE_SETTINGS, SOCKET)


@pytest.fixture
async def calm(serve: Serve) -> Served:
    """The Engine.IO echo with the default intervals."""
    return await serve()
