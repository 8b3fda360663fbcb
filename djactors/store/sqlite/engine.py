"""An SQLite file as a database of the store (`djactors.store.engine`)."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from djactors.store.connection import Connection
from djactors.store.engine import Hearer
from djactors.store.errors import StoreBroken
from djactors.store.migrations import Clock, Dialect, Schema
from djactors.store.moving import Addition, Source, Target
from djactors.store.room import Copied, Room
from djactors.store.sqlite import copied, keeping, migrate, moving, space
from djactors.store.sqlite.connection import connect
from djactors.store.sqlite.connections import BUSY_TIMEOUT, Reader, Writer
from djactors.store.sqlite.lock import DatabaseLock
from djactors.store.upgrading import UNWATCHED, Contents, Watcher

__all__ = ["SqliteEngine"]


class SqliteEngine:
    """One file.

    Args:
        path: the file; it need not exist.
        busy_timeout: seconds to wait for a lock of another process.
    """

    dialect: Dialect = "sqlite"
    upgrade_costs = migrate.COSTS
    is_shared = False
    reads_may_lag = False
    """Each read begins after it was asked for, on the same file."""

    def __init__(self, path: str | os.PathLike[str], busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.name = os.fspath(path)
        self._busy_timeout = busy_timeout

    @property
    def path(self) -> Path:
        """The file itself, behind any symbolic link."""
        return Path(os.path.realpath(self.name))

    def guard(self) -> DatabaseLock:
        """The lock of the file: one process has it. What is no database gets no lock file beside it."""
        migrate.require_database(self.name)
        return DatabaseLock(self.name)

    def inspect(self, schema: Schema) -> list[str]:
        """See `Engine.inspect`."""
        return migrate.inspect(self.name, schema)

    def apply(self, schema: Schema, now: Clock, watcher: Watcher = UNWATCHED) -> list[str]:
        """See `Engine.apply`."""
        return migrate.apply(self.name, schema, now=now, watcher=watcher)

    def contents(self) -> Contents:
        """See `Engine.contents`."""
        return migrate.contents(self.name)

    def copy(self, target: Path, goes_on: Callable[[], bool]) -> Path:
        """See `Engine.copy`."""
        return keeping.keep(self.path, target, goes_on)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Engine.reading`."""
        try:
            with closing(connect(self.name, "ro", timeout=BUSY_TIMEOUT)) as connection:
                connection.execute("BEGIN")
                yield connection
        except sqlite3.Error as error:
            raise StoreBroken(f"--database: {self.name} cannot be read ({error}): run `djactors check`") from None

    def writer(self, timer: Callable[[], float]) -> Writer:
        """See `Engine.writer`."""
        return Writer(self.path, self._busy_timeout, timer)

    def reader(self) -> Reader:
        """See `Engine.reader`."""
        return Reader(self.path, self._busy_timeout)

    def listener(self, channel: str, hearer: Hearer) -> None:
        """None: nobody else writes to the file."""

    def probe(self, connection: Connection) -> None:
        """Commit a page as it is: it is written to the log with its fsync, as any write is."""
        # SQLite writes the number even where it stays the same: https://www.sqlite.org/pragma.html#pragma_user_version
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version:d}")

    def room(self, connection: Connection) -> Room:
        """See `Engine.room`."""
        return space.room(connection, self.path)

    def copied(self) -> Copied | None:
        """See `Engine.copied`."""
        return copied.noted(self.path)

    def reclaimable(self, connection: Connection) -> int:
        """See `Engine.reclaimable`."""
        return space.reclaimable(connection)

    def reclaim(self, connection: Connection) -> int:
        """See `Engine.reclaim`."""
        return space.reclaim(connection)

    @property
    def overwriting(self) -> Callable[[Connection], bool]:
        """See `Engine.overwriting`."""
        return space.overwrite

    def source(self) -> AbstractContextManager[Source]:
        """See `Engine.source`."""
        return moving.source(self.name)

    def target(self, schema: Schema, now: Clock) -> AbstractContextManager[Target]:
        """See `Engine.target`."""
        return moving.target(self.name, schema, now)

    def addition(self) -> AbstractContextManager[Addition]:
        """See `Engine.addition`."""
        return moving.addition(self.name)
