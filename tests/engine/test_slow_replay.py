"""A large replay to a client that reads slowly: it gets all of it, and little of it waits here for it at any time."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.user import REPLAY_SLICE
from djactors.config import Settings
from djactors.domain.commands import Publish, Published
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.edge.gateway import Gateway
from djactors.engine import EngineServer, EngineSettings, OriginPolicy, Session
from djactors.inbox.log import SLICE_BYTES
from djactors.net import ByteStream, Request, Response
from tests.edge.rooms import Rooms, rooms
from tests.engine.clients import SOCKET, Served
from tests.engine.echo import EngineLog

MESSAGES = 1000
MESSAGE_CHARACTERS = 4000

MAX_BUFFERED = 2 * SLICE_BYTES
"""What may wait for one client: a slice, which is over its bound by its last change, and the packets around it."""


class Application:
    """The server's sockets behind HTTP, without a port; remembers the sessions."""

    def __init__(self, house: Rooms, **settings: Any) -> None:
        self.sessions: list[Session] = []
        self.log = EngineLog()

        def gateway(session: Session) -> Gateway:
            self.sessions.append(session)
            return Gateway(session, house.services)

        self.engine = EngineServer(
            EngineSettings(ping_interval=10_000.0, **settings),
            gateway,
            origins=OriginPolicy(),
            random_token=lambda: f"sid{len(self.sessions)}",
            telemetry=self.log,
        )

    def body_limit(self, request: Request) -> int:
        return 1_000_000

    async def handle(self, request: Request) -> Response:
        return await self.engine.handle(request)

    async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
        return await self.engine.upgrade(request, stream, leftover)

    def refusal(self, status: int, code: str, message: str) -> Response:
        return Response(status, message.encode(), "text/plain")


@asynccontextmanager
async def served(folder: Path, **settings: Any) -> AsyncIterator[tuple[Rooms, Served, Application]]:
    """A server with a thousand large notifications for user 7."""
    async with rooms(folder) as house, trio.open_nursery() as nursery:
        event = NotificationRequested(
            tenant_id=1,
            user_id=7,
            notification_type="note",
            priority="LOW",
            title="Hello",
            message="x" * MESSAGE_CHARACTERS,
        )
        for _ in range(10):
            await house.store.record([Publish(event)] * (MESSAGES // 10))
        application = Application(house, **settings)
        await nursery.start(application.engine.run)
        yield house, Served(nursery, application, SOCKET), application  # type: ignore[arg-type]
        nursery.cancel_scope.cancel()


def connect_packet(house: Rooms) -> str:
    return "40" + json.dumps({"token": house.token(1, 7), "since": ".0"})


def events(packets: list[str]) -> list[tuple[str, Any]]:
    return [(name, body) for name, body, _ in (json.loads(text[2:]) for text in packets if text.startswith("42"))]


def check(told: list[tuple[str, Any]]) -> None:
    """All of it, in order, then the count."""
    assert [body.get("id") for _, body in told[:-1]] == list(range(1, MESSAGES + 1))
    assert told[-1] == ("notification:unread-count", {"count": MESSAGES, "unseen": MESSAGES})


async def test_by_polling(autojump_clock, tmp_path: Path):
    async with served(tmp_path) as (house, server, application):
        sid = await server.open_session()
        await server.post(sid, connect_packet(house))
        (session,) = application.sessions
        packets: list[str] = []
        largest = 0
        while not packets or "unread-count" not in packets[-1]:
            await trio.sleep(5)
            assert session.outbox is not None
            largest = max(largest, session.outbox.size)
            packets += (await server.get(sid)).packets
        check(events(packets))
        assert 0 < largest <= MAX_BUFFERED
        assert not session.closed


async def test_by_websocket(autojump_clock, tmp_path: Path):
    async with served(tmp_path) as (house, server, application):
        websocket = await server.websocket_session(window=8 * 1024)
        websocket.send(connect_packet(house))
        (session,) = application.sessions
        stream = server.streams[-1]
        packets: list[str] = []
        largest = 0
        while not packets or "unread-count" not in packets[-1]:
            await trio.sleep(0.1)
            largest = max(largest, stream.buffered)
            packets.append(str(await websocket.receive()))
        check(events(packets))
        assert 0 < largest <= MAX_BUFFERED
        assert not session.closed


async def test_by_polling_and_then_by_websocket(autojump_clock, tmp_path: Path):
    async with served(tmp_path) as (house, server, application):
        sid = await server.open_session()
        await server.post(sid, connect_packet(house))
        (session,) = application.sessions
        packets = [text for _ in range(10) for text in (await server.get(sid)).packets]
        websocket = await server.websocket(sid, window=8 * 1024)
        websocket.send("2probe")
        assert await websocket.receive() == "3probe"
        websocket.send("5")
        stream = server.streams[-1]
        largest = 0
        while "unread-count" not in packets[-1]:
            await wait_all_tasks_blocked()
            largest = max(largest, stream.buffered)
            packets.append(str(await websocket.receive()))
        check(events(packets))
        assert 0 < largest <= MAX_BUFFERED
        assert not session.closed


async def test_with_the_smallest_outbox_that_can_be_set(autojump_clock, tmp_path: Path):
    """A slice must fit, or the client would be closed for it, come back, and be closed again."""
    smallest = {
        field.name: int(field.metadata["low"])
        for field in dataclasses.fields(Settings)
        if field.name in ("outbox_packets", "outbox_bytes")
    }
    assert smallest["outbox_packets"] >= 2 * REPLAY_SLICE
    assert smallest["outbox_bytes"] >= MAX_BUFFERED
    async with served(tmp_path, **smallest) as (house, server, _):
        sid = await server.open_session()
        await server.post(sid, connect_packet(house))
        packets: list[str] = []
        while not packets or "unread-count" not in packets[-1]:
            packets += (await server.get(sid)).packets
        check(events(packets))


async def test_a_client_that_polls_takes_all_that_the_largest_commit_brings_it(autojump_clock, tmp_path: Path):
    """Between its polls nothing is taken from it: whatever waits meanwhile must fit, or it would be closed for it."""
    settings = Settings()
    async with served(tmp_path, outbox_packets=settings.outbox_packets) as (house, server, application):
        sid = await server.open_session()
        await server.post(sid, "40" + json.dumps({"token": house.token(1, 2)}))
        packets = (await server.get(sid)).packets
        assigned = JobCreated(tenant_id=1, title="Banner", requester_id=1, assignee_id=2)
        commands = [Publish(assigned)] * settings.commit_batch
        recorded = await house.store.record(commands)
        assert all(isinstance(outcome, Published) for outcome in recorded.outcomes)
        # A commit is bounded by what it writes as well, so the last of these may be left to another one.
        in_one = len(recorded.outcomes)
        assert in_one > settings.commit_batch // 2
        await house.users.deliver(recorded, trio.current_time(), house.users.number_commit())
        while "unread-count" not in packets[-1] or len(packets) < in_one:
            packets += (await server.get(sid)).packets
        told = [name for name, _ in events(packets)]
        assert told.count("notification:new") == in_one
        assert not application.sessions[0].closed
