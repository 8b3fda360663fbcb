"""Socket.IO on one Engine.IO session: gives each socket to its user's actor, and turns emitted events into commands.

Rules:
  * CONNECT is always answered: with `connect_error` if a retry cannot help, otherwise by closing the transport.
  * Nothing here waits. Commands go to the router, which answers later; a socket has at most `MAX_PENDING` under way.
  * A person who goes too fast, over all their sockets and requests together (`paces.py`), is refused event by event; a
    socket that goes on all the same is closed.
  * An engine session belongs to the first user who connected on it: another user's token is refused there.
  * A client is warned before its token expires and can replace the token. Otherwise the connection is closed some time
    after the token has expired.

Source: the contract's section "Socket.IO".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from djactors.actors.command_ref import CommandRef
from djactors.actors.deliveries import Outgoing, encoded
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain.accounts import Account
from djactors.domain.commands import Counted, Published
from djactors.domain.errors import Code, Refused
from djactors.domain.ids import id_of
from djactors.domain.notifications import encode
from djactors.domain.packets import AUTH_EXPIRING, Expiring
from djactors.domain.times import utc_text
from djactors.edge import refusals
from djactors.edge.answers import Answer, ErrorDetail, Failed, Ok, Refreshed
from djactors.edge.auth import Authenticator, Member, Unauthorized, in_force
from djactors.edge.commands import (
    REFRESH,
    UNWATCH_PEOPLE,
    WATCH_PEOPLE,
    Nothing,
    Refresh,
    answer_of,
    command_of,
    payload_of,
)
from djactors.edge.errors import TooManyRequests, error_of
from djactors.edge.paces import Paces
from djactors.engine import BaseSocket, Session, SocketHandler
from djactors.kernel import KernelError
from djactors.protocol import AckReceived, EventReceived
from djactors.telemetry import Telemetry

NAMESPACE = "/"
"""The only namespace there is."""

MAX_PENDING = 64
"""Commands of one socket that may be under way: more than a person clicks, far less than the router's mailbox holds."""

MAX_REFUSALS = 100
"""Refusals in a row after which a socket is closed. A page that listens stops at the first; one that loops would have
each answered for ever."""


MAX_REFUSED_CONNECTS = 10
"""CONNECTs with a bad token in a row after which a session is closed. Each costs a look at a signature, and a page that
was refused needs another token, not another try."""


@dataclass(frozen=True)
class Services:
    """What every gateway of a server shares. `now` is the wall clock, as an aware time."""

    authenticator: Authenticator
    users: Users
    router: CommandRef
    paces: Paces
    settings: Settings
    telemetry: Telemetry
    random_token: Callable[[], str]
    now: Callable[[], datetime]


class UserSocket(BaseSocket):
    """What the user's actor writes to. It ends with the namespace or the session."""

    __slots__ = ("_gateway", "joined", "member", "recovery")

    def __init__(self, gateway: Gateway, namespace: str) -> None:
        super().__init__(gateway, namespace)
        self._gateway = gateway
        # Whether the actor has let it in.
        self.joined = False
        # The person, once the token has proved it. The actor does not know of the socket before.
        self.member: Member | None = None
        # Whether the client wants offsets.
        self.recovery = True

    @property
    def key(self) -> str:
        """The name of the key that has verified its token."""
        return "" if self.member is None else self.member.key

    def admit(self, account: Account) -> bool:
        """Take in the role that the tenant gave; end if the user was signed out."""
        return self._gateway.admit(self, account)


