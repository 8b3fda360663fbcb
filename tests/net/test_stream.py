"""The socket stream over real socket pairs, with small kernel buffers so that they fill."""

import os
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.net import ReceiveLimitExceeded, SlowConsumer, SocketStream, _stream
from djactors.net._stream import LINGER_PAUSE


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    yield ours, theirs
    ours.close()
    theirs.close()


def stream_over(
    sock: socket.socket, nursery: trio.Nursery, *, max_buffered: int = 2**20, send_timeout: float = 30
) -> SocketStream:
    return SocketStream(sock, nursery, max_buffered=max_buffered, send_timeout=send_timeout)


async def read(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        await trio.lowlevel.wait_readable(sock)
        data = sock.recv(size - len(received))
        if not data:
            break
        received += data
    return received


async def read_all(sock: socket.socket) -> bytes:
    return await read(sock, 10**9)


async def test_a_write_arrives_without_waiting_and_without_a_task(nursery, pair):
    ours, theirs = pair
    stream = stream_over(ours, nursery)
    stream.write(b"hello")
    assert theirs.recv(100) == b"hello"
    assert stream.buffered == 0
    assert not nursery.child_tasks


async def test_what_the_kernel_does_not_take_follows_in_order(nursery, pair):
    ours, theirs = pair
    stream = stream_over(ours, nursery)
    sent = b""
    for number in range(200):
        piece = b"%04d" % number * 100
        stream.write(piece)
        sent += piece
    assert stream.buffered > 0
    assert await read(theirs, len(sent)) == sent
    await wait_all_tasks_blocked()
    assert stream.buffered == 0
    assert not nursery.child_tasks


async def test_bytes_of_write_and_send_all_never_interleave(nursery, pair):
    ours, theirs = pair
    stream = stream_over(ours, nursery)
    expected = []

    async def send(piece: bytes) -> None:
        await stream.send_all(piece)

    async with trio.open_nursery() as senders:
        for number in range(20):
            stream.write(b"<w%d>" % number + b"w" * 3000)
            expected.append(b"<w%d>" % number + b"w" * 3000)
            piece = b"<s%d>" % number + b"s" * 3000
            senders.start_soon(send, piece)
            await wait_all_tasks_blocked()
            expected.append(piece)
        assert await read(theirs, sum(map(len, expected))) == b"".join(expected)


async def test_send_all_waits_for_its_own_bytes_only(nursery, pair, autojump_clock):
    ours, theirs = pair
    stream = stream_over(ours, nursery)
    done = trio.Event()

    async def send() -> None:
        await stream.send_all(b"a" * 50_000)
        done.set()

    nursery.start_soon(send)
    await wait_all_tasks_blocked()
    stream.write(b"b" * 50_000)
    assert not done.is_set()
    await read(theirs, 60_000)
    await wait_all_tasks_blocked()
    assert done.is_set()
    assert stream.buffered > 0
    await read(theirs, 40_000)


async def test_a_cancelled_send_all_does_not_tear_what_it_sent(nursery, pair):
    ours, theirs = pair
    stream = stream_over(ours, nursery)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as inner:
            inner.start_soon(stream.send_all, b"a" * 50_000)
            await wait_all_tasks_blocked()
            scope.cancel()
    stream.write(b"after")
    assert await read(theirs, 50_005) == b"a" * 50_000 + b"after"


async def test_a_slow_consumer_is_cut_off_at_the_bound(nursery, pair):
    ours, _theirs = pair
    stream = stream_over(ours, nursery, max_buffered=100_000)

    def write_on() -> None:
        for _ in range(1000):
            stream.write(b"x" * 1000)
            assert stream.buffered <= 100_000

    with pytest.raises(SlowConsumer):
        write_on()
    assert ours.fileno() == -1
    with pytest.raises(trio.BrokenResourceError):
        stream.write(b"more")
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"more")
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_a_peer_that_takes_nothing_loses_its_connection(nursery, pair, autojump_clock):
    ours, _theirs = pair
    stream = stream_over(ours, nursery, send_timeout=30)
    with trio.fail_after(31), pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x" * 100_000)
    assert ours.fileno() == -1


async def test_a_peer_that_takes_a_little_now_and_then_keeps_it(nursery, pair, autojump_clock):
    ours, theirs = pair
    stream = stream_over(ours, nursery, send_timeout=30)

    async def sip() -> None:
        left = 100_000
        while left:
            await trio.sleep(20)
            left -= len(theirs.recv(100_000))

    nursery.start_soon(sip)
    await stream.send_all(b"x" * 100_000)
    assert stream.buffered == 0


