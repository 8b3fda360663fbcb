"""A served process behind a proxy, for clients that go away and come back.

A client is away from `lose` until `heal`: its connections are cut and it reaches nothing, however often it tries. So it
is never a question of time whether something was published before or after its return.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.chaos.plan import Fault
from tests.chaos.proxy import Lane, Proxy
from tests.clients.driver import Occurrence, StockClients, StockSocket
from tests.serving import ServedProcess, make_token, serving

QUICK = {"reconnectionDelay": 50, "reconnectionDelayMax": 100, "randomizationFactor": 0}
TENANT = 1
ALICE, BOB = 11, 12
CAROL, OTHER_TENANT = 21, 2
NEW, READ, DELETED = "notification:new", "notification:read", "notification:deleted"
COUNT, RESET, UPDATED = "notification:unread-count", "changes:reset", "job:updated"


class Scene:
    """A database, whoever serves it at the moment, and the lanes that lead there."""

    def __init__(self, folder: Path, proxy: Proxy) -> None:
        self.folder = folder
        self.server: ServedProcess
        self._proxy = proxy
        self._port = "0"

    @asynccontextmanager
    async def served(self, **environment: str) -> AsyncIterator[ServedProcess]:
        """Serve, on the same port each time; kill -9 at the end."""
        async with serving(self.folder, environment={"SOCKET_PORT": self._port, **environment}) as self.server:
            self._port = self.server.url.rsplit(":", 1)[1]
            self._proxy.upstream = ("127.0.0.1", int(self._port))
            try:
                yield self.server
            finally:
                self._proxy.upstream = None
                self.server.kill()
                with trio.CancelScope(shield=True):
                    await self.server.process.wait()

    async def lane(self, name: str = "lane") -> Lane:
        """A way to the server that can be cut."""
        return await self._proxy.open(name)

    async def tell(self, user_id: int, title: str, tenant_id: int = TENANT) -> int:
        """Notify somebody; the notification's id."""
        answer = await self.server.publish(
            {
                "type": "notification.requested",
                "tenantId": tenant_id,
                "userId": user_id,
                "notificationType": "told",
                "priority": "LOW",
                "title": title,
            }
        )
        assert answer.status == 201, answer.body
        id_: int = answer.json["notifications"][0]["id"]
        return id_

    async def inbox(self, user_id: int, tenant_id: int = TENANT) -> dict[str, Any]:
        """The list over HTTP."""
        token = make_token(tenant_id=tenant_id, user_id=user_id)
        page: dict[str, Any] = (await self.server.request("GET", "/api/notifications?limit=100", token=token)).json
        return page


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """A scene that nobody serves yet."""
    async with trio.open_nursery() as nursery:
        yield Scene(folder, Proxy(nursery))
        nursery.cancel_scope.cancel()


def auth(user_id: int, tenant_id: int = TENANT, **more: Any) -> dict[str, Any]:
    return {"token": make_token(tenant_id=tenant_id, user_id=user_id), **more}


async def connect(
    clients: StockClients, lane: Lane, user_id: int, transports: list[str] | None = None, tenant_id: int = TENANT
) -> StockSocket:
    """A connected stock client that has its first count."""
    socket = await clients.connect(lane.url, auth=auth(user_id, tenant_id), transports=transports, **QUICK)
    await socket.expect("event", name=COUNT)
    return socket


async def expect_count(socket: StockSocket, count: int) -> None:
    """Wait until this count is shown, whatever was shown before."""
    while (await socket.expect("event", name=COUNT)).args[0] != {"count": count, "unseen": count}:
        pass


def lose(lane: Lane) -> None:
    """Cut a client off until `lane.heal()`."""
    lane.strike(Fault(lane.name, "dark", "now", 0, 3600))


def since(socket: StockSocket, what: str) -> list[Occurrence]:
    """The events behind the last occurrence of this kind."""
    places = [place for place, occurrence in enumerate(socket.received) if occurrence.what == what]
    return [occurrence for occurrence in socket.received[places[-1] :] if occurrence.what == "event"]


def said(events: Iterable[Occurrence]) -> list[tuple[str, Any]]:
    """Events as pairs of their name and what tells one from another: a title, ids, a count, a job."""
    return [(event["name"], _gist(event.args[0])) for event in events]


def _gist(data: dict[str, Any]) -> Any:
    for key in ("title", "notificationIds", "count", "offset", "jobId"):
        if key in data:
            return data[key]
    return data["job"]["id"] if "job" in data else data
