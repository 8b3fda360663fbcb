"""A server without an edge: store, router and user actors; sockets that only write down what they are sent."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors.command_ref import CommandRef, command_ref
from djactors.actors.pid import PidIssuer
from djactors.actors.presence import Continue
from djactors.actors.router import Router
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain.accounts import Account
from djactors.domain.commands import Change, Command, Publish, Recorded
from djactors.domain.events import JobCreated, NotificationRequested
from djactors.domain.limits import Limits
from djactors.domain.marks import Offset
from djactors.domain.permissions import Person
from djactors.inbox.inbox import Inbox
from djactors.inbox.log import Astray, as_it_is
from djactors.inbox.pages import Snapshot
from djactors.kernel import ActorSpec, ActorStopped, MailboxFull, ServiceSpec, Supervisor
from djactors.protocol import EncodedPacket
from djactors.store.database import Database
from djactors.store.threads import InlineRunner
from djactors.telemetry import Telemetry, make_logger
from tests.offsets import number_of, offset_in

PID_KEY = b"k" * 32
COUNT = "notification:unread-count"
NEW = "notification:new"
RESET = "changes:reset"
UNLOGGED = (COUNT, RESET)


class Packet(NamedTuple):
    """One event as a client gets it."""

    name: str
    body: Any
    offset: str | None

    @property
    def seq(self) -> int:
        """The sequence number in the offset."""
        return number_of(self.offset)


class FakeSocket:
    """Writes down what it is sent, one list for each write."""

    def __init__(self, *, recovery: bool = True, roomy: bool = True) -> None:
        self.recovery = recovery
        # One that is not roomy sends nothing on before `drain`.
        self.roomy = roomy
        self._on_drained: Callable[[], None] | None = None
        self.pid: str | None = None
        self.accepted = False
        self.closed: str | None = None
        self.writes: list[list[Packet]] = []
        self.raw: list[EncodedPacket] = []
        self.on_close: Callable[[], None] = lambda: None
        self.account: Account | None = None
        self.issued_at = 0.0
        self.proved_with = "a key"

    def accept(self, pid: str | None, packets: Sequence[EncodedPacket]) -> None:
        assert not self.accepted
        self.accepted, self.pid = True, pid
        self._write(packets)

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        assert self.accepted
        self._write(packets)

    def when_drained(self, callback: Callable[[], None]) -> None:
        if self.closed is not None:
            return
        assert self._on_drained is None, "a socket has one slice under way, not two"
        if self.roomy:
            callback()
        else:
            self._on_drained = callback

    def drain(self) -> None:
        """What was sent is on its way."""
        callback, self._on_drained = self._on_drained, None
        if callback is not None:
            callback()

    @property
    def waits(self) -> bool:
        """Whether there is more to come once it has room."""
        return self._on_drained is not None

    def disconnect(self, reason: str) -> None:
        """As a session does: once it is closed, whoever attached it is told."""
        if self.closed is None:
            self.closed = reason
            self._on_drained = None
            self.on_close()

    @property
    def key(self) -> str:
        return self.proved_with

    def admit(self, account: Account) -> bool:
        """As a user's socket does: it ends where the user was signed out after its token was issued."""
        self.account = account
        if account.signed_out_at is None or account.signed_out_at <= self.issued_at:
            return True
        self.disconnect("signed_out")
        return False

    def leave(self) -> None:
        """The client goes away."""
        self.disconnect("client")

    @property
    def packets(self) -> list[Packet]:
        return [packet for write in self.writes for packet in write]

    @property
    def counts(self) -> list[int]:
        return [packet.body["count"] for packet in self.packets if packet.name == COUNT]

    @property
    def new(self) -> list[int]:
        """The ids of the notifications it was told of."""
        return [packet.body["id"] for packet in self.packets if packet.name == NEW]

    @property
    def offsets(self) -> list[str | None]:
        return [packet.offset for packet in self.packets]

    @property
    def logged(self) -> list[int]:
        """The sequence numbers of the changes it was told of."""
        return [packet.seq for packet in self.packets if packet.name not in UNLOGGED]

    def _write(self, packets: Sequence[EncodedPacket]) -> None:
        if self.closed is None:
            self.raw += packets
            self.writes.append([_decoded(packet) for packet in packets])


def _decoded(packet: EncodedPacket) -> Packet:
    assert packet.text[:2] == b"42"
    name, body, *rest = json.loads(packet.text[2:])
    assert len(rest) <= 1
    return Packet(name, body, rest[0] if rest else None)


