"""Sorts SQLite's errors by what the caller should do about them (`djactors.store.errors`)."""

import sqlite3

from djactors.store.errors import StoreBroken, StoreDamaged, StoreUnavailable

__all__ = ["storage_failure"]

# Primary result codes (the low byte of the extended ones) that speak of the storage and not of the statement:
# https://www.sqlite.org/rescode.html
_HEALS = {
    sqlite3.SQLITE_BUSY: "the database is locked by another process",
    sqlite3.SQLITE_LOCKED: "the database is locked by another process",
    sqlite3.SQLITE_PROTOCOL: "the database is locked by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_INTERRUPT: "interrupted",
    # The process has no file descriptor left; others will be closed.
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
}
_BREAKS = {
    sqlite3.SQLITE_IOERR: "input/output error on the database file",
    sqlite3.SQLITE_NOTADB: "the file is not a database",
    sqlite3.SQLITE_READONLY: "the database file is read-only",
    sqlite3.SQLITE_PERM: "the database file may not be accessed",
}
_DAMAGED = "the database is damaged: find out where with `djactors check`, and restore a backup"
# I/O errors that mean "no memory" or "no space for the shared-memory file", and not that the disk has failed.
_HEALING_IOERR = {sqlite3.SQLITE_IOERR_NOMEM, sqlite3.SQLITE_IOERR_SHMSIZE}


def storage_failure(error: sqlite3.Error) -> StoreUnavailable | StoreDamaged | StoreBroken | None:
    """Sort an error by SQLite's result code. None means that the statement was wrong and not the storage."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    detail = f"{error} ({getattr(error, 'sqlite_errorname', code)})"
    if code in _HEALING_IOERR:
        return StoreUnavailable(f"no memory or no space for the write-ahead index: {detail}")
    if primary in _HEALS:
        return StoreUnavailable(f"{_HEALS[primary]}: {detail}")
    if primary == sqlite3.SQLITE_CORRUPT:
        return StoreDamaged(f"{_DAMAGED}: {detail}")
    if primary in _BREAKS:
        return StoreBroken(f"{_BREAKS[primary]}: {detail}")
    return None
