"""A host that stands for several addresses: all are listened on, on one port."""

import socket
from typing import Any

import pytest
import trio

from djactors.net import Listener, _binding
from tests.net.applications import Echo
from tests.net.test_listener import GOOD, descriptors, receive_response

V4 = (socket.AF_INET, ("127.0.0.1",))
V6 = (socket.AF_INET6, ("::1", 0, 0))
ANY_V4 = (socket.AF_INET, ("0.0.0.0",))
ANY_V6 = (socket.AF_INET6, ("::", 0, 0))
NOT_OURS = (socket.AF_INET6, ("2001:db8::1", 0, 0))
"""An address for documentation (RFC 3849): no machine has it."""


class Names(trio.abc.HostnameResolver):
    """Every name stands for these addresses."""

    def __init__(self, *addresses: tuple[socket.AddressFamily, tuple[Any, ...]]) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        return [
            (family, socket.SOCK_STREAM, 6, "", (host, int(port), *rest)) for family, (host, *rest) in self._addresses
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 address of its own")


def listener_on(*addresses: tuple[socket.AddressFamily, tuple[Any, ...]], port: int = 0) -> Listener:
    trio.socket.set_custom_hostname_resolver(Names(*addresses))
    return Listener(Echo(), host="a-name", port=port, on_error=lambda error, peer: None)


async def answers(address: tuple[str, int]) -> bool:
    async with await trio.open_tcp_stream(*address) as client:
        await client.send_all(GOOD)
        status, *_ = await receive_response(client)
        return bool(status == 200)


async def served(listener: Listener, nursery: trio.Nursery) -> list[tuple[str, int]]:
    """Where the listener says that it listens; each place was found to answer."""
    await nursery.start(listener.run)
    for address in listener.addresses:
        assert await answers(address)
    assert listener.address == listener.addresses[0]
    return list(listener.addresses)


@needs_ipv6
async def test_every_address_of_a_name_is_listened_on_and_all_on_one_port(nursery: trio.Nursery) -> None:
    before = descriptors()
    listener = listener_on(V6, V4, V4)
    (first, port), (second, same) = await served(listener, nursery)
    assert (first, second, same) == ("::1", "127.0.0.1", port)
    await listener.drain(1)
    assert descriptors() == before
    with pytest.raises(OSError, match=r"refused|connect"):
        await answers(("::1", port))


@needs_ipv6
async def test_it_runs_again_on_all_of_them(nursery: trio.Nursery) -> None:
    listener = listener_on(V4, V6)
    async with trio.open_nursery() as first:
        addresses = await served(listener, first)
        first.cancel_scope.cancel()
    assert await served(listener, nursery) == addresses
    await listener.drain(1)


@needs_ipv6
async def test_the_wildcards_of_both_families_share_a_port(nursery: trio.Nursery) -> None:
    listener = listener_on(ANY_V4, ANY_V6)
    await nursery.start(listener.run)
    (_, port), _ = listener.addresses
    assert await answers(("127.0.0.1", port))
    assert await answers(("::1", port))
    await listener.drain(1)


@needs_ipv6
async def test_a_wildcard_of_ipv6_alone_takes_ipv4_as_well(nursery: trio.Nursery) -> None:
    listener = listener_on(ANY_V6)
    await nursery.start(listener.run)
    [(_, port)] = listener.addresses
    assert await answers(("127.0.0.1", port))
    await listener.drain(1)


async def test_an_address_that_the_machine_lacks_is_left_out(nursery: trio.Nursery) -> None:
    listener = listener_on(NOT_OURS, V4)
    assert [host for host, _ in await served(listener, nursery)] == ["127.0.0.1"]
    await listener.drain(1)


async def test_a_name_of_addresses_that_the_machine_lacks_is_an_error() -> None:
    before = descriptors()
    with pytest.raises(OSError, match=r"assign requested address|not supported"):
        await listener_on(NOT_OURS).run()
    assert descriptors() == before


@needs_ipv6
async def test_a_port_that_is_taken_on_one_of_them_is_an_error() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        before = descriptors()
        with pytest.raises(OSError, match="in use"):
            await listener_on(V4, V6, port=taken.getsockname()[1]).run()
        assert descriptors() == before


@needs_ipv6
async def test_a_free_port_that_is_taken_on_another_address_is_picked_anew(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = _binding._listen
    with socket.socket(socket.AF_INET6) as taken, socket.socket() as held:
        ports: list[int] = []

        def listen_late(family: socket.AddressFamily, address: tuple[Any, ...], *, alone: bool) -> socket.socket:
            if family == socket.AF_INET6:
                if not ports:  # somebody was quicker, the first time
                    taken.bind(("::1", address[1]))
                    taken.listen()
                ports.append(address[1])
            elif ports and held.getsockname()[1] == 0:
                held.bind(("127.0.0.1", ports[0]))  # or the system might pick the same port again
            return listen(family, address, alone=alone)

        monkeypatch.setattr(_binding, "_listen", listen_late)
        listener = listener_on(V4, V6)
        (_, port), (_, same) = await served(listener, nursery)
        assert len(ports) == 2
        assert ports[0] != ports[1] == port == same
        await listener.drain(1)


async def test_where_no_port_is_free_on_all_of_them_it_gives_up_after_some_tries() -> None:
    before = descriptors()
    # Who listens on one address of a port keeps others from all addresses of it.
    with pytest.raises(OSError, match="in use"):
        await listener_on(V4, ANY_V4).run()
    assert descriptors() == before
