"""The database as the rest of the program sees it: `write` and `read`, each taking a plain function of a connection.

    database = await Database.open(path, on_broken=...)
    async with database:
        event_id = await database.write(lambda connection: record(connection, event))
        inbox = await database.read(lambda connection: page(connection, tenant_id, user_id, limit=20))

Rules:

- One connection writes; each call of `write` is a commit with its fsync (`connections` says how). A caller that has
  many things to write gathers them into one function, as the router does. Gathering here as well gained nothing,
  because the router has only one write under way at a time.
- `write` returns after the fsync, never before.
- A read that is asked for after a write was answered sees that write. A store of another kind may lag and then says so
  with `reads_may_lag`.
- A function that is given to `write` or `read` uses nothing but its connection, ends no transaction, and returns plain
  values, no cursors.
- There are four kinds of failure (see `errors`): the function's own exceptions, which reach the caller unchanged;
  `StoreBusy` and `StoreUnavailable`, which pass; `StoreDamaged`, which stays and is about what the function needs; and
  `StoreBroken`, which stays until a restart and is about everything.

The caller has applied the migrations and holds the `DatabaseLock`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import trio

from djactors.store.engine import Engine
from djactors.store.engines import Place, engine_at
from djactors.store.errors import StoreBroken, StoreDamaged, StoreError
from djactors.store.room import Room
from djactors.store.threads import NOBODY, READ_BATCH, DedicatedThreads, Report, ThreadFactory, Work
from djactors.store.turns import Turn

__all__ = ["Database", "Statistics"]

T = TypeVar("T")

# Writes that may wait. Each part of the program that writes has one at a time, and a commit takes a few milliseconds at
# most. If more writes wait, some caller does not gather.
WRITE_QUEUE = 64
# Reads that may wait. A page of an inbox takes some 100 µs, so this is half a second of work for two readers.
READ_QUEUE = 8192
# Threads that read. The interpreter runs one thread at a time; the second keeps short reads from waiting for a long
# one.
READERS = 2
# Seconds that closing may take: enough for the queue (a fraction of a second) and the last checkpoint on a slow disk.
CLOSE_TIMEOUT = 10.0


def _ignore_commit(seconds: float) -> None:
    pass


def _ignore_broken(error: StoreBroken) -> None:
    pass


def _ignore_damaged(error: StoreDamaged) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Statistics:
    """A look at the store.

    Attributes:
        writes_queued: writes that wait for the next commit.
        reads_queued: reads that wait for a reader.
        commits: writes that were committed.
        failed: writes and reads that raised an exception, or that the storage did not carry out.
        write_capacity: writes that may wait.
        read_capacity: reads that may wait.
        last_error: the newest failure of the storage, None if there was none.
        failing: the storage's failure at the newest write, None if that was committed.
        broken: whether the store is broken and stays so until a restart.
        retried: how often a write was run again, because another node was in its way or the connection was lost.
    """

    writes_queued: int
    reads_queued: int
    commits: int
    failed: int
    write_capacity: int
    read_capacity: int
    last_error: StoreError | None
    failing: StoreError | None
    broken: bool
    retried: int = 0


class Database:
    """An open database, made by `Database.open`. Any number of tasks of one Trio run may use it.

    Attributes:
        engine: which database it is.
        reads_may_lag: whether a read may see an older state than the one that this process has told clients of. Where
            reads may lag (on a standby of PostgreSQL), a caller that finds something missing asks again with `write`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        threads: ThreadFactory,
        readers: int,
        write_queue: int,
        read_queue: int,
        on_commit: Callable[[float], None],
        on_broken: Callable[[StoreBroken], None],
        on_damaged: Callable[[StoreDamaged], None],
        timer: Callable[[], float],
    ) -> None:
        self.engine = engine
        self.reads_may_lag = engine.reads_may_lag
        self._write_capacity = write_queue
        self._read_capacity = read_queue
        self._on_commit = on_commit
        self._on_broken = on_broken
        self._on_damaged = on_damaged
        self._broken: StoreBroken | None = None
        self._closed = False
        # Writes that were asked for and not answered, and who gives way to them.
        self._writing = 0
        self._written = trio.lowlevel.ParkingLot()
        self._commits = 0
        self._failed = 0
        self._retried = 0
        self._last_error: StoreError | None = None
        self._failing: StoreError | None = None
        self._connection = engine.writer(timer)
        self._writer = threads(
            "djactors-writer",
            [self._connection],
            queue_limit=write_queue,
            under_way=write_queue,  # they have no turns: whoever has much to write gathers it
            on_report=self._note_commit,
        )
        self._readers = threads(
            "djactors-reader",
            [engine.reader() for _ in range(readers)],
            queue_limit=read_queue,
            # As many as they take at a time: they are never idle while something waits, and whoever comes has so many
            # before it at most, whatever others have asked for.
            under_way=readers * READ_BATCH,
            on_report=self._note_reads,
        )

    @classmethod
    async def open(
        cls,
        place: Place,
        *,
        threads: ThreadFactory = DedicatedThreads,
        readers: int = READERS,
        busy_timeout: float | None = None,
        write_queue: int = WRITE_QUEUE,
        read_queue: int = READ_QUEUE,
        on_commit: Callable[[float], None] = _ignore_commit,
        on_broken: Callable[[StoreBroken], None] = _ignore_broken,
        on_damaged: Callable[[StoreDamaged], None] = _ignore_damaged,
        timer: Callable[[], float] = time.perf_counter,
    ) -> Self:
        """Open a migrated database; it is never created here.

        Args:
            place: see `engine_at`.
            threads: `DedicatedThreads`, or `InlineRunner` under a virtual clock.
            readers: how many threads read.
            busy_timeout: seconds to wait for a lock of another process; the engine's own default if None.
            write_queue: writes that may wait before `StoreBusy`.
            read_queue: reads that may wait before `StoreBusy`.
            on_commit: called with the seconds from BEGIN until a commit was durable.
            on_broken: called once, with the reason, when the store broke; the process should then stop and exit.
            on_damaged: called whenever something needed a damaged page. The callbacks run on the Trio thread before the
                callers are answered, and must not raise.
            timer: a clock in seconds, for `on_commit`.

        Raises:
            StoreBroken: the file is missing, is no database, was not migrated, or is read-only.
            StoreUnavailable: another process has held its lock for `busy_timeout`.
        """
        database = cls(
            engine_at(place) if busy_timeout is None else engine_at(place, busy_timeout),
            threads=threads,
            readers=readers,
            write_queue=write_queue,
            read_queue=read_queue,
            on_commit=on_commit,
            on_broken=on_broken,
            on_damaged=on_damaged,
            timer=timer,
        )
        await database._writer.open()
        try:
            await database._readers.open()
        except BaseException:
            await database._writer.close(CLOSE_TIMEOUT)
            raise
        return database

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a commit of its own and return what it returned, after the commit is durable.

        Writes are run in the order in which they were asked for. If the caller is cancelled, work that still waits is
        dropped, and work that has begun may yet be committed; it is never done in part.

        Raises:
            StoreBusy: `write_queue` writes wait already; nothing was done.
            StoreUnavailable: the disk is full or another process holds the lock; nothing was done.
            StoreDamaged: the work needs a damaged page; nothing was done.
            StoreBroken: see `errors`; the work may be found stored after a restart.
            StoreClosed: `close` was called.
            Exception: whatever `work` raised; nothing it did was stored. Other writes are unaffected.
        """
        if self._broken is not None:
            raise StoreBroken(*self._broken.args)
        self._writing += 1
        try:
            return await self._writer.call(work)
        finally:
            self._writing -= 1
            if self._written:
                self._written.unpark_all()

    async def give_way(self, seconds: float) -> None:
        """Let the write that is under way, if there is one, be done first; wait for `seconds` at most.

        For a task that has much to compute and lets others have a turn now and then. The writer's thread needs the
        interpreter between any two statements, and beside a loop that never rests it waits for it each time: a commit
        of 2 ms took 10. It is a checkpoint in any case.
        """
        if not self._writing:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(seconds):
            await self._written.park()

    async def read(self, work: Work[T], turn: Turn = NOBODY) -> T:
        """Run `work` on a connection that cannot write, within one snapshot, and return what it returned.

        The snapshot holds every write that was answered before this call. If the caller is cancelled, the work may
        still run, and its answer is dropped.
        `turn` says for whom it is read, by tenant and user: tenants are served in turn, and so are the users of a
        tenant.

        Raises:
            StoreBusy: `read_queue` reads wait already; `StoreCrowded` where `TURN_LIMIT` of this turn do.
            StoreUnavailable: out of memory or descriptors.
            StoreDamaged: the work needs a damaged page.
            StoreBroken: see `errors`.
            StoreClosed: `close` was called.
            Exception: whatever `work` raised.
        """
        if self._broken is not None:
            raise StoreBroken(*self._broken.args)
        return await self._readers.call(work, turn)

    async def probe(self) -> None:
        """Commit something that changes nothing, with its fsync, as any write is.

        Raises:
            StoreError: as `write`.
        """
        await self.write(self.engine.probe)

    async def room(self) -> Room:
        """How much room the database takes, and how much is left.

        Raises:
            StoreError: the database could not be read.
        """
        return await self.read(self.engine.room)

    async def reclaim_space(self) -> int:
        """Give some of the file's free pages back to the file system. Returns how many pages are left to give.

        Raises:
            StoreError: the database could not be written.
        """
        if self._writer.queued:
            return await self.read(self.engine.reclaimable)
        return await self.write(self.engine.reclaim)

    async def overwrite(self) -> bool:
        """Leave nothing in the database's files of what was deleted or changed. Whoever writes waits meanwhile, some
        2 s for each 100 MiB.

        Returns:
            Whether that is done; False where the database's server keeps old rows for a while, or where a reader kept
            the log from being emptied.

        Raises:
            StoreError: as `write`; there is no room for it, for example.
        """
        return await self.write(self.engine.overwriting)

    async def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Finish what is queued, checkpoint, and join the threads; calls from now on raise `StoreClosed`.

        Closing takes at most twice `timeout` seconds of real time and is shielded from cancellation. A second call has
        no effect.

        Raises:
            StoreUnavailable: a thread hangs in the disk; it is left behind.
        """
        if self._closed:
            return
        self._closed = True
        try:
            # Readers are closed first, so that no snapshot keeps the writer from emptying the log.
            await self._readers.close(timeout)
        finally:
            await self._writer.close(timeout)

    def when_rolled_back(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, on the writer's thread, whenever something that was written is undone.

        A writer that remembers what it wrote needs this. Set the callback before the first write.
        """
        self._connection.on_rollback = callback

    def when_log_moves(self, before: Callable[[], None], after: Callable[[], None]) -> None:
        """Have these called, on the writer's thread, whenever the write-ahead log is moved into the database."""
        self._connection.on_log_moving = before
        self._connection.on_log_moved = after

    def when_others_wrote(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when another connection has committed to the database since this one's last commit.

        The callback runs on the writer's thread, in the transaction that finds the other commit, before any work is
        done in the transaction. If this transaction is not committed, the callback is called again in the next one. A
        writer that remembers what it wrote or read needs this, and so do clients that were told of it, because an old
        copy may have been put back. Set the callback before the first write.
        """
        self._connection.on_others_wrote = callback

    def statistics(self) -> Statistics:
        """Count what was done and what waits."""
        return Statistics(
            writes_queued=self._writer.queued,
            reads_queued=self._readers.queued,
            commits=self._commits,
            failed=self._failed,
            write_capacity=self._write_capacity,
            read_capacity=self._read_capacity,
            last_error=self._last_error,
            failing=self._failing,
            broken=self._broken is not None,
            retried=self._retried,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _note_commit(self, report: Report) -> None:
        self._note(report)
        self._retried += report.retried
        if report.items:
            self._commits += 1
            self._failing = None
            self._on_commit(report.seconds)
        elif report.error is not None and not isinstance(report.error, StoreDamaged):
            # A damaged page says nothing of the next write, which needs others.
            self._failing = report.error

    def _note_reads(self, report: Report) -> None:
        self._note(report)

    def _note(self, report: Report) -> None:
        self._failed += report.failed
        if report.error is not None:
            self._last_error = report.error
            if isinstance(report.error, StoreDamaged):
                self._on_damaged(report.error)
            if isinstance(report.error, StoreBroken) and self._broken is None:
                self._broken = report.error
                self._on_broken(report.error)
