"""Two nodes behind nginx and haproxy, configured as README says, with stock clients of each transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.clients.driver import StockClients, StockSocket, stock_client
from tests.environment.proxies import free_port, running_haproxy, running_nginx, with_ports
from tests.proxies.readme import blocks
from tests.serving import ServedProcess, make_token, send_request, service_token, serving

PATIENCE = 60
TENANT = 1
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "both": None}
QUICK = {"reconnectionDelay": 50, "reconnectionDelayMax": 200, "randomizationFactor": 0}

Run = Callable[[str, int], AbstractContextManager[None]]
PROXIES: dict[str, Run] = {"nginx": running_nginx, "haproxy": running_haproxy}


class Nodes:
    """Two served processes on one database, which are stopped and started again one by one."""

    def __init__(self, folder: Path, database: str, ports: list[int]) -> None:
        self._folder = folder
        self._database = database
        self._ports = ports
        self._stacks: dict[int, AsyncExitStack] = {}
        self.running: dict[int, ServedProcess] = {}

    async def start(self, number: int) -> None:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        environment = {
            "DJACTORS_DATABASE": self._database,
            "DJACTORS_TRUSTED_PROXIES": "127.0.0.1",
            "DJACTORS_NODE": f"node-{number}",
            "DJACTORS_DRAIN_TIMEOUT": "2",
            "SOCKET_PORT": str(self._ports[number]),
        }
        stack = self._stacks[number] = AsyncExitStack()
        self.running[number] = await stack.enter_async_context(serving(folder, environment=environment))

    async def stop(self, number: int) -> None:
        """As an operator does, for an upgrade."""
        assert await self.running.pop(number).stop() == 0
        await self._stacks.pop(number).aclose()

    async def aclose(self) -> None:
        for stack in self._stacks.values():
            await stack.aclose()


class House:
    """The nodes, and the address of the proxy before them."""

    def __init__(self, nodes: Nodes, url: str) -> None:
        self.nodes = nodes
        self.url = url
        self.retries = 0

    async def post(self, number: int, url: str) -> None:
        """Post an event as a backend does that retries, with its key, until somebody has answered."""
        event: dict[str, Any] = {
            "type": "notification.requested",
            "tenantId": TENANT,
            "notificationType": "told",
            "priority": "CRITICAL",
            "title": str(number),
        }
        for user_id in range(1, len(TRANSPORTS) + 1):
            body = {**event, "userId": user_id}
            while True:
                try:
                    headers = {"idempotency-key": f"{user_id}-{number}"}
                    answer = await send_request(
                        url, "POST", "/api/events", token=service_token(), body=body, headers=headers
                    )
                except (OSError, trio.BrokenResourceError):
                    pass
                else:
                    if answer.status in (200, 201):
                        break
                    assert answer.status in (502, 503), answer.body
                self.retries += 1
                url = self.url
                await trio.sleep(0.05)


@asynccontextmanager
async def house(folder: Path, database: str, proxy: str) -> AsyncIterator[House]:
    ports = [free_port(), free_port(), free_port()]
    [text] = blocks(proxy)
    text = with_ports(text, dict(zip((3000, 3001, 3002), ports, strict=True)))
    nodes = Nodes(folder, database, ports[1:])
    try:
        await nodes.start(0)
        await nodes.start(1)
        with PROXIES[proxy](text, ports[0]):
            yield House(nodes, f"http://127.0.0.1:{ports[0]}")
    finally:
        with trio.CancelScope(shield=True):
            await nodes.aclose()


async def connected(clients: StockClients, url: str, user_id: int, transports: list[str] | None) -> StockSocket:
    auth = {"token": make_token(tenant_id=TENANT, user_id=user_id)}
    socket = await clients.connect(url, auth=auth, transports=transports, **QUICK)
    await socket.expect("event", name="notification:unread-count")
    return socket


async def until_told(socket: StockSocket, count: int) -> None:
    with trio.fail_after(PATIENCE):
        while (await socket.expect("event", name="notification:unread-count")).args[0]["count"] != count:
            pass


def titles(socket: StockSocket) -> list[str]:
    return [
        each.args[0]["title"] for each in socket.received if each.what == "event" and each["name"] == "notification:new"
    ]


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_rolling_upgrade_loses_nothing_and_tells_nothing_twice(
    tmp_path: Path, postgres_url: str, proxy: str
) -> None:
    async with house(tmp_path, postgres_url, proxy) as place, stock_client("js") as js:
        sockets = [
            await connected(js, place.url, user_id, transports)
            for user_id, transports in enumerate(TRANSPORTS.values(), start=1)
        ]
        posted = 0
        done = trio.Event()

        async def post() -> None:
            nonlocal posted
            while not done.is_set():
                alive = [node.url for node in place.nodes.running.values()]
                # By the proxy, and now and then at a node itself, which may be another one than the client's.
                url = place.url if posted % 3 else alive[posted % len(alive)]
                await place.post(posted, url)
                posted += 1
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post)
            for number in (0, 1):
                before = posted
                while posted < before + 5:
                    await trio.sleep(0.02)
                await place.nodes.stop(number)
                while posted < before + 15:
                    await trio.sleep(0.02)
                await place.nodes.start(number)
            done.set()
        for socket in sockets:
            await until_told(socket, posted)
            assert titles(socket) == [str(number) for number in range(posted)]
            connects = [each for each in socket.received if each.what == "connect"]
            # Each was on one of the nodes at least, and came back with what it had.
            assert len(connects) > 1
            assert all(each["recovered"] for each in connects[1:])
        assert posted >= 30


@pytest.mark.parametrize("proxy", PROXIES)
async def test_a_session_by_polling_stays_with_its_node_and_a_client_is_known_by_its_own_address(
    tmp_path: Path, postgres_url: str, proxy: str
) -> None:
    async with (
        house(tmp_path, postgres_url, proxy) as place,
        stock_client("js") as js,
        stock_client("python") as python,
    ):
        socket = await connected(js, place.url, 1, ["polling"])
        other = await connected(python, place.url, 1, ["polling"])
        for number in range(30):
            await place.post(number, place.nodes.running[number % 2].url)
        for each in (socket, other):
            await until_told(each, 30)
            assert [seen.what for seen in each.received if seen.what in ("connect", "disconnect")] == ["connect"]
        assert place.retries == 0
        # A stranger's own word for their address is not believed.
        answer = await send_request(place.url, "GET", "/metrics", headers={"x-forwarded-for": "127.0.0.1"})
        assert answer.status in (403, 404)
