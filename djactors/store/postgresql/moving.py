"""A whole PostgreSQL schema as the source or the target of a move (`djactors.store.moving`).

Rules:

- A server counts as running where a connection has the application name that the URL asks for, `djactors` unless it
  says otherwise. The move itself has another one.
- A source is held by a lock on all tables, SHARE, under which nobody can write. The snapshot is taken behind it.
- A target is held by ACCESS EXCLUSIVE, under which nobody can read either, and filled in one transaction. A server that
  starts meanwhile waits and gives up. If the move is killed, the server undoes what it wrote.

https://www.postgresql.org/docs/current/explicit-locking.html
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice

import psycopg

from djactors.store.errors import DatabaseLocked, RowRefused, StoreError, StoreUnavailable
from djactors.store.migrations import Clock, Schema
from djactors.store.moving import ROWS_AT_A_TIME, Row, Table
from djactors.store.postgresql import migrate
from djactors.store.postgresql.conninfo import KEEPALIVES, Conninfo
from djactors.store.postgresql.failures import storage_failure, told
from djactors.store.postgresql.plain import PlainConnection
from djactors.store.postgresql.session import require_usable

__all__ = ["PostgresSource", "PostgresTarget", "addition", "source", "target"]

APPLICATION_NAME = "djactors export"
"""Of the connections of a move."""

SLICES_OF_A_COPY = 100
"""The server keeps a note in memory for each row and each of its foreign keys until the COPY ends: 50,000 rows take
some megabytes."""

LOCK_TIMEOUT = 3
"""Seconds to wait for the tables. Whoever holds one for longer than a commit takes is at work."""

LOOKS = 10
LOOK_SECONDS = 0.1
"""The database server notices a moment later that a connection was closed."""

IDLE_TIMEOUT = 3600
"""Seconds after which the server ends a transaction in which nothing happens. The longest wait is for the other side to
bring a large database to its disk. A machine that is gone is found by the keepalives long before."""

# By SET and not by a function: where a transaction reads one moment, its first SELECT decides which.
_SETTINGS = (
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'",
    "SET LOCAL statement_timeout = 0",
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s'",
    # The server's own questions whether this machine is still there; by default it asks after two hours.
    *(f"SET LOCAL tcp_{name} = {value}" for name, value in KEEPALIVES.items()),
)

_SELECT_TABLES = """SELECT c.oid::bigint, c.relname FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind IN ('r', 'p')
    AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')"""
_SELECT_COLUMNS = """SELECT attrelid::bigint, attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
    WHERE attrelid = ANY(CAST(? AS oid[])) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum"""
_SELECT_KEYS = """SELECT i.indrelid::bigint, a.attname FROM pg_index i
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = ANY(CAST(? AS oid[])) AND i.indisprimary ORDER BY i.indrelid, k.place"""
_SELECT_PARENTS = """SELECT c.conrelid::bigint, p.relname FROM pg_constraint c JOIN pg_class p ON p.oid = c.confrelid
    WHERE c.conrelid = ANY(CAST(? AS oid[])) AND c.contype = 'f'"""

# Everybody may see the name and the process of everybody's connections.
_SELECT_SERVERS = """SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = ? AND pid <> pg_backend_pid() ORDER BY pid"""
_SHOWN_PIDS = 5

_BE_DURABLE = """SELECT set_config('synchronous_commit', 'on', true)
    WHERE current_setting('synchronous_commit') = 'off'"""

_LOCKED = "55P03"


class PostgresSource:
    """See `djactors.store.moving.Source`."""

    def __init__(self, connection: PlainConnection, conninfo: Conninfo) -> None:
        self.connection = connection
        self._conninfo = conninfo
        self._types: dict[str, list[tuple[str, bool]]] = {}

    def tables(self) -> list[Table]:
        """See `Snapshot.tables`."""
        names = dict(self.connection.execute(_SELECT_TABLES).fetchall())
        oids = (list(names),)
        columns: dict[int, list[tuple[str, str, bool]]] = {}
        for oid, *column in self.connection.execute(_SELECT_COLUMNS, oids):
            columns.setdefault(oid, []).append(tuple(column))
        keys: dict[int, list[str]] = {}
        for oid, column in self.connection.execute(_SELECT_KEYS, oids):
            keys.setdefault(oid, []).append(column)
        parents: dict[int, set[str]] = {}
        for oid, parent in self.connection.execute(_SELECT_PARENTS, oids):
            parents.setdefault(oid, set()).add(parent)
        found = []
        for oid, name in names.items():
            self._types[name] = [(kind, bool(required)) for _, kind, required in columns[oid]]
            key = tuple(keys.get(oid, ()))
            texts = frozenset(column for column, kind, _ in columns[oid] if column in key and _is_text(kind))
            named = tuple(column for column, _, _ in columns[oid])
            found.append(Table(name, named, key, texts, frozenset(parents.get(oid, ()))))
        return found

    def count(self, table: Table) -> int:
        """See `Snapshot.count`."""
        count: int = self.connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]
        return count

    def rows(self, table: Table) -> Iterator[list[Row]]:
        """See `Snapshot.rows`."""
        order = ", ".join(f'{name} COLLATE "C"' if name in table.texts else name for name in table.key)
        statement = f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {order}"
        with _told(self._conninfo):
            yield from self.connection.stream(statement, ROWS_AT_A_TIME)


