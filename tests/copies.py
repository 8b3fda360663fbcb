"""Copies of a database, made in every way that people make them, and how they are put back."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

from djactors.operations.backing_up import back_up
from djactors.operations.restoring import restore

Way = Literal["cp", "backup", "vacuum", "command"]
WAYS: tuple[Way, ...] = ("cp", "backup", "vacuum", "command")


def copy_of(database: Path, copy: Path, way: Way = "backup") -> Path:
    """Copy a database, with what is still in its write-ahead log; it may be served, but nobody may write meanwhile."""
    if way == "cp":
        for suffix in ("", "-wal"):
            source = database.with_name(database.name + suffix)
            if source.exists():
                shutil.copyfile(source, copy.with_name(copy.name + suffix))
        return copy
    if way == "command":
        return back_up(database, copy, _ignore).copy
    with closing(sqlite3.connect(database)) as source:
        if way == "vacuum":
            source.execute("VACUUM INTO ?", (str(copy),))
        else:
            with closing(sqlite3.connect(copy)) as target:
                source.backup(target)
    return copy


def put_back(copy: Path, database: Path, way: Way = "backup") -> None:
    """Put a copy in the place of a database that nobody serves, by the command of djactors or by hand."""
    if way == "command":
        restore(copy, database, _ignore, over_newer=True)
        return
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
        source = copy.with_name(copy.name + suffix)
        if source.exists() and suffix != "-shm":
            shutil.copyfile(source, database.with_name(database.name + suffix))


def put_back_online(copy: Path, database: Path) -> None:
    """Put a copy into a database while it is served, as `.restore` of the SQLite shell does."""
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(database)) as target:
        source.backup(target)


def _ignore(_: object) -> None:
    """Nobody looks how far it is."""
