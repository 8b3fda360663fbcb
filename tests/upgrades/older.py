"""Databases of older schemas, filled with data, and what must be found of it after an upgrade."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from djactors.domain.marks import mark_of
from djactors.domain.notifications import NULL, Notification, encode
from djactors.inbox import schema
from djactors.inbox.unit import NAMES
from djactors.store.migrations import Migration, Schema, read_migrations
from djactors.store.postgresql.engine import PostgresEngine
from djactors.store.sqlite import migrate
from djactors.store.sqlite.integrity import damage

Rows: TypeAlias = dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]]
"""The columns and the rows of each table."""

MIGRATIONS = read_migrations(schema.migrations_directory())
OUTDATED = [migration.number for migration in MIGRATIONS[:-1]]
"""The numbers of all frozen schemas before the newest, from the first one on."""

SEED = f"INSERT INTO meta (id, pid_key, created_at) VALUES (1, '{'6b' * 32}', '')"
TABLES_ON_POSTGRESQL = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
USERS = 12
NOTES = 60
AT = "2026-01-27T10:30:00.000000Z"
LATER = "2026-02-26T10:30:00.000000Z"
TEXT = "The quick brown fox jumps over the lazy dog, and nothing of this may be lost. " * 2


def frozen(number: int) -> list[Migration]:
    """The migrations of the schema with this number."""
    return MIGRATIONS[:number]


def make(path: Path, number: int) -> None:
    """Make a file as the program of then had it, with rows in every table."""
    migrate.apply(
        path,
        Schema(frozen(number), lambda connection: connection.execute(SEED)),
        now=lambda: AT,
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for statement, values in _inserts(tables):
            connection.execute(statement, values)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def make_on_postgresql(url: str, number: int) -> None:
    """Make an empty PostgreSQL database as the program of then had it, likewise."""
    engine = PostgresEngine(url)
    engine.apply(Schema(frozen(number), lambda connection: connection.execute(SEED)), lambda: AT)
    with engine.writing() as connection:
        tables = {name for (name,) in connection.execute(TABLES_ON_POSTGRESQL).fetchall()}
        for statement, values in _inserts(tables):
            connection.execute(statement, values)


def _inserts(tables: Collection[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The statements that fill these tables, with their values."""
    for table, rows in _rows().items():
        if table in tables:
            for row in rows:
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                yield f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values())


def read(path: Path) -> Rows:
    """Everything that is in a file."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found: Rows = {}
        for name in names:
            columns = tuple(row[1] for row in connection.execute(f"PRAGMA table_info({name})"))
            found[name] = columns, sorted(connection.execute(f"SELECT * FROM {name}"), key=repr)
        return found


def require_all(before: Rows, after: Path) -> None:
    """Nothing that was there is lost or changed, and the file is one of the newest schema."""
    assert migrate.inspect(after, Schema(MIGRATIONS)) == []
    with closing(sqlite3.connect(after)) as connection:
        assert damage(connection, "integrity_check", 1) is None
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for table, (columns, rows) in before.items():
            found = sorted(connection.execute(f"SELECT {', '.join(columns)} FROM {table}"), key=repr)
            if table == "schema_migrations":
                assert [row for row in found if row in rows] == rows
            else:
                assert found == rows, table
    assert _schema_of(after) == newest()


@cache
def newest() -> frozenset[str]:
    """The tables and indexes of a database that is made anew."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        migrate.apply(path, Schema(MIGRATIONS))
        return _schema_of(path)


def _schema_of(path: Path) -> frozenset[str]:
    with closing(sqlite3.connect(path)) as connection:
        return frozenset(sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def _marks() -> list[int]:
    """The marks of the changes, which the log must have."""
    marks = [0]
    for number in range(1, NOTES + 1):
        body = encode(Notification(number, "note", "LOW", f"Note {number}", TEXT, NULL, AT))
        marks.append(mark_of(marks[-1], number, NAMES["new"], number % USERS + 1, body))
    return marks[1:]


def _rows() -> dict[str, Iterable[dict[str, Any]]]:
    marks = _marks()
    made = {"created_at": AT}
    both = {**made, "updated_at": AT}
    who = [{"tenant_id": tenant, "user_id": user} for tenant in (1, 2) for user in range(1, USERS + 1)]
    return {
        "tenants": [{"id": tenant, "name": f"Tenant {tenant}", **both} for tenant in (1, 2)],
        "users": [
            {
                "tenant_id": each["tenant_id"],
                "id": each["user_id"],
                "name": f"Åsa {each['user_id']}",
                "role": "admin" if each["user_id"] == 1 else "user",
                "unread_count": NOTES,
                "sent_day": "2026-01-27",
                "sent_count": NOTES,
                **both,
            }
            for each in who
        ],
        "jobs": [
            {
                "tenant_id": 1,
                "id": job,
                "title": TEXT[:200],
                "status": "open",
                "requester_id": 1,
                "assignee_id": 2,
                **both,
            }
            for job in range(1, 9)
        ],
        "job_numbers": [{"tenant_id": 1, "year": 2026, "last_number": 8}],
        "job_watchers": [{"tenant_id": 1, "job_id": job, "user_id": 3, **made} for job in range(1, 9)],
        "job_comments": [
            {"id": number, "tenant_id": 1, "job_id": 1, "author_id": 2, "text": TEXT, **made} for number in range(1, 9)
        ],
        "domain_events": [
            {
                "id": number,
                "tenant_id": 1,
                "type": "notification.requested",
                "sender": 0,
                "idempotency_key": f"k{number}",
                "fingerprint": "f" * 64,
                "answer": TEXT,
                "seq": number,
                "occurred_at": AT,
                "received_at": AT,
            }
            for number in range(1, NOTES + 1)
        ],
        "notifications": [
            {
                "id": number,
                "tenant_id": 1,
                "user_id": number % USERS + 1,
                "event_id": number,
                "type": "note",
                "priority": "LOW",
                "title": f"Note {number}",
                "message": TEXT,
                "created_at": AT,
                "expires_at": LATER,
                "seq": number,
                "mark": marks[number - 1],
            }
            for number in range(1, NOTES + 1)
        ],
        "changes": [
            {
                "tenant_id": 1,
                "seq": number,
                "user_id": number % USERS + 1,
                "kind": "new",
                "notification_id": number,
                "mark": marks[number - 1],
                **made,
            }
            for number in range(1, NOTES + 1)
        ],
        "counters": [{"name": "notifications", "value": 7}],
        "user_days": [{**each, "day": "2026-01-27", "held": 3} for each in who],
        "suppressions": [
            {"id": number, "tenant_id": 1, "user_id": 4, "event_id": number, "type": "note", "reason": "actor", **made}
            for number in range(1, 9)
        ],
        "people_names": [
            {"tenant_id": 1, "part": 0, "text": f"asa {user}", "user_id": user, "since": 0} for user in range(1, 9)
        ],
        "comment_mentions": [{"comment_id": number, "tenant_id": 1, "user_id": 5} for number in range(1, 9)],
        "notification_spells": [
            {"notification_id": number, "until_seq": number, "state": "read", "since_seq": 1, "at": AT}
            for number in range(1, 9)
        ],
        "job_mutes": [{"tenant_id": 1, "job_id": 1, "user_id": user, **made} for user in range(1, 9)],
        "nodes": [
            {"name": "n", "started_at": AT, "seen_at": AT, "version": "1", "url": "u", "users": 1, "sockets": 1},
        ],
    }
