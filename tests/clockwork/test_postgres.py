"""What the clock and retention ask of the database, PostgreSQL understands as well."""

from typing import Any

import psycopg

from djactors.inbox import alerts, days, notices, places, retention, walks

T = "2026-01-27T10:30:00.000000Z"
QUERIES: dict[str, tuple[Any, ...]] = {
    alerts.SELECT_DUE: (T, 10),
    alerts.SELECT_NEXT: (),
    days.SELECT_DAY: (1, 1, "2026-01-27"),
    days.SELECT_DUE: (T, 10),
    days.SELECT_NEXT_DUE: (),
    notices.SELECT_UNREAD: (1, 1, 10),
    notices.SELECT_STATE: (1,),
    notices.UPDATE_REPLACED: (1, T, 1),
    retention.SELECT_WALKED: (1, 2, 10),
    retention.SELECT_EXPIRED: (T, 10),
    retention.SELECT_NEXT_EXPIRY: (),
    retention.UPDATE_EXPIRED: (1, T, 1),
    retention.SELECT_TENANTS: (1, 10),
    retention.SELECT_CHANGES: (1, 1, 10),
    retention.DELETE_CHANGES: (1, 1, 2),
    retention.UPDATE_OLDEST: (1, 1, 1),
    retention.SELECT_REMOVED: (T, 10),
    retention.DELETE_NOTIFICATION: (1,),
    retention.SELECT_EVENTS: (0, 10),
    retention.DELETE_EVENTS: (1,),
    retention.SELECT_SUPPRESSIONS: (0, 10),
    retention.DELETE_SUPPRESSIONS: (1,),
    retention.SELECT_DAYS: ("2026-01-27", 10),
    retention.DELETE_DAY: (1, 1, "2026-01-27"),
    retention.UPSERT_PURGED: ("notifications", 1),
    walks.SELECT_WALKS: (10,),
    walks.SELECT_LATEST: (),
    walks.INSERT_WALK: (7, 7),
    walks.UPDATE_WALK: (8, 7),
    walks.DELETE_WALK: (7,),
}


def test_every_statement_runs_on_postgres(postgres: psycopg.Connection):
    for query, parameters in QUERIES.items():
        postgres.execute(query.replace("?", "%s").encode(), parameters)


INDEXES = {
    alerts.SELECT_DUE: "idx_jobs_next_alert",
    days.SELECT_DUE: "idx_user_days_summary_due",
    places.SELECT_DUE: "idx_notifications_snoozed_until",
    retention.SELECT_EXPIRED: "idx_notifications_expires_at",
    retention.SELECT_NEXT_EXPIRY: "idx_notifications_expires_at",
    retention.SELECT_REMOVED: "idx_notifications_removed",
    retention.SELECT_DAYS: "idx_user_days_day",
}


def test_what_is_due_is_found_by_an_index(postgres: psycopg.Connection):
    postgres.execute("SET enable_seqscan = off")  # as in every transaction of the store
    for query, index in INDEXES.items():
        plan = str(postgres.execute(b"EXPLAIN " + query.replace("?", "'1'").encode()).fetchall())
        assert (query, index in plan) == (query, True), plan
