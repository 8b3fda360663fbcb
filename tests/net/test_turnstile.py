"""However many peers go at the same moment, or pipeline requests, each turn of the loop has a few of them."""

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.kernel import Alarms
from djactors.net import Application, HeadMemory, HttpConnection, Limits, Request, Response, SocketStream
from djactors.net._turnstile import AT_ONCE, FEW_NEWCOMERS, MANY_NEWCOMERS, Crowd, Entrance, Turnstile
from tests.fakes.memory_stream import MemoryStream
from tests.net.applications import GOOD, Echo


class Turns(trio.abc.Instrument):
    """Counts what happens between two waits for I/O."""

    def __init__(self) -> None:
        self.counts = [0]

    def after_io_wait(self, timeout: float) -> None:
        self.counts.append(0)

    def note(self) -> None:
        self.counts[-1] += 1


def send(
    nursery: trio.Nursery,
    application: Application,
    received: bytes,
    alarms: Alarms,
    *,
    newcomers: Entrance | None = None,
    pipelining: Turnstile | None = None,
) -> MemoryStream:
    """A connection of its own by which this is sent."""
    stream = MemoryStream(nursery)
    connection = HttpConnection(
        stream,
        application,
        Limits(),
        peer="192.0.2.1",
        alarms=alarms,
        heads=HeadMemory(),
        newcomers=newcomers,
        pipelining=pipelining,
    )
    nursery.start_soon(connection.run)
    stream.peer.send(received)
    return stream


async def test_a4_of_those_who_go_at_the_same_moment_so_many_go_on_in_a_turn(nursery):
    departures, turns = Turnstile(), Turns()
    pairs = [socket.socketpair() for _ in range(5 * AT_ONCE)]

    async def read(ours: socket.socket) -> None:
        stream = SocketStream(ours, nursery, max_buffered=1000, send_timeout=1.0)
        stream.departures = departures
        assert await stream.receive_some() == b"hello"
        assert await stream.receive_some() == b""
        turns.note()
        await stream.aclose()

    async with trio.open_nursery() as readers:
        for ours, theirs in pairs:
            ours.setblocking(False)
            theirs.send(b"hello")
            readers.start_soon(read, ours)
        await wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(turns)
        for _, theirs in pairs:
            theirs.close()
    trio.lowlevel.remove_instrument(turns)
    assert sum(turns.counts) == len(pairs)
    assert max(turns.counts) <= AT_ONCE


async def test_a4_of_requests_that_many_pipeline_so_many_are_answered_in_a_turn(nursery, autojump_clock):
    pipelining, alarms, turns = Turnstile(), Alarms(), Turns()
    nursery.start_soon(alarms.run)

    class Counting(Echo):
        async def handle(self, request: Request) -> Response:
            if request.path == "/pipelined":
                turns.note()
            return await super().handle(request)

    received = GOOD + GOOD.replace(b"/good", b"/pipelined")
    streams = [send(nursery, Counting(), received, alarms, pipelining=pipelining) for _ in range(5 * AT_ONCE)]
    trio.lowlevel.add_instrument(turns)
    await wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(turns)
    assert sum(turns.counts) == len(streams)
    assert max(turns.counts) <= AT_ONCE


@pytest.mark.parametrize("others", [False, True])
async def test_of_those_who_come_at_the_same_moment_so_many_are_read_in_a_turn(nursery, autojump_clock, others):
    newcomers, alarms, turns = Entrance(), Alarms(), Turns()
    most = FEW_NEWCOMERS if others else MANY_NEWCOMERS
    if others:
        newcomers.crowd.make_way()
    nursery.start_soon(alarms.run)

    class Counting(Echo):
        async def handle(self, request: Request) -> Response:
            turns.note()
            return await super().handle(request)

    trio.lowlevel.add_instrument(turns)
    streams = [send(nursery, Counting(), GOOD, alarms, newcomers=newcomers) for _ in range(50)]
    await wait_all_tasks_blocked()
    assert sum(turns.counts) == len(streams)
    assert max(turns.counts) <= most
    # Later requests do not wait for each other.
    for stream in streams:
        stream.peer.send(GOOD)
    await wait_all_tasks_blocked()
    trio.lowlevel.remove_instrument(turns)
    assert sum(turns.counts) == 2 * len(streams)
    assert max(turns.counts) > most


async def test_a_crowd_makes_way_for_whoever_has_proved_who_they_are_and_for_nobody_else(nursery, autojump_clock):
    newcomers, alarms = Entrance(), Alarms()
    nursery.start_soon(alarms.run)

    class Proving(Echo):
        async def handle(self, request: Request) -> Response:
            request.proof = request.headers.get("authorization")
            return await super().handle(request)

    send(nursery, Proving(), GOOD, alarms, newcomers=newcomers)
    await wait_all_tasks_blocked()
    assert newcomers.crowd.at_once == MANY_NEWCOMERS
    send(nursery, Proving(), GOOD.replace(b"\r\n\r\n", b"\r\nAuthorization: me\r\n\r\n"), alarms, newcomers=newcomers)
    await wait_all_tasks_blocked()
    assert newcomers.crowd.at_once == FEW_NEWCOMERS


async def test_a_crowd_that_nobody_meets_goes_faster_again():
    crowd, turns = Crowd(), Turns()
    turnstile = Turnstile(crowd)
    crowd.make_way()

    async def pass_through() -> None:
        await turnstile.turn()
        turns.note()

    trio.lowlevel.add_instrument(turns)
    async with trio.open_nursery() as nursery:
        for _ in range(2000):
            nursery.start_soon(pass_through)
    # In the first turn they come as well, and in the last one those who are left go.
    in_a_turn = [passed for passed in turns.counts if passed][2:-1]
    assert set(in_a_turn[:10]) == {FEW_NEWCOMERS}
    assert set(in_a_turn[-10:]) == {MANY_NEWCOMERS}


async def test_who_comes_to_post_does_not_stand_behind_a_crowd_that_has_come_back(nursery, autojump_clock):
    newcomers, alarms = Entrance(), Alarms()
    newcomers.crowd.make_way()
    nursery.start_soon(alarms.run)
    order: list[str] = []

    class Noting(Echo):
        async def handle(self, request: Request) -> Response:
            order.append(request.method)
            return await super().handle(request)

    post = b"POST /good HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
    for received in [*[GOOD] * 100, post]:
        send(nursery, Noting(), received, alarms, newcomers=newcomers)
    await wait_all_tasks_blocked()
    assert len(order) == 101
    assert order.index("POST") < 12


async def test_who_is_cancelled_while_waiting_to_go_keeps_nobody_from_it(autojump_clock):
    departures = Turnstile()
    async with trio.open_nursery() as leaving:
        for _ in range(3 * AT_ONCE):
            leaving.start_soon(departures.turn)
        await trio.lowlevel.checkpoint()
        leaving.cancel_scope.cancel()
    async with trio.open_nursery() as leaving:
        for _ in range(3 * AT_ONCE):
            leaving.start_soon(departures.turn)
