"""Every text fits its column, whichever door it came in by: PostgreSQL would refuse a longer one, SQLite takes any."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from djactors import __version__
from djactors.actors.retention import Keeping
from djactors.domain import events, folding, jobs, lengths, limits, names, notification_rules
from djactors.domain.commands import Introduce, MarkRead, Publish, RaiseAlerts, SendSummaries
from djactors.domain.errors import Code
from djactors.domain.events import (
    CommentAdded,
    JobCreated,
    JobDeadlineChanged,
    JobRejected,
    JobSubmitted,
    NotificationRequested,
    TenantUpserted,
    UserUpserted,
)
from djactors.domain.ids import MAX_ID
from djactors.domain.jobs import Status
from djactors.domain.limits import Limits
from djactors.domain.notification_rules import RULES
from djactors.domain.permissions import Person
from djactors.domain.room import DISK_FILLING
from djactors.domain.times import utc_text
from djactors.inbox import schema
from djactors.inbox.pages import Place
from djactors.inbox.recorder import Recorder
from djactors.inbox.unit import NAMES, SELECT_HIGHEST
from tests.inbox.desk import MORNING, Desk

T = 1
TIME = utc_text(MORNING)
EVENT_TYPES = list(events.TYPES.values())

FROM_OUTSIDE = {
    "tenants.name": lengths.NAME,
    "tenants.time_zone": lengths.TIME_ZONE,
    "users.name": lengths.NAME,
    "jobs.dj_id": lengths.DJ_ID,
    "jobs.title": lengths.TITLE,
    "domain_events.idempotency_key": lengths.KEY,
    "notifications.type": lengths.TYPE,
    "notifications.title": lengths.TITLE,
    "suppressions.type": lengths.TYPE,
}
"""Columns whose texts somebody sends: the domain allows exactly what fits."""

OF_OURS: dict[str, list[str]] = {
    "meta.pid_key": ["x" * 2 * schema.PID_KEY_BYTES],
    "meta.names_folded": [folding.RULES],
    "people_names.text": ["x" * names.MAX_TEXT],
    "people_names.ended_at": [TIME],
    "database_sizes.day": ["2026-01-27"],
    "database_sizes.noted_at": [TIME],
    "database_sizes.told_at": [TIME],
    "imports.begun_at": [TIME],
    "imports.touched_at": [TIME],
    "nodes.name": ["x" * 32],
    "nodes.started_at": [TIME],
    "nodes.seen_at": [TIME],
    "nodes.version": [__version__],
    "nodes.url": ["x" * 255],
    "nodes.types": ["x" * notification_rules.DIGEST_LENGTH],
    "counters.name": [
        *SELECT_HIGHEST,
        *(table for table, _ in Keeping(history_days=7, event_days=30, suppression_days=30).plan()),
    ],
    "tenants.job_numbering": ["backend", "djactors"],
    "tenants.writer": ["x" * 32],
    "users.role": list(get_args(events.Role)),
    "users.sent_day": ["2026-01-27"],
    "users.earlier_day": ["2026-01-27"],
    "users.signed_out_at": [TIME],
    "users.deactivated_at": [TIME],
    "jobs.status": list(get_args(Status)),
    "jobs.deadline": [TIME],
    "jobs.next_alert_at": [TIME],
    "jobs.alerted_24h": [" ".join([TIME] * jobs.REMEMBERED)],
    "jobs.alerted_overdue": [" ".join([TIME] * jobs.REMEMBERED)],
    "domain_events.type": [*EVENT_TYPES, *RULES, DISK_FILLING],
    "domain_events.fingerprint": ["x" * 64],
    "domain_events.occurred_at": [TIME],
    "domain_events.received_at": [TIME],
    "changes.kind": list(NAMES),
    "notifications.priority": list(get_args(events.Priority)),
    "notifications.read_at": [TIME],
    "notifications.expires_at": [TIME],
    "notifications.removed_at": [TIME],
    "notifications.removed_reason": ["deleted", "expired", "replaced"],
    "notifications.place": list(get_args(Place)),
    "notifications.snoozed_until": [TIME],
    "notification_spells.state": ["read", *get_args(Place)],
    "notification_spells.at": [TIME],
    "job_mutes.created_at": [TIME],
    "user_days.day": ["2026-01-27"],
    "user_days.summary_at": [TIME],
    "user_days.summary_due": [TIME],
    "suppressions.reason": [
        *(notification_rules.ACTOR, notification_rules.LATE, notification_rules.DEACTIVATED, limits.DAILY_LIMIT)
    ],
}
"""Columns that the program alone fills: with these, or with texts of this length."""


def columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str, int]]:
    """Table, column and length of each VARCHAR. Both engines have the same ones."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'schema_migrations'")
    for (table,) in tables.fetchall():
        for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})"):
            length = re.fullmatch(r"VARCHAR\((\d+)\)", kind)
            if length is not None:
                yield table, column, int(length[1])


