"""Each fault of the proxy does to both sides what the plan says of it: a fault that does nothing would hide others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from tests.chaos.plan import Fault, FaultKind, Phase
from tests.chaos.proxy import Address, Lane, Proxy, Relay

PATIENCE = 5
REQUEST = b"GET /socket.io/?EIO=4&transport=%b HTTP/1.1\r\n\r\n"


class Line:
    """A connection through a lane, both of its ends in hand."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        self.client = client
        self.server = server

    async def pass_on(self, data: bytes = b"x") -> None:
        """Send both ways and see it arrive."""
        for one, other in ((self.client, self.server), (self.server, self.client)):
            await one.send_all(data)
            assert await other.receive_some() == data


class House:
    def __init__(self, lane: Lane, proxy: Proxy, accepted: trio.MemoryReceiveChannel[trio.SocketStream]) -> None:
        self.lane = lane
        self.proxy = proxy
        self._accepted = accepted
        self.dialled: list[trio.SocketStream] = []

    async def dial(self) -> trio.SocketStream:
        host, port = self.lane.url.removeprefix("http://").split(":")
        self.dialled.append(await trio.open_tcp_stream(host, int(port)))
        return self.dialled[-1]

    async def accept(self) -> trio.SocketStream:
        """The server's end of the next connection."""
        return await self._accepted.receive()

    async def connect(self, transport: bytes = b"polling") -> Line:
        client = await self.dial()
        line = Line(client, await self.accept())
        await client.send_all(REQUEST % transport)
        assert await line.server.receive_some() == REQUEST % transport
        return line


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    give, take = trio.open_memory_channel[trio.SocketStream](10)

    async def accept(stream: trio.SocketStream) -> None:
        async with stream:
            await give.send(stream)
            await trio.sleep_forever()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, accept, [listener])
            proxy = Proxy(nursery)
            proxy.upstream = ("127.0.0.1", listener.socket.getsockname()[1])
            place = House(await proxy.open("lane"), proxy, take)
            try:
                yield place
            finally:
                nursery.cancel_scope.cancel()
                for client in place.dialled:
                    client.socket.close()


def fault(kind: FaultKind, phase: Phase = "now", chunks: int = 0, seconds: float = 0.0) -> Fault:
    return Fault("lane", kind, phase, chunks, seconds)


async def test_without_a_fault_everything_passes() -> None:
    async with house() as place:
        line = await place.connect()
        await line.pass_on()
        await line.client.aclose()
        assert await line.server.receive_some() == b""


async def test_a_cut_ends_both_sides() -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault("cut"))
        assert await line.client.receive_some() == b""
        assert await line.server.receive_some() == b""


async def test_a_reset_ends_both_sides_with_rst() -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault("reset"))
        for side in (line.client, line.server):
            with pytest.raises(trio.BrokenResourceError) as raised:
                await side.receive_some()
            assert isinstance(raised.value.__cause__, ConnectionResetError)


async def test_a_stall_holds_everything_back_and_then_lets_it_through() -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault("stall", seconds=0.05))
        await line.pass_on()


async def test_what_is_held_back_when_the_faults_are_over_never_arrives() -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault("stall", seconds=60))
        await line.client.send_all(b"held")
        place.lane.heal()
        # The end comes first, as EOF or, with what was held unread, as RST.
        with suppress(trio.BrokenResourceError):
            assert await line.server.receive_some() == b""


@pytest.mark.parametrize(("kind", "dead_is_up"), [("half-up", True), ("half-down", False)])
async def test_a_halved_connection_passes_one_way_only(kind: FaultKind, dead_is_up: bool) -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault(kind))
        alive, dead = (line.server, line.client) if dead_is_up else (line.client, line.server)
        await dead.send_all(b"swallowed")
        await alive.send_all(b"heard")
        assert await dead.receive_some() == b"heard"
        if dead_is_up:
            # Nor does the server learn that the client has gone, until the faults are over.
            await line.client.aclose()
        place.lane.heal()
        assert await alive.receive_some() == b""


async def test_an_orphans_server_is_not_told_that_the_client_has_gone() -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault("orphan"))
        assert await line.client.receive_some() == b""
        await line.server.send_all(b"to nobody")
        place.lane.heal()
        assert await line.server.receive_some() == b""


async def test_in_the_dark_nothing_is_reached_for_a_while() -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault("dark", seconds=60))
        assert await line.client.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await (await place.dial()).receive_some()
        place.lane.heal()
        await (await place.connect()).pass_on()


async def test_nobody_is_connected_while_the_server_is_down() -> None:
    async with house() as place:
        place.proxy.upstream = None
        with pytest.raises(trio.BrokenResourceError):
            await (await place.dial()).receive_some()


@pytest.mark.parametrize(("phase", "transport"), [("polling", b"polling"), ("upgrade", b"websocket")])
async def test_a_fault_waits_for_its_phase_and_its_piece_of_data(phase: Phase, transport: bytes) -> None:
    async with house() as place:
        other = await place.connect(b"websocket" if phase == "polling" else b"polling")
        place.lane.strike(fault("cut", phase, chunks=3))
        await other.pass_on()
        line = await place.connect(transport)
        await line.pass_on()
        await line.client.send_all(b"the fourth")
        assert await line.client.receive_some() == b""
        assert sum(place.proxy.struck.values()) == 1


async def test_a_websocket_is_cut_so_that_its_client_comes_back_to_the_phase() -> None:
    async with house() as place:
        line = await place.connect(b"websocket")
        for _ in range(4):
            await line.pass_on()
        place.lane.strike(fault("cut", "upgrade"))
        assert await line.client.receive_some() == b""


async def test_silence_swallows_everything_and_ends_with_rst() -> None:
    async with house() as place:
        line = await place.connect()
        place.lane.strike(fault("silence", seconds=0.05))
        await line.client.send_all(b"swallowed")
        late = await place.dial()
        await late.send_all(b"swallowed as well")
        for stream in (line.client, late, line.server, await place.accept()):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
        # Afterwards it is as before.
        await (await place.connect()).pass_on()


async def test_a_request_chooses_its_server() -> None:
    async with house() as place:
        asked: list[bytes] = []

        def route(_: Relay, head: bytes) -> Address | None:
            asked.append(head)
            return place.proxy.upstream if b"polling" in head else None

        place.proxy.route = route
        client = await place.dial()
        await client.send_all(REQUEST % b"polling")
        line = Line(client, await place.accept())
        assert await line.server.receive_some() == REQUEST % b"polling"
        await line.pass_on()
        refused = await place.dial()
        await refused.send_all(REQUEST % b"websocket")
        with pytest.raises(trio.BrokenResourceError):
            await refused.receive_some()
        assert asked == [REQUEST % b"polling", REQUEST % b"websocket"]
