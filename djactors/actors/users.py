"""The register of connected users: finds each user's actor, and tells the right actors of a commit.

Rules:
  * There is one presence and one actor for each user with a socket. The actor starts with the first socket and stops a
    while after the last.
  * Nothing here waits for a user. If a user's mailbox is full, the actor is marked stale and reads the log later.
  * If somebody else has written to the database, an old copy may have been put back. Then nobody is told what a commit
    changed. Instead every actor reads the log, and first looks there for what its sockets were told.
  * An actor without sockets is not told of changes but marked stale. Otherwise it would never stop in a busy tenant.
  * If a crash drops the CONNECT of a socket, the socket is disconnected, so that its client is not left without an
    answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from math import inf
from typing import Any

import trio

from djactors.actors.accounts import Accounts
from djactors.actors.announcer import AT_ONCE, TOLD_PER_TURN, Announcer, Telling
from djactors.actors.command_ref import CommandRef
from djactors.actors.deliveries import Counts, Deliver, Numbering
from djactors.actors.onlookers import Onlookers
from djactors.actors.pid import PidIssuer
from djactors.actors.presence import Attach, Presence, Socket, UserMessage
from djactors.actors.resume import resume_of
from djactors.actors.user import Inbox, Surroundings, UserActor
from djactors.config import Settings
from djactors.domain.accounts import Account
from djactors.domain.commands import Introduce, Recorded
from djactors.domain.marks import Offset
from djactors.domain.permissions import Person
from djactors.kernel import (
    ActorSpec,
    ActorStopped,
    ChildCrashed,
    ChildQuarantined,
    ChildStatistics,
    ChildStopped,
    Exhausted,
    Intensity,
    MailboxFull,
    Restart,
    Supervisor,
    SupervisorEvent,
    SupervisorNotRunning,
    TooManyChildren,
)
from djactors.telemetry import Telemetry

USER_INTENSITY = Intensity(max_restarts=3, period=60.0)
"""A user whose data crashes the actor is set aside after three tries; the clients' own backoff brings the next one."""

MAX_REPLAYS = 1
"""Slices of the log that are read at once. One keeps the loop busy; with two the threads fought over the interpreter:
when a thousand clients returned together it took longer, and the others waited twenty times as long."""


