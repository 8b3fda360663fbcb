"""What clients emit: the contract's table of Socket.IO events, with the shape of each payload and its command.

A payload is checked like an HTTP body: unknown fields are refused, ids are in range. The `test:` events exist only
where the server was started with them; a person makes and assigns jobs with them, under the same rules as over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from djactors.domain.commands import (
    Archive,
    Counted,
    Delete,
    InboxCommand,
    MarkAllRead,
    MarkJobRead,
    MarkRead,
    MarkSeen,
    MarkUnread,
    MuteJob,
    Publish,
    Published,
    Snooze,
    Unarchive,
    UnmuteJob,
    Unsnooze,
)
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.events import JobAssigned, JobCreated, Moment, Title, check_text, convert
from djactors.domain.ids import Id, with_numbers
from djactors.edge.answers import Answer, Done, NewJob, Ok, Refreshed
from djactors.edge.auth import Member


class _Payload(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all payloads."""


class OneNotification(_Payload, frozen=True):
    """The notification that is meant."""

    notification_id: Id


class AllNotifications(_Payload, frozen=True):
    """Everything in the inbox. A `user_id` must be the user's own."""

    user_id: Id | None = None


class SeenNotifications(_Payload, frozen=True):
    """Up to which notification the inbox was seen; all of it without."""

    up_to: Id | None = None


class SnoozeNotification(_Payload, frozen=True):
    """When a notification comes back: a moment in the future, before the notification expires."""

    notification_id: Id
    until: Moment


class OneJob(_Payload, frozen=True):
    """The job that is meant."""

    job_id: Id


class Refresh(_Payload, frozen=True):
    """A new token of the same user and tenant."""

    token: str


class TestJob(_Payload, frozen=True):
    """A job to try things out with."""

    project_id: Id
    job_type_id: Id
    title: Title = "Test job"
    assignee_id: Id | None = None


class TestAssignment(_Payload, frozen=True):
    """Who gets a job."""

    job_id: Id
    assignee_id: Id


class _JobNumbers(msgspec.Struct, frozen=True, rename="camel"):
    """What the ack takes from a job."""

    id: int
    dj_id: str | None


_job_decoder = msgspec.json.Decoder(_JobNumbers)


def _read_all(payload: AllNotifications, member: Member) -> MarkAllRead:
    if payload.user_id not in (None, member.user_id):
        raise not_found()
    return MarkAllRead(member.tenant_id, member.user_id)


def _seen(payload: SeenNotifications, member: Member) -> MarkSeen:
    return MarkSeen(member.tenant_id, member.user_id, payload.up_to)


def _snooze(payload: SnoozeNotification, member: Member) -> Snooze:
    return Snooze(member.tenant_id, member.user_id, payload.notification_id, payload.until)


def _create_job(payload: TestJob, member: Member) -> Publish:
    check_text(payload.title, "title")
    event = JobCreated(
        tenant_id=member.tenant_id,
        actor_id=member.user_id,
        title=payload.title,
        requester_id=member.user_id,
        project_id=payload.project_id,
        job_type_id=payload.job_type_id,
        assignee_id=payload.assignee_id,
    )
    return Publish(event, person=member.person(), with_job=True)


def _assign_job(payload: TestAssignment, member: Member) -> Publish:
    event = JobAssigned(
        tenant_id=member.tenant_id,
        actor_id=member.user_id,
        job_id=payload.job_id,
        assignee_id=payload.assignee_id,
    )
    return Publish(event, person=member.person(), with_job=True)


ClientCommand: TypeAlias = Publish | InboxCommand
"""What a client's event can become."""


class ClientEvent(NamedTuple):
    """What a client may emit: its payload, the command that it becomes, what the ack is, and what it does."""

    payload: type[_Payload]
    make: Callable[[Any, Member], ClientCommand]
    ack: type[Answer]
    does: str


def _one(kind: Callable[[int, int, int], ClientCommand], does: str) -> ClientEvent:
    """A command on one notification that says nothing more."""
    return ClientEvent(
        OneNotification,
        lambda payload, member: kind(member.tenant_id, member.user_id, payload.notification_id),
        Done,
        does,
    )


