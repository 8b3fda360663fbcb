"""What one writes to be run by a supervisor: an actor, which has a mailbox, or a service, which has none.

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
    """Base of all actors, by what they take and what they answer: `Actor[Message, Reply]`.

    `Reply` is None for an actor that is only told. Every hook is optional, but an actor overrides `on_message` or
    `on_batch`.

    A hook that raises an `Exception` crashes the instance: what it had in hand is dropped, the rest of the mailbox
    waits for its successor. To refuse a message without crashing, override `on_batch` and `fail` its envelope.

    Attributes:
        ref: the actor's own address, set before `on_start`. Asking it from a hook waits for itself: tell instead.
        batch_limit: how many messages `on_batch` gets at most. Counts only where `on_batch` is overridden; otherwise
            messages are taken one by one, so that a crash costs one.
        linger: seconds that a batch may wait to become larger, once it has a message. It waits only while messages come
            together: until there are as many as the batch before took and left, which is everybody who is waiting for
            answers in turns. A batch after a single message never waits.
        put_off: messages that `on_batch` has put off, for an actor that deals with its messages in another order than
            that in which they came, or with a part of them. They are the actor's to answer; while there are any,
            `on_batch` is called again at once, with what came meanwhile, which may be nothing. What has not been
            answered when the actor crashes or ends fails like what it had in hand. The actor bounds how many there are.
        idle_after: seconds without a message after which `on_idle` is asked; `None` for never. After messages that were
            taken at rest it may take twice as long.
    """

    __slots__ = ("ref",)

    ref: ActorRef[M, R]
    batch_limit: int = 1
    linger: float = 0.0
    idle_after: float | None = None
    put_off: Collection[Envelope[M, R]] = ()

    async def on_start(self) -> None:
        """Get ready, within the spec's `start_timeout`. Messages wait meanwhile."""

    async def on_message(self, message: M) -> R:
        """Handle one message. What this returns answers an ask."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither on_message nor on_batch")

    async def on_batch(self, batch: Sequence[Envelope[M, R]]) -> None:
        """Handle one or more messages together, oldest first; none only where some were put off.

        Every ask among them is to be answered before this returns, or put off; one that is not fails with
        `AskUnanswered`. If this
        raises, the envelopes that have not been answered are what the actor crashed on, tells included: `answer` marks
        a tell as dealt with.
        """
        for envelope in batch:
            envelope.answer(await self.on_message(envelope.message))

    async def on_stop(self) -> None:
        """Take leave, after the last message and within the spec's `stop_timeout`.

        Not called after a crash, nor when time runs out or the whole tree is cancelled: what must be released then
        belongs into a service, under `async with`.
        """

    def on_tell_at_rest(self, message: M) -> bool:
        """Handle a tell in the middle of its sender, while the actor waits and its mailbox is empty; whether it did.

        Waking the actor's task costs more than many a message does. What is not taken here goes into the mailbox.
        Messages stay in order, as nothing is waiting. Only `tell_nowait` comes this way. Must neither block nor wait;
        what it tells, its own actor or another, goes into a mailbox. If it raises, the actor crashes on the message as
        ever, and the sender hears nothing of it.
        """
        return False

    def on_idle(self) -> bool:
        """Whether to stop for good, as by `stop_child`, now that the mailbox has been empty for `idle_after` seconds.

        Called without a checkpoint between the look into the mailbox and, if this returns True, the closing of the
        ref and the freeing of the name: no message slips in between. Must not block. After False it is asked again
        `idle_after` seconds later.
        """
        return False


class Service(Protocol):
    """Anything long-running without a mailbox, such as a listener. A `ServiceSpec` has a supervisor run it."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> object:
        """Do the work; call `task_status.started()` when ready, within the spec's `start_timeout`.

        Returning ends the service, after which a permanent one is started anew. Raising is a crash. Cancelled when the
        whole tree is, or when the service does not stop in time.
        """


@runtime_checkable
class StoppableService(Protocol):
    """A service that can be asked to end. Others are cancelled at once when they are stopped."""

    def request_stop(self) -> None:
        """Make `run` return, within the spec's `stop_timeout`. Must not block."""


class Tree(ABC):
    """A service with children of its own, such as a supervisor: its statistics become a part of its parent's.

    To be inherited from, as many a service has some other method of the name `statistics`.
    """

    @abstractmethod
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> object:
        """See `Service`."""

    @abstractmethod
    def statistics(self, levels: int | None = None) -> ChildStatistics:
        """This node and what is below it: so many levels of it, or all."""
