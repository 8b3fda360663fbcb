"""Feeds an actor from its mailbox: batch after batch, and rests while the mailbox is empty.

An actor rests in its task, or gives the task back and gets another one once there is something to do (`ActorSpec.
keeps_task`). Both look the same from outside.

Rules:
  * The messages that the actor is handling are *in hand*. After a crash, the actor has crashed on these messages.
  * An actor that rests, with an empty mailbox, may take a tell inside the sender's call (`Actor.on_tell_at_rest`). This
    saves waking the actor's task. Such a tell is delivered like any other: in order, and while the actor handles
    nothing else. If the actor raises, its own task is woken and crashes, and the sender goes on.
  * In one thread, one actor at a time takes a tell at rest. Whatever this actor tells meanwhile, to itself or to
    others, goes through the mailboxes, because a chain of nested calls could fill the interpreter's stack.
"""

import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Any

import trio

from djactors.kernel._actor import Actor
from djactors.kernel._alarms import Reminder
from djactors.kernel._errors import AskUnanswered, MailboxClosed
from djactors.kernel._ref import Address, Envelope

MESSAGES_PER_TURN = 32
"""How many messages an actor with a full mailbox handles before other tasks run: few enough that nobody notices the
wait, and enough that the cost of the scheduler (about 3 µs a turn) does not matter."""


class Fed(Enum):
    """Why an actor gets no more messages from this task: there are no more, or it is idle, or gives its task back."""

    CLOSED = auto()
    IDLE = auto()
    RESTING = auto()


class _Turn(threading.local):
    """Whether an actor of this thread is taking a tell in the middle of its sender."""

    taken = False


_turn = _Turn()


class Feed:
    """Feeds one instance of an actor from its start to its end."""

    __slots__ = ("_actor", "_address", "_crash_at_rest", "_idle", "_in_hand", "_keeps_task", "_rests", "_took_at_rest")

    def __init__(self, actor: Actor[Any, Any], address: Address, *, keeps_task: bool) -> None:
        self._in_hand: Sequence[Envelope[Any, Any]] = ()
        self._actor = actor
        self._address = address
        self._keeps_task = keeps_task
        # Whether the actor has no task now.
        self._rests = False
        self._idle = Reminder(address.alarms, address.mailbox.nudge)
        # Whether a message was taken at rest since the idle time began, and the exception if one crashed the actor.
        self._took_at_rest = False
        self._crash_at_rest: Exception | None = None

    async def run(self) -> Fed:
        """Feed the actor until the mailbox is closed and empty, or the actor stops for idleness, or rests without a
        task. In the last case, run this again in another task as soon as the mailbox calls for a reader.

        Raises:
            Exception: what the actor crashed with.
        """
        actor, mailbox = self._actor, self._address.mailbox
        if self._rests:
            self._rests = False
            end = self._end_rest()
            if end is not None:
                return end
        if type(actor).on_tell_at_rest is not Actor.on_tell_at_rest:
            self._address.taker = self._take_at_rest
        takes_batches = type(actor).on_batch is not Actor.on_batch
        limit = actor.batch_limit if takes_batches else 1
        this_turn = 0
        # How many messages there were for the batch before: those it took and those it left.
        about = 0
        while True:
            if actor.put_off:
                await trio.lowlevel.checkpoint()
                this_turn = 0
            elif not mailbox:
                if not (self._keeps_task or mailbox.closed):
                    self._begin_rest()
                    self._rests = True
                    return Fed.RESTING
                end = await self._rest()
                if end is not None:
                    return end
                this_turn = 0
            elif this_turn >= MESSAGES_PER_TURN:
                await trio.lowlevel.checkpoint()
                this_turn = 0
            if about > 1 and actor.linger and not actor.put_off:
                with trio.move_on_after(actor.linger):
                    await mailbox.wait_for_more(min(about, limit))
            batch: Sequence[Envelope[Any, Any]] = mailbox.receive_batch_nowait(limit)
            self._in_hand = batch
            this_turn += len(batch)
            if takes_batches:
                await actor.on_batch(batch)
                self._fail_unanswered(batch, actor.put_off)
                about = len(batch) + len(mailbox)
            else:
                batch[0].answer(await actor.on_message(batch[0].message))
            # An actor that rests keeps nothing of what it handled last.
            self._in_hand = batch = ()

    def take_in_hand(self) -> Sequence[Envelope[Any, Any]]:
        """The messages that were being handled when the instance ended. A second call returns nothing."""
        in_hand, self._in_hand = self._in_hand, ()
        put_off = self._actor.put_off
        return list(dict.fromkeys((*in_hand, *put_off))) if put_off else in_hand

    def end(self) -> None:
        """Stop feeding the instance, which has ended or crashed."""
        self._address.taker = None
        self._idle.close()

    async def _rest(self) -> Fed | None:
        """Wait for a message and return None, or return why no message will come."""
        mailbox = self._address.mailbox
        while True:
            self._begin_rest()
            with suppress(MailboxClosed):
                await mailbox.wait_for_item()
            end = self._end_rest()
            if end is not None or mailbox:
                return end

    def _begin_rest(self) -> None:
        if self._actor.idle_after is not None:
            self._idle.start(self._actor.idle_after)

    def _end_rest(self) -> Fed | None:
        """Somebody has woken the actor: why no message will come, or None if there may be one."""
        self._raise_crash_at_rest()
        mailbox = self._address.mailbox
        # Between the alarm and now a message may have come or the actor may have been asked to stop. From here to the
        # return there is no checkpoint, so neither can happen any more.
        if mailbox.closed and not mailbox:
            return Fed.CLOSED
        if self._actor.idle_after is not None:
            self._idle.stop()
        if mailbox:
            return None
        if self._took_at_rest:
            self._took_at_rest = False
        elif self._actor.on_idle():
            return Fed.IDLE
        return None

    def _take_at_rest(self, message: Any) -> bool:
        """Have the actor, whose task waits for the mailbox, take a message inside the sender's call."""
        turn = _turn
        if turn.taken:
            return False
        turn.taken = True
        try:
            taken = self._actor.on_tell_at_rest(message)
        except Exception as error:  # noqa: BLE001 - supervision
            self._in_hand = (Envelope(message),)
            self._crash_at_rest = error
            # Messages that come from now on are for the actor's successor.
            self._address.taker = None
            # Wake the actor's task, which raises the crash. What the actor did may already have woken it.
            self._address.mailbox.nudge()
            taken = True
        finally:
            turn.taken = False
        if taken:
            self._took_at_rest = True
            self._address.mailbox.received += 1
        return taken

    def _raise_crash_at_rest(self) -> None:
        if self._crash_at_rest is not None:
            error, self._crash_at_rest = self._crash_at_rest, None
            raise error

    def _fail_unanswered(self, batch: Sequence[Envelope[Any, Any]], put_off: Collection[Envelope[Any, Any]]) -> None:
        kept = set(put_off) if put_off else ()
        for envelope in batch:
            if not envelope.answered and envelope.expects_answer and envelope not in kept:
                envelope.fail(AskUnanswered(f"{self._address.name} handled the message without answering it"))
