"""How a tenant is handed over: a line of JSON for each row of each table, and a manifest that says what there is.

Whoever takes a parcel in believes nothing of it. The manifest is held to the schema of this program, and each line to
what this program would have written itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import sqlite_utils

from djactors.domain.marks import Offset
from djactors.inbox import schema, tenancy
from djactors.inbox.contents import Rule, rule_of
from djactors.inbox.tenancy import PARTS, Part, Row
from djactors.store.connection import Connection
from djactors.store.sqlite.blueprint import Column, columns_of

FORMAT = "djactors tenant"
VERSION = 1
"""Of the folder. Who changes what a reader of it relies on counts on."""

encode = msgspec.json.Encoder().encode


class ParcelError(Exception):
    """A parcel is not what it should be; the message says why, and what to do."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of lines, as its manifest describes it.

    Attributes:
        rows: how many lines it has.
        sha256: of all of its bytes, in hex.
    """

    rows: int
    bytes: int
    sha256: str


class Digest:
    """Counts lines and their bytes, and hashes them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._rows = self._bytes = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Take in lines, each with its end."""
        for line in lines:
            self._hash.update(line)
            self._rows += 1
            self._bytes += len(line)

    @property
    def entry(self) -> FileEntry:
        """What was taken in."""
        return FileEntry(self._rows, self._bytes, self._hash.hexdigest())


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
    """What there is of a tenant.

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

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(entry.rows for entry in self.files.values())

    def check(self, name: str) -> None:
        """See to it that this program can take the parcel in. `name` is what messages call it.

        Raises:
            ParcelError: it cannot.
        """
        if (self.format, self.version) != (FORMAT, VERSION):
            raise ParcelError(
                f"{name} is a {self.format!r} of version {self.version}, not a {FORMAT!r} of version {VERSION}: "
                "import it with the version of djactors that has exported it"
            )
        if self.schema != schema.checksums():
            lacks = sorted(schema.checksums().keys() - self.schema.keys())
            more = sorted(self.schema.keys() - schema.checksums().keys())
            differs = f"lacks {', '.join(lacks)}" if lacks else f"has {', '.join(more)} as well" if more else "differs"
            raise ParcelError(
                f"{name} is of another schema: it {differs}: import it with {self.made_by} into a new database, "
                "upgrade that, and export again"
            )
        missing = sorted({file_of(part) for part in PARTS} ^ self.files.keys())
        if missing:
            raise ParcelError(f"{name}: manifest.json does not name the files of this version: {', '.join(missing)}")


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
        self._rules: dict[str, Mapping[str, Rule | None]] = {
            name: {column.name: rule_of(name, column.name) for column in columns}
            for name, columns in self._columns.items()
        }

    def of(self, part: Part) -> tuple[Column, ...]:
        """The columns of a table that are handed over."""
        return self._columns[part.name]

    def names(self, part: Part) -> list[str]:
        """Their names."""
        return [column.name for column in self.of(part)]

    def lines(self, connection: Connection, part: Part, tenant_id: int) -> Iterator[list[bytes]]:
        """A tenant's rows of a table, as they are handed over. Every engine has the same lines."""
        for rows in tenancy.rows(connection, part, self.names(part), tenant_id):
            yield self.lines_of(part, rows)

    def lines_of(self, part: Part, rows: Iterable[Row]) -> list[bytes]:
        """Rows of a table as lines."""
        columns = self.of(part)
        return lines_of(self.names(part), (plain(columns, row) for row in rows))

    def record(self, part: Part, tenant_id: int, line: bytes) -> dict[str, Any]:
        """A row of a tenant from its line.

        Raises:
            ParcelError: no export would have written it.
        """
        columns, rules = self.of(part), self._rules[part.name]
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise _wrong(line, f"is no JSON object: {error}") from None
        if list(record) != [column.name for column in columns]:
            raise _wrong(line, f"has other columns than {', '.join(self.names(part))}")
        for column in columns:
            value, rule = record[column.name], rules[column.name]
            wrong = column.wrong(value)
            if wrong is None and rule is not None and value is not None:
                wrong = rule(value)
            if wrong is not None:
                raise _wrong(line, f"{column.name} {wrong}")
        whose = record["id"] if part.name == "tenants" else record.get("tenant_id", tenant_id)
        if whose != tenant_id:
            raise _wrong(line, f"is of tenant {whose}, not {tenant_id}")
        if encode(record) + b"\n" != line:
            # It has blanks, other ends of lines or a name twice, and what arrived could not be compared with it.
            raise _wrong(line, "is not as an export writes it")
        return record


def _wrong(line: bytes, why: str) -> ParcelError:
    shown = line[:80].decode(errors="replace").rstrip()
    return ParcelError(f"the row that begins with {shown} {why}: export again")


def plain(columns: tuple[Column, ...], row: Row) -> list[object]:
    """A row in which truth is a bool on every engine."""
    return [
        bool(value) if column.kind == "boolean" and value is not None else value
        for column, value in zip(columns, row, strict=True)
    ]


def lines_of(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> list[bytes]:
    """Rows as lines of JSON."""
    names = tuple(columns)
    return [encode(dict(zip(names, row, strict=True))) + b"\n" for row in rows]


def file_of(part: Part) -> str:
    """The file of a table."""
    return f"{part.name}.jsonl"
