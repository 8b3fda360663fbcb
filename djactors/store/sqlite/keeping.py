"""Keeps a copy of a database file before an upgrade.

No earlier copy is ever written over. One that is the same as the file is not made a second time, so that a start which
fails again and again does not fill the disk.

The caller holds the `DatabaseLock`, so nobody else writes. No descriptor of the database may be opened here while
SQLite has one: closing it would drop SQLite's locks.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

from djactors.store.errors import MigrationError, StoreError
from djactors.store.sqlite.connection import connect
from djactors.store.sqlite.connections import BUSY_TIMEOUT
from djactors.store.sqlite.copying import Copy, Pace, snapshot
from djactors.store.sqlite.integrity import damage
from djactors.store.upgrading import UpgradeStopped

__all__ = ["PARTIAL", "keep", "require_room"]

PARTIAL = ".partial"
"""What follows the name of a copy until the copy is whole."""

HEADER_BYTES = 100
"""At the start of the file, where a copy has counters of its own.
https://www.sqlite.org/fileformat2.html#the_database_header"""

ROOM_BEYOND = 1.25
"""How much room there must be for each byte of the file: the copy, and what the upgrade itself makes of new indexes."""

_CHUNK = 2**20


def require_room(folder: Path, size: int) -> None:
    """Refuse to begin a copy that would fill the disk.

    Raises:
        MigrationError: the folder does not exist, may not be written, or has too little room.
    """
    if not os.path.isdir(folder):
        raise MigrationError(f"{folder}, where the copy before the upgrade goes, is no folder: create it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MigrationError(f"{folder}, where the copy before the upgrade goes, cannot be written: change its rights")
    free = shutil.disk_usage(folder).free
    if free < size * ROOM_BEYOND:
        raise MigrationError(
            f"the copy before the upgrade needs {size * ROOM_BEYOND / 2**20:.0f} MiB in {folder}, where "
            f"{free / 2**20:.0f} MiB are free: free some space, or name another folder for it with --upgrade-backup"
        )


def keep(database: Path, target: Path, goes_on: Callable[[], bool]) -> Path:
    """Copy a database file, and check the copy. Blocks. Returns where the copy is.

    Args:
        database: the file.
        target: the name of the copy. If another copy has it, a number is added to it.
        goes_on: asked now and then whether to go on.

    Raises:
        UpgradeStopped: the answer was no.
        MigrationError: the file cannot be copied, or the copy is not sound.
    """
    try:
        _move_log(database)
        for number in count(1):
            place = target if number == 1 else target.with_name(f"{target.name}.{number}")
            if not os.path.lexists(place):
                _make(database, place, goes_on)
                return place
            if _is_the_same(database, place, goes_on):
                return place
    except UpgradeStopped:
        raise
    except (StoreError, sqlite3.Error) as error:
        raise MigrationError(f"the copy before the upgrade failed: {error}") from error
    except OSError as error:
        raise MigrationError(f"the copy before the upgrade failed: {error.filename}: {error.strerror}") from error
    raise AssertionError("there are always more names")


def _move_log(database: Path) -> None:
    """Have the file hold everything, also what the log has that a killed process left."""
    with closing(connect(database, "rw", timeout=BUSY_TIMEOUT)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _make(database: Path, place: Path, goes_on: Callable[[], bool]) -> None:
    with Copy(place.with_name(place.name + PARTIAL)) as made:
        with snapshot(database) as origin:
            made.fill(origin, database, Pace(rests=0), lambda *_: _require(goes_on))
        _require(goes_on)
        with snapshot(made.path) as copied:
            found = damage(copied, "quick_check", 1, at_work=lambda: _require(goes_on))
        if found is not None:
            raise MigrationError(f"it is damaged ({found}): find out where with `djactors check`")
        made.give_to(database.stat())
        made.keep_as(place)


def _is_the_same(database: Path, copied: Path, goes_on: Callable[[], bool]) -> bool:
    """Whether a copy is one of the file as it is. SQLite has neither of them open."""
    if not copied.is_file() or database.stat().st_size != copied.stat().st_size:
        return False
    with database.open("rb") as left, copied.open("rb") as right:
        left.seek(HEADER_BYTES)
        right.seek(HEADER_BYTES)
        while chunk := left.read(_CHUNK):
            _require(goes_on)
            if chunk != right.read(_CHUNK):
                return False
    return True


def _require(goes_on: Callable[[], bool]) -> None:
    if not goes_on():
        raise UpgradeStopped(
            "stopped during the copy before the upgrade, nothing is changed: the next start begins anew"
        )
