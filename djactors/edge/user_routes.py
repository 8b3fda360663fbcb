"""The routes about a user: signing somebody out everywhere, and deactivating and activating somebody."""

from __future__ import annotations

import msgspec

from djactors.domain import events
from djactors.domain.commands import Publish, SignOut
from djactors.domain.errors import Code, Refused
from djactors.domain.ids import Id
from djactors.domain.notifications import encode
from djactors.domain.permissions import OFFICE
from djactors.edge.api import ID, Api, Handler, Table, header_key, path_id, query_of
from djactors.edge.auth import Identity
from djactors.net import Request, Response


class _Place(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    tenant_id: Id | None = None


_decoder = msgspec.json.Decoder(_Place)


class UserRoutes:
    """The handlers; `table` is their part of the routes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        user = f"/api/users/{ID}"
        self.table: Table = (
            (f"{user}/sign-out", {"POST": self._sign_out}),
            (f"{user}/deactivate", {"POST": self._mover(events.UserDeactivated)}),
            (f"{user}/activate", {"POST": self._mover(events.UserActivated)}),
        )

    async def _sign_out(self, request: Request, found: dict[str, str]) -> Response:
        identity, tenant_id, user_id = self._office(request, found, "sign somebody out")
        # A person names only who is known, as everywhere; a backend knows its users better than djactors does.
        command = SignOut(tenant_id, user_id, known_only=identity.role != "service")
        signed_out = await self._api.router.ask_nowait(command, self._api.settings.command_timeout)
        self._api.telemetry.log.info("user signed out", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
        return Response(200, encode({"signedOutAt": signed_out.at}))

    def _mover(self, kind: type[events.UserDeactivated | events.UserActivated]) -> Handler:
        active = kind is events.UserActivated
        verb = "activate" if active else "deactivate"

        async def handle(request: Request, found: dict[str, str]) -> Response:
            identity, tenant_id, user_id = self._office(request, found, f"{verb} somebody")
            # A service acts as itself, whether or not its token names a user as well.
            person = None if identity.role == "service" else identity.member().person()
            event = kind(tenant_id=tenant_id, actor_id=None if person is None else person.user_id, user_id=user_id)
            tenants_own = identity.tenant_id is not None
            await self._api.publish(
                Publish(event, header_key(request), person, tenants_own=tenants_own, trace=self._api.trace_of(request))
            )
            self._api.telemetry.log.info(f"user {verb}d", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
            return Response(200, encode({"userId": user_id, "active": active}))

        return handle

    def _office(self, request: Request, found: dict[str, str], deed: str) -> tuple[Identity, int, int]:
        """Who asks, and the tenant and id of the user; everything that may be refused at once is refused here."""
        identity = self._api.identity(request)
        if identity.role not in OFFICE:
            raise Refused(Code.FORBIDDEN, f"only an admin or a service may {deed}")
        if identity.role == "service":
            self._api.paces.check_backend(identity)
        else:
            self._api.paces.check_command(identity.member())
        query_of(request)
        body, _ = events.decode_with_ids(_decoder, _Place, request.body or b"{}")
        tenant_id, user_id = _tenant_of(identity, body), path_id(found)
        return identity, tenant_id, user_id


def _tenant_of(identity: Identity, body: _Place) -> int:
    if identity.tenant_id is None:
        if body.tenant_id is None:
            raise Refused(Code.INVALID, "tenantId: is missing: this token is of no tenant, so name the user's")
        return body.tenant_id
    if body.tenant_id not in (None, identity.tenant_id):
        raise Refused(Code.FORBIDDEN, f"tenantId: this token is of tenant {identity.tenant_id} only: leave it out")
    return identity.tenant_id
