"""What a server's database holds after a run: the log, inboxes, stored answers, and a model made of the log alone.

Reads the tables by SQL of its own and stays clear of the server's code.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tests.history.chain import EVENTS, judge_marks, offset_text
from tests.history.findings import Finding
from tests.history.tables import Tables, reading

if TYPE_CHECKING:
    from tests.history.archive import Archive

LOGGED = frozenset(EVENTS.values())
"""The events that have sequence numbers of their own."""

PARTICIPLES = {
    "read": "read",
    "archive": "archived",
    "snooze": "snoozed",
    "delete": "deleted",
}
"""The commands on one notification that leave something in the log each time they are acknowledged, at the latest then,
and the last word of the event. What takes such a thing back changes nothing where there is nothing to take back."""

SELECT_LOG = """SELECT c.tenant_id, c.seq, c.mark, c.user_id, c.kind, c.data, n.id, n.type, n.priority, n.title,
    n.message, n.data, n.created_at, n.replaces FROM changes c LEFT JOIN notifications n ON n.id = c.notification_id
    ORDER BY c.tenant_id, c.seq"""
SELECT_NOTIFICATIONS = """SELECT id, tenant_id, user_id, event_id, type, title, seq, read_seq, removed_seq, place
    FROM notifications"""
SELECT_LAST = """SELECT t.id, coalesce(max(c.seq), t.oldest_seq) FROM tenants t
    LEFT JOIN changes c ON c.tenant_id = t.id GROUP BY t.id"""
SELECT_COMMENTS = "SELECT id, tenant_id, job_id, author_id, text, created_at FROM job_comments"
SELECT_MENTIONS = "SELECT comment_id, user_id FROM comment_mentions ORDER BY comment_id, user_id"
SELECT_EVENTS = "SELECT id, tenant_id, idempotency_key, answer FROM domain_events"


class Entry(msgspec.Struct, frozen=True):
    """One logged change; `user_id` None means everyone in the tenant."""

    tenant_id: int
    seq: int
    user_id: int | None
    event: str
    data: Any
    mark: int = 0


class StoredNotification(msgspec.Struct, frozen=True):
    """A row of an inbox and the changes that brought, read and took it."""

    id: int
    tenant_id: int
    user_id: int
    event_id: int | None
    type: str
    title: str
    seq: int
    read_seq: int | None = None
    removed_seq: int | None = None
    place: str | None = None


class StoredEvent(msgspec.Struct, frozen=True):
    """An accepted domain event, and the answer that was kept with it."""

    id: int
    tenant_id: int
    key: str | None
    answer: Any


class StoredComment(msgspec.Struct, frozen=True):
    """A row of a job's thread, with the ids of those whom it mentions."""

    id: int
    tenant_id: int
    job_id: int
    author_id: int | None
    text: str
    created_at: str
    mentions: tuple[int, ...] = ()


class Known(msgspec.Struct):
    """A notification as the log tells of it."""

    read: bool = False
    place: str | None = None
    unseen: bool = True


class Shown:
    """An inbox that is made of changes alone."""

    def __init__(self) -> None:
        self.items: dict[int, Known] = {}

    @property
    def counts(self) -> tuple[int, int]:
        """How many are unread in the inbox itself, and how many of these are unseen."""
        unread = [item for item in self.items.values() if not item.read and item.place is None]
        return len(unread), sum(item.unseen for item in unread)

    @property
    def inbox(self) -> list[tuple[int, bool]]:
        """What is in the inbox itself, newest first: ids, and whether each is read."""
        return sorted(((id_, item.read) for id_, item in self.items.items() if item.place is None), reverse=True)

    def take(self, entry: Entry) -> None:
        """Take in a change."""
        data = entry.data
        if entry.event == "notification:new":
            self.items[data["id"]] = Known()
        elif entry.event == "notification:seen":
            for id_, item in self.items.items():
                item.unseen = item.unseen and id_ > data["upTo"]
        elif entry.event == "notification:read" and data.get("all"):
            for item in self.items.values():
                item.read = item.read or item.place is None
        elif entry.event.startswith("notification:"):
            for id_ in data["notificationIds"]:
                self._take_one(id_, entry.event.partition(":")[2])

    def _take_one(self, id_: int, what: str) -> None:
        item = self.items.get(id_)
        if item is None:
            return
        match what:
            case "read" | "unread":
                item.read = what == "read"
            case "archived" | "snoozed":
                item.place = what
            case "unarchived":
                item.place = None
            case "unsnoozed":
                item.read, item.place, item.unseen = False, None, True
            case "deleted":
                del self.items[id_]
            case _:
                raise AssertionError(what)


