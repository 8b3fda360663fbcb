"""What mypy says of programs that use the clients. See `test_typing.py` for the comments; nothing here is run."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import reveal_type

import djactors
from djactors.client import ApiError, Client, Disconnected, Notification, Published, Reset, TrioClient, connect
from djactors.client.socketio import Connected, Event, Socket, SocketSettings
from djactors.client.socketio import connect as connect_socket
from djactors.domain.events import NotificationRequested
from djactors.outbox import Outbox, Runner


async def follow(url: str, token: str, fresh: Callable[[], Awaitable[str]], later: datetime) -> None:
    async with connect(url, fresh, since=None, settings=SocketSettings(jitter=0.1)) as inbox:
        async for item in inbox:
            match item:
                case Notification(id=number, title=title, created_at=created_at):
                    reveal_type(title)  # reveals: str
                    reveal_type(created_at)  # reveals: datetime.datetime
                    reveal_type((await inbox.read(number)).count)  # reveals: int
                    await inbox.snooze(number, later)
                    await inbox.snooze(number, "tomorrow")  # error: arg-type
                    await inbox.read(item)  # error: arg-type
                case Reset(offset=offset):
                    reveal_type(offset)  # reveals: str | None
                    reveal_type((await inbox.list(unread=True)).items[0].is_read)  # reveals: bool
                case Disconnected(retry_in=seconds):
                    reveal_type(seconds)  # reveals: float
    async with connect(url, 5):  # error: arg-type
        pass


async def talk(socket: Socket, url: str) -> None:
    async with connect_socket(url, auth=lambda refusal: {"token": str(refusal)}) as other:
        reveal_type(await other.call("event", 1, b"two", timeout=5))  # reveals: list[Any]
        await other.emit(5)  # error: arg-type
    async for item in socket:
        match item:
            case Event(args=args):
                await socket.acknowledge(item, *args)
            case Connected(recovered=recovered):
                reveal_type(recovered)  # reveals: bool


def publish(url: str, event: NotificationRequested) -> None:
    with djactors.Client(url, lambda: "token") as client:
        reveal_type(client)  # reveals: djactors.client._publishing.Client
        reveal_type(client.publish(event).event_id)  # reveals: int
        for outcome in client.publish_all([event]):
            match outcome:
                case Published(notifications=notifications):
                    reveal_type(notifications[0].user_id)  # reveals: int
                case ApiError(code=code):
                    print(code)
        client.publish({"type": "job.created"})  # error: arg-type
    Client(url)  # error: call-arg
    djactors.Cleint(url)  # error: attr-defined


async def publish_too(client: TrioClient, event: NotificationRequested) -> None:
    reveal_type(await client.publish(event))  # reveals: djactors.client._publishing.Published


def add(outbox: Outbox, connection: sqlite3.Connection, client: Client, event: NotificationRequested) -> None:
    reveal_type(outbox.add(connection.cursor(), event))  # reveals: str
    reveal_type(outbox.insert(event, "numeric_dollar"))  # reveals: tuple[str, tuple[int | str, ...]]
    outbox.insert(event, "named")  # error: arg-type
    reveal_type(outbox.deliver(connection, client).sent)  # reveals: int
    reveal_type(outbox.held(connection)[0].error)  # reveals: str
    Runner(lambda: connection, client, errors=(sqlite3.Error,)).run()
    Runner(lambda: connection, client)  # error: call-arg
    outbox.add(connection, {"type": "job.created"})  # error: arg-type
