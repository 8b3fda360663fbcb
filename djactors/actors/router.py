"""The router: has the commands of all users and backends committed in batches, and then tells the user actors.

Rules:
  * The router takes everything in its mailbox as a batch and has it recorded in one transaction. Meanwhile the next
    batch gathers, so load makes batches larger and not queues longer.
  * A commit costs about as much as eight commands, whatever is in it, so while commands come together it waits a
    moment for those who were just answered to come back (`Actor.linger`). Otherwise they would fall into two halves
    that take turns, each with a commit of its own: a fifth more CPU at 64 producers, half as much again at 8.
  * The commit is durable before anybody is told or answered.
  * Commands that were asked for together (`PublishAll`) are committed together. A commit takes at most `batch_limit`
    commands; a larger batch becomes several commits.
  * A batch that the store could not commit fails as a whole, with the store's reason, and nothing was acknowledged. A
    command that was refused or is itself at fault fails alone.
  * The mailbox bounds the waiting commands: senders use the `nowait` forms and answer 503 when it is full.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeAlias, cast

import trio

from djactors.actors.command_ref import PublishAll, RouterMessage, RouterReply
from djactors.actors.deliveries import NEW
from djactors.actors.users import Users
from djactors.domain.commands import Command, Outcome, Publish, Published, Recorded
from djactors.domain.errors import Refused
from djactors.domain.events import TYPES
from djactors.kernel import Actor, Envelope
from djactors.store.errors import StoreError, twin
from djactors.telemetry import Telemetry

_Envelope: TypeAlias = Envelope[RouterMessage, RouterReply]


class Store(Protocol):
    """What the router asks of the store."""

    async def record(self, commands: Sequence[Command]) -> Recorded:
        """Carry out commands in one commit. Raises StoreError if none of them was acknowledged."""


def _ignore(_: str) -> None:
    """Nobody keeps time."""


class Router(Actor[RouterMessage, RouterReply]):
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

    async def on_batch(self, batch: Sequence[_Envelope]) -> None:
        """Commit a batch; in several commits if it has more commands than one commit takes."""
        messages = [envelope.message for envelope in batch]
        if PublishAll not in map(type, messages):
            # Nearly always: each message is a command, and there are no more than a commit takes.
            await self._commit(batch, cast("list[Command]", messages))
            return
        for envelopes, commands in self._parts(batch):
            await self._commit(envelopes, commands)

    def _parts(self, batch: Sequence[_Envelope]) -> Iterator[tuple[list[_Envelope], list[Command]]]:
        """The batch as commits: each with its messages, and all of their commands."""
        envelopes: list[_Envelope] = []
        commands: list[Command] = []
        for envelope in batch:
            message = envelope.message
            more = message.commands if isinstance(message, PublishAll) else (message,)
            if commands and len(commands) + len(more) > self.batch_limit:
                yield envelopes, commands
                envelopes, commands = [], []
            envelopes.append(envelope)
            commands += more
        yield envelopes, commands

    async def _commit(self, envelopes: Sequence[_Envelope], commands: Sequence[Command]) -> None:
        number = self._users.number_commit()
        try:
            recorded = await self._store.record(commands)
        except StoreError as error:
            self._telemetry.log.warning("commit failed", commands=len(commands), error=str(error))
            self._count(Counter((_kind_of(command), "unavailable") for command in commands))
            for envelope in envelopes:
                envelope.fail(twin(error))
            return
        self._telemetry.metrics.commit_items.observe(len(commands))
        await self._users.deliver(recorded, trio.current_time(), number)
        self._count_notifications(recorded)
        if recorded.next_alert is not None:
            self._on_alert(recorded.next_alert)
        # Counted together: a batch is mostly of one kind.
        self._count(Counter(map(self._judged, commands, recorded.outcomes)))
        if self._telemetry.log.is_enabled_for(logging.DEBUG):
            for command, outcome in zip(commands, recorded.outcomes, strict=True):
                self._log(command, outcome)
        outcomes = iter(recorded.outcomes)
        for envelope in envelopes:
            if type(envelope.message) is PublishAll:
                envelope.answer(list(islice(outcomes, len(envelope.message.commands))))
                continue
            outcome = next(outcomes)
            if isinstance(outcome, Exception):
                envelope.fail(outcome)
            else:
                envelope.answer(outcome)

    def _judged(self, command: Command, outcome: Outcome | Exception) -> tuple[type, str]:
        """What a command is counted as, by what came of it; a fault of ours is logged."""
        kind = _kind_of(command)
        if type(outcome) is Published:
            return kind, "repeated" if outcome.repeated else "recorded"
        if not isinstance(outcome, Exception):
            return kind, "recorded"
        if isinstance(outcome, Refused):
            return kind, "refused"
        self._telemetry.log.error(
            "command failed", command=type(command).__name__, tenant_id=_tenant_of(command), exc_info=outcome
        )
        return kind, "failed"

    def _count_notifications(self, recorded: Recorded) -> None:
        new = sum(change.name == NEW for changes in recorded.changes.values() for change in changes)
        if new:
            self._telemetry.metrics.notifications.inc(new)

    def _log(self, command: Command, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Published):
            self._telemetry.log.debug(
                "event recorded",
                tenant_id=_tenant_of(command),
                event_id=outcome.event_id,
                repeated=outcome.repeated,
                notified=outcome.notified,
                suppressed=outcome.suppressed,
            )

    def _count(self, counts: Counter[tuple[type, str]]) -> None:
        metrics = self._telemetry.metrics
        for (kind, outcome), count in counts.items():
            if kind in TYPES:
                metrics.events.labels(TYPES[kind], outcome).inc(count)
            else:
                metrics.commands.labels(kind.__name__, outcome).inc(count)


def _kind_of(command: Command) -> type:
    """What a command is counted as: the class of its event, or its own."""
    return type(command.event) if isinstance(command, Publish) else type(command)


def _tenant_of(command: Command) -> int | None:
    """Whose command it was; None for those of the clock and of retention, which are the whole installation's."""
    return command.event.tenant_id if isinstance(command, Publish) else getattr(command, "tenant_id", None)
