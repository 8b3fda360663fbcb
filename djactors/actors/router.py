"""The router: every command of every user and backend passes here, into one commit, and from there to the user actors.

Rules:
  * It takes all that is in its mailbox, a batch, and has it recorded in one transaction. While that commits, the next
    batch gathers: load makes batches larger, not queues longer.
  * Nobody is told or answered before the commit is durable.
  * A batch that the store could not commit fails as a whole, with the store's reason; nothing of it happened. A command
    that was refused or was itself at fault fails alone.
  * Its mailbox is the bound on waiting commands: senders use `tell_nowait` forms and answer 503 when it is full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from djactors.actors.users import Users
from djactors.domain.commands import Command, Outcome, Publish, Published, Recorded
from djactors.domain.errors import Refused
from djactors.domain.events import event_type
from djactors.kernel import Actor, Envelope
from djactors.store.errors import StoreError
from djactors.telemetry import Telemetry


class Store(Protocol):
    """What the router asks of the store."""

    async def record(self, commands: Sequence[Command]) -> Recorded:
        """Carry out commands in one commit. Raises StoreError when nothing was recorded."""


def _ignore(_: str) -> None:
    """Nobody keeps time."""


class Router(Actor[Command]):
    """See the module for the rules.

    Args:
        store: what commits.
        users: who is connected.
        telemetry: counts and logs.
        batch_limit: commands in one commit.
        on_alert: is told the moment of an SLA alert or a summary that a commit made the earliest; must not wait.
    """

    def __init__(
        self,
        store: Store,
        users: Users,
        telemetry: Telemetry,
        batch_limit: int,
        on_alert: Callable[[str], None] = _ignore,
    ) -> None:
        self._store = store
        self._on_alert = on_alert
        self._users = users
        self._telemetry = telemetry
        self.batch_limit = batch_limit

    async def on_batch(self, batch: Sequence[Envelope[Command]]) -> None:
        """One batch, one commit."""
        commands = [envelope.message for envelope in batch]
        try:
            recorded = await self._store.record(commands)
        except StoreError as error:
            self._telemetry.log.warning("commit failed", commands=len(commands), error=str(error))
            for envelope in batch:
                self._count(envelope.message, "unavailable")
                envelope.fail(error)
            return
        self._users.deliver(recorded, trio.current_time())
        if recorded.next_alert is not None:
            self._on_alert(recorded.next_alert)
        for envelope, outcome in zip(batch, recorded.outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._failed(envelope, outcome)
            else:
                self._recorded(envelope.message, outcome)
                envelope.answer(outcome)

    def _recorded(self, command: Command, outcome: Outcome) -> None:
        if not isinstance(outcome, Published):
            self._count(command, "recorded")
            return
        self._count(command, "repeated" if outcome.repeated else "recorded")
        self._telemetry.log.debug(
            "event recorded",
            tenant_id=_tenant_of(command),
            event_id=outcome.event_id,
            repeated=outcome.repeated,
            notified=outcome.notified,
            suppressed=outcome.suppressed,
        )

    def _failed(self, envelope: Envelope[Command], error: Exception) -> None:
        if isinstance(error, Refused):
            self._count(envelope.message, "refused")
        else:
            self._count(envelope.message, "failed")
            self._telemetry.log.error(
                "command failed",
                command=type(envelope.message).__name__,
                tenant_id=_tenant_of(envelope.message),
                exc_info=error,
            )
        envelope.fail(error)

    def _count(self, command: Command, outcome: str) -> None:
        if isinstance(command, Publish):
            self._telemetry.metrics.events.labels(event_type(command.event), outcome).inc()
        else:
            self._telemetry.metrics.commands.labels(type(command).__name__, outcome).inc()


def _tenant_of(command: Command) -> int | None:
    """Whose command it was; None for those of the clock and of retention, which are the whole installation's."""
    return command.event.tenant_id if isinstance(command, Publish) else getattr(command, "tenant_id", None)
