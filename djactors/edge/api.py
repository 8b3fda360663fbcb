"""What the handlers of all routes share: who asks, how fast they may ask, and the way to the router and the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias, TypeVar

import trio

from djactors.actors.command_ref import CommandRef
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Code, Refused
from djactors.domain.marks import Offset
from djactors.edge.auth import Authenticator, Identity, Member, Unauthorized
from djactors.edge.rate_limit import AddressLimit
from djactors.edge.survey import Survey
from djactors.inbox.inbox import Inbox
from djactors.net import Request, Response, host_of
from djactors.store.errors import StoreUnavailable
from djactors.telemetry import Telemetry

Handler: TypeAlias = Callable[[Request, dict[str, str]], Awaitable[Response]]
Table: TypeAlias = tuple[tuple[str, Mapping[str, Handler]], ...]
"""Rows of a pattern for the whole path, with a handler for each method."""


class Dated(Protocol):
    """Something that was read from a snapshot."""

    @property
    def follows(self) -> bool:
        """Whether what the reader was told is in the snapshot's past."""


D = TypeVar("D", bound=Dated)


class Api:
    """What the handlers need.

    `ready` says why the server is not ready, or returns None if it is. `measure` brings the gauges up to date before
    they are read. `survey` describes the installation to an admin of a tenant.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        router: CommandRef,
        users: Users,
        store: Inbox,
        settings: Settings,
        telemetry: Telemetry,
        ready: Callable[[], str | None],
        measure: Callable[[], None],
        survey: Survey,
    ) -> None:
        self.router = router
        self.store = store
        self.settings = settings
        self.telemetry = telemetry
        self.ready = ready
        self.measure = measure
        self.survey = survey
        self._users = users
        self._authenticator = authenticator
        self._post_limit = AddressLimit(settings.post_rate, settings.post_burst)

    def identity(self, request: Request) -> Identity:
        """The identity that the request's token proves. Raises Unauthorized."""
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("token_missing", "send `Authorization: Bearer <token>`")
        return self._authenticator.identify(token.strip())

    def member(self, request: Request) -> Member:
        """The person whom the request's token names. Raises Unauthorized."""
        return self.identity(request).member()

    def publisher(self, request: Request) -> Identity:
        """The service whose token the request carries. Raises Unauthorized, or Refused with `forbidden`."""
        identity = self.identity(request)
        if identity.role != "service":
            raise Refused(Code.FORBIDDEN, "only a service may publish: use a token with the role service")
        return identity

    def admin(self, request: Request) -> Member:
        """The admin whose token the request carries. Raises Unauthorized, or Refused with `forbidden`."""
        identity = self.identity(request)
        if identity.role != "admin":
            raise Refused(Code.FORBIDDEN, "only an admin may see this: use a token with the role admin")
        return identity.member()

    def check_pace(self, request: Request, count: int = 1) -> None:
        """Refuse an address that publishes too fast. Call this once the token is known and before any costly work."""
        self._post_limit.check(host_of(request.peer), trio.current_time(), count)

    async def dated(self, member: Member, read: Callable[[Offset | None], Awaitable[D]]) -> D:
        """Read something that has an offset, for a member: it has everything in its past that their sockets were told.

        Raises:
            StoreUnavailable: it has not, because somebody put an old copy of the database back under the server. Those
                sockets are closed; by the next try they are gone, and whoever comes back is judged by what they know.
        """
        found = await read(self._users.told_user(member.tenant_id, member.user_id))
        if not found.follows:
            await self._users.lost(member.tenant_id, member.user_id)
            raise StoreUnavailable("the database has lost what this user's sockets were told")
        return found

    async def publish(self, command: Publish) -> Published:
        """Let the router record an event. Raises Refused, KernelError or StoreError."""
        return await self.router.ask_nowait(command, self.settings.command_timeout)
