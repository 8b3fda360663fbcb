"""The inbox routes of the contract: a person's lists and counts, the log of changes, and what the person does with a
notification or wants to hear of a job.

Each command is answered with the person's counts, as the ack of its socket event has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from djactors.domain import lengths
from djactors.domain.commands import (
    Archive,
    Delete,
    InboxCommand,
    MarkAllRead,
    MarkJobRead,
    MarkRead,
    MarkSeen,
    MarkUnread,
    MuteJob,
    Snooze,
    Unarchive,
    UnmuteJob,
    Unsnooze,
)
from djactors.domain.errors import not_found
from djactors.domain.events import Moment, Priority
from djactors.domain.folding import words_of
from djactors.domain.ids import Id
from djactors.domain.marks import offset_of
from djactors.domain.notifications import encode
from djactors.edge.answers import ChangeList, Counts, Done, LoggedChange, Mute, NotificationList
from djactors.edge.api import Api, path_id
from djactors.edge.auth import Member
from djactors.edge.queries import MAX_PAGE, NO_QUERY, Limit, PageQuery, Query, QueryReader
from djactors.edge.route import PERSON, Body, Handler, Route, Table
from djactors.inbox.log import Replay, as_it_is
from djactors.inbox.pages import Snapshot, Wanted
from djactors.net import Request, Response

MAX_QUERY = 100
"""Characters of a search: more than a title that somebody types, and few enough words to look for."""


class _ListQuery(PageQuery, frozen=True, kw_only=True):
    view: Annotated[Literal["inbox", "archived", "snoozed"], Meta(description="Which of the three lists.")] = "inbox"
    unread: Annotated[bool, Meta(description="Only what is unread.")] = False
    type: Annotated[
        Annotated[str, Meta(min_length=1, max_length=lengths.TYPE)] | None, Meta(description="Only this type.")
    ] = None
    priority: Annotated[Priority | None, Meta(description="Only this priority.")] = None
    job: Annotated[Id | None, Meta(description="Only what is about this job.")] = None
    query: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_QUERY)] | None,
        Meta(description="Words that the title, the message, or the job's title or number must have."),
    ] = None


class _ChangesQuery(Query, frozen=True, kw_only=True):
    since: Annotated[str, Meta(description="the offset of a list, or of the page before")]
    limit: Limit = MAX_PAGE


class _Payload(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all bodies."""


class SeenBody(_Payload, frozen=True):
    """Up to which notification the inbox was seen; all of it without."""

    up_to: Id | None = None


class SnoozeBody(_Payload, frozen=True):
    """When the notification comes back: a moment in the future, before the notification expires."""

    until: Moment


_LIST = QueryReader(_ListQuery)
_CHANGES = QueryReader(_ChangesQuery)
_SEEN = Body(SeenBody)
_SNOOZE = Body(SnoozeBody)

_Command: TypeAlias = Callable[[int, int, int], InboxCommand]

_ON_ONE: dict[str, tuple[_Command, str]] = {
    "read": (MarkRead, "Marks a notification as read"),
    "unread": (MarkUnread, "Marks a notification as unread"),
    "archive": (Archive, "Puts a notification into the archive"),
    "unarchive": (Unarchive, "Takes a notification out of the archive"),
    "unsnooze": (Unsnooze, "Brings a snoozed notification back at once"),
}
_ON_A_JOB: dict[str, tuple[_Command, str]] = {
    "read-notifications": (MarkJobRead, "Reads what is in the inbox of a job"),
    "mute": (MuteJob, "Mutes a job: only what concerns the user alone is told"),
    "unmute": (UnmuteJob, "Ends the muting of a job"),
}
"""The last word of a path, its command on the notification or the job that the path names, and what it does."""


async def state(api: Api, member: Member) -> Snapshot:
    """Where a member's inbox stands."""
    return await api.dated(
        member, lambda told: api.store.snapshot(member.tenant_id, member.user_id, told, requested=True)
    )


async def _list(api: Api, request: Request, _: dict[str, str]) -> Response:
    member = api.member(request)
    query = _LIST.read(request)
    wanted = Wanted(
        place=None if query.view == "inbox" else query.view,
        unread_only=query.unread,
        type=query.type,
        priority=query.priority,
        job_id=query.job,
        words=words_of(query.query or ""),
    )
    page = await api.dated(
        member,
        lambda told: api.store.page(
            member.tenant_id, member.user_id, limit=query.limit, before=query.before, wanted=wanted, told=told
        ),
    )
    answer = NotificationList(
        items=page.items,
        next_before=page.next_before,
        unread_count=page.unread,
        unseen_count=page.unseen,
        offset=str(page.at),
    )
    return Response(200, encode(answer))


