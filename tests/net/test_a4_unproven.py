"""Found A4: all who have not proved who they are share one budget of bytes; over it the greediest are told to go."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from djactors.net import Listener, Request, Response, UnprovenBytes, WebSocket, _http_server
from djactors.net._http_body import CHUNKS_AT_ONCE, ChunkedBody
from djactors.net._unproven import occupied
from tests.net.applications import (
    GOOD,
    UPGRADE,
    Echo,
    connect,
    masked,
    open_raw_websocket,
    receive_frame,
    receive_response,
    until,
)

LIMIT = 40_000
BODY = b"POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 16000\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"


class Holder:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


class Judging(Echo):
    """Takes who says so for proven, and refuses some by their head."""

    def body_limit(self, request: Request) -> int | Response:
        if request.path == "/refused":
            return Response(401, b"{}")
        if "authorization" in request.headers:
            request.proof = "a good token"
        return 100_000


class Noting(UnprovenBytes):
    """Counts kept bytes, and not the memory that they take. Remembers the most that was ever held."""

    def __init__(self) -> None:
        self.most = 0
        self.refusals: list[int] = []
        super().__init__(LIMIT, lambda: self.refusals.append(1))

    def settle(self, holder: Any, size: int) -> bool:
        kept = (2 * size + 2) // 3
        assert size == occupied(kept)
        settled = super().settle(holder, kept)
        self.most = max(self.most, self.held)
        return settled


class Door:
    """A listener, and the clients at it, who leave in the end."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.clients: list[trio.SocketStream] = []

    async def connect(self, opening: bytes = b"") -> trio.SocketStream:
        client = await connect(self._listener)
        self.clients.append(client)
        await client.send_all(opening)
        return client

    async def websocket(self, opening: bytes) -> trio.SocketStream:
        client = await open_raw_websocket(self._listener)
        self.clients.append(client)
        await client.send_all(opening)
        return client


@asynccontextmanager
async def strangers(application: Echo | None = None) -> AsyncIterator[tuple[Door, Noting, list[int]]]:
    budget = Noting()
    errors: list[BaseException] = []
    listener = Listener(application or Judging(), unproven=budget, on_error=lambda error, peer: errors.append(error))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        door = Door(listener)
        yield door, budget, budget.refusals
        for client in door.clients:
            await client.aclose()
        await until(lambda: not listener.connections)
        nursery.cancel_scope.cancel()
    assert not errors
    assert budget.held == 0


class TestBudget:
    def test_a4_what_is_held_is_given_back(self):
        budget, one, other = UnprovenBytes(100), Holder(), Holder()
        assert budget.settle(one, 60)
        assert budget.settle(other, 40)
        assert budget.settle(one, 10)
        assert budget.held == 50
        assert budget.settle(one, 0)
        assert budget.settle(other, 0)
        assert budget.held == 0

    def test_a4_the_newest_is_refused_where_nobody_holds_more(self):
        refused: list[int] = []
        budget = UnprovenBytes(100, lambda: refused.append(1))
        holders = [Holder() for _ in range(3)]
        assert [budget.settle(holder, 50) for holder in holders] == [True, True, False]
        assert not any(holder.evicted for holder in holders)
        assert (budget.held, len(refused)) == (100, 1)

    def test_a4_the_greediest_give_way_to_one_who_needs_little(self):
        refused: list[int] = []
        budget = UnprovenBytes(1000, lambda: refused.append(1))
        small, large, honest = Holder(), [Holder() for _ in range(9)], Holder()
        assert budget.settle(small, 100)
        for holder in large[:-1]:
            assert budget.settle(holder, 100)
        assert budget.settle(large[-1], 100)
        assert budget.settle(small, 10)
        assert budget.settle(large[0], 190)
        assert budget.settle(honest, 20)
        assert large[0].evicted
        assert not small.evicted
        assert not honest.evicted
        # An eighth was made free, by the largest alone.
        assert sum(holder.evicted for holder in large) == len(refused) == 1
        assert budget.held == 10 + 20 + 8 * 100


async def test_a4_bodies_of_strangers_cannot_hold_more_than_the_budget():
    async with strangers() as (door, budget, refusals):
        clients = [await door.connect() for _ in range(4)]
        for number, client in enumerate(clients):
            await client.send_all(BODY + b"x" * 15_000)
            await until(lambda number=number: budget.held >= min(number + 1, 2) * 15_000)
        await until(lambda: len(refusals) == 2)
        assert budget.held <= LIMIT
        status, headers, _ = await receive_response(clients[2])
        assert (status, headers["retry-after"]) == (503, "5")
        # Those who were first are answered once they have sent the rest.
        await clients[0].send_all(b"x" * 1_000)
        assert (await receive_response(clients[0]))[0] == 200
        for client in clients:
            await client.aclose()
        await until(lambda: budget.held == 0)


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /" + b"x" * 7_000,
        BODY + b"x" * 7_000,
        CHUNKED + b"1b58\r\n" + b"x" * 7_000,
        UPGRADE + masked(0x01, b"x" * 7_000),
        UPGRADE + masked(0x81, b"x" * 9_000)[:7_000],
    ],
    ids=["head", "body", "chunks", "fragments", "frame"],
)
async def test_a4_whatever_is_unfinished_counts_and_is_given_back(beginning: bytes):
    async with strangers() as (door, budget, _):
        client = await door.connect(beginning)
        await until(lambda: 6_900 <= budget.held <= 8_000)
        await client.aclose()
        await until(lambda: budget.held == 0)


