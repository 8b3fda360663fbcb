"""What is held about a person, for the person: all SQL of that, and what each part is in plain words.

Rules:
  * It is everything that has the person's number, and nothing of others beyond what the person was shown of them: the
    texts of colleagues are theirs, even where they name the person.
  * Rows come in the order of their ids or numbers, a slice at a time.
  * What cannot be looked for by an index is found by walking the tenant once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from djactors.inbox import log
from djactors.inbox.tenancy import Row
from djactors.store.connection import Connection
from djactors.store.moving import ROWS_AT_A_TIME


class Section(msgspec.Struct, frozen=True):
    """A part of what is held.

    Attributes:
        name: of its file.
        about: what it is, for the person.
        columns: what a row has, by the names that the person reads.
        select: finds the rows behind a key; its parameters are `:tenant`, `:user`, `:limit`, and the key as `:a`, `:b`
            and `:c`.
        key: the places of the key in a row.
        first: a key before all others.
    """

    name: str
    about: str
    columns: tuple[str, ...]
    select: str
    key: tuple[int, ...] = (0,)
    first: tuple[object, ...] = (0,)


# "+ 0" as in `tenancy`.
SECTIONS = (
    Section(
        "profile",
        "who you are here: your name, your role, since when you are known, how many notifications you have not read "
        "and not seen, when you were signed out or deactivated",
        (
            *("id", "name", "role", "known_since", "changed_at", "unread", "unseen", "notified_on", "notified"),
            *("notified_before_on", "notified_before", "signed_out_at", "deactivated_at"),
        ),
        """SELECT id, name, role, created_at, updated_at, unread_count, unseen_count, sent_day, sent_count, earlier_day,
            earlier_count, signed_out_at, deactivated_at FROM users
            WHERE tenant_id = :tenant AND id = :user AND id > :a LIMIT :limit""",
    ),
    Section(
        "notifications",
        "what you were told, with what you did with it",
        (
            *("id", "type", "priority", "title", "message", "data", "job", "created_at", "expires_at", "is_read"),
            *("read_at", "place", "snoozed_until", "removed_at", "removed_reason"),
        ),
        """SELECT id, type, priority, title, message, data, job_id, created_at, expires_at, is_read, read_at, place,
            snoozed_until, removed_at, removed_reason FROM notifications
            WHERE tenant_id + 0 = :tenant AND user_id + 0 = :user AND id > :a ORDER BY id LIMIT :limit""",
    ),
    Section(
        "earlier_states",
        "between which changes a notification was read, archived or snoozed, and is not any more",
        ("notification", "until_change", "state", "since_change", "at"),
        """SELECT s.notification_id, s.until_seq, s.state, s.since_seq, s.at FROM notification_spells s
            JOIN notifications n ON n.id = s.notification_id
            WHERE n.tenant_id = :tenant AND n.user_id = :user
            AND (s.notification_id, s.until_seq, s.state) > (:a, :b, :c)
            ORDER BY s.notification_id, s.until_seq, s.state LIMIT :limit""",
        key=(0, 1, 2),
        first=(0, 0, ""),
    ),
    Section(
        "comments",
        "what you wrote about jobs",
        ("id", "job", "text", "created_at"),
        """SELECT id, job_id, text, created_at FROM job_comments
            WHERE tenant_id + 0 = :tenant AND author_id = :user AND id > :a ORDER BY id LIMIT :limit""",
    ),
    Section(
        "mentions",
        "the comments of others that mention you",
        ("comment", "job", "author", "created_at"),
        """SELECT c.id, c.job_id, c.author_id, c.created_at FROM comment_mentions m
            JOIN job_comments c ON c.id = m.comment_id
            WHERE m.tenant_id = :tenant AND m.user_id = :user AND m.comment_id > :a
            ORDER BY m.comment_id LIMIT :limit""",
    ),
    Section(
        "jobs",
        "the jobs in which you have or had a part, with their titles",
        (
            *("id", "number", "title", "status", "requester", "assignee", "approver", "manager", "deadline"),
            *("created_at", "updated_at"),
        ),
        """SELECT id, dj_id, title, status, requester_id, assignee_id, approver_id, manager_id, deadline, created_at,
            updated_at FROM jobs WHERE tenant_id = :tenant
            AND (requester_id = :user OR assignee_id = :user OR approver_id = :user OR manager_id = :user)
            AND id > :a ORDER BY id LIMIT :limit""",
    ),
    Section(
        "watching",
        "the jobs that you watch",
        ("job", "since"),
        """SELECT job_id, created_at FROM job_watchers
            WHERE tenant_id = :tenant AND user_id = :user AND job_id > :a ORDER BY job_id LIMIT :limit""",
    ),
    Section(
        "muted",
        "the jobs that you have muted",
        ("job", "since"),
        """SELECT job_id, created_at FROM job_mutes
            WHERE tenant_id = :tenant AND user_id = :user AND job_id > :a ORDER BY job_id LIMIT :limit""",
    ),
    Section(
        "deeds",
        "what you did, and the keys and answers of the requests that you sent",
        ("id", "type", "job", "occurred_at", "received_at", "key", "answer"),
        """SELECT id, type, job_id, occurred_at, received_at, CASE WHEN sender = :user THEN idempotency_key END,
            CASE WHEN sender = :user THEN answer END FROM domain_events
            WHERE tenant_id + 0 = :tenant AND (actor_id = :user OR sender = :user) AND id > :a
            ORDER BY id LIMIT :limit""",
    ),
    Section(
        "log",
        "what was sent to your devices alone, beside notifications: what you read, deleted, archived and so on",
        ("number", "kind", "data", "created_at"),
        """SELECT seq, kind, data, created_at FROM changes
            WHERE tenant_id + 0 = :tenant AND user_id = :user AND seq > :a AND notification_id IS NULL
            ORDER BY seq LIMIT :limit""",
    ),
    Section(
        "held_back",
        "what you were not told, and why",
        ("id", "type", "reason", "created_at"),
        """SELECT id, type, reason, created_at FROM suppressions
            WHERE tenant_id = :tenant AND user_id = :user AND id > :a ORDER BY id LIMIT :limit""",
    ),
    Section(
        "days",
        "the days on which you had more notifications than a day's limit, and how many were held back",
        ("day", "held", "summary", "summary_at", "summary_due"),
        """SELECT day, held, summary_id, summary_at, summary_due FROM user_days
            WHERE tenant_id = :tenant AND user_id = :user AND day > :a ORDER BY day LIMIT :limit""",
        first=("",),
    ),
    Section(
        "names",
        "how you are found by name: your name without capitals and accents, and earlier names for an hour",
        ("text", "since", "ended_at"),
        """SELECT text, since, ended_at FROM people_names
            WHERE tenant_id = :tenant AND user_id = :user AND (text, since) > (:a, :b) AND part = 0
            ORDER BY text, since LIMIT :limit""",
        key=(0, 1),
        first=("", -1),
    ),
)
"""All that is held."""

SELECT_USER = "SELECT name FROM users WHERE tenant_id = ? AND id = ?"

_JSON = frozenset({"data", "answer"})


def knows(connection: Connection, tenant_id: int, user_id: int) -> bool:
    """Whether the tenant knows a user.

    Raises:
        StoreInPart: the tenant is being imported.
    """
    log.reach(connection, tenant_id)
    return connection.execute(SELECT_USER, (tenant_id, user_id)).fetchone() is not None


def rows(connection: Connection, section: Section, tenant_id: int, user_id: int) -> Iterator[list[Row]]:
    """The rows of a section, `ROWS_AT_A_TIME` at a time, as the person reads them."""
    after = section.first
    while True:
        key = dict(zip(("a", "b", "c"), after, strict=False))
        values = {"tenant": tenant_id, "user": user_id, "limit": ROWS_AT_A_TIME, **key}
        found = connection.execute(section.select, values).fetchall()
        if not found:
            return
        after = tuple(found[-1][place] for place in section.key)
        yield [tuple(map(_plain, section.columns, row)) for row in found]


def _plain(column: str, value: Any) -> Any:
    """JSON as itself and not as a text of it; truth as truth on every engine."""
    if column in _JSON and value is not None:
        return msgspec.Raw(value.encode())
    return bool(value) if column == "is_read" else value