class View:
    """The log as one user sees it, and the user's inbox at every sequence number."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        self._seqs = [entry.seq for entry in self.entries]
        self._by_seq = {entry.seq: entry for entry in self.entries}

    def at(self, seq: int) -> Entry | None:
        """The change of this number, None if it is not the user's to see."""
        return self._by_seq.get(seq)

    def after(self, seq: int) -> Entry | None:
        """The first change behind `seq`."""
        place = bisect_right(self._seqs, seq)
        return self.entries[place] if place < len(self.entries) else None

    def between(self, after: int, until: int) -> list[Entry]:
        """The changes behind `after` up to and with `until`."""
        return self.entries[bisect_right(self._seqs, after) : bisect_right(self._seqs, until)]

    @cached_property
    def _counts(self) -> list[tuple[int, int]]:
        shown = Shown()
        counts = [(0, 0)]
        for entry in self.entries:
            shown.take(entry)
            counts.append(shown.counts)
        return counts

    def count_at(self, seq: int) -> int:
        """Unread notifications right after the change of this number."""
        return self.counts_at(seq)[0]

    def counts_at(self, seq: int) -> tuple[int, int]:
        """Unread and unseen notifications right after the change of this number."""
        return self._counts[bisect_right(self._seqs, seq)]

    def counts_from(self, seq: int) -> set[tuple[int, int]]:
        """The counts at every moment from `seq` on."""
        return set(self._counts[bisect_right(self._seqs, seq) :])

    def inbox_at(self, seq: int) -> list[tuple[int, bool]]:
        """The inbox right after the change of this number, newest first: ids, and whether each is read."""
        shown = Shown()
        for entry in self.between(-1, seq):
            shown.take(entry)
        return shown.inbox

    def ever(self, verb: str, id_: int) -> bool:
        """Whether the log has what must be there once a command on a notification was acknowledged."""
        event = f"notification:{PARTICIPLES.get(verb)}"
        return verb not in PARTICIPLES or any(
            entry.event == event and (entry.data.get("all") or id_ in entry.data["notificationIds"])
            for entry in self.entries
        )

    @cached_property
    def brought(self) -> dict[int, int]:
        """Notification ids and the numbers of the changes that brought them."""
        return {entry.data["id"]: entry.seq for entry in self.entries if entry.event == "notification:new"}


