"""Which node a connection goes to: a session stays where it is, everything else goes anywhere that is ready."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from tests.chaos.balancing import Balancer
from tests.chaos.proxy import Address, Lane, Proxy, Relay

BEGIN = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n\r\n"
GO_ON = b"GET /socket.io/?EIO=4&transport=polling&sid=abc HTTP/1.1\r\n\r\n"
LIST = b"GET /api/notifications HTTP/1.1\r\n\r\n"
ADDRESSES: list[Address | None] = [("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)]


class Clients:
    def __init__(self, lane: Lane, stream: trio.SocketStream) -> None:
        self.lane = lane
        self._stream = stream
        self.balancer = Balancer(3, seed=1)
        self.balancer.addresses[:] = ADDRESSES
        self.balancer.ready = [True] * 3

    def ask(self, head: bytes) -> Address | None:
        """Where a connection of the one client goes that stays open."""
        relay = Relay(self.lane, self._stream)
        self.lane.relays.add(relay)
        return self.balancer.route(relay, head)


@pytest.fixture
async def clients(nursery: trio.Nursery) -> Clients:
    lane = Lane(Proxy(nursery), "lane", 1)
    with trio.socket.socket() as socket:
        return Clients(lane, trio.SocketStream(socket))


async def test_a_session_stays_on_its_node_and_lists_come_from_all(clients: Clients) -> None:
    home = clients.ask(BEGIN)
    assert {clients.ask(GO_ON) for _ in range(20)} == {home}
    assert Counter(clients.ask(LIST) for _ in range(60)).keys() == set(ADDRESSES)


async def test_a_session_moves_when_its_node_is_not_ready(clients: Clients) -> None:
    home = clients.ask(BEGIN)
    assert home is not None
    clients.balancer.ready[ADDRESSES.index(home)] = False
    moved = clients.ask(GO_ON)
    assert moved not in (None, home)
    assert {clients.ask(GO_ON) for _ in range(20)} == {moved}
    assert home not in {clients.ask(LIST) for _ in range(20)}


async def test_a_client_that_comes_back_may_come_to_another_node(clients: Clients) -> None:
    homes = set()
    for _ in range(30):
        clients.lane.relays.clear()
        homes.add(clients.ask(BEGIN))
    assert homes == set(ADDRESSES)


async def test_where_no_node_is_ready_one_that_is_up_is_asked_and_none_where_none_is(clients: Clients) -> None:
    clients.balancer.ready = [False] * 3
    clients.balancer.addresses[0] = clients.balancer.addresses[2] = None
    assert clients.ask(LIST) == ADDRESSES[1]
    clients.balancer.addresses[1] = None
    assert clients.ask(LIST) is None
    assert clients.ask(BEGIN) is None
