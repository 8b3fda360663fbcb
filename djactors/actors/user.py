"""The actor of one connected user: the unread count, and what each of the user's sockets is sent.

Rules:
  * A user whom the tenant does not know yet, or not any more, is introduced, because the token proves who the user is.
  * The actor starts from a snapshot of the inbox and drops changes that the snapshot already has: those whose sequence
    number is at or below its own. The router knows the actor's address before the snapshot is read, so no change is
    missed.
  * Whenever the actor reads the store, the same snapshot is searched for the actor's own offset. If the log does not
    have this offset, somebody put an old copy of the database back. The sockets that were told what is lost are then
    closed, and each is judged anew when it returns.
  * A commit that was under way while the actor read the store may have another past than what was read. The actor then
    reads the store once more.
  * The actor takes everything in its mailbox and writes to each socket once: the changes in order, then one unread
    count. The count is sent whenever a commit has touched it, even if it is then what it was before: the ack of a
    command has a count as well, and what was committed behind that command may have undone its difference.
  * It never waits for a socket. A socket that cannot keep up closes itself and resumes.
  * A socket that missed something is behind. It gets the log in slices, each when the one before is on its way, and
    nothing else until it has caught up. The user's other sockets are written to meanwhile.
  * The actor is marked stale when a delivery did not fit into its mailbox, when one came while nobody was connected, or
    when somebody else has written to the database. A stale actor reads the store before it tells anything more, and its
    sockets are then behind.
  * After a crash the new instance closes the sockets that it finds. Their clients come back and are brought up to date.
  * While the tenant is being imported, the actor turns everybody away.
  * Sockets attach to the actor. When the last one has been gone for a while, the actor stops.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import trio

from djactors.actors.deliveries import Counts, Deliver, Numbering, Outgoing, Slice, encoded, slice_of, unread_count
from djactors.actors.pid import PidIssuer
from djactors.actors.presence import Attach, Presence, Seat, Socket, UserMessage
from djactors.domain.accounts import Account
from djactors.domain.commands import Introduce
from djactors.domain.marks import Offset
from djactors.domain.notifications import encode
from djactors.domain.packets import CHANGES_RESET, Reset
from djactors.inbox.log import Astray, Replay
from djactors.kernel import Actor, Envelope
from djactors.protocol import EncodedPacket
from djactors.store.errors import StoreInPart
from djactors.telemetry import Telemetry

T = TypeVar("T")

IMPORTING = "tenant_importing"
"""Why somebody is disconnected whose tenant is not here yet."""

REPLAY_SLICE = 100
"""Changes read and sent at a time. They take a reader half a millisecond, packets included, and the loop a tenth."""


class InboxState(Protocol):
    """Where a user's inbox stands."""

    @property
    def unread(self) -> int:
        """Unread notifications."""

    @property
    def unseen(self) -> int:
        """How many of the unread ones are unseen."""

    @property
    def at(self) -> Offset:
        """The tenant's newest change in the same snapshot."""

    @property
    def known(self) -> bool:
        """Whether the tenant knows the user."""

    @property
    def account(self) -> Account:
        """What the tenant says of the user."""

    @property
    def follows(self) -> bool:
        """Whether what was told is in the past of this."""


class Inbox(Protocol):
    """What the actor asks of the store, and `Users` as well."""

    async def account(self, tenant_id: int, user_id: int) -> Account:
        """What the tenant says of a user."""

    async def snapshot(self, tenant_id: int, user_id: int, told: Offset | None = None) -> InboxState:
        """The unread count and the offset that it belongs to, from one snapshot, which is looked through for `told`."""

    async def replay(
        self,
        tenant_id: int,
        user_id: int,
        since: Offset,
        *,
        until: Offset,
        limit: int,
        at_most: int | None = None,
        make: Callable[[Replay], T],
    ) -> T | Astray:
        """What is made of what the user may see of what came after `since`, up to `until`; or why the log does not lead
        there. It is made on another thread than the actor's."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the actors of all users have in common, kept once for all of them.

    Attributes:
        inbox: where they read their snapshots.
        commits: how far the commits are.
        pids: gives each socket its pid.
        telemetry: counts and logs.
        turns: who reads the log holds one.
        replay_limit: changes that a socket is given at most when it resumes.
        idle_after: seconds without a socket after which an actor stops.
        forget: takes an actor that stops out of the register.
        introduce: makes a user known to the tenant.
        lost: is told of a user who was told what is not in the log.
    """

    inbox: Inbox
    commits: Numbering
    pids: PidIssuer
    telemetry: Telemetry
    turns: trio.Semaphore
    replay_limit: int
    idle_after: float
    forget: Callable[[Presence], None]
    introduce: Callable[[Introduce], None]
    lost: Callable[[int, int], Awaitable[None]]


