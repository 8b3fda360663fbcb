"""What `djactors restore` does: put a copy in the place of the database, and say what is lost by that.

Rules:
  * The lock of the database is held all the while, so no server runs on it, and none starts.
  * What the present database has and the copy lacks is found before anything is changed, and goes only if the caller
    has said so. What cannot be found may be anything, so it counts as lost.
  * The copy is copied once more, beside the database, and checked there. Only then does it take the database's name.
  * The database that was there keeps its files, under another name.
  * Nothing has to be done for clients: each offset names its past, so a client that saw what is lost is told to load
    anew, and any other goes on where it was.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from djactors.domain.times import WALL_CLOCK
from djactors.inbox.losses import Accounts, Loss, losses, returned
from djactors.operations.amounts import amount
from djactors.operations.backing_up import STAMP, Copying, Report, check_copy, require_installation, require_room
from djactors.operations.postgresql_backups import command_to_restore
from djactors.store.engines import Place, is_url
from djactors.store.errors import StoreDamaged, StoreError, StoreUnavailable
from djactors.store.sqlite import copied
from djactors.store.sqlite.connection import SqliteConnection
from djactors.store.sqlite.copying import Copy, Pace, set_aside, snapshot
from djactors.store.sqlite.engine import SqliteEngine
from djactors.store.sqlite.lock import DatabaseLock, missing_database

__all__ = ["Difference", "NewerError", "NotRestoredError", "Restored", "restore"]

PARTIAL = ".restoring"
"""What follows the database's name while the copy is not in its place yet."""

SHOWN_TENANTS = 20
"""The most tenants of which is said what they lose, so that the lines fit on a screen."""

_OURS = {"schema_migrations", "tenants", "users", "changes"}


class NotRestoredError(StoreError):
    """Nothing was put back; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is lost when a copy takes the place of a database.

    Attributes:
        losses: of each tenant that loses something.
        reopened: how many people are let in again who were signed out or deactivated since the copy.
        erased: the tenant and the id of each who was erased since the copy, and is back.
        unknown: why nobody can tell what is lost, although the database is there; None if that is known.
        missing: what became of a database that was here before; nothing of it is lost by the copy.
    """

    losses: tuple[Loss, ...] = ()
    reopened: int = 0
    erased: tuple[tuple[int, int], ...] = ()
    unknown: str | None = None
    missing: str | None = None

    @property
    def is_loss(self) -> bool:
        """Whether the database has something that the copy lacks, or may have it."""
        return bool(self.losses or self.reopened or self.erased or self.unknown is not None)


class NewerError(NotRestoredError):
    """The database has what the copy lacks, or nobody can tell that it has not.

    Attributes:
        difference: what that is.
    """

    def __init__(self, message: str, difference: Difference) -> None:
        super().__init__(message)
        self.difference = difference


@dataclass(frozen=True, slots=True)
class Restored:
    """A copy that was put in the place of a database.

    Attributes:
        database: the file that servers use now.
        replaced: the file that was there before, under its new name; None if there was none.
        tenants: how many tenants the copy has.
        changes: how many changes their logs have, each of which was checked.
        difference: what is lost.
        behind: the migrations that it lacks, which the next start applies.
    """

    database: Path
    replaced: Path | None
    tenants: int
    changes: int
    difference: Difference
    behind: tuple[str, ...]


