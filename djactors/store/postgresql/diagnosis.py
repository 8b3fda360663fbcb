"""What `djactors check` looks at in a PostgreSQL database. It only reads, so running nodes are not disturbed."""

from collections.abc import Iterator, Mapping
from contextlib import closing

import psycopg

from djactors.store.connection import Connection
from djactors.store.errors import StoreError
from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.failures import storage_failure, told
from djactors.store.postgresql.session import command_begins, connect, require_usable

__all__ = ["CONNECTIONS_OF_A_NODE", "Finding", "diagnose", "standby_of", "unsafe"]

CONNECTIONS_OF_A_NODE = 5
"""The writer, the readers, the follower, and one that a command such as this one has."""

Finding = tuple[str, str | None]
"""What was looked at, and what is wrong with it, or None if it is well."""

_SELECT_SETTINGS = "SELECT name, setting FROM pg_settings"
_SELECT_STANDBYS = "SELECT count(*), count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) FROM pg_stat_replication"
_SELECT_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
_SELECT_FORBIDDEN = """SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) AND c.relkind IN ('r', 'p')
    AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
        AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
    ORDER BY c.relname"""
_SELECT_USER = "SELECT current_user, current_schema(), has_schema_privilege(current_schema(), 'CREATE')"


def diagnose(url: str) -> Iterator[Finding]:
    """Look at the server and the database. What is wrong is reported and never raised."""
    conninfo = Conninfo.of(url)
    try:
        with closing(connect(conninfo)) as connection:
            yield from _server(connection)
    except StoreError as error:
        yield "database", f"{conninfo.shown}: {error}"
    except psycopg.Error as error:
        yield "database", f"{conninfo.shown}: {storage_failure(error) or told(error)}"


def _server(connection: PostgresConnection) -> Iterator[Finding]:
    require_usable(connection, writable=True, migrated=False)
    connection.begin(*command_begins())
    settings: dict[str, str] = dict(connection.execute(_SELECT_SETTINGS).fetchall())
    yield f"database: PostgreSQL {settings['server_version']}", None
    yield "database rights", _rights(connection)
    yield "durability", unsafe(settings)
    yield standby_of(settings, *connection.execute(_SELECT_STANDBYS).fetchone())
    yield "connections", _connections(connection, settings)


def _rights(connection: Connection) -> str | None:
    user, schema, may_create = connection.execute(_SELECT_USER).fetchone()
    if schema is None:
        return "no schema of its search path exists: create one with CREATE SCHEMA, or correct search_path in the URL"
    if not may_create:
        return f"{user} may not create tables in the schema {schema}: GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}"
    forbidden = [name for (name,) in connection.execute(_SELECT_FORBIDDEN)]
    if forbidden:
        return (
            f"{user} may not read and write {', '.join(forbidden)}: connect as the owner of the tables, or GRANT "
            f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}"
        )
    return None


def unsafe(settings: Mapping[str, str]) -> str | None:
    """Which settings of the server let an acknowledged commit, or the database, be lost; None if there are none."""
    wrong = [name for name in ("fsync", "full_page_writes") if settings[name] != "on"]
    if not wrong:
        return None
    return (
        f"{' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} off, so a power failure destroys the database: "
        f"set {' and '.join(f'{name} = on' for name in wrong)} in postgresql.conf and reload"
    )


def standby_of(settings: Mapping[str, str], standbys: int, synchronous: int) -> Finding:
    """Whether an acknowledged commit survives the loss of the server."""
    wanted = settings["synchronous_standby_names"].strip()
    level = settings["synchronous_commit"]
    if wanted and level not in ("off", "local"):
        if standbys and not synchronous:
            return "standby", (
                f"synchronous_standby_names names {wanted}, which is not connected, so that every commit waits for it: "
                "start that standby, or take it out of synchronous_standby_names"
            )
        return f"standby: {wanted} is synchronous, so a failover loses no acknowledged event", None
    if wanted:
        return "standby", (
            f"synchronous_commit is {level}, so that commits do not wait for {wanted}, and a failover may lose "
            "acknowledged events: set synchronous_commit = on"
        )
    if standbys:
        return (
            f"standby: {standbys} asynchronous, so a failover may lose acknowledged events; synchronous_standby_names "
            "would prevent that",
            None,
        )
    return "standby: none, so acknowledged events are lost with the server's disk", None


def _connections(connection: Connection, settings: Mapping[str, str]) -> str | None:
    (used,) = connection.execute(_SELECT_CONNECTIONS).fetchone()
    most = int(settings["max_connections"])
    free = most - int(settings["superuser_reserved_connections"]) - used
    if free >= CONNECTIONS_OF_A_NODE:
        return None
    return (
        f"{used} of {most} connections are used, and a node needs {CONNECTIONS_OF_A_NODE}: raise max_connections, or "
        "stop other clients"
    )
