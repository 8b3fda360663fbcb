"""What `djactors export --json` writes of a whole tenant, and what `djactors import` reads back.

The folder has a file of JSON lines for each table, one line for each row, and a manifest with the format, the schema,
counts, checksums, and where the tenant's log begins and ends. It is read in one snapshot beside a running server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec
import sqlite_utils

from djactors import __version__
from djactors.domain.marks import Offset
from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.inbox import schema, tenancy
from djactors.inbox.tenancy import PARTS, Part, Row
from djactors.operations.folders import FileEntry, FolderError, NewFolder, lines_of
from djactors.operations.inbox import snapshot_of
from djactors.operations.moving import Step
from djactors.store.connection import Connection
from djactors.store.engines import Place, shown
from djactors.store.sqlite.blueprint import Column, columns_of

FORMAT = "djactors tenant"
VERSION = 1
"""Of the folder. Who changes what a reader of it relies on counts on."""

Report = Callable[[Step], None]


class End(msgspec.Struct, frozen=True):
    """An end of a tenant's log: the number of a change, and its mark as offsets show it."""

    seq: int
    mark: int
    offset: str

    @classmethod
    def of(cls, offset: Offset) -> End:
        """The end at an offset."""
        return cls(offset.seq, offset.mark, str(offset))


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What the folder says of itself.

    Attributes:
        schema: the migrations that its tables are of, with their checksums.
        last: the tenant's newest change.
        oldest: up to where its log was purged.
    """

    format: str
    version: int
    made_by: str
    exported_at: str
    tenant_id: int
    schema: dict[str, str]
    last: End
    oldest: End
    files: dict[str, FileEntry] = {}


class Columns:
    """What the tables of a tenant are like."""

    def __init__(self, blueprint: sqlite_utils.Database) -> None:
        self._columns = {
            part.name: tuple(
                column
                for column in columns_of(blueprint, part.name)
                if (part.name, column.name) not in tenancy.LEFT_OUT_COLUMNS
            )
            for part in PARTS
        }

    def of(self, part: Part) -> tuple[Column, ...]:
        """The columns of a table that are handed over."""
        return self._columns[part.name]

    def names(self, part: Part) -> list[str]:
        """Their names."""
        return [column.name for column in self.of(part)]

    def lines(self, connection: Connection, part: Part, tenant_id: int) -> Iterator[list[bytes]]:
        """A tenant's rows of a table, as they stand in the folder. Every engine has the same lines."""
        columns, names = self.of(part), self.names(part)
        for rows in tenancy.rows(connection, part, names, tenant_id):
            yield lines_of(names, (plain(columns, row) for row in rows))


def plain(columns: tuple[Column, ...], row: Row) -> list[object]:
    """A row in which truth is a bool on every engine."""
    return [
        bool(value) if column.kind == "boolean" and value is not None else value
        for column, value in zip(columns, row, strict=True)
    ]


def file_of(part: Part) -> str:
    """The file of a table."""
    return f"{part.name}.jsonl"


def export(
    place: Place, folder: str, tenant_id: int, report: Report, now: Callable[[], datetime] = WALL_CLOCK
) -> Manifest:
    """Write a tenant into a new folder. Blocks.

    Raises:
        FolderError: the folder is there already, or the database has no such tenant.
        StoreBroken, MigrationError: the database cannot be read.
        OSError: the folder cannot be written.
    """
    columns = Columns(schema.blueprint())
    with snapshot_of(place) as connection:
        if not tenancy.knows(connection, tenant_id):
            raise FolderError(f"--tenant: {shown(place)} has no tenant {tenant_id}")
        last, oldest = tenancy.end_of(connection, tenant_id)
        manifest = Manifest(
            FORMAT,
            VERSION,
            f"djactors {__version__}",
            utc_text(now()),
            tenant_id,
            schema.checksums(),
            End.of(last),
            End.of(oldest),
        )
        with NewFolder(folder) as target:
            done = 0
            for part in PARTS:
                done = _write(target, part, columns.lines(connection, part, tenant_id), done, report)
            target.keep({key: value for key, value in msgspec.to_builtins(manifest).items() if key != "files"})
            return msgspec.structs.replace(manifest, files=target.entries)


def _write(target: NewFolder, part: Part, slices: Iterator[list[bytes]], done: int, report: Report) -> int:
    def counted() -> Iterator[list[bytes]]:
        nonlocal done
        report(Step("writing", part.name, done, None))
        for lines in slices:
            yield lines
            done += len(lines)
            report(Step("writing", part.name, done, None))

    target.write(file_of(part), counted())
    return done