def restore(
    copy_path: str | os.PathLike[str],
    place: Place,
    report: Report,
    *,
    over_newer: bool = False,
    now: Callable[[], datetime] = WALL_CLOCK,
) -> Restored:
    """Put a copy in the place of the database. Blocks.

    If this raises, or is interrupted before the last moment, the database is as it was. After kill -9 it is as it was,
    or gone; then a server refuses to start, and the next call puts the copy in its place.

    Args:
        copy_path: the copy: what `back_up` made, or any file that holds an installation, with its log beside it.
        place: the file of the database.
        report: told of each step.
        over_newer: whether it may be put over a database that has what the copy lacks.
        now: the wall clock, which names the file that is replaced.

    Raises:
        NewerError: the database has what the copy lacks, or may have it.
        NotRestoredError: there is no copy, or it is the database itself.
        DatabaseLocked: a server runs on the database.
        MigrationError: the copy is another program's, or newer than this program.
        StoreError: the copy is damaged, or the new file cannot be written.
    """
    if is_url(place):
        raise NotRestoredError(
            f"PostgreSQL is restored by its own program: run `{command_to_restore(str(place), copy_path)}`"
        )
    copy = Path(os.path.abspath(copy_path))
    database = SqliteEngine(place).path
    _require_copy(copy, database)
    with DatabaseLock(database) as lock:
        with snapshot(copy) as origin:
            behind = require_installation(origin, str(copy))
            difference = _difference(database, origin)
            if difference.is_loss and not over_newer:
                raise NewerError(_why_left(difference, database, copy), difference)
            require_room(origin, database, None)
            with Copy(database.with_name(f"{database.name}{PARTIAL}")) as made:
                made.fill(origin, copy, Pace(rests=0), lambda pages, total: report(Copying(pages, total)))
                proved = check_copy(made, str(copy), "restore another copy", report)
                made.have_log()
                owner = os.stat(database if database.exists() else database.parent)
                made.give_to(owner)
                # What was copied last is not what comes here.
                copied.forget(database)
                replaced = _put_in_place(made, database, now())
                lock.note_state()
        if os.geteuid() == 0:
            with suppress(OSError):
                os.chown(lock.path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return Restored(database, replaced, proved.tenants, proved.changes, difference, behind)


def _require_copy(copy: Path, database: Path) -> None:
    if copy.is_dir():
        newest = max((path.name for path in copy.glob("*.db")), default=None)
        hint = "it has no copy" if newest is None else f"its newest copy by name is {newest}"
        raise NotRestoredError(f"{copy} is a folder: name the copy in it ({hint})")
    if not copy.is_file():
        raise NotRestoredError(f"{copy} is not there, or no file: name a copy that `djactors backup` has made")
    if database.exists() and os.path.samefile(copy, database):
        raise NotRestoredError(f"{copy} is the database itself: name a copy of it")


def _why_left(difference: Difference, database: Path, copy: Path) -> str:
    if difference.unknown is None:
        return f"{database} has what {copy} lacks, so it was left as it is: to lose that, say --over-newer"
    return (
        f"what {database} has and {copy} lacks cannot be told ({difference.unknown}), so it was left as it is: to put "
        f"the copy in its place all the same, say --over-newer; {database} then stays under another name"
    )


def _difference(database: Path, copy: SqliteConnection) -> Difference:
    """What the database has that the copy lacks."""
    missing = missing_database(database)
    if missing is not None:
        return Difference(missing=f"the database {missing.partition(',')[0].removeprefix('it ')}")
    if not database.exists():
        return Difference()
    if not database.is_file():
        raise NotRestoredError(f"{database} is not a file: name another one")
    try:
        with snapshot(database) as present:
            tables = _names(present, "SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not tables:
                return Difference()
            if not tables >= _OURS:
                raise NotRestoredError(f"{database} is an SQLite database of another program: name another file")
            people = returned(_accounts(present), _accounts(copy))
            return Difference(tuple(losses(present, copy)), people.reopened, people.erased)
    except (StoreDamaged, StoreUnavailable) as error:
        code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise NotRestoredError(f"{database} is held by another program, such as an SQLite shell: end it") from error
        return Difference(unknown=str(error))


def _accounts(connection: SqliteConnection) -> Accounts:
    return Accounts(connection, _names(connection, "SELECT name FROM pragma_table_info('users')"))


def _names(connection: SqliteConnection, statement: str) -> set[str]:
    return {name for (name,) in connection.execute(statement)}


def _put_in_place(made: Copy, database: Path, now: datetime) -> Path | None:
    there = os.path.lexists(database) or any(os.path.lexists(f"{database}{ending}") for ending in ("-wal", "-journal"))
    kept = _free_name(f"{database}.replaced-{now.astimezone(UTC):{STAMP}}")
    if there:
        set_aside(database, kept)
    made.keep_as(database)
    return kept if there else None


def _free_name(wanted: str) -> Path:
    name, number = wanted, 1
    while os.path.lexists(name):
        number += 1
        name = f"{wanted}-{number}"
    return Path(name)


def lines_of(difference: Difference, most: int = SHOWN_TENANTS) -> Sequence[str]:
    """What is lost, for people; at most so many tenants, those that lose most."""
    reason = difference.missing if difference.unknown is None else difference.unknown
    if reason is not None:
        return [
            f"what is lost cannot be told: {reason}",
            "whoever was erased since the copy is back: run `djactors erase` again for each of the receipts",
        ]
    lines = []
    by_size = sorted(difference.losses, key=lambda loss: (-loss.changes, loss.tenant_id))
    for loss in by_size[:most]:
        when = "" if loss.first_at is None else f", from {loss.first_at} to {loss.last_at}"
        name = loss.name if loss.name.isprintable() else repr(loss.name)
        lines.append(
            f"tenant {loss.tenant_id} ({name}): {amount(loss.changes, 'change')}, "
            f"{amount(loss.notifications, 'notification')}{when}"
        )
    if len(by_size) > most:
        rest = by_size[most:]
        lines.append(f"{len(rest)} more tenants: {amount(sum(loss.changes for loss in rest), 'change')}")
    if difference.reopened:
        number = amount(difference.reopened, "sign-out or deactivation", "sign-outs or deactivations")
        lines.append(f"{number}: these people are let in again, so repeat that")
    if difference.erased:
        lines.append(_erasures(difference.erased))
    return lines


def _erasures(erased: Sequence[tuple[int, int]]) -> str:
    """How to repeat erasures, of which none may be left out, however many there are."""
    if len(erased) == 1:
        [(tenant_id, user_id)] = erased
        return (
            "1 erasure: this person is back with all that was erased, so run `djactors erase --tenant "
            f"{tenant_id} --user {user_id}` again"
        )
    by_tenant: dict[int, list[int]] = {}
    for tenant_id, user_id in erased:
        by_tenant.setdefault(tenant_id, []).append(user_id)
    people = "; ".join(
        f"{'user' if len(ids) == 1 else 'users'} {', '.join(map(str, ids))} of tenant {tenant_id}"
        for tenant_id, ids in by_tenant.items()
    )
    return (
        f"{len(erased)} erasures: these people are back with all that was erased, so run `djactors erase` again for "
        f"each: {people}"
    )
