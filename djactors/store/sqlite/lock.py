"""One database has one writing process: a lock on ``FILE.lock``, and one on the database itself.

SQLite's own locks would let two servers take turns on one file, each with its own idea of who is connected. These locks
refuse the second server, and every other command that writes, and name the holder. They are of the kind ``flock``, so
the kernel drops them when the process ends, however it ends.

The lock of ``FILE.lock`` is taken first, because there may be no database yet. The lock of the database itself refuses
a server that comes by a hard link, or after ``FILE.lock`` was removed. It does not meet SQLite's locks, which are of
another kind (``fcntl``). SQLite's locks have a trap: a process loses all that it has on a file when it closes any
descriptor of that file. So the descriptor stays open for as long as the lock is held, and no second one is opened in
this process.

``FILE.lock`` stays, because after a removal two processes could each hold a file of the same name. It also notes what
the next start has to know of the database after a crash:

    PID                              empty where nobody holds it
    database INODE SIZE MTIME        as the file was when the write-ahead log was moved into it last
     log INODE SIZE MTIME            on the same line, while the log is being moved: as the log is

So a database that is gone is missed and not made anew, empty (`missing_database`), and a file that somebody has put in
the place of the one that the log belongs to is told from that one (`is_as_noted`, `is_half_moved`). SQLite itself
applies a log to any file of the right name.
"""

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from djactors.store.errors import DatabaseLocked, StoreUnavailable
from djactors.store.sqlite.half_moved import has_begun_to_take_in
from djactors.store.sqlite.ownership import give
from djactors.store.sqlite.room import NO_ROOM

__all__ = ["DatabaseLock", "is_as_noted", "is_half_moved", "is_held_here", "missing_database"]

# A pid has at most 7 digits on Linux, the numbers of the note at most 20; whatever else stands in the file is not ours.
_TEXT_BYTES = 192
# The first word of the second line of the lock file, once there was a database.
_NOTE = "database"
# What stands between the state of the database and that of its log, while that is being moved.
_LOG = " log "

_LOCKS = "/proc/locks"
"""Where Linux lists who holds a lock. https://man7.org/linux/man-pages/man5/proc_locks.5.html"""

_held: set[tuple[int, int]] = set()
"""Device and inode of the databases that this process holds."""


