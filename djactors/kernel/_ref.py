"""Telling and asking one actor. Other code holds only the actor's ref. Behind the ref is the address, with the mailbox;
between the two, a message travels in an envelope.

    sender ── ActorRef ──► Envelope (tell), Call (request), Question (ask) ──► Address.mailbox ──► the actor
    sender ◄── the answer of a Call or a Question ◄────────────────────────────────────────────── the actor

A ref outlives the actor's restarts, because the mailbox belongs to the address and not to the instance that is reading
it. A ref is safe to pass around and to keep: when the actor is gone for good, the ref raises `ActorStopped`. Only the
kernel holds the address, because the kernel opens, closes and ends the actor and reads the mailbox.

An actor treats all messages alike: it may answer any of them, and the answer to a tell is dropped. The first answer
counts. Later answers are ignored, and so is an answer to an asker that no longer waits.
"""

from collections.abc import Callable, Coroutine, Iterable
from math import inf
from typing import Any, Generic, TypeVar

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

from djactors.kernel._alarms import Alarms
from djactors.kernel._crash import described
from djactors.kernel._errors import (
    ActorCrashed,
    ActorQuarantined,
    ActorStopped,
    AskTimeout,
    MailboxClosed,
    MailboxFull,
)
from djactors.kernel._events import logger
from djactors.kernel._latch import Latch
from djactors.kernel._mailbox import Mailbox
from djactors.kernel._statistics import MailboxStatistics

