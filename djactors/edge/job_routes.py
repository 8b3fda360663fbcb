"""The job routes of the contract: what a person asks for becomes a domain event with that person as its actor.

`domain/permissions.py` decides who may do what, and `domain/jobs.py` which move is allowed. The answer is the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from djactors.domain import events
from djactors.domain.commands import Publish
from djactors.domain.errors import Code, not_found
from djactors.domain.events import MAX_WATCHERS, DomainEvent, Moment, Text, Title
from djactors.domain.ids import Id
from djactors.domain.jobs import JobView, Status
from djactors.domain.mentions import MAX_MENTIONS
from djactors.domain.notifications import encode
from djactors.domain.permissions import ANYONE, PERMISSIONS, check_own
from djactors.edge.answers import CommentList, JobList
from djactors.edge.api import Api, header_key, path_id
from djactors.edge.auth import Identity
from djactors.edge.queries import NO_QUERY, PageQuery, QueryReader
from djactors.edge.route import PERSON, Body, Handler, Route, Table
from djactors.net import Request, Response


class _Payload(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all bodies."""


class CreateBody(_Payload, frozen=True):
    """A job that is new. Without a requester it is the user's own."""

    title: Title
    requester_id: Id | None = None
    project_id: Id | None = None
    job_type_id: Id | None = None
    assignee_id: Id | None = None
    approver_id: Id | None = None
    manager_id: Id | None = None
    watcher_ids: Annotated[tuple[Id, ...], Meta(max_length=MAX_WATCHERS)] = ()
    deadline: Moment | None = None


class AssignBody(_Payload, frozen=True):
    """Who gets the job."""

    assignee_id: Id


class SubmitBody(_Payload, frozen=True):
    """Who is to approve; needed if the job has no approver yet."""

    approver_id: Id | None = None


class ReasonBody(_Payload, frozen=True):
    """Why. The reason is kept as a comment, or in the notification."""

    reason: Text | None = None


class TitleBody(_Payload, frozen=True):
    """The job's new title."""

    title: Title


class CommentBody(_Payload, frozen=True):
    """A comment. `mentions` are people beside those whom the text mentions by name."""

    text: Text
    mentions: Annotated[tuple[Id, ...], Meta(max_length=MAX_MENTIONS)] | UnsetType = UNSET


class DeadlineBody(_Payload, frozen=True):
    """When the job is to be done. Null takes the deadline away."""

    deadline: Moment | None


class WatcherBody(_Payload, frozen=True):
    """Who watches; the user without. Only a manager or an admin names somebody else."""

    user_id: Id | None = None


class NoBody(_Payload, frozen=True):
    """Nothing is to be said."""


def _watcher(body: WatcherBody, identity: Identity) -> int:
    person = identity.member().person()
    check_own(person, "userId", body.user_id)
    return person.user_id if body.user_id is None else body.user_id


@dataclass(frozen=True, slots=True)
class _Move:
    """A body, the domain event that it is, what the event takes from the body, and how it is described."""

    body: Body[Any]
    event: type[Any]
    fields: Callable[[Any, Identity], dict[str, Any]]
    does: str
    examples: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


_MOVES: Mapping[str, _Move] = {
    "assign": _Move(
        Body(AssignBody),
        events.JobAssigned,
        lambda body, _: {"assignee_id": body.assignee_id},
        "Gives a job to somebody",
        {"to user 2": {"assigneeId": 2}},
    ),
    "submit": _Move(
        Body(SubmitBody),
        events.JobSubmitted,
        lambda body, _: {"approver_id": body.approver_id},
        "Submits a job for approval",
        {"to user 3": {"approverId": 3}},
    ),
    "approve": _Move(Body(NoBody), events.JobApproved, lambda _, __: {}, "Approves a job", {"yes": {}}),
    "reject": _Move(
        Body(ReasonBody),
        events.JobRejected,
        lambda body, _: {"reason": body.reason},
        "Rejects a job",
        {"with a reason": {"reason": "The logo is the old one"}},
    ),
    "complete": _Move(Body(NoBody), events.JobCompleted, lambda _, __: {}, "Completes a job", {"done": {}}),
    "cancel": _Move(
        Body(ReasonBody),
        events.JobCancelled,
        lambda body, _: {"reason": body.reason},
        "Cancels a job",
        {"with a reason": {"reason": "The campaign is off"}},
    ),
    "title": _Move(
        Body(TitleBody),
        events.JobRetitled,
        lambda body, _: {"title": body.title},
        "Gives a job another title",
        {"another title": {"title": "Banner Design, wide"}},
    ),
    "comments": _Move(
        Body(CommentBody),
        events.CommentAdded,
        lambda body, _: {"text": body.text, "mentions": body.mentions},
        "Comments on a job",
        {"with a mention": {"text": "Which size?", "mentions": [2]}},
        status=201,
    ),
    "watch": _Move(
        Body(WatcherBody),
        events.JobWatched,
        lambda body, identity: {"user_id": _watcher(body, identity)},
        "Has somebody watch a job",
        {"oneself": {}},
    ),
    "unwatch": _Move(
        Body(WatcherBody),
        events.JobUnwatched,
        lambda body, identity: {"user_id": _watcher(body, identity)},
        "Has somebody watch a job no longer",
        {"oneself": {}},
    ),
    "deadline": _Move(
        Body(DeadlineBody),
        events.JobDeadlineChanged,
        lambda body, _: {"deadline": body.deadline},
        "Moves the deadline of a job, or takes it away",
        {"moved": {"deadline": "2026-02-10T17:00:00+07:00"}, "taken away": {"deadline": None}},
    ),
}
"""The moves, by the last word of their paths."""

