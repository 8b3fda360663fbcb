"""The actor of one connected user: the unread count, and what each of the user's sockets is sent.

Rules:
  * It starts from a snapshot of the inbox and drops what the snapshot already holds: a change whose sequence number is
    at or below its own. Its address is known to the router before the snapshot is read, so nothing falls in between.
  * It takes everything that is in its mailbox and writes to each socket once: the changes in order, then one unread
    count.
  * It never waits for a socket. A socket that cannot keep up closes itself and resumes.
  * When a delivery did not fit into its mailbox, or came while nobody was connected, it is marked stale; it then reads
    from the store what it missed.
  * After a crash the new instance closes the sockets it finds: they come back and are brought up to date.
  * It asks nobody who is connected; sockets attach to it. When the last one has been gone for a while, it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from djactors.actors.packets import CHANGES_RESET, ChangePackets, offset, unlogged, unread_count
from djactors.actors.pid import PidIssuer
from djactors.actors.presence import Attach, Deliver, Presence, Socket, UserMessage
from djactors.domain.commands import Change
from djactors.domain.notifications import encode
from djactors.kernel import Actor, Envelope
from djactors.protocol.encoded import EncodedPacket
from djactors.telemetry import Telemetry

CATCH_UP_SLICE = 200
"""Changes read at a time when a stale actor catches up: a few milliseconds of a reader that others wait for, too."""


class InboxState(Protocol):
    """Where a user's inbox stands."""

    @property
    def unread(self) -> int:
        """Unread notifications."""

    @property
    def seq(self) -> int:
        """The tenant's newest change in the same snapshot."""


class Inbox(Protocol):
    """What the actor asks of the store."""

    async def snapshot(self, tenant_id: int, user_id: int) -> InboxState:
        """The unread count and the sequence number that it belongs to, from one snapshot."""

    async def changes_since(self, tenant_id: int, user_id: int, since: int, limit: int) -> list[Change]:
        """What the user may see of what came after `since`, in order."""


class UserActor(Actor[UserMessage]):
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
        idle_after: float,
        forget: Callable[[Presence], None],
    ) -> None:
        self._presence = presence
        self._inbox = inbox
        self._epoch = epoch
        self._pids = pids
        self._telemetry = telemetry
        self._forget = forget
        self.idle_after = idle_after
        self._unread = 0

    async def on_start(self) -> None:
        """Read the snapshot to start from."""
        self._presence.disconnect("actor_restarted")
        self._presence.stale = False
        state = await self._inbox.snapshot(self._presence.tenant_id, self._presence.user_id)
        self._unread, self._presence.seq = state.unread, state.seq

    def on_idle(self) -> bool:
        """Stop once nobody has been connected for a while."""
        if self._presence.sockets or trio.current_time() - self._presence.left_at < self.idle_after:
            return False
        self._forget(self._presence)
        return True

    async def on_batch(self, batch: Sequence[Envelope[UserMessage]]) -> None:
        """Take in what happened, write each socket once."""
        if self._presence.stale:
            await self._catch_up()
        news: list[ChangePackets] = []
        unread = self._unread
        committed_at: float | None = None
        for envelope in batch:
            message = envelope.message
            if isinstance(message, Deliver):
                news.extend(change for change in message.changes if change.seq > self._presence.seq)
                if message.changes and message.changes[-1].seq > self._presence.seq:
                    self._presence.seq = message.changes[-1].seq
                    unread = unread if message.unread is None else message.unread
                    committed_at = message.committed_at if committed_at is None else committed_at
            else:
                # Those who were here hear of what came before; the newcomer's count is already after it.
                self._write(news, unread)
                news = []
                self._attach(message)
            envelope.answer(None)
        self._write(news, unread)
        if committed_at is not None and self._presence.sockets:
            self._telemetry.metrics.delivery.observe(trio.current_time() - committed_at)

    def _attach(self, attach: Attach) -> None:
        socket, presence = attach.socket, self._presence
        if socket not in presence.attaching:
            return  # It closed while its message was on the way: nobody would ever take it out again.
        presence.attaching.remove(socket)
        presence.sockets[socket] = None
        epoch = self._epoch if socket.recovery else None
        packets: list[EncodedPacket] = []
        if attach.returning:
            body = encode({"offset": offset(self._epoch, presence.seq)})
            packets.append(unlogged(CHANGES_RESET, body, epoch, presence.seq))
        packets.append(unread_count(self._unread, epoch, presence.seq))
        pid = self._pids.issue(presence.tenant_id, presence.user_id, self._presence.seq) if socket.recovery else None
        socket.accept(pid, packets)

    def _write(self, news: Sequence[ChangePackets], unread: int) -> None:
        """Send changes and, if it is another one, the unread count to every socket."""
        counted = unread != self._unread
        self._unread = unread
        if not news and not counted:
            return
        forms: dict[bool, list[EncodedPacket]] = {}
        # A socket that is found to be too slow leaves the dictionary while it is walked.
        for socket in list(self._presence.sockets):
            packets = forms.get(socket.recovery)
            if packets is None:
                packets = forms[socket.recovery] = self._encode(news, counted, socket)
            socket.send(packets)

    def _encode(self, news: Sequence[ChangePackets], counted: bool, socket: Socket) -> list[EncodedPacket]:
        epoch = self._epoch if socket.recovery else None
        packets = [change.packet(epoch) for change in news]
        if counted:
            packets.append(unread_count(self._unread, epoch, self._presence.seq))
        return packets

    async def _catch_up(self) -> None:
        """Read from the log what was not delivered; without sockets only where the inbox stands."""
        presence = self._presence
        presence.stale = False
        state = await self._inbox.snapshot(presence.tenant_id, presence.user_id)
        while presence.sockets and presence.seq < state.seq:
            changes = await self._inbox.changes_since(
                presence.tenant_id, presence.user_id, presence.seq, CATCH_UP_SLICE
            )
            changes = [change for change in changes if change.seq <= state.seq]
            if not changes:
                break
            presence.seq = changes[-1].seq
            self._write([ChangePackets(change) for change in changes], self._unread)
        presence.seq = state.seq
        self._write((), state.unread)
