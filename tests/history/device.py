"""Judges one device: walks what it received along the log as its user sees it.

A database that is put back begins another past, which shares its beginning with the one that is lost. `_past` is the
one that the device is in. It may go on to a later one where that has everything which the device knows; otherwise it
must have been told to begin anew.

Two points move. `_written` is how far the session has come: the last number written to it, which a stock client
presents when it resumes; `_began` is where that chain of packets began. `_applied` is how far the application has
come; None while it knows that it must reload. What comes while it reloads is kept, and what the list does not hold is
applied behind it; what the list holds already still comes over the socket, and is dropped by its number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from djactors.domain.ids import MAX_ID
from tests.history.findings import Finding, Rule
from tests.history.ledger import LOGGED, PARTICIPLES, Entry, Ledger, View
from tests.history.records import (
    Acknowledged,
    Commanded,
    Connected,
    DeviceRecord,
    Lost,
    Opened,
    Paged,
    Received,
    Reloaded,
)

COUNT = "notification:unread-count"
RESET = "changes:reset"


class DeviceJudge:
    """Walks along one device's records; each call yields what is wrong."""

    def __init__(self, opened: Opened, pasts: Sequence[Ledger]) -> None:
        self.name = opened.device
        self._opened = opened
        self._pasts = pasts
        self._past = 0
        self._misled: list[Finding] = []
        # It knows something that is lost, and has to be told to begin anew before anything else.
        self._astray = False
        self._began: int | None = None
        self._written: int | None = None
        self._applied: int | None = None
        self._counted: int | None = None
        self._kept: str | None = None

    @property
    def _ledger(self) -> Ledger:
        return self._pasts[self._past]

    @property
    def _view(self) -> View:
        return self._view_in(self._past)

    def _view_in(self, place: int) -> View:
        return self._pasts[place].view(self._opened.tenant_id, self._opened.user_id)

    def take(self, record: DeviceRecord) -> Iterator[Finding]:
        """Judge the next record."""
        yield from self._judge(record)
        yield from self._misled
        self._misled.clear()

    def _judge(self, record: DeviceRecord) -> Iterator[Finding]:
        match record:
            case Connected():
                yield from self._connected(record)
            case Received():
                yield from self._received(record)
            case Reloaded():
                yield from self._reloaded(record)
            case Paged():
                yield from self._paged(record)
            case Commanded():
                yield from self._commanded(record)
            case Acknowledged():
                yield from self._acknowledged(record)
            case Lost() | Opened():
                pass

    def finish(self, marker: int | None) -> Iterator[Finding]:
        """The run has ended; `marker` is the number of the user's last notification."""
        self._go_on_to(len(self._pasts) - 1)
        yield from self._misled
        if self._applied is None:
            yield self._find("applied once", "never loaded its inbox after it had to start anew")
        elif marker is not None and self._applied < marker:
            missing = self._view.between(self._applied, marker)
            yield self._find("applied once", f"ends at {self._applied}, without {_shown(missing)}")
        if marker is not None and (self._counted is None or self._counted < marker):
            yield self._find("counts", f"was shown no count at or behind {marker}, its last notification")

    # What happened

    def _connected(self, record: Connected) -> Iterator[Finding]:
        if self._opened.kind == "recovery":
            if record.recovered and self._astray:
                yield self._find("pasts", "was recovered, though what it was told is lost")
            self._astray = False
            if record.recovered:
                # Without an event since its pid the client presented no offset; what comes tells where it goes on.
                self._written = None if self._kept is None else self._seq(self._kept)
                self._began = None if self._written is None else self._began
            else:
                self._began = self._written = self._applied = self._kept = None
        elif record.since is None:
            yield self._find("applied once", "connected without `since`: nothing tells where its changes begin")
        else:
            yield from self._resume(record.since)

    def _resume(self, since: str) -> Iterator[Finding]:
        """The application itself said where to go on."""
        self._began = self._written = self._seq(since)
        self._astray = self._written is None
        if self._astray:
            if not any(past.seq(self._opened.tenant_id, since) is not None for past in self._pasts):
                yield from self._foreign(since)
        elif self._applied is not None:
            skipped = self._view.between(self._applied, self._written)
            if skipped:
                yield self._find("applied once", f"resumed at {self._written} without {_shown(skipped)}")

    def _received(self, record: Received) -> Iterator[Finding]:
        if record.event == RESET:
            self._began = self._written = self._applied = None
            self._astray = False
        elif self._is_late(record):
            # Another node has shown a later past already. This session has to be reset before it tells of that one.
            self._astray = True
            return
        elif self._astray:
            yield self._find("pasts", f"is told {record.event}, though what it was told before is lost")
            return
        seq = None
        if self._opened.kind == "recovery":
            if record.offset is None:
                yield self._find("offsets", f"{record.event} came without an offset")
                return
            self._kept = record.offset
            seq = self._seq(record.offset)
            if seq is None:
                yield from self._foreign(record.offset)
                return
        elif record.offset is not None:
            yield self._find("offsets", f"{record.event} came with an offset, which the client had declined")
        if record.event == RESET:
            yield from self._reset(record, seq)
        elif record.event in LOGGED:
            yield from self._logged(record.event, record.data, seq)
        else:
            yield from self._unlogged(record, seq)

    def _is_late(self, record: Received) -> bool:
        """Whether it was on its way when the past was lost of which it tells."""
        tenant_id, offset = self._opened.tenant_id, record.offset
        if self._opened.kind != "recovery" or offset is None or self._place(offset) is not None:
            return False
        return any(past.seq(tenant_id, offset) is not None for past in self._pasts[: self._past])

    def _reset(self, record: Received, seq: int | None) -> Iterator[Finding]:
        said = self._seq(record.data["offset"])
        if said is None:
            yield from self._foreign(record.data["offset"])
        elif seq is not None and said != seq:
            yield self._find("offsets", f"{RESET} names {said} and carries {seq}")
        self._began = self._written = said
        self._applied = None

    def _unlogged(self, record: Received, seq: int | None) -> Iterator[Finding]:
        if seq is not None:
            if self._written is not None and seq < self._written:
                yield self._find("offsets", f"{record.event} carries {seq} behind {self._written}")
            yield from self._check_nothing_skipped(seq, f"{record.event} at {seq}")
        at = self._written
        if record.event == COUNT and at is not None:
            count, (expected, unseen) = record.data["count"], self._view.counts_at(at)
            if count != expected:
                yield self._find("counts", f"was shown {count} at {at}, where {expected} are unread")
            elif record.data.get("unseen", unseen) != unseen:
                yield self._find("counts", f"was shown {record.data} at {at}, where {unseen} are unseen")
            self._counted = at

    def _logged(self, event: str, data: Any, seq: int | None) -> Iterator[Finding]:
        if seq is None:
            entry, findings = self._recognise(event, data)
            yield from findings
            if entry is None:
                return
            seq = entry.seq
        else:
            entry = self._view.at(seq)
            if entry is None or (entry.event, entry.data) != (event, data):
                yield self._stranger(event, data, f"at {seq}", entry)
            if self._written is not None and seq <= self._written:
                yield self._find("received once", f"{event} at {seq} came again, or late, behind {self._written}")
                return
        yield from self._check_nothing_skipped(seq - 1, f"{event} at {seq}")
        self._written = seq
        if self._applied is not None and seq > self._applied:
            self._applied = seq

    def _check_nothing_skipped(self, until: int, before: str) -> Iterator[Finding]:
        """Everything up to `until` was written to the session and applied; both are there now."""
        if self._written is not None:
            skipped = self._view.between(self._written, until)
            if skipped:
                yield self._find("applied once", f"{before} skips {_shown(skipped)}, behind {self._written}")
        if self._applied is not None:
            lost = self._view.between(self._applied, until)
            if lost and (self._written is None or self._applied < self._written):
                yield self._find("applied once", f"{before} comes while {_shown(lost)} was never applied")
            self._applied = max(self._applied, until)
        if self._written is None:
            self._began = self._written = until
        else:
            self._written = max(self._written, until)

    def _recognise(self, event: str, data: Any) -> tuple[Entry | None, list[Finding]]:
        """Find the change that came without its number: it is the next one, or something is wrong."""
        if self._written is None:
            return None, [self._find("applied once", f"{event} came before anything told where it belongs")]
        following = self._view.after(self._written)
        for place in range(self._past, len(self._pasts)):
            alike = self._written_in(place)
            its = self._view_in(place).after(self._written if alike is None else alike)
            if its is not None and (its.event, its.data) == (event, data):
                if alike is None:
                    self._go_on_to(place)
                elif place != self._past:
                    self._written = alike
                    self._applied = self._applied if self._has(place, self._applied) else alike
                    self._past = place
                return its, []
        alike = [entry for entry in self._view.entries if (entry.event, entry.data) == (event, data)]
        later = next((entry for entry in alike if entry.seq > self._written), None)
        if later is not None:
            return later, []
        if alike:
            text = f"{event} at {alike[-1].seq} came again, or late, behind {self._written}"
            return None, [self._find("received once", text)]
        return None, [self._stranger(event, data, f"behind {self._written}", following)]

    def _reloaded(self, record: Reloaded) -> Iterator[Finding]:
        place = self._place_of_list(record.offset)
        if place is None:
            yield from self._foreign(record.offset)
            return
        if not self._has(place, self._applied):
            self._applied = None
        if not self._has(place, self._written):
            # What its socket was told is lost as well: that one has to be told so before it says anything more.
            self._applied, self._astray = None, True
            self._began = self._written = None
        self._go_on_to(place)
        at = self._ledger.seq(self._opened.tenant_id, record.offset)
        assert at is not None
        inbox = self._view.inbox_at(at)
        expected = inbox if record.complete else inbox[: len(record.items)]
        if [tuple(item) for item in record.items] != expected:
            theirs = {id_ for id_, _ in record.items} - self._view.brought.keys()
            if theirs:
                yield self._find("isolation", f"its list has notifications of others: {sorted(theirs)}")
            else:
                odd = sorted(set(map(tuple, record.items)) ^ set(expected))
                yield self._find("applied once", f"its list at {at} differs from the inbox then in {odd[:10]}")
        if record.unread != self._view.count_at(at):
            yield self._find("counts", f"its list said {record.unread} at {at}, not {self._view.count_at(at)}")
        if self._opened.kind == "polling":
            self._counted = at
        if self._began is not None and self._written is not None:
            between = self._view.between(at, self._began)
            if between:
                yield self._find("applied once", f"its list ends at {at}, without {_shown(between)}")
            at = max(at, self._written)
        self._applied = at if self._applied is None else max(at, self._applied)

    def _paged(self, record: Paged) -> Iterator[Finding]:
        if record.reset:
            self._began = self._written = self._applied = None
        else:
            yield from self._resume(record.since)
            if self._astray:
                yield self._find("pasts", f"is given what came after {record.since}, which is lost")
                return
        until = self._seq(record.offset)
        if until is None:
            yield from self._foreign(record.offset)
            return
        if record.reset:
            return
        for item in record.items:
            seq = self._seq(item["offset"])
            if seq is None:
                yield from self._foreign(item["offset"])
            else:
                yield from self._logged(item["event"], item["data"], seq)
        if self._written is not None and until < self._written:
            yield self._find("offsets", f"a page ends at {until}, behind its last change at {self._written}")
        yield from self._check_nothing_skipped(until, f"a page's end at {until}")

    def _commanded(self, record: Commanded) -> Iterator[Finding]:
        # Which past it was carried out in, the answer does not say: it must be right in one of them.
        findings = [list(self._command_in(past, record)) for past in self._pasts[self._past :]]
        if all(findings):
            yield from findings[0]

    def _command_in(self, past: Ledger, record: Commanded) -> Iterator[Finding]:
        what = record.verb if record.notification_id is None else f"{record.verb} {record.notification_id}"
        row = None if record.notification_id is None else past.notifications.get(record.notification_id)
        if row is not None and (row.tenant_id, row.user_id) != (self._opened.tenant_id, self._opened.user_id):
            if record.code is not None:
                return  # It knows the id from a past that is lost.
            yield self._find("isolation", f"{what}: was answered for another user's notification")
            return
        if record.code is not None:
            # An id that it knows from a past that is lost may be given again, to another notification, later.
            again = row is not None and any(
                its.offset(row.tenant_id, other.seq) != past.offset(row.tenant_id, row.seq)
                for its in self._pasts
                if (other := its.notifications.get(row.id)) is not None
            )
            if record.code == "not_found" and row is not None and row.removed_seq is None and not again:
                yield self._find("commands", f"{what}: was not found, but is in the inbox")
            return
        if record.verb == "delete" and (row is None or row.removed_seq is None):
            yield self._find("commands", f"{what}: was acknowledged, but it is still in the inbox")
        view = past.view(self._opened.tenant_id, self._opened.user_id)
        if record.notification_id is not None and not view.ever(record.verb, record.notification_id):
            yield self._find("commands", f"{what}: was acknowledged, but it was never {PARTICIPLES[record.verb]}")
        after = None if record.after is None else past.seq(self._opened.tenant_id, record.after)
        if after is not None and not any(
            (count, unseen) == (record.count, unseen if record.unseen is None else record.unseen)
            for count, unseen in view.counts_from(after)
        ):
            yield self._find("counts", f"{what}: was answered {record.count}, which no moment since {after} had")
        # The answer has the counts after the whole commit, which may have brought something new.
        if (
            record.verb == "read-all"
            and after is not None
            and not any(count == 0 for count, _ in view.counts_from(after))
        ):
            yield self._find("counts", f"{what}: left {record.count} unread")

    def _acknowledged(self, record: Acknowledged) -> Iterator[Finding]:
        """An application shows the count that came last on its socket, so an ack must not go back."""
        counts = record.count, record.unseen
        tenant_id, user_id = self._opened.tenant_id, self._opened.user_id
        moments = [
            past.view(tenant_id, user_id).counts_from(seq)
            for past in self._pasts[self._past :]
            if (seq := past.seq(tenant_id, record.told)) is not None
        ]
        if moments and not any(counts in each for each in moments):
            yield self._find("counts", f"an ack said {record.count}, which no moment since {record.told} had")

    # Words

    def _seq(self, offset: str) -> int | None:
        """The number in an offset that the device was given; with it the device goes on to the past that has it."""
        place = self._place(offset)
        if place is None:
            return None
        self._go_on_to(place)
        return self._ledger.seq(self._opened.tenant_id, offset)

    def _place(self, offset: str) -> int | None:
        """Which past has this offset: the one that the device is in, or the first of the later ones."""
        for place in range(self._past, len(self._pasts)):
            if self._pasts[place].seq(self._opened.tenant_id, offset) is not None:
                return place
        return None

    def _place_of_list(self, offset: str) -> int | None:
        """Which past a list is of: as for any offset, but a list may be older than what the socket was told.

        That is wrong, unless what the socket was told is lost: then the list is of the later past that lacks it.
        """
        place = self._place(offset)
        if place != self._past or self._began is None:
            return place
        tenant_id = self._opened.tenant_id
        at = self._ledger.seq(tenant_id, offset)
        if at is not None and self._view.between(at, self._began):
            for later in range(place + 1, len(self._pasts)):
                if self._pasts[later].seq(tenant_id, offset) is not None and not self._has(later, self._written):
                    return later
        return place

    def _has(self, place: int, seq: int | None) -> bool:
        """Whether another past is the same as the device's up to this number."""
        tenant_id = self._opened.tenant_id
        return seq is None or self._pasts[place].offset(tenant_id, seq) == self._ledger.offset(tenant_id, seq)

    def _written_in(self, place: int) -> int | None:
        """How far the session has come in another past, if that is the same as far as its client can tell.

        A client without offsets knows its `since` and the changes that it was told, and not the marks of those.
        """
        if self._has(place, self._written):
            return self._written
        if self._opened.kind != "since" or self._began is None or not self._has(place, self._began):
            return None
        told = self._view.between(self._began, self._written or 0)
        theirs = self._view_in(place).between(self._began, MAX_ID)[: len(told)]
        if [(each.event, each.data) for each in told] != [(each.event, each.data) for each in theirs]:
            return None
        return theirs[-1].seq if theirs else self._began

    def _go_on_to(self, place: int) -> None:
        if place == self._past:
            return
        told_less = self._opened.kind == "since" or (self._written or 0) < (self._applied or 0)
        if told_less and self._has(place, self._written) and not self._has(place, self._applied):
            # Without offsets it can say no more than which list it loaded; what it had beyond that, nobody can judge.
            # And a stock client says what its session was told last, and not which list it loaded. So a list that is
            # ahead of the session, and is lost, is found out by nobody.
            self._applied = self._written
        for what, seq in (("was told", self._written), ("has applied", self._applied)):
            if not self._has(place, seq):
                text = f"{what} {self._ledger.offset(self._opened.tenant_id, seq or 0)}, which is lost, and goes on"
                self._misled.append(self._find("pasts", text))
        self._past = place

    def _foreign(self, offset: str) -> Iterator[Finding]:
        yield self._find("offsets", f"was given {offset}, which is no offset of this tenant's")

    def _stranger(self, event: str, data: Any, where: str, expected: Entry | None) -> Finding:
        owners = self._ledger.with_content(event, data)
        if owners and all(not self._is_mine(entry) for entry in owners):
            return self._find("isolation", f"{event} {where} is of {_owner(owners[0])}: {data}")
        if event == "notification:new" and data.get("id") not in self._view.brought:
            row = self._ledger.notifications.get(data.get("id"))
            if row is not None and row.user_id != self._opened.user_id:
                return self._find("isolation", f"{event} {where} is of user {row.user_id}: {data}")
        told = "nothing" if expected is None else f"{expected.event} {expected.data}"
        return self._find("applied once", f"{event} {where} is {data}; the log has {told}")

    def _is_mine(self, entry: Entry) -> bool:
        return entry.tenant_id == self._opened.tenant_id and entry.user_id in (None, self._opened.user_id)

    def _find(self, rule: Rule, text: str) -> Finding:
        return Finding(rule, f"{self.name} (user {self._opened.user_id})", text)


def _owner(entry: Entry) -> str:
    return f"tenant {entry.tenant_id}" if entry.user_id is None else f"user {entry.user_id}"


def _shown(entries: list[Entry]) -> str:
    """Numbers of changes, the first few."""
    shown = ", ".join(f"{entry.seq} {entry.event}" for entry in entries[:5])
    return shown if len(entries) <= 5 else f"{shown} and {len(entries) - 5} more"
