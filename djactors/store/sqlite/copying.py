"""Makes a file that is a copy of an SQLite database, while a server may write to the database.

The copy is of one moment, because one read transaction is open from its first page to its last. Without that
transaction, SQLite begins a copy anew whenever another process commits, and a busy server would never be copied. The
transaction has a price: SQLite cannot begin its write-ahead log anew until it ends, so the log grows by all that is
written meanwhile. So a copy pauses only while the log is small, and it is given up where the log grows too large.
https://www.sqlite.org/backup.html and https://www.sqlite.org/wal.html#avoiding_excessively_large_wal_files

Nothing here moves the log into the database, because the server does that itself, and two processes that both do it can
damage the file in versions of SQLite before 3.51.3. https://www.sqlite.org/wal.html#walresetbug

A copy has a name of its own until it is whole, checked and on the disk. What a killed command left under that name is
thrown away by the next one. A lock on that file keeps a second command away from it.
"""

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from djactors.store.errors import StoreDamaged, StoreError, StoreUnavailable
from djactors.store.sqlite.connection import SqliteConnection, connect
from djactors.store.sqlite.connections import BUSY_TIMEOUT
from djactors.store.sqlite.durable import sync
from djactors.store.sqlite.ownership import give
from djactors.store.sqlite.room import NO_ROOM, shortage

__all__ = ["COMPANIONS", "Copy", "Pace", "set_aside", "snapshot"]

COMPANIONS = ("-wal", "-shm", "-journal")
"""What SQLite may keep beside a database, by what follows the database's name."""

PAGES_OF_A_STEP = 64
"""Pages that are copied and made durable in one go, 256 KiB. While the disk writes them, the server's own commits wait
for it: with 8 MiB at a time their p99 was 2.6 times that of a quiet server, with 1 MiB 1.9 times, with this 1.4."""

RESTS = 3.0
"""How long a copy pauses after each step, as a multiple of what the step took. So a copy takes at most a quarter of a
processor and of the disk, whatever machine it is."""

LONGEST_REST = 1.0
"""Seconds of the longest pause. A step that took so long met a disk that is busy, and the log grows meanwhile."""

HURRIED_LOG = 256 * 1024 * 1024
"""Bytes of the write-ahead log beyond which a copy makes no pauses any more."""

LARGEST_LOG = 2 * 1024 * 1024 * 1024
"""Bytes by which the write-ahead log may grow until a copy is given up. The server moves a log of this size into the
database in some seconds, in which nothing is committed."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""The error numbers of a file system that has no second names for a file."""

COPY_CACHE = 2 * 1024
"""KiB of page cache for the copy, whose pages are written once each."""


