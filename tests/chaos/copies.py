"""How a run copies the database of its server and puts the copy back: with SQLite alone, or with djactors' commands."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Protocol

from tests.serving import SECRET

COMMAND = (sys.executable, "-m", "djactors.cli")
PATIENCE = 120


class Copies(Protocol):
    """Blocks; called on a thread."""

    def make(self, database: Path) -> None:
        """Copy the database, whether it is served now or not."""

    def put_back(self, database: Path) -> None:
        """Put the last copy in the place of the database, which nobody serves."""


class SqliteCopies:
    """SQLite's own copies, put back by whoever knows which files to remove."""

    def __init__(self, folder: Path) -> None:
        self._copy = folder / "copy.db"

    def make(self, database: Path) -> None:
        """See `Copies`."""
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(self._copy)) as target:
            source.backup(target)

    def put_back(self, database: Path) -> None:
        """See `Copies`."""
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(self._copy, database)


class CommandCopies:
    """`djactors backup` into a folder and `djactors restore`; before that, all that the server had is deleted.

    `put_back_from` names the copies that were put back, in order.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "copies"
        self._folder.mkdir()
        self.put_back_from: list[Path] = []

    def make(self, database: Path) -> None:
        """See `Copies`."""
        self._run("backup", str(self._folder), "--database", str(database))

    def put_back(self, database: Path) -> None:
        """See `Copies`."""
        for suffix in ("", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        newest = max(self._folder.glob("*.db"))
        self._run("restore", str(newest), "--database", str(database))
        self.put_back_from.append(newest)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env={**os.environ, "JWT_SECRET": SECRET},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
