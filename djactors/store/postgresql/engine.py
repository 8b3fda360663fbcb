"""A PostgreSQL database as a database of the store (`djactors.store.engine`)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from djactors.store.connection import Connection
from djactors.store.engine import Hearer
from djactors.store.errors import MigrationError, StoreBroken, StoreUnavailable
from djactors.store.migrations import Clock, Dialect, Schema
from djactors.store.moving import Addition, Source, Target
from djactors.store.postgresql import migrate, moving
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.failures import storage_failure, told
from djactors.store.postgresql.listener import Listener
from djactors.store.postgresql.servants import Reader, Writer
from djactors.store.postgresql.session import (
    COMMAND_TIMEOUT,
    LOCK_TIMEOUT,
    Comebacks,
    command_begins,
    connect,
    writing_begins,
)
from djactors.store.room import Copied, Room
from djactors.store.upgrading import UNWATCHED, Contents, Watcher

__all__ = ["PostgresEngine"]

# A row that every database has is written as it is. A message to the log of the server would not do, because it is
# written even where tables are read-only.
_PROBE = """UPDATE schema_migrations SET applied_at = applied_at
    WHERE name = (SELECT name FROM schema_migrations ORDER BY name LIMIT 1)"""


def _not_overwritten(_: Connection) -> bool:
    return False


class EveryNodesGuard:
    """The right to change a database that all nodes have: the rows that a commit changes are locked by the server."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was taken."""

    def hold_database(self) -> None:
        """Nothing is held."""

    def note_state(self) -> None:
        """The server notes this itself."""

    def note_move(self) -> None:
        """The server notes this itself."""


class PostgresEngine:
    """One database of a PostgreSQL server.

    Args:
        url: see `djactors.store.postgresql.conninfo`.
        busy_timeout: seconds to wait for rows that another node holds, if that is less than `LOCK_TIMEOUT`.

    Raises:
        PlaceRefused: the URL is none.
    """

    dialect: Dialect = "postgresql"
    upgrade_costs = migrate.COSTS
    is_shared = True
    reads_may_lag = False
    """Reads go to the server that takes the writes, and each begins after it was asked for."""

    def __init__(self, url: str, busy_timeout: float = LOCK_TIMEOUT) -> None:
        self.conninfo = Conninfo.of(url)
        self.name = self.conninfo.shown
        self._lock_timeout = min(busy_timeout, LOCK_TIMEOUT)
        self._comebacks = Comebacks()

    def guard(self) -> EveryNodesGuard:
        """Every node may change the database."""
        return EveryNodesGuard()

    def inspect(self, schema: Schema) -> list[str]:
        """See `Engine.inspect`."""
        return migrate.inspect(self.conninfo, schema)

    def apply(self, schema: Schema, now: Clock, watcher: Watcher = UNWATCHED) -> list[str]:
        """See `Engine.apply`."""
        return migrate.apply(self.conninfo, schema, now=now, watcher=watcher)

    def contents(self) -> Contents:
        """See `Engine.contents`."""
        return migrate.contents(self.conninfo)

    def copy(self, target: Path, goes_on: Callable[[], bool]) -> Path:
        """See `Engine.copy`."""
        raise MigrationError(f"{self.name}: is no file that could be copied: use pg_dump")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Engine.reading`."""
        try:
            with closing(connect(self.conninfo, answer_timeout=COMMAND_TIMEOUT)) as connection:
                connection.begin(*command_begins())
                yield connection
        except psycopg.Error as error:
            reason = storage_failure(error) or told(error)
            raise StoreBroken(f"--database: {self.name} cannot be read ({reason}): run `djactors check`") from None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection inside a transaction, for a command that writes a row beside the servers. Blocks.

        The transaction is committed at the end of the block.

        Raises:
            StoreUnavailable: the database cannot be written.
        """
        try:
            with closing(connect(self.conninfo)) as connection:
                connection.begin(*writing_begins(self._lock_timeout))
                yield connection
                connection.commit()
        except psycopg.Error as error:
            raise StoreUnavailable(f"{self.name}: {storage_failure(error) or told(error)}") from None

    def writer(self, timer: Callable[[], float]) -> Writer:
        """See `Engine.writer`."""
        return Writer(self.conninfo, timer, lock_timeout=self._lock_timeout, comebacks=self._comebacks)

    def reader(self) -> Reader:
        """See `Engine.reader`."""
        return Reader(self.conninfo, comebacks=self._comebacks)

    def listener(self, channel: str, hearer: Hearer) -> Listener:
        """See `Engine.listener`."""
        return Listener(self.conninfo, channel, hearer)

    def probe(self, connection: Connection) -> None:
        """Commit a row as it is, with the write and the wait that every commit has."""
        connection.execute(_PROBE)

    def room(self, connection: Connection) -> Room:
        """See `Engine.room`. How much is free on the server's disk is not for its clients to know."""
        (size,) = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return Room(size, size, None)

    def copied(self) -> Copied | None:
        """See `Engine.copied`."""
        return None

    def reclaimable(self, connection: Connection) -> int:
        """None: the server gives space back, or uses it again, by itself."""
        return 0

    def reclaim(self, connection: Connection) -> int:
        """See `reclaimable`."""
        return 0

    @property
    def overwriting(self) -> Callable[[Connection], bool]:
        """The server keeps old rows until it vacuums its tables."""
        return _not_overwritten

    def source(self) -> AbstractContextManager[Source]:
        """See `Engine.source`."""
        return moving.source(self.conninfo)

    def target(self, schema: Schema, now: Clock) -> AbstractContextManager[Target]:
        """See `Engine.target`."""
        return moving.target(self.conninfo, schema, now)

    def addition(self) -> AbstractContextManager[Addition]:
        """See `Engine.addition`."""
        return moving.addition(self.conninfo)
