"""A small history by hand, with the ledger it belongs to: two tenants, three users, and a device of each kind.

The log of tenant 1, by number: 1 new 11 to Ada, 2 new 12 to Bob, 3 job:updated to all, 4 new 13 to Ada, 5 read 11,
6 deleted 13 and the marker 14 at 7. Tenant 2 has Carol, with notification 21 at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.history.chain import offset_text
from tests.history.ledger import Entry, Ledger, StoredComment, StoredEvent, StoredNotification
from tests.history.records import (
    Answered,
    Connected,
    History,
    Marked,
    Opened,
    Paged,
    Received,
    Record,
    Reloaded,
    Sent,
)

ADA, BOB, CAROL = 1, 2, 3
NEW, READ, DELETED = "notification:new", "notification:read", "notification:deleted"
COUNT, RESET, UPDATED = "notification:unread-count", "changes:reset", "job:updated"
MARKER = 14
JOB = {"job": {"id": 5}}


def new(id_: int) -> dict[str, Any]:
    return {"id": id_, "title": f"number {id_}"}


def mark(seq: int, past: int = 0) -> int:
    """The mark of a change of this number; of another past it is another one."""
    return 1000 * past + seq


def at(seq: int, past: int = 0) -> str:
    return offset_text(mark(seq, past), seq)


def entry(tenant_id: int, seq: int, user_id: int | None, event: str, data: Any, past: int = 0) -> Entry:
    return Entry(tenant_id, seq, user_id, event, data, mark(seq, past))


ENTRIES = [
    entry(1, 1, ADA, NEW, new(11)),
    entry(1, 2, BOB, NEW, new(12)),
    entry(1, 3, None, UPDATED, JOB),
    entry(1, 4, ADA, NEW, new(13)),
    entry(1, 5, ADA, READ, {"notificationIds": [11]}),
    entry(1, 6, ADA, DELETED, {"notificationIds": [13]}),
    entry(1, 7, ADA, NEW, new(MARKER)),
    entry(2, 1, CAROL, NEW, new(21)),
]
ROWS = [
    StoredNotification(11, 1, ADA, 101, "plain", "number 11", 1, read_seq=5),
    StoredNotification(12, 1, BOB, 102, "plain", "number 12", 2),
    StoredNotification(13, 1, ADA, 103, "plain", "number 13", 4, removed_seq=6),
    StoredNotification(MARKER, 1, ADA, 104, "plain", "number 14", 7),
    StoredNotification(21, 2, CAROL, 105, "plain", "number 21", 1),
]


def answer(id_: int, user_id: int, event_id: int) -> dict[str, Any]:
    entry = {"id": id_, "userId": user_id, "type": "plain"}
    return {"eventId": event_id, "seq": 1, "notifications": [entry], "suppressed": []}


EVENTS = [
    StoredEvent(row.event_id or 0, row.tenant_id, f"key-{row.id}", answer(row.id, row.user_id, row.event_id or 0))
    for row in ROWS
]


def ledger(
    *,
    entries: list[Entry] = ENTRIES,
    rows: list[StoredNotification] = ROWS,
    events: list[StoredEvent] = EVENTS,
    unread: dict[tuple[int, int], int] | None = None,
    comments: Sequence[StoredComment] = (),
) -> Ledger:
    counts = {(1, ADA): 1, (1, BOB): 1, (2, CAROL): 1} if unread is None else unread
    return Ledger(entries, rows, events, counts, last={1: 7, 2: 1}, comments=comments)


def publishing() -> list[Record]:
    """Everything was posted once and answered 201."""
    records: list[Record] = []
    for row, event in zip(ROWS, EVENTS, strict=True):
        body = {
            "type": "notification.requested",
            "userId": row.user_id,
            "notificationType": "plain",
            "title": row.title,
        }
        records.append(Sent(row.tenant_id, event.key or "", body))
        records.append(Answered(row.tenant_id, event.key or "", 201, event.answer))
    return records


def received(seq: int, *, device: str = "js", numbered: bool = True) -> Received:
    """The change of this number of tenant 1 comes in."""
    change = next(each for each in ENTRIES if (each.tenant_id, each.seq) == (1, seq))
    return Received(device, change.event, change.data, at(seq) if numbered else None)


def counted(count: int, seq: int, *, device: str = "js", numbered: bool = True) -> Received:
    return Received(device, COUNT, {"count": count}, at(seq) if numbered else None)


def stock_device() -> list[Record]:
    """Ada's tab: connects at the beginning, is cut off behind 3, recovers, hears the rest."""
    return [
        Opened("js", 1, ADA, "recovery"),
        Connected("js"),
        counted(0, 0),
        Reloaded("js", at(0), 0, [], True),
        received(1),
        counted(1, 1),
        received(3),
        Connected("js", recovered=True),
        received(4),
        received(5),
        counted(1, 5),
        received(6),
        counted(0, 6),
        received(7),
        counted(1, 7),
    ]


def since_device() -> list[Record]:
    """Ada's program without offsets: resumes at 1, which it has had, and is given what came behind."""
    return [
        Opened("py", 1, ADA, "since"),
        Reloaded("py", at(1), 1, [(11, False)], True),
        Connected("py", since=at(1)),
        counted(1, 1, device="py", numbered=False),
        received(3, device="py", numbered=False),
        received(4, device="py", numbered=False),
        Connected("py", since=at(1)),
        *(received(seq, device="py", numbered=False) for seq in (3, 4, 5, 6, 7)),
        counted(1, 7, device="py", numbered=False),
    ]


def polling_device() -> list[Record]:
    """Ada's script, which asks over HTTP."""
    items = [
        {"offset": at(each.seq), "event": each.event, "data": each.data}
        for each in ENTRIES
        if each.tenant_id == 1 and each.user_id in (None, ADA)
    ]
    return [
        Opened("http", 1, ADA, "polling"),
        Reloaded("http", at(0), 0, [], True),
        Paged("http", at(0), items[:2], at(3)),
        Paged("http", at(3), items[2:], at(7)),
        Reloaded("http", at(7), 1, [(MARKER, False), (11, True)], True),
    ]


def story(*devices: Callable[[], list[Record]]) -> History:
    """What all of these lived through."""
    records = publishing()
    for device in devices or (stock_device, since_device, polling_device):
        records += device()
    return History([*records, Marked(1, ADA, MARKER)])
