"""Which proxies of the environment the clients go through, and what a wrong one is told as."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from djactors.client import Client, DjactorsError, Published, RetryPolicy, TrioClient, connect
from tests.client.test_publishing import EVENT, GOOD
from tests.serving import make_token, serving

PATIENCE = 60
SOCKS = "socks5://127.0.0.1:1080"
VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]
KINDS: list[Callable[..., object]] = [Client, TrioClient]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies but those that a test names."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def kinds_of_wrong() -> list[str]:
    wrong = [
        "socks://u:secret@a:1",
        "ftp://u:secret@a",
        "http://u:secret@",
        "http://u:secret@a:99999",
        "http://[secret",
    ]
    # With the package, this one is right.
    return wrong if find_spec("socksio") is not None else [*wrong, "socks5://u:secret@a:1", "socks5h://u:secret@a:1"]


@pytest.mark.parametrize("value", kinds_of_wrong())
@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("ALL_PROXY", "http://notify.test"),
        ("ALL_PROXY", "https://notify.test"),
        ("all_proxy", "https://notify.test"),
        ("HTTP_PROXY", "http://notify.test"),
        ("http_proxy", "http://notify.test"),
        ("HTTPS_PROXY", "https://notify.test"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_proxy_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[..., object], variable: str, url: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    told = f"^{variable}: .*: .*, unset it, or name the server's host in NO_PROXY$"
    with pytest.raises(DjactorsError, match=told) as caught:
        kind(url, "t")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTPS_PROXY": "socks://a"},
        {"ALL_PROXY": "socks://a", "NO_PROXY": "notify.test"},
        {"ALL_PROXY": "socks://a", "no_proxy": "other.test, .notify.test"},
        {"ALL_PROXY": "socks://a", "NO_PROXY": "*"},
        {"ALL_PROXY": "socks://a", "NO_PROXY": "notify.test:80"},
        {"ALL_PROXY": "socks://a", "HTTP_PROXY": "proxy.test:3128"},
        {"ALL_PROXY": "socks://a", "all_proxy": "http://proxy.test:3128"},
        {"NO_PROXY": "[::1"},
        {"ALL_PROXY": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_proxy_that_is_not_needed_is_in_nobodys_way(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[..., object], environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    kind("http://notify.test", "t")


@pytest.mark.parametrize("host", ["[::1]:3000", "127.0.0.1:3000", "localhost"])
def test_a_host_is_named_in_every_form(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://a")
    monkeypatch.setenv("NO_PROXY", "::1,127.0.0.1,localhost")
    Client(f"http://{host}", "t").close()


@asynccontextmanager
async def proxy(answer: Any) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that answers each request itself; its address, and what was asked."""
    asked: list[str] = []
    body = msgspec.json.encode(answer)

    async def serve(stream: trio.SocketStream) -> None:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            data += await stream.receive_some()
        asked.append(data.split(b"\r\n", 1)[0].decode())
        await stream.send_all(b"HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
        await stream.send_all(body)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", asked
        nursery.cancel_scope.cancel()


async def published(kind: type[Client] | type[TrioClient]) -> Published:
    url, policy = "http://notify.test", RetryPolicy(timeout=PATIENCE)

    def blocking() -> Published:
        with Client(url, "t", retries=policy) as client:
            return client.publish(EVENT)

    if kind is Client:
        return await trio.to_thread.run_sync(blocking)
    async with TrioClient(url, "t", retries=policy) as client:
        return await client.publish(EVENT)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("kind", KINDS)
async def test_events_go_through_the_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, kind: Any, variable: str
) -> None:
    async with proxy(GOOD) as (address, asked):
        monkeypatch.setenv(variable, address)
        assert (await published(kind)).event_id == 5
    assert asked == ["POST http://notify.test/api/events HTTP/1.1"]


@pytest.mark.parametrize("value", ["http://127.0.0.1:1", SOCKS, "socks://a", "[::1"])
async def test_an_inbox_uses_no_proxy_for_its_connection_nor_for_its_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    async with serving(tmp_path) as server:
        for name in ("HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, value)
        with trio.fail_after(PATIENCE):
            async with connect(server.url, make_token(tenant_id=1, user_id=2)) as inbox:
                await inbox.wait_connected()
                assert (await inbox.list()).items == []