class Pace:
    """How a copy leaves room to others.

    Args:
        rests: pauses as a multiple of the work; 0 where nobody else is at work.
        sleep: waits for some seconds.
        monotonic: a clock in seconds.
    """

    def __init__(
        self,
        rests: float = RESTS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rests = rests
        self._sleep = sleep
        self._monotonic = monotonic
        self._since = monotonic()

    def rest(self) -> None:
        """Pause after a piece of work."""
        if self._rests:
            worked = self._monotonic() - self._since
            self._sleep(min(worked * self._rests, LONGEST_REST))
        self._since = self._monotonic()


class Copy:
    """A copy that is being made at a path. Unless it is kept, nothing is left of it.

    Args:
        path: the name that it has meanwhile.

    Raises on entering:
        StoreUnavailable: another process makes a copy of that name, or there is no room, or no right to write there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept = False
        self._file: int

    def __enter__(self) -> Self:
        with _told(self.path):
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with _told(self.path):
                self._take()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._kept:
                self._remove_companions()
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._file)

    def fill(self, origin: SqliteConnection, database: Path, pace: Pace, report: Callable[[int, int], None]) -> None:
        """Copy a database. The copy then is one file in itself, without a write-ahead log.

        Args:
            origin: a connection inside a read transaction, which has been read from.
            database: the file that it reads.
            pace: how to leave room to others.
            report: told how many pages are copied, and of how many.

        Raises:
            StoreUnavailable: there is no room for the copy, or the log of the database has become too large.
            StoreDamaged: a page of the database is damaged.
        """
        before = _size(f"{database}-wal")

        def step(_status: int, left: int, total: int) -> None:
            os.fdatasync(self._file)
            report(total - left, total)
            log = _size(f"{database}-wal")
            if log > before + LARGEST_LOG:
                raise StoreUnavailable(
                    f"{database}-wal has grown by {(log - before) // 2**20} MiB while the database was copied, so the "
                    "copy was given up: copy it when less is written, or to a faster disk"
                )
            if log <= HURRIED_LOG:
                pace.rest()

        with _told(self.path), closing(connect(self.path, "rw", timeout=BUSY_TIMEOUT)) as copy:
            # The copy is thrown away if anything fails, so nothing is kept with which it could be mended.
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute(f"PRAGMA cache_size = -{COPY_CACHE}")
            try:
                origin.backup(copy, pages=PAGES_OF_A_STEP, progress=step)
            except sqlite3.DatabaseError as error:
                if isinstance(failure := _failure(database, error), StoreDamaged):
                    raise failure from error
                raise
            # A file that has no companions can be copied on, put on a medium that is read-only, and compared.
            copy.execute("PRAGMA journal_mode = DELETE")
        with _told(self.path):
            self._remove_companions()
            os.fsync(self._file)
            # Whoever looks at the copy now reads what the disk has.
            with suppress(OSError):
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def have_log(self) -> None:
        """Give the copy a write-ahead log, as the server wants it, and make that durable."""
        with _told(self.path):
            with closing(connect(self.path, "rw", timeout=BUSY_TIMEOUT)) as copy:
                copy.execute("PRAGMA journal_mode = WAL")
            os.fsync(self._file)

    def give_to(self, owner: os.stat_result) -> None:
        """Give the file to the owner of another one, if this process may do so, which is root."""
        with _told(self.path):
            give(self._file, owner)

    def keep_as(self, final: Path) -> None:
        """Give the copy its name, durably.

        Raises:
            StoreUnavailable: there is a file of that name.
        """
        with _told(self.path):
            if os.path.lexists(final):
                raise StoreUnavailable(f"{final} has been made by somebody else meanwhile: name another file")
            self.path.rename(final)
            self._kept = True
            sync(final.parent)

    def _take(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreUnavailable(
                f"{self.path} is being written by another process: wait until that is done"
            ) from None
        found = os.fstat(self._file)
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is None or (found.st_dev, found.st_ino) != (there.st_dev, there.st_ino):
            # The one who held it has given it its name meanwhile.
            raise StoreUnavailable(f"{self.path} was written by another process just now: try again")
        os.fchmod(self._file, 0o600)
        os.ftruncate(self._file, 0)
        self._remove_companions()

    def _remove_companions(self) -> None:
        for companion in COMPANIONS:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{companion}")


@contextmanager
def snapshot(path: Path) -> Iterator[SqliteConnection]:
    """Read a file at one moment, with what its write-ahead log holds. The file is not changed.

    Raises:
        StoreDamaged: it is no database, or damaged.
        StoreUnavailable: it cannot be read.
    """
    # SQLite makes the companions of a file that wants a log. Where it may not, and there is no log, it can do without.
    alone = not os.access(path.parent, os.W_OK) and not os.path.lexists(f"{path}-wal")
    with _told(path), closing(connect(path, "ro", timeout=BUSY_TIMEOUT, immutable=alone)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        yield connection


def set_aside(database: Path, kept: Path) -> None:
    """Give a database and its companions another name. Whoever calls this holds the lock of the database.

    At each moment, what is left at the old name is either all of it or no database, so that a start refuses it. So a
    new database never meets the old one's log. Where the file system can, the new name is given as a second one first,
    so that database and log are never parted.
    """
    endings = [ending for ending in ("", *COMPANIONS) if os.path.lexists(f"{database}{ending}")]
    with _told(database):
        for ending in endings:
            # The index of a log is made anew, and an empty log says nothing.
            if ending == "-shm" or (ending and _size(f"{database}{ending}") == 0):
                continue
            try:
                os.link(f"{database}{ending}", f"{kept}{ending}", follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                os.rename(f"{database}{ending}", f"{kept}{ending}")
        sync(database.parent)
        for ending in endings:
            with suppress(FileNotFoundError):
                os.unlink(f"{database}{ending}")
        sync(database.parent)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into one line."""
    try:
        yield
    except sqlite3.Error as error:
        raise _failure(path, error) from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StoreUnavailable(_full(path, error.strerror or "")) from error
        raise StoreUnavailable(f"{error.filename or path}: {error.strerror}: check the path and the rights") from error


def _failure(path: Path, error: sqlite3.Error) -> StoreError:
    primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and shortage(path) is not None):
        return StoreUnavailable(_full(path, str(error)))
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(f"{path} is damaged, or no database ({error})")
    return StoreUnavailable(f"{path}: {error}")


def _full(path: Path, reason: str) -> str:
    return f"{path.parent}: the disk is full ({reason}), so nothing was kept: free some space, or use another disk"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
