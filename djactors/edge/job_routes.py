"""The job routes of the contract: what a person asks for becomes a domain event with that person as its actor.

`domain/permissions.py` decides who may do what, and `domain/jobs.py` which move is allowed. The answer is the job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from djactors.domain import events
from djactors.domain.commands import Publish
from djactors.domain.errors import not_found
from djactors.domain.events import MAX_WATCHERS, DomainEvent, Moment, Text, Title
from djactors.domain.ids import Id
from djactors.domain.jobs import Status
from djactors.domain.mentions import MAX_MENTIONS
from djactors.domain.notifications import encode
from djactors.domain.permissions import check_own
from djactors.edge.api import (
    ID,
    Api,
    Handler,
    Table,
    choice,
    header_key,
    number,
    page_size,
    path_id,
    query_of,
)
from djactors.edge.auth import Identity
from djactors.net import Request, Response


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all bodies."""


class _Create(_Body, frozen=True):
    title: Title
    requester_id: Id | None = None
    project_id: Id | None = None
    job_type_id: Id | None = None
    assignee_id: Id | None = None
    approver_id: Id | None = None
    manager_id: Id | None = None
    watcher_ids: Annotated[tuple[Id, ...], Meta(max_length=MAX_WATCHERS)] = ()
    deadline: Moment | None = None


class _Assign(_Body, frozen=True):
    assignee_id: Id


class _Submit(_Body, frozen=True):
    approver_id: Id | None = None


class _Reject(_Body, frozen=True):
    reason: Text | None = None


class _Cancel(_Body, frozen=True):
    reason: Text | None = None


class _Title(_Body, frozen=True):
    title: Title


class _Comment(_Body, frozen=True):
    text: Text
    mentions: Annotated[tuple[Id, ...], Meta(max_length=MAX_MENTIONS)] | UnsetType = UNSET


class _Deadline(_Body, frozen=True):
    deadline: Moment | None


class _Watcher(_Body, frozen=True):
    user_id: Id | None = None


class _Nothing(_Body, frozen=True):
    pass


def _watcher(body: _Watcher, identity: Identity) -> int:
    person = identity.member().person()
    check_own(person, "userId", body.user_id)
    return person.user_id if body.user_id is None else body.user_id


_MOVES: dict[str, tuple[type[_Body], type[Any], Callable[[Any, Identity], dict[str, Any]]]] = {
    "assign": (_Assign, events.JobAssigned, lambda body, _: {"assignee_id": body.assignee_id}),
    "submit": (_Submit, events.JobSubmitted, lambda body, _: {"approver_id": body.approver_id}),
    "approve": (_Nothing, events.JobApproved, lambda _, __: {}),
    "reject": (_Reject, events.JobRejected, lambda body, _: {"reason": body.reason}),
    "complete": (_Nothing, events.JobCompleted, lambda _, __: {}),
    "cancel": (_Cancel, events.JobCancelled, lambda body, _: {"reason": body.reason}),
    "title": (_Title, events.JobRetitled, lambda body, _: {"title": body.title}),
    "comments": (_Comment, events.CommentAdded, lambda body, _: {"text": body.text, "mentions": body.mentions}),
    "watch": (_Watcher, events.JobWatched, lambda body, identity: {"user_id": _watcher(body, identity)}),
    "unwatch": (_Watcher, events.JobUnwatched, lambda body, identity: {"user_id": _watcher(body, identity)}),
    "deadline": (_Deadline, events.JobDeadlineChanged, lambda body, _: {"deadline": body.deadline}),
}
"""The last word of a path: its body, the domain event that it is, and what the event takes from the body."""

_DECODERS = {shape: msgspec.json.Decoder(shape) for shape in (_Create, *(row[0] for row in _MOVES.values()))}


class JobRoutes:
    """The handlers; `table` is their part of the routes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        job = f"/api/jobs/{ID}"
        self.table: Table = (
            ("/api/jobs", {"GET": self._list, "POST": self._create}),
            (job, {"GET": self._show}),
            *((f"{job}/{move}", self._handlers(move)) for move in _MOVES),
        )

    async def _list(self, request: Request, _: dict[str, str]) -> Response:
        member = self._api.member(request)
        query = query_of(request, "assignee", "status", "limit", "before")
        if query.get("assignee") == "me":
            assignee_id: int | None = member.user_id
        else:
            assignee_id = number(query, "assignee")
        status: Any = choice(query, "status", get_args(Status))
        before, limit = number(query, "before"), page_size(query)
        page = await self._api.dated(
            member,
            lambda told: self._api.store.jobs(
                member.tenant_id,
                member.user_id,
                assignee_id=assignee_id,
                status=status,
                before=before,
                limit=limit,
                told=told,
            ),
        )
        return Response(200, encode({"items": page.items, "nextBefore": page.next_before, "offset": str(page.at)}))

    async def _show(self, request: Request, found: dict[str, str]) -> Response:
        member = self._api.member(request)
        query_of(request)
        job = await self._api.store.job(member.tenant_id, member.user_id, path_id(found))
        if job is None:
            raise not_found()
        return Response(200, encode(job))

    async def _create(self, request: Request, _: dict[str, str]) -> Response:
        identity = self._api.actor(request)
        member = identity.member()
        body: _Create = _decode(request, _Create)
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
        return await self._publish(request, identity, event, 201)

    async def _thread(self, request: Request, found: dict[str, str]) -> Response:
        member = self._api.member(request)
        query = query_of(request, "limit", "before")
        before, limit, job_id = number(query, "before"), page_size(query), path_id(found)
        page = await self._api.dated(
            member,
            lambda told: self._api.store.thread(
                member.tenant_id, member.user_id, job_id, before=before, limit=limit, told=told
            ),
        )
        if page.items is None:
            raise not_found()
        return Response(200, encode({"items": page.items, "nextBefore": page.next_before, "offset": str(page.at)}))

    def _handlers(self, move: str) -> dict[str, Handler]:
        handlers = {"POST": self._mover(move)}
        if move == "comments":
            handlers["GET"] = self._thread
        return handlers

    def _mover(self, move: str) -> Handler:
        shape, kind, fields = _MOVES[move]

        async def handle(request: Request, found: dict[str, str]) -> Response:
            identity = self._api.actor(request)
            member = identity.member()
            body = _decode(request, shape)
            event: DomainEvent = kind(
                tenant_id=member.tenant_id,
                actor_id=member.user_id,
                job_id=path_id(found),
                **fields(body, identity),
            )
            return await self._publish(request, identity, event, 201 if move == "comments" else 200)

        return handle

    async def _publish(self, request: Request, identity: Identity, event: DomainEvent, status: int) -> Response:
        query_of(request)
        person, trace = identity.member().person(), self._api.trace_of(request)
        command = Publish(event, header_key(request), person, with_job=True, trace=trace)
        published = await self._api.publish(command)
        return Response(200 if published.repeated else status, published.answer)


def _decode(request: Request, shape: type[_Body]) -> Any:
    """The body of a request; a body that is missing is an empty one."""
    body, text = events.decode_with_ids(_DECODERS[shape], shape, request.body or b"{}")
    events.check_values(body, text)
    return body
