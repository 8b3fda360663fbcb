"""The numbered files of SQL that make a schema, and which databases they fit; nothing here touches a database.

Rules:

- A file is `NNNN_name.sql`, numbered from 0001 without a gap. One text serves SQLite and PostgreSQL. A line that ends
  with the comment `-- sqlite only` or `-- postgresql only` is for that engine; `lines_for` leaves it out of the other.
  So a column that the engines spell differently is two lines, each with its mark:

      id INTEGER NOT NULL PRIMARY KEY,  -- sqlite only
      id BIGINT NOT NULL PRIMARY KEY,   -- postgresql only
- Each file is applied in one transaction together with its record in `schema_migrations` (name, SHA-256, time). So a
  killed migration leaves nothing behind, and the next start applies it again. The transaction of the first file also
  runs the `seed`, which writes what a new database begins with.
- A file must not change once it was applied. A changed file, an unknown one, or a database that is newer than the
  program is refused.
- A file whose name ends with `.compatible.sql` leaves everything as it was that the version before it uses: that
  version may go on to serve the database, while its nodes are replaced one after the other. The name says so, because
  the older program has only the name, in `schema_migrations`.
"""

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources.abc import Traversable
from typing import Literal

from djactors.store.connection import Connection
from djactors.store.errors import MigrationError

__all__ = [
    "COMPATIBLE",
    "CREATE_RECORDS",
    "INSERT_RECORD",
    "RECORDS_COLUMNS",
    "Clock",
    "Dialect",
    "Migration",
    "Schema",
    "Seed",
    "lines_for",
    "pending_of",
    "read_migrations",
    "statements",
    "utc_now",
]

Clock = Callable[[], str]
"""Returns the present time as the text that is stored."""

Dialect = Literal["sqlite", "postgresql"]
Seed = Callable[[Connection], None]

_ENGINE_MARK = re.compile(r"--\s*(?P<engine>sqlite|postgresql) only\s*$")

COMPATIBLE = ".compatible.sql"
"""The end of the name of a migration that the version before it can live with."""

_FILE_NAME = re.compile(rf"(?P<number>\d{{4}})_[a-z0-9_]+(?:{re.escape(COMPATIBLE)}|\.sql)", re.ASCII)

CREATE_RECORDS = """
CREATE TABLE schema_migrations (
    name VARCHAR(255) NOT NULL PRIMARY KEY,
    checksum VARCHAR(64) NOT NULL,
    applied_at VARCHAR(27) NOT NULL
)"""
RECORDS_COLUMNS = {"name", "checksum", "applied_at"}
INSERT_RECORD = "INSERT INTO schema_migrations (name, checksum, applied_at) VALUES (?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str
    checksum: str
    """SHA-256 of the file's bytes, in hex."""


def _nothing(_: Connection) -> None:
    """The default seed: the database begins empty."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that a database should have.

    Attributes:
        migrations: the files that make it, in order.
        seed: writes the rows that a new database begins with.
        retired: checksums of migrations that this program no longer supports, each with the message for the owner of a
            database that has it: what the file is, and the mend.
    """

    migrations: Sequence[Migration]
    seed: Seed = _nothing
    retired: Mapping[str, str] = field(default_factory=dict)


def read_migrations(directory: Traversable) -> list[Migration]:
    """All migrations of a directory, in order.

    Raises:
        MigrationError: a file has another name than `NNNN_name.sql`, or the numbers have a gap or a duplicate.
    """
    found = []
    for file in directory.iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{file.name}: a migration is named NNNN_name.sql, in lower case")
        content = file.read_bytes()
        found.append(Migration(int(match["number"]), file.name, content.decode(), hashlib.sha256(content).hexdigest()))
    found.sort(key=lambda migration: migration.name)
    for expected, migration in enumerate(found, start=1):
        if migration.number == 0:
            raise MigrationError(f"{migration.name}: migrations are numbered from 0001")
        if migration.number < expected:
            raise MigrationError(f"{migration.name}: the number {migration.number:04} is given twice")
        if migration.number > expected:
            raise MigrationError(f"{migration.name}: the migration before it, {expected:04}, is missing")
    if not found:
        raise MigrationError("this installation carries no migrations: install djactors again")
    return found


def lines_for(engine: Dialect, script: str) -> str:
    """Leave out the lines of a script that are marked for the other engine; see the rules above."""
    kept = []
    for line in script.splitlines(keepends=True):
        mark = _ENGINE_MARK.search(line)
        if mark is None or mark["engine"] == engine:
            kept.append(line)
    return "".join(kept)


def statements(script: str) -> Iterator[str]:
    """Split a script into its statements, at the semicolons that end one for SQLite's own lexer.

    `sqlite3.Connection.executescript` is not used, because it commits before it runs. The text after the last
    semicolon, usually comments, is the last item.
    """
    start = end = 0
    while (end := script.find(";", end) + 1) > 0:
        candidate = script[start:end]
        if sqlite3.complete_statement(candidate):
            yield candidate.strip()
            start = end
    rest = script[start:].strip()
    if rest:
        yield rest


def utc_now() -> str:
    """The present time, as the text that is stored."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def pending_of(applied: Mapping[str, str], schema: Schema) -> list[Migration]:
    """List the migrations that a database still lacks, in order.

    Args:
        applied: what the database has, as it notes it: the checksum of each migration by its name.
        schema: what it should have.

    Raises:
        MigrationError: the database is newer than the program, or a file changed after it was applied.
    """
    for checksum in applied.values():
        if checksum in schema.retired:
            raise MigrationError(schema.retired[checksum])
    _refuse_other_history(applied, schema.migrations)
    return list(schema.migrations[len(applied) :])


def _refuse_other_history(applied: Mapping[str, str], migrations: Sequence[Migration]) -> None:
    """Raise unless the applied migrations are the first of our files, unchanged."""
    known = {migration.name: migration for migration in migrations}
    for name, checksum in sorted(applied.items()):
        ours = known.get(name)
        if ours is None:
            if name > migrations[-1].name:
                if name.endswith(COMPATIBLE):
                    continue
                raise MigrationError(
                    f"it is newer than this program (it has {name}): upgrade djactors, or put back the copy that was "
                    "made before the upgrade"
                )
            raise MigrationError(f"it has the migration {name}, which this program does not know: wrong installation?")
        if ours.checksum != checksum:
            raise MigrationError(
                f"{name} was changed after it was applied: restore the file and write a new migration instead"
            )
    for migration in migrations[: len(applied)]:
        if migration.name not in applied:
            raise MigrationError(f"{migration.name} was never applied, but later ones were: restore a backup")
