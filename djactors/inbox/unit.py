"""The unit of work: everything that one transaction is about to write, gathered first and written in bulk.

Rules:
  * Rows are read once and kept: jobs for the length of the transaction, what is in `Known` for longer. There is one
    writer, so nothing changes under them.
  * `flush` writes what is staged, each table with one statement or few, parents before children. Whatever must see the
    rows in SQL calls it first.
  * Sequence numbers and ids follow the highest that is stored, so a rollback gives them back, and what is committed has
    neither gaps nor repeats. No counter is written for them: that would be a page in every commit.
  * `writes` counts every staging. A command that is refused after it staged something must not be passed over in place:
    see `Recorder`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

from djactors.domain import sla
from djactors.domain.commands import Change
from djactors.domain.errors import Code, Refused
from djactors.domain.events import Role
from djactors.domain.jobs import Job
from djactors.domain.limits import Limits, day_of
from djactors.domain.marks import mark_of
from djactors.domain.notifications import expires_at
from djactors.domain.permissions import Person
from djactors.domain.times import utc_text
from djactors.inbox.days import DayRows
from djactors.inbox.jobs import JobRows
from djactors.inbox.known import Known
from djactors.inbox.rows import Tenant, User, UserDay
from djactors.inbox.walks import ExpiryWalks
from djactors.store.bulk import insert

SELECT_TENANT = """SELECT name, time_zone, job_numbering, last_job_id, oldest_seq, oldest_mark FROM tenants
    WHERE id = ?"""
# The primary key, read backwards.
SELECT_NEWEST = "SELECT seq, mark FROM changes WHERE tenant_id = ? ORDER BY seq DESC LIMIT 1"
SELECT_USER = """SELECT name, role, unread_count, sent_day, sent_count, earlier_day, earlier_count FROM users
    WHERE tenant_id = ? AND id = ?"""
SELECT_COUNTER = "SELECT value FROM counters WHERE name = ?"
# The primary keys.
SELECT_HIGHEST = {
    kind: f"SELECT max(id) FROM {kind}" for kind in ("domain_events", "notifications", "suppressions", "job_comments")
}

_INSERT_TENANT = """INSERT INTO tenants (id, name, time_zone, job_numbering, last_job_id, created_at, updated_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_TENANT = """UPDATE tenants SET name = ?, time_zone = ?, job_numbering = ?, last_job_id = ?, updated_at = ?
    WHERE id = ?"""
_INSERT_USER = """INSERT INTO users (tenant_id, id, name, role, unread_count, sent_day, sent_count, earlier_day,
    earlier_count, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_USER = """UPDATE users SET name = ?, role = ?, unread_count = ?, sent_day = ?, sent_count = ?,
    earlier_day = ?, earlier_count = ?, updated_at = ? WHERE tenant_id = ? AND id = ?"""
_INSERT_COMMENT = """INSERT INTO job_comments (id, tenant_id, job_id, author_id, text, created_at)
    VALUES (?, ?, ?, ?, ?, ?)"""
_INSERT_EVENT = """INSERT INTO domain_events (id, tenant_id, type, actor_id, job_id, sender, idempotency_key,
    fingerprint, answer, seq, occurred_at, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_NOTIFICATION = """INSERT INTO notifications (id, tenant_id, user_id, event_id, type, priority, title, message,
    data, created_at, expires_at, seq, mark, job_id, replaces) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_SUPPRESSION = """INSERT INTO suppressions (id, tenant_id, user_id, event_id, type, reason, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_INSERT_CHANGE = """INSERT INTO changes (tenant_id, seq, user_id, kind, notification_id, data, mark, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

NAMES = {
    "new": "notification:new",
    "read": "notification:read",
    "deleted": "notification:deleted",
    "job_assigned": "job:assigned",
    "approval_changed": "approval:status-changed",
    "job_updated": "job:updated",
}
"""The kinds of change in the log, and the Socket.IO event that each of them is to a client."""

NO_KEY = None, None, None, None
"""What `domain_events` has of an event without an idempotency key: sender, key, fingerprint and answer."""


class UnitOfWork:
    """What one transaction on one connection reads, stages and writes.

    `moment` is the time of all its rows and `now` its text, `expires` the one at which its notifications leave the
    inbox. `next_alert` is the earliest moment that it gave the clock, `wanted_summaries` the days of users from whom
    something was held back.
    """

    def __init__(self, connection: sqlite3.Connection, moment: datetime, limits: Limits, known: Known) -> None:
        self.connection = connection
        self.moment = moment
        self.now = utc_text(moment)
        self.expires = expires_at(self.now)
        self.limits = limits
        self.writes = 0
        self.next_alert: str | None = None
        self.wanted_summaries: dict[tuple[int, int, str], UserDay] = {}
        self.walks = ExpiryWalks(connection, known)
        self._known = known
        # Most units have to do with neither.
        self._jobs: JobRows | None = None
        self._days: DayRows | None = None
        self.changes: dict[int, list[Change]] = {}
        self.unread: dict[tuple[int, int], int] = {}
        self.keys: dict[tuple[int, int, str], tuple[int, str, bytes]] = {}
        self._tenants = known.tenants
        self._users = known.users
        self._highest = known.highest
        self._dirty: list[Tenant | User] = []
        self._comments: list[tuple[object, ...]] = []
        self._events: list[tuple[object, ...]] = []
        self._notifications: list[tuple[object, ...]] = []
        self._suppressions: list[tuple[object, ...]] = []
        self._log: list[tuple[object, ...]] = []

    @property
    def jobs(self) -> JobRows:
        """The jobs of this unit."""
        if self._jobs is None:
            self._jobs = JobRows(self.connection)
        return self._jobs

    @property
    def days(self) -> DayRows:
        """The days, of users from whom something was held back, of this unit."""
        if self._days is None:
            self._days = DayRows(self.connection, self._known.days)
        return self._days

    def tenant(self, tenant_id: int) -> Tenant | None:
        """The tenant, or None where it is not known yet."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            row = self.connection.execute(SELECT_TENANT, (tenant_id,)).fetchone()
            if row is not None:
                newest = self.connection.execute(SELECT_NEWEST, (tenant_id,)).fetchone()
                tenant = self._tenants[tenant_id] = Tenant(tenant_id, *row[:-2], *(newest or row[-2:]))
        return tenant

    def user(self, tenant_id: int, user_id: int) -> User | None:
        """The user, or None where it is not known yet."""
        key = tenant_id, user_id
        user = self._users.get(key)
        if user is None:
            row = self.connection.execute(SELECT_USER, key).fetchone()
            if row is not None:
                user = self._users[key] = User(*key, *row)
        return user

    def check_named(self, tenant_id: int, people: Iterable[tuple[str, int | None]], person: Person) -> None:
        """Refuse ids that a person may not name; `people` are (field, id) pairs. Creates nobody.

        A person may name themselves, as the token proves who they are, and whom the tenant knows: else anybody could
        fill the tenant with people who do not exist.

        Raises:
            Refused: `not_found`, naming the field.
        """
        for field, user_id in people:
            if user_id not in (None, person.user_id) and self.user(tenant_id, user_id) is None:
                raise Refused(Code.NOT_FOUND, f"{field}: no such user")

    def ensure_tenant(self, tenant_id: int) -> Tenant:
        """The tenant, created if it was not known."""
        tenant = self._tenants.get(tenant_id) or self.tenant(tenant_id)
        if tenant is None:
            tenant = Tenant(tenant_id, f"Tenant {tenant_id}", "UTC")
            tenant.new = True
            self._tenants[tenant_id] = tenant
            self.touch(tenant)
        return tenant

    def ensure_user(self, tenant_id: int, user_id: int, name: str | None = None, role: Role = "user") -> User:
        """The user, created if it was not known."""
        user = self._users.get((tenant_id, user_id)) or self.user(tenant_id, user_id)
        if user is None:
            user = User(tenant_id, user_id, name or f"User {user_id}", role)
            user.new = True
            self._users[tenant_id, user_id] = user
            self.touch(user)
        return user

    def touch(self, row: Tenant | User) -> None:
        """Note that a row was changed and must be written."""
        if not row.dirty:
            row.dirty = True
            self._dirty.append(row)
        self.writes += 1

    def today(self, tenant: Tenant, user: User) -> str:
        """The tenant's day, with the user's `sent` being of it.

        It is kept in the user's row, which a notification writes anyway; a row for each day would be another page. The
        row has the day before as well, so that a clock or a time zone that is set back, and forward again, finds what
        was sent on that day. An earlier day than these two goes on with the count of the later one: no day that comes
        again has a second limit.
        """
        # No time zone is off by part of a minute.
        place = tenant.time_zone, self.now[:16]
        date = self._known.dates.get(place)
        if date is None:
            date = self._known.dates[place] = day_of(tenant.time_zone, self.moment)
        if user.sent_day != date:
            day, sent = user.sent_day, user.sent
            if date == user.earlier_day:
                user.sent = user.earlier_count
            elif day is None or date > day:
                user.sent = 0
            user.sent_day, user.earlier_day, user.earlier_count = date, day, sent
            self.touch(user)
        return date

    def count_unread(self, user: User, difference: int) -> None:
        """Change a user's unread count."""
        user.unread += difference
        self.unread[user.tenant_id, user.id] = user.unread
        self.touch(user)

    def next_id(self, kind: str) -> int:
        """The next id of a kind of row, named as its table."""
        highest = self._highest.get(kind)
        if highest is None:
            stored = self.connection.execute(SELECT_HIGHEST[kind]).fetchone()
            purged = self.connection.execute(SELECT_COUNTER, (kind,)).fetchone() or (0,)
            highest = max(stored[0] or 0, purged[0])
        self._highest[kind] = highest + 1
        self.writes += 1
        return highest + 1

    def log(
        self, tenant: Tenant, user_id: int | None, kind: str, body: bytes, notification_id: int | None = None
    ) -> int:
        """Stamp a change with the tenant's next sequence number and mark, and put it into the log that clients replay.

        A change of kind `new` is replayed from its notification's row, so its body is not stored a second time. The
        mark is of the body, so what the row is made of must make the same bytes again.
        """
        name, seq = NAMES[kind], tenant.last_seq + 1
        mark = mark_of(tenant.last_mark, seq, name, user_id, body)
        tenant.last_seq, tenant.last_mark = seq, mark
        self.writes += 1
        stored = None if notification_id is not None else body.decode()
        self._log.append((tenant.id, seq, user_id, kind, notification_id, stored, mark, self.now))
        self.changes.setdefault(tenant.id, []).append(Change(tenant.id, seq, mark, user_id, name, body))
        return seq

    def add_event(self, row: tuple[object, ...]) -> None:
        """Stage a row of `domain_events`."""
        self._events.append(row)
        self.writes += 1

    def add_notification(self, row: tuple[object, ...]) -> None:
        """Stage a row of `notifications`."""
        self._notifications.append(row)
        self.writes += 1

    def add_suppression(self, row: tuple[object, ...]) -> None:
        """Stage a row of `suppressions`."""
        self._suppressions.append(row)
        self.writes += 1

    def add_comment(self, tenant_id: int, job_id: int, author_id: int | None, text: str) -> int:
        """Stage a comment; return its id."""
        comment_id = self.next_id("job_comments")
        self._comments.append((comment_id, tenant_id, job_id, author_id, text, self.now))
        return comment_id

    def save_job(self, job: Job) -> None:
        """Stage a job's new state, and tell the clock when to look at it."""
        before = job.next_alert_at
        job = sla.scheduled(job)
        if job.next_alert_at != before:
            self.wake_clock(job.next_alert_at)
        self.jobs.put(job)
        self.writes += 1

    def wake_clock(self, moment: str | None) -> None:
        """Have the clock look at what is due no later than at this moment."""
        if moment is not None and (self.next_alert is None or moment < self.next_alert):
            self.next_alert = moment

    def flush(self) -> None:
        """Write everything that is staged, parents before children."""
        dirty, self._dirty = self._dirty, []
        tenants: list[Tenant] = []
        users: list[User] = []
        for row in dirty:
            if isinstance(row, User):
                users.append(row)
            else:
                tenants.append(row)
        if tenants:
            self._flush_tenants(tenants)
        if users:
            self._flush_users(users)
        if self._jobs is not None:
            self._jobs.flush(self.now)
        if self._days is not None:
            self._days.flush()
        for statement, rows in (
            (_INSERT_COMMENT, self._comments),
            (_INSERT_EVENT, self._events),
            (_INSERT_NOTIFICATION, self._notifications),
            (_INSERT_SUPPRESSION, self._suppressions),
            (_INSERT_CHANGE, self._log),
        ):
            if rows:
                insert(self.connection, statement, rows)
                rows.clear()

    def _flush_tenants(self, dirty: Sequence[Tenant]) -> None:
        now = self.now
        self.connection.executemany(
            _INSERT_TENANT,
            [(t.id, t.name, t.time_zone, t.job_numbering, t.last_job_id, now, now) for t in dirty if t.new],
        )
        self.connection.executemany(
            _UPDATE_TENANT,
            [(t.name, t.time_zone, t.job_numbering, t.last_job_id, now, t.id) for t in dirty if not t.new],
        )
        for tenant in dirty:
            tenant.new = tenant.dirty = False

    def _flush_users(self, dirty: Sequence[User]) -> None:
        now = self.now
        new: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        for u in dirty:
            state = u.name, u.role, u.unread, u.sent_day, u.sent, u.earlier_day, u.earlier_count
            if u.new:
                new.append((u.tenant_id, u.id, *state, now, now))
            else:
                changed.append((*state, now, u.tenant_id, u.id))
            u.new = u.dirty = False
        if new:
            insert(self.connection, _INSERT_USER, new)
        if len(changed) == 1:
            self.connection.execute(_UPDATE_USER, changed[0])
        elif changed:
            self.connection.executemany(_UPDATE_USER, changed)