class PostgresTarget(PostgresSource):
    """See `djactors.store.moving.Target`."""

    def fill(self, table: Table, slices: Iterable[Sequence[Row]]) -> None:
        """See `Target.fill`."""
        self.connection.execute(f"DELETE FROM {table.name}")
        self.add(table, slices)

    def add(self, table: Table, slices: Iterable[Sequence[Row]]) -> None:
        """See `Addition.add`."""
        statement = f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN"
        left = iter(slices)
        try:
            while part := next(left, None):
                self.connection.copy(statement, _chained(part, islice(left, SLICES_OF_A_COPY - 1)))
        except psycopg.Error as error:
            if storage_failure(error) is not None:
                raise
            # Beyond its first line the message may show a whole row, with what somebody was told.
            detail = error.diag.message_detail or ""
            shown = f": {detail}" if detail.startswith("Key ") else ""
            raise RowRefused(f"{error.diag.message_primary or told(error)}{shown}") from error

    def why_refused(self, table: Table, row: Row) -> str | None:
        """See `Target.why_refused`."""
        for name, value, (kind, required) in zip(table.columns, row, self._types[table.name], strict=True):
            wrong = _wrong(value, kind, required=required)
            if wrong is not None:
                return f"{name} {wrong}"
        return None

    def complete(self) -> None:
        """See `Target.complete`: each COPY has proved its foreign keys."""
        for name in self._types:
            self.connection.execute(f"ANALYZE {name}")

    def keep(self) -> None:
        """See `Target.keep`."""
        self.connection.execute(_BE_DURABLE)
        self.connection.execute("COMMIT")


@contextmanager
def source(conninfo: Conninfo) -> Iterator[PostgresSource]:
    """Hold the tables against writing, and read them. See `Engine.source`."""
    with _told(conninfo), closing(_connected(conninfo, writable=False)) as connection:
        _hold(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SHARE", conninfo)
        yield PostgresSource(connection, conninfo)


@contextmanager
def addition(conninfo: Conninfo) -> Iterator[PostgresTarget]:
    """Hold the tables against writing, and add to them. See `Engine.addition`."""
    with _told(conninfo), closing(_connected(conninfo, writable=True)) as connection:
        _hold(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", "SHARE ROW EXCLUSIVE", conninfo)
        yield PostgresTarget(connection, conninfo)


@contextmanager
def target(conninfo: Conninfo, schema: Schema, now: Clock) -> Iterator[PostgresTarget]:
    """Make the tables, unless they are there, and hold them. See `Engine.target`."""
    migrate.apply(conninfo, schema, now=now)
    with _told(conninfo), closing(_connected(conninfo, writable=True)) as connection:
        _hold(connection, "BEGIN ISOLATION LEVEL READ COMMITTED", "ACCESS EXCLUSIVE", conninfo)
        yield PostgresTarget(connection, conninfo)


def _connected(conninfo: Conninfo, *, writable: bool) -> PlainConnection:
    connection = PlainConnection(conninfo, APPLICATION_NAME)
    try:
        require_usable(connection, writable=writable)
    except StoreError as error:
        connection.close()
        raise type(error)(f"{conninfo.shown}: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def _hold(connection: PlainConnection, begin: str, mode: str, conninfo: Conninfo) -> None:
    """Begin a transaction and lock all tables, before the first look at any of them."""
    names = sorted(name for _, name in connection.execute(_SELECT_TABLES))
    for statement in (begin, *_SETTINGS):
        connection.execute(statement)
    try:
        connection.execute(f"LOCK TABLE {', '.join(names)} IN {mode} MODE")
    except psycopg.Error as error:
        if error.sqlstate != _LOCKED:
            raise
        raise DatabaseLocked(
            f"{conninfo.shown} is in use: somebody holds its tables: stop all servers on it first", None
        ) from None
    _require_no_server(connection, conninfo)


def _require_no_server(connection: PlainConnection, conninfo: Conninfo) -> None:
    name = conninfo.parameters["application_name"]
    for attempt in range(LOOKS):
        if attempt:
            time.sleep(LOOK_SECONDS)
        connection.execute("SELECT pg_stat_clear_snapshot()")
        pids = [pid for (pid,) in connection.execute(_SELECT_SERVERS, (name,))]
        if not pids:
            return
    shown = ", ".join(map(str, pids[:_SHOWN_PIDS])) + (", …" if len(pids) > _SHOWN_PIDS else "")
    raise DatabaseLocked(
        f"{conninfo.shown} is in use: {len(pids)} connections to the database are named {name!r} (processes of the "
        f"database server: {shown}): stop all servers on it first; a pooler keeps connections for a while, and servers "
        "on another schema of the same database are told apart by ?application_name=NAME in their URL",
        None,
    )


def _chained(first: Sequence[Row], rest: Iterable[Sequence[Row]]) -> Iterator[Row]:
    yield from first
    for rows in rest:
        yield from rows


def _is_text(kind: str) -> bool:
    return kind.startswith(("character", "text"))


def _wrong(value: object, kind: str, *, required: bool) -> str | None:
    """Why a column does not take a value."""
    if value is None:
        return "is NULL" if required else None
    if _is_text(kind):
        if not isinstance(value, str):
            return None if isinstance(value, int | float) else "is no text"
        if "\0" in value:
            return "has the character NUL, which PostgreSQL cannot store: take it out"
        limit = kind.partition("(")[2].rstrip(")")
        return f"has {len(value)} characters, of {limit} at most" if limit and len(value) > int(limit) else None
    if kind == "boolean":
        return None if value in (0, 1) else f"is {value!r}, neither 0 nor 1"
    return None if isinstance(value, int) else "is no whole number"


@contextmanager
def _told(conninfo: Conninfo) -> Iterator[None]:
    """Turn errors of the server into one line."""
    try:
        yield
    except psycopg.Error as error:
        raise StoreUnavailable(f"{conninfo.shown}: {storage_failure(error) or told(error)}") from error
