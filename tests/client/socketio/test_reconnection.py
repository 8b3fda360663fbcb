"""What a client does when a connection ends, or none can be made: waits, tokens, refusals, and giving up."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from djactors.client.socketio import (
    AckTimeoutError,
    ClientClosedError,
    Connected,
    ConnectFailed,
    ConnectFailedError,
    ConnectionLostError,
    Disconnected,
    DisconnectReason,
    Event,
    RefusedError,
    ServerDisconnectedError,
    Socket,
    SocketSettings,
    TryAgainError,
    connect,
)
from djactors.engine import ConnectRefused, Namespace
from djactors.engine import Socket as ServerSocket
from djactors.protocol import Transport
from tests.client.socketio.memory import POLLING, QUICK, URL, WEBSOCKET, MemoryWay, ScriptedWay, take
from tests.engine.chat import Chat


async def chat_of(nursery: trio.Nursery, *namespaces: Namespace) -> tuple[Chat, MemoryWay]:
    chat = Chat(nursery, *(namespaces or (Namespace(),)))
    await nursery.start(chat.server.run)
    return chat, MemoryWay(chat)


def waits(times: list[float]) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in pairwise(times)]


async def test_waits_double_up_to_the_longest(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery)
    way.is_down = True
    async with connect(URL, settings=QUICK, open_stream=way) as socket:
        failed = await take(socket, 5)
        assert [(item.attempt, item.retry_in) for item in failed if isinstance(item, ConnectFailed)] == [
            (1, 1.0),
            (2, 2.0),
            (3, 4.0),
            (4, 5.0),
            (5, 5.0),
        ]
        assert all(item.reason is DisconnectReason.UNREACHABLE for item in failed if isinstance(item, ConnectFailed))
        way.is_down = False
        assert isinstance(await anext(socket), Connected)
    assert waits(way.times) == [1, 2, 4, 5, 5]


async def test_the_random_part_is_taken_off_after_the_longest_wait(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    _, way = await chat_of(nursery)
    way.is_down = True
    numbers = iter([0.0, 1.0, 0.5, 1.0, 0.2])
    async with connect(URL, settings=SocketSettings(), open_stream=way, random=lambda: next(numbers)) as socket:
        failed = await take(socket, 5)
    assert [item.retry_in for item in failed if isinstance(item, ConnectFailed)] == [1.0, 1.0, 3.0, 2.5, 4.5]


async def test_a_connection_that_was_stable_begins_the_waits_anew(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    _, way = await chat_of(nursery)
    async with connect(URL, settings=QUICK, open_stream=way) as socket:
        for expected in (1.0, 2.0, 4.0):
            # It accepts and hangs up: there is a pause all the same.
            assert isinstance(await anext(socket), Connected)
            way.cut()
            gone = await anext(socket)
            assert gone == Disconnected(DisconnectReason.TRANSPORT, "the connection was cut", expected)
        assert isinstance(await anext(socket), Connected)
        await trio.sleep(QUICK.stable_after)
        way.cut()
        gone = await anext(socket)
        assert isinstance(gone, Disconnected)
        assert gone.retry_in == 1.0


@pytest.mark.parametrize(("told", "expected"), [("7", 7.0), ("100000", 300.0), ("soon", 1.0), ("-1", 1.0)])
async def test_what_a_busy_server_asks_for_is_honoured_within_bounds(
    autojump_clock: MockClock, nursery: trio.Nursery, told: str, expected: float
) -> None:
    async def busy(stream: trio.StapledStream) -> None:
        await stream.receive_some()
        head = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {told}\r\nContent-Length: 0\r\n\r\n"
        await stream.send_all(head.encode())

    way = ScriptedWay(nursery, busy)
    async with connect(URL, settings=QUICK, open_stream=way) as socket:
        failed = await anext(socket)
        assert isinstance(failed, ConnectFailed)
        assert failed.retry_in == expected
        await take(socket, 1)
        # Another transport would not find the server less busy.
        assert waits(way.times) == [expected]


async def test_it_gives_up_after_so_many_attempts(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery)
    way.is_down = True
    async with connect(URL, settings=SocketSettings(max_attempts=3), open_stream=way) as socket:
        await take(socket, 2)
        for _ in range(2):
            with pytest.raises(ConnectFailedError, match=r"3 attempts to connect failed, the last with: .*refused"):
                await anext(socket)
        with pytest.raises(ConnectFailedError):
            await socket.emit("anything")
        with pytest.raises(ConnectFailedError):
            await socket.wait_connected()
    assert len(way.times) == 3


def guarded(*good: str) -> Namespace:
    namespace = Namespace()

    @namespace.on_connect
    def admit(socket: ServerSocket, auth: dict[str, Any]) -> None:
        if auth.get("token") not in good:
            raise ConnectRefused("Unauthorized", {"code": "token_expired"})

    return namespace


async def test_a_refused_token_ends_a_client_that_has_no_other(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    _, way = await chat_of(nursery, guarded("good"))
    async with connect(URL, auth={"token": "old"}, open_stream=way) as socket:
        with pytest.raises(RefusedError, match="Unauthorized") as caught:
            await anext(socket)
        assert caught.value.data == {"code": "token_expired"}
        with pytest.raises(RefusedError):
            await socket.call("anything")
    assert len(way.times) == 1


async def test_a_function_is_asked_for_another_token_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery, guarded("fresh"))
    asked: list[Any] = []

    async def auth(refusal: RefusedError | None) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        asked.append(None if refusal is None else refusal.data)
        return {"token": "fresh" if refusal else "old"}

    async with connect(URL, auth=auth, open_stream=way) as socket:
        assert isinstance(await anext(socket), Connected)
    assert asked == [None, {"code": "token_expired"}]
    assert waits(way.times) == [0]


async def test_fresh_tokens_that_are_all_refused_end_the_client(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    _, way = await chat_of(nursery, guarded())
    numbers = iter(range(100))
    async with connect(
        URL, auth=lambda refusal: {"token": str(next(numbers))}, settings=QUICK, open_stream=way
    ) as socket:
        assert isinstance(await anext(socket), ConnectFailed)
        assert isinstance(await anext(socket), ConnectFailed)
        with pytest.raises(RefusedError):
            await anext(socket)
    assert len(way.times) == QUICK.max_refusals


async def test_auth_that_is_not_to_be_had_now_is_tried_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery)
    answers: list[Any] = [TryAgainError("the backend is away"), {}]

    def auth(refusal: RefusedError | None) -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    async with connect(URL, auth=auth, settings=QUICK, open_stream=way) as socket:
        failed, connected = await take(socket, 2)
        assert failed == ConnectFailed(DisconnectReason.AUTH, "no auth: the backend is away", 1.0, 1)
        assert isinstance(connected, Connected)


async def test_what_auth_raises_otherwise_ends_the_block(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery)

    def auth(refusal: RefusedError | None) -> dict[str, Any]:
        raise KeyError("the caller's own mistake")

    with pytest.raises(KeyError, match="own mistake"):
        async with connect(URL, auth=auth, open_stream=way):
            await trio.sleep_forever()


async def test_what_the_block_raises_comes_out_as_it_is(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery)
    with pytest.raises(ZeroDivisionError):
        async with connect(URL, open_stream=way):
            raise ZeroDivisionError


@pytest.mark.parametrize("order", [(WEBSOCKET,), (POLLING,)], ids=["websocket", "polling"])
async def test_leaving_tells_the_server(
    autojump_clock: MockClock, nursery: trio.Nursery, order: tuple[Transport, ...]
) -> None:
    namespace, reasons = Namespace(), []
    namespace.on_disconnect(lambda socket, reason: reasons.append(reason))
    _, way = await chat_of(nursery, namespace)
    async with connect(URL, settings=SocketSettings(transports=order), open_stream=way) as socket:
        await anext(socket)
        before = trio.current_time()
    await trio.testing.wait_all_tasks_blocked()
    assert reasons == ["left"]
    assert trio.current_time() == before


@pytest.mark.parametrize("order", [(WEBSOCKET,), (POLLING,)], ids=["websocket", "polling"])
async def test_leaving_tells_a_server_that_goes_on_sending(
    autojump_clock: MockClock, nursery: trio.Nursery, order: tuple[Transport, ...]
) -> None:
    namespace, reasons = Namespace(), []
    there: list[ServerSocket] = []
    namespace.on_connect(lambda socket, auth: there.append(socket))
    namespace.on_disconnect(lambda socket, reason: reasons.append(reason))
    _, way = await chat_of(nursery, namespace)

    async def send() -> None:
        while not reasons:
            there[0].emit("news", "x" * 100)
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as meanwhile:
        async with connect(URL, settings=SocketSettings(transports=order), open_stream=way) as socket:
            await anext(socket)
            meanwhile.start_soon(send)
            await anext(socket)
        with trio.fail_after(1):
            while not reasons:
                await trio.lowlevel.checkpoint()
    assert reasons == ["left"]


async def test_a_client_that_was_put_out_stays_out(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    namespace = Namespace()

    @namespace.on("out")
    def out(socket: ServerSocket) -> None:
        socket.disconnect(reconnect=False)

    _, way = await chat_of(nursery, namespace)
    async with connect(URL, open_stream=way) as socket:
        await anext(socket)
        await socket.emit("out")
        with pytest.raises(ServerDisconnectedError):
            await anext(socket)


async def test_a_server_that_drains_is_come_back_to(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    namespace = Namespace()

    @namespace.on("out")
    def out(socket: ServerSocket) -> None:
        socket.disconnect()

    _, way = await chat_of(nursery, namespace)
    async with connect(URL, open_stream=way) as socket:
        await anext(socket)
        await socket.emit("out")
        gone, back = await take(socket, 2)
        assert isinstance(gone, Disconnected)
        assert isinstance(back, Connected)


def slow() -> Namespace:
    namespace = Namespace()

    @namespace.on("never")
    async def never(socket: ServerSocket) -> None:
        await trio.sleep_forever()

    @namespace.on("echo")
    def echo(socket: ServerSocket, value: Any) -> Any:
        return value

    @namespace.on("ask me")
    async def ask(socket: ServerSocket) -> None:
        socket.emit("answer", *(await socket.emit_with_ack("question", 1, timeout=5)))

    return namespace


async def test_an_ack_that_stays_out_is_told(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery, slow())
    async with connect(URL, open_stream=way) as socket:
        await anext(socket)
        before = trio.current_time()
        with pytest.raises(AckTimeoutError, match="never: no ack within 3 s"):
            await socket.call("never", timeout=3)
        assert trio.current_time() - before == 3


async def test_a_connection_that_breaks_before_the_ack_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    _, way = await chat_of(nursery, slow())
    async with connect(URL, open_stream=way) as socket, trio.open_nursery() as inner:
        await anext(socket)

        async def call() -> None:
            with pytest.raises(ConnectionLostError):
                await socket.call("never")

        inner.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        way.cut()


async def test_calls_wait_for_a_connection(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery, slow())
    way.is_down = True
    async with connect(URL, settings=QUICK, open_stream=way) as socket, trio.open_nursery() as inner:

        async def call() -> None:
            assert await socket.call("echo", 5) == [5]

        inner.start_soon(call)
        await trio.sleep(2)
        way.is_down = False


async def test_the_servers_question_is_answered_on_its_own_connection(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    _, way = await chat_of(nursery, slow())
    async with connect(URL, settings=QUICK, open_stream=way) as socket:
        await anext(socket)
        await socket.emit("ask me")
        question = await anext(socket)
        assert isinstance(question, Event)
        assert (question.name, question.args) == ("question", [1])
        await socket.acknowledge(question, "yes", 2)
        answer = await anext(socket)
        assert isinstance(answer, Event)
        assert answer.args == ["yes", 2]
        with pytest.raises(ValueError, match="asked for no ack"):
            await socket.acknowledge(answer)
        await socket.emit("ask me")
        stale = await anext(socket)
        assert isinstance(stale, Event)
        socket.reconnect()
        await take(socket, 2)
        with pytest.raises(ConnectionLostError):
            await socket.acknowledge(stale, "too late")


async def test_a_client_is_of_no_use_behind_its_block(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    _, way = await chat_of(nursery)
    kept: list[Socket] = []
    async with connect(URL, open_stream=way) as socket:
        kept.append(socket)
        await socket.wait_connected()
    with pytest.raises(ClientClosedError):
        await kept[0].emit("anything")


async def test_what_is_not_taken_in_time_ends_the_connection_and_is_kept(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    namespace = Namespace()

    @namespace.on("flood")
    def flood(socket: ServerSocket, count: int, size: int) -> None:
        for number in range(count):
            socket.emit("drop", number, "x" * size)

    _, way = await chat_of(nursery, namespace)
    for settings, count, size in (
        (SocketSettings(queue_items=10, jitter=0.0), 100, 1),
        (SocketSettings(queue_bytes=10_000, jitter=0.0), 100, 2000),
    ):
        async with connect(URL, settings=settings, open_stream=way) as socket:
            await anext(socket)
            await socket.emit("flood", count, size)
            await trio.sleep(60)
            # It waits for the caller instead of connecting again and again.
            assert not socket.is_connected
            attempts = len(way.times)
            received = []
            while isinstance(item := await anext(socket), Event):
                received.append(item.args[0])
            assert received == list(range(len(received)))
            assert 4 <= len(received) <= 10
            assert isinstance(item, Disconnected)
            assert item.reason is DisconnectReason.BACKLOG
            assert isinstance(await anext(socket), Connected)
            assert len(way.times) == attempts + 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"url": "server.test"}, "url"),
        ({"url": "ftp://server.test"}, "url"),
        ({"url": "http://server.test:port"}, "url"),
        ({"url": "http://user@server.test"}, "url"),
        ({"url": "http://server.test/?a=1"}, "url"),
        ({"url": "http://server.test/a b"}, "url"),
        ({"url": "http://server.test/\x00"}, "url"),
        ({"namespace": "chat"}, "namespace"),
        ({"path": "socket.io"}, "path"),
        ({"query": {"sid": "1"}}, "query"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "headers"),
    ],
)
async def test_an_argument_that_is_wrong_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}:"):
        async with connect(**({"url": URL} | arguments)):
            pass


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"transports": ()}, "transports"),
        ({"jitter": 2}, "jitter"),
        ({"queue_items": 0}, "queue_items"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"reconnect_delay": -1}, "reconnect_delay"),
    ],
)
def test_a_setting_that_is_wrong_is_named(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}:"):
        SocketSettings(**setting)
