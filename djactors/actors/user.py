"""The actor of one connected user: the unread count, and what each of the user's sockets is sent.

Rules:
  * Whom the tenant does not know yet is introduced: the token that let them in proves who they are.
  * It starts from a snapshot of the inbox and drops what the snapshot already holds: a change whose sequence number is
    at or below its own. Its address is known to the router before the snapshot is read, so nothing falls in between.
  * It takes everything that is in its mailbox and writes to each socket once: the changes in order, then one unread
    count.
  * It never waits for a socket. A socket that cannot keep up closes itself and resumes.
  * A socket that missed something is behind: it is given the log in slices, the next one when the last is on its way,
    and hears of nothing else until it has caught up. Those beside it are written to meanwhile.
  * When a delivery did not fit into its mailbox, or came while nobody was connected, it is marked stale; all its
    sockets are then behind.
  * After a crash the new instance closes the sockets it finds: they come back and are brought up to date.
  * It asks nobody who is connected; sockets attach to it. When the last one has been gone for a while, it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from djactors.actors.packets import CHANGES_RESET, ChangePackets, offset, unlogged, unread_count
from djactors.actors.pid import PidIssuer
from djactors.actors.presence import Attach, Deliver, Presence, Seat, Socket, UserMessage
from djactors.domain.commands import Change, Introduce
from djactors.domain.notifications import encode
from djactors.kernel import Actor, Envelope
from djactors.protocol import EncodedPacket
from djactors.telemetry import Telemetry

REPLAY_SLICE = 100
"""Changes read and sent at a time: about a millisecond of a reader, and of the loop, that others wait for, too."""


class InboxState(Protocol):
    """Where a user's inbox stands."""

    @property
    def unread(self) -> int:
        """Unread notifications."""

    @property
    def seq(self) -> int:
        """The tenant's newest change in the same snapshot."""

    @property
    def known(self) -> bool:
        """Whether the tenant knows the user."""


class ReplayState(Protocol):
    """A slice of the log."""

    @property
    def changes(self) -> list[Change]:
        """What the user sees, in order."""

    @property
    def position(self) -> int:
        """The sequence number up to which nothing is missing after them."""


class Inbox(Protocol):
    """What the actor asks of the store."""

    async def snapshot(self, tenant_id: int, user_id: int) -> InboxState:
        """The unread count and the sequence number that it belongs to, from one snapshot."""

    async def replay(
        self, tenant_id: int, user_id: int, since: int, *, until: int, limit: int, at_most: int | None = None
    ) -> ReplayState | None:
        """What the user may see of what came after `since`, up to `until`; None where the log does not lead there."""


