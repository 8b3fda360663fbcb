"""The routes by which `djactors import` brings a tenant in beside those that are served; see `inbox/importing`."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, TypeVar

import msgspec
import trio
from msgspec import Meta

from djactors import __version__
from djactors.actors.accounts import KNOWN_FOR
from djactors.domain import events
from djactors.domain.errors import Code, Refused
from djactors.domain.ids import Id
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
from djactors.edge.answers import ImportArrived, ImportBegun, ImportJudged, ImportRemoved
from djactors.edge.api import IMPORT, Api, tenant_of
from djactors.edge.queries import NO_QUERY
from djactors.edge.route import INSTALLATION, Handler, Route, Shape, Table
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


class ImportBegin(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What an import will bring."""

    manifest: Manifest
    tenant: str
    highest: dict[str, Given] = {}
    tenant_id: Id | None = None


class ImportRowsBody(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Rows of an import, as lines of JSON."""

    plan: Plan
    first: Annotated[int, Meta(ge=1)]
    table: str
    lines: str
    tenant_id: Id | None = None


class ImportFinish(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Everything of an import has been sent."""

    plan: Plan
    last: str = ""
    tenant_id: Id | None = None


class ImportAbandon(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What has arrived of an import is to be removed."""

    tenant_id: Id | None = None


_Body = TypeVar("_Body", ImportBegin, ImportRowsBody, ImportFinish, ImportAbandon)


class _Known(msgspec.Struct):
    """What is remembered of an import: what was announced, as text and read, and how far it was judged."""

    text: str
    manifest: Manifest
    highest: dict[str, int]
    arrival: Arrival


class Importing:
    """The handlers of one server, with what is remembered of the imports that are under way."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._columns: Columns | None = None
        self._known: dict[int, _Known] = {}
        self._judging = trio.Lock()

    async def begin(self, request: Request) -> Response:
        """Announce an import."""
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
        return Response(200, encode(ImportBegun(plan=_digest(text), arrived=imported.arrived)))

    async def rows(self, request: Request) -> Response:
        """Take rows in."""
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
        return Response(200, encode(ImportArrived(arrived=imported.arrived)))

    async def finish(self, request: Request) -> Response:
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
            return Response(200, encode(ImportJudged(done=True, judged=0)))

    async def _judge(self, tenant_id: int, plan: str) -> Response:
        known = await self._known_of(tenant_id, plan)
        end = trio.current_time() + PIECE_SECONDS
        # Two requests would take slices of the same judge.
        async with self._judging:
            try:
                while not await self._api.store.judge_arrival(known.arrival):
                    if trio.current_time() >= end:
                        return Response(200, encode(ImportJudged(done=False, judged=known.arrival.rows)))
            except BaseException:
                # What failed is judged from the beginning.
                self._known.pop(tenant_id, None)
                raise
        await self._ask(FinishImport(tenant_id, known.text, known.arrival.rows, known.arrival.walks))
        self._known.pop(tenant_id, None)
        self._api.telemetry.log.info("tenant imported", tenant_id=tenant_id, rows=known.arrival.rows)
        return Response(200, encode(ImportJudged(done=True, judged=known.arrival.rows)))

    async def abandon(self, request: Request) -> Response:
        """Remove a piece. Whoever asks goes on until it is done."""
        _, tenant_id = self._read(request, _ABANDON)
        self._known.pop(tenant_id, None)
        removed = 0
        end = trio.current_time() + PIECE_SECONDS
        while True:
            imported = await self._ask(AbandonImport(tenant_id))
            removed += imported.arrived
            if imported.done or trio.current_time() >= end:
                break
            await trio.sleep(PAUSE)
        if imported.done:
            self._api.telemetry.log.info("import abandoned", tenant_id=tenant_id)
        return Response(200, encode(ImportRemoved(done=imported.done, removed=removed)))

    def _read(self, request: Request, shape: msgspec.json.Decoder[_Body]) -> tuple[_Body, int]:
        """The body, and the tenant that it is about; whoever may not import is refused."""
        identity = self._api.service(request, IMPORT)
        self._api.paces.check_backend(identity)
        NO_QUERY.read(request)
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
            announced = msgspec.json.decode(text, type=ImportBegin)
            known = self._remember(tenant_id, text, announced, await self._get_columns())
        return known

    def _remember(self, tenant_id: int, text: str, announced: ImportBegin, columns: Columns) -> _Known:
        if len(self._known) >= MAX_UNDER_WAY:
            self._known.pop(next(iter(self._known)))
        known = self._known[tenant_id] = _Known(
            text, announced.manifest, announced.highest, Arrival(announced.manifest, columns)
        )
        return known

    async def _ask(self, command: ImportCommand) -> Imported:
        return await self._api.router.ask_nowait(command, self._api.settings.command_timeout)


_BEGIN = msgspec.json.Decoder(ImportBegin)
_ROWS = msgspec.json.Decoder(ImportRowsBody)
_FINISH = msgspec.json.Decoder(ImportFinish)
_ABANDON = msgspec.json.Decoder(ImportAbandon)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _told(method: Callable[[Importing, Request], Awaitable[Response]]) -> Handler:
    """A handler that answers what is wrong with a parcel as what is wrong with a request."""

    async def handle(api: Api, request: Request, _: dict[str, str]) -> Response:
        try:
            return await method(api.part(Importing), request)
        except ParcelError as error:
            raise Refused(Code.INVALID, str(error)) from None

    return handle


_SAYS = "This is what `djactors import` uses, and no other program should: its bodies change with the schema."
_REFUSES = (Code.NOT_FOUND, Code.CONFLICT)

ROUTES: Table = (
    Route(
        "POST",
        IMPORTS,
        _told(Importing.begin),
        "Announces an import of a tenant",
        INSTALLATION,
        {200: ImportBegun},
        says=_SAYS,
        body=Shape(ImportBegin),
        refuses=_REFUSES,
    ),
    Route(
        "POST",
        ROWS,
        _told(Importing.rows),
        "Brings rows of an import",
        INSTALLATION,
        {200: ImportArrived},
        says=_SAYS,
        body=Shape(ImportRowsBody),
        refuses=_REFUSES,
    ),
    Route(
        "POST",
        f"{IMPORTS}/finish",
        _told(Importing.finish),
        "Judges what has arrived of an import, piece by piece, and has the tenant served",
        INSTALLATION,
        {200: ImportJudged},
        says=_SAYS,
        body=Shape(ImportFinish),
        refuses=_REFUSES,
    ),
    Route(
        "POST",
        f"{IMPORTS}/abandon",
        _told(Importing.abandon),
        "Removes what has arrived of an import, piece by piece",
        INSTALLATION,
        {200: ImportRemoved},
        says=_SAYS,
        body=Shape(ImportAbandon, is_required=False),
        refuses=_REFUSES,
    ),
)
