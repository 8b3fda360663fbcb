"""The routes by which `djactors import` brings a tenant in beside those that are served; see `inbox/importing`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
import trio
from msgspec import Meta

from djactors import __version__
from djactors.actors.accounts import KNOWN_FOR
from djactors.domain import events
from djactors.domain.errors import Code, Refused
from djactors.domain.ids import MAX_ID, Id
from djactors.domain.importing import (
    AbandonImport,
    BeginImport,
    FinishImport,
    ImportCommand,
    Imported,
    ImportRows,
)
from djactors.domain.marks import offset_of
from djactors.domain.notifications import encode
from djactors.edge.api import IMPORT, Api, Handler, Table, query_of, tenant_of
from djactors.inbox.arrival import Arrival
from djactors.inbox.contents import MAX_GIVEN
from djactors.inbox.importing import ROWS_OF_A_SLICE
from djactors.inbox.parcels import Columns, Manifest, ParcelError
from djactors.inbox.tenancy import IDS_OF_ALL, PARTS, Part, Row
from djactors.net import Request, Response

IMPORTS = "/api/imports"
ROWS = f"{IMPORTS}/rows"
PIECE_SECONDS = 2.0
"""How long one request judges or removes, as with erasing."""

PAUSE = 0.01
"""Seconds after each slice, in which others are recorded."""

MAX_UNDER_WAY = 16
"""Imports of which something is remembered; of more it is read again."""

_PARTS: Mapping[str, Part] = {part.name: part for part in PARTS}

Given = Annotated[int, Meta(ge=0, le=MAX_GIVEN)]
Plan = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class _Begin(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    manifest: Manifest
    tenant: str
    highest: dict[str, Given] = {}
    tenant_id: Id | None = None


class _Rows(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    plan: Plan
    first: Annotated[int, Meta(ge=1)]
    table: str
    lines: str
    tenant_id: Id | None = None


class _Finish(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    plan: Plan
    last: str = ""
    tenant_id: Id | None = None


class _Abandon(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    after: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0
    tenant_id: Id | None = None


_Body = TypeVar("_Body", _Begin, _Rows, _Finish, _Abandon)


class _Known(msgspec.Struct):
    """What is remembered of an import: what was announced, as text and read, and how far it was judged."""

    text: str
    manifest: Manifest
    highest: dict[str, int]
    arrival: Arrival


class ImportRoutes:
    """The handlers; `table` is their part of the routes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._columns: Columns | None = None
        self._known: dict[int, _Known] = {}
        self._judging = trio.Lock()
        self.table: Table = (
            (IMPORTS, {"POST": self._told(self._begin)}),
            (ROWS, {"POST": self._told(self._rows)}),
            (f"{IMPORTS}/finish", {"POST": self._told(self._finish)}),
            (f"{IMPORTS}/abandon", {"POST": self._told(self._abandon)}),
        )

    @staticmethod
    def _told(handler: Handler) -> Handler:
        """A handler that answers what is wrong with a parcel as what is wrong with a request."""

        async def handle(request: Request, found: dict[str, str]) -> Response:
            try:
                return await handler(request, found)
            except ParcelError as error:
                raise Refused(Code.INVALID, str(error)) from None

        return handle

    async def _begin(self, request: Request, found: dict[str, str]) -> Response:
        body, tenant_id = self._read(request, _BEGIN)
        manifest = body.manifest
        manifest.check("the manifest")
        if manifest.tenant_id != tenant_id:
            raise Refused(Code.INVALID, f"tenantId: the manifest is of tenant {manifest.tenant_id}: name that one")
        if body.highest.keys() - IDS_OF_ALL:
            raise Refused(Code.INVALID, f"highest: has others than {', '.join(sorted(IDS_OF_ALL))}")
        [part, *_] = PARTS
        columns = await self._get_columns()
        [row] = await self._api.store.unpack(columns, part, tenant_id, [body.tenant.encode()])
        text = encode({"manifest": manifest, "tenant": body.tenant, "highest": body.highest}).decode()
        names = tuple(columns.names(part))
        imported = await self._ask(BeginImport(tenant_id, text, names, row, body.highest, __version__))
        self._remember(tenant_id, text, body, columns)
        if imported.arrived == 1:
            # Another node may know for so long that nothing stands against somebody of the tenant.
            await trio.sleep(KNOWN_FOR)
        self._api.telemetry.log.info("import begun", tenant_id=tenant_id, rows=manifest.rows, arrived=imported.arrived)
        return Response(200, encode({"plan": _digest(text), "arrived": imported.arrived}))

    async def _rows(self, request: Request, found: dict[str, str]) -> Response:
        body, tenant_id = self._read(request, _ROWS)
        part = _PARTS.get(body.table)
        if part is None or part is PARTS[0]:
            raise Refused(Code.INVALID, f"table: must be one of {', '.join(each.name for each in PARTS[1:])}")
        lines = body.lines.encode().splitlines(keepends=True)
        if not 1 <= len(lines) <= ROWS_OF_A_SLICE:
            raise Refused(Code.INVALID, f"lines: has {len(lines)}: send 1 to {ROWS_OF_A_SLICE} at a time")
        known, columns = await self._known_of(tenant_id, body.plan), await self._get_columns()
        rows: list[Row] = await self._api.store.unpack(columns, part, tenant_id, lines)
        names = tuple(columns.names(part))
        if part.name in IDS_OF_ALL:
            # Ids behind these are given out to others meanwhile.
            highest, place = known.highest.get(part.name, 0), names.index("id")
            if any(row[place] > highest for row in rows):
                raise Refused(Code.INVALID, f"lines: have an id above {highest}, the highest that was announced")
        imported = await self._ask(ImportRows(tenant_id, known.text, body.first, part.name, names, tuple(rows)))
        await trio.sleep(PAUSE)
        return Response(200, encode({"arrived": imported.arrived}))

    async def _finish(self, request: Request, found: dict[str, str]) -> Response:
        """Judge a piece of what has arrived. Whoever asks goes on until it is done.

        The answer to the request that has finished it may have been lost. So whoever says with which offset the log of
        the tenant ends is told again that it is done.
        """
        body, tenant_id = self._read(request, _FINISH)
        try:
            return await self._judge(tenant_id, body.plan)
        except Refused as refused:
            last = offset_of(body.last)
            if refused.code is not Code.NOT_FOUND or last is None:
                raise
            if not await self._api.store.has_arrived(tenant_id, last):
                raise
            return Response(200, encode({"done": True, "judged": 0}))

    async def _judge(self, tenant_id: int, plan: str) -> Response:
        known = await self._known_of(tenant_id, plan)
        end = trio.current_time() + PIECE_SECONDS
        # Two requests would take slices of the same judge.
        async with self._judging:
            try:
                while not await self._api.store.judge_arrival(known.arrival):
                    if trio.current_time() >= end:
                        return Response(200, encode({"done": False, "judged": known.arrival.rows}))
            except BaseException:
                # What failed is judged from the beginning.
                self._known.pop(tenant_id, None)
                raise
        await self._ask(FinishImport(tenant_id, known.text, known.arrival.rows, known.arrival.walks))
        self._known.pop(tenant_id, None)
        self._api.telemetry.log.info("tenant imported", tenant_id=tenant_id, rows=known.arrival.rows)
        return Response(200, encode({"done": True, "judged": known.arrival.rows}))

    async def _abandon(self, request: Request, found: dict[str, str]) -> Response:
        """Remove a piece. Whoever asks goes on with `after`, until it is done."""
        body, tenant_id = self._read(request, _ABANDON)
        self._known.pop(tenant_id, None)
        removed, after = 0, body.after
        end = trio.current_time() + PIECE_SECONDS
        while True:
            imported = await self._ask(AbandonImport(tenant_id, after=after))
            removed, after = removed + imported.arrived, imported.after
            if imported.done or trio.current_time() >= end:
                break
            await trio.sleep(PAUSE)
        if imported.done:
            self._api.telemetry.log.info("import abandoned", tenant_id=tenant_id)
        return Response(200, encode({"done": imported.done, "removed": removed, "after": after}))

    def _read(self, request: Request, shape: msgspec.json.Decoder[_Body]) -> tuple[_Body, int]:
        """The body, and the tenant that it is about; whoever may not import is refused."""
        identity = self._api.service(request, IMPORT)
        self._api.paces.check_backend(identity)
        query_of(request)
        body: _Body = events.decode_json(shape, request.body or b"{}")
        return body, tenant_of(identity, body.tenant_id)

    async def _get_columns(self) -> Columns:
        if self._columns is None:
            self._columns = await self._api.store.parcel_columns()
        return self._columns

    async def _known_of(self, tenant_id: int, plan: str) -> _Known:
        known = self._known.get(tenant_id)
        if known is None or _digest(known.text) != plan:
            text = await self._api.store.import_plan(tenant_id)
            if text is None or _digest(text) != plan:
                raise Refused(Code.NOT_FOUND, f"no such import of tenant {tenant_id} is under way: begin it anew")
            # By another node, or before a restart.
            announced = msgspec.json.decode(text, type=_Begin)
            known = self._remember(tenant_id, text, announced, await self._get_columns())
        return known

    def _remember(self, tenant_id: int, text: str, announced: _Begin, columns: Columns) -> _Known:
        if len(self._known) >= MAX_UNDER_WAY:
            self._known.pop(next(iter(self._known)))
        known = self._known[tenant_id] = _Known(
            text, announced.manifest, announced.highest, Arrival(announced.manifest, columns)
        )
        return known

    async def _ask(self, command: ImportCommand) -> Imported:
        return await self._api.router.ask_nowait(command, self._api.settings.command_timeout)


_BEGIN = msgspec.json.Decoder(_Begin)
_ROWS = msgspec.json.Decoder(_Rows)
_FINISH = msgspec.json.Decoder(_Finish)
_ABANDON = msgspec.json.Decoder(_Abandon)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
