"""The route to the people of one's own tenant, by name."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from djactors.domain import lengths
from djactors.domain.notifications import encode
from djactors.edge.answers import PeopleList
from djactors.edge.api import Api
from djactors.edge.queries import PAGE, Limit, Query, QueryReader
from djactors.edge.route import PERSON, Route, Table
from djactors.net import Request, Response


class _PeopleQuery(Query, frozen=True, kw_only=True):
    query: Annotated[
        str,
        Meta(max_length=lengths.NAME, description="The beginning of a name, or of a word of it; all people without."),
    ] = ""
    limit: Limit = PAGE
    before: Annotated[str | None, Meta(description="The `nextBefore` of the page before, with the same `query`.")] = (
        None
    )


_PEOPLE = QueryReader(_PeopleQuery)


async def _list(api: Api, request: Request, _: dict[str, str]) -> Response:
    member = api.member(request)
    query = _PEOPLE.read(request)
    page = await api.store.people(
        member.tenant_id, member.user_id, query=query.query, before=query.before, limit=query.limit
    )
    items = [
        msgspec.structs.replace(found, connected=api.connected(member.tenant_id, found.id)) for found in page.items
    ]
    return Response(200, encode(PeopleList(items=items, next_before=page.next_before)))


ROUTES: Table = (
    Route(
        "GET",
        "/api/people",
        _list,
        "Lists people of the tenant by name",
        PERSON,
        {200: PeopleList},
        query=_PEOPLE,
        says="A list shows people as they were named when its first page was read, and can be read on for an hour. "
        "`connected` is left out where the operator has turned presence off.",
    ),
)
