"""What stands behind a ref: the mailbox, and whether its actor takes messages now.

Senders hold an `ActorRef`, which is the public face of this. The kernel alone holds the address: it knows when an actor
opens, closes and ends, and it reads the mailbox.
"""

from collections.abc import Callable, Iterable
from typing import Any

from djactors.kernel._alarms import Alarms
from djactors.kernel._crash import described
from djactors.kernel._envelope import Envelope
from djactors.kernel._errors import ActorCrashed, ActorQuarantined, ActorStopped, MailboxFull
from djactors.kernel._events import logger
from djactors.kernel._latch import Latch
from djactors.kernel._mailbox import Mailbox


class Address:
    """The mailbox of one child and what is known about it. It outlives the instances that read the mailbox.

    Attributes:
        name: the child's name, for error messages.
        alarms: the deadlines of asks.
        mailbox: where the messages wait.
        quarantined: whether the actor kept crashing and is set aside for now.
        taker: is offered tells while the mailbox is empty and awaited; it says whether it took the message.
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
        """Refuse for good and let those go who wait for the end."""
        self.refuse()
        self.ended.set()

    def give_up(self, envelopes: Iterable[Envelope[Any, Any]], crash: Exception | None = None) -> tuple[Any, ...]:
        """Fail what nobody will handle: with `ActorCrashed` over `crash`, else as a sender would be refused now.

        A `reply` that raises must not keep the other senders waiting: its exception is logged.

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
        """What a sender is told while messages are refused."""
        if self.quarantined:
            return ActorQuarantined(f"{self.name} keeps crashing and is set aside for a while")
        return ActorStopped(f"{self.name} has stopped")

    def overflow(self) -> MailboxFull:
        """What a sender who does not wait is told while there is no room."""
        return MailboxFull(f"the mailbox of {self.name} is full")

    def _crashed(self, crash: Exception) -> ActorCrashed:
        # Each asker gets its own: an exception that is raised in several tasks collects all their tracebacks.
        crashed = ActorCrashed(f"{self.name} crashed on this message: {described(crash)}")
        crashed.__cause__ = crash
        return crashed