async def _unread_count(api: Api, request: Request, _: dict[str, str]) -> Response:
    member = api.member(request)
    NO_QUERY.read(request)
    found = await state(api, member)
    return Response(200, encode(Counts(count=found.unread, unseen=found.unseen, offset=str(found.at))))


async def _changes(api: Api, request: Request, _: dict[str, str]) -> Response:
    member = api.member(request)
    query = _CHANGES.read(request)
    start, found = offset_of(query.since), None
    if start is not None:
        found = await api.dated(
            member,
            lambda told: api.store.replay(
                member.tenant_id, member.user_id, start, told=told, limit=query.limit, make=as_it_is, requested=True
            ),
        )
    if isinstance(found, Replay):
        items = [
            LoggedChange(offset=str(change.offset), event=change.name, data=msgspec.Raw(change.body))
            for change in found.changes
        ]
        answer = ChangeList(items=items, offset=str(found.position), reset=False)
    else:
        answer = ChangeList(items=[], offset=str((await state(api, member)).at), reset=True)
    return Response(200, encode(answer))


def _poster(kind: _Command) -> Handler:
    async def handle(api: Api, request: Request, found: dict[str, str]) -> Response:
        member = api.member(request)
        NO_QUERY.read(request)
        return await _count(api, kind(member.tenant_id, member.user_id, path_id(found)))

    return handle


async def _read_all(api: Api, request: Request, _: dict[str, str]) -> Response:
    member = api.member(request)
    NO_QUERY.read(request)
    return await _count(api, MarkAllRead(member.tenant_id, member.user_id))


async def _seen(api: Api, request: Request, _: dict[str, str]) -> Response:
    member = api.member(request)
    NO_QUERY.read(request)
    body = _SEEN.read(request)
    return await _count(api, MarkSeen(member.tenant_id, member.user_id, body.up_to))


async def _snooze(api: Api, request: Request, found: dict[str, str]) -> Response:
    member = api.member(request)
    NO_QUERY.read(request)
    body = _SNOOZE.read(request)
    return await _count(api, Snooze(member.tenant_id, member.user_id, path_id(found), body.until))


async def _is_muted(api: Api, request: Request, found: dict[str, str]) -> Response:
    member = api.member(request)
    NO_QUERY.read(request)
    muted = await api.store.is_muted(member.tenant_id, member.user_id, path_id(found))
    if muted is None:
        raise not_found()
    return Response(200, encode(Mute(muted=muted)))


async def _count(api: Api, command: InboxCommand) -> Response:
    counted = await api.router.ask_nowait(command, api.settings.command_timeout)
    return Response(200, encode(Done(count=counted.count, unseen=counted.unseen)))


_ONE, _JOB = "/api/notifications/{id}", "/api/jobs/{id}"
_DONE = {200: Done}

ROUTES: Table = (
    Route(
        "GET",
        "/api/notifications",
        _list,
        "Lists the notifications of an inbox",
        PERSON,
        {200: NotificationList},
        query=_LIST,
        says="A list that is narrowed looks at 500 notifications for each page, so a page may have few items, even "
        "none, and still name a `nextBefore` to go on with. It is complete when `nextBefore` is null.",
    ),
    Route(
        "GET",
        "/api/notifications/unread-count",
        _unread_count,
        "Counts what is unread and unseen",
        PERSON,
        {200: Counts},
    ),
    Route(
        "GET",
        "/api/changes",
        _changes,
        "Lists what has changed since an offset",
        PERSON,
        {200: ChangeList},
        query=_CHANGES,
        says="For clients without a socket: ask again with the answer's `offset` until `items` is empty.",
    ),
    Route(
        "POST",
        "/api/notifications/read-all",
        _read_all,
        "Marks everything in the inbox as read",
        PERSON,
        _DONE,
    ),
    Route(
        "POST",
        "/api/notifications/seen",
        _seen,
        "Notes that the inbox was seen",
        PERSON,
        _DONE,
        body=_SEEN,
        examples={"up to a notification": {"upTo": 1}, "all": {}},
    ),
    Route("DELETE", _ONE, _poster(Delete), "Deletes a notification", PERSON, _DONE),
    *(Route("POST", f"{_ONE}/{word}", _poster(kind), does, PERSON, _DONE) for word, (kind, does) in _ON_ONE.items()),
    Route(
        "POST",
        f"{_ONE}/snooze",
        _snooze,
        "Has a notification leave the inbox, and come back at a moment",
        PERSON,
        _DONE,
        body=_SNOOZE,
        examples={"a fortnight": {"until": "2026-02-10T09:00:00+07:00"}},
    ),
    *(Route("POST", f"{_JOB}/{word}", _poster(kind), does, PERSON, _DONE) for word, (kind, does) in _ON_A_JOB.items()),
    Route("GET", f"{_JOB}/mute", _is_muted, "Says whether the user has muted a job", PERSON, {200: Mute}),
)