M = TypeVar("M")
R = TypeVar("R")
# An actor that takes more kinds of messages can stand in for one that takes fewer, and one that answers more exactly
# for one that answers less exactly.
M_contra = TypeVar("M_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class ActorRef(Generic[M_contra, R_co]):
    """Tells and asks one actor. `Supervisor.ref`, `spawn_child` and `start_child` give refs; nobody else makes them.

    The two type parameters are the actor's: the messages that it takes, and the answers that it gives. If the answer's
    type depends on the message, the second parameter is the union of all answers. To give each message its own answer
    type, write a `Protocol` whose `ask` has an overload for each message, and pass the ref as `ActorRef[Message, Any]`,
    which fits that protocol.

    Overflow: `tell` and `ask` wait for room, first come first served; `tell_nowait`, `ask_nowait` and `request_nowait`
    raise `MailboxFull`, and the sender decides what that means.
    """

    __slots__ = ("_address",)

    def __init__(self, address: "Address") -> None:
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

    # Both pass the coroutine of `_ask` on: a frame that only waits for another is one more to be resumed.

    def ask(self, message: M_contra, timeout: float) -> Coroutine[Any, Any, R_co]:
        """Send a message and wait for its answer.

        A checkpoint. If it raises `Cancelled` or `AskTimeout`, the message may still be handled; its answer is
        dropped.

        Args:
            message: what to ask.
            timeout: seconds for everything: waiting for room, waiting in the mailbox, and being handled. The timeout
                may come a little late, but never early; see `Alarms`.

        Raises:
            AskTimeout: no answer in time.
            ActorStopped: the actor takes no message, or stopped before it answered (`ActorQuarantined`: for now).
            ActorCrashed: the actor crashed on this message.
            AskUnanswered: the actor handled the message in a batch and left it without an answer.
            Exception: whatever the actor failed the envelope with.
        """
        return self._ask(message, timeout, waits=True)

    def ask_nowait(self, message: M_contra, timeout: float) -> Coroutine[Any, Any, R_co]:
        """Like `ask`, but raise at once if there is no room: `timeout` is then the time for the answer alone.

        Raises:
            MailboxFull: there is no room.
        """
        return self._ask(message, timeout, waits=False)

    def request_nowait(self, message: M_contra, reply: Callable[[R_co | Exception], None]) -> None:
        """Send a message now and have `reply` called with its answer, or with what `ask` would raise.

        This is for senders that have no task to wait in. There is no deadline. `reply` is called exactly once, inside
        the call that settles the message, usually by the actor. It must not block, and if it raises, the actor
        crashes. Requests of one sender are handled in the order in which they were sent, as tells are.

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
        """Wait until the actor is gone for good, after its `on_stop`. A restart does not count. A checkpoint."""
        await self._address.ended.wait()

    async def _ask(self, message: M_contra, timeout: float, *, waits: bool) -> R_co:
        await trio.lowlevel.checkpoint_if_cancelled()
        address = self._address
        question: Question[M_contra, R_co] = Question(message)
        left = timeout
        try:
            if not waits:
                address.mailbox.put_nowait(question)
            elif not address.mailbox.offer(question):
                deadline = trio.current_time() + timeout
                with trio.move_on_at(deadline) as waiting:
                    await address.mailbox.put(question)
                if waiting.cancelled_caught:
                    raise AskTimeout(f"{self.name} had no room within {timeout} s")
                left = deadline - trio.current_time()
        except MailboxClosed:
            raise address.refusal() from None
        except MailboxFull:
            raise address.overflow() from None
        bucket = address.alarms.set(question, left) if timeout != inf else None
        try:
            return await question.wait()
        except Expired:
            raise AskTimeout(f"{self.name} did not answer within {timeout} s") from None
        finally:
            if bucket is not None:
                bucket.pop(question, None)


class Expired(Exception):  # noqa: N818 - never leaves the kernel
    """The deadline of an ask has come."""


class Envelope(Generic[M, R]):
    """One message in a mailbox, as `Actor.on_batch` gets it. The parameters are the actor's: message and reply.

    Attributes:
        message: what was told or asked.
        answered: whether `answer` or `fail` has been called. For a tell this means that it has been dealt with.
    """

    __slots__ = ("answered", "message")

    def __init__(self, message: M) -> None:
        self.message = message
        self.answered = False

    @property
    def expects_answer(self) -> bool:
        """Whether somebody waits for the answer: false for a tell."""
        return False

    def answer(self, value: R) -> None:
        """Give the asker `value`. This has no effect if the envelope was answered or failed before."""
        self.answered = True

    def fail(self, error: Exception) -> None:
        """Raise `error` in the asker. The actor itself goes on without a crash.

        Each envelope needs an exception of its own, because an exception that is raised in several tasks collects all
        their tracebacks. This has no effect if the envelope was answered or failed before.
        """
        self.answered = True


class Call(Envelope[M, R]):
    """A message whose answer is handed to a function, for senders that have no task to wait in.

    The function gets the answer, or the exception that the message was failed with. It is called exactly once, inside
    the call that settles the message. It must not block, and an exception that it raises passes on to that caller.
    """

    __slots__ = ("_reply",)

    def __init__(self, message: M, reply: Callable[[R | Exception], None]) -> None:
        # Here and below, what `Envelope` sets is set again: to call it would take as long as all the rest.
        self.message = message
        self.answered = False
        self._reply = reply

    @property
    def expects_answer(self) -> bool:
        """See `Envelope`."""
        return True

    def answer(self, value: R) -> None:
        """See `Envelope`."""
        if not self.answered:
            self.answered = True
            self._reply(value)

    def fail(self, error: Exception) -> None:
        """See `Envelope`."""
        if not self.answered:
            self.answered = True
            self._reply(error)


class Question(Envelope[M, R]):
    """A message whose sender waits, in at most one task, for the answer."""

    __slots__ = ("_asker", "_error", "_value")

    _value: R

    def __init__(self, message: M) -> None:
        self.message = message
        self.answered = False
        self._asker: Task | None = None
        self._error: Exception | None = None

    @property
    def expects_answer(self) -> bool:
        """See `Envelope`."""
        return True

    def answer(self, value: R) -> None:
        """See `Envelope`."""
        if not self.answered:
            self._value = value
            self._settle()

    def fail(self, error: Exception) -> None:
        """See `Envelope`."""
        if not self.answered:
            self._error = error
            self._settle()

    async def wait(self) -> R:
        """Wait for the answer and return it, or raise what the question was failed with.

        A checkpoint only if there is no answer yet.
        """
        if not self.answered:
            self._asker = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abandon)
        if self._error is not None:
            raise self._error
        return self._value

    def expire(self) -> None:
        """Fail the question with `Expired`, because no answer came in time."""
        self.fail(Expired())

    def _settle(self) -> None:
        self.answered = True
        if self._asker is not None:
            trio.lowlevel.reschedule(self._asker)
            self._asker = None

    def _abandon(self, _: RaiseCancelT) -> Abort:
        self._asker = None
        return Abort.SUCCEEDED


class Address:
    """The mailbox of one child and what is known about it. It outlives the instances that read the mailbox.

    Attributes:
        name: the child's name, for error messages.
        alarms: the deadlines of asks.
        mailbox: where the messages wait.
        quarantined: whether the actor kept crashing and is set aside for now.
        taker: a function that gets each `tell_nowait` while the mailbox is empty and the actor waits. It returns
            whether it took the message.
        ended: is set when the actor is gone for good.
    """

    __slots__ = ("alarms", "ended", "mailbox", "name", "quarantined", "taker")

    def __init__(self, name: str, capacity: int, alarms: Alarms) -> None:
        self.name = name
        self.alarms = alarms
        self.mailbox: Mailbox[Envelope[Any, Any]] = Mailbox(capacity)
        self.quarantined = False
        self.taker: Callable[[Any], bool] | None = None
        self.ended = Latch()

    def refuse(self) -> None:
        """Take no more messages, for good."""
        self.quarantined = False
        self.mailbox.close()

    def quarantine(self) -> None:
        """Take no messages until `release`."""
        self.quarantined = True
        self.mailbox.close()

    def release(self) -> None:
        """End a quarantine."""
        self.quarantined = False
        self.mailbox.reopen()

    def end(self) -> None:
        """Refuse messages for good, and wake everybody who waits in `wait_stopped`."""
        self.refuse()
        self.ended.set()

    def give_up(self, envelopes: Iterable[Envelope[Any, Any]], crash: Exception | None = None) -> tuple[Any, ...]:
        """Fail envelopes that nobody will handle: with `ActorCrashed` if there is a `crash`, else with `refusal()`.

        A `reply` that raises must not keep the other senders waiting, so its exception is logged.

        Returns:
            The messages that had not been answered.
        """
        lost = [envelope for envelope in envelopes if not envelope.answered]
        for envelope in lost:
            try:
                envelope.fail(self.refusal() if crash is None else self._crashed(crash))
            except Exception:  # noqa: BLE001 - supervision
                logger.exception("the function for an answer of %s raised", self.name)
        return tuple(envelope.message for envelope in lost)

    def refusal(self) -> ActorStopped:
        """The error for a sender while messages are refused."""
        if self.quarantined:
            return ActorQuarantined(f"{self.name} keeps crashing and is set aside for a while")
        return ActorStopped(f"{self.name} has stopped")

    def overflow(self) -> MailboxFull:
        """The error for a sender that does not wait, while there is no room."""
        return MailboxFull(f"the mailbox of {self.name} is full")

    def _crashed(self, crash: Exception) -> ActorCrashed:
        # Each asker gets an exception of its own: one that is raised in several tasks collects all their tracebacks.
        crashed = ActorCrashed(f"{self.name} crashed on this message: {described(crash)}")
        crashed.__cause__ = crash
        return crashed
