"""Each transport, the upgrade, and the fallback, against the engine's own echo in memory."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.client.socketio import (
    Connected,
    ConnectFailed,
    Disconnected,
    DisconnectReason,
    Event,
    SocketSettings,
    TooLargeError,
    connect,
)
from djactors.engine import EngineSettings
from djactors.protocol import Transport
from tests.client.socketio.memory import POLLING, QUICK, URL, WEBSOCKET, MemoryWay, PeerStream, take
from tests.engine.clients import CALM, SOCKET, Served
from tests.engine.echo import EchoApplication

ORDERS = [(WEBSOCKET,), (POLLING,), (POLLING, WEBSOCKET), (WEBSOCKET, POLLING)]


async def echo(nursery: trio.Nursery, settings: EngineSettings = CALM) -> Served:
    application = EchoApplication(settings)
    await nursery.start(application.socket.run)
    return Served(nursery, application, SOCKET)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(order))
async def test_what_is_sent_comes_back_by_each_transport(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, order: tuple[Transport, ...]
) -> None:
    way = MemoryWay(await echo(nursery))
    settings = SocketSettings(transports=order)
    data = [1, None, b"\x00\xff", {"deep": [b"", "\x1e é"]}, "x" * 100_000]
    async with connect(URL, auth={"a": 1}, namespace="/custom", settings=settings, open_stream=way) as socket:
        connected, welcome = await take(socket, 2)
        assert isinstance(connected, Connected)
        assert (connected.transport, connected.recovered) == (order[0], False)
        assert welcome == Event("auth", [{"a": 1}], connection=1)
        assert await socket.call("message-with-ack", *data) == data
        await socket.emit("message", *data)
        assert await anext(socket) == Event("message-back", data, connection=1)
        await wait_all_tasks_blocked()
        assert socket.transport is (order[0] if len(order) == 1 else WEBSOCKET)
        assert await socket.call("message-with-ack", *data) == data
    await wait_all_tasks_blocked()
    assert all(stream.is_closed for stream in way.streams)


async def test_nothing_is_lost_or_reordered_at_the_upgrade(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    way = MemoryWay(await echo(nursery))
    settings = SocketSettings(transports=(POLLING, WEBSOCKET))
    async with connect(URL, settings=settings, open_stream=way) as socket:
        async with trio.open_nursery() as senders:

            async def send() -> None:
                for number in range(500):
                    await socket.emit("message", number)

            senders.start_soon(send)
            items = await take(socket, 502)
        assert [item.args for item in items[2:] if isinstance(item, Event)] == [[number] for number in range(500)]
        assert socket.transport is WEBSOCKET


class NoUpgrade(MemoryWay):
    """A proxy that knows no WebSocket: it takes `Upgrade` away, or hangs up, or says nothing."""

    def __init__(self, served: Served, how: str) -> None:
        super().__init__(served)
        self._how = how

    async def __call__(self, address):  # type: ignore[no-untyped-def]
        stream = await super().__call__(address)
        assert isinstance(stream, PeerStream)
        send = stream.send_all

        async def filtered(data: bytes | bytearray | memoryview) -> None:
            if b"transport=websocket" not in bytes(data):
                await send(data)
            elif self._how == "refuse":
                stream.peer._deliver(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")
            elif self._how == "hang up":
                stream.peer._server_ended()
            elif self._how == "reset":
                stream.cut()

        stream.send_all = filtered  # type: ignore[method-assign]
        return stream


@pytest.mark.parametrize("how", ["refuse", "hang up", "reset", "silence"])
async def test_polling_is_the_fallback_where_no_websocket_passes(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, how: str
) -> None:
    way = NoUpgrade(await echo(nursery), how)
    async with connect(URL, settings=QUICK, open_stream=way) as socket:
        connected, _ = await take(socket, 2)
        assert isinstance(connected, Connected)
        assert connected.transport == "polling"
        # An upgrade is tried, and leaves the session as it is.
        await trio.sleep(30)
        assert await socket.call("message-with-ack", 1) == [1]
        assert socket.transport is POLLING
        tried = len(way.times)
        way.cut()
        await take(socket, 1)
        [again] = [item for item in await take(socket, 2) if isinstance(item, Connected)]
        assert again.transport == "polling"
        # What passed is tried first, and the WebSocket only as an upgrade.
        assert len(way.times) > tried


async def test_a_websocket_alone_is_not_replaced(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    way = NoUpgrade(await echo(nursery), "refuse")
    settings = SocketSettings(transports=(WEBSOCKET,), jitter=0.0)
    async with connect(URL, settings=settings, open_stream=way) as socket:
        failed = await anext(socket)
        assert isinstance(failed, ConnectFailed)
        assert (failed.reason, failed.attempt) == (DisconnectReason.NOT_OPENED, 1)
        assert "400" in failed.detail


async def test_a_packet_that_the_server_would_not_take_is_refused_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    way = MemoryWay(await echo(nursery))
    async with connect(URL, settings=QUICK, open_stream=way) as socket:
        await take(socket, 2)
        with pytest.raises(TooLargeError, match="the server takes 1000000"):
            await socket.emit("message", "x" * 1_000_001)
        with pytest.raises(TypeError):
            await socket.emit("message", object())
        assert await socket.call("message-with-ack", 1) == [1]


@pytest.mark.parametrize("order", ORDERS[:2], ids=["websocket", "polling"])
async def test_a_server_whose_pings_stay_out_is_left(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery, order: tuple[Transport, ...]
) -> None:
    way = MemoryWay(await echo(nursery))
    settings = SocketSettings(transports=order, jitter=0.0)
    async with connect(URL, settings=settings, open_stream=way) as socket:
        await take(socket, 2)
        await trio.sleep(600)
        assert socket.is_connected
        since = trio.current_time()
        for stream in way.streams:
            # The server is as good as gone: nothing comes, and nothing says so.
            stream.peer._deliver = lambda data: None  # type: ignore[method-assign]
            stream.peer._server_ended = lambda reset=False: None  # type: ignore[method-assign]
        gone = await anext(socket)
        assert isinstance(gone, Disconnected)
        assert gone.reason is DisconnectReason.PING_TIMEOUT
        assert trio.current_time() - since <= CALM.ping_interval + CALM.ping_timeout
        assert isinstance(await anext(socket), Connected)


async def test_a_cancelled_block_hangs_up_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    way = MemoryWay(await echo(nursery))
    with trio.CancelScope() as scope:
        async with connect(URL, open_stream=way) as socket:
            await take(socket, 2)
            before = trio.current_time()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == before
    assert all(stream.is_closed for stream in way.streams)


def tasks_below(nursery: trio.Nursery) -> int:
    return sum(1 + sum(map(tasks_below, task.child_nurseries)) for task in nursery.child_tasks)


async def test_a_connection_by_websocket_takes_one_task(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    way = MemoryWay(await echo(nursery))
    settings = SocketSettings(transports=(WEBSOCKET,))
    async with connect(URL, settings=settings, open_stream=way) as socket:
        await take(socket, 2)
        assert await socket.call("message-with-ack", 1) == [1]
        # Longer than a heartbeat, which needs no further task either.
        await trio.sleep(2 * CALM.ping_interval)
        await wait_all_tasks_blocked()
        around = trio.lowlevel.current_task().child_nurseries[-1]
        assert tasks_below(around) == 1
        assert socket.is_connected