class DatabaseLock:
    """The right to write to one database file, for this process.

    The lock is not reentrant, and it does not keep threads apart. The path is resolved first, so that a symbolic link
    has the same lock as its file.
    """

    __slots__ = ("_database", "_fd", "_file", "_guard", "_identity", "path")

    def __init__(self, database: str | os.PathLike[str]) -> None:
        self._database = os.path.realpath(database)
        self.path = Path(f"{self._database}.lock")
        # `note_state` is called on another thread.
        self._guard = threading.Lock()
        self._fd: int | None = None
        self._file: int | None = None
        self._identity: tuple[int, int] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self) -> None:
        """Take the lock, or raise at once if somebody else holds it. A database that is there is held as well.

        Raises:
            DatabaseLocked: another process holds the lock; the error has its pid.
            StoreUnavailable: there is no room for the lock file.
            OSError: the lock file cannot be created or written.
        """
        if self._fd is not None:
            raise RuntimeError(f"{self.path} is held by this object already")
        try:
            self._acquire()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            mend = "the disk is full: free some space and start again"
            raise StoreUnavailable(f"{self._database}: {mend} ({error.strerror})") from error

    def _acquire(self) -> None:
        fd = self._open()
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _ = _read(fd)
                raise self._refusal(pid) from None
            _, note = _read(fd)
            _write(fd, str(os.getpid()), note)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        try:
            self.hold_database()
        except BaseException:
            self.release()
            raise

    def _open(self) -> int:
        """Open the lock file, which is made if it is missing.

        If root makes it, it belongs to the owner of the database, who could not take the lock otherwise. One that was
        there is given to nobody: whoever may write to the folder can put a link to any file there.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            fd = os.open(self.path, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            return os.open(self.path, flags, 0o600)
        # There may be no database yet, and some file systems let nobody give a file away.
        with suppress(OSError):
            give(fd, os.stat(self._database))
        return fd

    def hold_database(self) -> None:
        """Hold the database itself, once there is one, and note that there was. Whoever makes a database calls this.

        Raises:
            DatabaseLocked: another process holds it by another name.
            OSError: the lock file cannot be written.
        """
        if self._fd is None:
            raise RuntimeError(f"{self.path} is not held")
        # Where there is nothing to open yet, or it may not be opened, whoever opens it finds out.
        with suppress(OSError):
            self._open_database()
        if self._file is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._refusal(_holder_of(os.fstat(self._file))) from None
        if os.fstat(self._file).st_size > 0:
            _, note = _read(self._fd)
            _write(self._fd, str(os.getpid()), note or _NOTE)

    def note_state(self) -> None:
        """Note how the database is now that the write-ahead log was moved into it. May be called on any thread.

        What cannot be noted costs the next start after a crash a look at the whole file.
        """
        with self._guard, suppress(OSError):
            if self._fd is not None:
                _write(self._fd, str(os.getpid()), f"{_NOTE} {_state(self._database)}")

    def note_move(self) -> None:
        """Note that the write-ahead log is about to be moved into the database. May be called on any thread.

        Whoever is killed meanwhile leaves a database that is not as it was noted, and this is how the next start knows.
        """
        with self._guard, suppress(OSError):
            if self._fd is not None:
                _, note = _read(self._fd)
                before, _, _ = note.partition(_LOG)
                _write(self._fd, str(os.getpid()), f"{before}{_LOG}{_state(f'{self._database}-wal')}")

    def release(self) -> None:
        """Give the lock back. This has no effect if it is not held."""
        with self._guard:
            if self._fd is None:
                return
            fd, self._fd = self._fd, None
        file, self._file = self._file, None
        if self._identity is not None:
            _held.discard(self._identity)
            self._identity = None
        try:
            # The pid is removed so that no message names a process that has ended. Closing the descriptor releases the
            # lock.
            _, note = _read(fd)
            _write(fd, "", note)
        finally:
            os.close(fd)
            if file is not None:
                os.close(file)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open_database(self) -> None:
        if self._file is not None:
            return
        found = os.stat(self._database)
        identity = (found.st_dev, found.st_ino)
        if identity in _held:
            raise self._refusal(os.getpid())
        # A pipe of this name would keep whoever opens it waiting.
        self._file = os.open(self._database, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._identity = identity
        _held.add(identity)

    def _refusal(self, pid: int | None) -> DatabaseLocked:
        # The file is empty for the instant between the holder's flock and its write.
        holder = f"process {pid}" if pid is not None else "another process"
        return DatabaseLocked(f"{self._database} is in use by {holder}: stop it first, or name another file", pid)


def is_held_here(database: str | os.PathLike[str]) -> bool:
    """Whether this process holds the lock of a database that is there."""
    try:
        found = os.stat(database)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) in _held


def missing_database(database: str | os.PathLike[str]) -> str | None:
    """Say what is wrong, and the mend, if a database was here that is gone or empty now; None if there was none.

    To make a new one in its place would destroy what its write-ahead log still holds, and an empty inbox would pass for
    the lost one.
    """
    path = os.path.realpath(database)
    try:
        if os.stat(path).st_size > 0:
            return None
        state = "is empty"
    except OSError:
        state = "is gone"
    lock, log = f"{path}.lock", f"{path}-wal"
    if _size(log) > 0:
        return (
            f"it {state}, and {log} holds what was written to it last: put the database back beside that, or a copy in "
            f"its place by `djactors restore`; to begin with nothing, move {log} and {lock} away"
        )
    if _note_beside(path):
        return (
            f"it {state}, and {lock} notes that a database was here: put the database back, or a copy by `djactors "
            f"restore`; to begin with nothing, remove {lock}"
        )
    return None


def is_as_noted(database: str | os.PathLike[str]) -> bool | None:
    """Whether a database is the file, in the state, that its write-ahead log belongs to. None if nothing was noted."""
    path = os.path.realpath(database)
    state, _ = _noted(path)
    if not state:
        return None
    try:
        return state == _state(path)
    except OSError:
        return False


def is_half_moved(database: str | os.PathLike[str]) -> bool:
    """Whether a database that is not as it was noted is the one that its log was being moved into when the server was
    killed. No means that nobody knows.

    The log must be the one that was noted, untouched, and the database must have begun to take it in. It is cut only
    once it has taken in all of it, so one that is shorter than noted lacks its end. SQLite has neither of them open in
    this process.
    """
    path = os.path.realpath(database)
    state, log = _noted(path)
    try:
        inode, size, _ = map(int, state.split())
        found = os.stat(path)
        return (
            log == _state(f"{path}-wal")
            and inode == found.st_ino
            and size <= found.st_size
            and has_begun_to_take_in(path, f"{path}-wal")
        )
    except (OSError, ValueError):
        # One of them cannot be read, or there is no such note.
        return False


def _noted(path: str) -> tuple[str, str]:
    """What is noted of the state of a database, and of its log if that was being moved; empty where nothing is."""
    _, _, states = _note_beside(path).partition(" ")
    state, _, log = states.partition(_LOG)
    return state, log


def _state(path: str) -> str:
    """What changes when the file is replaced or written to."""
    found = os.stat(path)
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _note_beside(path: str) -> str:
    try:
        with open(f"{path}.lock", "rb") as file:
            return _read(file.fileno())[1]
    except OSError:
        return ""


def _read(fd: int) -> tuple[int | None, str]:
    """The pid in a lock file, and the note."""
    pid, *more = os.pread(fd, _TEXT_BYTES, 0).decode(errors="replace").split("\n")
    note = more[0] if more and more[0].startswith(_NOTE) else ""
    return (int(pid) if pid.strip().isdecimal() else None), note


def _write(fd: int, pid: str, note: str) -> None:
    text = f"{pid}\n{note}\n" if note else f"{pid}\n" if pid else ""
    os.pwrite(fd, text.encode(), 0)
    os.ftruncate(fd, len(text))


def _holder_of(file: os.stat_result) -> int | None:
    """The process that has locked a file, as far as this system tells."""
    wanted = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        lines = Path(_LOCKS).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if "FLOCK" in fields and wanted in fields:
            pid = fields[fields.index(wanted) - 1]
            return int(pid) if pid.isdecimal() and pid != "0" else None
    return None