class GatedStore:
    """A store whose calls can be held up, or made to fail, at the places where a race would be.

    Each hook is awaited at its place; by default it does nothing.
    """

    def __init__(self, store: Inbox) -> None:
        self.store = store
        self.before_snapshot = self.after_snapshot = self.before_changes = self._pass
        self.before_account = self.after_account = self._pass
        self.before_record = self.after_record = self._pass
        self.batches: list[int] = []

    async def _pass(self) -> None:
        pass

    async def account(self, tenant_id: int, user_id: int) -> Account:
        await self.before_account()
        account = await self.store.account(tenant_id, user_id)
        await self.after_account()
        return account

    async def snapshot(self, tenant_id: int, user_id: int, told: Offset | None = None) -> Snapshot:
        await self.before_snapshot()
        snapshot = await self.store.snapshot(tenant_id, user_id, told)
        await self.after_snapshot()
        return snapshot

    async def replay(self, tenant_id: int, user_id: int, since: Offset, **options: Any) -> Any:
        await self.before_changes()
        return await self.store.replay(tenant_id, user_id, since, **options)

    async def record(self, commands: Sequence[Command], is_awaited: Callable[[], bool]) -> Recorded:
        self.batches.append(len(commands))
        await self.before_record()
        recorded = await self.store.record(commands, is_awaited)
        await self.after_record()
        return recorded


class House:
    """The running server."""

    def __init__(self, path: Path, store: GatedStore, users: Users, router: CommandRef, telemetry: Telemetry) -> None:
        self.path = path
        self.store = store
        self.users = users
        self.router = router
        self.telemetry = telemetry

    def connect(
        self, user_id: int, tenant_id: int = 1, *, recovery: bool = True, roomy: bool = True, **auth: Any
    ) -> FakeSocket:
        """Attach a socket; its CONNECT, with this `auth`, is answered when the actor has run."""
        socket = FakeSocket(recovery=recovery, roomy=roomy)
        socket.on_close = lambda: self.users.detach(tenant_id, user_id, socket)
        self.users.attach(tenant_id, Person(user_id, "user", f"Person {user_id}"), socket, auth)
        return socket

    async def connected(self, user_id: int, tenant_id: int = 1, **options: Any) -> FakeSocket:
        socket = self.connect(user_id, tenant_id, **options)
        await wait_all_tasks_blocked()
        assert socket.accepted
        return socket

    def rouse(self) -> None:
        """Wake the actors that rest: what they are told until they run waits in their mailboxes, behind one message."""
        for presence in self.users.presences():
            with suppress(MailboxFull, ActorStopped):
                presence.ref.tell_nowait(Continue(FakeSocket()))

    def send(self, *commands: Command) -> list[Any]:
        """Send the commands at once, in this order; what comes of them, errors too, is put into the list."""
        outcomes: list[Any] = []
        for command in commands:
            self.router.request_nowait(command, outcomes.append)
        return outcomes

    async def do(self, *commands: Command) -> list[Any]:
        """Send the commands at once, and wait until everyone has been told what came of them."""
        outcomes = self.send(*commands)
        await wait_all_tasks_blocked()
        assert len(outcomes) == len(commands)
        return outcomes

    def offset(self, seq: int, tenant_id: int = 1) -> Offset:
        """The point in the log right after the change of this number."""
        return offset_in(self.path, seq, tenant_id)

    def at(self, seq: int, tenant_id: int = 1) -> str:
        """The same, as clients have it."""
        return str(self.offset(seq, tenant_id))

    async def log(self, user_id: int, since: int, tenant_id: int = 1) -> list[Change]:
        """What the user may see of the log behind this sequence number."""
        found = await self.store.store.replay(
            tenant_id, user_id, self.offset(since, tenant_id), limit=100_000, make=as_it_is
        )
        assert not isinstance(found, Astray)
        return found.changes

    def metric(self, name: str, /, **labels: str) -> float:
        return self.telemetry.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running(path: Path, **options: Any) -> AsyncIterator[House]:
    """A server with these settings, stopped at the end of the block. What is one commit is for the test to say."""
    settings = Settings(**{"commit_delay": 0.0, **options})
    telemetry = Telemetry(make_logger("json", "critical"))
    async with await Database.open(path, threads=InlineRunner) as database:
        now = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)
        store = GatedStore(Inbox(database, lambda: now, Limits(daily_limit=settings.daily_limit)))
        nonces = count()
        pids = PidIssuer(PID_KEY, lambda size: next(nonces).to_bytes(size, "big"))
        users = Users(store, pids, settings, telemetry, lambda: router)
        router_spec = ActorSpec(
            "router",
            lambda: Router(store, users, telemetry, settings.commit_batch, settings.commit_delay),
            mailbox_capacity=settings.router_mailbox,
        )
        announcer_spec = ServiceSpec("announcer", lambda: users.announcer)
        root = Supervisor("root", [ServiceSpec("users", users.supervisor), announcer_spec, router_spec])
        router = command_ref(root.ref(router_spec))
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run)
            yield House(path, store, users, router, telemetry)
            root.request_stop()


def note(user_id: int, tenant_id: int = 1, title: str = "Hello") -> Publish:
    """A notification for one user."""
    event = NotificationRequested(
        tenant_id=tenant_id, user_id=user_id, notification_type="note", priority="LOW", title=title
    )
    return Publish(event)


def job(tenant_id: int = 1, requester_id: int = 1000, assignee_id: int | None = None) -> Publish:
    """A job that everyone in the tenant sees come up."""
    return Publish(
        JobCreated(
            tenant_id=tenant_id,
            title="Banner Design",
            requester_id=tenant_id * requester_id,
            assignee_id=assignee_id,
        )
    )
