"""A message on its way, and the way back of its answer.

A tell travels in an `Envelope`, an ask in a `Question`, a request in a `Call`. An actor treats all alike: it may answer
any of them, and the answer to a tell goes nowhere. The first answer counts; later ones are ignored, as is one to an
asker who has left.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

M = TypeVar("M")
R = TypeVar("R")


class Expired(Exception):  # noqa: N818 - never leaves the kernel
    """The deadline of an ask has come."""


class Envelope(Generic[M, R]):
    """One message in a mailbox, as `Actor.on_batch` gets it. The parameters are the actor's: message and reply.

    Attributes:
        message: what was told or asked.
        answered: whether `answer` or `fail` has been called. On a tell it says that the message has been dealt with.
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
        """Give the asker `value`. Without effect if the envelope was answered or failed before."""
        self.answered = True

    def fail(self, error: Exception) -> None:
        """Raise `error` in the asker. Not a crash: the actor goes on.

        Each envelope needs an exception of its own: one that is raised in several tasks would collect all their
        tracebacks. Without effect if the envelope was answered or failed before.
        """
        self.answered = True


class Call(Envelope[M, R]):
    """A message whose answer is handed to a function, for senders that have no task to wait in.

    The function gets the answer, or the exception that the message was failed with. It is called exactly once, in the
    middle of whoever settles the message: it must not block, and what it raises is that one's crash.
    """

    __slots__ = ("_reply",)

    def __init__(self, message: M, reply: Callable[[R | Exception], None]) -> None:
        super().__init__(message)
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
        super().__init__(message)
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
        """Nobody has answered in time."""
        self.fail(Expired())

    def _settle(self) -> None:
        self.answered = True
        if self._asker is not None:
            trio.lowlevel.reschedule(self._asker)
            self._asker = None

    def _abandon(self, _: RaiseCancelT) -> Abort:
        self._asker = None
        return Abort.SUCCEEDED
