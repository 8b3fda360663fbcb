"""A server on a port, beside others, and how it stops."""

import socket as sockets

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.engine import EngineApplication, EngineServer, Namespace, OriginPolicy, Session, SocketServer
from djactors.engine.example import SUITE_SETTINGS, EngineEcho, echo_servers
from djactors.net import ByteStream, Request, Response
from tests.engine.clients import Served
from tests.engine.echo import EngineLog
from tests.net.applications import KEY, masked, receive_all, receive_frame, receive_response, receive_until

HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def unexpected(error: BaseException, peer: str) -> None:
    raise AssertionError(error)


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def join(port: int) -> trio.SocketStream:
    client = await trio.open_tcp_stream("127.0.0.1", port)
    await client.send_all(HANDSHAKE + masked(0x81, b"40"))
    await receive_until(client, b"\r\n\r\n")
    assert (await receive_frame(client))[1].startswith(b"0")
    assert (await receive_frame(client))[1].startswith(b"40")
    return client


async def test_it_says_where_it_serves_and_a_taken_port_is_an_error_of_its_own(nursery: trio.Nursery) -> None:
    server = SocketServer(Namespace(), on_error=unexpected)
    url = await nursery.start(server.serve)
    assert url.startswith("http://127.0.0.1:")
    async with await join(port_of(url)):
        pass
    second = SocketServer(Namespace(), on_error=unexpected)
    with pytest.raises(OSError, match="in use"):
        await nursery.start(second.serve, "127.0.0.1", port_of(url))
    with pytest.raises(OSError, match="in use"):
        await second.serve("127.0.0.1", port_of(url))
    nursery.cancel_scope.cancel()


@pytest.mark.skipif(not sockets.has_ipv6, reason="this machine has no IPv6")
async def test_an_address_of_ipv6_is_in_brackets(nursery: trio.Nursery) -> None:
    server = SocketServer(Namespace(), on_error=unexpected)
    assert (await nursery.start(server.serve, "::1")).startswith("http://[::1]:")
    nursery.cancel_scope.cancel()


async def test_drained_it_tells_its_clients_goodbye_and_ends(nursery: trio.Nursery) -> None:
    namespace = Namespace()
    told: list[str] = []
    namespace.on_disconnect(lambda socket, reason: told.append(reason))
    server = SocketServer(namespace, on_error=unexpected)
    ended = trio.Event()

    async def serve(task_status: trio.TaskStatus[str]) -> None:
        await server.serve(task_status=task_status)
        ended.set()

    port = port_of(await nursery.start(serve))
    clients = [await join(port) for _ in range(3)]
    nursery.start_soon(server.drain, 5)
    for client in clients:
        assert (await receive_frame(client)) == (0x88, b"\x03\xe8")
        await client.send_all(masked(0x88, b"\x03\xe8"))
        await client.aclose()
    with trio.fail_after(10):
        await ended.wait()
    assert told == ["drained"] * 3
    assert not namespace.sockets
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_cancelled_it_lets_go_of_everything_at_once() -> None:
    namespace = Namespace()
    told: list[str] = []
    namespace.on_disconnect(lambda socket, reason: told.append(reason))
    server = SocketServer(namespace, on_error=unexpected)
    for _ in range(2):
        with trio.fail_after(10):
            async with trio.open_nursery() as serving:
                client = await join(port_of(await serving.start(server.serve)))
                serving.cancel_scope.cancel()
            await receive_all(client)
        await client.aclose()
    assert len(told) == 2
    assert not namespace.sockets


class Page:
    """An application that was there first."""

    async def handle(self, request: Request) -> Response:
        return Response(200, b"the page", "text/plain")

    def body_limit(self, request: Request) -> int:
        return 7

    async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
        return Response(403, b"no", "text/plain")

    def refusal(self, status: int, code: str, message: str, request: Request | None = None) -> Response:
        return Response(status, f"the page says {code}".encode(), "text/plain")


async def test_it_stands_beside_an_application_that_was_there_first(nursery: trio.Nursery) -> None:
    server = SocketServer(Namespace(), on_error=unexpected, beside=Page())
    port = port_of(await nursery.start(server.serve))
    async with await join(port), await trio.open_tcp_stream("127.0.0.1", port) as client:
        await client.send_all(b"GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await receive_response(client))[0] == 400
        await client.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await receive_response(client))[2] == b"the page"
        await client.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\n")
        status, _, body = await receive_response(client)
        assert (status, body) == (413, b"the page says body_too_large")
    async with await trio.open_tcp_stream("127.0.0.1", port) as client:
        await client.send_all(HANDSHAKE.replace(b"/socket.io/", b"/"))
        assert (await receive_response(client))[0] == 403
    nursery.cancel_scope.cancel()


async def test_where_nothing_is_the_answer_is_404_and_nothing_may_be_posted(
    autojump_clock: object, nursery: trio.Nursery
) -> None:
    engine = EngineServer(
        SUITE_SETTINGS, EngineEcho, origins=OriginPolicy(), random_token=lambda: "sid", telemetry=EngineLog()
    )
    application = EngineApplication({"/engine.io/": engine})
    refused = application.body_limit(Request("POST", "/engine.io/", {"transport": "polling", "EIO": "4", "sid": "x"}))
    assert isinstance(refused, Response)
    assert refused.status == 400
    assert application.body_limit(Request(path="/")) == 0
    served = Served(nursery, application, "/")
    assert (await served.get()).status == 404
    answer, _ = await served.try_websocket()
    assert answer.status == 404
    assert (await served.post(None, "x")).status == 413


async def test_who_counts_nothing_is_still_told_what_failed(autojump_clock: object, nursery: trio.Nursery) -> None:
    failures: list[BaseException] = []
    server, engine = echo_servers(on_error=lambda error, peer: failures.append(error))
    error = RuntimeError()

    class Failing(EngineEcho):
        def on_close(self, reason: str) -> None:
            raise error

    def failing(session: Session) -> Failing:
        return Failing(session)

    engine._make_handler = failing
    await nursery.start(engine.run)
    await nursery.start(server.run)
    served = Served(nursery, EngineApplication({"/engine.io/": engine}), "/engine.io/")
    websocket = await served.websocket_session()
    websocket.send("1")
    await websocket.ending()
    await wait_all_tasks_blocked()
    assert failures == [error]
