"""Brings a PostgreSQL database to a schema (see `djactors.store.migrations`).

Rules:

- The tables stand in the schema that comes first in the search path. A schema that is not ours is never touched.
- Two nodes that start together do not both migrate: each file is applied under a lock of its transaction, behind which
  the node looks again what is left to do. The lock ends with the transaction, so it is safe behind a pooler, and with
  the connection of a node that was killed.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from djactors.store.connection import Connection
from djactors.store.errors import MigrationError, StoreError
from djactors.store.migrations import (
    CREATE_RECORDS,
    INSERT_RECORD,
    RECORDS_COLUMNS,
    Clock,
    Migration,
    Schema,
    Seed,
    lines_for,
    pending_of,
    statements,
)
from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.failures import storage_failure, told
from djactors.store.postgresql.session import command_begins, connect, require_usable
from djactors.store.upgrading import UNWATCHED, Contents, Costs, Watcher, require_going_on

__all__ = ["COSTS", "apply", "contents", "inspect", "pending"]

COSTS = Costs(check=0.0, index=2.0, write=10.0)
"""A guess, and not measured, because servers of PostgreSQL differ too much. It checks no row again that is there."""

# Any number that no other program is likely to use: "djactors" in ASCII, as a signed number of 64 bits.
_LOCK = int.from_bytes(b"djactors", "big", signed=True)

# Milliseconds to wait for another node that migrates. A migration of a large inbox takes minutes.
_LOCK_TIMEOUT = 10 * 60 * 1000
# Seconds for one statement of a migration, which may make an index of a large table.
_ANSWER_TIMEOUT = 60 * 60.0
# Milliseconds that a migration may stand still before the server ends it, and another node may go on.
_IDLE_TIMEOUT = 60 * 1000

_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    f"SELECT set_config('lock_timeout', '{_LOCK_TIMEOUT}ms', true), set_config('statement_timeout', '0', true), "
    f"set_config('idle_in_transaction_session_timeout', '{_IDLE_TIMEOUT}ms', true)",
)

# Tables of extensions do not count: some services put them into the schema `public` of every new database.
_SELECT_TABLES = """SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind IN ('r', 'p')
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""
_SELECT_CONTENTS = """SELECT c.relname, CAST(greatest(c.reltuples, 0) AS BIGINT), pg_total_relation_size(c.oid)
    FROM pg_class c WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND c.relkind IN ('r', 'p')"""
_SELECT_COLUMNS = """SELECT attname FROM pg_attribute
    WHERE attrelid = 'schema_migrations'::regclass AND attnum > 0 AND NOT attisdropped"""

_FOREIGN = (
    "the schema {schema} has tables of another program: name an empty database, or a schema of its own with "
    "?options=-csearch_path%3DNAME at the end of the URL"
)


def pending(connection: Connection, schema: Schema) -> list[Migration]:
    """List the migrations that a database still lacks, in order. This only reads.

    Raises:
        MigrationError: the database is not ours, is newer than the program, or a file changed after it was applied.
    """
    (name,) = connection.execute("SELECT current_schema()").fetchone()
    if name is None:
        raise MigrationError(
            "no schema of its search path exists: create one with CREATE SCHEMA, or correct search_path in the URL"
        )
    tables = {table for (table,) in connection.execute(_SELECT_TABLES)}
    if "schema_migrations" not in tables:
        if tables:
            raise MigrationError(_FOREIGN.format(schema=name))
        return list(schema.migrations)
    if {column for (column,) in connection.execute(_SELECT_COLUMNS)} != RECORDS_COLUMNS:
        raise MigrationError(_FOREIGN.format(schema=name))
    return pending_of(dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall()), schema)


def inspect(conninfo: Conninfo, schema: Schema) -> list[str]:
    """Name the migrations that a database still lacks, without changing it.

    Raises:
        MigrationError: as `apply` would.
    """
    with _refusing(conninfo), closing(connect(conninfo)) as connection:
        require_usable(connection, writable=False, migrated=False)
        connection.begin(*command_begins())
        return [migration.name for migration in pending(connection, schema)]


def contents(conninfo: Conninfo) -> Contents:
    """How many rows and bytes the tables have, as PostgreSQL itself last counted them.

    Raises:
        MigrationError: the database cannot be read.
    """
    with _refusing(conninfo), closing(connect(conninfo)) as connection:
        connection.begin(*command_begins())
        tables = connection.execute(_SELECT_CONTENTS).fetchall()
        return Contents({name: rows for name, rows, _ in tables}, sum(size for _, _, size in tables))


def apply(conninfo: Conninfo, schema: Schema, *, now: Clock, watcher: Watcher = UNWATCHED) -> list[str]:
    """Bring a database to the newest schema. Returns the names of the applied migrations.

    Raises:
        MigrationError: the database is refused; one line says the reason and the mend. Migrations before the failing
            one stay applied.
        UpgradeStopped: the watcher asked for it. A migration that has begun is done first.
    """
    with _refusing(conninfo), closing(connect(conninfo, prepares=False, answer_timeout=_ANSWER_TIMEOUT)) as connection:
        require_usable(connection, writable=True, migrated=False)
        applied = []
        while (name := _apply_next(connection, schema, now, watcher)) is not None:
            applied.append(name)
        return applied


def _apply_next(connection: PostgresConnection, schema: Schema, now: Clock, watcher: Watcher) -> str | None:
    """Apply the first of the migrations that the database lacks, if there is one. Returns its name."""
    connection.begin(*_BEGIN)
    try:
        connection.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        todo = pending(connection, schema)
        if todo:
            watcher.begins(todo[0].name)
            require_going_on(watcher, todo[0].name)
            _apply_one(connection, todo[0], now(), schema.seed)
        connection.commit()
    except BaseException:
        connection.roll_back()
        raise
    return todo[0].name if todo else None


def _apply_one(connection: PostgresConnection, migration: Migration, now: str, seed: Seed) -> None:
    try:
        if migration.number == 1:
            connection.execute(CREATE_RECORDS)
        for statement in statements(lines_for("postgresql", migration.sql)):
            connection.execute(statement)
            connection.settle()
            if not connection.in_transaction:
                raise MigrationError(f"{migration.name} ends the transaction it runs in: take its COMMIT out")
        if migration.number == 1:
            seed(connection)
        connection.execute(INSERT_RECORD, (migration.name, migration.checksum, now))
        connection.settle()
    except psycopg.Error as error:
        if storage_failure(error) is not None:
            raise
        raise MigrationError(f"{migration.name} failed: {told(error)}") from error


@contextmanager
def _refusing(conninfo: Conninfo) -> Iterator[None]:
    """Turn an error into one line with the database's name and the mend."""
    try:
        yield
    except MigrationError as error:
        raise type(error)(f"{conninfo.shown}: {error}") from error.__cause__
    except StoreError as error:
        raise MigrationError(f"{conninfo.shown}: {error}") from None
    except psycopg.Error as error:
        raise MigrationError(f"{conninfo.shown}: {storage_failure(error) or told(error)}") from error
