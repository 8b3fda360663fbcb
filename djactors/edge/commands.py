"""What clients emit: the contract's table of Socket.IO events, with the shape of each payload and its command.

A payload is checked like an HTTP body: unknown fields are refused, ids are in range. The `test:` events exist only
where the server was started with them; a person makes and assigns jobs with them, under the same rules as over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

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
from djactors.edge.auth import Member


class _Payload(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all payloads."""


class _One(_Payload, frozen=True):
    notification_id: Id


class _All(_Payload, frozen=True):
    user_id: Id | None = None


class _Seen(_Payload, frozen=True):
    up_to: Id | None = None


class _Snooze(_Payload, frozen=True):
    notification_id: Id
    until: Moment


class _OneJob(_Payload, frozen=True):
    job_id: Id


class Refresh(_Payload, frozen=True):
    """The payload of `auth:refresh`."""

    token: str


class _CreateJob(_Payload, frozen=True):
    project_id: Id
    job_type_id: Id
    title: Title = "Test job"
    assignee_id: Id | None = None


class _AssignJob(_Payload, frozen=True):
    job_id: Id
    assignee_id: Id


class _JobNumbers(msgspec.Struct, frozen=True, rename="camel"):
    """What an ack takes from the job."""

    id: int
    dj_id: str | None


_job_decoder = msgspec.json.Decoder(_JobNumbers)


def _read_all(payload: _All, member: Member) -> MarkAllRead:
    if payload.user_id not in (None, member.user_id):
        raise not_found()
    return MarkAllRead(member.tenant_id, member.user_id)


def _seen(payload: _Seen, member: Member) -> MarkSeen:
    return MarkSeen(member.tenant_id, member.user_id, payload.up_to)


def _snooze(payload: _Snooze, member: Member) -> Snooze:
    return Snooze(member.tenant_id, member.user_id, payload.notification_id, payload.until)


def _create_job(payload: _CreateJob, member: Member) -> Publish:
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


def _assign_job(payload: _AssignJob, member: Member) -> Publish:
    event = JobAssigned(
        tenant_id=member.tenant_id,
        actor_id=member.user_id,
        job_id=payload.job_id,
        assignee_id=payload.assignee_id,
    )
    return Publish(event, person=member.person(), with_job=True)


ClientCommand: TypeAlias = Publish | InboxCommand
"""What a client's event can become."""

_Row: TypeAlias = tuple[type[_Payload], Callable[[Any, Member], ClientCommand]]


def _one(kind: Callable[[int, int, int], ClientCommand]) -> _Row:
    """The row of a command on one notification that says nothing more."""
    return _One, lambda payload, member: kind(member.tenant_id, member.user_id, payload.notification_id)


def _one_job(kind: Callable[[int, int, int], ClientCommand]) -> _Row:
    """The row of a command on one job that says nothing more."""
    return _OneJob, lambda payload, member: kind(member.tenant_id, member.user_id, payload.job_id)


COMMANDS: Mapping[str, _Row] = {
    "notification:read": _one(MarkRead),
    "notification:read-all": (_All, _read_all),
    "notification:unread": _one(MarkUnread),
    "notification:seen": (_Seen, _seen),
    "notification:archive": _one(Archive),
    "notification:unarchive": _one(Unarchive),
    "notification:snooze": (_Snooze, _snooze),
    "notification:unsnooze": _one(Unsnooze),
    "notification:delete": _one(Delete),
    "job:mute": _one_job(MuteJob),
    "job:unmute": _one_job(UnmuteJob),
    "job:read-notifications": _one_job(MarkJobRead),
}
"""Events that are a command to the inbox."""

TEST_CREATE = "test:create-job"
TEST_COMMANDS: Mapping[str, _Row] = {
    TEST_CREATE: (_CreateJob, _create_job),
    "test:assign-job": (_AssignJob, _assign_job),
}
"""Events that are there for trying things out, where the setting `test_events` is on."""

REFRESH = "auth:refresh"
"""The event with which a client hands in a fresh token."""

WATCH_PEOPLE = "people:watch"
"""The event after which a socket is told who comes and goes."""

UNWATCH_PEOPLE = "people:unwatch"
"""The event after which a socket is told that no longer."""


class Nothing(_Payload, frozen=True):
    """The payload of the two: it has no fields."""


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
    shape, make = found
    return make(payload_of(shape, args), member)


def answer_of(name: str, outcome: Published | Counted) -> dict[str, Any]:
    """What the ack of an event adds to `ok`, once its command is durable."""
    match outcome:
        case Counted(count=count, unseen=unseen):
            return {"count": count, "unseen": unseen}
        case Published(answer=answer) if name == TEST_CREATE:
            job = _job_decoder.decode(answer)
            return {"jobId": job.id, "djId": job.dj_id}
        case _:
            return {}


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
