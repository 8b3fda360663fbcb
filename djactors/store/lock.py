"""One database has one writing process: a lock on ``FILE.lock``.

SQLite's own locks would let two servers take turns on one file, each with its own idea of who is connected. This lock
refuses the second server, and every other command that writes, and names the holder. The lock is an ``flock``, so the
kernel drops it when the process ends, however it ends. The lock file stays, because after a removal two processes could
each hold a file of the same name.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from djactors.store.errors import DatabaseLocked

__all__ = ["DatabaseLock"]

# A pid has at most 7 digits on Linux; whatever else stands in the file is not ours.
_PID_BYTES = 32


class DatabaseLock:
    """The right to write to one database file, for this process.

    The lock is not reentrant, and it does not keep threads apart. The path is resolved first, so that a symbolic link
    has the same lock as its file.
    """

    __slots__ = ("_fd", "path")

    def __init__(self, database: str | os.PathLike[str]) -> None:
        self.path = Path(f"{os.path.realpath(database)}.lock")
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self) -> None:
        """Take the lock, or raise at once if somebody else holds it.

        Raises:
            DatabaseLocked: another process holds the lock; the error has its pid.
            OSError: the lock file cannot be created or written.
        """
        if self._fd is not None:
            raise RuntimeError(f"{self.path} is held by this object already")
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._refusal(fd) from None
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def release(self) -> None:
        """Give the lock back. This has no effect if it is not held."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            # The pid is removed so that no message names a process that has ended. Closing the descriptor releases the
            # lock.
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _refusal(self, fd: int) -> DatabaseLocked:
        text = os.pread(fd, _PID_BYTES, 0).strip()
        pid = int(text) if text.isdigit() else None
        # The file is empty for the instant between the holder's flock and its write.
        holder = f"process {pid}" if pid is not None else "another process"
        database = str(self.path).removesuffix(".lock")
        return DatabaseLocked(f"{database} is in use by {holder}: stop it first, or name another file", pid)
