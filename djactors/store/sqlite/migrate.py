"""Brings a database file to a schema (see `djactors.store.migrations`), creating the file if it is missing.

Rules:

- A file that is not ours is never touched, whether it is no database, is corrupt, or belongs to another program.
- A database is not made where one was and is gone, and is not opened with a write-ahead log that belongs to another
  file: SQLite would move the log into it, and destroy both. A connection that only reads leaves both as they are.
- Whoever holds the lock has on the disk what the log holds before anybody reads it. A process that was killed in the
  middle of a commit leaves a log that was written and not synced. SQLite takes its last commit for done, so clients
  would be told of it, and a power loss could still undo it.

The caller holds the `DatabaseLock`. Everything here blocks, so call it before the event loop serves.
"""

import errno
import os
import sqlite3
from contextlib import closing

import sqlite_utils

from djactors.store.errors import MigrationError
from djactors.store.migrations import (
    CREATE_RECORDS,
    INSERT_RECORD,
    RECORDS_COLUMNS,
    Clock,
    Migration,
    Schema,
    Seed,
    lines_for,
    pending_of,
    statements,
    utc_now,
)
from djactors.store.sqlite import durable
from djactors.store.sqlite.connection import SqliteConnection, connect
from djactors.store.sqlite.connections import BUSY_TIMEOUT, require_writable
from djactors.store.sqlite.integrity import damage
from djactors.store.sqlite.lock import is_as_noted, is_half_moved, is_held_here, missing_database
from djactors.store.sqlite.room import NO_ROOM, shortage
from djactors.store.upgrading import UNWATCHED, Contents, Costs, UpgradeStopped, Watcher, require_going_on

__all__ = ["COSTS", "apply", "contents", "inspect", "pending", "pending_on"]

COSTS = Costs(check=0.6, index=1.5, write=4.0)
"""Measured with three million rows, 440 MiB, on two cores with other work to do."""

INSTRUCTIONS_A_LOOK = 100_000
"""SQLite's own instructions between two looks whether to go on: some 5 ms, and no hundredth of the time."""


_AUTO_VACUUM_INCREMENTAL = 2

_MAGIC = b"SQLite format 3\0"
"""https://www.sqlite.org/fileformat.html, section 1.3"""

_NO_DATABASE = "it is not an SQLite database: name another file, or move this one away"

_FULL = "the disk is full: free some space and start again"

_NOT_TO_WRITE = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS})
"""Error numbers of a log that may not be written. Whoever writes to the database finds out what that means."""

_NOT_TO_BEGIN = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN})
"""SQLite's words for the same, and for a database to which somebody else is writing."""


def pending(database: sqlite_utils.Database, schema: Schema) -> list[Migration]:
    """List the migrations that an open database still lacks, in order. This only reads.

    Raises:
        MigrationError: the database is not ours, is newer than the program, or a file changed after it was applied.
        sqlite3.DatabaseError: the file is not a database or is corrupt.
    """
    tables = database.table_names()
    if "schema_migrations" not in tables:
        if tables:
            raise MigrationError(
                "it is an SQLite database of another program: name another file, or move this one away"
            )
        return list(schema.migrations)
    records = database["schema_migrations"]
    if {column.name for column in records.columns} != RECORDS_COLUMNS:
        raise MigrationError("it is an SQLite database of another program: name another file, or move this one away")
    applied = {row["name"]: row["checksum"] for row in records.rows}
    return pending_of(applied, schema)


def pending_on(connection: sqlite3.Connection, schema: Schema) -> list[Migration]:
    """As `pending`, of a connection."""
    return pending(_inspected(connection), schema)


def inspect(path: str | os.PathLike[str], schema: Schema) -> list[str]:
    """Name the migrations that a file still lacks, without changing or creating the file.

    Raises:
        MigrationError: as `apply` would.
    """
    _refuse_to_destroy(path)
    if not os.path.exists(path):
        return [migration.name for migration in schema.migrations]
    with _refusing(path), closing(connect(path, "rw", timeout=BUSY_TIMEOUT)) as connection:
        # The file is opened for writing, because readers of a WAL write its shared index. Nothing else is written.
        _secure_log(path, connection)
        connection.execute("PRAGMA query_only = ON")
        return [migration.name for migration in pending(_inspected(connection), schema)]


def contents(path: str | os.PathLike[str]) -> Contents:
    """Count the rows and the bytes of a file that is ours. This only reads.

    Raises:
        MigrationError: the file cannot be read.
    """
    with _refusing(path), closing(connect(path, "rw", timeout=BUSY_TIMEOUT)) as connection:
        connection.execute("PRAGMA query_only = ON")
        database = _inspected(connection)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        return Contents({table.name: table.count for table in database.tables}, pages * size)


def apply(
    path: str | os.PathLike[str], schema: Schema, *, now: Clock = utc_now, watcher: Watcher = UNWATCHED
) -> list[str]:
    """Bring the file to the newest schema, creating it if it is missing. Returns the names of the applied migrations.

    A new file belongs to its owner only (mode 0600; SQLite gives its companions the same) and is in WAL mode with
    incremental vacuum.

    Raises:
        MigrationError: the file is refused; one line says the reason and the mend. Migrations before the failing one
            stay applied.
        UpgradeStopped: the watcher asked for it.
    """
    _refuse_to_destroy(path)
    _create(path)
    with _refusing(path), closing(connect(path, "rw", timeout=BUSY_TIMEOUT)) as connection:
        _secure_log(path, connection)
        database = _inspected(connection)
        todo = pending(database, schema)
        if not database.table_names():
            _prepare_new_file(connection)
        _require_wal(connection)
        require_writable(connection)
        connection.set_progress_handler(lambda: not watcher.goes_on(), INSTRUCTIONS_A_LOOK)
        for migration in todo:
            watcher.begins(migration.name)
            require_going_on(watcher, migration.name)
            _apply_one(connection, migration, now(), schema.seed)
        return [migration.name for migration in todo]


