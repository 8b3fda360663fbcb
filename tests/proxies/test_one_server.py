"""One server behind each proxy that README configures, with TLS: clients, pages and addresses pass as they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import djactors
from tests.clients.driver import stock_client
from tests.operations.test_probe import findings
from tests.proxies.readme import ONE_SERVER, blocks
from tests.proxies.ways import Way, house, ways
from tests.serving import make_token, send_request

PERSON = "127.0.0.9"
"""An address of this machine that is not the proxy's."""

FORGED = "127.0.0.1, 203.0.113.7"
"""What a client claims about its address; the first of these may read /metrics."""


def test_the_package_has_the_file_of_nginx() -> None:
    file = Path(djactors.__file__).parent / "nginx" / "djactors.conf"
    comment, _, text = file.read_text().partition("\n\n")
    assert all(line.startswith("#") for line in comment.splitlines())
    assert text == blocks("nginx", ONE_SERVER)[0]


@ways
async def test_the_probe_finds_nothing(tmp_path: Path, way: Way) -> None:
    async with house(tmp_path, way) as (_, url, pair):
        assert await findings(url, ca=str(pair.authority)) == {}


@ways
async def test_a_stock_client_is_served_by_each_transport_and_known_by_its_own_address(
    tmp_path: Path, way: Way
) -> None:
    async with house(tmp_path, way) as (server, url, pair), stock_client("js", pair.trust) as clients:
        for number, transports in enumerate((["polling"], ["websocket"], ["polling", "websocket"]), start=1):
            client = await clients.connect(
                url,
                auth={"token": make_token(tenant_id=1, user_id=number)},
                transports=transports,
                localAddress=PERSON,
                extraHeaders={"X-Forwarded-For": FORGED, "Origin": url},
            )
            if len(transports) > 1:
                await client.expect("upgrade", to="websocket")
            event: dict[str, Any] = {
                "type": "notification.requested",
                "tenantId": 1,
                "userId": number,
                "notificationType": "told",
                "priority": "HIGH",
                "title": "through the proxy",
            }
            token = make_token(role="service")
            assert (await send_request(url, "POST", "/api/events", token=token, body=event)).status == 201
            await client.expect("event", name="notification:new")
            await client.disconnect()
        assert await server.stop() == 0
        entries = [json.loads(line) for line in server.errors.read_text().splitlines()]
    assert {entry["peer"] for entry in entries if entry["event"] in ("connected", "disconnected")} == {PERSON}


@ways
async def test_only_pages_of_the_name_that_clients_use_may_connect(tmp_path: Path, way: Way) -> None:
    async with house(tmp_path, way) as (server, url, pair), stock_client("js", pair.trust) as clients:
        for origin, status in ((url, 200), ("https://elsewhere.example", 403)):
            answer = await send_request(url, "GET", "/socket.io/?EIO=4&transport=polling", headers={"origin": origin})
            assert answer.status == status
        stranger = await clients.open(
            url,
            auth={"token": make_token(tenant_id=1, user_id=1)},
            transports=["websocket"],
            extraHeaders={"Origin": "https://elsewhere.example"},
            reconnection=False,
        )
        await stranger.expect("connect_error")
        assert '"connected"' not in server.errors.read_text()


@ways
async def test_an_answer_with_a_secret_is_compressed_by_nobody(tmp_path: Path, way: Way) -> None:
    async with house(tmp_path, way) as (_, url, _):
        path, headers = "/socket.io/?EIO=4&transport=polling", {"accept-encoding": "gzip"}
        answer = await send_request(url, "GET", path, headers=headers)
        assert answer.status == 200
        assert "content-encoding" not in answer.headers
