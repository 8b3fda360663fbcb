"""Row A6: a stock client behind a small proxy is known to the server by its own address."""

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
import trio

from tests.clients.driver import stock_client
from tests.serving import make_token, serving

PERSON: Final = "203.0.113.7"
HEADER: Final = (
    b"\r\n\r\n\0\r\nQUIT\n"
    + b"\x21\x11\x00\x0c"
    + socket.inet_aton(PERSON)
    + socket.inet_aton("192.0.2.1")
    + struct.pack("!HH", 4711, 80)
)
LINE_END: Final = b" HTTP/1.1\r\n"


@asynccontextmanager
async def proxy(url: str, *, proxy_protocol: bool) -> AsyncIterator[str]:
    """Pass bytes on to the server at `url`, and say for whom: before the first byte, or in each request."""
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None

    async def pump(source: trio.SocketStream, sink: trio.SocketStream, forwards: bool) -> None:
        async for data in source:
            passed = bytes(data)
            if forwards:
                passed = passed.replace(LINE_END, LINE_END + f"X-Forwarded-For: 6.6.6.6, {PERSON}\r\n".encode())
            await sink.send_all(passed)
        await sink.send_eof()

    async def carry(client: trio.SocketStream) -> None:
        try:
            server = await trio.open_tcp_stream(place.hostname or "", place.port or 0)
        except OSError:  # the server has stopped
            await client.aclose()
            return
        async with client, server:
            try:
                if proxy_protocol:
                    await server.send_all(HEADER)
                async with trio.open_nursery() as both:
                    both.start_soon(pump, client, server, not proxy_protocol)
                    both.start_soon(pump, server, client, False)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, carry, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"]], ids=["polling", "websocket"])
@pytest.mark.parametrize("proxy_protocol", [False, True], ids=["x-forwarded-for", "proxy-v2"])
async def test_a6_a_stock_client_behind_a_proxy_is_known_by_its_own_address(
    tmp_path: Path, transports: list[str], proxy_protocol: bool
) -> None:
    settings = {
        "DJACTORS_TRUSTED_PROXIES": "127.0.0.1",
        "DJACTORS_PROXY_PROTOCOL": str(proxy_protocol).lower(),
        "DJACTORS_LOG_FORMAT": "json",
    }
    async with (
        serving(tmp_path, environment=settings) as server,
        proxy(server.url, proxy_protocol=proxy_protocol) as url,
        stock_client("python") as clients,
    ):
        auth = {"token": make_token(tenant_id=1, user_id=11), "recovery": False}
        client = await clients.connect(url, auth=auth, transports=transports)
        await client.expect("event", name="notification:unread-count")
        await client.disconnect()
        await server.stop()
        entries = [json.loads(line) for line in server.errors.read_text().splitlines()]
    peers = {entry["peer"] for entry in entries if entry["event"] in ("connected", "disconnected")}
    assert peers == {PERSON}
