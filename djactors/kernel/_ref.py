"""The ref of an actor: the one thing that others hold of it.

A ref outlives the actor's restarts, because the mailbox belongs to the address behind the ref and not to the instance
that is reading it. A ref is safe to pass around and to keep: when the actor is gone for good, the ref says so.
"""

from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

import trio

from djactors.kernel._address import Address
from djactors.kernel._envelope import Call, Envelope, Expired, Question
from djactors.kernel._errors import AskTimeout, MailboxClosed, MailboxFull
from djactors.kernel._statistics import MailboxStatistics

# An actor that takes more kinds of messages can stand in for one that takes fewer, and one that answers more exactly
# for one that answers less exactly.
M_contra = TypeVar("M_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class ActorRef(Generic[M_contra, R_co]):
    """Tells and asks one actor. `Supervisor.ref`, `spawn_child` and `start_child` give refs; nobody else makes them.

    The parameters are the actor's: what it takes, and what it answers. Where the answer depends on the message, the
    second one is the union of all answers, and a protocol whose `ask` has an overload for each message gives each one
    its own: such a ref may be passed as `ActorRef[Message, Any]`, which fits the protocol.

    Overflow: `tell` and `ask` wait for room, first come first served; `tell_nowait`, `ask_nowait` and `request_nowait`
    raise `MailboxFull`, and the sender decides what that means.
    """

    __slots__ = ("_address",)

    def __init__(self, address: Address) -> None:
        self._address = address

    def __repr__(self) -> str:
        return f"<ActorRef {self.name}{'' if self.alive else ' (not alive)'}>"

    @property
    def name(self) -> str:
        """The name in the actor's spec."""
        return self._address.name

    @property
    def alive(self) -> bool:
        """Whether the actor takes messages now: it has not been stopped and is not in quarantine."""
        return not self._address.mailbox.closed

    @property
    def quarantined(self) -> bool:
        """Whether the actor kept crashing and is set aside for now."""
        return self._address.quarantined

    def statistics(self) -> MailboxStatistics:
        """A snapshot of the mailbox."""
        return self._address.mailbox.statistics()

    async def tell(self, message: M_contra) -> None:
        """Put a message into the mailbox, waiting for room.

        A checkpoint. If it raises `Cancelled`, the actor will not see the message.

        Raises:
            ActorStopped: the actor takes no message (`ActorQuarantined`: for now).
        """
        address = self._address
        try:
            await address.mailbox.put(Envelope(message))
        except MailboxClosed:
            raise address.refusal() from None

    def tell_nowait(self, message: M_contra) -> None:
        """Put a message into the mailbox now, or have an actor that rests take it at once (`Actor.on_tell_at_rest`).

        Raises:
            MailboxFull: there is no room.
            ActorStopped: the actor takes no message (`ActorQuarantined`: for now).
        """
        address = self._address
        taker = address.taker
        if taker is not None and address.mailbox.awaited and taker(message):
            return
        try:
            address.mailbox.put_nowait(Envelope(message))
        except MailboxClosed:
            raise address.refusal() from None
        except MailboxFull:
            raise address.overflow() from None

    async def ask(self, message: M_contra, timeout: float) -> R_co:
        """Send a message and wait for its answer.

        A checkpoint. If it raises `Cancelled` or `AskTimeout`, the message may still be handled; its answer is
        dropped.

        Args:
            message: what to ask.
            timeout: seconds for everything: waiting for room, waiting in the mailbox, and being handled. It ends a
                little late rather than early; see `Alarms`.

        Raises:
            AskTimeout: no answer in time.
            ActorStopped: the actor takes no message, or stopped before it answered (`ActorQuarantined`: for now).
            ActorCrashed: the actor crashed on this message.
            AskUnanswered: the actor handled the message in a batch and left it without an answer.
            Exception: whatever the actor failed the envelope with.
        """
        return await self._ask(message, timeout, waits=True)

    async def ask_nowait(self, message: M_contra, timeout: float) -> R_co:
        """Like `ask`, but refused at once if there is no room: only the answer is waited for.

        Raises:
            MailboxFull: there is no room.
        """
        return await self._ask(message, timeout, waits=False)

    def request_nowait(self, message: M_contra, reply: Callable[[R_co | Exception], None]) -> None:
        """Send a message now and have `reply` called with its answer, or with what `ask` would raise.

        For senders that have no task to wait in. There is no deadline. `reply` is called exactly once, in the middle of
        whoever settles the message: it must not block, and an exception of its own counts as that one's crash.
        Requests of one sender are handled in the order in which they were sent, as tells are.

        Raises:
            MailboxFull: there is no room; `reply` will not be called.
            ActorStopped: the actor takes no message (`ActorQuarantined`: for now); `reply` will not be called.
        """
        address = self._address
        try:
            address.mailbox.put_nowait(Call(message, reply))
        except MailboxClosed:
            raise address.refusal() from None
        except MailboxFull:
            raise address.overflow() from None

    async def wait_stopped(self) -> None:
        """Wait until the actor is gone for good: after its `on_stop`, not when it is merely restarted. A checkpoint."""
        await self._address.ended.wait()

    async def _ask(self, message: M_contra, timeout: float, *, waits: bool) -> R_co:
        await trio.lowlevel.checkpoint_if_cancelled()
        address = self._address
        question: Question[M_contra, R_co] = Question(message)
        deadline = trio.current_time() + timeout
        try:
            if not waits:
                address.mailbox.put_nowait(question)
            elif not address.mailbox.offer(question):
                with trio.move_on_at(deadline) as waiting:
                    await address.mailbox.put(question)
                if waiting.cancelled_caught:
                    raise AskTimeout(f"{self.name} had no room within {timeout} s")
        except MailboxClosed:
            raise address.refusal() from None
        except MailboxFull:
            raise address.overflow() from None
        bucket = address.alarms.set(question, deadline - trio.current_time()) if timeout != inf else None
        try:
            return await question.wait()
        except Expired:
            raise AskTimeout(f"{self.name} did not answer within {timeout} s") from None
        finally:
            if bucket is not None:
                bucket.pop(question, None)