class Users:
    """All connected users of one server.

    Args:
        inbox: where actors read their snapshots.
        pids: gives each socket its pid.
        settings: mailbox size, idle time, sockets per user.
        telemetry: counts and logs.
        router: is told of those who come for the first time.
        rng: spreads pauses before restarts.
        accounts_known_for: seconds for which the account of somebody who is not connected is known; see `Accounts`.

    Attributes:
        onlookers: those who are told who comes and goes.
        announcer: goes on with what is told to many.
    """

    def __init__(
        self,
        inbox: Inbox,
        pids: PidIssuer,
        settings: Settings,
        telemetry: Telemetry,
        router: Callable[[], CommandRef],
        rng: random.Random | None = None,
        accounts_known_for: float = inf,
    ) -> None:
        self._rng = rng
        self._pids = pids
        self._settings = settings
        self._telemetry = telemetry
        self._router = router
        self._tenants: dict[int, dict[int, Presence]] = {}
        self._by_name: dict[str, Presence] = {}
        self._commits = Numbering()
        self._accounts = Accounts(inbox.account, accounts_known_for)
        self._supervisor: Supervisor | None = None
        self.onlookers = Onlookers(self.connected, self.told)
        # Made once: a bound method for each user would take 80 bytes.
        self._note = self.onlookers.note
        self._surroundings = Surroundings(
            inbox,
            self._commits,
            pids=pids,
            telemetry=telemetry,
            turns=trio.Semaphore(MAX_REPLAYS),
            replay_limit=settings.replay_limit,
            idle_after=max(settings.passivate_after, MIN_IDLE),
            forget=self._forget,
            introduce=self._introduce,
            lost=self.lost,
        )
        # One for all of them. Each has a name of its own.
        self._spec: ActorSpec[UserMessage, None] = ActorSpec(
            "user",
            UserActor,
            restart=Restart.TRANSIENT,
            mailbox_capacity=settings.user_mailbox,
            keeps_task=False,
            intensity=USER_INTENSITY,
            when_exhausted=Exhausted.QUARANTINE,
        )
        self.announcer = Announcer(self._doubt_tenant, self.look)

    def supervisor(self) -> Supervisor:
        """A fresh supervisor for the user actors. A new one means that the old one failed: its users start over."""
        for presence in self.presences():
            presence.disconnect("users_restarted")
        self.announcer.drop_all()
        self._tenants.clear()
        self._by_name.clear()
        self._telemetry.metrics.users.clear()
        self._supervisor = Supervisor(
            "users", on_event=self.observe, max_children=self._settings.max_connections, rng=self._rng
        )
        return self._supervisor

    def number_commit(self) -> int:
        """The number of a commit that is about to be asked for, to be given to `deliver`."""
        return self._commits.next()

    def presences(self) -> list[Presence]:
        """Everybody who is connected or was a moment ago."""
        return list(self._by_name.values())

    def actor(self, presence: Presence) -> ChildStatistics | None:
        """How the user's actor is; None if it has gone."""
        if self._supervisor is None or presence.name not in self._supervisor:
            return None
        return self._supervisor.child_statistics(presence.name)

    def attach(self, tenant_id: int, person: Person, socket: Socket, auth: Mapping[str, Any]) -> None:
        """Give a socket that has proved who it is to its user's actor, which will answer its CONNECT.

        `auth` may name the point from which the client wants to go on. An older socket of the same pid is superseded:
        its connection is one that only its client knows to be dead. A socket that cannot be taken now is disconnected:
        its client tries again.
        """
        user_id = person.user_id
        resume = resume_of(auth, tenant_id, user_id, recovery=socket.recovery, pids=self._pids)
        pid = None if resume is None else resume.pid
        try:
            presence = self._presence(tenant_id, person)
            older = presence.find(pid)
            if older is not None:
                presence.discard(older)
                older.disconnect("superseded")
            if presence.socket_count >= self._settings.max_sockets_per_user:
                self._refuse(tenant_id, user_id, socket, "too_many_sockets")
            else:
                presence.ref.tell_nowait(Attach(socket, resume))
                presence.attaching[socket] = pid
        except (ActorStopped, MailboxFull, TooManyChildren, SupervisorNotRunning) as error:
            self._refuse(tenant_id, user_id, socket, type(error).__name__)

    def detach(self, tenant_id: int, user_id: int, socket: Socket) -> None:
        """Forget a socket that has closed. Harmless for one that was never attached."""
        presence = self._present(tenant_id, user_id)
        if presence is not None:
            presence.discard(socket)
        self.onlookers.leave(tenant_id, socket)

    def connected(self, tenant_id: int, user_id: int) -> bool:
        """Whether a user has a socket that was answered."""
        presence = self._tenants.get(tenant_id, {}).get(user_id)
        return presence is not None and bool(presence.sockets)

    def account(self, tenant_id: int, user_id: int) -> Account | None:
        """What the tenant says of a user, as far as that is known without asking the store; None if it is not."""
        presence = self._present(tenant_id, user_id)
        if presence is not None and presence.account is not None:
            return presence.account
        return self._accounts.get((tenant_id, user_id))

    async def look_up(self, tenant_id: int, user_id: int) -> Account:
        """What the tenant says of a user: true until other tasks have a turn. Raises StoreError."""
        return self.account(tenant_id, user_id) or await self._accounts.look_up((tenant_id, user_id))

    async def drop_keys(self, keys: Collection[str]) -> None:
        """Let those sockets go that have proved who they are with a key of one of these names.

        Lets other tasks run as `deliver` does.
        """
        told = 0
        for presence in self.presences():
            for socket in [socket for socket in presence.sockets if socket.key in keys]:
                presence.discard(socket)
                socket.disconnect("key_dropped")
            for socket in [socket for socket in presence.attaching if socket.key in keys]:
                presence.attached(socket)
                socket.disconnect("key_dropped")
            told = await _pause(told + 1)

    def told(self, tenant_id: int, user_id: int, socket: Socket) -> Offset | None:
        """Up to which offset a socket was told everything: what its unlogged packets carry.

        None for a socket that still waits for the answer to its CONNECT, or is gone: it can be sent nothing.
        """
        presence = self._present(tenant_id, user_id)
        return None if presence is None else presence.told(socket)

    def told_user(self, tenant_id: int, user_id: int) -> Offset | None:
        """Up to which offset the foremost of a user's sockets was told everything; None where the user has none.

        A list that the user is given is to have this in its past.
        """
        presence = self._present(tenant_id, user_id)
        return presence.at if presence is not None and presence.sockets else None

    def standing(self) -> dict[int, int]:
        """For each tenant in which somebody is connected, the number of the change that the hindmost was told last."""
        standing: dict[int, int] = {}
        for tenant_id, present in self._tenants.items():
            numbers = [presence.hindmost() for presence in present.values() if presence.sockets]
            if numbers:
                standing[tenant_id] = min(numbers)
        return standing

    async def bring_up(self, wanted: Mapping[int, int]) -> None:
        """Have those whom nothing has concerned for long look where the log stands; their sockets hear it with a count.

        Otherwise the history that such a user was told last could never be purged while they are connected. `wanted`
        says of each tenant up to which number history is to go. Lets other tasks run as `deliver` does.
        """
        told = 0
        for tenant_id, number in wanted.items():
            for presence in list(self._tenants.get(tenant_id, {}).values()):
                if presence.at.seq < number:
                    self._make_look(presence)
                    told = await _pause(told + 1)

    def counts_behind(self, tenant_id: int, user_id: int, seq: int) -> Counts | None:
        """The counts that a user's sockets were told last, if those are of a change behind the one of this number."""
        presence = self._present(tenant_id, user_id)
        if presence is None or presence.stale or not presence.sockets:
            return None
        return presence.counts if presence.at.seq > seq else None

    async def deliver(self, recorded: Recorded, committed_at: float, number: int) -> None:
        """Tell the actors of those who are connected what a commit changed for them, in the order of the log.

        Lets other tasks run each time it has told as many as `TOLD_PER_TURN`. Where more than `AT_ONCE` are told, the
        announcer goes on with it. Who comes meanwhile starts from a snapshot that holds the commit; cancelled, it
        leaves the others untold (see `reread`).

        Args:
            recorded: what the commit changed.
            committed_at: when it was durable, in Trio's time.
            number: the commit's.
        """
        if recorded.accounts:
            self._take_in(recorded.accounts)
        if recorded.others_wrote:
            # Nobody is told: everybody looks whether the log has what they know, and what it has behind that.
            await self.doubt()
            return
        for tenant_id in recorded.ended_in:
            await self.begin_anew(tenant_id)
        told = 0
        for tenant_id, changes in recorded.changes.items():
            told = await _pause(told)
            present = self._tenants.get(tenant_id)
            if not present or tenant_id in recorded.ended_in:
                continue
            telling = Telling(present, changes, recorded, committed_at, number, self._tell)
            told_here = 0
            while not self.announcer.is_telling(tenant_id) and told_here < AT_ONCE:
                if telling.step():
                    break
                told_here += telling.told
                await trio.lowlevel.checkpoint()
            else:
                await self.announcer.take(tenant_id, telling)
            told += telling.told

    def in_doubt(self) -> None:
        """A commit has failed. A database of this process alone has stored nothing of it."""

    def reread(self) -> None:
        """Have every actor read the log: a commit may have happened of which nobody was told."""
        self._forget_accounts()
        for presence in self.presences():
            self._make_look(presence)

    async def doubt(self) -> None:
        """Have everybody look for what they were told in the log, before they are told anything more.

        For whoever learns that somebody else has written to the database, that it may be another one than before, or
        that something which was told is not in it. What is on its way to the actors is not told any more. Sockets that
        know what is lost are closed by their actor. Lets other tasks run as `deliver` does.
        """
        self._commits.doubt()
        self._forget_accounts()
        self._telemetry.log.warning("the database may be another one than before: is what was told still in it?")
        presences = self.presences()
        for presence in presences:
            presence.stale = True
        self.announcer.drop_all()
        told = 0
        for presence in presences:
            told = await _pause(told + 1)
            self._make_look(presence)

    def has_tenant(self, tenant_id: int) -> bool:
        """Whether somebody of a tenant is connected, or was a moment ago."""
        return tenant_id in self._tenants

    async def look(self, tenant_id: int) -> None:
        """Have everybody of a tenant read the log, before they are told anything more.

        Lets other tasks run as `deliver` does.
        """
        presences = self._doubt_tenant(tenant_id)
        told = 0
        for presence in presences:
            self._make_look(presence)
            told = await _pause(told + 1)

    async def begin_anew(self, tenant_id: int) -> None:
        """Close the sockets of everybody in a tenant whose log was purged up to its end, or that begins or ends to be
        imported: whoever comes back is told to begin anew.

        Lets other tasks run as `deliver` does.
        """
        told = 0
        self.announcer.drop(tenant_id)
        # An import brings the accounts of people with it who may be known as nobody.
        self._accounts.forget()
        for presence in list(self._tenants.get(tenant_id, {}).values()):
            presence.disconnect("history_ended")
            presence.forget_account()
            # Who is being answered at this moment is answered from before, and looks behind that.
            self._make_look(presence)
            told = await _pause(told + 1)

    async def look_at_accounts(self, tenant_id: int, user_ids: Collection[int] | None) -> None:
        """Have what the tenant says of these users read again, or of all where it is not known of whom.

        Lets other tasks run as `deliver` does.
        """
        present = self._tenants.get(tenant_id, {})
        told = 0
        for user_id in list(present) if user_ids is None else user_ids:
            presence = present.get(user_id)
            if presence is not None:
                presence.forget_account()
                self._make_look(presence)
                told = await _pause(told + 1)

    async def lost(self, tenant_id: int, user_id: int) -> None:
        """What a user was told is not in the log. Unless that is in doubt already, doubt what everybody was told."""
        presence = self._present(tenant_id, user_id)
        if presence is not None and presence.read >= self._commits.doubted:
            await self.doubt()

    def observe(self, event: SupervisorEvent) -> None:
        """Look after the sockets of an actor that has crashed or was set aside; log and count it."""
        presence = self._by_name.get(event.child)
        match event:
            case ChildCrashed(error=error, dropped=dropped):
                self._telemetry.metrics.restarts.labels("user").inc()
                self._telemetry.log.error("user actor crashed", actor=event.child, exc_info=error)
                _disconnect_lost(dropped)
                if presence is not None:
                    presence.disconnect("actor_crashed")
            case ChildQuarantined(seconds=seconds, dropped=dropped):
                self._telemetry.metrics.quarantines.labels("user").inc()
                self._telemetry.log.error("user actor set aside", actor=event.child, seconds=seconds)
                _disconnect_lost(dropped)
                if presence is not None:
                    presence.disconnect("actor_quarantined")
            case ChildStopped(dropped=dropped):
                _disconnect_lost(dropped)
                if presence is not None and not presence.ref.alive:
                    presence.disconnect("actor_stopped")
                    self._forget(presence)

    def _doubt_tenant(self, tenant_id: int) -> list[Presence]:
        """Mark everybody of a tenant stale, and return them."""
        presences = list(self._tenants.get(tenant_id, {}).values())
        for presence in presences:
            presence.stale = True
        return presences

    def _present(self, tenant_id: int, user_id: int) -> Presence | None:
        """A user's presence; None where the user has none."""
        present = self._tenants.get(tenant_id)
        return None if present is None else present.get(user_id)

    def _refuse(self, tenant_id: int, user_id: int, socket: Socket, reason: str) -> None:
        self._telemetry.refusals.refused("attach", "socket refused", code=reason, tenant_id=tenant_id, user_id=user_id)
        socket.disconnect("user_unavailable")

    def _presence(self, tenant_id: int, person: Person) -> Presence:
        user_id = person.user_id
        presence = self._present(tenant_id, user_id)
        if presence is None:
            if self._supervisor is None:
                raise SupervisorNotRunning("users")
            presence = Presence(tenant_id, person, self._note)
            presence.ref = self._supervisor.spawn_child(
                self._spec, name=presence.name, arguments=(presence, self._surroundings)
            )
            self._tenants.setdefault(tenant_id, {})[user_id] = self._by_name[presence.name] = presence
            self._telemetry.metrics.users.add(1)
        return presence

    def _take_in(self, accounts: Mapping[tuple[int, int], Account]) -> None:
        """At once, and before anybody else is told anything of the commit: who was signed out hears no more of it."""
        self._accounts.changed(accounts)
        for (tenant_id, user_id), account in accounts.items():
            presence = self._present(tenant_id, user_id)
            if presence is not None:
                presence.accounts_told += 1
                presence.take_in(account)

    def _forget_accounts(self) -> None:
        self._accounts.forget()
        for presence in self.presences():
            presence.forget_account()

    def _introduce(self, command: Introduce) -> None:
        # A router that is full or down has other worries; the user's next actor tries again.
        with suppress(MailboxFull, ActorStopped):
            self._router().tell_nowait(command)

    def _forget(self, presence: Presence) -> None:
        if self._by_name.get(presence.name) is not presence:
            return
        del self._by_name[presence.name]
        present = self._tenants[presence.tenant_id]
        del present[presence.user_id]
        if not present:
            del self._tenants[presence.tenant_id]
        self._telemetry.metrics.users.add(-1)

    def _make_look(self, presence: Presence) -> None:
        presence.stale = True
        if presence.socket_count:
            # What says nothing new wakes an actor that is at rest, and it looks before anything else.
            with suppress(MailboxFull, ActorStopped):
                presence.ref.tell_nowait(Deliver((), None, trio.current_time(), self._commits.newest))

    def _tell(self, presence: Presence, delivery: Deliver) -> None:
        if presence.stale or not (presence.sockets or presence.attaching):
            # It will look into the store, which has all this, if it is not lost.
            self._make_look(presence)
            return
        try:
            presence.ref.tell_nowait(delivery)
        except MailboxFull:
            if not presence.stale:
                presence.stale = True
                self._telemetry.refusals.refused(
                    "user_mailbox_full",
                    "user mailbox full: the actor will read the log",
                    tenant_id=presence.tenant_id,
                    user_id=presence.user_id,
                )
        except ActorStopped:
            # It is going, or set aside: its sockets were or will be disconnected, and start from a snapshot.
            pass


async def _pause(told: int) -> int:
    """Let other tasks run if so many were told since they last did; how many were told since."""
    if told < TOLD_PER_TURN:
        return told
    await trio.lowlevel.checkpoint()
    return 0


MIN_IDLE = 1.0
"""Seconds. An actor that is to go with its last socket still needs a moment in which that socket can attach. It looks
so often whether its user is still connected: a shorter time would keep the processor busy with everybody at rest."""


def _disconnect_lost(dropped: tuple[UserMessage, ...]) -> None:
    for message in dropped:
        if isinstance(message, Attach):
            message.socket.disconnect("connect_lost")
