"""Who is connected: for each user that has or had a socket a moment ago, a presence with its sockets and its actor.

A presence outlives its actor's restarts, so that a crash never leaves a socket open without an actor. Connections and
the actor both use the presence without messages: connections add and remove sockets, and the actor writes to them. This
is safe because both run on one thread and neither awaits in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from djactors.actors.deliveries import Counts, Deliver
from djactors.actors.resume import Resume
from djactors.domain.accounts import Account
from djactors.domain.marks import BEGINNING, Offset
from djactors.domain.permissions import Person
from djactors.kernel import ActorRef, ActorStopped, MailboxFull
from djactors.protocol import EncodedPacket


class Socket(Protocol):
    """One Socket.IO socket of a user, as actors see it. No method waits or raises."""

    @property
    def recovery(self) -> bool:
        """Whether the client wants offsets."""

    @property
    def key(self) -> str:
        """The name of the key that has proved who it is."""

    def admit(self, account: Account) -> bool:
        """Take in what the tenant says of the user; False if the socket may not be here with that, and has ended."""

    def accept(self, pid: str | None, packets: Sequence[EncodedPacket]) -> None:
        """Answer the client's CONNECT, with these packets behind the answer, in one write."""

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        """Put packets into the outbox, in one write. A socket whose outbox is full closes itself."""

    def when_drained(self, callback: Callable[[], None]) -> None:
        """Call back once, when what was sent is on its way and there is room for more; maybe before this returns.

        There is one callback at a time. A socket that closes first drops the callback.
        """

    def disconnect(self, reason: str) -> None:
        """Close the transport: the client reconnects and resumes. `reason` is a word for the log and the metrics."""


class Attach:
    """A socket of the user's has proved who it is and waits for the answer to its CONNECT.

    `resume` is the point from which the client wants to go on, None if it begins anew.
    """

    __slots__ = ("resume", "socket")

    def __init__(self, socket: Socket, resume: Resume | None) -> None:
        self.socket = socket
        self.resume = resume


class Continue:
    """A socket has room for the next slice of what it missed."""

    __slots__ = ("socket",)

    def __init__(self, socket: Socket) -> None:
        self.socket = socket


UserMessage = Deliver | Attach | Continue


class Seat:
    """What is known of a socket that the actor has answered.

    Attributes:
        pid: the pid with which its client can resume; None if the client wants no offsets.
        position: up to which offset it was given what it missed; None once it has caught up.
        draining: a slice is on its way, and the socket asks for the next one when there is room.
    """

    __slots__ = ("draining", "pid", "position")

    def __init__(self, pid: str | None, position: Offset | None) -> None:
        self.pid = pid
        self.position = position
        self.draining = False


def _ignore_change(presence: Presence) -> None:
    pass


class Presence:
    """One user's sockets and the address of the user's actor.

    Attributes:
        name: what the actor is called in the tree.
        person: who it is, as the first socket's token says.
        attaching: sockets whose `Attach` is on its way to the actor, with their pid if they are recovering. A socket
            that closes first is removed.
        sockets: the sockets that the actor has answered and writes to.
        stale: the actor was not told of some change, or what it was told is in doubt; it must look into the store
            before it goes on, and until then is told no more than that.
        read: the number of the newest commit that had been asked for when the actor last read where the inbox stands.
            If something of a commit up to this one is not in what was read, the actor cannot know whether the commit
            came behind it, or was lost before it.
        left_at: when the last socket went, in Trio's time.
        at: the offset up to which the sockets that have caught up were told everything.
        counts: the counts at that offset, which they were told last.
        on_change: is called when the first socket has been answered or the last one has gone.
        account: what the tenant says of the user; None until that was read.
        accounts_told: how often a commit has changed the account, so that a read which began before does not undo it.
    """

    __slots__ = (
        "account",
        "accounts_told",
        "at",
        "attaching",
        "counts",
        "left_at",
        "name",
        "on_change",
        "person",
        "read",
        "ref",
        "sockets",
        "stale",
        "tenant_id",
        "user_id",
    )

    def __init__(self, tenant_id: int, person: Person, on_change: Callable[[Presence], None] = _ignore_change) -> None:
        self.on_change = on_change
        self.tenant_id = tenant_id
        self.user_id = person.user_id
        self.person = person
        self.name = f"user:{tenant_id}:{person.user_id}"
        self.attaching: dict[Socket, str | None] = {}
        self.sockets: dict[Socket, Seat] = {}
        self.left_at = trio.current_time()
        self.stale = False
        self.read = 0
        self.at = BEGINNING
        self.counts: Counts = 0, 0
        self.account: Account | None = None
        self.accounts_told = 0
        self.ref: ActorRef[UserMessage, None]

    @property
    def socket_count(self) -> int:
        """Sockets that are there or about to be."""
        return len(self.sockets) + len(self.attaching)

    def told(self, socket: Socket) -> Offset | None:
        """Up to which offset this socket was told everything; None for one that was not answered, or has closed."""
        seat = self.sockets.get(socket)
        if seat is None:
            return None
        return self.at if seat.position is None else seat.position

    def hindmost(self) -> int:
        """The number of the change that the hindmost of the sockets was told last."""
        number = self.at.seq
        for seat in self.sockets.values():
            if seat.position is not None and seat.position.seq < number:
                number = seat.position.seq
        return number

    def go_on(self, socket: Socket) -> None:
        """Have the actor give a socket its next slice."""
        seat = self.sockets.get(socket)
        if seat is None:
            return
        seat.draining = False
        try:
            self.ref.tell_nowait(Continue(socket))
        except MailboxFull:
            # Whoever is stale gives every socket its next slice.
            self.stale = True
        except ActorStopped:
            pass  # Its sockets are or will be disconnected.

    def find(self, pid: str | None) -> Socket | None:
        """The socket that has this pid, or is about to get it again."""
        if pid is None:
            return None
        for socket, seat in self.sockets.items():
            if seat.pid == pid:
                return socket
        return next((socket for socket, other in self.attaching.items() if other == pid), None)

    def attached(self, socket: Socket) -> None:
        """A socket's `Attach` has arrived, or is of no use any more."""
        self.attaching.pop(socket, None)
        if not self.attaching:
            # A dictionary never gives back what it grew by: 170 bytes a user.
            self.attaching = {}

    def seat(self, socket: Socket, seat: Seat) -> None:
        """A socket is answered, and the actor writes to it from now on."""
        self.sockets[socket] = seat
        if len(self.sockets) == 1:
            self.on_change(self)

    def discard(self, socket: Socket) -> None:
        """Forget a socket, if it is known."""
        self.attached(socket)
        if socket in self.sockets:
            del self.sockets[socket]
            self.left_at = trio.current_time()
            if not self.sockets:
                self.on_change(self)

    def take_in(self, account: Account) -> None:
        """Have all sockets that the actor has answered take in what the tenant says of the user."""
        if account == self.account:
            return
        self.account = account
        for socket in list(self.sockets):
            if not socket.admit(account):
                self.discard(socket)

    def forget_account(self) -> None:
        """Forget what the tenant says of a user who has no socket. Those with sockets read it again now."""
        if not self.socket_count:
            self.account = None

    def disconnect(self, reason: str) -> None:
        """Close all sockets that the actor has answered."""
        if not self.sockets:
            return
        sockets, self.sockets = self.sockets, {}
        self.left_at = trio.current_time()
        self.on_change(self)
        for socket in sockets:
            socket.disconnect(reason)
