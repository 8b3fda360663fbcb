"""The commands that the inbox carries out, and their outcomes.

All of them are plain values. The edge makes commands, the inbox carries them out, and the actors pass on what changed.
Classes that hold only numbers and texts are kept from the garbage collector (`gc=False`), because each event makes
several of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.structs import asdict, replace

from djactors.domain.accounts import Account
from djactors.domain.erasure import MAX_NAMES
from djactors.domain.errors import Code, Refused
from djactors.domain.events import DomainEvent, Key, Moment, Name, check_event, check_text, convert
from djactors.domain.ids import MAX_ID, Id
from djactors.domain.importing import AbandonImport, BeginImport, FinishImport, ImportCommand, Imported, ImportRows
from djactors.domain.marks import Offset
from djactors.domain.permissions import Person
from djactors.domain.times import utc_text

TENANTS_BACKEND = 0
INSTALLATIONS_BACKEND = -1
"""Senders that are no person: a service whose token is for one tenant, and a service whose token is for all tenants."""


EveryId: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_ID)]
"""An id, or 0, which is before all of them."""


class Publish(msgspec.Struct, frozen=True):
    """Record a domain event and notify the people whom it concerns. With a `key`, a retry gets the first answer.

    Attributes:
        event: what happened.
        key: the sender's idempotency key. Two senders may use the same key for two events.
        person: the person who acts; None for a trusted service.
        with_job: whether the answer is the job.
        tenants_own: whether the service belongs to the event's tenant alone. Otherwise it belongs to the whole
            installation.
        decoded: whether `decode_event` made the event, and the key is part of the event or was checked as well.
            Otherwise the event and the key are checked before they are recorded.
        trace: what the log and the traces call this post; it decides nothing.
    """

    event: DomainEvent
    key: str | None = None
    person: Person | None = None
    with_job: bool = False
    tenants_own: bool = False
    decoded: bool = False
    trace: str | None = None

    @property
    def sender(self) -> int:
        """The owner of the key: a person's user id, or one of the two kinds of service."""
        if self.person is not None:
            # A token that names a person is of one tenant.
            return TENANTS_BACKEND if self.person.is_backend else self.person.user_id
        return TENANTS_BACKEND if self.tenants_own else INSTALLATIONS_BACKEND


class OwnCommand(msgspec.Struct, frozen=True):
    """What a user does with the inbox."""

    tenant_id: Id
    user_id: Id


class OneNotification(OwnCommand, frozen=True):
    """What a user does with one notification."""

    notification_id: Id


class OneJob(OwnCommand, frozen=True):
    """What a user does with what the inbox has, or will have, of one job."""

    job_id: Id


class MarkRead(OneNotification, frozen=True):
    """The user has read one notification."""


class MarkAllRead(OwnCommand, frozen=True):
    """The user has read everything that is in the inbox at this moment."""


class Delete(OneNotification, frozen=True):
    """The user deletes one notification."""


class MarkUnread(OneNotification, frozen=True):
    """The user wants one notification to be unread again."""


class MarkSeen(OwnCommand, frozen=True):
    """The user has seen everything up to the notification `up_to`, read or not; by default everything."""

    up_to: Id | None = None


class MarkJobRead(OneJob, frozen=True):
    """The user has read everything of one job that is in the inbox at this moment."""


class Archive(OneNotification, frozen=True):
    """The user puts one notification into the archive."""


class Unarchive(OneNotification, frozen=True):
    """The user takes one notification out of the archive."""


class Snooze(OneNotification, frozen=True):
    """The user wants one notification to leave the inbox and to come back at the moment `until`."""

    until: Moment


class Unsnooze(OneNotification, frozen=True):
    """The user wants a notification that was snoozed to come back now."""


class MuteJob(OneJob, frozen=True):
    """The user wants to hear of one job only what concerns them alone."""


class UnmuteJob(OneJob, frozen=True):
    """The user wants to hear of one job as before."""


class Introduce(msgspec.Struct, frozen=True):
    """Make a person known, so that others in the tenant may name this person. A token has proved tenant and id."""

    tenant_id: Id
    person: Person


class SignOut(msgspec.Struct, frozen=True):
    """Make all tokens of a user worthless that were issued before now.

    Somebody who is not known is made known, since tokens of theirs may exist; with `known_only` they are refused as
    missing.
    """

    tenant_id: Id
    user_id: Id
    known_only: bool = False