class Ledger:
    """A database's content.

    Args:
        entries: the log, in order within each tenant.
        notifications: the inboxes' rows, removed ones too.
        events: accepted domain events.
        unread: the stored unread count of each (tenant, user).
        unseen: the stored unseen count; nothing is said of it where there is none.
        last: each tenant's newest sequence number.
        oldest: each tenant's number up to which the log was purged.
        marks: what is wrong with the marks in it.
        comments: the rows of all threads.
        erased: persons of whom nothing is left but what an archive has.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        notifications: Iterable[StoredNotification] = (),
        events: Iterable[StoredEvent] = (),
        unread: dict[tuple[int, int], int] | None = None,
        last: dict[int, int] | None = None,
        oldest: dict[int, int] | None = None,
        marks: Iterable[Finding] = (),
        comments: Iterable[StoredComment] = (),
        unseen: dict[tuple[int, int], int] | None = None,
        erased: Collection[tuple[int, int]] = (),
    ) -> None:
        self.entries = list(entries)
        self.notifications = {row.id: row for row in notifications}
        self.events = list(events)
        self.unread = unread or {}
        self.unseen = unseen or {}
        self.last = last or {}
        self.oldest = oldest or {}
        self.marks = list(marks)
        self.comments = list(comments)
        self.erased = frozenset(erased)
        self._views: dict[tuple[int, int], View] = {}

    def view(self, tenant_id: int, user_id: int) -> View:
        """The log as this user sees it."""
        view = self._views.get((tenant_id, user_id))
        if view is None:
            view = View(entry for entry in self.by_tenant[tenant_id] if entry.user_id in (None, user_id))
            self._views[tenant_id, user_id] = view
        return view

    @cached_property
    def by_tenant(self) -> dict[int, list[Entry]]:
        """The log of each tenant."""
        logs: dict[int, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            logs[entry.tenant_id].append(entry)
        return logs

    @cached_property
    def _offsets(self) -> dict[tuple[int, int], str]:
        return {(entry.tenant_id, entry.seq): offset_text(entry.mark, entry.seq) for entry in self.entries}

    def offset(self, tenant_id: int, seq: int) -> str | None:
        """The offset of the change of this number; None where there is none, or it was purged."""
        return ".0" if seq == 0 else self._offsets.get((tenant_id, seq))

    def seq(self, tenant_id: int, offset: str) -> int | None:
        """The number in an offset of a tenant, None where no change of this past has it.

        Of what was purged nobody knows the marks any more: there the number is believed.
        """
        digits = offset.rpartition(".")[2]
        number = int(digits) if digits.isdecimal() else -1
        if 0 < number <= self.oldest.get(tenant_id, 0) or self.offset(tenant_id, number) == offset:
            return number
        return None

    @cached_property
    def _owners(self) -> dict[tuple[str, str], list[Entry]]:
        owners: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        for entry in self.entries:
            owners[entry.event, _text(entry.data)].append(entry)
        return owners

    def with_content(self, event: str, data: Any) -> list[Entry]:
        """Every change of any tenant and user that looks like this."""
        return self._owners.get((event, _text(data)), [])

    @classmethod
    def read(cls, place: Path | str, archive: Archive | None = None) -> Ledger:
        """Read a database that no server is writing to; see `tables.reading` for the place. With an archive of all that
        was purged, it is as if nothing had been."""
        with reading(place) as connection:
            entries = [entry_of(row) for row in connection.execute(SELECT_LOG)]
            notifications = [StoredNotification(*row) for row in connection.execute(SELECT_NOTIFICATIONS)]
            oldest = dict(connection.execute("SELECT id, oldest_seq FROM tenants").fetchall())
            if archive is not None:
                entries, notifications = archive.complete(connection, entries, notifications, oldest)
                oldest = dict.fromkeys(oldest, 0)
            return cls(
                entries=entries,
                notifications=notifications,
                events=[
                    StoredEvent(id_, tenant_id, key, None if answer is None else json.loads(answer))
                    for id_, tenant_id, key, answer in connection.execute(SELECT_EVENTS)
                ],
                unread={
                    (tenant_id, user_id): count
                    for tenant_id, user_id, count in connection.execute("SELECT tenant_id, id, unread_count FROM users")
                },
                last=dict(connection.execute(SELECT_LAST).fetchall()),
                oldest=oldest,
                marks=judge_marks(connection),
                comments=_comments(connection),
                unseen={
                    (tenant_id, user_id): count
                    for tenant_id, user_id, count in connection.execute("SELECT tenant_id, id, unseen_count FROM users")
                },
                erased=() if archive is None else archive.erased,
            )


def _comments(connection: Tables) -> list[StoredComment]:
    mentions: dict[int, list[int]] = defaultdict(list)
    for comment_id, user_id in connection.execute(SELECT_MENTIONS):
        mentions[comment_id].append(user_id)
    return [StoredComment(*row, tuple(mentions[row[0]])) for row in connection.execute(SELECT_COMMENTS)]


def entry_of(row: tuple[Any, ...]) -> Entry:
    """A change of a row of `SELECT_LOG`."""
    tenant_id, seq, mark, user_id, kind, stored, *notification = row
    if kind != "new":
        return Entry(tenant_id, seq, user_id, EVENTS[kind], json.loads(stored), mark)
    id_, type_, priority, title, message, data, created_at, replaces = notification
    payload = {
        "id": id_,
        "type": type_,
        "priority": priority,
        "title": title,
        "message": message,
        "data": None if data is None else json.loads(data),
        "createdAt": created_at,
        **({} if replaces is None else {"replaces": replaces}),
    }
    return Entry(tenant_id, seq, user_id, EVENTS[kind], payload, mark)


def _text(data: Any) -> str:
    return json.dumps(data, sort_keys=True)