class UserActor(Actor[UserMessage, None]):
    """One user. See the module for the rules."""

    __slots__ = ("_has_begun", "_presence", "_shared", "idle_after")

    batch_limit = 64
    idle_after: float

    def __init__(self, presence: Presence, surroundings: Surroundings) -> None:
        self._presence = presence
        self._shared = surroundings
        self.idle_after = surroundings.idle_after
        self._has_begun = False

    async def on_start(self) -> None:
        """Read the snapshot to start from."""
        presence = self._presence
        presence.disconnect("actor_restarted")
        presence.stale = False
        before = presence.accounts_told
        try:
            state = await self._shared.inbox.snapshot(presence.tenant_id, presence.user_id)
        except StoreInPart:
            # Whoever comes is turned away until the tenant is here.
            presence.stale = True
            return
        self._has_begun = True
        self._take_in(state, before)
        presence.counts, presence.at = (state.unread, state.unseen), state.at
        presence.read = self._shared.commits.newest

    def on_idle(self) -> bool:
        """Stop once nobody has been connected for a while."""
        if self._presence.sockets or trio.current_time() - self._presence.left_at < self.idle_after:
            return False
        self._shared.forget(self._presence)
        return True

    def on_tell_at_rest(self, message: UserMessage) -> bool:
        """Write a delivery straight to the sockets, because a task switch would double its cost."""
        presence = self._presence
        if type(message) is not Deliver or presence.stale:
            return False
        changes = message.changes
        if not changes or changes[-1].at.seq <= presence.at.seq:
            return True
        if message.number <= presence.read:
            return False
        news: Sequence[Outgoing] | Deliver = message
        if changes[0].at.seq <= presence.at.seq:
            news = [change for change in changes if change.at.seq > presence.at.seq]
        presence.at = changes[-1].at
        self._write(news, message.counts)
        if presence.sockets:
            self._shared.telemetry.metrics.delivery.observe(trio.current_time() - message.committed_at)
            if self._shared.telemetry.traces.followed:
                self._note_delivered(changes, message.committed_at)
        return True

    async def on_batch(self, batch: Sequence[Envelope[UserMessage, None]]) -> None:
        """Take in what happened, write each socket once."""
        presence = self._presence
        if presence.stale:
            try:
                await self._begin_or_catch_up()
            except StoreInPart:
                self._turn_away(batch)
                return
        news: list[Outgoing] = []
        written: list[Outgoing] = []
        # Those of the newest commit that has touched them.
        counts: Counts | None = None
        committed_at: float | None = None
        for envelope in batch:
            message = envelope.message
            if isinstance(message, Deliver):
                if message.number <= presence.read and message.changes and message.changes[-1].at.seq > presence.at.seq:
                    self._write(news, counts)
                    written += news
                    news, counts = [], None
                    await self._catch_up()
                    envelope.answer(None)
                    continue
                news.extend(change for change in message.changes if change.at.seq > presence.at.seq)
                if message.changes and message.changes[-1].at.seq > presence.at.seq:
                    presence.at = message.changes[-1].at
                    counts = counts if message.counts is None else message.counts
                    committed_at = message.committed_at if committed_at is None else committed_at
            else:
                # Those who were here hear of what came before; the newcomer's count is already after it.
                self._write(news, counts)
                written += news
                news, counts = [], None
                if isinstance(message, Attach):
                    await self._attach(message)
                else:
                    await self._advance(message.socket)
            envelope.answer(None)
        self._write(news, counts)
        if committed_at is not None and presence.sockets:
            self._shared.telemetry.metrics.delivery.observe(trio.current_time() - committed_at)
            if self._shared.telemetry.traces.followed:
                self._note_delivered([*written, *news], committed_at)

    async def _begin_or_catch_up(self) -> None:
        if not self._has_begun:
            await self.on_start()
            if not self._has_begun:
                raise StoreInPart
        await self._catch_up()

    def _turn_away(self, batch: Sequence[Envelope[UserMessage, None]]) -> None:
        """Let everybody go, because the tenant is being imported. A client that is disconnected comes back by itself,
        and one whose CONNECT is refused would not."""
        presence = self._presence
        presence.stale = True
        # What was the tenant's beginning before is not in its log.
        self._has_begun = False
        presence.disconnect(IMPORTING)
        for envelope in batch:
            message = envelope.message
            if isinstance(message, Attach) and message.socket in presence.attaching:
                presence.attached(message.socket)
                message.socket.disconnect(IMPORTING)
            envelope.answer(None)

    def _note_delivered(self, changes: Sequence[Outgoing], committed_at: float) -> None:
        """Tell whoever follows them that changes, which were committed then, have been written to the sockets."""
        presence = self._presence
        # Those that are behind get it later, from the log.
        sockets = sum(seat.position is None for seat in presence.sockets.values())
        ago = trio.current_time() - committed_at
        self._shared.telemetry.traces.delivered(
            changes, ago, presence.tenant_id, presence.user_id, sockets, str(presence.at)
        )

    async def _attach(self, attach: Attach) -> None:
        """Answer a CONNECT: with the old pid and what the client missed, or with a new one."""
        socket, presence, resume = attach.socket, self._presence, attach.resume
        if socket not in presence.attaching:
            return  # It closed while its message was on the way: nobody would ever take it out again.
        replay: Slice | None = None
        since = None if resume is None else resume.since
        if since is not None:
            if since.seq > presence.at.seq:
                # It read a list that is newer than what has been delivered here: others' changes move the tenant's log
                # without a word to this actor.
                await self._catch_up()
            replay = await self._read(socket, since, self._shared.replay_limit)
        if socket not in presence.attaching:
            return  # It closed meanwhile.
        presence.attached(socket)
        if presence.account is not None and not socket.admit(presence.account):
            return
        pid = None
        told: list[EncodedPacket] = []
        position, reload = presence.at, resume is not None and replay is None
        if reload:
            body = encode(Reset(str(presence.at)))
            told = encoded([Outgoing(CHANGES_RESET, body, presence.at)], stamped=socket.recovery)
            self._shared.telemetry.metrics.resumed.labels("reset").inc()
        elif resume is not None and replay is not None:
            assert resume.since is not None
            pid, position = resume.pid, resume.since
            self._shared.telemetry.metrics.resumed.labels("since" if pid is None else "pid").inc()
        if pid is None and socket.recovery:
            pid = self._shared.pids.issue(presence.tenant_id, presence.user_id, position, reload=reload)
        seat = Seat(pid, position)
        presence.seat(socket, seat)
        socket.accept(pid, [*told, *self._slice(socket, seat, replay)])
        self._go_on(socket, seat)

    async def _advance(self, socket: Socket) -> None:
        """Give a socket that is behind the next slice of what it missed, unless one is under way."""
        presence = self._presence
        seat = presence.sockets.get(socket)
        # Catching up may have overtaken the word that there is room.
        if seat is None or seat.position is None or seat.draining:
            return
        replay = await self._read(socket, seat.position)
        if presence.sockets.get(socket) is not seat:
            return
        if replay is None:
            # It took so long that the beginning of the log was purged meanwhile.
            presence.discard(socket)
            socket.disconnect("history_gone")
            return
        socket.send(self._slice(socket, seat, replay))
        self._go_on(socket, seat)

    async def _read(self, socket: Socket, since: Offset, at_most: int | None = None) -> Slice | None:
        """A slice of the log behind `since`, in turn with those of other users; None where it does not lead on.

        Both ends are looked for in the snapshot that it is read from.
        """
        presence = self._presence
        while True:
            async with self._shared.turns:
                found = await self._shared.inbox.replay(
                    presence.tenant_id,
                    presence.user_id,
                    since,
                    until=presence.at,
                    limit=REPLAY_SLICE,
                    at_most=at_most,
                    make=partial(slice_of, stamped=socket.recovery),
                )
            if isinstance(found, Slice):
                return found
            if found is Astray.SINCE:
                return None
            await self._look()
            for each, seat in presence.sockets.items():
                if seat.position is not None and not seat.draining:
                    presence.go_on(each)

    def _slice(self, socket: Socket, seat: Seat, replay: Slice | None) -> Sequence[EncodedPacket]:
        """What a socket is told with a slice; behind the last one the count, and the socket has caught up."""
        packets: Sequence[EncodedPacket] = ()
        if replay is not None:
            packets = replay.packets
            self._shared.telemetry.metrics.replayed.inc(len(packets))
            if replay.position.seq < self._presence.at.seq:
                seat.position = replay.position
                return packets
        seat.position = None
        badge = unread_count(self._presence.counts, self._presence.at)
        return [*packets, *encoded([badge], stamped=socket.recovery)]

    def _go_on(self, socket: Socket, seat: Seat) -> None:
        """Have a socket that is still behind continue when it has room."""
        if seat.position is not None and socket in self._presence.sockets:
            seat.draining = True
            socket.when_drained(lambda: self._presence.go_on(socket))

    def _write(self, news: Sequence[Outgoing] | Deliver, counts: Counts | None) -> None:
        """Send changes and, if they were touched, the counts to every socket that has caught up."""
        if counts is not None:
            self._presence.counts = counts
        elif not news:
            return
        counted = counts is not None
        forms: dict[bool, Sequence[EncodedPacket]] = {}
        # A socket that is found to be too slow leaves the dictionary while it is walked.
        for socket, seat in list(self._presence.sockets.items()):
            if seat.position is not None:
                continue
            packets = forms.get(socket.recovery)
            if packets is None:
                packets = forms[socket.recovery] = self._encode(news, counted=counted, stamped=socket.recovery)
            socket.send(packets)

    def _encode(self, news: Sequence[Outgoing] | Deliver, *, counted: bool, stamped: bool) -> Sequence[EncodedPacket]:
        if isinstance(news, Deliver):
            return news.packets(counted=counted, stamped=stamped)
        told = [*news, unread_count(self._presence.counts, self._presence.at)] if counted else news
        return encoded(told, stamped=stamped)

    async def _look(self) -> None:
        """Go to where the inbox stands. Who is connected is behind from then on, or goes if what they know is lost."""
        presence = self._presence
        presence.stale = False
        told = presence.at if any(seat.position is None for seat in presence.sockets.values()) else None
        # In turn: there may be a reason for everybody to look at once.
        async with self._shared.turns:
            before = presence.accounts_told
            state = await self._shared.inbox.snapshot(presence.tenant_id, presence.user_id, told)
        self._take_in(state, before)
        if not state.follows:
            await self._shared.lost(presence.tenant_id, presence.user_id)
        presence.read = self._shared.commits.newest
        for socket, seat in list(presence.sockets.items()):
            # Those that were behind already have been told less than this actor knew: their next slice is judged.
            if seat.position is None and not state.follows:
                presence.discard(socket)
                socket.disconnect("history_lost")
            elif seat.position is None and state.at != presence.at:
                seat.position = presence.at
        presence.counts, presence.at = (state.unread, state.unseen), state.at

    def _take_in(self, state: InboxState, before: int) -> None:
        """Take in what the tenant says of the user, unless a commit has said more since the read began."""
        presence = self._presence
        if presence.accounts_told == before:
            presence.take_in(state.account)
        if not state.known:
            # Told before the CONNECT is answered: whoever names this user from then on comes behind it.
            self._shared.introduce(Introduce(presence.tenant_id, presence.person))

    async def _catch_up(self) -> None:
        """Go to where the inbox stands, and give everybody who is behind then a slice."""
        await self._look()
        # The word that one of them has room may be what did not fit into the mailbox.
        for socket in list(self._presence.sockets):
            await self._advance(socket)
