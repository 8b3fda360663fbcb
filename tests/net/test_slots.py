"""Row A6: connections that sit idle without having shown a token live shortly, and give way when slots run short."""

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from djactors.kernel import Alarms
from djactors.net import HeadMemory, HttpConnection, Limits, ListenerLimits, ProvenAddresses, Request, Response
from djactors.net._slots import Slots, Waiting
from tests.fakes.memory_stream import MemoryStream
from tests.net.applications import GOOD, Echo, connect_from, listening, receive_all, receive_response, reset, until
from tests.net.test_listener import Counts

PROOF = b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: good\r\n\r\n"


class Proving(Echo):
    """Takes a request with any `Authorization` for proof."""

    async def handle(self, request: Request) -> Response:
        if "authorization" in request.headers:
            request.proof = "good"
        return await super().handle(request)


class Guest:
    def __init__(self, peer: str) -> None:
        self.peer = peer

    def drain(self) -> None:
        pass

    def give_way(self) -> None:
        pass


async def proven(listener, address: str) -> trio.SocketStream:
    client = await connect_from(listener, address)
    await client.send_all(PROOF)
    assert (await receive_response(client))[0] == 200
    return client


async def test_a6_idle_squatters_give_way_to_a_newcomer_and_the_proven_stay():
    counts = Counts()
    limits = ListenerLimits(max_connections=6, max_connections_per_address=4)
    async with listening(Proving(), listener_limits=limits, telemetry=counts) as listener:
        kept = await proven(listener, "127.0.0.2")
        squatters = [await connect_from(listener, "127.0.0.3") for _ in range(3)]
        squatters += [await connect_from(listener, "127.0.0.4") for _ in range(2)]
        await until(lambda: listener.connections == 6)
        newcomer = await connect_from(listener, "127.0.0.5")
        await newcomer.send_all(GOOD)
        assert (await receive_response(newcomer))[0] == 200
        assert await receive_all(squatters[0]) == b"", "the oldest of the address with the most has gone"
        await kept.send_all(PROOF)
        assert (await receive_response(kept))[0] == 200
        assert counts.counter["refused gave_way"] == 1
        for client in (kept, newcomer, *squatters):
            await reset(client)


async def test_a6_squatters_who_dribble_a_head_give_way_as_well():
    limits = ListenerLimits(max_connections=2)
    async with listening(Proving(), listener_limits=limits) as listener:
        squatters = [await connect_from(listener, "127.0.0.3") for _ in range(2)]
        for squatter in squatters:
            await squatter.send_all(b"GET / HTTP/1.1\r\nHost:")
        await until(lambda: listener.connections == 2)
        newcomer = await connect_from(listener, "127.0.0.5")
        await newcomer.send_all(GOOD)
        assert (await receive_response(newcomer))[0] == 200
        for client in (newcomer, *squatters):
            await reset(client)


async def test_a6_one_address_loses_its_own_squatters_at_its_cap():
    limits = ListenerLimits(max_connections_per_address=2)
    async with listening(Proving(), listener_limits=limits) as listener:
        kept = await proven(listener, "127.0.0.3")
        squatter = await connect_from(listener, "127.0.0.3")
        await until(lambda: listener.connections == 2)
        newcomer = await proven(listener, "127.0.0.3")
        assert await receive_all(squatter) == b""
        over = await connect_from(listener, "127.0.0.3")
        await over.send_all(GOOD)
        assert (await receive_response(over))[0] == 429
        for client in (kept, newcomer, squatter, over):
            await reset(client)


@pytest.mark.parametrize(("request_", "lives"), [(GOOD, 5.0), (PROOF, 60.0)], ids=["unproven", "proven"])
async def test_a6_an_idle_connection_lives_shortly_until_a_proof(
    nursery, autojump_clock, request_: bytes, lives: float
):
    alarms = Alarms()
    nursery.start_soon(alarms.run)
    stream = MemoryStream(nursery, window=64 * 1024)
    slots = Slots(10, 10, ProvenAddresses())
    limits = Limits(unproven_timeout=5.0, idle_timeout=60.0)
    connection = HttpConnection(
        stream, Proving(), limits, peer="192.0.2.1", alarms=alarms, heads=HeadMemory(), slots=slots
    )
    slots.add(connection)
    stream.peer.send(request_)
    began = trio.current_time()
    await connection.run()
    assert trio.current_time() - began == pytest.approx(lives, abs=1.5)
    await stream.aclose()
    assert (await stream.peer.receive_all()).startswith(b"HTTP/1.1 200 ")


PEERS = [f"192.0.2.{number}" for number in range(4)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 11)), max_size=60))
def test_the_one_that_gives_way_is_the_oldest_of_the_address_with_the_most(steps: Sequence[tuple[bool, int]]):
    guests = [Guest(PEERS[number % 4]) for number in range(12)]
    waiting, model = Waiting(), list[Guest]()
    for adds, number in steps:
        guest = guests[number]
        if adds:
            waiting.add(guest)
            model += [] if guest in model else [guest]
        else:
            waiting.discard(guest)
            model = [each for each in model if each is not guest]
        victim = waiting.victim("198.51.100.1", is_proven=False)
        assert (victim is None) == (not model)
        if victim is not None:
            sizes = [sum(each.peer == peer for each in model) for peer in PEERS]
            assert sizes[PEERS.index(victim.peer)] == max(sizes)
            assert victim is next(each for each in model if each.peer == victim.peer)
