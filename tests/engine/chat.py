"""A `SocketServer` that is running, without a network, and what went wrong in it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import trio

from djactors.engine import EngineApplication, Namespace, SocketServer
from tests.engine.clients import CALM, SOCKET, Served, TestSocket
from tests.engine.echo import EngineLog


class Chat(Served):
    """`failures` is what `on_error` was told; `log` what the engine counted."""

    def __init__(self, nursery: trio.Nursery, *namespaces: Namespace, **settings: Any) -> None:
        self.failures: list[tuple[BaseException, str]] = []
        self._log = EngineLog()
        numbers = count(1)
        self.server = SocketServer(
            *namespaces,
            on_error=lambda error, peer: self.failures.append((error, peer)),
            settings=replace(CALM, **settings),
            random_token=lambda: f"sid{next(numbers)}",
            telemetry=self._log,
        )
        super().__init__(nursery, EngineApplication({SOCKET: self.server}), SOCKET)

    @property
    def log(self) -> EngineLog:
        return self._log

    @property
    def reasons(self) -> list[str]:
        """Why sessions ended."""
        return [reason for _, reason in self._log.closed]

    async def enter(self, namespace: str = "") -> TestSocket:
        """Join a namespace, by a WebSocket of its own; whatever comes behind the answer is still to be read."""
        websocket = await self.websocket_session()
        websocket.send(f"40{namespace}")
        assert str(await websocket.receive()).startswith(f"40{namespace}")
        return websocket


StartChat = Callable[..., Awaitable[Chat]]


@pytest.fixture
async def start(nursery: trio.Nursery) -> StartChat:
    async def start(*namespaces: Namespace, **settings: Any) -> Chat:
        chat = Chat(nursery, *namespaces, **settings)
        await nursery.start(chat.server.run)
        return chat

    return start
