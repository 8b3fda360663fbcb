"""Erases a person from a tenant, in slices: all SQL of that.

What becomes of each table and column that may hold something about the person:

    users             the row stays, because jobs and comments point at it: `name` becomes a stand-in, `role` the
                      lowest, the counts and days of notifications zero; `signed_out_at` and `deactivated_at` are set,
                      so that no token of the person is worth anything
    people_names      deleted, earlier names included; the stand-in's rows take their place
    notifications     the person's own: deleted, with their notification_spells. Of others: what the person wrote
                      (`message`, `data.reason`) and the name in `title`, `message` and `data` give way
    job_comments      the person's own: `text` gives way. Of others: the name in `text` gives way
    comment_mentions  of the person: deleted
    jobs              the name in `title` gives way; the ids of requester, assignee, approver and manager stay
    job_watchers      of the person: deleted. So are job_mutes
    domain_events     `idempotency_key`, `fingerprint`, `answer` and `sender` of what the person sent: emptied. The
                      name in the answers to others gives way; a key that has the name in it is emptied with its answer
    changes           the tenant's whole log is purged, because its bodies have names and texts
    suppressions      of the person: deleted. So are user_days

    Nothing else names a person: tenants (`name` is the tenant's own, `writer` a node's), imports (what was announced of
    a tenant, whose people nobody erases before it is here), job_numbers, meta, counters, expiry_walks, database_sizes,
    nodes and schema_migrations. Ids of users are numbers without a name from then on.

Rules:
  * The first slice ends what the person can do. The name is the last thing that goes, in one commit with what came in
    since the other slices, so that an erasure which was interrupted still knows what to look for when it is begun anew.
  * The mark of a change covers its body, so a body in the log is never changed. The log is purged up to its end
    instead, as retention would do it. The last commit brings one more change, for the person alone, and purges this
    change as well. So nobody's offset is in the log any more, and whoever is connected or comes back is told to begin
    anew, and loses from the screen what was erased.
  * Retention leaves what a connected socket was told last; an erasure does not. So where several nodes write, a socket
    may be cut before the last commit, because what it was told is not found: too early, and never wrongly resumed.
  * The rows of others are reworded in place. Every slice purges the log before it rewords anything, so no mark covers
    a row that is reworded, and the inbox as it was can only be asked for from the erasure on.
  * The last commit is a small one: whatever is more than a slice is done before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from djactors.domain import lengths, names
from djactors.domain.commands import Erased, EraseSlice
from djactors.domain.erasure import ERASED, Rewording, quotes, stand_in, without_reason
from djactors.domain.errors import not_found
from djactors.domain.notification_rules import Rules
from djactors.domain.notifications import encode
from djactors.domain.packets import NotificationIds
from djactors.inbox import accounts
from djactors.inbox.names import DELETE_NAMES, INSERT_NAME, WHOLE, rows_of
from djactors.inbox.retention import DELETE_CHANGES, DELETE_NOTIFICATION, UPDATE_OLDEST, UPSERT_PURGED
from djactors.inbox.rows import User
from djactors.inbox.unit import UnitOfWork
from djactors.store.connection import Connection

# Served by the primary keys. "+ 0" keeps SQLite from reading the whole tenant by another index and sorting it.
SELECT_REACHED = "SELECT max(id), count(*) FROM (SELECT id FROM {} WHERE id > ? ORDER BY id LIMIT ?) AS next"
SELECT_COMMENTS = """SELECT id, author_id, text FROM job_comments
    WHERE id > ? AND id <= ? AND tenant_id + 0 = ? ORDER BY id"""
SELECT_NOTIFICATIONS = """SELECT n.id, n.user_id, n.type, n.title, n.message, n.data, n.job_id, e.actor_id
    FROM notifications n LEFT JOIN domain_events e ON e.id = n.event_id
    WHERE n.id > ? AND n.id <= ? AND n.tenant_id + 0 = ? ORDER BY n.id"""
SELECT_EVENTS = """SELECT id, sender, idempotency_key, answer FROM domain_events
    WHERE id > ? AND id <= ? AND tenant_id + 0 = ? AND idempotency_key IS NOT NULL ORDER BY id"""
SELECT_JOBS = "SELECT id, title FROM jobs WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?"
SELECT_MENTIONS = """SELECT comment_id FROM comment_mentions
    WHERE comment_id > ? AND comment_id <= ? AND tenant_id = ? AND user_id = ?"""
SELECT_AUTHOR = "SELECT author_id FROM job_comments WHERE id = ? AND tenant_id = ?"
SELECT_OF_JOBS = "SELECT job_id FROM {} WHERE tenant_id = ? AND job_id > ? AND job_id <= ? AND user_id = ?"
# Served by idx_suppressions_user.
SELECT_SUPPRESSIONS = "SELECT id FROM suppressions WHERE tenant_id = ? AND user_id = ? ORDER BY id LIMIT ?"
COUNT_DAYS = "SELECT count(*) FROM user_days WHERE tenant_id = ? AND user_id = ?"
COUNT_NAMES = "SELECT count(*) FROM people_names WHERE tenant_id = ? AND user_id = ?"
SELECT_CHANGES = "SELECT seq, mark FROM changes WHERE tenant_id = ? ORDER BY seq LIMIT ?"
SELECT_OLDEST = "SELECT oldest_seq FROM tenants WHERE id = ?"
# Served by the primary key of people_names.
SELECT_NAMESAKES = """SELECT u.name FROM people_names n JOIN users u ON u.tenant_id = n.tenant_id AND u.id = n.user_id
    WHERE n.tenant_id = ? AND n.part = ? AND n.text = ? AND n.user_id <> ? AND n.until IS NULL LIMIT 100"""

UPDATE_COMMENT = "UPDATE job_comments SET text = ? WHERE id = ?"
UPDATE_NOTIFICATION = "UPDATE notifications SET title = ?, message = ?, data = ? WHERE id = ?"
UPDATE_ANSWER = "UPDATE domain_events SET answer = ? WHERE id = ?"
UPDATE_KEY = """UPDATE domain_events SET sender = NULL, idempotency_key = NULL, fingerprint = NULL, answer = NULL
    WHERE id = ?"""
UPDATE_TITLE = "UPDATE jobs SET title = ? WHERE tenant_id = ? AND id = ?"
DELETE_MENTION = "DELETE FROM comment_mentions WHERE comment_id = ? AND user_id = ?"
DELETE_OF_JOB = "DELETE FROM {} WHERE tenant_id = ? AND job_id = ? AND user_id = ?"
DELETE_SUPPRESSION = "DELETE FROM suppressions WHERE id = ?"
DELETE_DAYS = "DELETE FROM user_days WHERE tenant_id = ? AND user_id = ?"


def erase_slice(unit: UnitOfWork, command: EraseSlice) -> Erased:
    """Erase a slice.

    Raises:
        Refused: `not_found`; the person is not known.
    """
    user = unit.user(command.tenant_id, command.user_id)
    if user is None:
        raise not_found()
    unit.flush()
    for day in [day for day in unit.wanted_summaries if day[:2] == (user.tenant_id, user.id)]:
        del unit.wanted_summaries[day]
    erasing = _Erasing(unit.connection, command, user, unit.rules)
    is_last = erasing.sweep()
    if is_last:
        unit.forget_tenant(user.tenant_id)
        _let_go(unit, user.id, user.tenant_id, erasing.rows)
    elif user.deactivated_at is None:
        accounts.end(unit, user)
    unit.flush()
    unit.forget_tenant(user.tenant_id)
    unit.writes += sum(erasing.rows.values())
    rows = {table: number for table, number in sorted(erasing.rows.items()) if number}
    return Erased(unit.now, rows, None if is_last else erasing.after, erasing.namesake)


class _Erasing:
    """What one slice erases of texts and of rows that point at the person.

    Attributes:
        rows: how many rows it has changed, by table.
        after: how far it has come.
        namesake: see `Erased`.
    """

    def __init__(self, connection: Connection, command: EraseSlice, user: User, rules: Rules) -> None:
        self.rows: Counter[str] = Counter()
        self.after = command.after
        self._connection = connection
        self._tenant_id, self._user_id = user.tenant_id, user.id
        self._left = command.limit
        name = stand_in(user.id)
        known = () if user.name in (name, names.default_name(user.id)) else (user.name,)
        self.namesake = bool(known) and _has_namesake(connection, user)
        # In the answers to events a name stands beside the person's id, so that it is the person's.
        self._answers = Rewording((*known, *command.names), name, rules)
        self._texts = Rewording(command.names if self.namesake else (*known, *command.names), name)

    def sweep(self) -> bool:
        """Erase as much as the limit allows. Returns whether nothing is left."""
        # The log first: no row is reworded whose change is in it.
        steps = (self._changes, self._comments, self._notifications, self._events, self._jobs, self._suppressions)
        return all(step() for step in steps)

    def _part(self, table: str, after: int) -> tuple[int, bool]:
        """The id up to which a slice looks at the rows of a table, and whether these are its last."""
        reached, count = self._connection.execute(SELECT_REACHED.format(table), (after, self._left)).fetchone()
        is_last = count < self._left
        self._left -= count
        return (reached or after), is_last

    def _swept(self, **reached: int) -> None:
        self.after = msgspec.structs.replace(self.after, **reached)

    def _run(self, table: str, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self._connection.executemany(statement, rows)
            self.rows[table] += len(rows)

    def _comments(self) -> bool:
        after = self.after.comments
        reached, is_last = self._part("job_comments", after)
        changed = []
        found = self._connection.execute(SELECT_COMMENTS, (after, reached, self._tenant_id)).fetchall()
        for id_, author_id, text in found:
            reworded = ERASED if author_id == self._user_id else self._texts.text(text)
            if reworded != text:
                changed.append((reworded, id_))
        self._run("job_comments", UPDATE_COMMENT, changed)
        whose = after, reached, self._tenant_id, self._user_id
        mentions = self._connection.execute(SELECT_MENTIONS, whose).fetchall()
        self._run("comment_mentions", DELETE_MENTION, [(id_, self._user_id) for (id_,) in mentions])
        self._swept(comments=reached)
        return is_last

    def _notifications(self) -> bool:
        after = self.after.notifications
        reached, is_last = self._part("notifications", after)
        own: list[tuple[int]] = []
        changed: list[tuple[object, ...]] = []
        found = self._connection.execute(SELECT_NOTIFICATIONS, (after, reached, self._tenant_id)).fetchall()
        for id_, user_id, kind, title, message, data, job_id, actor_id in found:
            if user_id == self._user_id:
                own.append((id_,))
                continue
            reworded = self._reworded(kind, title, message, data, actor_id, by_rule=job_id is not None)
            if reworded != (title, message, data):
                changed.append((*reworded, id_))
        self._run("notifications", UPDATE_NOTIFICATION, changed)
        self._run("notifications", DELETE_NOTIFICATION, own)
        self._keep_highest("notifications", own)
        self._swept(notifications=reached)
        return is_last

    def _reworded(
        self, kind: str, title: str, message: str | None, data: str | None, actor_id: int | None, *, by_rule: bool
    ) -> tuple[str, str | None, str | None]:
        """The title, the message and the data of somebody else's notification.

        `by_rule` says that the server has worded it, because it is about a job, and not a backend.
        """
        value: Any = None if data is None else msgspec.json.decode(data)
        facts: dict[str, Any] = value if isinstance(value, dict) else {}
        if actor_id == self._user_id or self._wrote(facts):
            title = self._answers.title(kind, title)
            if by_rule and message is not None:
                message = self._answers.message(kind, message)
            if by_rule and quotes(facts):
                message = ERASED
                if "reason" in facts:
                    data = encode(without_reason(facts)).decode()
        return (
            self._texts.text(title, lengths.TITLE),
            None if message is None else self._texts.text(message),
            None if data is None else self._texts.json(data),
        )

    def _wrote(self, data: dict[str, Any]) -> bool:
        """Whether the person wrote the comment that a notification is about. Its event may be purged already."""
        comment_id = data.get("commentId")
        if not isinstance(comment_id, int):
            return False
        row = self._connection.execute(SELECT_AUTHOR, (comment_id, self._tenant_id)).fetchone()
        return row is not None and bool(row[0] == self._user_id)

    def _events(self) -> bool:
        after = self.after.events
        reached, is_last = self._part("domain_events", after)
        emptied: list[tuple[int]] = []
        answered: list[tuple[str, int]] = []
        for id_, sender, key, answer in self._connection.execute(
            SELECT_EVENTS, (after, reached, self._tenant_id)
        ).fetchall():
            if sender == self._user_id or self._texts.text(key) != key:
                emptied.append((id_,))
            elif answer is not None and (reworded := self._answers.json(answer)) != answer:
                answered.append((reworded, id_))
        self._run("domain_events", UPDATE_KEY, emptied)
        self._run("domain_events", UPDATE_ANSWER, answered)
        self._swept(events=reached)
        return is_last

    def _jobs(self) -> bool:
        after, tenant_id, user_id = self.after.jobs, self._tenant_id, self._user_id
        found = self._connection.execute(SELECT_JOBS, (tenant_id, after, self._left)).fetchall()
        is_last = len(found) < self._left
        self._left -= len(found)
        if found:
            reached = found[-1][0]
            changed = [
                (reworded, tenant_id, id_)
                for id_, title in found
                if (reworded := self._texts.text(title, lengths.TITLE)) != title
            ]
            self._run("jobs", UPDATE_TITLE, changed)
            for table in ("job_watchers", "job_mutes"):
                whose = tenant_id, after, reached, user_id
                rows = self._connection.execute(SELECT_OF_JOBS.format(table), whose).fetchall()
                gone = [(tenant_id, job_id, user_id) for (job_id,) in rows]
                self._run(table, DELETE_OF_JOB.format(table), gone)
            self._swept(jobs=reached)
        return is_last

    def _suppressions(self) -> bool:
        whose = self._tenant_id, self._user_id, self._left
        found = self._connection.execute(SELECT_SUPPRESSIONS, whose).fetchall()
        is_last = len(found) < self._left
        self._left -= len(found)
        self._run("suppressions", DELETE_SUPPRESSION, found)
        self._keep_highest("suppressions", found)
        return is_last

    def _changes(self) -> bool:
        found = self._connection.execute(SELECT_CHANGES, (self._tenant_id, self._left)).fetchall()
        is_last = len(found) < self._left
        self._left -= len(found)
        if found:
            purge(self._connection, self._tenant_id, *found[-1])
            self.rows["changes"] += len(found)
        return is_last

    def _keep_highest(self, table: str, deleted: Sequence[tuple[int]]) -> None:
        """Where ids follow the highest one that is stored, see to it that none is given twice."""
        if deleted and not self._connection.is_shared:
            self._connection.execute(UPSERT_PURGED, (table, max(id_ for (id_,) in deleted)))


def _has_namesake(connection: Connection, user: User) -> bool:
    folded, _ = names.parts(user.name)
    found = connection.execute(SELECT_NAMESAKES, (user.tenant_id, WHOLE, folded, user.id)).fetchall()
    return any(name.casefold() == user.name.casefold() for (name,) in found)


def _let_go(unit: UnitOfWork, user_id: int, tenant_id: int, rows: Counter[str]) -> None:
    """Put the stand-in in the place of the name, and end the log, of which nothing but its last number is left."""
    connection, whose = unit.connection, (tenant_id, user_id)
    tenant, user = unit.ensure_tenant(tenant_id), unit.ensure_user(tenant_id, user_id)
    rows["users"] += user.name != stand_in(user_id)
    rows["people_names"] += connection.execute(COUNT_NAMES, whose).fetchone()[0]
    rows["user_days"] += connection.execute(COUNT_DAYS, whose).fetchone()[0]
    connection.executemany(DELETE_DAYS, [whose])
    connection.executemany(DELETE_NAMES, [whose])
    tenant.names_version += 1
    unit.touch(tenant)
    user.name, user.role, user.role_given = stand_in(user_id), "user", False
    user.unread = user.unseen = user.sent = user.by_persons = user.earlier_count = user.earlier_by_persons = 0
    user.sent_day = user.earlier_day = None
    accounts.end(unit, user)
    unit.log(tenant, user_id, "deleted", encode(NotificationIds([])))
    unit.flush()
    connection.insert(INSERT_NAME, rows_of(tenant_id, user_id, user.name, tenant.names_version))
    purge(connection, tenant_id, tenant.last_seq, tenant.last_mark)
    unit.ended.add(tenant_id)


def purge(connection: Connection, tenant_id: int, seq: int, mark: int) -> None:
    """Purge a tenant's log up to and with a change."""
    oldest = connection.execute(SELECT_OLDEST, (tenant_id,)).fetchone()[0]
    connection.execute(UPDATE_OLDEST, (seq, mark, tenant_id))
    connection.execute(DELETE_CHANGES, (tenant_id, oldest, seq))
