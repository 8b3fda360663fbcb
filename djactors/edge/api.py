"""What the handlers of all routes share: who asks, how fast they may ask, the way to the router and the store, and what
a request says besides its query and its body (the id in the path, the idempotency key).

Whatever a request says wrong is `Refused`, with a message that names the place and says what must be there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from djactors.actors.command_ref import CommandRef
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain import lengths
from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.ids import MAX_ID
from djactors.domain.marks import Offset
from djactors.edge.auth import Authenticator, Identity, Member, bearer_of, in_force
from djactors.edge.exposition import Exposition, MetricsReaders
from djactors.edge.paces import Paces
from djactors.edge.seal import Seal
from djactors.edge.survey import Survey
from djactors.inbox.inbox import Inbox
from djactors.net import Request
from djactors.store.errors import StoreUnavailable
from djactors.telemetry import Telemetry, Trace

PUBLISH, IMPORT = "publish", "import a tenant"
"""What only a service may do."""


class Dated(Protocol):
    """Something that was read from a snapshot."""

    @property
    def follows(self) -> bool:
        """Whether what the reader was told is in the snapshot's past."""


D = TypeVar("D", bound=Dated)
P = TypeVar("P")


class Api:
    """What the handlers need.

    `ready` says why the server is not ready, or returns None if it is (see `readiness`). `exposition` makes the answer
    to `/metrics`, and `survey` describes the installation to an admin of a tenant. `concerns` say what will go wrong if
    nobody does anything, each in words or None.
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
        paces: Paces,
        ready: Callable[[], Awaitable[str | None]],
        exposition: Exposition,
        survey: Survey,
        seal: Seal,
        concerns: Sequence[Callable[[], str | None]] = (),
    ) -> None:
        self.router = router
        self.store = store
        self.settings = settings
        self.telemetry = telemetry
        self.ready = ready
        self.exposition = exposition
        self.survey = survey
        self.seal = seal
        self.concerns = concerns
        self._users = users
        self._authenticator = authenticator
        self.paces = paces
        self._parts: dict[Callable[[Api], Any], Any] = {}
        self.metrics_readers = MetricsReaders(settings.metrics_addresses)

    def part(self, kind: Callable[[Api], P]) -> P:
        """What handlers keep between requests, made by `kind` when it is first asked for."""
        if kind not in self._parts:
            self._parts[kind] = kind(self)
        part: P = self._parts[kind]
        return part

    async def judge(self, request: Request) -> None:
        """Find out who asks, as the request's token proves and the tenant says: the proof for the handler's first step.

        Nearly always it is known what the tenant says, and nothing is waited for.

        Raises:
            Unauthorized: the token proves nothing, or the user was signed out.
            StoreError: what the tenant says cannot be read.
        """
        proved = self.proved(request)
        tenant_id, user_id = proved.tenant_id, proved.user_id
        if user_id is not None and tenant_id is not None:
            request.proof = in_force(proved, await self._users.look_up(tenant_id, user_id))

    def proved(self, request: Request) -> Identity:
        """Who asks, as the request's token alone proves until `judge`, and after that as the tenant says, too.

        Raises Unauthorized.
        """
        proof = request.proof
        if type(proof) is Identity:
            return proof
        identity = request.proof = bearer_of(request, self._authenticator)
        return identity

    def actor(self, request: Request) -> Identity:
        """Who makes a request as a person, counted as a read or a command. Raises Unauthorized or TooManyRequests.

        It is counted before anything else is looked at, so that a request that is wrong is not free.
        """
        identity = self.proved(request)
        self.paces.check(identity, reads=request.method in ("GET", "HEAD"))
        return identity

    def member(self, request: Request) -> Member:
        """The person whom the request's token names, counted. Raises Unauthorized or TooManyRequests."""
        return self.actor(request).member()

    def publisher(self, request: Request) -> Identity:
        """The service whose token the request carries. Raises Unauthorized, or Refused with `forbidden`."""
        return self.service(request, PUBLISH)

    def service(self, request: Request, deed: str) -> Identity:
        """The service whose token the request carries; `deed` is what only a service may do. Raises as `publisher`."""
        identity = self.proved(request)
        if identity.role != "service":
            raise Refused(Code.FORBIDDEN, f"only a service may {deed}: use a token with the role service")
        if deed == IMPORT and identity.tenant_id is not None:
            # An import keeps ids free that are those of all tenants, and has others' rows looked at.
            raise Refused(
                Code.FORBIDDEN,
                "only a service of the whole installation may import a tenant: use a token without tenantId",
            )
        return identity

    def admin(self, request: Request) -> Member:
        """The admin whose token the request carries, counted.

        Raises Unauthorized, or Refused with `forbidden` or `too_many_requests`.
        """
        identity = self.proved(request)
        if identity.role != "admin":
            raise Refused(Code.FORBIDDEN, "only an admin may see this: use a token with the role admin")
        self.paces.check(identity, reads=True)
        return identity.member()

    def trace_of(self, request: Request) -> str | None:
        """What the log and the traces call what a post is about to record; None for other requests."""
        trace = request.trace
        if not isinstance(trace, Trace):
            return None
        traces = self.telemetry.traces
        return trace.text if traces.spans is None else traces.follow(trace, request.path)

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

    def connected(self, tenant_id: int, user_id: int) -> bool | msgspec.UnsetType:
        """Whether a user is connected now; unset where presence is off."""
        return self._users.connected(tenant_id, user_id) if self.settings.presence else msgspec.UNSET

    def publish(self, command: Publish) -> Coroutine[Any, Any, Published]:
        """Let the router record an event. Raises Refused, KernelError or StoreError."""
        if self.telemetry.traces.spans is not None:
            self.telemetry.traces.asked(command.trace)
        return self.router.ask_nowait(command, self.settings.command_timeout)


def tenant_of(identity: Identity, named: int | None) -> int:
    """The tenant that a request is about, which has `named` it or has a token that does.

    Raises:
        Refused: `invalid`, neither does; `forbidden`, the token is of another one.
    """
    if identity.tenant_id is None:
        if named is None:
            raise Refused(Code.INVALID, "tenantId: is missing: this token is of no tenant, so name the user's")
        return named
    if named not in (None, identity.tenant_id):
        raise Refused(Code.FORBIDDEN, f"tenantId: this token is of tenant {identity.tenant_id} only: leave it out")
    return identity.tenant_id


def header_key(request: Request) -> str | None:
    """The `Idempotency-Key` header."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not (1 <= len(key) <= lengths.KEY and key.isascii() and key.isprintable()):
        raise Refused(Code.INVALID, f"Idempotency-Key: must be 1 to {lengths.KEY} printable ASCII characters")
    return key


def path_id(found: dict[str, str]) -> int:
    """The id in the path. A number that no id can be is answered like a missing id."""
    text = found["id"]
    # The length is checked first, because Python refuses to read a number of thousands of digits.
    if len(text) > len(str(MAX_ID)) or not 1 <= int(text) <= MAX_ID:
        raise not_found()
    return int(text)