def _one_job(kind: Callable[[int, int, int], ClientCommand], does: str) -> ClientEvent:
    """A command on one job that says nothing more."""
    return ClientEvent(
        OneJob, lambda payload, member: kind(member.tenant_id, member.user_id, payload.job_id), Done, does
    )


COMMANDS: Mapping[str, ClientEvent] = {
    "notification:read": _one(MarkRead, "Marks a notification as read"),
    "notification:read-all": ClientEvent(AllNotifications, _read_all, Done, "Marks everything in the inbox as read"),
    "notification:unread": _one(MarkUnread, "Marks a notification as unread"),
    "notification:seen": ClientEvent(SeenNotifications, _seen, Done, "Notes that the inbox was seen"),
    "notification:archive": _one(Archive, "Puts a notification into the archive"),
    "notification:unarchive": _one(Unarchive, "Takes a notification out of the archive"),
    "notification:snooze": ClientEvent(
        SnoozeNotification, _snooze, Done, "Has a notification leave the inbox, and come back at a moment"
    ),
    "notification:unsnooze": _one(Unsnooze, "Brings a snoozed notification back at once"),
    "notification:delete": _one(Delete, "Deletes a notification"),
    "job:mute": _one_job(MuteJob, "Mutes a job: only what concerns the user alone is told"),
    "job:unmute": _one_job(UnmuteJob, "Ends the muting of a job"),
    "job:read-notifications": _one_job(MarkJobRead, "Reads what is in the inbox of a job"),
}
"""Events that are a command to the inbox."""

TEST_CREATE = "test:create-job"
TEST_COMMANDS: Mapping[str, ClientEvent] = {
    TEST_CREATE: ClientEvent(TestJob, _create_job, NewJob, "Creates a job, where the test events are on"),
    "test:assign-job": ClientEvent(
        TestAssignment, _assign_job, Ok, "Gives a job to somebody, where the test events are on"
    ),
}
"""Events that are there for trying things out, where the setting `test_events` is on."""

REFRESH = "auth:refresh"
"""The event with which a client hands in a fresh token."""

WATCH_PEOPLE = "people:watch"
"""The event after which a socket is told who comes and goes."""

UNWATCH_PEOPLE = "people:unwatch"
"""The event after which a socket is told that no longer."""


class Nothing(_Payload, frozen=True):
    """There is nothing to say."""


PLAIN_EVENTS: Mapping[str, tuple[type[_Payload], type[Answer], str]] = {
    REFRESH: (Refresh, Refreshed, "Hands in a fresh token"),
    WATCH_PEOPLE: (Nothing, Ok, "Has the socket told from now on who comes and goes"),
    UNWATCH_PEOPLE: (Nothing, Ok, "Ends that"),
}
"""The events that are no command to the inbox: their payloads, their acks, and what they do."""


def command_of(name: str, args: Sequence[Any], member: Member, *, test_events: bool = False) -> ClientCommand:
    """Turn an emitted event into its command.

    Raises:
        Refused: `invalid`, for an unknown event or a payload of the wrong shape; `not_found`, for somebody else's id.
    """
    found = COMMANDS.get(name)
    if found is None and test_events:
        found = TEST_COMMANDS.get(name)
    if found is None:
        raise Refused(Code.INVALID, f"unknown event {name[:50]!r}")
    return found.make(payload_of(found.payload, args), member)


def answer_of(name: str, outcome: Published | Counted) -> Answer:
    """The ack of an event, once its command is durable."""
    match outcome:
        case Counted(count=count, unseen=unseen):
            return Done(count=count, unseen=unseen)
        case Published(answer=answer) if name == TEST_CREATE:
            job = _job_decoder.decode(answer)
            return NewJob(job_id=job.id, dj_id=job.dj_id)
        case _:
            return Ok()


def payload_of(shape: type[Any], args: Sequence[Any]) -> Any:
    """The one payload of an event; an event without one, or with null, as `undefined` arrives, has an empty one.

    Raises:
        Refused: `invalid`, naming the field.
    """
    if len(args) > 1:
        raise Refused(Code.INVALID, "an event takes one payload")
    payload = {} if not args or args[0] is None else args[0]
    try:
        return msgspec.convert(payload, shape)
    except msgspec.ValidationError as error:
        numbered = with_numbers(payload, shape)
        if numbered is None:
            raise Refused(Code.INVALID, str(error)) from None
    return convert(numbered, shape)
