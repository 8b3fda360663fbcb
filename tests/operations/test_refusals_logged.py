"""A refusal is in the log, where the operator looks: once with what came, what was expected and the mend, then summed.

A5, A17, F1 and F2, each with `djactors serve` as an operator has it, at the default level of the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.serving import ServedProcess, make_token, serving

PAGE = "https://app.example.com"
UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
POLL = "/socket.io/?EIO=4&transport=polling"
FLOOD = 1000
CONNECTIONS = 100
"""By which they are asked for: each is kept waiting longer from refusal to refusal."""
FEW_LINES = 3
PATIENCE = 30


async def logged(server: ServedProcess) -> list[dict[str, Any]]:
    """Everything that the server logged, once it has ended."""
    assert await server.stop() == 0
    return [msgspec.json.decode(line) for line in server.errors.read_text().splitlines()]


def of(entries: list[dict[str, Any]], reason: str) -> list[dict[str, Any]]:
    """The entries about a refusal of this kind; the first one, and the sum at the end of the server."""
    found = [entry for entry in entries if entry.get("reason") == reason]
    assert all(entry["level"] == "warning" for entry in found)
    return found


async def open_session(server: ServedProcess) -> str:
    answer = await server.request("GET", POLL)
    return str(msgspec.json.decode(answer.body[1:])["sid"])


async def test_a5_a_client_that_asks_for_refusals_as_fast_as_it_can_writes_a_few_lines(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        request = f"GET /api/notifications HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer x\r\n\r\n".encode()

        async def flood() -> None:
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(request * (FLOOD // CONNECTIONS))
                received = b""
                while received.count(b"HTTP/1.1 401") < FLOOD // CONNECTIONS:
                    chunk = await stream.receive_some()
                    assert chunk
                    received += chunk

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(CONNECTIONS):
                    nursery.start_soon(flood)
        entries = await logged(server)
    first, *sums = of(entries, "http_401")
    assert first["peer"] == host
    assert first["came"] == "GET /api/notifications"
    assert first["expected"]
    assert first["mend"]
    assert len(sums) < FEW_LINES
    assert 1 + sum(entry["more"] for entry in sums) == FLOOD
    assert len(entries) < FEW_LINES + len(["migrated", "listening", "stopping", "stopped"]) + FEW_LINES


@pytest.mark.parametrize(
    ("method", "headers"),
    [("GET", {}), ("POST", {}), ("GET", UPGRADE), ("OPTIONS", {"access-control-request-method": "POST"})],
    ids=["poll", "post", "websocket", "preflight"],
)
async def test_a17_and_f2_a_refused_origin_is_told_with_both_values_and_the_mend(
    tmp_path: Path, method: str, headers: dict[str, str]
) -> None:
    """A page behind nginx with a bare `proxy_pass`, or Apache without `ProxyPreserveHost`: Host is the upstream's."""
    transport = "websocket" if headers is UPGRADE else "polling"
    async with serving(tmp_path) as server:
        upstream = server.url.removeprefix("http://")
        for _ in range(60):
            path = f"/socket.io/?EIO=4&transport={transport}"
            answer = await server.request(method, path, headers={**headers, "host": upstream, "origin": PAGE})
            assert answer.status == 403
        entries = await logged(server)
    first, total = of(entries, "engine_origin")
    assert PAGE in first["came"]
    assert upstream in first["came"]
    assert "proxy_set_header Host $http_host" in first["mend"]
    assert "DJACTORS_ALLOWED_ORIGINS" in first["mend"]
    assert first["peer"] == "127.0.0.1"
    assert total["more"] == 59


async def test_a17_the_preflight_of_a_foreign_page_to_a_route_is_told_as_well(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        headers = {"origin": PAGE, "access-control-request-method": "GET"}
        await server.request("OPTIONS", "/api/notifications", headers=headers)
        entries = await logged(server)
    [told] = of(entries, "http_origin")
    assert PAGE in told["came"]
    assert "DJACTORS_ALLOWED_ORIGINS" in told["mend"]


async def test_f1_an_old_protocol_version_is_told_with_the_client_that_speaks_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await server.request("GET", "/socket.io/?EIO=3&transport=polling")
        assert answer.status == 400
        entries = await logged(server)
    [told] = of(entries, "engine_version")
    assert "EIO=3" in told["came"]
    assert "socket.io-client 1 or 2" in told["came"]
    assert "EIO=4" in told["expected"]
    assert "socket.io-client 3 or newer" in told["mend"]


async def test_f1_a_packet_of_another_parser_is_told_with_the_mend(tmp_path: Path) -> None:
    """socket.io-msgpack-parser sends its CONNECT as bytes, which polling carries in base64."""
    async with serving(tmp_path) as server:
        path = f"{POLL}&sid={await open_session(server)}"
        assert (await server.request("POST", path, body=b"bg6R0eXBlAKNuc3ChLw==")).status == 400
        entries = await logged(server)
    [told] = of(entries, "engine_parser")
    assert "bytes" in told["came"]
    assert "parser" in told["expected"]
    assert "msgpack" in told["mend"]


async def test_f1_other_bad_packets_are_told_without_what_they_held(tmp_path: Path) -> None:
    token = make_token(tenant_id=1, user_id=7)
    async with serving(tmp_path) as server:
        path = f"{POLL}&sid={await open_session(server)}"
        assert (await server.request("POST", path, body=f'42["{token}"'.encode())).status == 400
        entries = await logged(server)
    [told] = of(entries, "engine_packet")
    assert "JSON" in told["came"]
    assert token not in server.errors.read_text()


async def test_a17_and_f1_are_told_without_a_sid_or_a_token_whatever_is_refused(tmp_path: Path) -> None:
    token = make_token(tenant_id=1, user_id=7)
    async with serving(tmp_path) as server:
        sid = await open_session(server)
        for method, path, headers in (
            ("GET", f"{POLL}&sid={sid}x", {}),
            ("GET", f"/socket.io/?EIO=4&transport={token}", {}),
            ("GET", f"/socket.io/?EIO={token}&transport=polling", {}),
            ("GET", POLL, {"origin": f"https://{token}"}),
            ("GET", f"/api/notifications/{token}", {}),
            ("GET", f"/api/notifications?{token}=1", {}),
            ("PUT", f"{POLL}&sid={sid}", {}),
            ("GET", f"/nothing/{sid}", {"authorization": f"Bearer {token}x"}),
        ):
            assert (await server.request(method, path, headers=headers)).status in (400, 401, 403, 404, 405)
        await logged(server)
    text = server.errors.read_text()
    # Whoever puts a sid into a path of its own making has published it; it is no path of ours.
    for secret in (token, token.split(".")[1], f"sid={sid}"):
        assert secret not in text
