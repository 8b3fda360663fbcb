"""What `djactors backup` does: a checked copy of the database while a server serves it.

The server is not asked. A second process reads the file in one snapshot, with pauses, so that the server's commits go
on beside it. The copy is checked before it gets its name: its pages, its schema, and the mark of every change.

Then a note beside the database says of what moment the copy is, so that the server can tell how old the newest one is.

A copy takes the name that was asked for, which must not exist; or, in a folder, a name by its time, as in
`inbox-20260127T103000Z.db`. Then as many copies as are to be kept stay in the folder, and older ones are removed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from djactors.domain.times import WALL_CLOCK
from djactors.inbox import importing, schema
from djactors.inbox.copies import identity
from djactors.inbox.proving import LogBrokenError, Proved, prove
from djactors.operations.diagnosis import MIN_FREE_BYTES, VERDICTS
from djactors.operations.postgresql_backups import command_to_dump
from djactors.store.engines import Place, is_url, names_folder
from djactors.store.errors import MigrationError, StoreError
from djactors.store.room import Copied
from djactors.store.sqlite import copied
from djactors.store.sqlite.connection import SqliteConnection
from djactors.store.sqlite.copying import COMPANIONS, Copy, Pace, snapshot
from djactors.store.sqlite.engine import SqliteEngine
from djactors.store.sqlite.integrity import damage

__all__ = [
    "KEPT",
    "STAMP",
    "BackedUp",
    "Checking",
    "Copying",
    "NotBackedUpError",
    "Report",
    "back_up",
    "check_copy",
    "require_installation",
    "require_room",
]

KEPT = 14
"""How many copies stay in a folder unless `--keep` says another number: two weeks of nightly ones."""

PARTIAL = ".partial"
"""What follows the name of a copy until the copy is whole."""

STAMP = "%Y%m%dT%H%M%SZ"
"""How a time is written into the name of a file, so that names sort by time."""


class NotBackedUpError(StoreError):
    """There is no copy; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Copying:
    """How far the copy is, in pages."""

    pages: int
    total: int

    def __str__(self) -> str:
        return f"copying: {self.pages} of {self.total} pages ({_percent(self.pages, self.total)} %)"


@dataclass(frozen=True, slots=True)
class Checking:
    """How far the check of the copy is, in changes of its log; none is looked at before all pages are."""

    changes: int
    total: int

    def __str__(self) -> str:
        if self.total == 0:
            return "checking the pages of the copy"
        return f"checking: {self.changes} of {self.total} changes ({_percent(self.changes, self.total)} %)"


