"""What `djactors check` looks at: configuration, secret and database. It only reads, so a running server is not
disturbed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from djactors.config import SettingError, Settings, check_keys
from djactors.domain.times import WALL_CLOCK
from djactors.edge.auth import authenticator
from djactors.inbox import schema
from djactors.store.errors import MigrationError

MIN_FREE_BYTES = 200 * 2**20
"""With fewer free bytes than this, the disk counts as nearly full. The write-ahead log alone may keep 64 MiB
(`JOURNAL_SIZE_LIMIT`)."""

Finding = tuple[str, str | None]
"""What was looked at, and what is wrong with it, or None if it is well."""


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Look at everything. What is wrong with it is reported and never raised."""
    yield "configuration", None
    yield "keys", _keys(settings)
    path = Path(settings.database)
    yield "free space", _free_space(path)
    if not os.path.exists(path):
        yield "database", f"{path} does not exist: `djactors migrate --database {path}` or `serve` creates it"
        return
    if not os.path.isfile(path):
        yield "database", f"{path} is not a file: name another one"
        return
    yield "database rights", None if os.access(path, os.R_OK | os.W_OK) else f"{path} cannot be read and written"
    try:
        behind = schema.inspect(path)
    except MigrationError as error:
        # A file that is not one of our databases has no integrity to check.
        yield "schema version", str(error)
        return
    mend = f"behind by {', '.join(behind)}: run `djactors migrate --database {path}`"
    yield "schema version", mend if behind else None
    yield "database integrity", _integrity(path)


def _keys(settings: Settings) -> str | None:
    try:
        check_keys(settings)
        authenticator(settings, WALL_CLOCK)
    except SettingError as error:
        return str(error)
    return None


def _free_space(path: Path) -> str | None:
    folder = path.absolute().parent
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist: create it"
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"{folder} cannot be looked at: {error.strerror}"
    if free < MIN_FREE_BYTES:
        return f"{free // 2**20} MiB are free beside {path}: at least {MIN_FREE_BYTES // 2**20} MiB are wanted"
    return None


def _integrity(path: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        # The pragma can raise as well as report.
        return f"{path} is damaged ({error}): restore a backup"
    if rows != ["ok"]:
        return f"{path} is damaged ({'; '.join(rows)}): restore a backup"
    return None if orphans is None else f"{path} has rows of {orphans[0]} that point nowhere: restore a backup"
