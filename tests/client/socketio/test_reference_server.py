"""Against the reference implementation, socket.io of npm, as a process: every transport, acks, recovery, refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from djactors.client.socketio import (
    Connected,
    Disconnected,
    Event,
    Item,
    RefusedError,
    ServerDisconnectedError,
    Socket,
    SocketSettings,
    connect,
)
from djactors.protocol import Transport
from tests.client.socketio.memory import POLLING, WEBSOCKET, take
from tests.clients.reference import reference_server

PATIENCE = 60
QUICK = {"reconnect_delay": 0.01, "jitter": 0.0}
ORDERS = [(WEBSOCKET,), (POLLING,), (POLLING, WEBSOCKET)]


@asynccontextmanager
async def joined(url: str, **options: Any) -> AsyncIterator[Socket]:
    """A socket past its connection and its welcome."""
    transports = options.pop("transports", (WEBSOCKET, POLLING))
    settings = SocketSettings(transports=transports, **QUICK)
    with trio.fail_after(PATIENCE):
        async with connect(url, settings=settings, **options) as socket:
            connected, welcome = await take(socket, 2)
            assert isinstance(connected, Connected)
            assert isinstance(welcome, Event)
            assert welcome.name == "welcome"
            yield socket


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(order))
async def test_events_acks_and_bytes_go_both_ways(order: tuple[Transport, ...]) -> None:
    data = [1, None, b"\x00\xff", {"deep": [b"", "\x1e é"]}, "x" * 100_000, list(range(20_000))]
    async with reference_server() as url, joined(url, transports=order, auth={"token": "good"}) as socket:
        assert await socket.call("answer", *data) == data
        await socket.emit("say-back", *data)
        said = await anext(socket)
        assert isinstance(said, Event)
        assert (said.name, said.args) == ("said", data)
        while socket.transport is not order[-1]:
            await trio.sleep(0)
        assert await socket.call("answer", *data) == data


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "-".join(order))
async def test_what_was_missed_follows_once_and_in_order(order: tuple[Transport, ...]) -> None:
    async with (
        reference_server("--recovery") as url,
        joined(url, transports=order) as socket,
        joined(url) as other,
    ):
        sid = socket.sid
        told: list[Item] = []
        for number in range(30):
            if number % 10 == 5:
                socket.reconnect()
            assert await other.call("answer") == []
            await other.emit("tell-all", number)
            told.append(await anext(other))
        events: list[Any] = []
        connections = 0
        while len(events) < 30:
            item = await anext(socket)
            if isinstance(item, Connected):
                connections += 1
                assert (item.recovered, item.sid) == (True, sid)
            elif isinstance(item, Event) and item.name == "told":
                events.append(item.args[0])
        assert events == list(range(30))
        assert len(told) == 30
        # One of two that came quickly behind each other may have met a connection that was not there yet.
        assert connections >= 1


async def test_a_server_without_recovery_says_so() -> None:
    async with reference_server() as url, joined(url) as socket:
        sid = socket.sid
        await socket.emit("drop-me")
        gone, back = await take(socket, 2)
        assert isinstance(gone, Disconnected)
        assert isinstance(back, Connected)
        assert not back.recovered
        assert back.sid != sid


async def test_a_refusal_carries_the_servers_words() -> None:
    async with reference_server() as url:
        with trio.fail_after(PATIENCE):
            async with connect(url, auth={"token": "wrong"}) as socket:
                with pytest.raises(RefusedError, match="Unauthorized") as caught:
                    await anext(socket)
        assert caught.value.data == {"code": "token_invalid"}


async def test_an_unknown_namespace_is_a_refusal() -> None:
    async with reference_server() as url:
        with trio.fail_after(PATIENCE):
            async with connect(url, namespace="/nowhere") as socket:
                with pytest.raises(RefusedError, match="Invalid namespace"):
                    await anext(socket)


async def test_who_is_sent_away_stays_away() -> None:
    async with reference_server() as url, joined(url) as socket:
        await socket.emit("send-me-away")
        with pytest.raises(ServerDisconnectedError):
            await anext(socket)


async def test_the_echo_of_the_official_suites_is_understood() -> None:
    async with reference_server("--echo") as url:
        with trio.fail_after(PATIENCE):
            async with connect(url, auth={"a": 1}, namespace="/custom") as socket:
                _, welcome = await take(socket, 2)
                assert isinstance(welcome, Event)
                assert welcome.args == [{"a": 1}]
                assert await socket.call("message-with-ack", b"1") == [b"1"]
