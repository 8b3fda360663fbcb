"""The router: every command of every user and backend passes here, into one commit, and from there to the user actors.

Rules:
  * It takes all that is in its mailbox, a batch, and has it recorded in one transaction. While that commits, the next
    batch gathers: load makes batches larger, not queues longer.
  * A commit costs about as much as eight commands, whatever is in it, so while commands come together it waits a
    moment for those who were just answered to come back (`Actor.linger`). Otherwise they would fall into two halves
    that take turns, each with a commit of its own: a fifth more CPU at 64 producers, half as much again at 8.
  * Nobody is told or answered before the commit is durable.
  * A batch that the store could not commit fails as a whole, with the store's reason; nothing of it happened. A command
    that was refused or was itself at fault fails alone.
  * Its mailbox is the bound on waiting commands: senders use `tell_nowait` forms and answer 503 when it is full.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from djactors.actors.packets import NEW
from djactors.actors.users import Users
from djactors.domain.commands import Command, Outcome, Publish, Published, Recorded
from djactors.domain.errors import Refused
from djactors.domain.events import Common, event_type
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
        linger: seconds that a commit may wait for more commands.
        on_alert: is told the moment of an SLA alert or a summary that a commit made the earliest; must not wait.
    """

    def __init__(
        self,
        store: Store,
        users: Users,
        telemetry: Telemetry,
        batch_limit: int,
        linger: float,
        on_alert: Callable[[str], None] = _ignore,
    ) -> None:
        self._store = store
        self._on_alert = on_alert
        self._users = users
        self._telemetry = telemetry
        self.batch_limit = batch_limit
        self.linger = linger

    async def on_batch(self, batch: Sequence[Envelope[Command]]) -> None:
        """One batch, one commit."""
        commands = [envelope.message for envelope in batch]
        number = self._users.number_commit()
        try:
            recorded = await self._store.record(commands)
        except StoreError as error:
            self._telemetry.log.warning("commit failed", commands=len(commands), error=str(error))
            for envelope in batch:
                self._count(_kind_of(envelope.message), "unavailable")
                envelope.fail(error)
            return
        await self._users.deliver(recorded, trio.current_time(), number)
        self._count_notifications(recorded)
        if recorded.next_alert is not None:
            self._on_alert(recorded.next_alert)
        # Counted together: a batch is mostly of one kind.
        counts: Counter[tuple[type, str]] = Counter()
        debugs = self._telemetry.log.is_enabled_for(logging.DEBUG)
        for envelope, outcome in zip(batch, recorded.outcomes, strict=True):
            if isinstance(outcome, Exception):
                self._failed(envelope, outcome)
                continue
            command = envelope.message
            repeated = isinstance(outcome, Published) and outcome.repeated
            what = "repeated" if repeated else "recorded"
            counts[type(command.event) if type(command) is Publish else type(command), what] += 1
            if debugs:
                self._log(command, outcome)
            envelope.answer(outcome)
        for (kind, what), count in counts.items():
            self._count(kind, what, count)

    def _count_notifications(self, recorded: Recorded) -> None:
        new = sum(change.name == NEW for changes in recorded.changes.values() for change in changes)
        if new:
            self._telemetry.metrics.notifications.inc(new)

    def _log(self, command: Command, outcome: Outcome) -> None:
        if isinstance(outcome, Published):
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
            self._count(_kind_of(envelope.message), "refused")
        else:
            self._count(_kind_of(envelope.message), "failed")
            self._telemetry.log.error(
                "command failed",
                command=type(envelope.message).__name__,
                tenant_id=_tenant_of(envelope.message),
                exc_info=error,
            )
        envelope.fail(error)

    def _count(self, kind: type, outcome: str, count: int = 1) -> None:
        metrics = self._telemetry.metrics
        if issubclass(kind, Common):
            metrics.events.labels(event_type(kind), outcome).inc(count)
        else:
            metrics.commands.labels(kind.__name__, outcome).inc(count)


def _kind_of(command: Command) -> type:
    """What a command is counted as: the class of its event, or its own."""
    return type(command.event) if isinstance(command, Publish) else type(command)


def _tenant_of(command: Command) -> int | None:
    """Whose command it was; None for those of the clock and of retention, which are the whole installation's."""
    return command.event.tenant_id if isinstance(command, Publish) else getattr(command, "tenant_id", None)
