"""The two kinds of connection: the writer and the readers. Each connection is used on its own thread only.

How one piece of work is written:

    BEGIN IMMEDIATE, the work, COMMIT (one fsync)             whoever has much to write gathers it into one piece
      the work raises -> ROLLBACK, the caller gets the exception
      the disk fails  -> ROLLBACK, the caller gets a `StoreError`
      a page is damaged -> the same, and only what needs the page fails
    is the file still the one at the path?                    an unlinked file goes on "committing"
    answer
    has the log grown large? move it into the database        behind the answer: at most the next piece waits

After some errors (disk full, I/O) SQLite rolls the transaction back by itself, and later statements would then commit
one by one. So the writer looks at `in_transaction` after the work.

The lock keeps other servers away from the file. It does not stop somebody with an SQLite shell, who may edit the file
or put an old copy back while the server runs. So each transaction first asks SQLite whether another connection has
committed since the last transaction: `PRAGMA data_version`, 1 µs.
https://www.sqlite.org/pragma.html#pragma_data_version
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from djactors.store.connection import Alike, ChildrenFirst
from djactors.store.errors import StoreBroken, StoreDamaged, StoreError, StoreUnavailable, twin
from djactors.store.sqlite.connection import SqliteConnection, connect
from djactors.store.sqlite.failures import storage_failure
from djactors.store.sqlite.room import shortage
from djactors.store.sqlite.space import overwrite
from djactors.store.threads import READ_BATCH, Call, Report

__all__ = ["Reader", "Writer", "require_writable"]

# Seconds to wait for the lock of another process, such as a backup, before giving up. A copy takes less time.
BUSY_TIMEOUT = 5.0
# SQLite cuts the write-ahead log back to this size once the log was larger. Below this size SQLite reuses the file
# without touching its metadata.
JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
# Pages after which the writer moves the log into the database: 8 MiB, some 3 ms. The writer does this after a commit
# is answered, so at most the next commit waits. A page that many commits changed is moved once; with many users
# SQLite's default of 1000 costs up to a tenth more CPU an event. With 4000 little was gained, and beside a sender of
# large batches one commit in a hundred waited for 25 ms. A start after a crash has to read the whole log.
CHECKPOINT_PAGES = 2000
# Where moving the log takes longer than this, in seconds, it is moved sooner the next time. Behind large batches each
# page of the log is another page of the database, so 2000 of them took 12 to 24 ms, and everybody's next commit waits
# for that. A commit in front of it takes about as long, and both together must stay below 20 ms.
MOVE_SECONDS = 0.008
# It is never moved at fewer pages than this: each time costs one fsync more, and on a slow disk that is most of it.
LEAST_CHECKPOINT_PAGES = CHECKPOINT_PAGES // 4
# Pages after which SQLite moves the log in the middle of a commit. This is the bound in case the estimate is wrong (see
# `Backlog`).
WAL_AUTOCHECKPOINT = 3 * CHECKPOINT_PAGES
# KiB of page cache. The upper levels of every index of a large inbox stay in the writer's cache. Readers have the
# system's cache beneath theirs.
WRITER_CACHE = 32 * 1024
READER_CACHE = 8 * 1024
# Prepared statements that are kept: more than the program has, so that no statement is prepared twice.
CACHED_STATEMENTS = 512

# The sqlite3 module asks for each None that it binds how to store it, and where nobody has said so it asks in three
# places: 0.3 µs, nine times an event. So it is told: None is stored as None. An empty dictionary's `get` says that
# without a step of Python.
_NOTHING: dict[None, None] = {}
sqlite3.register_adapter(type(None), _NOTHING.get)

_SHARED_PRAGMAS = (
    # Sorting and materialising use no file, so a full disk or a lack of descriptors cannot make them fail.
    "PRAGMA temp_store = MEMORY",
    # No memory map: with a map an I/O error is a SIGBUS, which ends the process.
    "PRAGMA mmap_size = 0",
    # Somebody may have edited the file, so no function that its schema names may run.
    "PRAGMA trusted_schema = OFF",
)


class _Connection:
    """What both kinds share."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._connection: SqliteConnection

    def _open(self, pragmas: Sequence[str]) -> None:
        """Connect to an existing database, which is in WAL mode.

        Raises:
            StoreBroken: the file is missing, or is no database, or was never migrated.
            StoreUnavailable: the database is locked, or descriptors ran out.
        """
        if not self._path.is_file():
            # A missing file is never created here: an empty inbox would take the place of a lost one, and nobody would
            # notice.
            raise StoreBroken(f"{self._path}: there is no such database: run the migrations, or restore a backup")
        try:
            connection = connect(self._path, "rw", timeout=self._busy_timeout, cached_statements=CACHED_STATEMENTS)
        except sqlite3.Error as error:
            raise self._failure(error) from error
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                raise StoreBroken(f"{self._path}: it was never migrated: run the migrations")
            for pragma in (*_SHARED_PRAGMAS, *pragmas):
                connection.execute(pragma)
            self._probe(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._failure(error) from error
        except StoreError:
            connection.close()
            raise
        self._connection = connection

    def _probe(self, connection: SqliteConnection) -> None:
        """Do once, at the start, whatever would otherwise fail later."""

    def _failure(self, error: sqlite3.Error) -> StoreError:
        failure = storage_failure(error)
        if failure is None:
            return StoreError(f"{self._path}: {error}")
        # A quota that is used up looks like a disk that fails. After a write that failed, unlike a sync, there is no
        # doubt about what was stored before.
        if error.sqlite_errorcode == sqlite3.SQLITE_IOERR_WRITE and (reason := shortage(self._path)) is not None:
            failure = StoreUnavailable(f"the disk is full: {reason}: {error} ({error.sqlite_errorname})")
        return type(failure)(f"{self._path}: {failure}")

    def _close(self) -> Report | None:
        try:
            self._connection.close()
        except sqlite3.Error as error:
            return Report(error=self._failure(error))
        return None


def _nothing(_: object) -> None:
    """A piece of work that does nothing."""


def _ignore() -> None:
    """The default callback: nobody remembers what was written."""


def require_writable(connection: sqlite3.Connection) -> None:
    """Prove, without writing, that the database can be written: it is not read-only, and nobody holds its lock.

    BEGIN IMMEDIATE is not enough. Where the file could only be opened for reading, BEGIN IMMEDIATE silently begins a
    transaction that reads.

    Raises:
        sqlite3.OperationalError: it cannot, with SQLite's code for the reason.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {number}")
    finally:
        connection.execute("ROLLBACK")


def _data_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


class Backlog:
    """Guesses when the log is large enough to be moved, because SQLite tells its size only when moving it.

    A row that is written alone takes about two pages of the log, and one of a thousand rows takes a quarter of a page.
    So the guess is what the rows before took, and at least a quarter of a page and at most four pages for each row.

    Large enough is `CHECKPOINT_PAGES`, or fewer where moving as many took longer than `MOVE_SECONDS`.
    """

    __slots__ = ("_moved_at", "_pages", "_rows")

    def __init__(self) -> None:
        self._moved_at = 0
        self._pages = CHECKPOINT_PAGES
        self._rows = CHECKPOINT_PAGES // 2

    def is_due(self, written: int) -> bool:
        """Whether it is time to move the log. `written` counts the rows since the connection was made, in 32 bits."""
        return self._rows_since(written) >= self._rows

    def moved(self, written: int, pages: int, seconds: float) -> None:
        """Note that the log was moved within some seconds, or that moving it failed.

        Args:
            written: counts the rows since the connection was made, in 32 bits.
            pages: how many the log had; -1 where nobody knows.
            seconds: how long it took.
        """
        rows = self._rows_since(written)
        self._moved_at = written
        if rows and pages > 0:
            self._judge(pages, seconds)
            self._rows = min(max(rows * self._pages // pages, self._pages // 4), self._pages * 4)

    def _judge(self, pages: int, seconds: float) -> None:
        """Halve what is large enough if it took too long, and double it once twice as much would be quick enough."""
        if seconds > MOVE_SECONDS:
            self._pages = max(self._pages // 2, LEAST_CHECKPOINT_PAGES)
        elif seconds < MOVE_SECONDS / 3 and pages >= self._pages // 2:
            self._pages = min(self._pages * 2, CHECKPOINT_PAGES)

    def _rows_since(self, written: int) -> int:
        # SQLite counts in an int of 32 bits, which overflows after some weeks on a busy server.
        return (written - self._moved_at) % 2**32


class Writer(_Connection):
    """The one connection that writes and checkpoints."""

    batch_limit = 1

    def __init__(self, path: Path, busy_timeout: float, timer: Callable[[], float]) -> None:
        super().__init__(path, busy_timeout)
        self._timer = timer
        self._identity: tuple[tuple[int, int], ...]
        # Kept as text, because making the text anew costs as much as the `stat` itself.
        self._names = str(path), f"{path}-wal"
        self._latched: StoreBroken | None = None
        self._backlog = Backlog()
        # SQLite's number for the state in which this connection left the database. A commit of another connection
        # changes the number.
        self._version: int
        # Called on the writer's thread whenever something that was written is undone.
        self.on_rollback: Callable[[], None] = _ignore
        # Called on the writer's thread before the log is moved into the database, and after it.
        self.on_log_moving: Callable[[], None] = _ignore
        self.on_log_moved: Callable[[], None] = _ignore
        # Called on the writer's thread, inside the transaction that finds a commit of somebody else, before any work is
        # done.
        self.on_others_wrote: Callable[[], None] = _ignore

    def open(self) -> None:
        """Connect, and prove that the file can be written."""
        self._open(
            (
                # An fsync at every commit, so that what is acknowledged survives a power loss. In WAL mode NORMAL makes
                # no fsync.
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
                f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}",
                f"PRAGMA wal_autocheckpoint = {WAL_AUTOCHECKPOINT}",
                f"PRAGMA cache_size = -{WRITER_CACHE}",
            )
        )

    def _probe(self, connection: SqliteConnection) -> None:
        # So that a read-only file or a held lock is found at the start and not by the first event.
        require_writable(connection)
        self._version = _data_version(connection)
        self._identity = self._files()

    def run(self, calls: Sequence[Call[Any]]) -> Report:
        """Run one call in a transaction and commit it, as the module describes. The batch has one call."""
        [call] = calls
        if not isinstance(call.work, ChildrenFirst):
            return self._run(call)
        # Inside a transaction the pragma does nothing, so it stands around the transaction.
        self._connection.execute("PRAGMA foreign_keys = OFF")
        try:
            return self._run(call)
        finally:
            self._connection.execute("PRAGMA foreign_keys = ON")

    def _run(self, call: Call[Any]) -> Report:
        began = self._timer()
        try:
            if self._latched is not None:
                return self._fail(self._latched, began, call)
            if call.work is overwrite:
                self._overwrite(call)
            else:
                self._commit(call)
            self._require_same_files()
        except sqlite3.Error as error:
            failure = self._damage_or_worse(self._failure(error))
        except StoreError as error:
            failure = error
        else:
            done = call.error is None
            return Report(int(done), int(not done), self._timer() - began)
        return self._fail(failure, began, call)

    def after(self) -> Report | None:
        """Move the log into the database once it is large."""
        if self._latched is not None or not self._backlog.is_due(self._connection.total_changes):
            return None
        return self._move_log()

    def idle(self) -> Report | None:
        """Move the log into the database while nobody waits, so that fewer commits have to."""
        return None if self._latched is not None else self._move_log()

    def _move_log(self) -> Report | None:
        pages = -1
        began = self._timer()
        self.on_log_moving()
        try:
            _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            return self._fail(self._failure(error), began)
        finally:
            self._backlog.moved(self._connection.total_changes, pages, self._timer() - began)
        self.on_log_moved()
        return None

    def close(self) -> Report | None:
        """Move the whole log into the database and close. A broken database is only closed.

        `PRAGMA optimize` is not run: every query has its index, and without statistics the planner always takes that
        index. Statistics of a database that was still small made the planner scan tables, and it would go on scanning
        after the database grew.
        """
        if self._latched is None:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                report = Report(error=self._failure(error))
                return self._close() or report
        return self._close()

    def _commit(self, call: Call[Any]) -> None:
        """Run the work in a transaction. What the work raises goes to the caller, and what the work did is undone."""
        connection = self._connection
        version = self._begin()
        try:
            call.value = call.work(connection)
        except Exception as error:  # noqa: BLE001 -- the work's own error is for whoever asked
            self._raise_if_storage(error)
            self._roll_back()
            call.error = error
            return
        if not connection.in_transaction:
            raise StoreError("a piece of work ended the transaction it ran in")
        connection.execute("COMMIT")
        self._version = version

    def _overwrite(self, call: Call[Any]) -> None:
        """Write the file anew. It is the one piece of work that runs outside a transaction."""
        # In a transaction of its own it is noticed first if somebody else has written.
        self._commit(Call(_nothing))
        call.value = overwrite(self._connection)
        self._version = _data_version(self._connection)
        self.on_log_moved()

    def _begin(self) -> int:
        """Begin to write. Returns the version of the database, which becomes this connection's own once it commits.

        Until then the callback is called again in each transaction, because what it did in this one may be undone.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        version = _data_version(self._connection)
        if version != self._version:
            self.on_others_wrote()
        return version

    def _fail(self, failure: StoreError, began: float, call: Call[Any] | None = None) -> Report:
        try:
            self._roll_back()
        except sqlite3.Error as error:
            failure = StoreBroken(f"{self._path}: after an error ({failure}) the rollback failed: {error}")
        if isinstance(failure, StoreBroken):
            self._latched = failure
        if call is not None:
            call.error = twin(failure)
        return Report(failed=int(call is not None), seconds=self._timer() - began, error=failure)

    def _raise_if_storage(self, error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and storage_failure(error) is not None:
            raise error

    def _roll_back(self) -> None:
        self.on_rollback()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _files(self) -> tuple[tuple[int, int], ...]:
        """Which files stand at the path of the database and of its log."""
        database, log = self._names
        ours, its = os.stat(database), os.stat(log)
        return (ours.st_dev, ours.st_ino), (its.st_dev, its.st_ino)

    def _damage_or_worse(self, failure: StoreError) -> StoreError:
        """A file that was moved or replaced looks damaged as well, and is no longer the one to write to."""
        if isinstance(failure, StoreDamaged):
            try:
                self._require_same_files()
            except StoreBroken as worse:
                return worse
        return failure

    def _require_same_files(self) -> None:
        """Raise if somebody has moved the files away. Two `stat` calls, some 3 µs a commit.

        This is called after the commit and before the answer, so that everything acknowledged is in the file that a
        restart will open.
        """
        try:
            same = self._files() == self._identity
        except OSError as error:
            raise StoreBroken(f"{self._path}: the database or its log is gone: {error.strerror}") from error
        if not same:
            raise StoreBroken(f"{self._path}: the database or its log was replaced by another file")


class Reader(_Connection):
    """A connection that cannot write. It makes no checkpoints either, because two can corrupt a WAL database."""

    batch_limit = READ_BATCH

    def open(self) -> None:
        """Connect."""
        self._open(
            (
                "PRAGMA query_only = ON",
                "PRAGMA wal_autocheckpoint = 0",
                f"PRAGMA cache_size = -{READER_CACHE}",
            )
        )

    def run(self, calls: Sequence[Call[Any]]) -> Report:
        """Run the calls in one read transaction, one snapshot for all, which begins after the last call was made.

        Behind a call that needs a damaged page there is another transaction. Calls that are all `Alike` need none.
        """
        if (report := self._run_alike(calls)) is not None:
            return report
        connection = self._connection
        failure: StoreError | None = None
        failed = 0
        for call in calls:
            try:
                if not connection.in_transaction:
                    connection.execute("BEGIN")
                call.value = call.work(connection)
            except sqlite3.Error as error:
                failed += 1
                call.error = error
                # The connection is read-only on purpose, so trying to write is the work's own mistake.
                if storage_failure(error) is not None and error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                    call.error = failure = self._failure(error)
                if isinstance(call.error, StoreDamaged) and connection.in_transaction:
                    # SQLite remembers until the transaction ends that it has met a damaged page.
                    connection.execute("ROLLBACK")
            except Exception as error:  # noqa: BLE001 -- one caller's error is never another's
                failed += 1
                call.error = error
        try:
            if connection.in_transaction:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            failure = self._failure(error)
        return Report(len(calls) - failed, failed, error=failure)

    def _run_alike(self, calls: Sequence[Call[Any]]) -> Report | None:
        """Answer calls that are all of one kind; None if they are not, or could not be answered together."""
        questions = []
        first = calls[0].work
        if not isinstance(first, Alike) or self._connection.in_transaction:
            return None
        for call in calls:
            work = call.work
            if not isinstance(work, Alike) or work.answer is not first.answer:
                return None
            questions.append(work.question)
        try:
            answers = first.answer(self._connection, questions)
        except Exception:  # noqa: BLE001 -- whose fault it is shows when each is answered by itself
            return None
        failed = 0
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, Exception):
                failed += 1
                call.error = answer
            else:
                call.value = answer
        return Report(len(calls) - failed, failed)

    def after(self) -> Report | None:
        """Nothing is left to do."""
        return None

    def idle(self) -> Report | None:
        """Nothing to tidy."""
        return None

    def close(self) -> Report | None:
        """Close the connection."""
        return self._close()
