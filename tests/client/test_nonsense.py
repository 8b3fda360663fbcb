"""Whatever goes wrong below the clients, and whatever is answered, is told as an error of theirs."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from djactors.client import (
    ApiError,
    Client,
    DjactorsError,
    Inbox,
    Published,
    RetryPolicy,
    TrioClient,
    UnreachableError,
    connect,
)
from djactors.client._api import MAX_ANSWER
from djactors.client.socketio import Address
from djactors.engine import Namespace
from djactors.engine import Socket as ServerSocket
from tests.client.socketio.memory import MemoryWay
from tests.client.test_publishing import EVENT, GOOD, URL, Twins, ask
from tests.engine.chat import Chat

__all__ = ["ask"]

# An error while httpx unpacks leaves its generators to Trio, which closes them and says so.
LEFT_BEHIND = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

NO_TIME = RetryPolicy(timeout=0.2, jitter=0.0)
MARKUP = b"<html>"
BODIES = [b"", MARKUP, b"null", b"[]", b"5", b"{}", b'{"items": 5}', b"\xff", b"[" * 200_000, b'{"a":' * 200_000]
TOKEN = "e30.e30.e30"


class Garbled(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is not packed as its header says."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"garbled"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"garbled"


def garbled(status: int) -> httpx.Response:
    return httpx.Response(status, headers={"Content-Encoding": "gzip"}, stream=Garbled())


def made(kind: type[Exception]) -> Exception:
    try:
        return kind("it broke")
    except TypeError:
        if kind is httpx.HTTPStatusError:
            request = httpx.Request("GET", URL)
            return httpx.HTTPStatusError("it broke", request=request, response=httpx.Response(500))
        return kind()


def raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return answer


def errors_of_httpx() -> list[type[Exception]]:
    return [kind for kind in vars(httpx).values() if isinstance(kind, type) and issubclass(kind, Exception)]


async def nobody(address: Address) -> trio.abc.Stream:
    raise OSError("nobody is there")


async def listed(handler: Callable[[httpx.Request], httpx.Response]) -> Any:
    transport = httpx.MockTransport(handler)
    async with connect(URL, TOKEN, retries=NO_TIME, open_stream=nobody, transport=transport) as inbox:
        return await inbox.list()


def test_httpx_has_the_errors_that_are_meant() -> None:
    assert {httpx.DecodingError, httpx.InvalidURL, httpx.TooManyRedirects, httpx.StreamClosed, httpx.ReadError} <= set(
        errors_of_httpx()
    )


@pytest.mark.parametrize("kind", errors_of_httpx())
async def test_every_error_of_httpx_becomes_one_of_the_clients(
    autojump_clock: MockClock, ask: Twins, kind: type[Exception]
) -> None:
    with pytest.raises(DjactorsError):
        await ask("publish", EVENT, raising(made(kind)), retries=NO_TIME)
    for method, argument in (("publish_all", [EVENT]), ("publish_json", [b"{}"])):
        [outcome] = await ask(method, argument, raising(made(kind)), retries=NO_TIME)
        assert isinstance(outcome, DjactorsError)
    with pytest.raises(DjactorsError):
        await listed(raising(made(kind)))


@LEFT_BEHIND
async def test_a_good_answer_that_cannot_be_unpacked_is_an_error(autojump_clock: MockClock, ask: Twins) -> None:
    for status in (200, 201):
        with pytest.raises(DjactorsError, match="an answer that cannot be read: DecodingError") as caught:
            await ask("publish", EVENT, lambda request, status=status: garbled(status))
        assert type(caught.value) is DjactorsError
    assert ask.waited == 0
    [outcome] = await ask("publish_all", [EVENT], lambda request: garbled(200))
    assert "cannot be read" in str(outcome)
    with pytest.raises(DjactorsError, match="cannot be read"):
        await listed(lambda request: garbled(200))


@LEFT_BEHIND
async def test_a_bad_status_counts_although_its_body_cannot_be_unpacked(autojump_clock: MockClock, ask: Twins) -> None:
    answers = [garbled(503), garbled(429), httpx.Response(201, json=GOOD)]
    assert isinstance(await ask("publish", EVENT, lambda request: answers.pop(0)), Published)
    with pytest.raises(ApiError) as caught:
        await ask("publish", EVENT, lambda request: garbled(403))
    assert (caught.value.code, caught.value.status) == ("http_403", 403)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize("status", [200, 201, 204, 404])
async def test_an_answer_that_is_none_of_djactors_is_an_error(
    autojump_clock: MockClock, ask: Twins, body: bytes, status: int
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, content=body)

    told = "none of djactors" if status < 300 else "http_404"
    with pytest.raises(DjactorsError, match=told):
        await ask("publish", EVENT, answer)
    [outcome] = await ask("publish_all", [EVENT], answer)
    assert told in str(outcome)
    with pytest.raises(DjactorsError, match=told):
        await listed(answer)


ACKS: list[list[Any]] = [
    [],
    [None],
    [5],
    [[]],
    [{}],
    [{"ok": True}],
    [{"ok": True, "count": "many", "unseen": 0, "expiresAt": "soon"}],
    [{"error": 5, "expiresAt": 5}],
]


@pytest.mark.parametrize("ack", ACKS, ids=repr)
async def test_an_ack_that_is_none_of_djactors_is_an_error(
    autojump_clock: MockClock, nursery: trio.Nursery, ack: list[Any]
) -> None:
    namespace = Namespace()

    async def answer(socket: ServerSocket, payload: dict[str, Any]) -> Any:
        return ack[0] if ack else None

    for name in ("notification:read", "notification:delete", "job:mute", "auth:refresh"):
        namespace.on(name)(answer)
    chat = Chat(nursery, namespace)
    await nursery.start(chat.server.run)
    commands: list[Callable[[Inbox], Awaitable[Any]]] = [
        lambda inbox: inbox.read(5),
        lambda inbox: inbox.delete(5),
        lambda inbox: inbox.mute_job(5),
        lambda inbox: inbox.refresh(TOKEN),
    ]
    async with connect("http://server.test:3000", TOKEN, open_stream=MemoryWay(chat)) as inbox:
        for command in commands:
            with pytest.raises(DjactorsError):
                await command(inbox)


async def test_a_count_that_is_none_of_djactors_is_an_error(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    namespace, asked = Namespace(), []

    @namespace.on("notification:delete")
    async def answer(socket: ServerSocket, payload: dict[str, Any]) -> dict[str, Any]:
        asked.append(payload)
        if len(asked) == 1:
            way.cut()
            await trio.sleep_forever()
        return {"error": {"code": "not_found", "message": "not found"}}

    chat = Chat(nursery, namespace)
    await nursery.start(chat.server.run)
    way = MemoryWay(chat)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=MARKUP))
    async with connect("http://server.test:3000", TOKEN, open_stream=way, transport=transport) as inbox:
        with pytest.raises(DjactorsError, match="none of djactors"):
            await inbox.delete(5)


@pytest.mark.parametrize("kind", [Client, TrioClient])
@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test", ".test", "[secret", "a b"])
def test_a_host_that_no_name_server_could_be_asked_for_is_a_wrong_address(
    kind: Callable[..., object], host: str
) -> None:
    with pytest.raises(ValueError, match=r"^url: .* is no address of a server"):
        kind(f"http://{host}", "t")


@LEFT_BEHIND
async def test_an_answer_that_unpacks_to_too_much_is_an_error(autojump_clock: MockClock, ask: Twins) -> None:
    class Bomb(httpx.SyncByteStream, httpx.AsyncByteStream):
        packed = gzip.compress(bytes(MAX_ANSWER + 1))

        def __iter__(self) -> Iterator[bytes]:
            yield self.packed

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield self.packed

    with pytest.raises(UnreachableError, match="an answer of more than"):
        await ask(
            "publish", EVENT, lambda request: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Bomb())
        )


@pytest.mark.parametrize(
    "host",
    [
        "m\N{LATIN SMALL LETTER U WITH DIAERESIS}nchen.test",
        "\u05e2\u05d1\u05e8\u05d9\u05ea1.test",
        "xn--mnchen-3ya.test",
    ],
)
async def test_a_host_may_be_written_in_another_alphabet(host: str) -> None:
    with Client(f"http://{host}", "t"):
        pass
