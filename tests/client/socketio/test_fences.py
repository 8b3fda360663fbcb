"""What a hostile or broken server does: none of it hangs the client, crashes it, or leaves a connection behind."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from djactors.client.socketio import (
    ClientClosedError,
    Connected,
    ConnectFailed,
    Disconnected,
    DisconnectReason,
    Event,
    SocketSettings,
    connect,
)
from djactors.protocol import close_frame, text_frame
from tests.client.socketio.memory import POLLING, URL, WEBSOCKET, ScriptedWay

OPEN = '0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
JOINED = '40{"sid":"me"}'
BY_WEBSOCKET = SocketSettings(transports=(WEBSOCKET,), jitter=0.0, max_receive_bytes=200_000)
BY_POLLING = SocketSettings(transports=(POLLING,), jitter=0.0, max_receive_bytes=200_000)

Script = Callable[[trio.StapledStream], Awaitable[None]]


async def head_of(stream: trio.StapledStream) -> bytes:
    data = bytearray()
    while b"\r\n\r\n" not in data:
        got = await stream.receive_some()
        if not got:
            break
        data += got
    return bytes(data)


async def accept(stream: trio.StapledStream) -> None:
    """Answer the handshake of a WebSocket."""
    head = await head_of(stream)
    key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    proof = b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


async def join(stream: trio.StapledStream) -> None:
    """Let a client in by WebSocket."""
    await accept(stream)
    await stream.send_all(text_frame(OPEN))
    await stream.receive_some()
    await stream.send_all(text_frame(JOINED))


async def say_nothing(stream: trio.StapledStream) -> None:
    await trio.sleep_forever()


async def hang_up(stream: trio.StapledStream) -> None:
    await stream.aclose()


async def hang_up_after_the_request(stream: trio.StapledStream) -> None:
    await head_of(stream)
    await stream.aclose()


async def speak_another_language(stream: trio.StapledStream) -> None:
    await head_of(stream)
    await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x46 what?\r\n\r\n")


async def refuse_without_an_end(stream: trio.StapledStream) -> None:
    await head_of(stream)
    await stream.send_all(b"HTTP/1.1 400 Bad\r\nContent-Length: 1000\r\n\r\nno")


async def accept_wrongly(stream: trio.StapledStream) -> None:
    await head_of(stream)
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: bm9uc2Vuc2U=\r\n\r\n"
    )


async def accept_and_say_nothing(stream: trio.StapledStream) -> None:
    await accept(stream)
    await trio.sleep_forever()


async def open_and_answer_no_connect(stream: trio.StapledStream) -> None:
    await accept(stream)
    await stream.send_all(text_frame(OPEN))
    await trio.sleep_forever()


async def a_handshake_of_nonsense(stream: trio.StapledStream) -> None:
    await accept(stream)
    await stream.send_all(text_frame('0{"sid":5}'))
    await trio.sleep_forever()


BEFORE = [
    (say_nothing, DisconnectReason.OPEN_TIMEOUT),
    (hang_up, DisconnectReason.NOT_OPENED),
    (hang_up_after_the_request, DisconnectReason.NOT_OPENED),
    (speak_another_language, DisconnectReason.NOT_OPENED),
    (refuse_without_an_end, DisconnectReason.OPEN_TIMEOUT),
    (accept_wrongly, DisconnectReason.NOT_OPENED),
    (accept_and_say_nothing, DisconnectReason.OPEN_TIMEOUT),
    (open_and_answer_no_connect, DisconnectReason.OPEN_TIMEOUT),
    (a_handshake_of_nonsense, DisconnectReason.VIOLATION),
]


@pytest.mark.parametrize(("serve", "reason"), BEFORE, ids=lambda it: getattr(it, "__name__", str(it)))
async def test_a_websocket_that_does_not_come_about_fails_in_time(
    autojump_clock: MockClock, nursery: trio.Nursery, serve: Script, reason: DisconnectReason
) -> None:
    way = ScriptedWay(nursery, serve)
    before = trio.current_time()
    async with connect(URL, settings=BY_WEBSOCKET, open_stream=way) as socket:
        failed = await anext(socket)
        assert isinstance(failed, ConnectFailed)
        assert failed.reason is reason
        expected = BY_WEBSOCKET.connect_timeout if reason is DisconnectReason.OPEN_TIMEOUT else 0
        assert trio.current_time() - before == expected
        await is_gone(way)


async def is_gone(way: ScriptedWay) -> None:
    """The first connection was closed, and nothing is left of it."""
    await wait_all_tasks_blocked()
    with pytest.raises(trio.ClosedResourceError):
        await way.mine[0].receive_some()


async def a_broken_frame(stream: trio.StapledStream) -> None:
    await stream.send_all(b"\xff\xff\xff\xff")


async def text_that_is_no_utf8(stream: trio.StapledStream) -> None:
    await stream.send_all(b"\x81\x03\xc3\x28\xff")


async def no_packet(stream: trio.StapledStream) -> None:
    await stream.send_all(text_frame("hello"))


async def a_namespace_that_was_not_asked_for(stream: trio.StapledStream) -> None:
    await stream.send_all(text_frame('42/other,["a"]'))


async def bytes_that_are_not_due(stream: trio.StapledStream) -> None:
    await stream.send_all(b"\x82\x01a")


async def a_message_that_is_too_large(stream: trio.StapledStream) -> None:
    await stream.send_all(text_frame('42["a","' + "x" * 300_000))


async def an_event_behind_a_message_that_is_too_large(stream: trio.StapledStream) -> None:
    # What is left out is asked for again, so nothing that came behind it may be kept.
    await stream.send_all(text_frame('42["a","' + "x" * 210_000 + '"]') + text_frame('42["b"]'))


async def a_message_of_large_characters(stream: trio.StapledStream) -> None:
    # 120,000 characters and 480,000 bytes: trio-websocket counts characters.
    await stream.send_all(text_frame('42["a","' + "\U0001f600" * 120_000 + '"]'))


async def fragments_without_an_end(stream: trio.StapledStream) -> None:
    await stream.send_all(b"\x01\x02" + b"42")
    while True:
        # Empty ones, which trio-websocket does not count.
        await stream.send_all(b"\x00\x00" * 4096)


async def a_ping_behind_a_close(stream: trio.StapledStream) -> None:
    await stream.send_all(close_frame(1000) + b"\x89\x02hi")


async def a_close_with_a_reason(stream: trio.StapledStream) -> None:
    await stream.send_all(close_frame(1013, "come back later"))


async def an_end(stream: trio.StapledStream) -> None:
    await stream.aclose()


AFTER: list[tuple[Script, DisconnectReason, str]] = [
    (a_broken_frame, DisconnectReason.TRANSPORT, ""),
    (text_that_is_no_utf8, DisconnectReason.TRANSPORT, ""),
    (no_packet, DisconnectReason.VIOLATION, "unknown Engine.IO packet type"),
    (a_namespace_that_was_not_asked_for, DisconnectReason.VIOLATION, "namespace"),
    (bytes_that_are_not_due, DisconnectReason.VIOLATION, "announced"),
    (a_message_that_is_too_large, DisconnectReason.TRANSPORT, "200000 bytes"),
    (an_event_behind_a_message_that_is_too_large, DisconnectReason.TRANSPORT, "200000 bytes"),
    (a_message_of_large_characters, DisconnectReason.TRANSPORT, "200000 bytes"),
    (fragments_without_an_end, DisconnectReason.TRANSPORT, "200000 bytes"),
    (a_ping_behind_a_close, DisconnectReason.TRANSPORT, "1000"),
    (a_close_with_a_reason, DisconnectReason.TRANSPORT, "closed with 1013 come back later"),
    (an_end, DisconnectReason.TRANSPORT, "cut"),
]


@pytest.mark.parametrize(("act", "reason", "told"), AFTER, ids=lambda it: getattr(it, "__name__", None))
async def test_whatever_a_server_does_on_a_websocket_ends_that_alone(
    autojump_clock: MockClock, nursery: trio.Nursery, act: Script, reason: DisconnectReason, told: str
) -> None:
    async def serve(stream: trio.StapledStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await join(stream)
            await act(stream)
            await trio.sleep_forever()

    way = ScriptedWay(nursery, serve)
    async with connect(URL, settings=BY_WEBSOCKET, open_stream=way) as socket:
        assert isinstance(await anext(socket), Connected)
        gone = await anext(socket)
        assert isinstance(gone, Disconnected)
        assert (gone.reason, told in gone.detail) == (reason, True), gone
        await is_gone(way)
        # It comes back.
        assert isinstance(await anext(socket), Connected)


async def test_a_peer_that_takes_nothing_is_left_and_holds_up_no_end(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    blocked = trio.Event()

    async def serve(stream: trio.StapledStream) -> None:
        await join(stream)
        await trio.sleep_forever()

    way = ScriptedWay(nursery, serve)
    async with connect(URL, settings=BY_WEBSOCKET, open_stream=way) as socket:
        assert isinstance(await anext(socket), Connected)

        async def never() -> None:
            blocked.set()
            await trio.sleep_forever()

        assert isinstance(way.mine[0].send_stream, trio.testing.MemorySendStream)
        way.mine[0].send_stream.send_all_hook = never
        before = trio.current_time()
        await socket.emit("anything")
        gone = await anext(socket)
        assert isinstance(gone, Disconnected)
        assert gone.reason is DisconnectReason.SEND_TIMEOUT
        assert trio.current_time() - before == BY_WEBSOCKET.send_timeout
        await is_gone(way)
        assert isinstance(await anext(socket), Connected)
        assert isinstance(way.mine[1].send_stream, trio.testing.MemorySendStream)
        way.mine[1].send_stream.send_all_hook = never
        before = trio.current_time()
    assert blocked.is_set()
    assert trio.current_time() - before <= BY_WEBSOCKET.close_timeout


async def test_who_emits_without_end_does_not_keep_the_reader_from_reading(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    most, emitted = 2000, 0
    ponging = trio.Event()

    async def serve(stream: trio.StapledStream) -> None:
        await join(stream)
        await stream.send_all(text_frame("2"))
        await stream.receive_some()
        await stream.send_all(text_frame('42["late"]'))
        while await stream.receive_some():
            pass

    async def emit_on() -> None:
        nonlocal emitted
        await ponging.wait()
        with suppress(ClientClosedError):
            while emitted < most:
                await socket.emit("on and on")
                emitted += 1

    async def hook() -> None:
        # The reader writes a pong, and others have more to send meanwhile.
        ponging.set()
        await wait_all_tasks_blocked()
        assert pump is not None
        await pump()

    way = ScriptedWay(nursery, serve)
    async with connect(URL, settings=BY_WEBSOCKET, open_stream=way) as socket:
        assert isinstance(await anext(socket), Connected)
        assert isinstance(way.mine[0].send_stream, trio.testing.MemorySendStream)
        pump = way.mine[0].send_stream.send_all_hook
        way.mine[0].send_stream.send_all_hook = hook
        socket.start_soon(emit_on)
        assert await anext(socket) == Event("late", [], connection=1)
        assert emitted < most


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body


POLLS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0{", DisconnectReason.OPEN_TIMEOUT),
    (b"what?\r\n\r\n", DisconnectReason.TRANSPORT),
    (answer(b"<html>sign in</html>"), DisconnectReason.VIOLATION),
    (answer(b"\xff\xfe"), DisconnectReason.VIOLATION),
    (answer(b"no", b"403 Forbidden"), DisconnectReason.NOT_OPENED),
    (answer(b"", b"302 Found\r\nLocation: http://elsewhere.test/"), DisconnectReason.NOT_OPENED),
    (answer(b"x" * 300_000), DisconnectReason.TRANSPORT),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, DisconnectReason.TRANSPORT),
]


@pytest.mark.parametrize(("said", "reason"), POLLS, ids=range(len(POLLS)))
async def test_whatever_a_server_answers_to_a_poll_ends_that_alone(
    autojump_clock: MockClock, nursery: trio.Nursery, said: bytes, reason: DisconnectReason
) -> None:
    async def serve(stream: trio.StapledStream) -> None:
        await head_of(stream)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(said)

    way = ScriptedWay(nursery, serve)
    async with connect(URL, settings=BY_POLLING, open_stream=way) as socket:
        failed = await anext(socket)
        assert isinstance(failed, ConnectFailed)
        assert failed.reason is reason, failed
        await is_gone(way)
