"""What `djactors import` does: brings a tenant that was exported as JSON into a database, as it was.

    folder ── checksums, counts, values ── scratch database ── references, marks ── database ── read back, compared

Everything is proved on a scratch database before the real one is touched. The real one then takes all of it in one
transaction, and what it has is written as JSON once more, whose checksums must be the folder's.

So it is where no server runs. Beside a server the same proof comes first, and the tenant goes through the server then
(`sending_in`), because one transaction would keep everybody waiting for minutes.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from djactors.domain.times import WALL_CLOCK
from djactors.inbox import importing, schema, tenancy
from djactors.inbox import moving as installation
from djactors.inbox.parcels import Columns, Digest, End, FileEntry, Manifest, ParcelError, file_of, plain
from djactors.inbox.tenancy import PARTS, BrokenChainError, Part
from djactors.operations.asking import NotDoneError
from djactors.operations.folders import FolderError, manifest_of, read
from djactors.operations.moving import Step, require_installation, require_no_nodes
from djactors.store.connection import Connection
from djactors.store.engines import Place, engine_at
from djactors.store.errors import RowRefused, StoreUnavailable
from djactors.store.moving import ROWS_AT_A_TIME, Addition, Table

Report = Callable[[Step], None]


def bring_in(place: Place, folder: str, report: Report, now: Callable[[], datetime] = WALL_CLOCK) -> Manifest:
    """Bring a tenant into a database that does not have it. Blocks. If it fails, the database is as it was.

    Raises:
        FolderError: the folder is not what its manifest says, or is of another version.
        NotDoneError: the database has the tenant already, or one of its ids.
        DatabaseLocked: a server runs on it.
        StoreError: it cannot be written.
        OSError: there is no place for the scratch database.
    """
    try:
        return _bring_in(place, folder, report, now)
    except sqlite3.Error as error:
        # Those of the database itself are told by its engine.
        raise StoreUnavailable(
            f"the scratch database in {tempfile.gettempdir()}: {error}: set TMPDIR to a folder with room"
        ) from error


def _bring_in(place: Place, folder: str, report: Report, now: Callable[[], datetime]) -> Manifest:
    engine = engine_at(place)
    require_installation(place, engine.name, may_be_new=True)
    with staged(folder, report) as parcel, engine.addition() as target:
        require_no_nodes(engine.name, target, now())
        _Arrival(parcel, target, report).done(engine.name)
        target.keep()
    return parcel.manifest


@dataclass(frozen=True)
class Staged:
    """A tenant that was read from a folder and proved, on a scratch database."""

    manifest: Manifest
    connection: Connection
    columns: Columns


@contextmanager
def staged(folder: str, report: Report) -> Iterator[Staged]:
    """Read a tenant from a folder and prove it.

    Raises:
        FolderError: the folder is not what its manifest says, or is of another version.
        OSError: there is no place for the scratch database.
    """
    source = Path(folder)
    manifest = announced(source)
    with tempfile.TemporaryDirectory(prefix="djactors-import-") as scratch:
        staging = schema.blueprint(os.path.join(scratch, "staging.db"))
        connection: Any = staging.conn
        with closing(connection):
            columns = Columns(staging)
            _Staging(staging, source, manifest, columns, report).fill()
            yield Staged(manifest, connection, columns)


def announced(folder: Path) -> Manifest:
    """What a folder says of itself.

    Raises:
        FolderError: it is no folder of a tenant, or one of another version.
    """
    text = manifest_of(folder)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise FolderError(f"{folder}: manifest.json is none of a tenant: {error}: export again") from None
    try:
        manifest.check(str(folder))
    except ParcelError as error:
        raise FolderError(str(error)) from None
    return manifest


class _Staging:
    """Fills a scratch database from the folder, and judges it."""

    def __init__(self, staging: Any, folder: Path, manifest: Manifest, columns: Columns, report: Report) -> None:
        self._staging = staging
        self._folder = folder
        self._manifest = manifest
        self._columns = columns
        self._report = report
        self._rows = 0
        self._total = manifest.rows

    def fill(self) -> None:
        for part in PARTS:
            self._report(Step("reading", part.name, self._rows, self._total))
            # By sqlite-utils, in batches of its own; a row that is there twice is refused.
            try:
                self._staging.table(part.name).insert_all(self._records(part), batch_size=ROWS_AT_A_TIME)
            except sqlite3.IntegrityError as error:
                raise FolderError(f"{self._folder / file_of(part)}: {error}: export again") from None
        self._require_references()
        self._require_chain()

    def _records(self, part: Part) -> Iterator[dict[str, Any]]:
        name = file_of(part)
        for lines in read(self._folder, name, self._manifest.files[name], ROWS_AT_A_TIME):
            for line in lines:
                self._rows += 1
                try:
                    yield self._columns.record(part, self._manifest.tenant_id, line)
                except ParcelError as error:
                    raise FolderError(f"{self._folder / name}: {error}") from None
            self._report(Step("reading", part.name, self._rows, self._total))

    def _require_references(self) -> None:
        if not tenancy.knows(self._staging.conn, self._manifest.tenant_id):
            raise FolderError(f"{self._folder}: tenants.jsonl has no tenant {self._manifest.tenant_id}")
        orphan = self._staging.conn.execute("PRAGMA foreign_key_check").fetchone()
        if orphan is not None:
            raise FolderError(f"{self._folder}: a row of {orphan[0]} points at a row of {orphan[2]} that is missing")

    def _require_chain(self) -> None:
        connection, tenant_id = self._staging.conn, self._manifest.tenant_id
        total = self._manifest.files["changes.jsonl"].rows
        try:
            for done in tenancy.check_chain(connection, tenant_id):
                self._report(Step("verifying the marks of", "changes", done, total))
        except BrokenChainError as error:
            raise FolderError(f"{self._folder}: {error}: export again") from None
        last, oldest = map(End.of, tenancy.end_of(connection, tenant_id))
        if (last, oldest) != (self._manifest.last, self._manifest.oldest):
            raise FolderError(f"{self._folder}: the log does not begin and end as manifest.json says: export again")


class _Arrival:
    """Takes a tenant from the scratch database into the real one, and compares."""

    def __init__(self, parcel: Staged, target: Addition, report: Report) -> None:
        manifest = parcel.manifest
        self._staged = parcel.connection
        self._target = target
        self._manifest = manifest
        self._tenant_id = manifest.tenant_id
        self._columns = parcel.columns
        self._report = report
        self._rows = 0
        self._total = manifest.rows

    def done(self, name: str) -> None:
        connection = self._target.connection
        if tenancy.knows(connection, self._tenant_id):
            if self._tenant_id in importing.under_way(connection):
                raise NotDoneError(
                    f"{name} has a part of tenant {self._tenant_id}, of an import that was not finished: run this "
                    "command with --abandon, and then again"
                )
            raise NotDoneError(f"{name} has tenant {self._tenant_id} already: a tenant is imported where it is not yet")
        given = installation.numbers_given(connection)
        tables = {table.name: table for table in self._target.tables()}
        for part in PARTS:
            self._require_free(part, name)
            self._add(part, tables[part.name])
        tenancy.fold_names(connection, self._tenant_id)
        staged = installation.numbers_given(self._staged)
        installation.go_on_behind(connection, {kind: max(number, staged[kind]) for kind, number in given.items()})
        installation.begin_walks_anew(connection)
        self._rows = 0
        for part in PARTS:
            self._compare(part)

    def _require_free(self, part: Part, name: str) -> None:
        if part.name not in tenancy.IDS_OF_ALL:
            return
        for rows in tenancy.rows(self._staged, part, ["id"], self._tenant_id):
            taken = tenancy.first_taken(self._target.connection, part.name, [id_ for (id_,) in rows])
            if taken is not None:
                raise NotDoneError(
                    f"{part.name}: the id {taken} is another tenant's in {name}: ids are of the whole installation, "
                    "and clients know them, so they stay: import into a new database"
                )

    def _add(self, part: Part, table: Table) -> None:
        names = self._columns.names(part)
        left_out = {
            column: value for (table_, column), value in tenancy.LEFT_OUT_COLUMNS.items() if table_ == part.name
        }
        columns = self._columns.of(part)

        def slices() -> Iterator[list[tuple[object, ...]]]:
            self._report(Step("importing", part.name, self._rows, self._total))
            for rows in tenancy.rows(self._staged, part, names, self._tenant_id):
                values = (left_out | dict(zip(names, plain(columns, row), strict=True)) for row in rows)
                yield [tuple(value[column] for column in table.columns) for value in values]
                self._rows += len(rows)
                self._report(Step("importing", part.name, self._rows, self._total))

        try:
            self._target.add(table, slices())
        except RowRefused as error:
            raise NotDoneError(f"{part.name}: {error}: nothing was imported") from error

    def _compare(self, part: Part) -> None:
        digest = Digest()
        for lines in self._columns.lines(self._target.connection, part, self._tenant_id):
            digest.add(lines)
            self._rows += len(lines)
            self._report(Step("verifying", part.name, self._rows, self._total))
        expected: FileEntry = self._manifest.files[file_of(part)]
        if digest.entry != expected:
            raise NotDoneError(f"{part.name}: what arrived is not what was exported: report this as a bug")
