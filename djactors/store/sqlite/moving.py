"""A whole SQLite file as the source or the target of a move (`djactors.store.moving`).

A target is written to `FILE.moving`, which no server opens, and gets its name when it is whole and on the disk. Until
then the lock of the file keeps servers away.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from djactors.store.errors import MigrationError, RowRefused, StoreError, StoreUnavailable
from djactors.store.migrations import Clock, Schema
from djactors.store.moving import ROWS_AT_A_TIME, Row, Table
from djactors.store.sqlite import migrate
from djactors.store.sqlite.connection import SqliteConnection, connect
from djactors.store.sqlite.connections import BUSY_TIMEOUT
from djactors.store.sqlite.durable import sync
from djactors.store.sqlite.failures import storage_failure
from djactors.store.sqlite.lock import DatabaseLock, missing_database

__all__ = ["SqliteAddition", "SqliteSource", "SqliteTarget", "addition", "source", "target"]

_COMPANIONS = ("", "-wal", "-shm", "-journal")

_SELECT_TABLES = r"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"


class SqliteSource:
    """See `djactors.store.moving.Source`."""

    def __init__(self, connection: SqliteConnection) -> None:
        self.connection = connection

    def tables(self) -> list[Table]:
        """See `Snapshot.tables`."""
        return [self._table(name) for (name,) in self.connection.execute(_SELECT_TABLES).fetchall()]

    def count(self, table: Table) -> int:
        """See `Snapshot.count`."""
        count: int = self.connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        return count

    def rows(self, table: Table) -> Iterator[list[Row]]:
        """See `Snapshot.rows`."""
        cursor = self.connection.execute(_select(table))
        while rows := self._next_of(cursor, table):
            yield rows

    def _next_of(self, cursor: sqlite3.Cursor, table: Table) -> list[Row]:
        try:
            return cursor.fetchmany(ROWS_AT_A_TIME)
        except sqlite3.OperationalError as error:
            if "decode" not in str(error):
                raise
        raise RowRefused(_undecodable(self.connection, table))

    def _table(self, name: str) -> Table:
        columns = self.connection.execute(f'PRAGMA table_info("{name}")').fetchall()
        keyed = sorted((place, column, kind) for _, column, kind, _, _, place in columns if place)
        parents = self.connection.execute(f'PRAGMA foreign_key_list("{name}")').fetchall()
        return Table(
            name,
            tuple(column for _, column, *_ in columns),
            tuple(column for _, column, _ in keyed),
            frozenset(column for _, column, kind in keyed if "CHAR" in kind or "TEXT" in kind),
            frozenset(parent for _, _, parent, *_ in parents),
        )


class SqliteTarget(SqliteSource):
    """See `djactors.store.moving.Target`."""

    def __init__(self, connection: SqliteConnection, building: Path, path: Path) -> None:
        super().__init__(connection)
        self._building = building
        self._path = path
        # The file is thrown away if anything fails, so nothing is kept with which it could be mended.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")

    def fill(self, table: Table, slices: Iterable[Sequence[Row]]) -> None:
        """See `Target.fill`."""
        self.connection.execute(f"DELETE FROM {table.name}")
        _insert(self.connection, table, slices)

    def why_refused(self, table: Table, row: Row) -> str | None:
        """See `Target.why_refused`: SQLite takes whatever value there is."""
        return None

    def complete(self) -> None:
        """See `Target.complete`."""
        orphan = self.connection.execute("PRAGMA foreign_key_check").fetchone()
        if orphan is not None:
            raise StoreError(f"rows of {orphan[0]} point nowhere")
        self.connection.execute("COMMIT")

    def keep(self) -> None:
        """See `Target.keep`."""
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.close()
        sync(self._building)
        if self._path.exists():
            raise StoreError(f"{self._path} has been made by somebody else meanwhile")
        self._building.rename(self._path)
        sync(self._path.parent)


class SqliteAddition(SqliteSource):
    """See `djactors.store.moving.Addition`."""

    def __init__(self, connection: SqliteConnection) -> None:
        super().__init__(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")

    def add(self, table: Table, slices: Iterable[Sequence[Row]]) -> None:
        """See `Addition.add`."""
        _insert(self.connection, table, slices)

    def keep(self) -> None:
        """See `Addition.keep`."""
        self.connection.execute("COMMIT")


@contextmanager
def addition(path: str) -> Iterator[SqliteAddition]:
    """Hold a file that no server has open, and add to it. See `Engine.addition`."""
    with DatabaseLock(path) as lock:
        with _told(path), closing(connect(path, "rw", timeout=BUSY_TIMEOUT)) as connection:
            yield SqliteAddition(connection)
        # The last connection has moved the log into the file.
        lock.note_state()


def _insert(connection: SqliteConnection, table: Table, slices: Iterable[Sequence[Row]]) -> None:
    marks = ", ".join("?" * len(table.columns))
    statement = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})"
    try:
        for rows in slices:
            connection.insert(statement, rows)
    except sqlite3.IntegrityError as error:
        raise RowRefused(str(error)) from error


@contextmanager
def source(path: str) -> Iterator[SqliteSource]:
    """Hold a file that no server has open, and read it. See `Engine.source`."""
    with DatabaseLock(path), _told(path), closing(connect(path, "rw", timeout=BUSY_TIMEOUT)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        yield SqliteSource(connection)


@contextmanager
def target(path: str, schema: Schema, now: Clock) -> Iterator[SqliteTarget]:
    """Make a new file. See `Engine.target`."""
    final = Path(os.path.realpath(path))
    building = final.with_name(f"{final.name}.moving")
    with _told(path), DatabaseLock(path) as lock:
        _require_nothing_at(final)
        _remove(building)
        try:
            migrate.apply(building, schema, now=now)
            with closing(connect(building, "rw", timeout=BUSY_TIMEOUT)) as connection:
                yield SqliteTarget(connection, building, final)
        finally:
            # It has another name by now if it was kept.
            _remove(building)
            lock.hold_database()


def _require_nothing_at(path: Path) -> None:
    if (missing := missing_database(path)) is not None:
        raise MigrationError(f"{path}: {missing}")
    if path.exists():
        raise StoreError(f"{path} exists already: name a new file, or move this one away")
    for companion in _COMPANIONS[1:]:
        left = path.with_name(f"{path.name}{companion}")
        if left.exists():
            raise StoreError(f"{left} is left of another database: move it away, or name a new file")


def _remove(building: Path) -> None:
    for companion in _COMPANIONS:
        with suppress(FileNotFoundError):
            building.with_name(f"{building.name}{companion}").unlink()


def _select(table: Table) -> str:
    return f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"


def _undecodable(connection: SqliteConnection, table: Table) -> str:
    """Which text is no UTF-8. SQLite stores whatever bytes it is given."""
    connection.text_factory = bytes
    try:
        for row in connection.execute(_select(table)):
            for name, value in zip(table.columns, row, strict=True):
                if isinstance(value, bytes):
                    try:
                        value.decode()
                    except UnicodeDecodeError:
                        return f"{table.name}, {table.key_of(row)}: {name} is no text in UTF-8: correct it"
    finally:
        connection.text_factory = str
    return f"{table.name} has a text that is no UTF-8"


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {storage_failure(error) or error}") from error
    except OSError as error:
        raise StoreUnavailable(f"{error.filename or path}: {error.strerror}: check the path and the rights") from error
