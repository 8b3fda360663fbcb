"""The routes about a user: signing somebody out everywhere, deactivating and activating somebody, erasing somebody."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, TypeVar

import msgspec
import trio
from msgspec import Meta
from msgspec.structs import astuple, replace

from djactors.domain import events
from djactors.domain.commands import EraseSlice, Publish, SignOut, Swept
from djactors.domain.erasure import MAX_NAMES
from djactors.domain.errors import Code, Refused
from djactors.domain.events import Name
from djactors.domain.ids import Id
from djactors.domain.notifications import encode
from djactors.domain.permissions import OFFICE
from djactors.edge.api import ID, Api, Handler, Table, header_key, path_id, query_of, tenant_of
from djactors.edge.auth import Identity
from djactors.edge.seal import SEALED
from djactors.net import Request, Response
from djactors.store.errors import StoreError


class _Place(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    tenant_id: Id | None = None


class _Erasure(_Place, frozen=True, rename="camel", forbid_unknown_fields=True):
    names: Annotated[tuple[Name, ...], Meta(max_length=MAX_NAMES)] = ()
    after: Annotated[str, Meta(pattern=SEALED)] | None = None
    overwrite: bool = True


_P = TypeVar("_P", bound=_Place)

_PLACE = msgspec.json.Decoder(_Place), _Place
_ERASURE = msgspec.json.Decoder(_Erasure), _Erasure

PIECE_SECONDS = 2.0
"""How long one request erases: whoever stands between waits for an answer much longer, and a tenant of a hundred
thousand rows is done."""

PAUSE = 0.01
"""Seconds between slices, in which others are recorded."""


class UserRoutes:
    """The handlers; `table` is their part of the routes."""

    def __init__(self, api: Api) -> None:
        self._api = api
        user = f"/api/users/{ID}"
        self.table: Table = (
            (f"{user}/sign-out", {"POST": self._sign_out}),
            (f"{user}/deactivate", {"POST": self._mover(events.UserDeactivated)}),
            (f"{user}/activate", {"POST": self._mover(events.UserActivated)}),
            (f"{user}/erase", {"POST": self._erase}),
        )

    async def _sign_out(self, request: Request, found: dict[str, str]) -> Response:
        identity, tenant_id, user_id, _ = self._office(request, found, "sign somebody out", _PLACE)
        # A person names only who is known, as everywhere; a backend knows its users better than djactors does.
        command = SignOut(tenant_id, user_id, known_only=identity.role != "service")
        signed_out = await self._api.router.ask_nowait(command, self._api.settings.command_timeout)
        self._api.telemetry.log.info("user signed out", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
        return Response(200, encode({"signedOutAt": signed_out.at}))

    def _mover(self, kind: type[events.UserDeactivated | events.UserActivated]) -> Handler:
        active = kind is events.UserActivated
        verb = "activate" if active else "deactivate"

        async def handle(request: Request, found: dict[str, str]) -> Response:
            identity, tenant_id, user_id, _ = self._office(request, found, f"{verb} somebody", _PLACE)
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

    async def _erase(self, request: Request, found: dict[str, str]) -> Response:
        """Erase a piece. Whoever asks goes on with `after`, until it is null."""
        identity, tenant_id, user_id, body = self._office(request, found, "erase somebody", _ERASURE)
        if identity.role != "service" and identity.user_id == user_id:
            raise Refused(Code.FORBIDDEN, "nobody erases themselves: ask another admin")
        api = self._api
        rows: Counter[str] = Counter()
        # Whoever could name any place would be told that all is erased, although nobody looked at what lies before it.
        purpose = f"erase {tenant_id} {user_id}"
        place = Swept() if body.after is None else self._place(purpose, body.after)
        command = EraseSlice(tenant_id, user_id, body.names, after=place)
        end = trio.current_time() + PIECE_SECONDS
        while True:
            erased = await api.router.ask_nowait(command, api.settings.command_timeout)
            rows.update(erased.rows)
            if erased.after is None or trio.current_time() >= end:
                break
            command = replace(command, after=erased.after)
            await trio.sleep(PAUSE)
        answer: dict[str, object] = {"at": erased.at, "erased": rows, "namesake": erased.namesake, "after": None}
        if erased.after is not None:
            after = api.seal.seal(purpose, "-".join(map(str, astuple(erased.after))))
            return Response(200, encode(answer | {"after": after}))
        api.telemetry.log.info("user erased", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
        if body.overwrite:
            try:
                answer["overwritten"] = await api.store.overwrite()
            except StoreError as error:
                # The person is erased all the same, and the answer has to say so.
                api.telemetry.log.warning("the database's file was not written anew", error=str(error))
                answer |= {"overwritten": False, "problem": str(error)}
        return Response(200, encode(answer))

    def _place(self, purpose: str, after: str) -> Swept:
        """Where the answer before has ended."""
        text = self._api.seal.open(purpose, after)
        if text is None:
            raise Refused(Code.INVALID, "after: is not of an answer about this person: leave it out to begin anew")
        return Swept(*map(int, text.split("-")))

    def _office(
        self, request: Request, found: dict[str, str], deed: str, shape: tuple[msgspec.json.Decoder[_P], type[_P]]
    ) -> tuple[Identity, int, int, _P]:
        """Who asks, the tenant and id of the user, and the body; everything that may be refused at once is refused
        here."""
        identity = self._api.proved(request)
        if identity.role not in OFFICE:
            raise Refused(Code.FORBIDDEN, f"only an admin or a service may {deed}")
        if identity.role == "service":
            self._api.paces.check_backend(identity)
        else:
            self._api.paces.check_command(identity.member())
        query_of(request)
        decoder, kind = shape
        body: _P
        body, _ = events.decode_with_ids(decoder, kind, request.body or b"{}")
        tenant_id, user_id = tenant_of(identity, body.tenant_id), path_id(found)
        return identity, tenant_id, user_id, body