_CREATE = Body(CreateBody)


class _JobsQuery(PageQuery, frozen=True, kw_only=True):
    assignee: Annotated[
        Literal["me"] | Id | None, Meta(description="Only those that are assigned to this user, or to oneself.")
    ] = None
    status: Annotated[Status | None, Meta(description="Only those in this state.")] = None


_JOBS = QueryReader(_JobsQuery)
_THREAD = QueryReader(PageQuery)


async def _list(api: Api, request: Request, _: dict[str, str]) -> Response:
    member = api.member(request)
    query = _JOBS.read(request)
    page = await api.dated(
        member,
        lambda told: api.store.jobs(
            member.tenant_id,
            member.user_id,
            assignee_id=member.user_id if query.assignee == "me" else query.assignee,
            status=query.status,
            before=query.before,
            limit=query.limit,
            told=told,
        ),
    )
    return Response(200, encode(JobList(items=page.items, next_before=page.next_before, offset=str(page.at))))


async def _show(api: Api, request: Request, found: dict[str, str]) -> Response:
    member = api.member(request)
    NO_QUERY.read(request)
    job = await api.store.job(member.tenant_id, member.user_id, path_id(found))
    if job is None:
        raise not_found()
    return Response(200, encode(job))


async def _create(api: Api, request: Request, _: dict[str, str]) -> Response:
    identity = api.actor(request)
    member = identity.member()
    body = _CREATE.read(request)
    check_own(member.person(), "requesterId", body.requester_id)
    check_own(member.person(), "watcherIds", *body.watcher_ids)
    event = events.JobCreated(
        tenant_id=member.tenant_id,
        actor_id=member.user_id,
        title=body.title,
        requester_id=member.user_id if body.requester_id is None else body.requester_id,
        project_id=body.project_id,
        job_type_id=body.job_type_id,
        assignee_id=body.assignee_id,
        approver_id=body.approver_id,
        manager_id=body.manager_id,
        watcher_ids=body.watcher_ids,
        deadline=body.deadline,
    )
    return await _publish(api, request, identity, event, 201)


async def _thread(api: Api, request: Request, found: dict[str, str]) -> Response:
    member = api.member(request)
    query, job_id = _THREAD.read(request), path_id(found)
    page = await api.dated(
        member,
        lambda told: api.store.thread(
            member.tenant_id, member.user_id, job_id, before=query.before, limit=query.limit, told=told
        ),
    )
    if page.items is None:
        raise not_found()
    return Response(200, encode(CommentList(items=page.items, next_before=page.next_before, offset=str(page.at))))


def _mover(move: _Move) -> Handler:
    async def handle(api: Api, request: Request, found: dict[str, str]) -> Response:
        identity = api.actor(request)
        member = identity.member()
        body = move.body.read(request)
        event: DomainEvent = move.event(
            tenant_id=member.tenant_id,
            actor_id=member.user_id,
            job_id=path_id(found),
            **move.fields(body, identity),
        )
        return await _publish(api, request, identity, event, move.status)

    return handle


async def _publish(api: Api, request: Request, identity: Identity, event: DomainEvent, status: int) -> Response:
    NO_QUERY.read(request)
    person, trace = identity.member().person(), api.trace_of(request)
    command = Publish(event, header_key(request), person, with_job=True, trace=trace)
    published = await api.publish(command)
    return Response(200 if published.repeated else status, published.answer)


def _who_may(kind: type[Any]) -> str:
    """The parts in the job and the roles that allow an event, for people to read."""
    _, parts, roles = PERMISSIONS[kind]
    if ANYONE in parts:
        return "Everybody in the tenant may."
    people = (*(f"the job's {part}" for part in parts), *(f"the role {role}" for role in roles))
    return f"Who may: {', '.join(people)}."


_REFUSES = (Code.FORBIDDEN, Code.NOT_FOUND, Code.CONFLICT)
_JOB = "/api/jobs/{id}"

ROUTES: Table = (
    Route("GET", "/api/jobs", _list, "Lists jobs", PERSON, {200: JobList}, query=_JOBS),
    Route(
        "POST",
        "/api/jobs",
        _create,
        "Creates a job",
        PERSON,
        {201: JobView, 200: JobView},
        says=f"{_who_may(events.JobCreated)} Only a manager or admin names another requester, or others as watchers.",
        body=_CREATE,
        takes_key=True,
        refuses=_REFUSES,
        examples={
            "for user 2": {"title": "Banner Design", "assigneeId": 2, "deadline": "2026-02-01T17:00:00+07:00"},
            "the least": {"title": "Banner Design"},
        },
    ),
    Route("GET", _JOB, _show, "Shows a job", PERSON, {200: JobView}),
    Route("GET", f"{_JOB}/comments", _thread, "Lists the comments on a job", PERSON, {200: CommentList}, query=_THREAD),
    *(
        Route(
            "POST",
            f"{_JOB}/{word}",
            _mover(move),
            move.does,
            PERSON,
            {move.status: JobView, 200: JobView},
            says=_who_may(move.event),
            body=move.body,
            takes_key=True,
            refuses=_REFUSES,
            examples=move.examples,
        )
        for word, move in _MOVES.items()
    ),
)
