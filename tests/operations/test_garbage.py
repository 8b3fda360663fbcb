"""What has ended leaves nothing for the garbage collector, which hardly ever looks at old objects of a server."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from djactors.app import Server
from djactors.client import Notification, connect
from djactors.client.socketio import SocketSettings
from djactors.config import Settings
from djactors.domain.events import NotificationRequested
from djactors.protocol import Transport
from tests.garbage import garbage
from tests.operations.test_embedding import running, settings
from tests.serving import make_token, send_request, service_token
from tests.tls import Pair, client_context

USERS = range(1, 4)
WAYS = [
    SocketSettings(transports=transports)
    for transports in (
        (Transport.WEBSOCKET,),
        (Transport.POLLING,),
        (Transport.POLLING, Transport.WEBSOCKET),
    )
]
MALFORMED = (
    b"GET / HTTP/9.9\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"POST /api/events HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
    b"POST /api/events HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{",
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
    b"GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n",
    b"G",
)
"""The first bytes of connections that end there."""


@pytest.fixture(params=["http", "https"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The settings of a server, whose users rest for a moment only."""
    if request.param == "http":
        return settings(tmp_path, passivate_after=0.1)
    pair = Pair(tmp_path)
    return settings(tmp_path, passivate_after=0.1, tls_cert=str(pair.certificate), tls_key=str(pair.key))


async def one_comes_and_goes(server: Server, user_id: int, how: SocketSettings) -> None:
    """Connect as a user, be notified, read it, and leave."""
    assert server.url is not None
    news = NotificationRequested(
        tenant_id=1, user_id=user_id, notification_type="mention", priority="LOW", title="News"
    )
    token = make_token(tenant_id=1, user_id=user_id)
    async with connect(server.url, token, settings=how, ssl_context=client_context()) as inbox:
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


async def test_who_leaves_leaves_no_garbage(serving: Settings) -> None:
    async with running(serving) as server:
        # One of each first, so that what is made once and kept is there.
        for how in WAYS:
            await one_comes_and_goes(server, 1, how)
        await until_nobody_is_there(server)
        with garbage() as found:
            for user_id in USERS:
                for how in WAYS:
                    await one_comes_and_goes(server, user_id, how)
            await until_nobody_is_there(server)
        assert not found


async def test_requests_leave_no_garbage(serving: Settings) -> None:
    async with running(serving) as server:
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


async def test_what_is_no_request_leaves_no_garbage(serving: Settings) -> None:
    async with running(serving) as server:
        assert server.url is not None
        scheme, _, port = server.url.split(":")
        is_encrypted = scheme == "https"

        async def say_and_go(text: bytes, *, is_encrypted: bool) -> None:
            stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", int(port))
            if is_encrypted:
                stream = trio.SSLStream(stream, client_context(), server_hostname="localhost", https_compatible=True)
            async with stream:
                await stream.send_all(text)

        async def say_all() -> None:
            for text in MALFORMED:
                await say_and_go(text, is_encrypted=is_encrypted)
            await say_and_go(MALFORMED[0], is_encrypted=False)
            await until_nobody_is_there(server)

        await say_all()
        with garbage() as found:
            for _ in range(3):
                await say_all()
        assert not found
