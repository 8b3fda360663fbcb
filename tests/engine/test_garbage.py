"""A client that has left a Socket.IO server leaves nothing for the garbage collector."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from djactors.client.socketio import SocketSettings, connect
from djactors.engine import ConnectRefused, Namespace, Socket
from djactors.protocol import Transport
from tests.client.socketio.memory import URL, MemoryWay
from tests.engine.chat import Chat
from tests.garbage import garbage

WAYS = [(Transport.WEBSOCKET,), (Transport.POLLING,), (Transport.POLLING, Transport.WEBSOCKET)]


@pytest.mark.parametrize("order", WAYS, ids=["websocket", "polling", "upgraded"])
async def test_who_leaves_leaves_no_garbage(
    autojump_clock: MockClock, nursery: trio.Nursery, order: tuple[Transport, ...]
) -> None:
    namespace = Namespace()
    namespace.on_connect(lambda socket, auth: None)
    namespace.on_disconnect(lambda socket, reason: None)

    @namespace.on("now")
    def now(socket: Socket, text: str) -> str:
        return text

    @namespace.on("later")
    async def later(socket: Socket, text: str) -> str:
        await trio.sleep(1)
        return text

    chat = Chat(nursery, namespace)
    await nursery.start(chat.server.run)
    way = MemoryWay(chat)

    async def come_and_go() -> None:
        async with connect(URL, settings=SocketSettings(transports=order), open_stream=way) as socket:
            await socket.wait_connected()
            assert await socket.call("now", "a") == ["a"]
            assert await socket.call("later", "b") == ["b"]
        way.streams.clear()
        # The engine keeps what may still be asked for.
        await trio.sleep(60)

    await come_and_go()
    with garbage() as found:
        for _ in range(3):
            await come_and_go()
    assert not found


async def test_who_is_refused_leaves_no_garbage(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    at_once, later = Namespace(), Namespace("/later")

    @at_once.on_connect
    def refuse(socket: Socket, auth: dict[str, Any]) -> None:
        raise ConnectRefused("no")

    @later.on_connect
    async def refuse_later(socket: Socket, auth: dict[str, Any]) -> None:
        await trio.sleep(1)
        raise ConnectRefused("no")

    chat = Chat(nursery, at_once, later)
    await nursery.start(chat.server.run)

    async def ask(namespace: str) -> None:
        websocket = await chat.websocket_session()
        websocket.send(f"40{namespace}")
        assert str(await websocket.receive()).startswith("44")
        websocket.close()
        await trio.sleep(60)

    await ask("")
    with garbage() as found:
        for namespace in ("", "/later,"):
            await ask(namespace)
    assert not found