async def test_abort_wakes_whoever_reads_and_whoever_sends(nursery, pair):
    ours, _theirs = pair
    stream = stream_over(ours, nursery)
    ended: list[type[Exception]] = []

    async def expect_end(operation, *args) -> None:
        try:
            await operation(*args)
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            ended.append(type(error))

    async with trio.open_nursery() as users:
        users.start_soon(expect_end, stream.receive_some)
        users.start_soon(expect_end, stream.send_all, b"x" * 100_000)
        await wait_all_tasks_blocked()
        stream.abort()
        stream.abort()
    assert ended == [trio.ClosedResourceError] * 2
    await wait_all_tasks_blocked()
    assert not nursery.child_tasks


async def test_the_peer_s_end_reads_as_empty_and_its_reset_as_broken(nursery):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        for graceful in (True, False):
            theirs = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
            ours.setblocking(False)
            stream = stream_over(ours, nursery)
            if not graceful:
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            theirs.close()
            if graceful:
                assert await stream.receive_some() == b""
            else:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()
            await stream.aclose()
            assert ours.fileno() == -1


async def test_more_than_the_limit_without_a_mark_fails_the_reader(nursery, pair):
    ours, theirs = pair
    stream = stream_over(ours, nursery)
    stream.receive_limit = 10
    theirs.send(b"12345678")
    assert await stream.receive_some() == b"12345678"
    assert stream.received_since_mark == 8
    stream.mark()
    theirs.send(b"12345678")
    assert await stream.receive_some() == b"12345678"
    theirs.send(b"12345678")
    await stream.receive_some()
    with pytest.raises(ReceiveLimitExceeded):
        await stream.receive_some()
    stream.write(b"last word")
    assert theirs.recv(100) == b"last word"


async def test_closing_flushes_first(nursery, pair):
    ours, theirs = pair
    stream = stream_over(ours, nursery)
    stream.write(b"x" * 50_000)
    async with trio.open_nursery() as closer:
        closer.start_soon(stream.aclose)
        assert await read_all(theirs) == b"x" * 50_000
    assert ours.fileno() == -1


async def test_cancelled_closing_still_closes(nursery, pair):
    ours, _theirs = pair
    stream = stream_over(ours, nursery)
    stream.write(b"x" * 50_000)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.aclose()
    assert ours.fileno() == -1


async def test_a_lingering_close_lets_a_peer_read_that_is_still_sending(nursery, autojump_clock):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    theirs.send(b"y" * 30_000)
    stream = stream_over(ours, nursery)
    stream.write(b"last word")

    async def client() -> None:
        theirs.send(b"y" * 30_000)
        assert await read_all(theirs) == b"last word"
        theirs.close()

    async with trio.open_nursery() as both:
        both.start_soon(stream.linger)
        both.start_soon(client)
    assert ours.fileno() == -1


async def test_a4_a_lingering_close_throws_away_one_piece_at_a_time(nursery, autojump_clock, monkeypatch):
    """Hundreds may be refused while they send a megabyte each; others have their turns meanwhile."""
    monkeypatch.setattr(_stream, "_DROPPED", bytearray(1_000))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    theirs.sendall(b"y" * 30_000)
    theirs.shutdown(socket.SHUT_WR)
    theirs.setblocking(False)
    stream = stream_over(ours, nursery)
    began = trio.current_time()
    await stream.linger()
    assert trio.current_time() - began >= 29 * LINGER_PAUSE
    assert ours.fileno() == -1
    assert await read_all(theirs) == b""
    theirs.close()


async def test_a_lingering_close_does_not_wait_for_ever(nursery, pair, autojump_clock):
    ours, _theirs = pair
    stream = stream_over(ours, nursery)
    with trio.fail_after(3):
        await stream.linger()
    assert ours.fileno() == -1


async def test_no_descriptor_is_left_behind(nursery):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stream = stream_over(ours, nursery)
        theirs.close()
        with pytest.raises(trio.BrokenResourceError):
            stream.write(b"x")
        await stream.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_supervisor_that_is_cancelled_tells_whoever_waits(nursery, pair):
    ours, _theirs = pair
    told = trio.Event()

    async def send() -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x" * 100_000)
        told.set()

    async with trio.open_nursery() as supervisor:
        stream = stream_over(ours, supervisor)
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        supervisor.cancel_scope.cancel()
    await told.wait()
