"""Installations to copy: a file of the test's own, which dice have filled once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from djactors.domain.events import NotificationRequested
from djactors.domain.reserved import PROBE_TENANT, PROBE_USER
from djactors.inbox.inbox import Inbox
from djactors.inbox.schema import INSERT_META, migrations_directory
from djactors.operations.backing_up import BackedUp, back_up
from djactors.store.connection import Connection
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.migrations import Schema, read_migrations
from djactors.store.sqlite import migrate
from djactors.store.sqlite.copying import Pace
from tests.engines import open_connection
from tests.inbox.desk import Desk
from tests.moving.conftest import filled

__all__ = ["filled"]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT_ONCE = Pace(rests=0)
ONE_CHANGE = "tenant_id = 1 AND seq = (SELECT max(seq) - 3 FROM changes WHERE tenant_id = 1)"


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, **time: float) -> None:
        """Let some time pass, or go back."""
        self.now += timedelta(**time)


def no_report(_: object) -> None:
    """Nobody looks."""


@pytest.fixture
def house(tmp_path: Path, filled: Path) -> Path:
    """The file of an installation, in a folder of its own."""
    folder = tmp_path / "var"
    folder.mkdir()
    path = folder / "house.db"
    with closing(sqlite3.connect(filled)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = WAL")
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def copied(house: Path, tmp_path: Path) -> Path:
    """A copy of it as it is now."""
    return copy_of(house, tmp_path / "copy.db").copy


def copy_of(house: Path, to: Path, report: Callable[[object], None] = no_report) -> BackedUp:
    """A copy that takes no pauses."""
    return back_up(house, to, report, pace=AT_ONCE)


async def copied_at(place: Place) -> float | None:
    """Of what moment the newest copy is, as a server reads it."""
    async with await Database.open(place) as database:
        return await Inbox(database).copied_at()


def tell(house: Path | str, title: str, tenant_id: int = 1, user_id: int = 1, now: datetime = NOON) -> None:
    """Have somebody notified."""
    with open_connection(house) as connection:
        desk = Desk(connection)
        desk.now = now
        desk.publish(
            NotificationRequested(
                tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="CRITICAL", title=title
            )
        )


def probe(place: Path | str) -> None:
    """Leave what `djactors probe` leaves."""
    for number in range(2):
        tell(place, f"djactors probe {number}", PROBE_TENANT, PROBE_USER)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def execute(path: Path, statement: str) -> None:
    """Change a file as somebody with an SQLite shell does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def purge(path: Path, keep: int) -> None:
    """Take the beginning of a tenant's log away, as retention does, but for the last few changes."""
    with closing(sqlite3.connect(path)) as connection:
        (last,) = connection.execute("SELECT max(seq) - ? FROM changes WHERE tenant_id = 1", (keep,)).fetchone()
        (mark,) = connection.execute("SELECT mark FROM changes WHERE tenant_id = 1 AND seq = ?", (last,)).fetchone()
        connection.execute("UPDATE tenants SET oldest_seq = ?, oldest_mark = ? WHERE id = 1", (last, mark))
        connection.execute("DELETE FROM changes WHERE tenant_id = 1 AND seq <= ?", (last,))
        connection.commit()


def old_schema(path: Path, applied: int) -> None:
    """Make a database that an older version has left: it knows only the first migrations."""
    migrate.apply(path, Schema(read_migrations(migrations_directory())[:applied], _seed))


def _seed(connection: Connection) -> None:
    connection.execute(INSERT_META, ("00", "2026-01-01T00:00:00.000000Z"))
