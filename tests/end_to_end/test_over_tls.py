"""`djactors serve` with a certificate, and stock clients that trust its authority."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.clients.driver import stock_client
from tests.end_to_end.returning import QUICK
from tests.operations.test_serving import complaint, run
from tests.serving import make_token, serving
from tests.tls import Pair, client_context

EVENT: dict[str, Any] = {
    "type": "notification.requested",
    "tenantId": 1,
    "userId": 7,
    "notificationType": "hello",
    "priority": "LOW",
    "title": "over TLS",
}
NEW = "notification:new"
PATIENCE = 30


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="-".join)
async def test_stock_clients_connect_receive_and_come_back(tmp_path: Path, transports: list[str]) -> None:
    pair = Pair(tmp_path)
    arguments = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    async with serving(tmp_path, arguments=arguments) as server, stock_client("js", pair.trust) as clients:
        assert server.url.startswith("https://127.0.0.1:")
        auth = {"token": make_token(tenant_id=1, user_id=7)}
        socket = await clients.connect(server.url, auth=auth, transports=transports, **QUICK)
        if len(transports) > 1:
            await socket.expect("upgrade", to="websocket")
        assert (await server.publish(EVENT)).status == 201
        await socket.expect("event", name=NEW)
        assert (await socket.emit("notification:read-all", {}, ack=True))[0]["ok"] is True
        await socket.kill_transport("reset")
        await socket.expect("disconnect")
        assert (await server.publish({**EVENT, "title": "meanwhile"})).status == 201
        assert (await socket.expect("connect"))["recovered"] is True
        assert (await socket.expect("event", name=NEW)).args[0]["title"] == "meanwhile"
        assert await server.stop() == 0
    assert "Traceback" not in server.errors.read_text()


async def test_pages_of_the_server_itself_may_connect(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with serving(tmp_path, environment=pair.environment) as server:
        for origin, status in ((server.url, 200), ("https://elsewhere.example", 403)):
            answer = await server.request(
                "GET",
                "/socket.io/?EIO=4&transport=polling",
                headers={"origin": origin, "sec-fetch-site": "same-origin"},
            )
            assert answer.status == status


async def serial_number(url: str) -> str:
    host, port = url.removeprefix("https://").split(":")
    raw = await trio.open_tcp_stream(host, int(port))
    async with trio.SSLStream(raw, client_context(), server_hostname=host, https_compatible=True) as stream:
        await stream.do_handshake()
        return str(stream.getpeercert()["serialNumber"])


@pytest.mark.parametrize("told", [True, False], ids=["by-SIGHUP", "on-change"])
async def test_a_new_pair_is_taken_while_sockets_stay(tmp_path: Path, told: bool) -> None:
    pair = Pair(tmp_path)
    async with (
        serving(tmp_path, environment=pair.environment) as server,
        stock_client("js", pair.trust) as clients,
    ):
        auth = {"token": make_token(tenant_id=1, user_id=7)}
        socket = await clients.connect(server.url, auth=auth, transports=["websocket"])
        before = await serial_number(server.url)
        pair.put(pair.make()[0], pair.key.read_bytes())
        with trio.fail_after(PATIENCE):
            while "is not the key of" not in server.errors.read_text():
                await trio.sleep(0.02)
        assert await serial_number(server.url) == before
        pair.renew()
        if told:
            server.process.send_signal(signal.SIGHUP)
        with trio.fail_after(PATIENCE):
            while await serial_number(server.url) == before:
                await trio.sleep(0.02)
        assert (await server.publish(EVENT)).status == 201
        await socket.expect("event", name=NEW)
        assert not [one for one in socket.received if one.what == "disconnect"]


async def test_a_client_that_does_not_trust_the_authority_is_told_of_in_the_log(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with serving(tmp_path, environment=pair.environment) as server:
        host, port = server.url.removeprefix("https://").split(":")
        raw = await trio.open_tcp_stream(host, int(port))
        async with trio.SSLStream(raw, ssl.create_default_context(), server_hostname=host) as stream:
            with pytest.raises(trio.BrokenResourceError):
                await stream.do_handshake()
        with trio.fail_after(PATIENCE):
            while "the client left in the middle of the handshake" not in server.errors.read_text():
                await trio.sleep(0.02)


async def test_a_wrong_pair_stops_the_start_and_check_finds_it(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.put(pair.certificate.read_bytes(), pair.make()[1])
    assert complaint(await run("serve", folder=tmp_path, environment=pair.environment)).startswith(
        "djactors: DJACTORS_TLS_KEY: "
    )
    checked = await run("check", folder=tmp_path, environment=pair.environment)
    assert b"FAIL certificate: DJACTORS_TLS_KEY" in checked.stdout
    pair.renew()
    checked = await run("check", folder=tmp_path, environment=pair.environment)
    assert b"ok   certificate" in checked.stdout
