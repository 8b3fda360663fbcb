"""Queues and inboxes are read from an index, without scan or sort: empty, at a million rows, and with statistics."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from djactors.inbox import job_lists, mentions, pages, threads
from djactors.store.sqlite.connection import SqliteConnection

ROWS = 1_000_000
NOW = "2026-01-27T10:30:00.000000Z"
QUERIES = {
    **job_lists.HOT_QUERIES,
    "suppressions": job_lists.SELECT_SUPPRESSIONS,
    **pages.HOT_QUERIES,
    **threads.HOT_QUERIES,
    "named": mentions.SELECT_NAMED,
}
INDEXES = {
    "job": "sqlite_autoindex_jobs_1 (tenant_id=? AND id=?)",
    "jobs": "sqlite_autoindex_jobs_1 (tenant_id=? AND id<?)",
    "jobs_by_status": "idx_jobs_status (tenant_id=? AND status=? AND id<?)",
    "jobs_by_assignee": "idx_jobs_assignee (tenant_id=? AND assignee_id=? AND id<?)",
    "jobs_by_assignee_and_status": "idx_jobs_assignee_status (tenant_id=? AND assignee_id=? AND status=? AND id<?)",
    "watchers": "(tenant_id=? AND job_id=?)",
    "suppressions": "idx_suppressions_user (tenant_id=? AND user_id=? AND id<?)",
    "thread": "idx_job_comments_job (tenant_id=? AND job_id=? AND id<?)",
    "mentions": "(comment_id=?)",
    "named": "(tenant_id=? AND part=? AND text=?)",
}


def steps(connection: sqlite3.Connection, sql: str) -> str:
    parameters: object = [None] * sql.count("?")
    if ":" in sql:
        parameters = dict.fromkeys(("tenant", "id", "before", "limit", "status", "assignee"))
    return " | ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))


def fill(connection: sqlite3.Connection) -> None:
    """Most jobs in one tenant and with one person: what misleads statistics most."""
    connection.execute("BEGIN")
    for tenant_id in (1, 2):
        connection.execute(
            "INSERT INTO tenants (id, name, created_at, updated_at) VALUES (?, 'T', ?, ?)", (tenant_id, NOW, NOW)
        )
    connection.executemany(
        "INSERT INTO users (id, tenant_id, name, created_at, updated_at) VALUES (?, ?, 'U', ?, ?)",
        [(id_, 1 if id_ < 100 else 2, NOW, NOW) for id_ in range(10, 110)],
    )
    numbers = f"WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {ROWS})"
    connection.execute(
        f"""{numbers} INSERT INTO jobs (tenant_id, id, title, status, assignee_id, created_at, updated_at)
        SELECT 1, id, 'x', CASE WHEN id % 9 THEN 'completed' WHEN id % 5 THEN 'assigned' ELSE 'open' END,
        CASE WHEN id % 3 THEN 10 ELSE 10 + id % 90 END, ?, ? FROM n""",
        (NOW, NOW),
    )
    connection.execute(
        f"""{numbers} INSERT INTO job_watchers (tenant_id, job_id, user_id, created_at)
        SELECT 1, id, 11, ? FROM n WHERE id % 10 = 0""",
        (NOW,),
    )
    connection.execute(
        f"""{numbers} INSERT INTO notifications (id, tenant_id, user_id, type, priority, title, is_read, created_at,
        expires_at, seq, mark)
        SELECT id, 1, CASE WHEN id % 3 THEN 10 ELSE 10 + id % 90 END, 'x', 'LOW', 'x', id % 4 = 0, ?, ?, id, 0
        FROM n""",
        (NOW, NOW),
    )
    connection.execute("COMMIT")


@pytest.fixture(scope="module")
def plans(migrated: Path) -> Iterator[Mapping[str, list[str]]]:
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=SqliteConnection)) as connection:
        with closing(sqlite3.connect(migrated)) as source:
            source.backup(connection)
        found = [{name: steps(connection, sql) for name, sql in QUERIES.items()}]
        fill(connection)
        found.append({name: steps(connection, sql) for name, sql in QUERIES.items()})
        connection.execute("ANALYZE")
        found.append({name: steps(connection, sql) for name, sql in QUERIES.items()})
        yield {name: [plan[name] for plan in found] for name in QUERIES}


@pytest.mark.parametrize("name", QUERIES)
def test_a_list_is_read_from_an_index_without_scan_or_sort(plans: Mapping[str, list[str]], name: str):
    for plan in plans[name]:
        # Those whom the statement itself names are no table.
        for wanted in ("SCAN CONSTANT ROW | SCAN w ", "SCAN 2 CONSTANT ROWS | SCAN w "):
            plan = plan.replace(wanted, "")
        assert "SEARCH" in plan
        for evil in ("SCAN", "TEMP B-TREE", "AUTOMATIC"):
            assert evil not in plan, plan


@pytest.mark.parametrize("name", INDEXES)
def test_the_index_serves_the_whole_condition(plans: Mapping[str, list[str]], name: str):
    for plan in plans[name]:
        assert INDEXES[name] in plan