async def test_a4_who_needs_little_is_let_in_and_the_greediest_are_told_why():
    async with strangers() as (door, budget, _):
        greedy = [await door.websocket(masked(0x01, b"x" * 19_900)) for _ in range(2)]
        await until(lambda: budget.held >= 39_000)
        honest = await door.connect(BODY + b"x" * 5_000)
        first, payload = await first_frame(greedy)
        assert (first, int.from_bytes(payload[:2], "big")) == (0x88, 1013)
        await honest.send_all(b"x" * 11_000)
        assert (await receive_response(honest))[0] == 200


async def first_frame(clients: list[trio.SocketStream]) -> tuple[int, bytes]:
    """Of whoever is told something first."""
    frames: list[tuple[int, bytes]] = []

    async def listen(client: trio.SocketStream) -> None:
        frames.append(await receive_frame(client))
        nursery.cancel_scope.cancel()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(listen, client)
    return frames[0]


async def test_a4_who_sends_a_request_in_one_piece_needs_nothing_of_a_full_budget():
    async with strangers() as (door, budget, refusals):
        for _ in range(2):
            await door.websocket(masked(0x01, b"x" * 19_990))
        await until(lambda: budget.held >= 39_900)
        client = await door.connect(GOOD)
        assert (await receive_response(client))[0] == 200
        assert not refusals


async def test_a4_who_has_proved_who_they_are_takes_nothing_of_it():
    async with strangers() as (door, budget, refusals):
        client = await door.connect()
        head = BODY.replace(b"Content-Length: 16000", b"Authorization: good\r\nContent-Length: 90000")
        await client.send_all(head + b"x" * 80_000)
        await client.send_all(b"x" * 10_000)
        assert (await receive_response(client))[0] == 200
        assert budget.most == 0
        assert not refusals


async def test_a4_a_websocket_that_is_proven_gives_back_what_it_took():
    proven = trio.Event()

    async def converse(websocket: WebSocket) -> None:
        assert await websocket.receive() == "a token"
        websocket.prove(90_000)
        proven.set()
        await websocket.send(str(len(await websocket.receive())))

    application = Judging(max_message_bytes=16_000)
    application.converse = converse
    async with strangers(application) as (door, budget, _):
        client = await door.websocket(masked(0x81, b"a token") + masked(0x01, b"x" * 10_000))
        await proven.wait()
        await client.send_all(masked(0x00, b"x" * 50_000))
        await client.send_all(masked(0x80, b"x"))
        assert await receive_frame(client) == (0x81, b"60001")
        assert budget.most <= 10_100


async def test_a4_a_body_that_is_refused_by_its_head_is_not_waited_for():
    async with strangers() as (door, budget, _):
        client = await door.connect(BODY.replace(b"/a", b"/refused"))
        assert (await receive_response(client))[0] == 401
        # Had it arrived, the connection goes on.
        client = await door.connect(BODY.replace(b"/a", b"/refused") + b"x" * 16_000 + GOOD)
        status, headers, _ = await receive_response(client)
        assert (status, headers.get("connection")) == (401, None)
        assert (await receive_response(client))[0] == 200
        assert budget.held == 0


async def test_a4_answers_that_a_stranger_does_not_read_are_sent_in_pieces_and_count():
    large = b"x" * 8_000_000

    async def answer(request: Request) -> Response:
        return Response(200, large)

    application = Judging()
    application.routes["/large"] = answer
    async with strangers(application) as (door, budget, _):
        client = await door.connect(GOOD.replace(b"/good", b"/large"))
        await until(lambda: budget.held > 0)
        assert budget.held <= 16 * 1024
        status, _, body = await receive_response(client)
        assert (status, body) == (200, large)
        await client.aclose()
        await until(lambda: budget.held == 0)


async def test_a3_a_body_in_chunks_of_one_byte_is_decoded_in_slices(monkeypatch: pytest.MonkeyPatch):
    """In each turn no more than so many chunks, however they have arrived."""
    fed: list[int] = []

    class Noted(ChunkedBody):
        def feed(self, data: bytes) -> None:
            before = len(self.body)
            super().feed(data)
            fed.append(len(self.body) - before)

    monkeypatch.setattr(_http_server, "ChunkedBody", Noted)
    async with strangers() as (door, _, __):
        client = await door.connect(CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n" + GOOD)
        status, _, body = await receive_response(client)
        assert (status, json.loads(body)["body"]) == (200, "x" * 20_000)
        assert (await receive_response(client))[0] == 200
    assert max(fed) <= CHUNKS_AT_ONCE
    assert sum(fed) == 20_000


class Parking(Judging):
    """Parks every request until its client leaves, as a poll does."""

    async def handle(self, request: Request) -> Response:
        async with request.watch_disconnect():
            await trio.sleep_forever()
        return Response(200, b"{}")


async def test_a4_what_is_pipelined_behind_a_parked_request_counts():
    async with strangers(Parking()) as (door, budget, refusals):
        for _ in range(8):
            await door.connect(GOOD + b"x" * 9_000)
        await until(lambda: bool(refusals))
        assert 27_000 <= budget.most <= LIMIT


async def test_a4_what_is_pipelined_behind_an_answer_that_is_not_read_counts():
    class Large(Judging):
        async def handle(self, request: Request) -> Response:
            return Response(200, bytes(16_000_000))

    async with strangers(Large()) as (door, budget, _):
        client = await door.connect(GOOD + b"x" * 9_000)
        assert await client.receive_some(15) == b"HTTP/1.1 200 OK"
        assert budget.held >= 9_000