def _apply_one(connection: SqliteConnection, migration: Migration, now: str, seed: Seed) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if migration.number == 1:
            connection.execute(CREATE_RECORDS)
        for statement in statements(lines_for("sqlite", migration.sql)):
            connection.execute(statement)
            if not connection.in_transaction:
                raise MigrationError(f"{migration.name} ends the transaction it runs in: take its COMMIT out")
        if migration.number == 1:
            seed(connection)
        connection.execute(INSERT_RECORD, (migration.name, migration.checksum, now))
        orphans = connection.execute("PRAGMA foreign_key_check").fetchone()
        if orphans is not None:
            raise MigrationError(f"{migration.name} leaves rows of {orphans[0]} that point nowhere")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise UpgradeStopped(
                f"stopped in {migration.name}, of which nothing is done: the next start goes on with it"
            ) from None
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
            raise
        raise MigrationError(f"{migration.name} failed: {error}") from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _refuse_to_destroy(path: str | os.PathLike[str]) -> None:
    """Raise where a new database, or a log that is moved into another one than its own, would destroy what is left."""
    missing = missing_database(path)
    if missing is not None:
        raise MigrationError(f"{path}: {missing}")
    log = f"{os.path.realpath(path)}-wal"
    if (
        not os.path.exists(path)
        or not os.path.exists(log)
        or os.path.getsize(log) == 0
        or is_as_noted(path) is not False
        or is_half_moved(path)
    ):
        return
    # Somebody has put another file in its place, or the machine failed: only a look at all of it tells.
    with _refusing(path), closing(connect(path, "ro", timeout=BUSY_TIMEOUT)) as look:
        found = damage(look, "integrity_check", 1)
    if found is not None:
        raise MigrationError(
            f"{path}: it is another file than the one that {log} belongs to, or it is damaged ({found}): put the one "
            f"back that the log belongs to; or, to go on with this file as it is, move {log} away"
        )


def _secure_log(path: str | os.PathLike[str], connection: SqliteConnection) -> None:
    """Have on the disk what the log holds, if this process holds the database. The connection holds SQLite's own lock
    meanwhile, so that nobody else can write to the log, not even with an SQLite shell.

    Raises:
        MigrationError: the disk does not take it.
    """
    log = f"{os.path.realpath(path)}-wal"
    if not is_held_here(path) or not os.path.exists(log):
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _NOT_TO_BEGIN:
            raise
        return
    try:
        durable.write_again(log)
    except OSError as error:
        if error.errno in _NOT_TO_WRITE:
            return
        mend = _FULL if error.errno in NO_ROOM else "look at the disk, then start again, and leave the file until then"
        raise MigrationError(f"the disk does not take what {log} holds ({error.strerror}): {mend}") from error
    finally:
        connection.execute("ROLLBACK")


def _create(path: str | os.PathLike[str]) -> None:
    """Create an empty file, for its owner only, and make its name durable; leave an existing one alone."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        durable.sync(os.path.dirname(os.path.abspath(path)))
    except FileExistsError:
        return
    except OSError as error:
        reason = _FULL if error.errno in NO_ROOM else "cannot be created"
        raise MigrationError(f"{path}: {reason}: {error.strerror}") from error


def _inspected(connection: sqlite3.Connection) -> sqlite_utils.Database:
    # Plugins of sqlite-utils are switched off, because they would run inside the server.
    return sqlite_utils.Database(connection, execute_plugins=False)


def _prepare_new_file(connection: sqlite3.Connection) -> None:
    """Set auto_vacuum, which can only be set while the file is empty, before WAL writes the first page."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if connection.execute("PRAGMA auto_vacuum").fetchone()[0] != _AUTO_VACUUM_INCREMENTAL:
        # Somebody has already written the first page, for example with the sqlite3 shell.
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("VACUUM")


def _require_wal(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise MigrationError(f"no write-ahead log on this file system (journal mode {mode}): use a local disk")


class _refusing:  # noqa: N801 -- reads as the context it is
    """Turns an error of SQLite into one line with the file's name and the mend."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MigrationError):
            raise type(error)(f"{self._path}: {error}") from error.__cause__
        if isinstance(error, sqlite3.Error):
            raise MigrationError(f"{self._path}: {_mend(error, self._path)} ({error})") from error


def require_database(path: str | os.PathLike[str]) -> None:
    """See to it that a file is no other one than a database, by what every database begins with.

    Whoever finds out more locks the file first. A file that cannot be read, or is shorter, is left to that.

    Raises:
        MigrationError: it is none.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(len(_MAGIC))
    except OSError:
        return
    if len(head) == len(_MAGIC) and head != _MAGIC:
        raise MigrationError(f"{path}: {_NO_DATABASE} (file is not a database)")


def _mend(error: sqlite3.Error, path: str | os.PathLike[str]) -> str:
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_NOTADB:
            return _NO_DATABASE
        case sqlite3.SQLITE_CORRUPT:
            return "it is corrupt: move it away and restore a backup"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return "another process holds it: stop that first"
        case sqlite3.SQLITE_FULL:
            return _FULL
        case sqlite3.SQLITE_IOERR if shortage(path) is not None:
            return _FULL
        case sqlite3.SQLITE_IOERR:
            return "the disk fails: look at the system's log, and move the database to a disk that does not"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return "it is read-only: give this user the right to write it"
        case sqlite3.SQLITE_CANTOPEN:
            return "it cannot be opened: check the path and the rights"
        case _:
            return "it cannot be used: move it away and restore a backup"
