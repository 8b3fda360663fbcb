"""Judges the rows of inboxes by themselves: limits that were kept, and what has to be back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.history.findings import Finding
from tests.history.tables import reading

SELECT_SENT = """SELECT tenant_id, user_id, id, priority, substr(created_at, 1, 10) FROM notifications
    WHERE event_id IS NOT NULL ORDER BY id"""
SELECT_SNOOZED = """SELECT tenant_id, user_id, id, snoozed_until FROM notifications
    WHERE place = 'snoozed' AND removed_seq IS NULL AND snoozed_until < ? AND snoozed_until < expires_at"""


def judge_limits(place: Path | str, daily_limit: int) -> Iterator[Finding]:
    """Nobody got more than so many in a day, of what backends caused; CRITICAL ones count and are never held back.

    For databases whose tenants' days are those of UTC, and whose clock was right.
    """
    sent: Counter[tuple[int, int, str]] = Counter()
    with reading(place) as connection:
        for tenant_id, user_id, id_, priority, day in connection.execute(SELECT_SENT).fetchall():
            if sent[tenant_id, user_id, day] >= daily_limit and priority != "CRITICAL":
                text = f"notification {id_} is beyond the limit of {daily_limit} a day"
                yield Finding("stored once", f"user {user_id}", text)
            sent[tenant_id, user_id, day] += 1


def judge_snoozes(place: Path | str, now: str) -> Iterator[Finding]:
    """What was snoozed until before `now` is back in the inbox."""
    with reading(place) as connection:
        for _, user_id, id_, until in connection.execute(SELECT_SNOOZED, (now,)).fetchall():
            yield Finding(
                "commands", f"user {user_id}", f"notification {id_} was snoozed until {until}, and is away still"
            )


TRACES = {
    "notifications": "user_id",
    "suppressions": "user_id",
    "user_days": "user_id",
    "job_mutes": "user_id",
    "job_watchers": "user_id",
    "comment_mentions": "user_id",
    "changes": "user_id",
}
"""The tables, and the columns by which their rows would be an erased person's."""


def judge_erased(place: Path | str, tenant_id: int, user_id: int) -> Iterator[Finding]:
    """Of somebody who was erased there are no rows. The last change of the log may name them, and says nothing."""
    with reading(place) as connection:
        for table, column in TRACES.items():
            statement = f"SELECT count(*) FROM {table} WHERE tenant_id = ? AND {column} = ?"
            rows = connection.execute(statement, (tenant_id, user_id)).fetchone()[0]
            if rows:
                yield Finding("isolation", f"user {user_id}", f"was erased, and has {rows} rows in {table}")
