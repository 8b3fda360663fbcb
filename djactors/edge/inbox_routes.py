"""The inbox routes of the contract: a person's lists and counts, and what the person does with a notification or wants
to hear of a job.

Each command is answered with the person's counts, as the ack of its socket event has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec

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
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.events import Moment, Priority, decode_with_ids
from djactors.domain.folding import words_of
from djactors.domain.ids import Id
from djactors.domain.notifications import encode
from djactors.edge.api import ID, Api, Handler, Table, choice, flag, number, page_size, path_id, query_of
from djactors.edge.auth import Member
from djactors.inbox.pages import Place, Snapshot, Wanted
from djactors.net import Request, Response

INBOX = "inbox"

MAX_QUERY = 100
"""Characters of a search: more than a title that somebody types, and few enough words to look for."""


class _Body(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all bodies."""


class _Seen(_Body, frozen=True):
    up_to: Id | None = None


class _Snooze(_Body, frozen=True):
    until: Moment


_seen_decoder = msgspec.json.Decoder(_Seen)
_snooze_decoder = msgspec.json.Decoder(_Snooze)

_ON_ONE: dict[str, Callable[[int, int, int], InboxCommand]] = {
    "read": MarkRead,
    "unread": MarkUnread,
    "archive": Archive,
    "unarchive": Unarchive,
    "unsnooze": Unsnooze,
}
_ON_A_JOB: dict[str, Callable[[int, int, int], InboxCommand]] = {
    "read-notifications": MarkJobRead,
    "mute": MuteJob,
    "unmute": UnmuteJob,
}
"""The last word of a path, and its command on the notification or the job that the path names."""


async def state(api: Api, member: Member) -> Snapshot:
    """Where a member's inbox stands."""
    return await api.dated(
        member, lambda told: api.store.snapshot(member.tenant_id, member.user_id, told, requested=True)
    )


class InboxRoutes:
    """The handlers; `table` is their part of the routes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        one, job = f"/api/notifications/{ID}", f"/api/jobs/{ID}"
        posts = {
            **{f"{one}/{word}": self._poster(kind) for word, kind in _ON_ONE.items()},
            **{f"{job}/{word}": self._poster(kind) for word, kind in _ON_A_JOB.items()},
            f"{one}/snooze": self._snooze,
        }
        reads = {f"{job}/mute": self._is_muted}
        self.table: Table = (
            ("/api/notifications", {"GET": self._list}),
            ("/api/notifications/unread-count", {"GET": self._unread_count}),
            ("/api/notifications/read-all", {"POST": self._read_all}),
            ("/api/notifications/seen", {"POST": self._seen}),
            (one, {"DELETE": self._poster(Delete)}),
            *(
                (path, {"POST": handler} if path not in reads else {"GET": reads[path], "POST": handler})
                for path, handler in posts.items()
            ),
        )

    async def _list(self, request: Request, _: dict[str, str]) -> Response:
        member = self._api.member(request)
        query = query_of(request, "view", "unread", "type", "priority", "job", "query", "limit", "before")
        limit, before, wanted = page_size(query), number(query, "before"), _wanted(query)
        page = await self._api.dated(
            member,
            lambda told: self._api.store.page(
                member.tenant_id, member.user_id, limit=limit, before=before, wanted=wanted, told=told
            ),
        )
        answer = {
            "items": page.items,
            "nextBefore": page.next_before,
            "unreadCount": page.unread,
            "unseenCount": page.unseen,
            "offset": str(page.at),
        }
        return Response(200, encode(answer))

    async def _unread_count(self, request: Request, _: dict[str, str]) -> Response:
        member = self._api.member(request)
        query_of(request)
        found = await state(self._api, member)
        return Response(200, encode({"count": found.unread, "unseen": found.unseen, "offset": str(found.at)}))

    def _poster(self, kind: Callable[[int, int, int], InboxCommand]) -> Handler:
        async def handle(request: Request, found: dict[str, str]) -> Response:
            member = self._api.member(request)
            query_of(request)
            return await self._count(kind(member.tenant_id, member.user_id, path_id(found)))

        return handle

    async def _read_all(self, request: Request, _: dict[str, str]) -> Response:
        member = self._api.member(request)
        query_of(request)
        return await self._count(MarkAllRead(member.tenant_id, member.user_id))

    async def _seen(self, request: Request, _: dict[str, str]) -> Response:
        member = self._api.member(request)
        query_of(request)
        body, _text = decode_with_ids(_seen_decoder, _Seen, request.body or b"{}")
        return await self._count(MarkSeen(member.tenant_id, member.user_id, body.up_to))

    async def _snooze(self, request: Request, found: dict[str, str]) -> Response:
        member = self._api.member(request)
        query_of(request)
        body, _text = decode_with_ids(_snooze_decoder, _Snooze, request.body or b"{}")
        return await self._count(Snooze(member.tenant_id, member.user_id, path_id(found), body.until))

    async def _is_muted(self, request: Request, found: dict[str, str]) -> Response:
        member = self._api.member(request)
        query_of(request)
        muted = await self._api.store.is_muted(member.tenant_id, member.user_id, path_id(found))
        if muted is None:
            raise not_found()
        return Response(200, encode({"muted": muted}))

    async def _count(self, command: InboxCommand) -> Response:
        counted = await self._api.router.ask_nowait(command, self._api.settings.command_timeout)
        return Response(200, encode({"ok": True, "count": counted.count, "unseen": counted.unseen}))


def _wanted(query: dict[str, str]) -> Wanted:
    """What the parameters of a list ask for."""
    view: Any = choice(query, "view", (INBOX, *get_args(Place)))
    for name, longest in (("type", lengths.TYPE), ("query", MAX_QUERY)):
        if name in query and not 1 <= len(query[name]) <= longest:
            raise Refused(Code.INVALID, f"{name}: must be 1 to {longest} characters")
    return Wanted(
        place=None if view == INBOX else view,
        unread_only=flag(query, "unread"),
        type=query.get("type"),
        priority=choice(query, "priority", get_args(Priority)),
        job_id=number(query, "job"),
        words=words_of(query.get("query", "")),
    )
