"""Rows 9 to 12, 21 and 22: clients that do not read, stand still, cut off at any byte, or come in floods."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from tests.clients.driver import stock_client
from tests.end_to_end.returning import QUICK
from tests.faults.backend import ENVIRONMENT, TENANT, USER, Backend
from tests.net.test_tls import client_hello
from tests.serving import SERVE, ServedProcess, make_token, service_token, serving
from tests.tls import Pair

PATIENCE = 30
FLOOD = 300
MOST = 5000
"""Notifications of 8 KB: more than any system buffers for a connection. Some hundred are usual."""
BYTES_BETWEEN_CUTS = 11
NEW = "notification:new"


async def metric(server: ServedProcess, line: str) -> float:
    """A sample by its name and labels, 0 before it is first counted."""
    text = (await server.request("GET", "/metrics")).body.decode()
    found = re.search(rf"^{re.escape(line)} (.*)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def descriptors(server: ServedProcess) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


async def until_closed(server: ServedProcess, before: int) -> None:
    """Wait until the server has let go of every connection that is no more."""
    with trio.fail_after(PATIENCE):
        while descriptors(server) > before:
            await trio.sleep(0.02)


async def test_row_9_a_slow_consumer_is_let_go_and_resumes_and_others_do_not_notice(tmp_path: Path) -> None:
    titles: list[str] = []
    auth = {"token": make_token(tenant_id=TENANT, user_id=USER)}
    environment = {
        "DJACTORS_OUTBOX_BYTES": str(2**20),
        "DJACTORS_DAILY_LIMIT": str(MOST),
        "DJACTORS_REPLAY_LIMIT": str(MOST),
    }
    async with serving(tmp_path, environment=environment) as server, stock_client("js") as js:
        slow = await js.connect(server.url, auth=auth, transports=["websocket"], **QUICK)
        async with stock_client("js") as others:
            good = await others.connect(server.url, auth=auth, transports=["websocket"], **QUICK)
            await slow.stall()
            while not await metric(server, 'djactors_session_ends_total{reason="slow_consumer"}'):
                batch: list[dict[str, Any]] = [
                    {
                        "type": "notification.requested",
                        "tenantId": TENANT,
                        "userId": USER,
                        "notificationType": "large",
                        "priority": "LOW",
                        "title": f"number {len(titles) + place}",
                        "data": {"text": "x" * 8000},
                    }
                    for place in range(50)
                ]
                titles += [str(event["title"]) for event in batch]
                assert len(titles) < MOST, "what the system buffers has a bound"
                answer = await server.request("POST", "/api/events/batch", token=service_token(), body=batch)
                assert answer.status == 200
            with trio.fail_after(PATIENCE):
                while len(good.events(NEW)) < len(titles):
                    await good.expect("event", name=NEW)
            assert [args[0]["title"] for args in good.events(NEW)] == titles
            assert not [one for one in good.received if one.what == "disconnect"]
        await slow.unstall()
        await slow.expect("disconnect")
        assert (await slow.expect("connect"))["recovered"] is True
        with trio.fail_after(PATIENCE):
            while len(slow.events(NEW)) < len(titles):
                await slow.expect("event", name=NEW)
        assert [args[0]["title"] for args in slow.events(NEW)] == titles


async def test_row_10_a_client_whose_machine_stands_still_is_found_by_the_heartbeat_and_loses_nothing(
    tmp_path: Path,
) -> None:
    environment = {**ENVIRONMENT, "DJACTORS_PING_INTERVAL": "1", "DJACTORS_PING_TIMEOUT": "1"}
    backend = Backend()
    auth = {"token": make_token(tenant_id=TENANT, user_id=USER)}
    async with (
        serving(tmp_path, environment=environment) as server,
        stock_client("js") as still,
        stock_client("js") as others,
    ):
        client = await still.connect(server.url, auth=auth, transports=["websocket"], **QUICK)
        witness = await others.connect(server.url, auth=auth, transports=["websocket"], **QUICK)
        assert await backend.post(server) == 201
        await client.expect("event", name=NEW)
        # Its kernel goes on to acknowledge what comes, so nothing but the missing pongs tells of it.
        still.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(3):
                assert await backend.post(server) == 201
            with trio.fail_after(PATIENCE):
                while not await metric(server, 'djactors_session_ends_total{reason="ping timeout"}'):
                    await trio.sleep(0.02)
            assert await backend.post(server) == 201
        finally:
            still.process.send_signal(signal.SIGCONT)
        await client.expect("disconnect")
        assert (await client.expect("connect"))["recovered"] is True
        titles = [event["title"] for event in backend.sent.values()]
        for one in (client, witness):
            with trio.fail_after(PATIENCE):
                while len(one.events(NEW)) < len(titles):
                    await one.expect("event", name=NEW)
            assert [args[0]["title"] for args in one.events(NEW)] == titles
        assert not [one for one in witness.received if one.what == "disconnect"], "nobody else noticed"
        assert await server.stop() == 0
    backend.judge(server.database)


def frame(text: str) -> bytes:
    data = text.encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    # Masked with zeros, as a client must mask.
    return b"\x81" + length + bytes(4) + data


def conversations(server: ServedProcess) -> list[bytes]:
    """Whole and good ones: a post, a polling session's beginning, and a WebSocket with its CONNECT and a command."""
    host = server.url.removeprefix("http://").encode()
    token = make_token(tenant_id=TENANT, user_id=USER)
    body = b'{"type":"user.upserted","tenantId":1,"userId":7,"name":"Seven","role":"user"}'
    key = base64.b64encode(bytes(16))
    return [
        b"POST /api/events HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (host, service_token().encode(), len(body), body),
        b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: %b\r\n\r\n" % host,
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
        % (host, key)
        + frame(f'40{{"token":"{token}"}}')
        + frame('420["notification:read-all",{}]'),
    ]


