"""The schema of the inbox: where its migrations are, what a new database begins with, and which databases are refused.

`store.migrate` does everything else about migrations.
"""

from __future__ import annotations

import importlib.resources
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.resources.abc import Traversable
from pathlib import Path

from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.store import migrate
from djactors.store.errors import MigrationError
from djactors.store.migrate import Schema

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


def inspect(path: str | os.PathLike[str]) -> list[str]:
    """Name the migrations that a file still lacks, without changing or creating the file.

    Raises:
        MigrationError: as `apply` would.
    """
    return migrate.inspect(path, _schema())


def apply(
    path: str | os.PathLike[str],
    *,
    now: Callable[[], datetime] = WALL_CLOCK,
    token_bytes: TokenBytes = secrets.token_bytes,
) -> list[str]:
    """Bring a file to the schema of this program, creating it if it is missing. Returns the names of what was applied.

    A new database gets its pid key. The caller holds the `DatabaseLock`.

    Raises:
        MigrationError: the file is refused; one line says the reason and the mend.
    """

    def seed(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT_META, (token_bytes(PID_KEY_BYTES).hex(), utc_text(now())))

    return migrate.apply(path, _schema(seed), now=lambda: utc_text(now()))


def _nothing(_: sqlite3.Connection) -> None:
    """What is written into a database that is only looked at."""


def _schema(seed: migrate.Seed = _nothing) -> Schema:
    migrations = migrate.read_migrations(migrations_directory())
    return Schema(migrations, seed, RETIRED)
