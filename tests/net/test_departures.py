"""However many peers go at the same moment, the connections end a few at a time."""

import socket

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.net import SocketStream
from djactors.net._departures import AT_ONCE, Departures


class Turns(trio.abc.Instrument):
    """Counts what happens between two waits for I/O."""

    def __init__(self) -> None:
        self.counts = [0]

    def after_io_wait(self, timeout: float) -> None:
        self.counts.append(0)

    def note(self) -> None:
        self.counts[-1] += 1


async def test_a4_of_those_who_go_at_the_same_moment_so_many_go_on_in_a_turn(nursery):
    departures, turns = Departures(), Turns()
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


async def test_who_is_cancelled_while_waiting_to_go_keeps_nobody_from_it(autojump_clock):
    departures = Departures()
    async with trio.open_nursery() as leaving:
        for _ in range(3 * AT_ONCE):
            leaving.start_soon(departures.turn)
        await trio.lowlevel.checkpoint()
        leaving.cancel_scope.cancel()
    async with trio.open_nursery() as leaving:
        for _ in range(3 * AT_ONCE):
            leaving.start_soon(departures.turn)