def test_the_domain_knows_the_length_of_every_column(path: Path):
    with closing(sqlite3.connect(path)) as connection:
        found = {f"{table}.{column}": length for table, column, length in columns(connection)}
    for name, length in found.items():
        if name in FROM_OUTSIDE:
            assert (name, FROM_OUTSIDE[name]) == (name, length)
        elif name.partition(".")[2] in ("created_at", "updated_at"):
            assert (name, len(TIME)) == (name, length)
        else:
            assert (name, max(map(len, OF_OURS[name])) <= length) == (name, True)
    assert found.keys() >= FROM_OUTSIDE.keys() | OF_OURS.keys()


def test_what_is_longest_at_every_door_fits(desk: Desk, migrated: Path):
    """Names, titles and numbers at their limits; alerts, comments, rejections, summaries and expiry made of them."""
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=8))
    name, title, dj_id = "ชื่อ" * 63 + "xyz", "ก" * lengths.TITLE, "D" * lengths.DJ_ID
    assert len(name) == lengths.NAME
    deadline = desk.now + timedelta(hours=30)
    big = MAX_ID
    commands = [
        TenantUpserted(tenant_id=T, name=name, time_zone="America/Argentina/ComodRivadavia"),
        UserUpserted(tenant_id=T, user_id=big, name=name, role="service"),
        JobCreated(
            tenant_id=T,
            actor_id=big,
            job_id=big,
            dj_id=dj_id,
            title=title,
            requester_id=11,
            assignee_id=12,
            approver_id=13,
            manager_id=14,
            watcher_ids=(11, 12),
            deadline=deadline,
        ),
        CommentAdded(tenant_id=T, job_id=big, actor_id=big, text="ข" * 4000),
        JobSubmitted(tenant_id=T, job_id=big, actor_id=big),
        JobRejected(tenant_id=T, job_id=big, actor_id=big, reason="ข" * 4000),
        NotificationRequested(
            tenant_id=T, user_id=12, notification_type="t" * lengths.TYPE, priority="CRITICAL", title=title
        ),
    ]
    for command in commands:
        desk.do(Publish(command, "k" * lengths.KEY if isinstance(command, CommentAdded) else None))
    desk.do(Introduce(T, Person(77, "manager", name)))
    for n in range(jobs.REMEMBERED + 2):
        desk.do(Publish(JobDeadlineChanged(tenant_id=T, job_id=big, deadline=deadline + n * timedelta(hours=1))))
        desk.now = deadline + timedelta(hours=n) - timedelta(hours=23)
        desk.do(RaiseAlerts(10))
    desk.now += timedelta(days=3)
    desk.do(RaiseAlerts(10))
    for _ in range(10):
        desk.publish(commands[3])
    desk.now += timedelta(minutes=2)
    desk.record(SendSummaries(10), MarkRead(T, 12, 1))
    kinds = {kind for (kind,) in desk.rows("SELECT type FROM notifications")}
    assert kinds >= {"sla_alert_24h", "sla_alert_overdue", "comment_added", "approval_rejected", "daily_summary"}
    assert desk.one("SELECT max(length(title)) FROM notifications") == lengths.TITLE
    with closing(sqlite3.connect(migrated)) as empty:
        lengths_of = list(columns(empty))
    for table, column, length in lengths_of:
        assert (table, column, desk.one(f"SELECT coalesce(max(length({column})), 0) FROM {table}") <= length) == (
            table,
            column,
            True,
        )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"priority": "SUPER"}, "priority"),
        ({"title": "x" * 300}, "title"),
        ({"title": None}, "title"),
        ({"user_id": "x"}, "userId"),
    ],
)
def test_nothing_is_recorded_unchecked(desk: Desk, fields: dict[str, object], named: str):
    event = {"tenant_id": T, "user_id": 2, "notification_type": "note", "priority": "LOW", "title": "Hello"} | fields
    refused = desk.refusal(NotificationRequested(**event))  # type: ignore[arg-type]
    assert refused.code is Code.INVALID
    assert f"`$.{named}`" in refused.message
    assert desk.fell_back == 0
