"""The driver against the reference server, so that a fault of the driver is not taken for one of djactors."""

from collections.abc import AsyncIterator

import pytest
import trio

from tests.clients.driver import Kind, Occurrence, StockClients, StockSocket, Unmet, stock_client
from tests.clients.reference import reference_server

BOTH = pytest.mark.parametrize("kind", ["js", "python"])
QUICK = {"reconnectionDelay": 20, "reconnectionDelayMax": 20, "randomizationFactor": 0}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with reference_server() as address:
        yield address


@BOTH
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_socket_connects_over_the_one_transport_it_may_use(kind: Kind, transport: str, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.open(url, transports=[transport], auth={"token": "t"})
        assert (await socket.expect("connect"))["transport"] == transport
        assert (await socket.expect("event", name="welcome")).args == [{"token": "t"}]


@BOTH
async def test_a_socket_upgrades_by_default(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.open(url)
        await socket.expect("upgrade", to="websocket")
        assert (await socket.state())["transport"] == "websocket"


@BOTH
async def test_a_refusal_carries_its_message_and_data(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.open(url, auth={"token": "wrong"})
        refusal = await socket.expect("connect_error")
        assert refusal.fields == {"message": "Unauthorized", "data": {"code": "token_invalid"}}


@BOTH
async def test_a_refused_socket_connects_with_a_better_token(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.open(url, auth={"token": "wrong"})
        await socket.expect("connect_error")
        await socket.set_auth({"token": "right"})
        await socket.connect()
        await socket.expect("connect")


@BOTH
async def test_an_emit_is_answered_with_the_arguments_of_the_ack(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url)
        assert await socket.emit("answer", 1, {"a": [None]}, b"\x00\xff", ack=True) == [1, {"a": [None]}, b"\x00\xff"]


@BOTH
async def test_an_event_carries_all_its_arguments(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url)
        await socket.emit("say-back", {"n": 1}, "two", b"\x03")
        await socket.expect("event", name="said", args=[{"n": 1}, "two", b"\x03"])
        assert socket.events("said") == [[{"n": 1}, "two", b"\x03"]]


@BOTH
async def test_a_listener_hears_everything_at_once_and_in_order(kind: Kind, url: str) -> None:
    heard: list[Occurrence] = []
    ordered = {"ordered": True} if kind == "python" else {}
    async with stock_client(kind) as clients:
        socket = await clients.open(url, heard=heard.append, transports=["websocket"], **ordered)
        assert await socket.emit("answer", ack=True) == []
        for number in range(50):
            await socket.emit("say-back", number)
        assert await socket.emit("answer", ack=True) == []
        said = [occurrence.args for occurrence in heard if occurrence.matches("event", {"name": "said"})]
        assert said == [[number] for number in range(50)]
        assert "connect" in {occurrence.what for occurrence in heard}


@BOTH
async def test_an_emit_that_nobody_acknowledges_fails_in_time(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url)
        with pytest.raises(Unmet, match="unheard was not acknowledged"):
            await socket.emit("unheard", ack=True, timeout=0.05)


@BOTH
async def test_an_unmet_expectation_shows_what_was_received(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url)
        await socket.expect("event", name="welcome")
        with pytest.raises(Unmet, match=r"no event .*never.*received:(.|\n)*connect (.|\n)*welcome"):
            await socket.expect("event", name="never", timeout=0.05)


async def lose_transport(socket: StockSocket) -> None:
    """Cut the connection until the client notices: cut between two polls, it quietly makes another one and goes on."""
    for _ in range(20):
        await socket.kill_transport("reset")
        try:
            await socket.expect("disconnect", timeout=1)
        except Unmet:
            continue
        return
    raise AssertionError("the client never noticed that its connection was cut")


@BOTH
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_socket_reconnects_after_its_transport_was_reset(kind: Kind, transport: str, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.open(url, transports=[transport], **QUICK)
        first = await socket.expect("connect")
        await socket.expect("event", name="welcome")
        await lose_transport(socket)
        assert (await socket.expect("connect"))["id"] != first["id"]


@BOTH
async def test_a_socket_reconnects_after_the_server_closed_its_transport(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url, transports=["websocket"], **QUICK)
        await socket.emit("drop-me")
        await socket.expect("disconnect")
        await socket.expect("connect")


@BOTH
async def test_a_socket_that_was_sent_away_stays_away_until_told(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url, transports=["websocket"], **QUICK)
        await socket.emit("send-me-away")
        await socket.expect("disconnect")
        assert (await socket.state())["connected"] is False
        await socket.connect()
        await socket.expect("connect")


async def test_a_stock_js_socket_recovers_what_it_missed() -> None:
    async with reference_server("--recovery") as url, stock_client("js") as clients:
        away = await clients.connect(url, transports=["websocket"], reconnectionDelay=300, randomizationFactor=0)
        other = await clients.connect(url, transports=["websocket"])
        await other.emit("tell-all", "before")
        await away.expect("event", name="told")
        await away.kill_transport("close")
        await away.expect("disconnect")
        await other.emit("tell-all", "meanwhile")
        assert (await away.expect("connect"))["recovered"] is True
        missed = await away.expect("event", name="told")
        assert missed.args[0] == "meanwhile"


async def test_a_stalled_js_socket_hears_nothing_until_it_reads_again(url: str) -> None:
    async with stock_client("js") as clients:
        slow = await clients.connect(url, transports=["websocket"])
        other = await clients.connect(url, transports=["websocket"])
        await slow.expect("event", name="welcome")
        await slow.stall()
        await slow.state()  # so that the stall precedes what comes now
        await other.emit("tell-all", 1)
        await other.expect("event", name="told")
        await other.emit("answer", ack=True)
        assert slow.events("told") == []
        await slow.unstall()
        await slow.expect("event", name="told", args=[1])


@BOTH
async def test_fifty_sockets_share_one_process(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        sockets = [await clients.open(url, transports=["websocket"]) for _ in range(50)]
        for socket in sockets:
            await socket.expect("connect", timeout=30)
        await sockets[0].emit("tell-all", "hello")
        for socket in sockets:
            await socket.expect("event", name="told", args=["hello"], timeout=30)


@BOTH
async def test_a_command_that_the_client_does_not_know_is_refused(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url)
        await socket._do("dance")
        assert "dance" in (await socket.expect("refused"))["message"]


@BOTH
async def test_the_end_of_the_process_ends_the_waiting(kind: Kind, url: str) -> None:
    async with stock_client(kind) as clients:
        socket = await clients.connect(url)
        await clients._send({"do": "exit"})
        with pytest.raises(Unmet, match="the client process has ended"):
            await socket.expect("event", name="never", timeout=60)


async def test_leaving_the_context_ends_the_process(url: str) -> None:
    async with stock_client("js") as clients:
        await clients.connect(url)
    assert clients.process.returncode is not None


async def test_a_failure_inside_reaches_the_test_as_it_is() -> None:
    async def fail(clients: StockClients) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"), trio.fail_after(30):
        async with stock_client("js") as clients:
            await fail(clients)
