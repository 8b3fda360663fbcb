"""The same migrations run on SQLite and on PostgreSQL, and what they make is the same.

What the lines for one engine only may change is listed here: SQLite's INTEGER for BIGINT where a row's id is its place.
"""

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from djactors.inbox import log, pages
from tests.inbox.test_plans import STATEMENTS

Schema = dict[str, dict[str, Any]]
"""Table name to its columns, primary key, foreign keys, checks and indexes, each in the same plain form."""

_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def test_both_databases_have_the_same_schema(path: Path, postgres: psycopg.Connection):
    with closing(sqlite3.connect(path)) as connection:
        ours = sqlite_schema(connection)
    theirs = postgres_schema(postgres)
    assert ours.keys() == theirs.keys()
    del theirs["notifications"]["indexes"]["idx_notifications_expires_at"]  # SQLite walks along the ids
    for table in ("changes", "domain_events"):
        # Checked for each row there; the transaction that writes such a row has locked the tenant's anyway.
        [to_tenants] = ours[table]["foreign keys"]
        assert to_tenants["target"] == "tenants"
        ours[table]["foreign keys"] = []
    for table in ours:
        assert (table, ours[table]) == (table, theirs[table])


@pytest.mark.parametrize("name", pages.HOT_QUERIES)
def test_every_query_of_the_inbox_runs_on_postgres(postgres: psycopg.Connection, name: str):
    query = pages.HOT_QUERIES[name]
    parameters = ["archived" if before.endswith("place = ") else 1 for before in query.split("?")[:-1]]
    postgres.execute(query.replace("?", "%s").encode(), parameters)


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_every_statement_of_the_inbox_is_one_of_postgres_too(postgres: psycopg.Connection, name: str):
    sql = STATEMENTS[name]
    for number in range(1, sql.count("?") + 1):
        sql = sql.replace("?", f"${number}", 1)
    # Parsed, with every name and type looked up, and not run.
    postgres.execute(f"PREPARE statement AS {sql}".encode())
    postgres.execute("DEALLOCATE statement")


def test_the_log_is_walked_by_its_index_on_postgres_too(postgres: psycopg.Connection):
    postgres.execute("SET enable_seqscan = off")
    for sql in (log.SELECT_OWN, log.SELECT_SHARED):
        plan = postgres.execute(b"EXPLAIN " + sql.replace("?", "1").encode()).fetchall()
        assert "idx_changes_user" in str(plan)


def plain(expression: str) -> str:
    """An expression without what only one of the two prints: casts, parentheses, case, spaces."""
    expression = re.sub(r"::[a-z ]+(\(\d+\))?", "", expression)
    return re.sub(r"[()\s]+", " ", expression).strip().lower()


def sqlite_schema(connection: sqlite3.Connection) -> Schema:
    schema: Schema = {}
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name <> 'schema_migrations'"
    for table, sql in connection.execute(query).fetchall():
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        foreign_keys: dict[int, dict[str, Any]] = {}
        for number, _, target, source, column, on_update, on_delete, _ in connection.execute(
            f"PRAGMA foreign_key_list({table})"
        ):
            key = foreign_keys.setdefault(
                number, {"target": target, "columns": [], "update": on_update, "delete": on_delete}
            )
            key["columns"].append((source, column))
        indexes = {}
        for _, index, unique, origin, _ in connection.execute(f"PRAGMA index_list({table})").fetchall():
            if origin != "c":
                continue
            definition = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [index]).fetchone()[0]
            head, _, predicate = definition.partition(" WHERE ")
            _, _, listed = head.partition("(")
            indexes[index] = {
                "columns": [plain(column) for column in listed.split(",")],
                "unique": bool(unique),
                "predicate": plain(predicate),
            }
        schema[table] = {
            "columns": [
                (
                    name,
                    "bigint" if key and type_ == "INTEGER" else type_.lower(),
                    bool(required),
                    None if default is None else plain(default),
                )
                for _, name, type_, required, default, key in columns
            ],
            "primary key": [name for _, name, *_, position in sorted(columns, key=lambda row: row[5]) if position],
            "foreign keys": sorted(foreign_keys.values(), key=str),
            "checks": sorted(plain(check) for check in re.findall(r"CHECK \(([^()]*)\)", sql)),
            "indexes": indexes,
        }
    return schema


def postgres_schema(connection: psycopg.Connection) -> Schema:
    schema: Schema = {}
    query = "SELECT oid, relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'djactors'::regnamespace"
    for oid, table in connection.execute(query).fetchall():
        columns = connection.execute(
            "SELECT attnum, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) "
            "FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
            "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [oid],
        ).fetchall()
        names = {number: name for number, name, *_ in columns}
        constraints = connection.execute(
            "SELECT contype, conkey, confkey, confrelid::regclass::text, confupdtype, confdeltype, confrelid, "
            "pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conrelid = %s",
            [oid],
        ).fetchall()
        foreign_keys = []
        for type_, key, other_key, target, on_update, on_delete, other_oid, _ in constraints:
            if type_ != "f":
                continue
            other = dict(
                connection.execute("SELECT attnum, attname FROM pg_attribute WHERE attrelid = %s", [other_oid])
            )
            foreign_keys.append(
                {
                    "target": target,
                    "columns": [(names[ours], other[theirs]) for ours, theirs in zip(key, other_key, strict=True)],
                    "update": _ACTIONS[on_update],
                    "delete": _ACTIONS[on_delete],
                }
            )
        indexes = connection.execute(
            "SELECT relname, ARRAY(SELECT pg_get_indexdef(indexrelid, column_number, true) "
            "FROM generate_series(1, indnatts) AS column_number), indisunique, pg_get_expr(indpred, indrelid) "
            "FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = %s AND NOT indisprimary",
            [oid],
        ).fetchall()
        schema[table] = {
            "columns": [
                (
                    name,
                    type_.replace("character varying", "varchar"),
                    required,
                    None if default is None else plain(default),
                )
                for _, name, type_, required, default in columns
            ],
            "primary key": [names[number] for kind, key, *_ in constraints if kind == "p" for number in key],
            "foreign keys": sorted(foreign_keys, key=str),
            "checks": sorted(plain(check) for kind, *_, check in constraints if kind == "c"),
            "indexes": {
                name: {"columns": [plain(column) for column in key], "unique": unique, "predicate": plain(where or "")}
                for name, key, unique, where in indexes
            },
        }
    return schema


def test_only_a_tenant_that_is_served_takes_its_events_along(postgres: psycopg.Connection):
    """One that is being imported is removed in slices before, and its events are not looked for again."""
    for tenant_id, importing in ((1, False), (2, True)):
        postgres.execute(
            "INSERT INTO tenants (id, name, importing, created_at, updated_at) VALUES (%s, 'T', %s, '', '')",
            (tenant_id, importing),
        )
        postgres.execute(
            "INSERT INTO domain_events (id, tenant_id, type, seq, occurred_at, received_at) "
            "VALUES (%s, %s, '', 1, '', '')",
            (tenant_id, tenant_id),
        )
    postgres.execute("DELETE FROM tenants")
    assert postgres.execute("SELECT tenant_id FROM domain_events").fetchall() == [(2,)]