class Gateway(SocketHandler[UserSocket]):
    """The handler of one Engine.IO session. See the module for the rules."""

    __slots__ = (
        "_pending",
        "_refused_in_a_row",
        "_services",
        "_warned",
    )

    def __init__(self, session: Session, services: Services) -> None:
        super().__init__(session, max_attachment_bytes=services.settings.max_payload)
        self._services = services
        self._pending = 0
        self._warned = False
        self._refused_in_a_row = 0

    # What the Socket.IO layer asks and tells

    def serves(self, namespace: str) -> bool:
        """There is one."""
        if namespace == NAMESPACE:
            return True
        refusals.namespace_refused(self._services.telemetry, self.session.peer, NAMESPACE)
        return False

    def new_socket(self, namespace: str) -> UserSocket:
        """Return what the user's actor is to write to."""
        return UserSocket(self, namespace)

    def new_sid(self) -> str:
        """Return a name for a socket."""
        return self._services.random_token()

    def on_connect(self, socket: UserSocket, auth: dict[str, Any]) -> None:
        """Give the socket to the actor of whoever the token says it is, which answers."""
        try:
            member = self._identify(auth)
            self._services.paces.check_read(member)
        except TooManyRequests:
            # Only a loop connects and leaves so often.
            rule = f"at most {self._services.settings.read_rate:g} reads a second, and a CONNECT is one"
            self._close_for_pace("CONNECTs without a pause", rule)
            return
        except Unauthorized as refusal:
            self._turn_away(socket, refusal)
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= MAX_REFUSED_CONNECTS:
                self._close_for_pace("bad tokens in a row", f"at most {MAX_REFUSED_CONNECTS} of them")
            return
        self._refused_in_a_row = 0
        self._warned = False
        # Proven once it is let in: the tenant may have signed this user out, which is not always known yet.
        self.session.owner = member.tenant_id, member.user_id
        socket.member = member
        socket.recovery = auth.get("recovery") is not False
        self._services.users.attach(member.tenant_id, member.person(), socket, auth)

    def on_accept(self, socket: UserSocket, sid: str) -> None:
        """The user's actor has let the client in."""
        socket.joined = True
        self.session.prove(self.session.owner)
        self._tell("connected", socket, transport=self.session.transport)

    def on_event(self, socket: UserSocket, event: EventReceived) -> None:
        """Make a command of what was emitted, which the router answers later."""
        member = socket.member
        # The protocol lets an event through only after its CONNECT was accepted.
        assert member is not None
        try:
            self._check_pace(member)
            if event.name == REFRESH:
                self._acknowledge(socket, event, self._refresh(payload_of(Refresh, event.args), socket, member))
                return
            self._check_may_ask(member)
            if event.name in (WATCH_PEOPLE, UNWATCH_PEOPLE):
                self._watch_people(event, socket, member)
                return
            command = command_of(event.name, event.args, member, test_events=self._services.settings.test_events)
            self._services.router.request_nowait(command, lambda outcome: self._answered(socket, event, outcome))
        except (Refused, Unauthorized, KernelError) as error:
            self._fail(socket, event, error)
        else:
            self._pending += 1

    def on_ack(self, socket: UserSocket, ack: AckReceived) -> None:
        """Count an ack that nobody asked for: the server never asks for one."""
        assert socket.member is not None
        with suppress(TooManyRequests):
            self._check_pace(socket.member)

    def on_disconnect(self, socket: UserSocket, reason: str) -> None:
        """Have the user's actor forget the socket."""
        member = socket.member
        if member is not None:
            self._services.users.detach(member.tenant_id, member.user_id, socket)
            self._tell("disconnected", socket, reason=str(reason))

    def on_tick(self, now: float) -> None:
        """Look whether the token is about to end. The heartbeat's pace is exact enough for that."""
        for socket in self.sockets:
            if socket.member is not None:
                self._check_expiry(socket, socket.member)

    def admit(self, socket: UserSocket, account: Account) -> bool:
        """Have a socket take in what the tenant says of its user; see `UserSocket`."""
        member = socket.member
        assert member is not None
        try:
            socket.member = in_force(member, account)
        except Unauthorized as refusal:
            if socket.joined:
                self._services.telemetry.metrics.refusals.labels(refusal.code).inc()
                socket.disconnect("signed_out" if account.active else "deactivated")
            else:
                self._turn_away(socket, refusal)
            return False
        return True

    # The rest is ours

    def _turn_away(self, socket: UserSocket, refusal: Unauthorized) -> None:
        refusals.connect_refused(self._services.telemetry, self.session.peer, refusal)
        socket.refuse("Unauthorized", {"code": refusal.code})

    def _check_expiry(self, socket: UserSocket, member: Member) -> None:
        settings = self._services.settings
        left = member.expires_at - self._services.now().timestamp()
        if left <= -settings.expiry_grace:
            refusals.socket_closed(
                self._services.telemetry,
                socket.peer,
                "token_expired",
                "no new token",
                f"auth:refresh within {settings.expiry_grace:g} s after the token has expired",
                tenant_id=member.tenant_id,
                user_id=member.user_id,
            )
            self.session.close("token_expired")
        elif left <= settings.expiry_warning + settings.ping_interval and not self._warned:
            told = self._services.users.told(member.tenant_id, member.user_id, socket)
            if told is None:
                return  # The CONNECT is not answered yet: nothing may come before that. The next tick will do.
            self._warned = True
            body = encode(Expiring(_moment(member.expires_at)))
            socket.send(encoded([Outgoing(AUTH_EXPIRING, body, told)], stamped=socket.recovery))

    def _check_pace(self, member: Member) -> None:
        try:
            self._services.paces.check_command(member)
        except TooManyRequests:
            self._refused_in_a_row += 1
            if self._refused_in_a_row >= MAX_REFUSALS:
                rule = f"at most {self._services.settings.emit_rate:g} events a second"
                self._close_for_pace("events without a pause", rule)
            raise
        self._refused_in_a_row = 0

    def _close_for_pace(self, came: str, rule: str) -> None:
        if self.session.reason is None:
            refusals.socket_closed(self._services.telemetry, self.session.peer, "too_many_requests", came, rule)
            self.session.close("too_many_requests")

    def _identify(self, auth: dict[str, Any]) -> Member:
        member = self._services.authenticator.identify(auth.get("token")).member()
        tenant_id = auth.get("tenantId")
        # A page keeps it as text in the browser's storage.
        if tenant_id is not None and id_of(tenant_id) != member.tenant_id:
            reason = f"auth.tenantId: is not {member.tenant_id}, the tenant of the token"
            raise Unauthorized("tenant_mismatch", "the token is another tenant's", reason)
        if self.session.owner not in (None, (member.tenant_id, member.user_id)):
            raise Unauthorized("session_of_another_user", "this connection is another user's")
        return self._in_force(member)

    def _in_force(self, member: Member) -> Member:
        """As far as that is known already; where it is not, the user's actor reads it, and says `admit`."""
        account = self._services.users.account(member.tenant_id, member.user_id)
        return member if account is None else in_force(member, account)

    def _tell(self, what: str, socket: UserSocket, **more: Any) -> None:
        member = socket.member
        if member is not None:
            self._services.telemetry.log.info(
                what, tenant_id=member.tenant_id, user_id=member.user_id, peer=socket.peer, **more
            )

    def _check_may_ask(self, member: Member) -> None:
        if member.expires_at + self._services.settings.expiry_grace <= self._services.now().timestamp():
            raise Unauthorized("token_expired", "the token has expired")
        if self._pending >= MAX_PENDING:
            raise Refused(Code.TOO_MANY_REQUESTS, f"at most {MAX_PENDING} commands at a time: wait for their acks")

    def _refresh(self, payload: Refresh, socket: UserSocket, before: Member) -> Refreshed:
        member = self._services.authenticator.identify(payload.token).member()
        if (member.tenant_id, member.user_id) != (before.tenant_id, before.user_id):
            raise Unauthorized("tenant_mismatch", "the token is somebody else's")
        member = self._in_force(member)
        socket.member = member
        self._warned = False
        return Refreshed(expires_at=_moment(member.expires_at))

    def _watch_people(self, event: EventReceived, socket: UserSocket, member: Member) -> None:
        payload_of(Nothing, event.args)
        onlookers = self._services.users.onlookers
        if event.name == UNWATCH_PEOPLE:
            onlookers.leave(member.tenant_id, socket)
        elif not self._services.settings.presence:
            raise Refused(Code.FORBIDDEN, "nobody is told who is connected: the operator has turned presence off")
        else:
            onlookers.look(member.tenant_id, member.user_id, socket)
        self._acknowledge(socket, event, Ok())

    def _answered(self, socket: UserSocket, event: EventReceived, outcome: Published | Counted | Exception) -> None:
        self._pending -= 1
        if isinstance(outcome, Exception):
            self._fail(socket, event, outcome)
        else:
            self._acknowledge(socket, event, answer_of(event.name, outcome))

    def _acknowledge(self, socket: UserSocket, event: EventReceived, answer: Answer) -> None:
        if event.ack_id is not None:
            socket.ack(event.ack_id, answer)

    def _fail(self, socket: UserSocket, event: EventReceived, error: Exception) -> None:
        member = socket.member
        refusals.emit_refused(
            self._services.telemetry,
            self.session.peer,
            event.name[:50],
            error,
            tenant_id=None if member is None else member.tenant_id,
            user_id=None if member is None else member.user_id,
        )
        if event.ack_id is not None:
            code, message = error_of(error)
            socket.ack(event.ack_id, Failed(error=ErrorDetail(code=code, message=message)))


def _moment(unix: float) -> str:
    return utc_text(datetime.fromtimestamp(unix, UTC))
