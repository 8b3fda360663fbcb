"""What a program writes for a supervisor to run: an actor, which has a mailbox, or a service, which has none.

The life of one instance of an actor; after a crash the supervisor makes a new instance, with the same ref and mailbox:

    factory() → ref is set → on_start ─→ on_message / on_batch … ─→ on_stop
                                │            │        ↑    │
                                │            │        └────┤ on_idle() is False
                                └── crash ───┘             └ on_idle() is True: on_stop

An instance handles one message, or one batch, at a time, so nothing in it needs a lock.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

import trio

from djactors.kernel._ref import ActorRef, Envelope
from djactors.kernel._statistics import ChildStatistics

M = TypeVar("M")
R = TypeVar("R")


class Actor(Generic[M, R]):
    """The base class of all actors. `Actor[Message, Reply]` names what an actor takes and what it answers.

    `Reply` is None for an actor that is only told. Every hook is optional, except that an actor must override
    `on_message` or `on_batch`.

    A hook that raises an `Exception` crashes the instance. The messages that the instance had in hand are dropped, and
    the rest of the mailbox waits for its successor. To refuse a message without crashing, override `on_batch` and
    `fail` the message's envelope.

    Attributes:
        ref: the actor's own address, set before `on_start`. A hook must not ask this ref, because the actor would wait
            for itself; a hook may tell it.
        batch_limit: how many messages `on_batch` gets at most. The limit counts only if `on_batch` is overridden;
            otherwise the actor takes messages one by one, so that a crash costs one message.
        linger: seconds for which a batch that has a message may wait for more. A batch waits only if the batch before
            took or left more than one message, and only until that many messages are there again: several senders are
            then likely to be asking in turns. A batch after a single message never waits.
        put_off: messages that `on_batch` has put off, for an actor that handles its messages in its own order. The
            actor answers them later and bounds how many there are. While there are any, `on_batch` is called again at
            once, with the messages that came meanwhile, if any. Those that are not answered when the actor crashes or
            ends fail like the messages that it was handling.
        idle_after: seconds without a message after which `on_idle` is called; `None` for never. If the actor took
            messages at rest, the call may come after twice that time.
    """

    __slots__ = ("ref",)

    ref: ActorRef[M, R]
    batch_limit: int = 1
    linger: float = 0.0
    idle_after: float | None = None
    put_off: Collection[Envelope[M, R]] = ()

    def peek(self, skipped: int = 0) -> Sequence[M]:
        """The messages that wait in the mailbox behind the first so many, oldest first; they stay there.

        For an actor that is at work and would end sooner for somebody else's message. Any thread may ask, since the
        work may be done on another one.
        """
        return [envelope.message for envelope in self.ref._address.mailbox.peek(skipped)]

    async def on_start(self) -> None:
        """Get ready, within the spec's `start_timeout`. Messages wait in the mailbox meanwhile."""

    async def on_message(self, message: M) -> R:
        """Handle one message. The returned value answers an ask."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither on_message nor on_batch")

    async def on_batch(self, batch: Sequence[Envelope[M, R]]) -> None:
        """Handle one or more messages together, oldest first; none only where some were put off.

        Answer every ask among them before this method returns, or put it off; any other ask fails with `AskUnanswered`.
        If this method raises, the actor has crashed on all envelopes that were not answered, tells included. To mark a
        tell as dealt with, `answer` it.
        """
        for envelope in batch:
            envelope.answer(await self.on_message(envelope.message))

    async def on_stop(self) -> None:
        """Clean up, after the last message and within the spec's `stop_timeout`.

        This hook is not called after a crash, nor when the time runs out or the whole tree is cancelled. A resource
        that must be released even then belongs in a service, under `async with`.
        """

    def on_tell_at_rest(self, message: M) -> bool:
        """Handle a tell inside the sender's call, while the actor waits and its mailbox is empty.

        Waking the actor's task often costs more than handling the message. Only `tell_nowait` calls this hook. Messages
        stay in order, because none is waiting. The hook must neither block nor wait. Whatever it tells, to its own
        actor or to another, goes into a mailbox. If the hook raises, the actor crashes on the message as usual, and the
        sender does not notice.

        Returns:
            Whether the message was handled. If not, it goes into the mailbox.
        """
        return False

    def on_idle(self) -> bool:
        """Whether to stop for good, as by `stop_child`, now that the mailbox has been empty for `idle_after` seconds.

        No message can be lost: there is no checkpoint from the look into the empty mailbox to the closing of the ref
        and the freeing of the name, which follow if this returns True. If it returns False, it is called again
        `idle_after` seconds later. It must not block.
        """
        return False


class Service(Protocol):
    """Something that runs for long and has no mailbox, such as a listener. A supervisor runs it by a `ServiceSpec`."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> object:
        """Do the work; call `task_status.started()` when ready, within the spec's `start_timeout`.

        Returning ends the service, and a permanent service is then started anew. Raising is a crash. The supervisor
        cancels this when the whole tree is cancelled, when the service does not stop in time, and at once when a
        service that has no `request_stop` is to stop.
        """


@runtime_checkable
class StoppableService(Protocol):
    """A service that can be asked to end. A service without `request_stop` is cancelled at once when it is stopped."""

    def request_stop(self) -> None:
        """Make `run` return, within the spec's `stop_timeout`. This must not block."""


class Tree(ABC):
    """A service with children of its own, such as a supervisor: its statistics become a part of its parent's.

    Such a service must inherit from this class, because another service may have an unrelated method `statistics`.
    """

    @abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> object:
        """See `Service`."""

    @abstractmethod
    def statistics(self, levels: int | None = None) -> ChildStatistics:
        """A snapshot of this node and the nodes below it, down to `levels` levels; None means all levels."""