Report = Callable[[Copying | Checking], None]


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A copy that was made and checked.

    Attributes:
        copy: the file.
        size: its bytes.
        tenants: how many tenants are in it.
        changes: how many changes their logs have, each of which was checked.
        behind: the migrations that it lacks; none, unless an older version of djactors served the database.
        removed: older copies in the folder that were removed.
        unnoted: why the server does not hear of the copy; None if it does.
    """

    copy: Path
    size: int
    tenants: int
    changes: int
    behind: tuple[str, ...]
    removed: tuple[Path, ...]
    unnoted: str | None


def back_up(
    source: Place,
    to: str | os.PathLike[str],
    report: Report,
    *,
    keep: int | None = None,
    now: Callable[[], datetime] = WALL_CLOCK,
    pace: Pace | None = None,
) -> BackedUp:
    """Copy the database of an installation, which a server may serve meanwhile. Blocks.

    If this raises, or is interrupted, there is no copy, and no part of one. After kill -9 a part may be left, whose
    name ends with `.partial`; the next call with the same `to` writes it anew.

    Args:
        source: the file of the database. It may have the schema of an older version.
        to: the file to make, or a folder that is there.
        report: told of each step.
        keep: how many copies stay in the folder, the new one among them; `KEPT` if it is None.
        now: the wall clock, which names a copy in a folder.
        pace: how to leave room to a server; as a copy beside a busy server does, if it is None.

    Raises:
        NotBackedUpError: there is no installation, or `to` exists, or the copy is not as it should be.
        MigrationError: the database is another program's, or newer than this program.
        StoreError: the database cannot be read, or the copy cannot be written.
    """
    if is_url(source):
        raise NotBackedUpError(f"PostgreSQL is backed up by its own program: run `{command_to_dump(str(source), to)}`")
    database = SqliteEngine(source).path
    if not database.is_file():
        raise NotBackedUpError(f"--database: {source} is not there: name the file that the server uses")
    folder = Path(to) if os.path.isdir(to) else None
    if folder is None and names_folder(to):
        raise NotBackedUpError(
            f"{os.fspath(to)} is a folder that is not there: make it first, or mount its disk; or name a file"
        )
    if folder is None and keep is not None:
        raise NotBackedUpError(f"--keep: {to} is no folder that is there: make it, or leave --keep out")
    begun = now()
    copy_path = _absolute(to) if folder is None else folder / f"{database.stem}-{begun.astimezone(UTC):{STAMP}}.db"
    _require_free_name(copy_path, database)
    # In a folder the name is the same each time, so that what a killed command left is not left for ever.
    partial = (copy_path if folder is None else folder / database.stem).name + PARTIAL
    with Copy(copy_path.with_name(partial)) as copy:
        with snapshot(database) as origin:
            behind = require_installation(origin, str(source))
            require_room(origin, copy_path, database)
            of = identity(origin)
            copy.fill(origin, database, pace or Pace(), lambda pages, total: report(Copying(pages, total)))
        proved = check_copy(copy, str(database), "find out where with `djactors check`", report)
        size = copy.path.stat().st_size
        copy.keep_as(copy_path)
    removed = () if folder is None else _remove_older(folder, copy_path, database.stem, KEPT if keep is None else keep)
    unnoted = None
    shown = os.fsencode(copy_path.absolute()).decode(errors="replace")
    try:
        copied.note(database, Copied(begun.timestamp(), of, shown, size))
    except OSError as error:
        # The copy is good, whether the server hears of it or not.
        unnoted = f"{database}{copied.ENDING}: {error.strerror}"
    return BackedUp(copy_path, size, proved.tenants, proved.changes, behind, removed, unnoted)


def check_copy(copy: Copy, origin: str, mend: str, report: Report) -> Proved:
    """Check a copy: its pages, its schema, its foreign keys and its log.

    Args:
        copy: the copy.
        origin: what it was copied from. Whatever is wrong with the one is wrong with the other.
        mend: what to do then.
        report: told of each step.

    Raises:
        NotBackedUpError: it is not as it should be.
        StoreDamaged: it cannot be read.
    """
    report(Checking(0, 0))
    with snapshot(copy.path) as connection:
        found = damage(connection, "quick_check", VERDICTS, at_work=lambda: report(Checking(0, 0)))
        if found is not None:
            raise NotBackedUpError(f"{origin} is damaged ({found}): {mend}")
        behind = require_installation(connection, origin)
        orphans = connection.execute("PRAGMA foreign_key_check").fetchone()
        if orphans is not None:
            raise NotBackedUpError(f"{origin} has rows of {orphans[0]} that point nowhere: {mend}")
        try:
            in_part = importing.under_way_if_known(connection, behind)
            return prove(connection, lambda changes, total: report(Checking(changes, total)), in_part)
        except LogBrokenError as error:
            raise NotBackedUpError(f"the log in {origin} is damaged: {error}: {mend}") from error


def require_installation(connection: SqliteConnection, name: str) -> tuple[str, ...]:
    """Raise unless a database is one of ours, of this version or an older one. Returns the migrations that it lacks.

    Raises:
        NotBackedUpError: there is nothing in it.
        MigrationError: it is another program's, or newer than this program.
    """
    try:
        behind = schema.lacking(connection)
    except MigrationError as error:
        raise MigrationError(f"{name}: {error}") from error
    if len(behind) == len(schema.names()):
        raise NotBackedUpError(f"{name} holds no installation: name another file")
    return tuple(behind)


def require_room(origin: SqliteConnection, target: Path, database: Path | None) -> None:
    """Raise unless a copy has room.

    Args:
        origin: a connection to what is copied.
        target: where the copy shall be.
        database: what a server may be serving. On its disk some room must be left, or the server would stop writing.

    Raises:
        NotBackedUpError: it has not.
    """
    [(pages,)] = origin.execute("PRAGMA page_count").fetchall()
    [(size,)] = origin.execute("PRAGMA page_size").fetchall()
    try:
        is_shared = database is not None and os.stat(target.parent).st_dev == os.stat(database.parent).st_dev
        free = shutil.disk_usage(target.parent).free
    except OSError as error:
        raise NotBackedUpError(f"{target.parent}: {error.strerror}: make the folder, or name another one") from error
    wanted = pages * size + (MIN_FREE_BYTES if is_shared else 0)
    if free < wanted:
        left = ", so that the server has some left" if is_shared else ""
        raise NotBackedUpError(
            f"{target.parent}: {_mebibytes(free)} are free, and the copy needs {_mebibytes(wanted)}{left}: free some "
            "space, or use another disk"
        )


def _require_free_name(copy: Path, database: Path) -> None:
    if os.path.exists(copy) and os.path.samefile(copy, database):
        raise NotBackedUpError(f"{copy} is the database itself: name another file for the copy")
    if str(copy) in {f"{database}{ending}" for ending in (*COMPANIONS, ".lock", copied.ENDING)}:
        raise NotBackedUpError(f"{copy} belongs to the database itself: name another file for the copy")
    if os.path.lexists(copy):
        raise NotBackedUpError(
            f"{copy} exists already: name a new file, or a folder, where copies are named by their time"
        )
    if not copy.parent.is_dir():
        raise NotBackedUpError(f"{copy.parent} is not there: make the folder, or name another file")


def _remove_older(folder: Path, made: Path, stem: str, keep: int) -> tuple[Path, ...]:
    """Remove the oldest copies of this database. The one that was made now stays, whatever the clock says.

    Copies of another installation stay, too, whose database has the same name.
    """
    ours = re.compile(rf"{re.escape(stem)}-\d{{8}}T\d{{6}}Z\.db")
    named = (path for path in folder.iterdir() if path.name != made.name and ours.fullmatch(path.name))
    ours_too = _identity(made)
    others = sorted(path for path in named if _identity(path) == ours_too)
    removed = others[: max(0, len(others) - (keep - 1))]
    for path in removed:
        path.unlink(missing_ok=True)
    return tuple(removed)


def _identity(path: Path) -> str | None:
    """Whose database a file is, the same in all its copies; None if that cannot be read."""
    try:
        with snapshot(path) as connection:
            return identity(connection)
    except StoreError:
        return None


def _absolute(to: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(to))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _percent(done: int, total: int) -> int:
    return 100 if total == 0 else done * 100 // total