class Swept(msgspec.Struct, frozen=True):
    """How far an erasure has come: up to and with these ids it has looked at the rows of the tenant."""

    comments: EveryId = 0
    notifications: EveryId = 0
    events: EveryId = 0
    jobs: EveryId = 0


class EraseSlice(msgspec.Struct, frozen=True):
    """Erase a slice of what is held about a person: look at `limit` rows at most. A person who is not known is refused
    as missing.

    Attributes:
        names: names of the person beside the one that the tenant knows; they are taken out of all texts as well.
        limit: the most rows in one commit.
        after: comes from the outcome of the slice before.
    """

    tenant_id: Id
    user_id: Id
    names: Annotated[tuple[Name, ...], Meta(max_length=MAX_NAMES)] = ()
    limit: Annotated[int, Meta(ge=1)] = 1000
    after: Swept = Swept()


class RaiseAlerts(msgspec.Struct, frozen=True):
    """Send the SLA alerts that are due, for at most `limit` jobs."""

    limit: int


class SendSummaries(msgspec.Struct, frozen=True):
    """Send the daily summaries that are due, to at most `limit` users."""

    limit: int


class WakeSnoozed(msgspec.Struct, frozen=True):
    """Bring back the snoozed notifications whose moment has come, at most `limit` of them."""

    limit: int


class ExpireSlice(msgspec.Struct, frozen=True):
    """Take expired notifications out of the inboxes, at most `limit` of them."""

    limit: int


class NoteRoom(msgspec.Struct, frozen=True):
    """Note how many bytes of the database are `filled`, and tell at most `limit` admins if what is `free` of its disk
    will soon be used up. None stands for what nobody knows."""

    filled: int
    free: int | None
    limit: int


Purged: TypeAlias = Literal["changes", "notifications", "domain_events", "suppressions", "user_days"]
"""The tables whose rows are kept for a time and then purged."""


class PurgeSlice(msgspec.Struct, frozen=True):
    """Delete rows that are older than `keep`, at most `limit` of them. `after` comes from the outcome of the slice
    before.

    `standing` names the tenants in which somebody is connected. Each has the number of the last change that every
    session there has been told. Later changes are not purged.
    """

    table: Purged
    keep: timedelta
    limit: int
    after: int = 0
    standing: Mapping[int, int] = {}


_OneNotification: TypeAlias = MarkRead | MarkUnread | Delete | Archive | Unarchive | Snooze | Unsnooze

InboxCommand: TypeAlias = _OneNotification | MarkAllRead | MarkSeen | MarkJobRead | MuteJob | UnmuteJob | Introduce
"""A command about one user, answered with the user's counts: `Counted`. Each is named, so that a type checker misses
the one that nobody carries out."""

SliceCommand: TypeAlias = RaiseAlerts | SendSummaries | WakeSnoozed | ExpireSlice | PurgeSlice | NoteRoom
"""A command for the whole installation, of the clock, of retention or of who looks at the disk. It is answered with
what was done and what is left to do: `Sliced`."""

Command: TypeAlias = Publish | InboxCommand | SliceCommand | SignOut | EraseSlice | ImportCommand
"""Everything that can be asked of the inbox. A `Publish` is answered with `Published`, a `SignOut` with `SignedOut`,
an `EraseSlice` with `Erased`, an `ImportCommand` with `Imported`."""


def checked(command: Command) -> Command:
    """The command, checked by the contract, whether it came by a socket or was made in Python.

    A `Publish` that is `decoded` needs no such check, because its event was checked on the way in.

    Raises:
        Refused: `invalid`, naming the field.
    """
    match command:
        case Publish():
            event = check_event(command.event)
            if command.key is not None:
                convert({"key": command.key}, _Keyed)
            if command.person is not None:
                _check_person(command.person)
            return replace(command, event=event, decoded=True)
        case Snooze():
            convert(asdict(command), Snooze)
            try:
                utc_text(command.until)
            except OverflowError:
                raise Refused(Code.INVALID, "until: is outside the years 1 to 9999 in UTC") from None
        case EraseSlice():
            convert(asdict(command), EraseSlice)
            for name in command.names:
                check_text(name, "names")
        case OwnCommand() | SignOut() | BeginImport() | ImportRows() | FinishImport() | AbandonImport():
            convert(asdict(command), type(command))
        case Introduce():
            convert(asdict(command), Introduce)
            _check_person(command.person)
        case _:
            pass
    return command


