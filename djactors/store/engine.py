"""What a kind of database has to offer to be the store's: SQLite (`store.sqlite`) and PostgreSQL (`store.postgresql`).

An engine is one database at one place, not opened yet. The layers above get it from `djactors.store.engines`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from djactors.store.connection import Connection
from djactors.store.migrations import Clock, Dialect, Schema
from djactors.store.moving import Addition, Source, Target
from djactors.store.room import Copied, Room
from djactors.store.threads import Servant
from djactors.store.upgrading import UNWATCHED, Contents, Costs, Watcher

__all__ = ["Engine", "Guard", "Hearer", "Listener", "WriterServant"]


class WriterServant(Servant, Protocol):
    """The servant that owns the one connection of this process that writes.

    Attributes:
        on_rollback: called whenever something that was written is undone.
        on_log_moving: called whenever the database is about to take in what is in its log beside it.
        on_log_moved: called whenever it has done so.
        on_others_wrote: called inside the transaction that finds a commit of somebody else, before any work is done.
            A database that several nodes share tells by tenant who wrote last (`inbox`). It calls this only in the
            first transaction on a connection that was made anew: the server may have lost commits meanwhile.

    The callbacks run on the servant's thread; they are set before the first write.
    """

    on_rollback: Callable[[], None]
    on_log_moving: Callable[[], None]
    on_log_moved: Callable[[], None]
    on_others_wrote: Callable[[], None]


class Guard(Protocol):
    """The right to change a database, while it is entered."""

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            DatabaseLocked: somebody else has it.
            StoreError, OSError: it cannot be taken.
        """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""

    def hold_database(self) -> None:
        """Guard the database itself as well, now that it has been made."""

    def note_state(self) -> None:
        """Note how the database stands on the disk, for the next start. May be called on any thread."""

    def note_move(self) -> None:
        """Note that the database is about to take in its log, for the next start. May be called on any thread."""


class Hearer(Protocol):
    """Who is told what a listener hears. All of it is called on the Trio thread, and must not raise."""

    def connected(self) -> None:
        """There is a connection, made for the first time or anew: what was notified before may not have been heard."""

    def lost(self, reason: str) -> None:
        """The connection was lost, or could not be made, for a reason in words."""

    def heard(self, payloads: list[str]) -> None:
        """What was notified, in order."""

    def overflown(self) -> None:
        """Some of what was notified was dropped."""


class Listener(Protocol):
    """Hears the notifications of a database that several nodes share."""

    async def run(self) -> None:
        """Listen until this is cancelled."""

    def reconnect(self) -> None:
        """Make another connection, because this one seems to hear nothing."""


class Engine(Protocol):
    """A database of one kind, at one place.

    Attributes:
        name: the place, for messages: a path, or a URL without its password.
        reads_may_lag: whether a read may see an older state than the one that this process has told clients of.
        is_shared: whether several nodes may serve it at the same time.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def dialect(self) -> Dialect:
        """Which lines of a migration are for it."""

    @property
    def upgrade_costs(self) -> Costs:
        """What an upgrade takes for each row."""

    @property
    def reads_may_lag(self) -> bool:
        """See above."""

    @property
    def is_shared(self) -> bool:
        """See above."""

    def guard(self) -> Guard:
        """The right to change the database. A database for several nodes gives it to all of them."""

    def inspect(self, schema: Schema) -> list[str]:
        """Name the migrations that the database still lacks, without changing or creating it.

        Raises:
            MigrationError: as `apply` would.
        """

    def apply(self, schema: Schema, now: Clock, watcher: Watcher = UNWATCHED) -> list[str]:
        """Bring the database to the schema. Returns the names of the migrations that were applied. Blocks.

        Raises:
            MigrationError: the database is refused; one line says the reason and the mend. Migrations before the
                failing one stay applied.
            UpgradeStopped: the watcher asked for it.
        """

    def contents(self) -> Contents:
        """How much the database holds, roughly where counting would take long. Blocks.

        Raises:
            MigrationError: it cannot be read.
        """

    def copy(self, target: Path, goes_on: Callable[[], bool]) -> Path:
        """Copy the database before an upgrade, and check the copy. Returns where it is. Blocks.

        Raises:
            UpgradeStopped: `goes_on` said no.
            MigrationError: it cannot be copied; a database that is no file never can.
        """

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection inside one snapshot, for a command that looks at the database beside a server. Blocks.

        Raises:
            StoreError: the database cannot be read.
        """

    def writer(self, timer: Callable[[], float]) -> WriterServant:
        """What writes. `timer` tells seconds, for the report of how long a commit took."""

    def reader(self) -> Servant:
        """What reads; one for each thread."""

    def listener(self, channel: str, hearer: Hearer) -> Listener | None:
        """What hears the notifications on a channel; None for a database that has one node."""

    def probe(self, connection: Connection) -> None:
        """Write something that changes nothing, so that its commit proves that the storage takes writes."""

    def room(self, connection: Connection) -> Room:
        """How much room the database takes, and how much is left."""

    def copied(self) -> Copied | None:
        """The newest copy that is noted beside the database. One that several nodes share has no such place."""

    def reclaimable(self, connection: Connection) -> int:
        """How many pages may be given back to the file system. A server that does this by itself has none."""

    def reclaim(self, connection: Connection) -> int:
        """Give some pages back, so many that others do not notice. Returns how many are left to give."""

    @property
    def overwriting(self) -> Callable[[Connection], bool]:
        """The work for a writer that leaves nothing of what was deleted or changed. Its result says whether that is
        done; False where the server keeps old rows for a while."""

    def source(self) -> AbstractContextManager[Source]:
        """The database as the source of a move, while nobody else can write to it. Blocks.

        Raises:
            DatabaseLocked: a server runs on it.
            StoreError: it cannot be read.
        """

    def target(self, schema: Schema, now: Clock) -> AbstractContextManager[Target]:
        """The database as the target of a move, brought to the schema. Unless it is kept, it is as it was. Blocks.

        Raises:
            DatabaseLocked: a server runs on it.
            StoreError: it cannot be written, or a file is there already.
            MigrationError: as `apply`.
        """

    def addition(self) -> AbstractContextManager[Addition]:
        """The database, which has the schema, to add rows to. Unless they are kept, it is as it was. Blocks.

        Raises:
            DatabaseLocked: a server runs on it.
            StoreError: it cannot be written.
        """
