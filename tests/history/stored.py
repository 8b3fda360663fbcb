"""Judges what is stored: every acknowledged event once, and a log that tells the same story as the rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.history.findings import Finding
from tests.history.ledger import Ledger, StoredComment, StoredEvent
from tests.history.records import Answered, History, Sent

REPEATED, CREATED = 200, 201


def judge_stored(history: History, pasts: Sequence[Ledger]) -> Iterator[Finding]:
    """Rule "stored once": acknowledged is a subset of stored, once each, and nothing else is stored.

    What was acknowledged in a past that is lost was stored in that one.
    """
    sent: dict[tuple[int, str], Sent] = {}
    answers: dict[tuple[int, str], list[Answered]] = defaultdict(list)
    for record in history:
        if isinstance(record, Sent):
            sent[record.tenant_id, record.key] = record
        elif isinstance(record, Answered):
            answers[record.tenant_id, record.key].append(record)
    stored = [_by_key(past) for past in pasts]
    for key, given in answers.items():
        yield from _judge_key(pasts, sent.get(key), given, [its.get(key, []) for its in stored])
    for its in stored:
        for key, events in its.items():
            if key not in sent:
                yield Finding("stored once", key[1], "is stored, but nobody sent it")
            if len(events) > 1 and key not in answers:
                yield Finding("stored once", key[1], f"is stored {len(events)} times")


def _by_key(past: Ledger) -> dict[tuple[int, str], list[StoredEvent]]:
    stored: dict[tuple[int, str], list[StoredEvent]] = defaultdict(list)
    for event in past.events:
        if event.key is not None:
            stored[event.tenant_id, event.key].append(event)
    return stored


def _judge_key(
    pasts: Sequence[Ledger], sent: Sent | None, given: list[Answered], stored: list[list[StoredEvent]]
) -> Iterator[Finding]:
    """`stored` is what each past has under the key."""
    key = given[0].key
    if any(answer.body.get("error", {}).get("code") == "idempotency_key_reused" for answer in given):
        yield Finding(
            "stored once", key, "was refused, because the key was used by somebody else or for something else"
        )
    accepted = [answer for answer in given if answer.status in (CREATED, REPEATED)]
    if not accepted:
        # What was refused is not there; 5xx and 429 promise nothing either way. Where an older copy was put back, it
        # may have been stored in the past that is lost and refused in the one that began then, or the other way round.
        refusals = sorted({answer.status for answer in given if 400 <= answer.status < 500 and answer.status != 429})
        if refusals and all(stored):
            yield Finding("stored once", key, f"was answered {refusals} and is stored all the same")
        return
    if sum(answer.status == CREATED for answer in accepted) > len(pasts):
        yield Finding("stored once", key, "was answered 201 more than once")
    for answer in accepted:
        findings = [list(_judge_answer(past, sent, answer, events)) for past, events in zip(pasts, stored, strict=True)]
        if all(findings):
            yield from findings[-1]


def _judge_answer(past: Ledger, sent: Sent | None, answer: Answered, stored: list[StoredEvent]) -> Iterator[Finding]:
    if len(stored) != 1:
        yield Finding("stored once", answer.key, f"was acknowledged and is stored {len(stored)} times")
    elif answer.body != stored[0].answer:
        yield Finding("stored once", answer.key, f"was answered {answer.body}, stored with it is {stored[0].answer}")
    else:
        yield from _judge_notifications(past, sent, answer, stored[0])


def _judge_notifications(ledger: Ledger, sent: Sent | None, answer: Answered, event: StoredEvent) -> Iterator[Finding]:
    named = {entry["id"]: entry for entry in answer.body.get("notifications", [])}
    rows = {row.id: row for row in ledger.notifications.values() if row.event_id == event.id}
    if named.keys() != rows.keys():
        yield Finding(
            "stored once", answer.key, f"the answer names the notifications {sorted(named)}, stored are {sorted(rows)}"
        )
    for id_, entry in named.items():
        row = rows.get(id_)
        if row is None:
            continue
        said = (entry["userId"], entry["type"], answer.tenant_id)
        if said != (row.user_id, row.type, row.tenant_id):
            yield Finding("stored once", answer.key, f"notification {id_} was answered as {said}, stored is {row}")
        if sent is not None and sent.event.get("type") == "notification.requested":
            wanted = (sent.event["userId"], sent.event["notificationType"], sent.event["title"])
            if wanted != (row.user_id, row.type, row.title):
                yield Finding("stored once", answer.key, f"asked for {wanted}, stored is {row}")


def judge_log(ledger: Ledger) -> Iterator[Finding]:
    """Rules "log" and "marks".

    Numbers without a gap, each with the mark that follows from the one before, each row's stamps as in the log, counts
    equal to the rows that are unread, each comment told once and as it is stored.
    """
    yield from ledger.marks
    yield from _judge_comments(ledger)
    for tenant_id, last in ledger.last.items():
        who = f"tenant {tenant_id}"
        numbers = [entry.seq for entry in ledger.by_tenant[tenant_id]]
        expected = list(range(ledger.oldest.get(tenant_id, 0) + 1, last + 1))
        if numbers != expected:
            odd = sorted((Counter(numbers) - Counter(expected)) + (Counter(expected) - Counter(numbers)))
            yield Finding("log", who, f"the log has gaps, repeats or strays at {odd[:10]}")
    stamps = _stamps(ledger)
    for row in ledger.notifications.values():
        brought, read, removed = stamps.pop((row.tenant_id, row.user_id, row.id), (None, None, None))
        if (row.seq, row.read_seq, row.removed_seq) != (brought, read, removed) and not _purged(ledger, row.tenant_id):
            yield Finding(
                "log",
                f"notification {row.id}",
                f"its row says {(row.seq, row.read_seq, row.removed_seq)}, the log {(brought, read, removed)}",
            )
    for tenant_id, user_id, id_ in stamps:
        if not _purged(ledger, tenant_id):
            yield Finding("log", f"notification {id_}", f"is in the log of user {user_id}, but has no row there")
    for (tenant_id, user_id), unread in ledger.unread.items():
        if (tenant_id, user_id) in ledger.erased:
            continue
        rows = sum(
            row.read_seq is None and row.removed_seq is None and row.place is None
            for row in ledger.notifications.values()
            if (row.tenant_id, row.user_id) == (tenant_id, user_id)
        )
        if rows != unread:
            yield Finding("counts", f"user {user_id}", f"the stored count is {unread}, unread rows are {rows}")
    for (tenant_id, user_id), stored in ledger.unseen.items():
        if (tenant_id, user_id) in ledger.erased:
            continue
        counts = ledger.view(tenant_id, user_id).counts_at(ledger.last.get(tenant_id, 0))
        if (ledger.unread.get((tenant_id, user_id)), stored) != counts and not _purged(ledger, tenant_id):
            yield Finding(
                "counts", f"user {user_id}", f"the stored unseen count is {stored}, the log's counts {counts}"
            )


def _judge_comments(ledger: Ledger) -> Iterator[Finding]:
    """What the log tells of comments is what the threads hold; of what was purged there may be less."""
    told: dict[tuple[int, int], list[StoredComment]] = defaultdict(list)
    for entry in ledger.entries:
        if entry.event == "comment:added":
            said = entry.data["comment"]
            people = tuple(person["id"] for person in said["mentions"])
            words = said["authorId"], said["text"], said["createdAt"], people
            told[entry.tenant_id, said["id"]].append(StoredComment(said["id"], entry.tenant_id, said["jobId"], *words))
    for comment in ledger.comments:
        found = told.pop((comment.tenant_id, comment.id), [])
        if found != [comment] and (found or not _purged(ledger, comment.tenant_id)):
            yield Finding("log", f"comment {comment.id}", f"its row says {comment}, the log {found}")
    for tenant_id, id_ in told:
        yield Finding("log", f"comment {id_}", f"is in the log of tenant {tenant_id}, but in no thread")


def _purged(ledger: Ledger, tenant_id: int) -> bool:
    return ledger.oldest.get(tenant_id, 0) > 0


def _stamps(ledger: Ledger) -> dict[tuple[int, int, int], tuple[int | None, int | None, int | None]]:
    """What the log says of each notification: the numbers that brought, read and took it."""
    stamps: dict[tuple[int, int, int], tuple[int | None, int | None, int | None]] = {}
    # What a reading of all is of: what is there and neither archived nor snoozed.
    inboxes: dict[tuple[int, int], dict[int, None]] = defaultdict(dict)
    for entry in ledger.entries:
        if entry.user_id is None or not entry.event.startswith("notification:"):
            continue
        owner = (entry.tenant_id, entry.user_id)
        inbox, what = inboxes[owner], entry.event.partition(":")[2]
        if what == "new":
            # A second one of the same id would show as a stamp that differs from the row's.
            stamps[*owner, entry.data["id"]] = (entry.seq, None, None)
            inbox[entry.data["id"]] = None
            continue
        for id_ in list(inbox) if entry.data.get("all") else entry.data.get("notificationIds", ()):
            brought, read, removed = stamps.get((*owner, id_), (None, None, None))
            match what:
                case "read":
                    read = entry.seq if read is None else read
                case "unread" | "unsnoozed":
                    read = None
                case "deleted":
                    removed = entry.seq if removed is None else removed
            if what in ("unarchived", "unsnoozed"):
                inbox[id_] = None
            elif what in ("archived", "snoozed", "deleted"):
                inbox.pop(id_, None)
            stamps[*owner, id_] = (brought, read, removed)
    return stamps
