"""WebSockets over real sockets, with a raw client and with trio-websocket's own; deadlines over memory streams."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio_websocket
from trio.testing import wait_all_tasks_blocked

from djactors.net import CLOSE_TIMEOUT, Request, SlowConsumer, WebSocket, WebSocketClosed, open_websocket
from djactors.protocol import text_frame
from tests.fakes.memory_stream import MemoryStream
from tests.net.applications import (
    KEY,
    UPGRADE,
    Echo,
    answers,
    connect,
    listening,
    masked,
    open_raw_websocket,
    receive_all,
    receive_frame,
    receive_until,
    reset,
    until,
)

REQUEST = Request("GET", "/socket", headers={"sec-websocket-key": KEY.decode()})


async def carry(stream: MemoryStream, converse: Callable[[WebSocket], Awaitable[None]]) -> None:
    async with open_websocket(REQUEST, stream, b"", 1000) as websocket:
        await converse(websocket)


async def test_a_stock_client_gets_its_messages_back():
    async with listening() as listener:
        host, port = listener.address
        async with trio_websocket.open_websocket(host, port, "/socket", use_ssl=False) as client:
            for message in ("hello", "é€😀", b"\x00\xff", "x" * 70_000, b"y" * 70_000, "", b""):
                await client.send_message(message)
                assert await client.get_message() == message
            with trio.fail_after(5):
                await client.ping(b"are you there?")
        await until(lambda: listener.connections == 0)


async def test_frames_that_arrive_with_the_handshake_are_not_lost():
    async with listening() as listener:
        client = await connect(listener)
        await client.send_all(UPGRADE + masked(0x81, b"early") + masked(0x81, b"bird")[:4])
        await receive_until(client, b"\r\n\r\n")
        assert await receive_frame(client) == (0x81, b"early")
        await client.send_all(masked(0x81, b"bird")[4:])
        assert await receive_frame(client) == (0x81, b"bird")
        await client.aclose()


async def test_a_fragmented_message_with_a_ping_between_is_joined():
    async with listening() as listener:
        client = await open_raw_websocket(listener)
        euro = "€".encode()
        await client.send_all(
            masked(0x01, b"a" + euro[:1]) + masked(0x89, b"p") + masked(0x00) + masked(0x80, euro[1:])
        )
        assert await receive_frame(client) == (0x8A, b"p")
        assert await receive_frame(client) == (0x81, "a€".encode())
        await client.aclose()


async def test_the_client_s_goodbye_is_answered_and_known():
    application = Echo()
    async with listening(application) as listener:
        for payload, code in ((b"\x03\xe8bye", 1000), (b"\x0f\xa1", 4001), (b"", 1005)):
            client = await open_raw_websocket(listener)
            await client.send_all(masked(0x88, payload))
            assert await receive_frame(client) == (0x88, payload)
            assert await receive_all(client) == b""
            await client.aclose()
            await until(lambda: listener.connections == 0)
            assert application.endings.pop() == (code, "bye" if b"bye" in payload else "")


async def test_the_server_s_goodbye_waits_for_the_client_s():
    application = Echo()
    closed = trio.Event()

    async def say_goodbye(websocket: WebSocket) -> None:
        await websocket.close(4000, "enough")
        await websocket.close(4001, "again")
        closed.set()
        with pytest.raises(WebSocketClosed) as ended:
            await websocket.receive()
        assert ended.value.code == 4000
        with pytest.raises(WebSocketClosed):
            websocket.write_frames(text_frame("late"))

    application.converse = say_goodbye
    async with listening(application) as listener:
        client = await open_raw_websocket(listener)
        assert await receive_frame(client) == (0x88, b"\x0f\xa0enough")
        assert not closed.is_set()
        await client.send_all(masked(0x88, b"\x0f\xa0"))
        assert await receive_all(client) == b""
        await client.aclose()
        await closed.wait()


@pytest.mark.parametrize(
    "message", [masked(0x81, b"x" * 1001), masked(0x82, b"x" * 1001), masked(0x81, "é".encode() * 501)]
)
async def test_row_13_a_message_over_the_bound_ends_with_1009_and_the_connection_closes(message):
    application = Echo(max_message_bytes=1000)
    async with listening(application) as listener:
        client = await open_raw_websocket(listener)
        await client.send_all(masked(0x81, b"x" * 1000))
        assert await receive_frame(client) == (0x81, b"x" * 1000)
        await client.send_all(message + masked(0x81, b"more"))
        first, payload = await receive_frame(client)
        assert (first, payload[:2]) == (0x88, (1009).to_bytes(2, "big"))
        await client.send_all(masked(0x88, payload[:2]))
        assert await receive_all(client) == b""
        await client.aclose()
        await until(lambda: listener.connections == 0)
    assert [code for code, _ in application.endings] == [1009]


@pytest.mark.parametrize(
    "piece",
    [masked(0x00) * 1000, masked(0x8A) * 1000, masked(0x8A, b"x" * 125) * 100],
    ids=["fragments", "pongs", "fat"],
)
async def test_endless_pieces_without_a_message_end_the_connection(piece):
    application = Echo(max_message_bytes=1000)
    async with listening(application) as listener:
        client = await open_raw_websocket(listener)
        await client.send_all(masked(0x01))
        with suppress(trio.BrokenResourceError):
            for _ in range(10_000):
                await client.send_all(piece)
            pytest.fail("the server took everything")
        await client.aclose()
        await until(lambda: listener.connections == 0)
        assert await answers(listener)
    assert [code for code, _ in application.endings] == [1009]


async def test_messages_may_be_of_any_number_as_long_as_they_are_whole():
    application = Echo(max_message_bytes=1000)
    async with listening(application) as listener:
        client = await open_raw_websocket(listener)
        for _ in range(30):
            await client.send_all(masked(0x81, b"x" * 900) * 10)
            for _ in range(10):
                assert await receive_frame(client) == (0x81, b"x" * 900)
        await client.aclose()


async def test_a_flood_of_pings_from_a_client_that_does_not_read_costs_bounded_memory(nursery, autojump_clock):
    stream = MemoryStream(nursery, window=1000, send_timeout=30)
    ended: list[int] = []

    async def server_side() -> None:
        with pytest.raises(WebSocketClosed) as closed:
            async with open_websocket(REQUEST, stream, b"", 10**6) as websocket:
                await websocket.receive()
        ended.append(closed.value.code)

    stream.peer.send(masked(0x89, b"x" * 100) * 1000)
    async with trio.open_nursery() as server:
        server.start_soon(server_side)
        await wait_all_tasks_blocked()
        assert stream.buffered < 1000
    assert ended == [1006]
    assert stream.closed


async def test_our_frames_and_its_pongs_never_interleave(nursery, autojump_clock):
    stream = MemoryStream(nursery, window=100)
    ready = trio.Event()

    async def server_side() -> None:
        async with open_websocket(REQUEST, stream, b"", 1000) as websocket:
            ready.set()
            for number in range(50):
                websocket.write_frames(text_frame(f"{number:03}" * 20))
                await wait_all_tasks_blocked()
            await websocket.receive()

    nursery.start_soon(server_side)
    await stream.peer.receive_until(b"\r\n\r\n")
    await ready.wait()
    stream.peer.send(masked(0x89, b"p" * 50) * 20 + masked(0x81, b"done"))
    frames = []
    while len(frames) < 70:
        first, length = await stream.peer.receive(2)
        frames.append((first, await stream.peer.receive(length)))
    assert [payload for first, payload in frames if first == 0x81] == [f"{n:03}".encode() * 20 for n in range(50)]
    assert [payload for first, payload in frames if first == 0x8A] == [b"p" * 50] * 20
    stream.peer.end()


async def test_sending_waits_for_the_peer_and_loses_nothing_when_it_is_cancelled(nursery, autojump_clock):
    stream = MemoryStream(nursery, window=100)
    waited: list[bool] = []

    async def converse(websocket: WebSocket) -> None:
        for number in range(2):
            with trio.move_on_after(1) as scope:
                await websocket.send(f"{number}" * 200)
            waited.append(scope.cancelled_caught)
        await websocket.receive()

    nursery.start_soon(carry, stream, converse)
    await stream.peer.receive_until(b"\r\n\r\n")
    await trio.sleep(5)
    assert waited == [True, True]
    assert await stream.peer.receive(2 * 204) == text_frame("0" * 200) + text_frame("1" * 200)
    stream.peer.send(masked(0x88, b"\x03\xe8"))
    stream.peer.end()


async def test_a_slow_consumer_is_killed_at_the_bound(nursery, autojump_clock):
    stream = MemoryStream(nursery, window=1000, max_buffered=10_000)

    async def write_on(websocket: WebSocket) -> None:
        while True:
            websocket.write_frames(text_frame("x" * 100))
            assert stream.buffered <= 10_000

    with pytest.raises(SlowConsumer):
        await carry(stream, write_on)
    assert stream.closed
    await wait_all_tasks_blocked()


async def test_a_peer_that_never_says_goodbye_is_let_go_in_bounded_time(nursery, autojump_clock):
    stream = MemoryStream(nursery)
    with trio.fail_after(10):
        async with open_websocket(REQUEST, stream, b"", 1000) as websocket:
            await websocket.close(1001)
    assert stream.closed
    assert (await stream.peer.receive_all()).endswith(b"\x88\x02\x03\xe9")


async def test_a_half_open_peer_that_talks_on_is_let_go_in_bounded_time(nursery, autojump_clock):
    stream = MemoryStream(nursery)

    async def talk() -> None:
        while not stream.closed:
            stream.peer.send(masked(0x81, b"x") + masked(0x89))
            await trio.sleep(0.1)

    nursery.start_soon(talk)
    with trio.fail_after(10):
        async with open_websocket(REQUEST, stream, b"", 1000) as websocket:
            assert await websocket.receive() == "x"
    assert stream.closed


async def test_a_peer_whose_window_is_full_is_let_go_in_bounded_time(nursery, autojump_clock):
    stream = MemoryStream(nursery, window=200)
    with trio.fail_after(10):
        async with open_websocket(REQUEST, stream, b"", 1000) as websocket:
            websocket.write_frames(text_frame("x" * 1000))
    assert stream.closed
    await wait_all_tasks_blocked()


async def test_a_greeting_goes_out_behind_the_handshake_in_the_same_write(nursery):
    stream = MemoryStream(nursery)
    async with open_websocket(REQUEST, stream, b"", 1000, text_frame("hello")):
        answer = await stream.peer.receive_until(b"\r\n\r\n")
        # RFC 6455 section 1.3 has this very key and its answer.
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
        assert await stream.peer.receive(7) == text_frame("hello")
        stream.peer.end()


async def receive_all_messages(websocket: WebSocket) -> list[str | bytes]:
    messages = []
    with suppress(WebSocketClosed):
        while True:
            messages.append(await websocket.receive())
    return messages


@pytest.mark.parametrize(
    "flood",
    [masked(0x81) * 1000, masked(0x8A) * 1000, masked(0x01) + masked(0x00) * 999],
    ids=["messages", "pongs", "fragments"],
)
@pytest.mark.parametrize("behind_the_handshake", [False, True])
async def test_a_flood_of_tiny_frames_leaves_others_their_turn(nursery, autojump_clock, flood, behind_the_handshake):
    stream = MemoryStream(nursery)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    flood += masked(0x88)
    if not behind_the_handshake:
        stream.peer.send(flood)
    stream.peer.end()
    leftover = flood if behind_the_handshake else b""
    async with trio.open_nursery() as others:
        others.start_soon(take_turns)
        async with open_websocket(REQUEST, stream, leftover, 1000) as websocket:
            assert set(await receive_all_messages(websocket)) <= {""}
            assert turns >= 8
        others.cancel_scope.cancel()


async def test_a_goodbye_that_nobody_waits_for_ends_by_its_deadline(nursery, autojump_clock):
    stream = MemoryStream(nursery)

    async def part(websocket: WebSocket) -> None:
        websocket.say_goodbye(4000)
        assert websocket.next_deadline == trio.current_time() + CLOSE_TIMEOUT
        with pytest.raises(WebSocketClosed):
            websocket.write_frames(text_frame("late"))
        stream.peer.send(masked(0x81, b"unheard") + masked(0x89))
        nursery.start_soon(tick_at, websocket.next_deadline, websocket)
        await websocket.receive()

    with pytest.raises(WebSocketClosed) as closed:
        await carry(stream, part)
    assert closed.value.code == 4000
    assert stream.closed
    assert (await stream.peer.receive_all()).endswith(b"\r\n\r\n\x88\x02\x0f\xa0")


async def tick_at(moment: float, websocket: WebSocket) -> None:
    await trio.sleep_until(moment)
    websocket.tick(moment)


async def test_a13_nothing_is_sent_to_a_peer_that_has_gone(nursery, autojump_clock):
    """Thousands may go at the same moment, and each takes a part of one turn of the loop."""
    stream = MemoryStream(nursery)

    async def receive(websocket: WebSocket) -> None:
        await stream.peer.receive_until(b"\r\n\r\n")
        stream.peer.end()
        await websocket.receive()

    began = trio.current_time()
    with pytest.raises(WebSocketClosed):
        await carry(stream, receive)
    assert trio.current_time() == began
    assert stream.closed
    assert await stream.peer.receive_all() == b""


async def test_an_abrupt_end_is_1006(nursery, autojump_clock):
    for leave in ("end", "reset"):
        stream = MemoryStream(nursery)

        async def receive(websocket: WebSocket, leave: str = leave, stream: MemoryStream = stream) -> None:
            getattr(stream.peer, leave)()
            await websocket.receive()

        with pytest.raises(WebSocketClosed) as closed:
            await carry(stream, receive)
        assert closed.value.code == 1006
        assert stream.closed


async def test_a_peer_that_is_gone_before_the_handshake_is_done_is_1006(nursery, autojump_clock):
    stream = MemoryStream(nursery)
    stream.peer.reset()
    with pytest.raises(WebSocketClosed) as closed:
        async with open_websocket(REQUEST, stream, b"", 1000):
            pass
    assert closed.value.code == 1006


async def test_errors_of_the_block_come_out_unwrapped_and_abort(nursery, autojump_clock):
    stream = MemoryStream(nursery)
    with pytest.raises(ZeroDivisionError):
        async with open_websocket(REQUEST, stream, b"", 1000):
            1 / 0  # noqa: B018
    assert stream.closed
    await wait_all_tasks_blocked()


async def test_cancelling_the_block_aborts_and_leaves_no_task(autojump_clock):
    async with trio.open_nursery() as nursery:
        stream = MemoryStream(nursery, window=200)
        with trio.move_on_after(1) as scope:
            async with open_websocket(REQUEST, stream, b"", 1000) as websocket:
                websocket.write_frames(text_frame("x" * 1000))
                await websocket.drain()
        assert scope.cancelled_caught
        assert stream.closed
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_closing_while_another_task_receives_ends_both(nursery, autojump_clock):
    stream = MemoryStream(nursery)
    codes: list[int] = []

    async def receive(websocket: WebSocket) -> None:
        with pytest.raises(WebSocketClosed) as closed:
            await websocket.receive()
        codes.append(closed.value.code)

    async with open_websocket(REQUEST, stream, b"", 1000) as websocket, trio.open_nursery() as users:
        users.start_soon(receive, websocket)
        await wait_all_tasks_blocked()
        users.start_soon(websocket.close, 4002, "x" * 500)
        await wait_all_tasks_blocked()
        stream.peer.send(masked(0x88, b"\x0f\xa2"))
        stream.peer.end()
    assert codes == [4002]


async def test_abort_ends_the_receiver(nursery, autojump_clock):
    stream = MemoryStream(nursery)

    async def abort(websocket: WebSocket) -> None:
        websocket.abort()
        await websocket.receive()

    with pytest.raises(WebSocketClosed):
        await carry(stream, abort)
    assert stream.closed


async def test_a_reset_in_the_middle_of_frames_is_contained():
    application = Echo()
    async with listening(application) as listener:
        for _ in range(10):
            client = await open_raw_websocket(listener)
            await client.send_all(masked(0x81, b"x" * 500)[:300])
            await reset(client)
            client = await open_raw_websocket(listener)
            await client.send_all(masked(0x81, b"x" * 500) * 20)
            await reset(client)
        await until(lambda: listener.connections == 0)
        assert await answers(listener)


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (b"a", b"a"),
        (b"Chat.v2, a", b"Chat.v2"),
        (b"b,a", b"b"),
        (b"a \t, b", b"a"),
        (b"a\r\nSec-WebSocket-Protocol: b", b"a"),
    ],
)
async def test_f5_the_first_subprotocol_that_is_offered_is_selected(offered: bytes, selected: bytes):
    async with listening() as listener, await connect(listener) as client:
        await client.send_all(UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % offered))
        head = await receive_until(client, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Protocol: %b\r\n" % selected in head
        assert head.count(b"Sec-WebSocket-Protocol") == 1


async def test_f5_without_an_offer_no_subprotocol_is_selected():
    async with listening() as listener, await connect(listener) as client:
        await client.send_all(UPGRADE)
        assert b"protocol:" not in (await receive_until(client, b"\r\n\r\n")).lower()


async def test_f5_a_client_that_offers_subprotocols_connects():
    async with listening() as listener:
        host, port = listener.address
        async with trio_websocket.open_websocket(
            host, port, "/socket", use_ssl=False, subprotocols=["one", "two"]
        ) as client:
            assert client.subprotocol == "one"
            await client.send_message("hello")
            assert await client.get_message() == "hello"
