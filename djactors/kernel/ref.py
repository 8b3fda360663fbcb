"""The address of an actor: the one thing that others hold of it.

A ref outlives the actor's restarts, because the mailbox belongs to the ref and not to the instance that is reading it.
It is safe to pass around and to keep: when the actor is gone for good, the ref says so.
"""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Generic, TypeVar

import trio

from djactors.kernel.alarms import Alarms
from djactors.kernel.crash import described
from djactors.kernel.envelope import Call, Envelope, Expired, Question
from djactors.kernel.errors import ActorCrashed, ActorQuarantined, ActorStopped, AskTimeout, MailboxClosed, MailboxFull
from djactors.kernel.events import logger
from djactors.kernel.latch import Latch
from djactors.kernel.mailbox import Mailbox
from djactors.kernel.statistics import MailboxStatistics

# Whoever may be sent more kinds of messages can stand in for one who takes fewer.
M_contra = TypeVar("M_contra", contravariant=True)


class ActorRef(Generic[M_contra]):
    """Tells and asks one actor. Supervisors make refs; nobody else needs to.

    Overflow: `tell` and `ask` wait for room, first come first served; `tell_nowait` and `ask_nowait` raise
    `MailboxFull`, and the sender decides what that means.
    """

    __slots__ = ("_alarms", "_ended", "_mailbox", "_quarantined", "_taker", "name")

    def __init__(self, name: str, capacity: int, alarms: Alarms) -> None:
        self.name = name
        self._alarms = alarms
        self._mailbox: Mailbox[Envelope[Any]] = Mailbox(capacity)
        self._quarantined = False
        self._taker: Callable[[Any], bool] | None = None
        self._ended = Latch()

    def __repr__(self) -> str:
        return f"<ActorRef {self.name}{'' if self.alive else ' (not alive)'}>"

    @property
    def alive(self) -> bool:
        """Whether the actor takes messages now: it has not been stopped and is not in quarantine."""
        return not self._mailbox.closed

    @property
    def quarantined(self) -> bool:
        """Whether the actor kept crashing and is set aside for now."""
        return self._quarantined

    def statistics(self) -> MailboxStatistics:
        """A snapshot of the mailbox."""
        return self._mailbox.statistics()

    # For senders

    async def tell(self, message: M_contra) -> None:
        """Put a message into the mailbox, waiting for room.

        A checkpoint. If it raises `Cancelled`, the actor will not see the message.

        Raises:
            ActorStopped: the actor takes no message (`ActorQuarantined`: for now).
        """
        try:
            await self._mailbox.put(Envelope(message))
        except MailboxClosed:
            raise self._refusal() from None

    def tell_nowait(self, message: M_contra) -> None:
        """Put a message into the mailbox now, or have an actor that rests take it at once (`Actor.on_tell_at_rest`).

        Raises:
            MailboxFull: there is no room.
            ActorStopped: the actor takes no message (`ActorQuarantined`: for now).
        """
        taker = self._taker
        if taker is not None and self._mailbox.awaited and taker(message):
            return
        try:
            self._mailbox.put_nowait(Envelope(message))
        except MailboxClosed:
            raise self._refusal() from None
        except MailboxFull:
            raise MailboxFull(f"the mailbox of {self.name} is full") from None

    async def ask(self, message: M_contra, timeout: float) -> Any:
        """Send a message and wait for its answer.

        A checkpoint. If it raises `Cancelled` or `AskTimeout`, the message may still be handled; its answer is
        dropped.

        Args:
            message: what to ask.
            timeout: seconds for everything: waiting for room, waiting in the mailbox, and being handled. It ends a
                little late rather than early; see `alarms`.

        Raises:
            AskTimeout: no answer in time.
            ActorStopped: the actor takes no message, or stopped before it answered (`ActorQuarantined`: for now).
            ActorCrashed: the actor crashed on this message.
            Exception: whatever the actor failed the envelope with.
        """
        return await self._ask(message, timeout, waits=True)

    async def ask_nowait(self, message: M_contra, timeout: float) -> Any:
        """Like `ask`, but refused at once if there is no room: only the answer is waited for.

        Raises:
            MailboxFull: there is no room.
        """
        return await self._ask(message, timeout, waits=False)

    def request_nowait(self, message: M_contra, reply: Callable[[Any, Exception | None], None]) -> None:
        """Send a message now and have its answer handed to `reply`; see `Call`. There is no deadline.

        Requests of one sender are handled in the order in which they were sent, as tells are.

        Raises:
            MailboxFull: there is no room; `reply` will not be called.
            ActorStopped: the actor takes no message (`ActorQuarantined`: for now); `reply` will not be called.
        """
        try:
            self._mailbox.put_nowait(Call(message, reply))
        except MailboxClosed:
            raise self._refusal() from None
        except MailboxFull:
            raise MailboxFull(f"the mailbox of {self.name} is full") from None

    async def wait_stopped(self) -> None:
        """Wait until the actor is gone for good: after its `on_stop`, not when it is merely restarted."""
        await self._ended.wait()

    async def _ask(self, message: M_contra, timeout: float, *, waits: bool) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        question = Question(message)
        deadline = trio.current_time() + timeout
        try:
            if not waits:
                self._mailbox.put_nowait(question)
            elif not self._mailbox.offer(question):
                with trio.move_on_at(deadline) as waiting:
                    await self._mailbox.put(question)
                if waiting.cancelled_caught:
                    raise AskTimeout(f"{self.name} had no room within {timeout} s")
        except MailboxClosed:
            raise self._refusal() from None
        except MailboxFull:
            raise MailboxFull(f"the mailbox of {self.name} is full") from None
        bucket = self._alarms.set(question, deadline - trio.current_time()) if timeout != inf else None
        try:
            return await question.wait()
        except Expired:
            raise AskTimeout(f"{self.name} did not answer within {timeout} s") from None
        finally:
            if bucket is not None:
                bucket.pop(question, None)

    # For the kernel, which alone knows when an actor opens and closes

    @property
    def mailbox(self) -> Mailbox[Envelope[Any]]:
        """Where the messages wait. For the kernel only: others tell and ask."""
        return self._mailbox

    def take_at_rest(self, taker: Callable[[Any], bool] | None) -> None:
        """Offer tells to this function first while the mailbox is empty and awaited. For the kernel only."""
        self._taker = taker

    def refuse(self) -> None:
        """Take no more messages, for good. For the kernel only."""
        self._quarantined = False
        self._mailbox.close()

    def quarantine(self) -> None:
        """Take no messages until `release`. For the kernel only."""
        self._quarantined = True
        self._mailbox.close()

    def release(self) -> None:
        """End a quarantine. For the kernel only."""
        self._quarantined = False
        self._mailbox.reopen()

    def end(self) -> None:
        """Refuse for good and let those go who wait for the end. For the kernel only."""
        self.refuse()
        self._ended.set()

    def give_up(self, envelopes: Iterable[Envelope[Any]], crash: Exception | None = None) -> tuple[Any, ...]:
        """Fail what nobody will handle: with `ActorCrashed` over `crash`, else as the ref would refuse it now.

        For the kernel only. Whoever is told must not stand in the way of the others: a `reply` that raises is logged.

        Returns:
            The messages that had not been answered.
        """
        lost = [envelope for envelope in envelopes if not envelope.answered]
        for envelope in lost:
            try:
                envelope.fail(self._refusal() if crash is None else self._crashed(crash))
            except Exception:  # noqa: BLE001 - supervision
                logger.exception("the function for an answer of %s raised", self.name)
        return tuple(envelope.message for envelope in lost)

    def _crashed(self, crash: Exception) -> ActorCrashed:
        # Each asker gets its own: an exception that is raised in several tasks collects all their tracebacks.
        crashed = ActorCrashed(f"{self.name} crashed on this message: {described(crash)}")
        crashed.__cause__ = crash
        return crashed

    def _refusal(self) -> ActorStopped:
        if self._quarantined:
            return ActorQuarantined(f"{self.name} keeps crashing and is set aside for a while")
        return ActorStopped(f"{self.name} has stopped")
