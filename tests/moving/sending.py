"""Sends a tenant in as `djactors import --url` does, step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from djactors.operations.bringing_in import Staged, staged
from djactors.operations.sending_in import _beginning, _slices
from tests.edge.rooms import Answer, Rooms, rooms
from tests.moving.conftest import rows_of

Place = str | Path
NOTHING_OF_A_TENANT = {"counters", "meta", "schema_migrations", "expiry_walks", "database_sizes", "nodes"}


def silent(_: object) -> None:
    """Nobody looks."""


class Sending:
    """Sends a tenant to the rooms as the command does, in steps."""

    def __init__(self, rooms: Rooms, parcel: Staged) -> None:
        self.rooms = rooms
        self.parcel = parcel
        self.plan = ""
        self.slices = list(_slices(parcel, 1))

    async def post(self, path: str, token: str | None = None, **body: Any) -> Answer:
        token = self.rooms.service() if token is None else token
        body.setdefault("tenantId", 1)
        return await self.rooms.request("POST", f"/api/imports{path}", token=token, body=body)

    async def begin(self, **more: Any) -> Answer:
        answer = await self.post("", **{**_beginning(self.parcel), **more})
        if answer.status == 200:
            self.plan = answer.json["plan"]
        return answer

    async def rows(self, table: str, first: int, lines: list[bytes], /, **more: Any) -> Answer:
        sent = {"plan": self.plan, "first": first, "table": table, "lines": b"".join(lines).decode()}
        return await self.post("/rows", **{**sent, **more})

    async def send(self, slices: list[tuple[str, int, list[bytes]]] | None = None) -> int:
        arrived = 1
        for table, first, lines in self.slices if slices is None else slices:
            answer = await self.rows(table, first, lines)
            assert answer.status == 200, answer.body
            arrived = answer.json["arrived"]
        return arrived

    async def finish(self) -> Answer:
        while True:
            answer = await self.post("/finish", plan=self.plan)
            if answer.status != 200 or answer.json["done"]:
                return answer

    async def abandon(self) -> Answer:
        while True:
            answer = await self.post("/abandon")
            if answer.status != 200 or answer.json["done"]:
                return answer


@asynccontextmanager
async def sending(tmp_path: Path, place: Place, folder: str) -> AsyncIterator[Sending]:
    with staged(folder, silent) as parcel:
        async with rooms(tmp_path, place, post_rate=10_000, post_burst=10_000) as opened:
            yield Sending(opened, parcel)


def of_tenants(place: Place) -> dict[str, list[tuple[object, ...]]]:
    return {name: rows for name, rows in rows_of(place).items() if name not in NOTHING_OF_A_TENANT}
