"""The routes about a user: signing somebody out everywhere."""

from __future__ import annotations

import msgspec

from djactors.domain import events
from djactors.domain.commands import SignOut
from djactors.domain.errors import Code, Refused
from djactors.domain.ids import Id
from djactors.domain.notifications import encode
from djactors.edge.api import ID, Api, Table, path_id, query_of
from djactors.edge.auth import Identity
from djactors.net import Request, Response


class _SignOut(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    tenant_id: Id | None = None


_decoder = msgspec.json.Decoder(_SignOut)

MAY_SIGN_OUT = ("admin", "service")
"""Roles that may sign somebody out."""


class UserRoutes:
    """The handlers; `table` is their part of the routes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.table: Table = ((f"/api/users/{ID}/sign-out", {"POST": self._sign_out}),)

    async def _sign_out(self, request: Request, found: dict[str, str]) -> Response:
        identity = self._api.identity(request)
        if identity.role not in MAY_SIGN_OUT:
            raise Refused(Code.FORBIDDEN, "only an admin or a service may sign somebody out")
        if identity.role == "service":
            self._api.paces.check_backend(identity)
        else:
            self._api.paces.check_command(identity.member())
        query_of(request)
        body, _ = events.decode_with_ids(_decoder, _SignOut, request.body or b"{}")
        tenant_id, user_id = _tenant_of(identity, body), path_id(found)
        # A person names only who is known, as everywhere; a backend knows its users better than djactors does.
        command = SignOut(tenant_id, user_id, known_only=identity.role != "service")
        signed_out = await self._api.router.ask_nowait(command, self._api.settings.command_timeout)
        self._api.telemetry.log.info("user signed out", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
        return Response(200, encode({"signedOutAt": signed_out.at}))


def _tenant_of(identity: Identity, body: _SignOut) -> int:
    if identity.tenant_id is None:
        if body.tenant_id is None:
            raise Refused(Code.INVALID, "tenantId: is missing: this token is of no tenant, so name the user's")
        return body.tenant_id
    if body.tenant_id not in (None, identity.tenant_id):
        raise Refused(Code.FORBIDDEN, f"tenantId: this token is of tenant {identity.tenant_id} only: leave it out")
    return identity.tenant_id
