"""TLS on the listener: over real sockets on loopback, with Python's own client."""

import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest
import trio

from djactors.net import (
    Limits,
    Listener,
    ListenerLimits,
    ServerTls,
    TlsRefused,
    TrustedProxies,
    UnprovenBytes,
    _tls_stream,
    tls_context,
)
from tests.net.applications import (
    GOOD,
    UPGRADE,
    Echo,
    connect,
    listening,
    masked,
    receive_all,
    receive_frame,
    receive_response,
    receive_until,
    until,
)
from tests.net.test_listener import Counts, descriptors, tasks
from tests.tls import Pair, client_context

BIG = 300_000


class TlsCounts(Counts):
    def handshake_failed(self, peer: str, problem: str) -> None:
        self.counter[f"handshake: {problem}"] += 1


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    return ServerTls(pair.certificate, pair.key)


async def secure(listener: Listener, **options: Any) -> Any:
    """A client's TLS connection, typed as a `SocketStream` is used."""
    context = client_context()
    for name, value in options.items():
        setattr(context, name, value)
    context.set_alpn_protocols(["h2", "http/1.1"])
    stream = trio.SSLStream(await connect(listener), context, server_hostname="localhost", https_compatible=True)
    await stream.do_handshake()
    return stream


async def answers(listener: Listener, **options: Any) -> bool:
    async with await secure(listener, **options) as client:
        await client.send_all(GOOD)
        status, _, _ = await receive_response(client)
        return bool(status == 200)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_and_a_websocket_go_through_it(tls: ServerTls, version: ssl.TLSVersion) -> None:
    application = Echo(max_message_bytes=2 * BIG)
    application.limit = 2 * BIG
    async with listening(application, tls=tls) as listener:
        async with await secure(listener, maximum_version=version) as client:
            assert client.selected_alpn_protocol() == "http/1.1"
            for _ in range(3):
                await client.send_all(GOOD)
                assert (await receive_response(client))[0] == 200
            body = b"x" * BIG
            await client.send_all(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%b" % (BIG, body))
            assert body in (await receive_response(client))[2]
            await client.send_all(UPGRADE)
            await receive_until(client, b"\r\n\r\n")
            for _ in range(3):
                await client.send_all(masked(0x81, b"hello"))
                assert await receive_frame(client) == (0x81, b"hello")
        await until(lambda: listener.connections == 0)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_old_versions_are_refused_and_told(tls: ServerTls) -> None:
    counts = TlsCounts()
    async with listening(tls=tls, telemetry=counts) as listener:
        context = client_context()
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(trio.BrokenResourceError):
            async with trio.SSLStream(await connect(listener), context, server_hostname="localhost") as client:
                await client.do_handshake()
        await until(lambda: bool(counts.counter["handshake: unsupported protocol"]))
        assert await answers(listener)


async def test_plain_http_is_told_to_use_https(tls: ServerTls) -> None:
    counts = TlsCounts()
    async with listening(tls=tls, telemetry=counts) as listener, await connect(listener) as client:
        await client.send_all(GOOD)
        status, _, body = await receive_response(client)
        assert (status, b"https://" in body) == (400, True)
        await until(lambda: bool(counts.counter["handshake: http request"]))


async def test_a_wrong_or_slow_handshake_ends_its_connection_alone(tls: ServerTls) -> None:
    counts = TlsCounts()
    before, tasks_before = descriptors(), tasks()
    async with listening(tls=tls, telemetry=counts, limits=Limits(handshake_timeout=0.2)) as listener:
        witness = await secure(listener)
        hello = client_hello()
        for bytes_sent in (
            b"",
            b"\x16",
            hello[:5],
            hello[:100],
            hello,
            b"\x16\x03\x01\xff\xff" + bytes(20_000),
            b"nonsense" * 9,
        ):
            async with await connect(listener) as client:
                await client.send_all(bytes_sent)
                await receive_all(client)  # until the server ends it
        await until(lambda: counts.counter["handshake: the handshake took more than 0.2 s"] == 5)
        # One that leaves in the middle, and one that resets.
        for reset in (False, True):
            with socket.create_connection(listener.address) as peer:
                peer.sendall(hello[:50])
                if reset:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await witness.send_all(GOOD)
        assert (await receive_response(witness))[0] == 200
        await witness.aclose()
        await until(lambda: listener.connections == 0)
    assert (descriptors(), tasks()) == (before, tasks_before)


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    return outgoing.read()


async def test_bytes_of_handshakes_and_of_unfinished_records_count_as_unproven(tls: ServerTls) -> None:
    refused: list[None] = []
    budget = UnprovenBytes(limit=20_000, on_refused=lambda: refused.append(None))
    async with listening(tls=tls, unproven=budget) as listener:
        client = await connect(listener)
        await client.send_all(b"\x16\x03\x01\x20\x00\x01\x00\x1f\xfc" + bytes(6000))
        await until(lambda: budget.held >= 6000)
        await client.aclose()
        await until(lambda: budget.held == 0)
        greedy = [await connect(listener) for _ in range(4)]
        for client in greedy:
            await client.send_all(b"\x16\x03\x01\x20\x00\x01\x00\x1f\xfc" + bytes(6000))
        await until(lambda: bool(refused))
        for client in greedy:
            await client.aclose()
        # A record that has not come whole, behind a handshake that went well.
        raw = await connect(listener)
        whole = trio.SSLStream(raw, client_context(), server_hostname="localhost", https_compatible=True)
        await whole.do_handshake()
        await raw.send_all(b"\x17\x03\x03\x20\x00" + bytes(5000))
        await until(lambda: budget.held >= 5005)
        await raw.aclose()
        await until(lambda: budget.held == 0)


async def test_a_broken_record_ends_its_connection_alone(tls: ServerTls) -> None:
    async with listening(tls=tls) as listener:
        raw = await connect(listener)
        await trio.SSLStream(raw, client_context(), server_hostname="localhost").do_handshake()
        await raw.send_all(b"\x17\x03\x03\x00\x40" + bytes(64))
        await receive_all(raw)
        await raw.aclose()
        assert await answers(listener)


async def test_a_connection_in_its_handshake_gives_way_to_a_newcomer(tls: ServerTls) -> None:
    counts = TlsCounts()
    limits = ListenerLimits(max_connections=2)
    async with listening(tls=tls, telemetry=counts, listener_limits=limits) as listener:
        squatters = [await connect(listener) for _ in range(2)]
        for squatter in squatters:
            await squatter.send_all(client_hello()[:80])
        await until(lambda: listener.connections == 2)
        assert await answers(listener)
        assert counts.counter["refused gave_way"]
        for squatter in squatters:
            await squatter.aclose()


async def test_the_header_of_the_proxy_protocol_comes_before_the_handshake(tls: ServerTls) -> None:
    application = Echo()
    proxies = TrustedProxies(["127.0.0.1"])
    async with listening(application, tls=tls, proxies=proxies, proxy_protocol=True) as listener:
        raw = await connect(listener)
        header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + socket.inet_aton("192.0.2.7") + bytes(8)
        await raw.send_all(header + b"")
        client = trio.SSLStream(raw, client_context(), server_hostname="localhost", https_compatible=True)
        await client.send_all(GOOD)
        assert (await receive_response(client))[0] == 200  # type: ignore[arg-type]
        assert application.requests[-1].peer == "192.0.2.7"
        await client.aclose()
        # Both in one piece.
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            engine.do_handshake()
        raw = await connect(listener)
        await raw.send_all(header + outgoing.read())
        assert (await raw.receive_some())[:1] == b"\x16"
        await raw.aclose()


async def test_newcomers_get_a_new_pair_and_open_connections_keep_theirs(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    tls = ServerTls(pair.certificate, pair.key)
    async with listening(tls=tls) as listener, await secure(listener) as old:
        pair.renew()
        tls.context = tls_context(pair.certificate, pair.key)
        async with await secure(listener) as new:
            serials = [each.getpeercert()["serialNumber"] for each in (old, new)]
            assert serials[0] != serials[1]
        await old.send_all(GOOD)
        assert (await receive_response(old))[0] == 200


async def test_a_server_that_stops_says_goodbye(tls: ServerTls) -> None:
    async with listening(tls=tls) as listener:
        client = await secure(listener)
        await client.send_all(GOOD)
        await receive_response(client)
        await listener.drain(1)
        assert await client.receive_some() == b""
        await client.aclose()


def test_a_handshake_has_fewer_bytes_than_are_taken() -> None:
    assert len(client_hello()) * 10 < _tls_stream.MAX_HANDSHAKE


def test_wrong_pairs_are_refused_by_the_file_and_the_mend(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    certificate, key = pair.certificate.read_bytes(), pair.key.read_bytes()
    other = Pair.make()[1]
    for files, file, said in [
        ((certificate, other), "key", "is not the key of"),
        ((b"", key), "certificate", "holds no certificate"),
        ((certificate, certificate), "key", "holds no key"),
        ((certificate.replace(b"M", b"!"), key), "certificate", "PEM form"),
    ]:
        pair.put(*files)
        with pytest.raises(TlsRefused, match=said) as caught:
            tls_context(pair.certificate, pair.key)
        assert caught.value.file == file
    with pytest.raises(TlsRefused, match="cannot be read"):
        tls_context(tmp_path / "nothing", pair.key)


def test_a_locked_key_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    pair = Pair(tmp_path)
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    pair.put(pair.certificate.read_bytes(), locked)
    with pytest.raises(TlsRefused, match="password"):
        tls_context(pair.certificate, pair.key)
