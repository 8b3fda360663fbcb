"""What has ended leaves nothing for the garbage collector, which hardly ever looks at old objects of a server."""

from __future__ import annotations

from pathlib import Path

import trio

from djactors.app import Server
from djactors.client import Notification, connect
from djactors.client.socketio import SocketSettings
from djactors.domain.events import NotificationRequested
from djactors.protocol import Transport
from tests.garbage import garbage
from tests.operations.test_embedding import running, settings
from tests.serving import make_token, send_request, service_token

USERS = range(1, 4)
WAYS = [
    SocketSettings(transports=transports)
    for transports in (
        (Transport.WEBSOCKET,),
        (Transport.POLLING,),
        (Transport.POLLING, Transport.WEBSOCKET),
    )
]


async def one_comes_and_goes(server: Server, user_id: int, how: SocketSettings) -> None:
    """Connect as a user, be notified, read it, and leave."""
    assert server.url is not None
    news = NotificationRequested(
        tenant_id=1, user_id=user_id, notification_type="mention", priority="LOW", title="News"
    )
    async with connect(server.url, make_token(tenant_id=1, user_id=user_id), settings=how) as inbox:
        await inbox.wait_connected()
        await server.publish(news)
        async for item in inbox:
            if isinstance(item, Notification):
                await inbox.read(item.id)
                break


async def until_nobody_is_there(server: Server) -> None:
    value = server.telemetry.metrics.registry.get_sample_value
    while value("djactors_tcp_connections") or value("djactors_users"):
        await trio.sleep(0.01)


async def test_who_leaves_leaves_no_garbage(tmp_path: Path) -> None:
    # Two of each first, so that what is made once and kept is there.
    async with running(settings(tmp_path, passivate_after=0.1)) as server:
        for how in WAYS:
            await one_comes_and_goes(server, 1, how)
        await until_nobody_is_there(server)
        with garbage() as found:
            for user_id in USERS:
                for how in WAYS:
                    await one_comes_and_goes(server, user_id, how)
            await until_nobody_is_there(server)
        assert not found


async def test_requests_leave_no_garbage(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        token = make_token(tenant_id=1, user_id=7)

        async def ask() -> None:
            assert server.url is not None
            event = {"type": "notification.requested", "tenantId": 1, "userId": 7, "notificationType": "mention"}
            event |= {"priority": "LOW", "title": "News"}
            await send_request(server.url, "POST", "/api/events", token=service_token(), body=event)
            await send_request(server.url, "POST", "/api/events", token=service_token(), body={"type": "unknown"})
            await send_request(server.url, "POST", "/api/events", token="none", body=event)
            await send_request(server.url, "GET", "/api/notifications", token=token)
            await send_request(server.url, "GET", "/nowhere")
            await send_request(server.url, "GET", "/metrics")
            await send_request(server.url, "PUT", "/api/events")

        await ask()
        await until_nobody_is_there(server)
        with garbage() as found:
            for _ in range(5):
                await ask()
            await until_nobody_is_there(server)
        assert not found