def cut(server: ServedProcess, data: bytes, *, reset: bool) -> None:
    """Send so much and leave, with RST or with FIN."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as peer:
        peer.sendall(data)
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut_everywhere(server: ServedProcess, data: bytes) -> None:
    for length in [*range(0, len(data), BYTES_BETWEEN_CUTS), len(data)]:
        for reset in (True, False):
            cut(server, data[:length], reset=reset)


async def test_row_11_a_client_that_is_cut_off_at_any_byte_ends_its_connection_alone(tmp_path: Path) -> None:
    auth = {"token": make_token(tenant_id=TENANT, user_id=USER)}
    environment = {"DJACTORS_ADMIT_BURST": "1000", "DJACTORS_MAX_SOCKETS_PER_USER": "200"}
    async with serving(tmp_path, environment=environment) as server, stock_client("python") as clients:
        witness = await clients.connect(server.url, auth=auth, transports=["websocket"])
        await server.request("GET", "/healthz")
        before = descriptors(server)
        for data in conversations(server):
            await trio.to_thread.run_sync(cut_everywhere, server, data)
        await until_closed(server, before)
        assert (await witness.emit("notification:read-all", {}, ack=True))[0]["ok"] is True
        assert not [one for one in witness.received if one.what == "disconnect"]
        assert await server.stop() == 0
    text = server.errors.read_text()
    assert "Traceback" not in text, text
    assert '"level": "error"' not in text


@contextmanager
def flood(server: ServedProcess) -> Iterator[None]:
    """Many connections from as many addresses, which say nothing."""
    host, port = server.url.removeprefix("http://").split(":")
    assert host == "127.0.0.1"
    with ExitStack() as stack:
        for number in range(FLOOD):
            peer = stack.enter_context(socket.socket())
            peer.bind((f"127.0.{1 + number // 200}.{1 + number % 200}", 0))
            peer.setblocking(False)
            peer.connect_ex((host, int(port)))
        yield


async def insist(server: ServedProcess, path: str) -> int:
    """The status of a request that is made again as long as it is cut off: of strangers who have said nothing yet, the
    first ones give way to newcomers, and whoever is checking health comes again as well."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
                return (await server.request("GET", path)).status


FEW_CONNECTIONS = pytest.param({"DJACTORS_MAX_CONNECTIONS": "40"}, (), id="row-21-connections")
FEW_DESCRIPTORS = pytest.param({}, ("bash", "-c", 'ulimit -n 96; exec "$@"', "bash"), id="row-22-descriptors")


@pytest.mark.parametrize(("environment", "before"), [FEW_CONNECTIONS, FEW_DESCRIPTORS])
async def test_row_21_and_22_a_flood_of_connections_leaves_health_and_the_database_alone(
    tmp_path: Path, environment: dict[str, str], before: tuple[str, ...]
) -> None:
    backend = Backend()
    async with (
        serving(tmp_path, environment={**ENVIRONMENT, **environment}, command=(*before, *SERVE)) as server,
        stock_client("python") as clients,
    ):
        auth = {"token": make_token(tenant_id=TENANT, user_id=USER)}
        witness = await clients.connect(server.url, auth=auth, transports=["websocket"])
        assert await backend.post(server) == 201
        idle = descriptors(server)
        with flood(server):
            for path in ("/healthz", "/readyz", "/metrics"):
                assert await insist(server, path) == 200
            # Who is in is served, and what is written is committed.
            assert (await witness.emit("notification:read-all", {}, ack=True))[0]["ok"] is True
        await until_closed(server, idle)
        assert await backend.post(server) == 201
        await witness.expect("event", name=NEW)
        assert not [one for one in witness.received if one.what == "disconnect"]
        assert await server.stop() == 0
    assert "Traceback" not in server.errors.read_text()
    backend.judge(server.database)


async def test_row_12_slow_and_wrong_handshakes_of_tls_end_themselves_and_harm_nobody(tmp_path: Path) -> None:
    pair, backend = Pair(tmp_path), Backend()
    environment = {**ENVIRONMENT, **pair.environment, "DJACTORS_MAX_CONNECTIONS": "200"}
    async with (
        serving(tmp_path, environment=environment) as server,
        stock_client("js", pair.trust) as clients,
    ):
        auth = {"token": make_token(tenant_id=TENANT, user_id=USER)}
        witness = await clients.connect(server.url, auth=auth, transports=["websocket"])
        assert await backend.post(server) == 201
        idle = descriptors(server)
        host, port = server.url.removeprefix("https://").split(":")
        hello = client_hello()
        # Some say nothing, some stop within the handshake, some talk nonsense or plain HTTP.
        words = (b"", hello[:1], hello[:200], hello, b"GET / HTTP/1.1\r\n\r\n", bytes(700))
        with ExitStack() as stack:
            for number in range(FLOOD):
                peer = stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
                # Some say nothing, some stop within the handshake, some talk nonsense or plain HTTP.
                with suppress(OSError):
                    peer.sendall(words[number % len(words)])
            for path in ("/healthz", "/readyz"):
                assert await insist(server, path) == 200
            assert (await witness.emit("notification:read-all", {}, ack=True))[0]["ok"] is True
            assert await backend.post(server) == 201
            await witness.expect("event", name=NEW)
            # They are still there, and the server ends them by itself.
            await until_closed(server, idle)
        assert not [one for one in witness.received if one.what == "disconnect"]
        assert await server.stop() == 0
    assert "Traceback" not in server.errors.read_text()
    backend.judge(server.database)
