"""A client that has left a Socket.IO server leaves nothing for the garbage collector."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from djactors.client.socketio import SocketSettings, connect
from djactors.engine import Namespace, Socket
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
