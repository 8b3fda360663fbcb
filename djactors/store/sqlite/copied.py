"""The note of the newest copy, `FILE.copied` beside the database, by which a server hears of what another process made.

It says whose database was copied, because a file that somebody puts in the place of the database finds the note there.
A note that cannot be read says nothing.
"""

import os
from pathlib import Path

import msgspec

from djactors.store.room import Copied
from djactors.store.sqlite.durable import sync
from djactors.store.sqlite.ownership import give

__all__ = ["ENDING", "forget", "note", "noted"]

ENDING = ".copied"
"""What follows the database's name."""

_MODE = 0o644
"""The server may be another user than the one who copies, and there is nothing secret in the note."""

_MOST = 16 * 1024
"""Bytes that are read of it: a path takes 4 KiB at most."""


def note(database: Path, copied: Copied) -> None:
    """Note a copy that was made and checked, in the place of the note of an earlier one.

    Raises:
        OSError: it cannot be written.
    """
    final, partial = _path(database), f"{_path(database)}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, _MODE)
        give(descriptor, os.stat(database))
        file.write(msgspec.json.encode(copied) + b"\n")
        file.flush()
        os.fsync(descriptor)
    os.replace(partial, final)
    sync(database.parent)


def noted(database: Path) -> Copied | None:
    """The newest copy that was noted; None if there is no note, or none that can be read."""
    try:
        with open(_path(database), "rb") as file:
            return msgspec.json.decode(file.read(_MOST), type=Copied)
    except (OSError, msgspec.DecodeError):
        return None


def forget(database: Path) -> None:
    """Take the note away, because another file comes in the place of the database.

    Raises:
        OSError: it is there and cannot be removed.
    """
    Path(_path(database)).unlink(missing_ok=True)


def _path(database: Path) -> str:
    return f"{database}{ENDING}"
