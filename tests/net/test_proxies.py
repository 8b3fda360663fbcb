"""Who is behind a proxy (row A6): `X-Forwarded-For` and the PROXY protocol, believed from trusted addresses alone."""

import json
import socket
import struct
from contextlib import suppress

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from djactors.net import (
    Limits,
    ListenerLimits,
    ProxyHeader,
    ProxyHeaderError,
    Request,
    Response,
    TrustedProxies,
    parse_proxy_header,
)
from djactors.net._proxies import MAX_HOPS, forwarded_host
from djactors.net._proxy_protocol import MAX_REST, SIGNATURE
from tests.net.applications import GOOD, Echo, connect_from, listening, receive_all, receive_response, reset, until
from tests.net.test_listener import Counts

PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8:ffff::/48", "127.0.0.3"])


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (None, "10.0.0.1"),
        ("", "10.0.0.1"),
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("1.2.3.4, 203.0.113.7, 10.0.0.2,10.0.0.3", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711, 2001:db8:ffff::1", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("10.0.0.5, 10.0.0.4", "10.0.0.5"),
        ("unknown", "10.0.0.1"),
        ("203.0.113.7, unknown", "10.0.0.1"),
        ("203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("203.0.113.7,", "10.0.0.1"),
        ("_hidden", "10.0.0.1"),
        ("203.0.113.7:99999999", "10.0.0.1"),
        ("1.2.3", "10.0.0.1"),
        ("9" * 10_000, "10.0.0.1"),
        ("203.0.113.7" + ", 10.0.0.2" * (MAX_HOPS - 1), "203.0.113.7"),
        ("203.0.113.7" + ", 10.0.0.2" * MAX_HOPS, "10.0.0.2"),
    ],
)
def test_a6_the_rightmost_address_that_is_no_proxy_s_is_the_client(forwarded: str | None, client: str):
    assert PROXIES.client("10.0.0.1", forwarded) == client


@given(st.text(alphabet="0123456789abcdef.:[]%, \xe9x", max_size=200))
def test_whatever_is_forwarded_the_client_is_an_address(forwarded: str):
    client = PROXIES.client("10.0.0.1", forwarded)
    socket.inet_pton(socket.AF_INET6 if ":" in client else socket.AF_INET, client)


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [("10.9.9.9", True), ("::ffff:10.9.9.9", True), ("11.0.0.1", False), ("2001:db8:ffff::9", True), ("x", False)],
)
def test_networks_are_trusted_and_mapped_addresses_are_seen_through(peer: str, trusted: bool):
    assert PROXIES.trusts(peer) is trusted


def test_a_wrong_network_is_named():
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        TrustedProxies(["10.0.0.1/8"])


def test_the_host_is_the_one_that_the_nearest_proxy_wrote():
    assert forwarded_host("evil.test, app.example.com:8443") == "app.example.com:8443"
    assert [forwarded_host(header) for header in (None, "", "a b", "x" * 300)] == [None] * 4


# Over sockets


class WhoAsks(Echo):
    async def handle(self, request: Request) -> Response:
        return Response(200, json.dumps([request.peer, request.host]).encode())


def ask(*headers: str) -> bytes:
    return "".join(f"{line}\r\n" for line in ("GET / HTTP/1.1", "Host: inner", *headers, "")).encode()


async def told(client: trio.SocketStream) -> list[str]:
    status, _, body = await receive_response(client)
    assert status == 200
    return list(json.loads(body))


async def test_a6_only_a_trusted_proxy_is_believed():
    async with listening(WhoAsks(), proxies=PROXIES) as listener:
        proxy, liar = await connect_from(listener, "127.0.0.3"), await connect_from(listener, "127.0.0.4")
        for client in (proxy, liar):
            await client.send_all(
                ask("X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 10.0.0.2", "X-Forwarded-Host: app.test")
            )
        assert await told(proxy) == ["203.0.113.7", "app.test"]
        assert await told(liar) == ["127.0.0.4", "inner"]
        await proxy.send_all(ask("X-Forwarded-For: 203.0.113.8"))
        assert await told(proxy) == ["203.0.113.8", "inner"], "a proxy's connection carries requests of many"
        for client in (proxy, liar):
            await reset(client)


async def test_a6_behind_a_proxy_each_person_has_an_own_share_of_connections():
    limits = ListenerLimits(max_connections_per_address=2)
    async with listening(WhoAsks(), proxies=PROXIES, listener_limits=limits) as listener:
        clients = []
        for number, status in ((7, 200), (7, 200), (8, 200), (7, 429), (9, 200)):
            client = await connect_from(listener, "127.0.0.3")
            await client.send_all(ask(f"X-Forwarded-For: 203.0.113.{number}"))
            assert (await receive_response(client))[0] == status, number
            clients.append(client)
        await reset(clients.pop(0))
        await until(lambda: listener.connections == 3)
        again = await connect_from(listener, "127.0.0.3")
        await again.send_all(ask("X-Forwarded-For: 203.0.113.7"))
        assert await told(again) == ["203.0.113.7", "inner"]
        for client in (*clients, again):
            await reset(client)


