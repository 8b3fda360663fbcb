"""What can go wrong with the store, sorted by what the caller should do about it.

- `StoreBusy`, `StoreUnavailable`: answer 503, so that the client tries again; the store recovers by itself.
  `StoreInPart` says so of what is being brought in. `StoreCrowded`, a `StoreBusy` that one caller has brought about
  alone, is answered 429.
- `StoreDamaged`: a page of the database is damaged. What needs the page is answered 503, and the rest goes on. It stays
  until somebody restores the database.
- `StoreBroken`: the store stays broken. Nothing can be acknowledged in this process any more: stop accepting and exit.
- `StoreClosed`: the server is stopping.
- `RowRefused`: one row cannot be carried to another database. Somebody has to correct it.
- `MigrationError`, `DatabaseLocked`, `PlaceRefused`: the program does not start; the message says what to do.

An error of these classes means that nothing was acknowledged. It does not prove that nothing was stored: a commit that
was in flight when the disk failed may be found again after a restart, so a retry needs its idempotency key.
"""

# ruff: noqa: N818 -- named for the state of the store, as the field does (trio.WouldBlock, trio.BusyResourceError).

__all__ = [
    "DatabaseLocked",
    "MigrationError",
    "PlaceRefused",
    "RowRefused",
    "StoreBroken",
    "StoreBusy",
    "StoreClosed",
    "StoreCrowded",
    "StoreDamaged",
    "StoreError",
    "StoreInPart",
    "StoreUnavailable",
    "twin",
]


class StoreError(Exception):
    """The store could not do what was asked."""


class StoreBusy(StoreError):
    """Too many calls wait already; nothing was done. Try again later."""


class StoreCrowded(StoreBusy):
    """Too much of the same caller is queued already; nothing was done. Others are not affected."""


class StoreUnavailable(StoreError):
    """The disk is full, or another process holds the database; nothing was done. The store recovers by itself."""


class StoreInPart(StoreUnavailable):
    """What was asked for is in the database in part only, because somebody brings it in at this moment."""


class StoreDamaged(StoreError):
    """What was asked for needs a page that is damaged; nothing was done. What needs other pages is not affected."""


class StoreBroken(StoreError):
    """The database can no longer be trusted: an I/O error, or the file was moved. Needs a restart."""


class StoreClosed(StoreError):
    """The store is closing or closed; nothing was done."""


class PlaceRefused(StoreError):
    """The place of a database cannot be understood, or no engine for it is installed; the message says the mend."""


class RowRefused(StoreError):
    """A row cannot be carried to another database; the message says why, and which row if that is known."""


class MigrationError(StoreError):
    """The database does not fit the migrations; the message names the file and the mend."""


def twin(error: StoreError) -> StoreError:
    """Copy an error of a running store for one more waiter.

    Each waiter needs an exception of its own, because an exception that is raised in several tasks collects the
    tracebacks of all of them.
    """
    same = type(error)(*error.args)
    same.__cause__ = error.__cause__
    return same


class DatabaseLocked(StoreError):
    """Another process serves or changes this database.

    Attributes:
        pid: the process id of the holder; None if it could not be read.
    """

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid
