"""The unit of work: everything that one transaction is about to write, gathered first and written in bulk.

Rules:
  * Rows are read once and kept: jobs for the length of the transaction, rows in `Known` for longer. An SQLite file has
    one writer, so nobody else changes the rows. If somebody writes all the same, for example with an SQLite shell, the
    store notices. On a database that several nodes share, a transaction holds the rows of its tenants, and finds out
    whether another node has changed them since (`sharing`).
  * Known rows are changed in place while a transaction is under way. After a rollback, of the whole transaction or to a
    savepoint, `forget` must be called, and everything is read anew. The same holds when another connection has written.
  * Only rows that exist are known; an id that was not found is looked up again, unless it was looked up for the whole
    unit before (`prefetch`).
  * `flush` writes what is staged, with few statements for each table, and parents before children. Code that needs to
    see the rows in SQL calls `flush` first.
  * Sequence numbers follow the highest one that is stored, and so do ids where there is one writer. So a rollback gives
    them back, and committed numbers have neither gaps nor repeats. No counter is written for them, because that would
    cost a page in every commit. On a shared database ids have gaps; see `sharing`.
  * `writes` counts every staging, and those of large texts more than once. By this count `Recorder` bounds a commit,
    and notices a command that was refused after it had staged something.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias, TypeVar, get_args

from djactors.domain.accounts import Account
from djactors.domain.commands import Change
from djactors.domain.events import Role
from djactors.domain.jobs import Job
from djactors.domain.limits import Limits, day_of, expires_at
from djactors.domain.marks import Offset, mark_of
from djactors.domain.names import default_name
from djactors.domain.notification_rules import BUILT_IN_RULES, Rules
from djactors.domain.notification_types import MAX_OF_ROLE
from djactors.domain.packets import LOGGED
from djactors.domain.times import utc_text
from djactors.inbox import walks
from djactors.inbox.days import DayRows
from djactors.inbox.jobs import JobRows
from djactors.inbox.known import Known
from djactors.inbox.names import NameRows
from djactors.inbox.rows import Tenant, User, UserDay
from djactors.inbox.sharing import Sharing
from djactors.store.connection import Connection

SELECT_TENANT = """SELECT name, time_zone, job_numbering, last_job_id, names_version, oldest_seq, oldest_mark
    FROM tenants WHERE id = ?"""
# Served by the primary key, read backwards.
SELECT_NEWEST = "SELECT seq, mark FROM changes WHERE tenant_id = ? ORDER BY seq DESC LIMIT 1"
USER_COLUMNS = (
    *("name", "role", "unread_count", "sent_day", "sent_count", "earlier_day", "earlier_count", "persons_count"),
    *("earlier_persons_count", "role_given", "signed_out_at", "deactivated_at", "unseen_count", "seen_id", "seen_seq"),
)
"""The columns of a user's row, in the order of the arguments of `User`."""
SELECT_USER = f"SELECT {', '.join(USER_COLUMNS)} FROM users WHERE tenant_id = ? AND id = ?"
# The primary key. Who has a role is asked for seldom, so only the admins have an index.
SELECT_OF_ROLE = {
    role: f"""SELECT id, {", ".join(USER_COLUMNS)} FROM users
    WHERE tenant_id = ? AND role = '{role}' AND deactivated_at IS NULL ORDER BY id LIMIT ?"""
    for role in get_args(Role)
}
SELECT_COUNTER = "SELECT value FROM counters WHERE name = ?"
# Served by the primary keys.
SELECT_HIGHEST = {
    kind: f"SELECT max(id) FROM {kind}" for kind in ("domain_events", "notifications", "suppressions", "job_comments")
}

