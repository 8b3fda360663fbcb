"""What the handlers of all routes share: who asks, how fast they may ask, and the way to the router and the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio

from djactors.actors.command_ref import CommandRef
from djactors.config import Settings
from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Code, Refused
from djactors.edge.auth import Authenticator, Identity, Member, Unauthorized
from djactors.edge.errors import TooManyRequests
from djactors.edge.survey import Survey
from djactors.inbox.inbox import Inbox
from djactors.net import Request, Response, TokenBuckets, host_of
from djactors.telemetry import Telemetry

Handler: TypeAlias = Callable[[Request, dict[str, str]], Awaitable[Response]]
Table: TypeAlias = tuple[tuple[str, Mapping[str, Handler]], ...]
"""Rows of a pattern for the whole path, with a handler for each method."""


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
        store: Inbox,
        settings: Settings,
        telemetry: Telemetry,
        epoch: str,
        ready: Callable[[], str | None],
        measure: Callable[[], None],
        survey: Survey,
    ) -> None:
        self.router = router
        self.store = store
        self.settings = settings
        self.telemetry = telemetry
        self.epoch = epoch
        self.ready = ready
        self.measure = measure
        self.survey = survey
        self._authenticator = authenticator
        self._posts: TokenBuckets[str] = TokenBuckets(settings.post_rate, settings.post_burst)

    def identity(self, request: Request) -> Identity:
        """The identity that the request's token proves. Raises Unauthorized."""
        scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
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
        """Refuse an address that publishes too fast. Call this once the token is known and before any costly work.

        Raises:
            TooManyRequests: the address has no tokens left.
        """
        wait = self._posts.take(host_of(request.peer), trio.current_time(), count)
        if wait > 0:
            raise TooManyRequests(wait)

    async def publish(self, command: Publish) -> Published:
        """Let the router record an event. Raises Refused, KernelError or StoreError."""
        return await self.router.ask_nowait(command, self.settings.command_timeout)