class UserActor(Actor[UserMessage, None]):
    """One user. See the module for the rules."""

    batch_limit = 64
    idle_after: float

    def __init__(
        self,
        presence: Presence,
        inbox: Inbox,
        *,
        epoch: str,
        pids: PidIssuer,
        telemetry: Telemetry,
        turns: trio.Semaphore,
        replay_limit: int,
        idle_after: float,
        forget: Callable[[Presence], None],
        introduce: Callable[[Introduce], None],
    ) -> None:
        self._presence = presence
        self._inbox = inbox
        self._epoch = epoch
        self._pids = pids
        self._telemetry = telemetry
        self._turns = turns
        self._replay_limit = replay_limit
        self._forget = forget
        self._introduce = introduce
        self.idle_after = idle_after
        self._unread = 0

    async def on_start(self) -> None:
        """Read the snapshot to start from."""
        self._presence.disconnect("actor_restarted")
        self._presence.stale = False
        state = await self._inbox.snapshot(self._presence.tenant_id, self._presence.user_id)
        self._unread, self._presence.seq = state.unread, state.seq
        if not state.known:
            # Told before the CONNECT is answered: whoever names this user from then on comes behind it.
            self._introduce(Introduce(self._presence.tenant_id, self._presence.person))

    def on_idle(self) -> bool:
        """Stop once nobody has been connected for a while."""
        if self._presence.sockets or trio.current_time() - self._presence.left_at < self.idle_after:
            return False
        self._forget(self._presence)
        return True

    def on_tell_at_rest(self, message: UserMessage) -> bool:
        """Write a delivery straight to the sockets: a task switch costs as much as all the rest of it."""
        presence = self._presence
        if type(message) is not Deliver or presence.stale:
            return False
        changes = message.changes
        if not changes or changes[-1].seq <= presence.seq:
            return True
        news: Sequence[ChangePackets] | Deliver = message
        if changes[0].seq <= presence.seq:
            news = [change for change in changes if change.seq > presence.seq]
        presence.seq = changes[-1].seq
        self._write(news, self._unread if message.unread is None else message.unread)
        if presence.sockets:
            self._telemetry.metrics.delivery.observe(trio.current_time() - message.committed_at)
        return True

    async def on_batch(self, batch: Sequence[Envelope[UserMessage, None]]) -> None:
        """Take in what happened, write each socket once."""
        presence = self._presence
        if presence.stale:
            await self._catch_up()
        news: list[ChangePackets] = []
        unread = self._unread
        committed_at: float | None = None
        for envelope in batch:
            message = envelope.message
            if isinstance(message, Deliver):
                news.extend(change for change in message.changes if change.seq > presence.seq)
                if message.changes and message.changes[-1].seq > presence.seq:
                    presence.seq = message.changes[-1].seq
                    unread = unread if message.unread is None else message.unread
                    committed_at = message.committed_at if committed_at is None else committed_at
            else:
                # Those who were here hear of what came before; the newcomer's count is already after it.
                self._write(news, unread)
                news = []
                if isinstance(message, Attach):
                    await self._attach(message)
                else:
                    await self._advance(message.socket)
                # Catching up on the way may have brought another one.
                unread = self._unread
            envelope.answer(None)
        self._write(news, unread)
        if committed_at is not None and presence.sockets:
            self._telemetry.metrics.delivery.observe(trio.current_time() - committed_at)

    async def _attach(self, attach: Attach) -> None:
        """Answer a CONNECT: with the old pid and what the client missed, or with a new one."""
        socket, presence, resume = attach.socket, self._presence, attach.resume
        if socket not in presence.attaching:
            return  # It closed while its message was on the way: nobody would ever take it out again.
        # Others' changes move the tenant's number without a word to this actor. A list that the client has just read is
        # at that number, and history may be purged up to it.
        presence.seq = max(presence.seq, attach.told)
        replay: ReplayState | None = None
        since = None if resume is None else resume.since
        if since is not None:
            if since > presence.seq:
                # It read a list that is newer than what has been delivered here so far.
                await self._catch_up()
            replay = await self._read(since, self._replay_limit) if since <= presence.seq else None
        if socket not in presence.attaching:
            return  # It closed meanwhile.
        presence.attached(socket)
        pid, packets, epoch = None, [], self._epoch if socket.recovery else None
        position, reload = presence.seq, resume is not None and replay is None
        if reload:
            body = encode({"offset": offset(self._epoch, presence.seq)})
            packets.append(unlogged(CHANGES_RESET, body, epoch, presence.seq))
            self._telemetry.metrics.resumed.labels("reset").inc()
        elif resume is not None and replay is not None:
            assert resume.since is not None
            pid, position = resume.pid, resume.since
            self._telemetry.metrics.resumed.labels("since" if pid is None else "pid").inc()
        if pid is None and socket.recovery:
            pid = self._pids.issue(presence.tenant_id, presence.user_id, position, reload=reload)
        seat = presence.sockets[socket] = Seat(pid, position)
        packets += self._slice(socket, seat, replay)
        socket.accept(pid, packets)
        self._go_on(socket, seat)

    async def _advance(self, socket: Socket) -> None:
        """Give a socket that is behind the next slice of what it missed, unless one is under way."""
        presence = self._presence
        seat = presence.sockets.get(socket)
        # Catching up may have overtaken the word that there is room.
        if seat is None or seat.position is None or seat.draining:
            return
        replay = await self._read(seat.position)
        if presence.sockets.get(socket) is not seat:
            return
        if replay is None:
            # It took so long that the beginning of the log was purged meanwhile.
            presence.discard(socket)
            socket.disconnect("history_gone")
            return
        socket.send(self._slice(socket, seat, replay))
        self._go_on(socket, seat)

    async def _read(self, since: int, at_most: int | None = None) -> ReplayState | None:
        """A slice of the log behind `since`, in turn with those of other users."""
        presence = self._presence
        async with self._turns:
            return await self._inbox.replay(
                presence.tenant_id,
                presence.user_id,
                since,
                until=presence.seq,
                limit=REPLAY_SLICE,
                at_most=at_most,
            )

    def _slice(self, socket: Socket, seat: Seat, replay: ReplayState | None) -> list[EncodedPacket]:
        """The packets of a slice; behind the last one the count, and the socket has caught up."""
        epoch = self._epoch if socket.recovery else None
        packets: list[EncodedPacket] = []
        if replay is not None:
            packets = [ChangePackets(change).packet(epoch) for change in replay.changes]
            self._telemetry.metrics.replayed.inc(len(packets))
            if replay.position < self._presence.seq:
                seat.position = replay.position
                return packets
        seat.position = None
        packets.append(unread_count(self._unread, epoch, self._presence.seq))
        return packets

    def _go_on(self, socket: Socket, seat: Seat) -> None:
        """Have a socket that is still behind continue when it has room."""
        if seat.position is not None and socket in self._presence.sockets:
            seat.draining = True
            socket.when_drained(lambda: self._presence.go_on(socket))

    def _write(self, news: Sequence[ChangePackets] | Deliver, unread: int) -> None:
        """Send changes and, if it is another one, the unread count to every socket that has caught up."""
        counted = unread != self._unread
        self._unread = unread
        if not news and not counted:
            return
        forms: dict[bool, Sequence[EncodedPacket]] = {}
        # A socket that is found to be too slow leaves the dictionary while it is walked.
        for socket, seat in list(self._presence.sockets.items()):
            if seat.position is not None:
                continue
            packets = forms.get(socket.recovery)
            if packets is None:
                packets = forms[socket.recovery] = self._encode(news, counted, self._epoch if socket.recovery else None)
            socket.send(packets)

    def _encode(
        self, news: Sequence[ChangePackets] | Deliver, counted: bool, epoch: str | None
    ) -> Sequence[EncodedPacket]:
        if isinstance(news, Deliver) and not counted:
            return news.packets(epoch)
        changes = news.changes if isinstance(news, Deliver) else news
        packets = [change.packet(epoch) for change in changes]
        if counted:
            packets.append(unread_count(self._unread, epoch, self._presence.seq))
        return packets

    async def _catch_up(self) -> None:
        """Go to where the inbox stands; whoever is connected is behind from then on."""
        presence = self._presence
        presence.stale = False
        state = await self._inbox.snapshot(presence.tenant_id, presence.user_id)
        if state.seq > presence.seq:
            for seat in presence.sockets.values():
                if seat.position is None:
                    seat.position = presence.seq
            self._unread, presence.seq = state.unread, state.seq
        # The word that one of them has room may be what did not fit into the mailbox.
        for socket in list(presence.sockets):
            await self._advance(socket)