_INSERT_TENANT = """INSERT INTO tenants (id, name, time_zone, job_numbering, last_job_id, writer, created_at,
    updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_TENANT = """UPDATE tenants SET name = ?, time_zone = ?, job_numbering = ?, last_job_id = ?, names_version = ?,
    updated_at = ? WHERE id = ?"""
_INSERT_USER = """INSERT INTO users (tenant_id, id, name, role, unread_count, unseen_count, sent_day, sent_count,
    earlier_day, earlier_count, persons_count, earlier_persons_count, created_at, updated_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# How users who exist are changed, in few statements. With an UPDATE for each of a thousand users, the writer's thread
# let go of the interpreter a thousand times.
_UPSERT_USER = f"""{_INSERT_USER} ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, role = excluded.role,
    unread_count = excluded.unread_count, unseen_count = excluded.unseen_count, sent_day = excluded.sent_day,
    sent_count = excluded.sent_count, earlier_day = excluded.earlier_day, earlier_count = excluded.earlier_count,
    persons_count = excluded.persons_count, earlier_persons_count = excluded.earlier_persons_count,
    updated_at = excluded.updated_at"""
# Apart from the rest of the row, which nearly every notification writes.
_UPDATE_ACCOUNT = """UPDATE users SET role_given = ?, signed_out_at = ?, deactivated_at = ?,
    account_number = 1 + coalesce((SELECT max(account_number) FROM users AS told
        WHERE told.tenant_id = users.tenant_id AND told.account_number IS NOT NULL), 0)
    WHERE tenant_id = ? AND id = ?"""
_UPDATE_SEEN = "UPDATE users SET seen_id = ?, seen_seq = ? WHERE tenant_id = ? AND id = ?"
_INSERT_COMMENT = """INSERT INTO job_comments (id, tenant_id, job_id, author_id, text, created_at)
    VALUES (?, ?, ?, ?, ?, ?)"""
_INSERT_MENTION = "INSERT INTO comment_mentions (comment_id, tenant_id, user_id) VALUES (?, ?, ?)"
# Most events have no key. To bind NULL for what comes with one would take a quarter of what such a row takes in all.
_INSERT_EVENT = """INSERT INTO domain_events (id, tenant_id, type, actor_id, job_id, seq, occurred_at, received_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_KEYED_EVENT = """INSERT INTO domain_events (id, tenant_id, type, actor_id, job_id, seq, occurred_at,
    received_at, sender, idempotency_key, fingerprint, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_NOTIFICATION = """INSERT INTO notifications (id, tenant_id, user_id, event_id, type, priority, title, message,
    data, created_at, expires_at, seq, job_id, replaces, mark) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_INSERT_SUPPRESSION = """INSERT INTO suppressions (id, tenant_id, user_id, event_id, type, reason, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_INSERT_CHANGE = """INSERT INTO changes (tenant_id, seq, user_id, kind, notification_id, data, mark, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

NAMES = {kind: name for kind, (name, _) in LOGGED.items()}
"""The Socket.IO event that a client gets for each kind of change in the log."""

BYTES_OF_A_STAGING = 256
"""Bytes of a change that take as long to write as one more staging: some 3 µs, as measured with `data` of numbers, and
twice as many bytes of plain text."""

EVENTS_AHEAD = 32
"""Events that are sent to the server of a shared database before the unit is complete. A statement takes the server as
long as the rows of one or two events, and there are three of them."""

Key: TypeAlias = tuple[int, int, str]
"""Where an idempotency key counts: its tenant, its sender and itself."""

T = TypeVar("T", bound=tuple[Any, ...])

_Logged: TypeAlias = tuple[int, str, int | None, int | None, bytes, str | None]
"""A staged change: its number, its kind, the user (None for the whole tenant), its notification, its body and the trace
of the post that makes it."""


def weight_of(
    user: User, notification_id: int, is_read: object, place: str | None, returned_seq: int | None
) -> tuple[int, int]:
    """What a notification that was not removed counts for in its user's unread count and in the unseen count.

    Only what is unread in the inbox itself counts. It is unseen if it came after the last one that the user has seen,
    or came back since.
    """
    if is_read or place is not None:
        return 0, 0
    return 1, int(notification_id > user.seen_id or (returned_seq or 0) > user.seen_seq)


class UnitOfWork:
    """What one transaction on one connection reads, stages and writes.

    `moment` is the time of all rows of the unit, and `now` is its text. `expires` is the time at which the unit's
    notifications leave the inbox. `changes` are the changes that were written to the log, by tenant. `next_alert` is
    the earliest moment for which the clock was woken. `wanted_summaries` are the days of users from whom something was
    held back. `sharing` is what the transaction holds of a database that several nodes share, None where there is one
    writer. `keys`, `notifications` and `absent` have what was looked up for the whole unit; None stands for a key or a
    notification that is not there, and `absent` are users who are not. `ended` are the tenants whose whole log was
    purged, or of which clients are to forget all that they know. `importing` are those of which only a part is here
    yet. `rules` say who is notified of what. `trace` is that of the post that is carried out.
    """

    def __init__(
        self,
        connection: Connection,
        moment: datetime,
        limits: Limits,
        known: Known,
        sharing: Sharing | None = None,
        rules: Rules = BUILT_IN_RULES,
    ) -> None:
        self.connection = connection
        self.moment = moment
        self.now = utc_text(moment)
        self.expires = expires_at(self.now)
        self._minute = self.now[:16]
        self.limits = limits
        self.rules = rules
        self.writes = 0
        self.trace: str | None = None
        self.next_alert: str | None = None
        self.wanted_summaries: dict[tuple[int, int, str], UserDay] = {}
        self._known = known
        self.sharing = sharing
        # Live where there is one writer: a tenant that is marked in this unit is refused from then on.
        known_here: set[int] = set() if known.importing is None else known.importing
        self.importing = known_here if sharing is None else sharing.importing
        # Each is made when it is first needed, because most units need none.
        self._jobs: JobRows | None = None
        self._days: DayRows | None = None
        self._names: NameRows | None = None
        self.changes: dict[int, list[Change]] = {}
        self.unread: dict[tuple[int, int], int] = {}
        self.unseen: dict[tuple[int, int], int] = {}
        self.keys: dict[Key, tuple[int, str, bytes] | None] = {}
        self.notifications: dict[tuple[int, int, int], tuple[Any, ...] | None] = {}
        self.absent: set[tuple[int, int]] = set()
        self.accounts: dict[tuple[int, int], Account] = {}
        self.ended: set[int] = set()
        self._tenants = known.tenants
        self._users = known.users
        self._highest = known.highest
        self._dirty: list[Tenant | User] = []
        self._told_accounts: list[User] = []
        self._mentions: list[tuple[object, ...]] = []
        self._have_seen: list[User] = []
        self._comments: list[tuple[object, ...]] = []
        self._events: list[tuple[object, ...]] = []
        self._keyed_events: list[tuple[object, ...]] = []
        self._notifications: list[tuple[int, *tuple[object, ...]]] = []
        self._suppressions: list[tuple[object, ...]] = []
        self._log: dict[Tenant, list[_Logged]] = {}

    @property
    def jobs(self) -> JobRows:
        """The jobs of this unit."""
        if self._jobs is None:
            self._jobs = JobRows(self.connection)
        return self._jobs

    @property
    def days(self) -> DayRows:
        """The days, in this unit, of users from whom something was held back."""
        if self._days is None:
            self._days = DayRows(self.connection, self._known)
        return self._days

    @property
    def names(self) -> NameRows:
        """The names, in this unit, of people who are new or renamed."""
        if self._names is None:
            self._names = NameRows(self.connection)
        return self._names

    def tenant(self, tenant_id: int) -> Tenant | None:
        """The tenant, or None if it is not known yet."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None and (self.sharing is None or tenant_id not in self.sharing.absent):
            row = self.connection.execute(SELECT_TENANT, (tenant_id,)).fetchone()
            if row is not None:
                newest = self.connection.execute(SELECT_NEWEST, (tenant_id,)).fetchone()
                tenant = self._tenants[tenant_id] = Tenant(tenant_id, *row[:-2], *(newest or row[-2:]))
        return tenant

    def user(self, tenant_id: int, user_id: int) -> User | None:
        """The user, or None if the user is not known yet."""
        key = tenant_id, user_id
        user = self._users.get(key)
        if user is None and key not in self.absent:
            row = self.connection.execute(SELECT_USER, key).fetchone()
            if row is not None:
                user = User(*key, *row)
                self._known.keep_user(user)
        return user

    def knows(self, key: tuple[int, int]) -> bool:
        """Whether a user of a tenant is known without a query."""
        return key in self._users

    def found(self, user: User) -> None:
        """Note that a user was looked up."""
        self.absent.discard((user.tenant_id, user.id))
        self._known.keep_user(user)

    def ensure_tenant(self, tenant_id: int) -> Tenant:
        """The tenant, which is created if it is not known yet."""
        tenant = self._tenants.get(tenant_id) or self.tenant(tenant_id)
        if tenant is None:
            tenant = Tenant(tenant_id, f"Tenant {tenant_id}", "UTC")
            tenant.new = True
            self._tenants[tenant_id] = tenant
            self.touch(tenant)
        return tenant

    def ensure_user(self, tenant_id: int, user_id: int, name: str | None = None, role: Role = "user") -> User:
        """The user, who is created if not known yet."""
        user = self._users.get((tenant_id, user_id)) or self.user(tenant_id, user_id)
        if user is None:
            user = User(tenant_id, user_id, name or default_name(user_id), role)
            user.new = True
            self._known.keep_user(user)
            self._known.add_to_role(user, MAX_OF_ROLE)
            self.names.introduce(user, self.ensure_tenant(tenant_id))
            self.touch(user)
        return user

    def of_role(self, tenant_id: int, role: str) -> tuple[int, ...]:
        """The active users of a tenant who have a role, at most `MAX_OF_ROLE`, those with the lowest ids."""
        roles = self._known.roles.setdefault(tenant_id, {})
        people = roles.get(role)
        if people is None:
            # Somebody may have got the role a moment ago.
            self.flush()
            rows = self.connection.execute(SELECT_OF_ROLE[role], (tenant_id, MAX_OF_ROLE)).fetchall()
            for user_id, *row in rows:
                if not self.knows((tenant_id, user_id)):
                    self.found(User(tenant_id, user_id, *row))
            people = roles[role] = tuple([row[0] for row in rows])
        return people

    def rename(self, user: User, name: str) -> None:
        """Give a user another name, by which the user is found from this commit on."""
        if user.name != name:
            user.name = name
            if not user.new:
                tenant = self.ensure_tenant(user.tenant_id)
                self.names.rename(user, tenant)
                self.touch(tenant)
            self.touch(user)

    def touch(self, row: Tenant | User) -> None:
        """Note that a row was changed and must be written."""
        if not row.dirty:
            row.dirty = True
            self._dirty.append(row)
        self.writes += 1

    def tell_account(self, user: User, account: Account) -> None:
        """Write what the tenant says of a user, and tell those above of it. The row itself is touched by the caller."""
        self._told_accounts.append(user)
        self._known.roles.pop(user.tenant_id, None)
        self.accounts[user.tenant_id, user.id] = account

    def today(self, tenant: Tenant, user: User) -> str:
        """The day in the tenant's time zone. Afterwards the user's `sent` and `by_persons` count its notifications.

        The count is in the user's row, which a notification writes anyway; a row for each day would cost another page.
        The row has the count of the day before as well, so that the count is right when the clock or the time zone is
        set back and forward again. If the day is earlier than both, the count of the later day goes on, so that no day
        has its limit twice.
        """
        # No time zone differs from UTC by a part of a minute.
        place = tenant.time_zone, self._minute
        date = self._known.dates.get(place)
        if date is None:
            date = self._known.dates[place] = day_of(tenant.time_zone, self.moment)
        if user.sent_day != date:
            day, sent, by_persons = user.sent_day, user.sent, user.by_persons
            if date == user.earlier_day:
                user.sent, user.by_persons = user.earlier_count, user.earlier_by_persons
            elif day is None or date > day:
                user.sent = user.by_persons = 0
            user.sent_day, user.earlier_day = date, day
            user.earlier_count, user.earlier_by_persons = sent, by_persons
            self.touch(user)
        return date

    def forget_tenant(self, tenant_id: int) -> None:
        """Read anew what is needed of a tenant, because its rows were changed in SQL. Flush what is staged first."""
        self._jobs = self._days = self._names = None
        self.keys.clear()
        self.notifications.clear()
        self._known.forget_tenant(tenant_id)

    @property
    def has_imports(self) -> bool:
        """Whether a tenant is being imported, so that nothing old may be taken away."""
        return bool(self.importing) if self.sharing is None else self.sharing.has_imports

    def began_import(self, tenant_id: int) -> None:
        """Serve nobody with a tenant from now on, of which only a part will be here for a while."""
        self.forget_tenant(tenant_id)
        self.importing.add(tenant_id)

    def ended_import(self, tenant_id: int) -> None:
        """Serve a tenant from now on that has arrived whole or was removed."""
        self.forget_tenant(tenant_id)
        self.importing.discard(tenant_id)

    def forget_ids(self) -> None:
        """Look anew for the highest ids that were given out."""
        self._highest.clear()
        self._known.latest_expiry = None

    def held(self, rows: Sequence[T], place: int) -> Sequence[T]:
        """Of rows that were found for the whole installation, those whose tenant the transaction holds.

        `place` is where a row has the tenant's id. The other rows became due after the tenants were locked, and are
        left for the next slice.
        """
        if self.sharing is None:
            return rows
        return [row for row in rows if self.sharing.holds(row[place])]

    def count_unread(self, user: User, difference: int, unseen: int) -> None:
        """Change a user's unread count, and the unseen count by `unseen`."""
        user.unread += difference
        user.unseen += unseen
        key = user.tenant_id, user.id
        self.unread[key] = user.unread
        self.unseen[key] = user.unseen
        self.touch(user)

    def mark_seen(self, user: User, notification_id: int, seq: int) -> None:
        """Note up to which notification a user has seen the inbox, and the change that says so."""
        user.seen_id, user.seen_seq = notification_id, seq
        self._have_seen.append(user)
        self.writes += 1

    def next_id(self, kind: str) -> int:
        """The next id of a kind of row. `kind` is the name of the table."""
        if self.sharing is not None:
            self.writes += 1
            return self.sharing.ids.next(kind)
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
        """Stamp a change with the tenant's next sequence number, and stage it for the log that clients replay.

        A change of kind `new` is replayed from its notification's row, so its body is not stored a second time. The
        change gets its mark when it is written, and the mark depends on the body. So the row must make the same bytes
        again.
        """
        tenant.last_seq += 1
        staged = self._log.get(tenant)
        if staged is None:
            staged = self._log[tenant] = []
        staged.append((tenant.last_seq, kind, user_id, notification_id, body, self.trace))
        self.writes += 1 + len(body) // BYTES_OF_A_STAGING
        return tenant.last_seq

    def add_event(self, row: tuple[object, ...], keyed: tuple[object, ...] = ()) -> None:
        """Stage a row of `domain_events`. `keyed` is what an event with an idempotency key has besides: the sender, the
        key, the fingerprint and the answer."""
        if keyed:
            self._keyed_events.append(row + keyed)
        else:
            self._events.append(row)
        self.writes += 1

    def add_notification(self, row: tuple[int, *tuple[object, ...]]) -> None:
        """Stage a row of `notifications`: all columns except for the mark, which is the mark of its change."""
        latest = self._known.latest_expiry
        # True for the first of a unit only, unless the clock was set back. A shared database has no walks.
        if latest != self.expires and self.sharing is None:
            self._known.latest_expiry = walks.note(self.connection, latest, row[0], self.expires)
        self._notifications.append(row)
        self.writes += 1

    def add_suppression(self, row: tuple[object, ...]) -> None:
        """Stage a row of `suppressions`."""
        self._suppressions.append(row)
        self.writes += 1

    def add_comment(
        self, tenant_id: int, job_id: int, author_id: int | None, text: str, mentions: tuple[int, ...]
    ) -> int:
        """Stage a comment, and whom it mentions. Returns its id."""
        comment_id = self.next_id("job_comments")
        self._comments.append((comment_id, tenant_id, job_id, author_id, text, self.now))
        self._mentions.extend((comment_id, tenant_id, user_id) for user_id in mentions)
        self.writes += len(mentions)
        return comment_id

    def save_job(self, job: Job) -> None:
        """Stage a job's new state, and tell the clock when to look at it."""
        before = self.jobs.put(job)
        if before is None or before.next_alert_at != job.next_alert_at:
            self.wake_clock(job.next_alert_at)
        self.writes += 1

    def wake_clock(self, moment: str | None) -> None:
        """Have the clock look for due alerts and summaries at this moment at the latest."""
        if moment is not None and (self.next_alert is None or moment < self.next_alert):
            self.next_alert = moment

    def flush(self) -> None:
        """Write everything that is staged, parents before children."""
        if self.sharing is not None:
            if self.writes:
                self.sharing.claim()
            # What reads or writes many notifications at once flushes first, so they may change from here on.
            self.notifications.clear()
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
        if self._told_accounts:
            self.connection.executemany(
                _UPDATE_ACCOUNT,
                [(u.role_given, u.signed_out_at, u.deactivated_at, u.tenant_id, u.id) for u in self._told_accounts],
            )
            self._told_accounts.clear()
        if self._have_seen:
            seen = [(u.seen_id, u.seen_seq, u.tenant_id, u.id) for u in self._have_seen]
            self.connection.executemany(_UPDATE_SEEN, seen)
            self._have_seen.clear()
        if self._jobs is not None:
            self._jobs.flush(self.now)
        if self._days is not None:
            self._days.flush()
        if self._names is not None:
            self._names.flush(self.moment)
        self._insert(_INSERT_COMMENT, self._comments)
        self._insert(_INSERT_MENTION, self._mentions)
        self._flush_events()

    def flush_ahead(self) -> None:
        """Write what is only ever added, if that is much, and leave the rest to `flush`.

        The server of a shared database inserts these rows while the next commands are carried out here.
        """
        if len(self._events) + len(self._keyed_events) >= EVENTS_AHEAD and not any(row.new for row in self._dirty):
            self._flush_events()
            self.connection.start()

    def _flush_events(self) -> None:
        """Write the events and what they have brought about. Their tenants and users must be there."""
        self._insert(_INSERT_EVENT, self._events)
        self._insert(_INSERT_KEYED_EVENT, self._keyed_events)
        changes, notifications = self._marked()
        for statement, rows in (
            (_INSERT_NOTIFICATION, notifications),
            (_INSERT_SUPPRESSION, self._suppressions),
            (_INSERT_CHANGE, changes),
        ):
            self._insert(statement, rows)

    def _insert(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        if rows:
            self.connection.insert(statement, rows)
            rows.clear()

    def _flush_tenants(self, dirty: Sequence[Tenant]) -> None:
        now = self.now
        writer = None if self.sharing is None else self.sharing.node
        self.connection.executemany(
            _INSERT_TENANT,
            [(t.id, t.name, t.time_zone, t.job_numbering, t.last_job_id, writer, now, now) for t in dirty if t.new],
        )
        self.connection.executemany(
            _UPDATE_TENANT,
            [
                (t.name, t.time_zone, t.job_numbering, t.last_job_id, t.names_version, now, t.id)
                for t in dirty
                if not t.new
            ],
        )
        for tenant in dirty:
            tenant.new = tenant.dirty = False

    def _flush_users(self, dirty: Sequence[User]) -> None:
        now = self.now
        new: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        for u in dirty:
            counts = u.sent_day, u.sent, u.earlier_day, u.earlier_count, u.by_persons, u.earlier_by_persons
            row = u.tenant_id, u.id, u.name, u.role, u.unread, u.unseen, *counts, now, now
            (new if u.new else changed).append(row)
            u.new = u.dirty = False
        if new:
            self.connection.insert(_INSERT_USER, new)
        if changed:
            self.connection.insert(_UPSERT_USER, changed)

    def _marked(self) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        """The rows of the changes and of the notifications that are staged, each with its mark.

        From now on `changes` has these changes.
        """
        rows: list[tuple[object, ...]] = []
        of_new: dict[int, int] = {}
        for tenant, staged in self._log.items():
            tenant_id, mark = tenant.id, tenant.last_mark
            changes = self.changes.setdefault(tenant_id, [])
            for seq, kind, user_id, notification_id, body, trace in staged:
                name = NAMES[kind]
                mark = mark_of(mark, seq, name, user_id, body)
                stored = None if notification_id is not None else body.decode()
                rows.append((tenant_id, seq, user_id, kind, notification_id, stored, mark, self.now))
                changes.append(Change(tenant_id, Offset(mark, seq), user_id, name, body, trace))
                if notification_id is not None:
                    of_new[notification_id] = mark
            tenant.last_mark = mark
        self._log.clear()
        staged_rows, self._notifications = self._notifications, []
        return rows, [(*row, of_new[row[0]]) for row in staged_rows]
