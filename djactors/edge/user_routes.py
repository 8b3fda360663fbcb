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
from djactors.edge.answers import Activity, Erased, SignedOut
from djactors.edge.api import Api, header_key, path_id, tenant_of
from djactors.edge.auth import Identity
from djactors.edge.queries import NO_QUERY
from djactors.edge.route import ADMIN_OR_BACKEND, Body, Handler, Route, Table
from djactors.edge.seal import SEALED
from djactors.net import Request, Response
from djactors.store.errors import StoreError


class PlaceBody(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The user's tenant, which a token without a tenant must name."""

    tenant_id: Id | None = None


class ErasureBody(PlaceBody, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Whose data is erased, and where to go on.

    `names` are further names of the person. `after` is exactly what the answer before has. `overwrite` is false to
    leave the database's file as it is.
    """

    names: Annotated[tuple[Name, ...], Meta(max_length=MAX_NAMES)] = ()
    after: Annotated[str, Meta(pattern=SEALED)] | None = None
    overwrite: bool = True


_P = TypeVar("_P", bound=PlaceBody)

_PLACE = Body(PlaceBody)
_ERASURE = Body(ErasureBody)

PIECE_SECONDS = 2.0
"""How long one request erases: whoever stands between waits for an answer much longer, and a tenant of a hundred
thousand rows is done."""

PAUSE = 0.01
"""Seconds between slices, in which others are recorded."""


async def _sign_out(api: Api, request: Request, found: dict[str, str]) -> Response:
    identity, tenant_id, user_id, _ = _office(api, request, found, "sign somebody out", _PLACE)
    # A person names only who is known, as everywhere; a backend knows its users better than djactors does.
    command = SignOut(tenant_id, user_id, known_only=identity.role != "service")
    signed_out = await api.router.ask_nowait(command, api.settings.command_timeout)
    api.telemetry.log.info("user signed out", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
    return Response(200, encode(SignedOut(signed_out_at=signed_out.at)))


def _mover(kind: type[events.UserDeactivated | events.UserActivated]) -> Handler:
    active = kind is events.UserActivated
    verb = "activate" if active else "deactivate"

    async def handle(api: Api, request: Request, found: dict[str, str]) -> Response:
        identity, tenant_id, user_id, _ = _office(api, request, found, f"{verb} somebody", _PLACE)
        # A service acts as itself, whether or not its token names a user as well.
        person = None if identity.role == "service" else identity.member().person()
        event = kind(tenant_id=tenant_id, actor_id=None if person is None else person.user_id, user_id=user_id)
        tenants_own = identity.tenant_id is not None
        await api.publish(
            Publish(event, header_key(request), person, tenants_own=tenants_own, trace=api.trace_of(request))
        )
        api.telemetry.log.info(f"user {verb}d", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
        return Response(200, encode(Activity(user_id=user_id, active=active)))

    return handle


async def _erase(api: Api, request: Request, found: dict[str, str]) -> Response:
    """Erase a piece. Whoever asks goes on with `after`, until it is null."""
    identity, tenant_id, user_id, body = _office(api, request, found, "erase somebody", _ERASURE)
    if identity.role != "service" and identity.user_id == user_id:
        raise Refused(Code.FORBIDDEN, "nobody erases themselves: ask another admin")
    rows: Counter[str] = Counter()
    # Whoever could name any place would be told that all is erased, although nobody looked at what lies before it.
    purpose = f"erase {tenant_id} {user_id}"
    place = Swept() if body.after is None else _place(api, purpose, body.after)
    command = EraseSlice(tenant_id, user_id, body.names, after=place)
    end = trio.current_time() + PIECE_SECONDS
    while True:
        erased = await api.router.ask_nowait(command, api.settings.command_timeout)
        rows.update(erased.rows)
        if erased.after is None or trio.current_time() >= end:
            break
        command = replace(command, after=erased.after)
        await trio.sleep(PAUSE)
    answer = Erased(at=erased.at, erased=rows, namesake=erased.namesake)
    if erased.after is not None:
        after = api.seal.seal(purpose, "-".join(map(str, astuple(erased.after))))
        return Response(200, encode(replace(answer, after=after)))
    api.telemetry.log.info("user erased", tenant_id=tenant_id, user_id=user_id, by=identity.user_id)
    if body.overwrite:
        try:
            answer = replace(answer, overwritten=await api.store.overwrite())
        except StoreError as error:
            # The person is erased all the same, and the answer has to say so.
            api.telemetry.log.warning("the database's file was not written anew", error=str(error))
            answer = replace(answer, overwritten=False, problem=str(error))
    return Response(200, encode(answer))


def _place(api: Api, purpose: str, after: str) -> Swept:
    """Where the answer before has ended."""
    text = api.seal.open(purpose, after)
    if text is None:
        raise Refused(Code.INVALID, "after: is not of an answer about this person: leave it out to begin anew")
    return Swept(*map(int, text.split("-")))


def _office(
    api: Api, request: Request, found: dict[str, str], deed: str, shape: Body[_P]
) -> tuple[Identity, int, int, _P]:
    """Who asks, the tenant and id of the user, and the body; everything that may be refused at once is refused here."""
    identity = api.proved(request)
    if identity.role not in OFFICE:
        raise Refused(Code.FORBIDDEN, f"only an admin or a service may {deed}")
    if identity.role == "service":
        api.paces.check_backend(identity)
    else:
        api.paces.check_command(identity.member())
    NO_QUERY.read(request)
    body = shape.read(request)
    return identity, tenant_of(identity, body.tenant_id), path_id(found), body


_USER = "/api/users/{id}"
_WHERE = {"of the token's tenant": {}, "of tenant 1": {"tenantId": 1}}

ROUTES: Table = (
    Route(
        "POST",
        f"{_USER}/sign-out",
        _sign_out,
        "Makes all tokens of a user worthless that were issued before now, and ends the user's sockets",
        ADMIN_OR_BACKEND,
        {200: SignedOut},
        body=_PLACE,
        examples=_WHERE,
    ),
    *(
        Route(
            "POST",
            f"{_USER}/{word}",
            _mover(kind),
            does,
            ADMIN_OR_BACKEND,
            {200: Activity},
            body=_PLACE,
            takes_key=True,
            examples=_WHERE,
        )
        for word, kind, does in (
            ("deactivate", events.UserDeactivated, "Deactivates a user, who then signs in no more"),
            ("activate", events.UserActivated, "Activates a user who was deactivated"),
        )
    ),
    Route(
        "POST",
        f"{_USER}/erase",
        _erase,
        "Erases what is held about a person, piece by piece",
        ADMIN_OR_BACKEND,
        {200: Erased},
        says="It works for 2 seconds at most: ask again with the answer's `after` until that is null.",
        body=_ERASURE,
        examples={"a person with another name": {"names": ["Ann Example"], "overwrite": False}},
    ),
)
