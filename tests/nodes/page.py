"""A page of a user over a real WebSocket, that keeps what a stock client keeps: its pid and its last offset."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.serving import make_token

PATIENCE = 20.0
"""Seconds after which what a test waits for will not come any more."""

RESOURCE = "/socket.io/?EIO=4&transport=websocket"


class Page:
    """One connection. `events` are names with their payloads, in order."""

    def __init__(self, url: str, user_id: int, tenant_id: int, before: Page | None) -> None:
        self.url = url
        self.user_id = user_id
        self.tenant_id = tenant_id
        self.pid: str | None = None
        self.offset = None if before is None else before.offset
        self.recovered = False
        self.events: list[tuple[str, Any]] = []
        self.closed = trio.Event()
        self._before = before
        self._news = trio.Event()

    @property
    def titles(self) -> list[str]:
        return [body["title"] for name, body in self.events if name == "notification:new"]

    @property
    def counts(self) -> list[int]:
        return [body["count"] for name, body in self.events if name == "notification:unread-count"]

    @property
    def was_reset(self) -> bool:
        return any(name == "changes:reset" for name, _ in self.events)

    async def until(self, condition: Callable[[Page], bool]) -> None:
        """Wait until what was received fulfils a condition."""
        with trio.move_on_after(PATIENCE):
            while not condition(self):
                await self._news.wait()
            return
        end = "closed" if self.closed.is_set() else "open"
        raise AssertionError(f"it did not come, and the connection is {end}: {self.events}")

    async def end(self) -> None:
        """Wait until the server has closed the connection."""
        with trio.fail_after(PATIENCE):
            await self.closed.wait()

    async def run(self, connection: WebSocketConnection) -> None:
        try:
            await self._receive(connection)
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()
            self._tell()

    async def _receive(self, connection: WebSocketConnection) -> None:
        assert (await connection.get_message())[0] == "0"
        auth = {"token": make_token(tenant_id=self.tenant_id, user_id=self.user_id)}
        if self._before is not None:
            auth |= {"pid": self._before.pid, "offset": self._before.offset}
        await connection.send_message("40" + msgspec.json.encode(auth).decode())
        while True:
            text = await connection.get_message()
            if text == "2":
                await connection.send_message("3")
            elif text.startswith("40"):
                self.pid = msgspec.json.decode(text[2:])["pid"]
                self.recovered = self._before is not None and self.pid == self._before.pid
            elif text.startswith("42"):
                name, body, *rest = msgspec.json.decode(text[2:])
                self.events.append((name, body))
                if rest:
                    self.offset = rest[0]
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def opened(url: str, user_id: int, tenant_id: int = 1, *, before: Page | None = None) -> AsyncIterator[Page]:
    """A page that is connected and has its first badge. With `before` it goes on where that page was."""
    page = Page(url, user_id, tenant_id, before)
    host, port = url.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
        connection = await wrap_client_stream(nursery, stream, f"{host}:{port}", RESOURCE)
        nursery.start_soon(page.run, connection)
        await page.until(lambda page: bool(page.counts) or page.closed.is_set())
        yield page
        nursery.cancel_scope.cancel()
