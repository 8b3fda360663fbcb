"""The client's own stream over TCP does what Trio's does, and also sends without a turn of the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import assert_checkpoints, assert_no_checkpoints, wait_all_tasks_blocked

from djactors.client.socketio._stream import TcpStream
from djactors.client.socketio._websocket import _Lock, _Watched

LARGE = bytes(range(256)) * 40_000
"""More than the buffers of a connection hold."""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[TcpStream, trio.SocketStream]]:
    """A client's stream, and the peer's."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        opened = await trio.open_tcp_stream(*listener.socket.getsockname())
        stream, peer = TcpStream(opened), await listener.accept()
    async with stream, peer:
        yield stream, peer


async def test_bytes_go_both_ways_and_the_end_is_seen() -> None:
    async with connected() as (stream, peer):
        with assert_checkpoints():
            await stream.send_all(b"hello")
        assert await peer.receive_some() == b"hello"
        await peer.send_all(b"world")
        with assert_checkpoints():
            assert await stream.receive_some(3) == b"wor"
        assert await stream.receive_some() == b"ld"
        await peer.send_eof()
        assert await stream.receive_some() == b""


async def test_what_the_buffers_do_not_hold_follows() -> None:
    got = bytearray()
    async with connected() as (stream, peer), trio.open_nursery() as nursery:

        async def read() -> None:
            while len(got) < len(LARGE):
                got.extend(await peer.receive_some())

        nursery.start_soon(read)
        await stream.send_all(LARGE)
    assert got == LARGE


async def test_nothing_is_sent_at_once_where_there_is_no_room() -> None:
    async with connected() as (stream, _):
        while stream.send_nowait(LARGE):
            pass
        assert stream.send_nowait(b"more") == 0


@pytest.mark.parametrize("use", [TcpStream.receive_some, TcpStream.wait_send_all_might_not_block])
async def test_closing_wakes_who_waits(use: Callable[[TcpStream], Awaitable[object]]) -> None:
    async with connected() as (stream, _), trio.open_nursery() as nursery:
        while stream.send_nowait(LARGE):
            pass

        async def wait() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await use(stream)

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await stream.aclose()


async def test_a_stream_that_was_closed_says_so() -> None:
    async with connected() as (stream, _):
        await trio.aclose_forcefully(stream)
        with pytest.raises(trio.ClosedResourceError):
            stream.send_nowait(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"late")
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await stream.wait_send_all_might_not_block()


async def test_a_peer_that_has_gone_is_a_broken_connection() -> None:
    async with connected() as (stream, peer):
        await stream.send_all(b"never read")
        # Closing a connection with bytes that nobody has read resets it.
        await peer.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            stream.send_nowait(b"to nobody")


async def test_a_frame_that_the_socket_takes_takes_no_turn_of_the_loop() -> None:
    async with connected() as (stream, peer):
        watched = _Watched(stream, limit=100, send_timeout=1)
        with assert_no_checkpoints():
            await watched.send_all(b"frame")
        assert await peer.receive_some() == b"frame"


async def test_a_peer_that_takes_nothing_is_waited_for_no_longer_than_agreed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with connected() as (stream, _):
        watched = _Watched(stream, limit=100, send_timeout=10)
        while stream.send_nowait(LARGE):
            pass
        began = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await watched.send_all(b"frame")
        assert trio.current_time() - began == 10


async def test_the_lock_gives_no_turn_where_it_is_free_and_keeps_the_order_where_it_is_not() -> None:
    lock, order = _Lock(), list[int]()

    async def write(number: int) -> None:
        async with lock:
            order.append(number)

    with assert_no_checkpoints():
        await write(0)
    async with trio.open_nursery() as nursery, lock:
        for number in (1, 2, 3):
            nursery.start_soon(write, number)
            await wait_all_tasks_blocked()
        assert order == [0]
    assert order == [0, 1, 2, 3]
