"""The route to the people of one's own tenant, by name."""

from __future__ import annotations

import msgspec

from djactors.domain import lengths
from djactors.domain.errors import Code, Refused
from djactors.domain.notifications import encode
from djactors.edge.api import Api, Table, page_size, query_of
from djactors.net import Request, Response


class PeopleRoutes:
    """The handler; `table` is its part of the routes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.table: Table = (("/api/people", {"GET": self._list}),)

    async def _list(self, request: Request, _: dict[str, str]) -> Response:
        member = self._api.member(request)
        query = query_of(request, "query", "limit", "before")
        wanted = query.get("query", "")
        if len(wanted) > lengths.NAME:
            raise Refused(Code.INVALID, f"query: has more than {lengths.NAME} characters: send the beginning of a name")
        page = await self._api.store.people(
            member.tenant_id, member.user_id, query=wanted, before=query.get("before"), limit=page_size(query)
        )
        items = [
            msgspec.structs.replace(found, connected=self._api.connected(member.tenant_id, found.id))
            for found in page.items
        ]
        return Response(200, encode({"items": items, "nextBefore": page.next_before}))
