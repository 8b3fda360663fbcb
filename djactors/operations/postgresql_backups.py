"""What `djactors backup` and `restore` do on PostgreSQL: name its own programs, and check what these have written.

A dump in the custom format is read whole by `pg_restore`, without a database. That finds a dump that was cut off, which
`pg_restore --list` does not. What it holds is compared with the database by the number of rows in each table and by the
end of each tenant's log, whose mark stands for all that came before. What `djactors probe` leaves is nobody's, and when
a dump was checked is noted behind the dump, so neither is counted.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from djactors.domain.marks import Offset
from djactors.domain.reserved import PROBE_TENANT
from djactors.inbox import copies, importing, schema
from djactors.inbox import moving as installation
from djactors.inbox.log import holds, reach_in_part
from djactors.inbox.losses import Loss, loss_beyond, tenants
from djactors.inbox.proving import LogBrokenError, Proved, prove
from djactors.store.connection import Connection
from djactors.store.engines import engine_at, shown
from djactors.store.errors import StoreError

__all__ = [
    "AheadError",
    "DumpRefusedError",
    "check_dump",
    "check_restored",
    "command_to_dump",
    "command_to_restore",
    "note_dump",
]

CLIENTS = "install PostgreSQL's client programs, such as by `apt-get install postgresql-client`"

SELECT_SCHEMA = "SELECT current_schema()"
SELECT_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"

_COPY = re.compile(rb'COPY \S+?\."?(?P<table>\w+)"? \((?P<columns>[^)]*)\) FROM stdin;\n')


_CREATED = re.compile(r"^;\s+Archive created at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", re.MULTILINE)
"""When pg_dump began, in the list of what a dump holds. It is in local time, whatever abbreviation follows."""


class DumpRefusedError(StoreError):
    """There is no good dump, or no database that was restored from it; the message says why, and what to do."""


class AheadError(DumpRefusedError):
    """The database has what the dump lacks.

    Attributes:
        losses: of each tenant that would lose something.
    """

    def __init__(self, message: str, losses: tuple[Loss, ...]) -> None:
        super().__init__(message)
        self.losses = losses


@dataclass(frozen=True, slots=True)
class Dump:
    """What a dump holds.

    Attributes:
        rows: how many rows each table has that count.
        ends: the newest change of each tenant that counts.
        columns: the columns of each table.
    """

    rows: Mapping[str, int]
    ends: Mapping[int, Offset]
    columns: Mapping[str, Sequence[str]]


def command_to_dump(url: str, to: str | os.PathLike[str]) -> str:
    """The command that writes a database to a file. Its password is looked for where libpq looks.

    Raises:
        StoreError: the database cannot be asked for its schema.
    """
    name = _schema_of(url)
    # A dump of the schema `public` alone would begin by making that, and no database lacks it.
    schemas = [] if name in (None, "public") else [f"--schema={name}"]
    return shlex.join(["pg_dump", "--format=custom", *schemas, f"--file={os.fspath(to)}", _for_libpq(url)])


def command_to_restore(url: str, dump: str | os.PathLike[str]) -> str:
    """The command that puts what `command_to_dump` wrote into an empty database.

    Raises:
        StoreError: the database cannot be asked for its schema.
    """
    options = ["--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={_for_libpq(url)}"]
    name = _schema_of(url)
    if name not in (None, "public"):
        # It is there already, and is not to be made.
        options.append(f"--schema={name}")
    return shlex.join(["pg_restore", *options, os.fspath(dump)])


def check_dump(url: str, path: str | os.PathLike[str]) -> Dump:
    """Check that a file is a whole dump of a database, as it is now or was before.

    Raises:
        DumpRefusedError: it is not.
        StoreError: the database cannot be read.
    """
    with engine_at(url).reading() as connection:
        tables = {name for (name,) in connection.execute(SELECT_TABLES).fetchall()}
        dump = _read(Path(path), tables)
        strangers = [
            tenant_id for tenant_id, end in dump.ends.items() if not _is_of_the_past(connection, tenant_id, end)
        ]
    if strangers:
        raise DumpRefusedError(
            f"{path} holds a log of tenant {strangers[0]} that {shown(url)} has never had: it is the dump of another "
            "database, or an older dump was restored since; make a new one"
        )
    return dump


def note_dump(url: str, path: str | os.PathLike[str]) -> None:
    """Note in the database of what moment a checked dump of it is, so that the servers can tell how old it is.

    The time in the dump counts, because that of the file is another one once it was copied. The dump does not say in
    which time zone it was made, so it is taken to be that of this process.

    Raises:
        DumpRefusedError: the dump does not say.
        StoreError: the database cannot be written.
    """
    from djactors.store.postgresql.engine import PostgresEngine

    command = [_pg_restore(), "--list", os.path.abspath(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=_in_english(), check=False)  # noqa: S603 - no shell
    created = _CREATED.search(done.stdout)
    if created is None:
        raise DumpRefusedError(f"pg_restore --list {path} does not say when the dump was made")
    with PostgresEngine(url).writing() as connection:
        copies.note(connection, datetime.fromisoformat(created[1]).astimezone().timestamp())


def check_restored(url: str, path: str | os.PathLike[str], report: Callable[[int, int], None]) -> Proved:
    """Check that a database holds what a dump holds, and that its log is sound. Nobody may have written to it yet.

    Args:
        url: the database.
        path: the dump that it was restored from.
        report: told how many changes are proved, and of how many.

    Raises:
        AheadError: it has more.
        DumpRefusedError: there is nothing in it, or something else.
        StoreError: it cannot be read.
    """
    if _schema_of(url) is None or len(schema.inspect(url)) == len(schema.names()):
        raise DumpRefusedError(
            f"{shown(url)} is empty, and PostgreSQL is restored by its own program: run "
            f"`{command_to_restore(url, path)}`, and then `djactors restore` again, which checks what that has written"
        )
    with engine_at(url).reading() as connection:
        tables = {name for (name,) in connection.execute(SELECT_TABLES).fetchall()}
        dump = _read(Path(path), set())
        ahead = tuple(_beyond(connection, dump))
        if ahead:
            raise AheadError(
                f"{shown(url)} has what {path} lacks, and nothing was changed: to go back to {path}, make an empty "
                "database, and run `djactors restore` with --database for that",
                ahead,
            )
        for table in sorted((dump.rows.keys() & tables) - installation.LEFT_BEHIND):
            rows = _rows(connection, table, dump.columns[table])
            if rows != dump.rows[table]:
                raise DumpRefusedError(
                    f"{shown(url)} has {rows} rows in {table}, and {path} has {dump.rows[table]}: restore it into an "
                    "empty database once more"
                )
        if lacking := sorted(dump.rows.keys() - tables):
            raise DumpRefusedError(f"{shown(url)} lacks {', '.join(lacking)}: restore it into an empty database")
        try:
            return prove(connection, report, importing.under_way_if_known(connection, schema.inspect(url)))
        except LogBrokenError as error:
            raise DumpRefusedError(f"the log in {shown(url)} is damaged: {error}") from error


def _schema_of(url: str) -> str | None:
    """The schema in which the tables are or would be made; None if the one that the URL names is not there."""
    with engine_at(url).reading() as connection:
        name: str | None = connection.execute(SELECT_SCHEMA).fetchone()[0]
    return name


def _is_of_the_past(connection: Connection, tenant_id: int, end: Offset) -> bool:
    ends = reach_in_part(connection, tenant_id)
    # Of what was purged since nobody can tell any more.
    return end.seq < ends.oldest.seq or holds(connection, tenant_id, end, ends)


def _beyond(connection: Connection, dump: Dump) -> Iterator[Loss]:
    for tenant_id, name in tenants(connection):
        last, end = reach_in_part(connection, tenant_id).last, dump.ends.get(tenant_id, Offset(0, 0))
        if last.seq > end.seq:
            yield loss_beyond(connection, tenant_id, name, last.seq, end.seq)


def _read(path: Path, tables: set[str]) -> Dump:
    """Read a whole dump, which must have these tables."""
    if not path.is_file():
        raise DumpRefusedError(f"{path} is not there, or no file: name a dump that pg_dump has written")
    program_file = _pg_restore()
    rows: dict[str, int] = {}
    ends: dict[int, Offset] = {}
    columns: dict[str, Sequence[str]] = {}
    with tempfile.TemporaryFile() as errors:
        command = [program_file, "--file=-", str(path.absolute())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=_in_english()) as program:  # noqa: S603 - no shell
            assert program.stdout is not None
            for table, names, lines in _tables_of(program.stdout):
                columns[table] = names
                rows[table] = rows.get(table, 0) + _count(table, names, lines, ends)
        if program.returncode != 0:
            errors.seek(0)
            said = errors.read(1000).decode(errors="replace").strip()
            raise DumpRefusedError(f"{path} is no whole dump ({said}): make a new one")
    if lacking := sorted(tables - rows.keys()):
        raise DumpRefusedError(f"{path} lacks {', '.join(lacking)}: make a new dump of the whole database")
    return Dump(rows, ends, columns)


def _pg_restore() -> str:
    program_file = shutil.which("pg_restore")
    if program_file is None:
        raise DumpRefusedError(f"pg_restore is missing: {CLIENTS}")
    return program_file


def _in_english() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _tables_of(script: Iterator[bytes]) -> Iterator[tuple[str, list[str], Iterator[bytes]]]:
    """The tables in a script of pg_restore, each with the lines of its rows, which are to be read before the next."""
    for line in script:
        begin = _COPY.fullmatch(line)
        if begin is not None:
            columns = [name.strip('" ') for name in begin["columns"].decode().split(",")]
            yield begin["table"].decode(), columns, iter(lambda: next(script, b"\\.\n"), b"\\.\n")


def _count(table: str, columns: list[str], lines: Iterator[bytes], ends: dict[int, Offset]) -> int:
    """How many rows there are that count; of the tables that tell of the log, note where it ends."""
    passed_over = _passed_over(table, columns)
    if passed_over is None:
        return sum(1 for _ in lines)
    column, value = passed_over
    key, ignored = columns.index(column), str(value).encode()
    names = {"changes": ("tenant_id", "seq", "mark"), "tenants": ("id", "oldest_seq", "oldest_mark")}.get(table)
    places = [columns.index(name) for name in names or ()]
    last = max(key, *places) if places else key
    number = 0
    for line in lines:
        fields = line.rstrip(b"\n").split(b"\t", last + 1)
        if fields[key] == ignored:
            continue
        number += 1
        if places:
            tenant_id, seq, mark = (int(fields[place]) for place in places)
            if tenant_id not in ends or seq > ends[tenant_id].seq:
                ends[tenant_id] = Offset(mark, seq)
    return number


def _rows(connection: Connection, table: str, columns: Sequence[str]) -> int:
    """How many rows of a table count in a database."""
    passed_over = _passed_over(table, columns)
    statement = f"SELECT count(*) FROM {table}"
    if passed_over is None:
        found = connection.execute(statement)
    else:
        column, value = passed_over
        found = connection.execute(f"{statement} WHERE {column} <> ?", (value,))
    number: int = found.fetchone()[0]
    return number


def _passed_over(table: str, columns: Sequence[str]) -> tuple[str, int | str] | None:
    """A column and the value of it with which rows of a table do not count; None if all of them do."""
    if table == "counters":
        return "name", copies.COPIED
    column = "id" if table == "tenants" else "tenant_id"
    return (column, PROBE_TENANT) if column in columns else None


def _for_libpq(url: str) -> str:
    """A URL without its password, and without what only this program reads."""
    head, mark, query = shown(url).partition("?")
    kept = [part for part in query.split("&") if not part.startswith("prepared_statements=")]
    return head + (mark + "&".join(kept) if any(kept) else "")