class _Keyed(msgspec.Struct):
    key: Key


def _check_person(person: Person) -> None:
    convert(asdict(person), Person)
    if person.name is not None:
        check_text(person.name, "name")


class Published(msgspec.Struct, frozen=True, gc=False):
    """A domain event is durable.

    `answer` is the JSON that its sender gets. `repeated` is true if an earlier post has recorded the event. `notified`
    and `suppressed` are numbers of notifications.
    """

    event_id: int
    answer: bytes
    repeated: bool = False
    notified: int = 0
    suppressed: int = 0


class Counted(msgspec.Struct, frozen=True, gc=False):
    """An inbox command is durable. `count` and `unseen` are the user's unread and unseen counts after it."""

    count: int
    unseen: int


class Sliced(msgspec.Struct, frozen=True):
    """A slice of the clock's or of retention's work is durable.

    Attributes:
        rows: how many rows it dealt with.
        more: whether another slice is due at once.
        next_due: the next moment at which there will be work, as far as is known now.
        after: the value that the next `PurgeSlice` of the table needs.
        held_up: the tenants in which a connected session kept changes from being purged. Each has the number up to
            which its changes would have been purged.
    """

    rows: int
    more: bool
    next_due: str | None = None
    after: int = 0
    held_up: Mapping[int, int] = {}


class SignedOut(msgspec.Struct, frozen=True):
    """A sign-out is durable. `at` is its moment, as UTC text."""

    at: str


class Erased(msgspec.Struct, frozen=True):
    """A slice of an erasure is durable.

    Attributes:
        at: the moment of the slice, as UTC text.
        rows: how many rows were erased or reworded, by what they are.
        after: the value that the next `EraseSlice` needs; None once the person is erased.
        namesake: whether somebody else in the tenant has the person's name, so that it was left in the texts of others.
    """

    at: str
    rows: Mapping[str, int]
    after: Swept | None
    namesake: bool = False


Outcome: TypeAlias = Published | Counted | Sliced | SignedOut | Erased | Imported


class Change(msgspec.Struct, frozen=True, gc=False):
    """One logged packet.

    Attributes:
        tenant_id: the tenant in whose log the change is.
        offset: the point in the log right after the change.
        user_id: the user who sees the change; None means everyone connected in the tenant.
        name: the name of the Socket.IO event that a client gets.
        body: the payload as JSON.
        trace: the trace of the post that made the change; None where the change was read from the log.
    """

    tenant_id: int
    offset: Offset
    user_id: int | None
    name: str
    body: bytes
    trace: str | None = None


class Recorded(msgspec.Struct, frozen=True):
    """What one commit did.

    Attributes:
        outcomes: one for each command that was carried out, in order; an exception for one that was refused or failed.
            Fewer than there were commands where a commit of all would have been too large: the rest is still to do.
            None at all where the first command is carried out in slices and this was not the last of them.
        changes: the new changes by tenant, in the order of their sequence numbers.
        unread: the unread count after the commit, for every user whose counts it touched.
        unseen: the unseen count of the same users.
        next_alert: the earliest moment at which this commit needs the clock to wake up, for an alert or a summary; None
            if it needs none.
        others_wrote: whether another connection has written to the database since the commit before. If so, the
            database may have been put back to an earlier copy. Then each session's last offset must be found in the log
            before the session is told of this commit.
        accounts: what the tenant now says of each user of whom it has said something.
        others_wrote_in: the tenants of this commit in which another node has written since this one did, or whose log
            does not end where this node left it. For them it is as with `others_wrote`.
        ended_in: the tenants whose whole log was purged by this commit, what it brought included. What clients there
            show may be gone, so everybody is to begin anew.
        ends: where the logs end, after this commit, of the tenants in which a user's own command was carried out.
    """

    outcomes: list[Outcome | Exception]
    changes: dict[int, list[Change]]
    unread: dict[tuple[int, int], int]
    next_alert: str | None = None
    others_wrote: bool = False
    accounts: dict[tuple[int, int], Account] = {}
    unseen: dict[tuple[int, int], int] = {}
    others_wrote_in: frozenset[int] = frozenset()
    ended_in: frozenset[int] = frozenset()
    ends: dict[int, int] = {}
