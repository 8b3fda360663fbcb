"""Real servers on one real PostgreSQL database, in one Trio program."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg
import trio

from djactors.app import Server
from djactors.config import Settings
from djactors.domain.events import NotificationRequested
from djactors.store.postgresql.conninfo import Conninfo
from djactors.telemetry import Telemetry, make_logger
from tests.nodes.page import PATIENCE
from tests.serving import SECRET, Answer, make_token, send_request


class Running:
    """A server, its log, and the scope that ends it as a kill would."""

    def __init__(self, url: str, name: str, options: dict[str, Any]) -> None:
        self.log = io.StringIO()
        self.server = Server(
            Settings(**{"jwt_secret": SECRET, "database": url, "port": 0, "node": name, **options}),
            telemetry=Telemetry(make_logger("json", "info", self.log)),
        )
        self.scope = trio.CancelScope()
        self.ended = trio.Event()

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.log.getvalue().splitlines()]

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.server.run(task_status=task_status)
        self.ended.set()

    async def tell(self, user_id: int, title: str = "Hello", tenant_id: int = 1) -> None:
        """Notify somebody, by this node."""
        await self.server.publish(
            NotificationRequested(
                tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="LOW", title=title
            )
        )

    async def ask(self, method: str, path: str, user_id: int, role: str = "user", tenant_id: int = 1) -> Answer:
        token = make_token(tenant_id=tenant_id, user_id=user_id, role=role)
        return await send_request(self.url, method, path, token=token)

    async def metric(self, name: str) -> float:
        """A metric without labels."""
        text = (await send_request(self.url, "GET", "/metrics")).body.decode()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


@asynccontextmanager
async def running_servers(
    url: str, number: int = 2, *, own: Sequence[Mapping[str, Any]] = (), **options: Any
) -> AsyncIterator[list[Running]]:
    """So many servers on one database. `own` are the options of each alone."""
    each_own = [*own, *[{}] * (number - len(own))]
    servers = [Running(url, f"node{each}", {**options, **more}) for each, more in enumerate(each_own)]
    with trio.fail_after(3 * PATIENCE):
        async with trio.open_nursery() as nursery:
            for each in servers:
                await nursery.start(each.run)
            try:
                yield servers
            except BaseException:
                nursery.cancel_scope.cancel()
                raise
            for each in servers:
                each.server.request_stop()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so."""
    with trio.fail_after(PATIENCE):
        while not await condition():
            await trio.sleep(0.01)


async def listening(*servers: Running) -> None:
    """Wait until each has proved that it hears the others."""
    for each in servers:

        async def is_listening(each: Running = each) -> bool:
            return await each.metric("djactors_listening") == 1

        await eventually(is_listening)


async def query(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The rows of a statement, beside all servers."""
    return await trio.to_thread.run_sync(_query, url, statement, parameters)


async def execute(url: str, statements: str) -> None:
    """Run statements that return nothing, beside all servers."""
    await trio.to_thread.run_sync(_execute, url, statements)


def _execute(url: str, statements: str) -> None:
    with psycopg.connect(**_where(url), autocommit=True) as connection:
        connection.execute(statements.encode())


def _where(url: str) -> dict[str, Any]:
    return Conninfo.of(url).parameters


def _query(url: str, statement: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
    with psycopg.connect(**_where(url), autocommit=True) as connection:
        return connection.execute(statement.encode(), parameters).fetchall()
