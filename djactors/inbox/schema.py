"""The schema of the inbox: where its migrations are, what a new database begins with, and which databases are refused.

The engines of the store do everything else about migrations.
"""

from __future__ import annotations

import importlib.resources
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from importlib.resources.abc import Traversable
from pathlib import Path

import sqlite_utils

from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.store.connection import Connection
from djactors.store.engines import Place, engine_at
from djactors.store.errors import MigrationError
from djactors.store.migrations import Migration, Schema, Seed, read_migrations
from djactors.store.moving import Target
from djactors.store.sqlite import migrate
from djactors.store.sqlite.blueprint import laid_out
from djactors.store.sqlite.connection import SqliteConnection
from djactors.store.upgrading import UNWATCHED, Watcher

TokenBytes = Callable[[int], bytes]

INSERT_META = "INSERT INTO meta (id, pid_key, created_at) VALUES (1, ?, ?)"

PID_KEY_BYTES = 32
"""The length of the key for the MAC of pids. The MAC uses SHA-256, and a longer key would not make it safer."""

RETIRED: Mapping[str, str] = {
    "1afbf21f20c107a8fd0f104de83c3ed9a08593ddca319d86ff6584195c945f7c": (
        "it was made by djactors 0.1, and this version cannot go on with it: name a new file, have the backend publish "
        "its tenants, users and jobs again, and read the old inbox with `sqlite-utils rows FILE notifications`"
    ),
}
"""Databases that are refused, by the checksum of their first migration, and what their owners are told."""


def migrations_directory() -> Traversable:
    """Find the migrations: inside the installed package, or beside the package in a checkout.

    Raises:
        MigrationError: there are none in either place.
    """
    package = importlib.resources.files("djactors")
    installed = package / "migrations"
    if installed.is_dir():
        return installed
    checkout = Path(str(package)).parent / "migrations"
    if checkout.is_dir():
        return checkout
    raise MigrationError("this installation carries no migrations: install djactors again")


def inspect(place: Place) -> list[str]:
    """Name the migrations that a database still lacks, without changing or creating it.

    Raises:
        MigrationError: as `apply` would.
    """
    return engine_at(place).inspect(_schema())


def lacking(connection: SqliteConnection) -> list[str]:
    """Name the migrations that an SQLite database lacks, which is open. This only reads.

    Raises:
        MigrationError: as `apply` would.
    """
    return [migration.name for migration in migrate.pending_on(connection, _schema())]


def apply(
    place: Place,
    *,
    now: Callable[[], datetime] = WALL_CLOCK,
    token_bytes: TokenBytes = secrets.token_bytes,
    watcher: Watcher = UNWATCHED,
) -> list[str]:
    """Bring a database to the schema of this program, creating a file that is missing. Returns the names of what was
    applied.

    A new database gets its pid key. The caller holds its guard.

    Raises:
        MigrationError: the database is refused; one line says the reason and the mend.
        UpgradeStopped: the watcher asked for it.
    """
    return engine_at(place).apply(_schema(_seed(now, token_bytes)), lambda: utc_text(now()), watcher)


def to_upgrade(place: Place) -> list[Migration]:
    """The migrations that a database with data lacks; none if it is new, or has them all. Nothing is changed.

    Raises:
        MigrationError: as `apply` would.
    """
    migrations = _schema().migrations
    pending = set(inspect(place))
    if len(pending) == len(migrations):
        return []
    return [migration for migration in migrations if migration.name in pending]


def blueprint(path: str | os.PathLike[str] | None = None) -> sqlite_utils.Database:
    """A scratch database with the tables of this program, in memory or in a new file."""
    return laid_out(_schema().migrations, path)


def checksums() -> dict[str, str]:
    """The names of all migrations of this program, with their checksums."""
    return {migration.name: migration.checksum for migration in _schema().migrations}


def names() -> list[str]:
    """The names of all migrations of this program."""
    return [migration.name for migration in _schema().migrations]


def target_at(
    place: Place,
    *,
    now: Callable[[], datetime] = WALL_CLOCK,
    token_bytes: TokenBytes = secrets.token_bytes,
) -> AbstractContextManager[Target]:
    """A database as the target of a move, with the schema of this program; see `Engine.target`.

    If the move fails, a database that was made for it may be left, which is a new and empty one.
    """
    return engine_at(place).target(_schema(_seed(now, token_bytes)), lambda: utc_text(now()))


def _seed(now: Callable[[], datetime], token_bytes: TokenBytes) -> Seed:
    def seed(connection: Connection) -> None:
        connection.execute(INSERT_META, (token_bytes(PID_KEY_BYTES).hex(), utc_text(now())))

    return seed


def _nothing(_: Connection) -> None:
    """What is written into a database that is only looked at."""


def _schema(seed: Seed = _nothing) -> Schema:
    return Schema(read_migrations(migrations_directory()), seed, RETIRED)