# The PROXY protocol


def header(family: int = 0x11, command: int = 0x21, addresses: bytes | None = None, tlv: bytes = b"") -> bytes:
    if addresses is None:
        addresses = socket.inet_aton("203.0.113.7") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 4711, 443)
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(addresses + tlv)) + addresses + tlv


SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack("!HH", 4711, 443)
HEADERS = {
    "tcp4": (header(), "203.0.113.7"),
    "tcp6": (header(0x21, addresses=SIX), "2001:db8::7"),
    "fields": (header(tlv=b"\x04\x00\x03abc"), "203.0.113.7"),
    "local": (header(0x00, 0x20, b""), None),
    "local with addresses": (header(0x11, 0x20), None),
    "unspecified": (header(0x00, addresses=b""), None),
    "unspecified with bytes": (header(0x00, addresses=b"xyz"), None),
    "udp": (header(0x12), None),
    "unix": (header(0x31, addresses=bytes(216)), None),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a6_a_header_is_read_whole_however_it_is_split(name: str):
    data, client = HEADERS[name]
    for split in range(len(data)):
        assert parse_proxy_header(data[:split]) is None
    for rest in (b"", b"GET / HTTP/1.1\r\n", data):
        assert parse_proxy_header(data + rest) == ProxyHeader(client, len(data))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"GET / HTTP/1.1\r\n", "something else"),
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "version 1"),
        (b"\r\n\r\n\x00\r\nQUIX", "something else"),
        (SIGNATURE + b"\x11", "0x11"),
        (SIGNATURE + b"\x22", "0x22"),
        (SIGNATURE + b"\x21\x41", "0x41"),
        (SIGNATURE + b"\x21\x11" + struct.pack("!H", MAX_REST + 1), "at most"),
        (SIGNATURE + b"\x21\x11" + struct.pack("!H", 11), "too few"),
        (SIGNATURE + b"\x21\x21" + struct.pack("!H", 12), "too few"),
    ],
)
def test_a6_what_is_no_header_is_refused_as_soon_as_that_is_certain(data: bytes, word: str):
    with pytest.raises(ProxyHeaderError, match=word):
        parse_proxy_header(data)


@given(st.binary(max_size=80) | st.binary(max_size=64).map(lambda rest: SIGNATURE + rest))
def test_any_bytes_are_a_header_or_refused_or_too_few(data: bytes):
    found = None
    with suppress(ProxyHeaderError):
        found = parse_proxy_header(data)
    assert found is None or 16 <= found.size <= len(data)


async def test_a6_the_proxy_protocol_names_the_client_however_it_arrives():
    async with listening(WhoAsks(), proxies=PROXIES, proxy_protocol=True) as listener:
        for data, client in HEADERS.values():
            proxy = await connect_from(listener, "127.0.0.3")
            for start in range(0, len(data), 7):
                await proxy.send_all(data[start : start + 7])
            await proxy.send_all(ask("X-Forwarded-For: 198.51.100.1"))
            assert (await told(proxy))[0] == (client or "198.51.100.1")
            await reset(proxy)


async def test_a6_the_proxy_protocol_is_required_from_proxies_and_refused_from_others():
    counts = Counts()
    async with listening(WhoAsks(), proxies=PROXIES, proxy_protocol=True, telemetry=counts) as listener:
        proxy = await connect_from(listener, "127.0.0.3")
        await proxy.send_all(ask())
        assert await receive_all(proxy) == b""
        assert [name for name in counts.counter if "something else" in name]
        liar = await connect_from(listener, "127.0.0.4")
        await liar.send_all(header() + ask())
        assert (await receive_response(liar))[0] == 400
        honest = await connect_from(listener, "127.0.0.4")
        await honest.send_all(GOOD)
        assert (await receive_response(honest))[0] == 200
        for client in (proxy, liar, honest):
            await reset(client)


async def test_a6_with_the_proxy_protocol_each_person_has_an_own_share_of_connections():
    limits = ListenerLimits(max_connections_per_address=1)
    async with listening(Echo(), proxies=PROXIES, proxy_protocol=True, listener_limits=limits) as listener:
        clients = []
        for last, status in ((7, 101), (8, 101), (7, 429)):
            address = socket.inet_aton(f"203.0.113.{last}") + bytes(8)
            client = await connect_from(listener, "127.0.0.3")
            await client.send_all(
                header(addresses=address)
                + b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert (await receive_response(client))[0] == status
            clients.append(client)
        assert listener.connections == 2
        for client in clients:
            await reset(client)


async def test_a6_a_proxy_that_sends_no_header_is_let_go_after_a_while(autojump_clock):
    counts = Counts()
    limits = Limits(header_timeout=1000)
    async with listening(WhoAsks(), proxies=PROXIES, proxy_protocol=True, limits=limits, telemetry=counts) as listener:
        proxy = await connect_from(listener, "127.0.0.3")
        await proxy.send_all(SIGNATURE)
        assert await receive_all(proxy) == b""
        assert [name for name in counts.counter if "within 5 s" in name]
        await reset(proxy)
