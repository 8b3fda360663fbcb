"""The router: has the commands of all users and backends committed in batches, and then tells the user actors.

Rules:
  * The router takes everything in its mailbox as a batch and has it recorded in one transaction. Meanwhile the next
    batch gathers, so load makes batches larger and not queues longer.
  * A commit costs about as much as eight commands, whatever is in it, so while commands come together it waits a
    moment for those who were just answered to come back (`Actor.linger`). Otherwise they would fall into two halves
    that take turns, each with a commit of its own: a fifth more CPU at 64 producers, half as much again at 8.
  * The commit is durable before anybody is told or answered.
  * A command about the user's own inbox is answered with the counts after its whole commit (`_counted`).
  * A commit takes at most `batch_limit` commands, and no more than the store carries out at once, because a commit is
    bounded by what it writes. The rest is put off, and from then on tenants are served in turn, and so are the senders
    of a tenant (`Turns`). Whoever makes many notifications with each command is passed over in the commits behind it,
    which have what all others have waiting. So a thousand comments that a thousand people watch keep the posts of
    another tenant waiting for one comment, and not for all of them. The messages of one sender stay in order.
  * A commit ends sooner while somebody waits who has no part in it (`_Awaited`). So a batch of a thousand events is one
    commit for whoever is alone, which costs the least, and five beside others.
  * Commands that were asked for together (`PublishAll`) are committed together if they fit into a commit.
  * A batch that the store could not commit fails as a whole, with the store's reason, and nothing was acknowledged. A
    command that was refused or is itself at fault fails alone.
  * The mailbox bounds the waiting commands: senders use the `nowait` forms and answer 503 when it is full. The messages
    that are put off have a bound as well, and no tenant may have more than half of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeAlias, cast

import trio

from djactors.actors.command_ref import PublishAll, RouterMessage, RouterReply
from djactors.actors.deliveries import Counts
from djactors.domain.commands import (
    Command,
    Counted,
    Introduce,
    Outcome,
    OwnCommand,
    Publish,
    Published,
    Recorded,
)
from djactors.domain.errors import Refused
from djactors.domain.events import TYPES
from djactors.domain.packets import NEW
from djactors.kernel import Actor, Envelope, MailboxFull
from djactors.store.errors import StoreError, twin
from djactors.store.turns import Turn, Turns
from djactors.telemetry import Telemetry, trace_id

_Envelope: TypeAlias = Envelope[RouterMessage, RouterReply]


class Store(Protocol):
    """What the router asks of the store."""

    async def record(self, commands: Sequence[Command], is_awaited: Callable[[], bool]) -> Recorded:
        """Carry out commands in one commit, all or the first so many: as many as there are outcomes.

        They are fewer while `is_awaited`, which the writer's thread asks, says that somebody else waits.

        Raises StoreError if none of them was acknowledged.
        """


class Audience(Protocol):
    """Who is told of commits: the users, or the follower where other nodes write as well."""

    def number_commit(self) -> int:
        """The number of a commit that is about to be asked for."""

    async def deliver(self, recorded: Recorded, committed_at: float, number: int) -> None:
        """Tell those who are connected what a commit changed for them."""

    def counts_behind(self, tenant_id: int, user_id: int, seq: int) -> Counts | None:
        """The counts that a user's sockets were told last, if those are of a change behind the one of this number."""

    def in_doubt(self) -> None:
        """A commit has failed. It may be stored all the same where the connection was lost meanwhile."""


def _ignore(_: str) -> None:
    """Nobody keeps time."""


NOTICES_TOGETHER = 200
"""Notifications in one commit while messages wait for their turn, some 5 ms, and messages of several senders that are
taken as they come, without turns. How many a message will make is not known
before; it is taken for as many as the one before it from the same sender. So whoever makes many is alone in a commit,
and nobody else's answer waits for it."""

PASSES = 3
"""Commits of what others have waiting, at most, between two messages that fill a commit each. With one, whoever posted
during that commit waited for two: for that and for the large one behind it."""

PASSED_OVER = 32
"""Senders that are passed over for one commit. Looking for the next one takes a moment for each of them."""

PUT_OFF = 8192
"""Messages that are put off at a time, some MiB: eight batch posts of a thousand events each. One more is refused as if
the mailbox were full."""

PUT_OFF_OF_A_TENANT = PUT_OFF // 2
"""The part of them that is one tenant's at most: it leaves room for the others."""

NOBODYS: Turn = (0, 0)
"""The turn of the clock's and of retention's commands. No tenant has this id."""


class _Awaited:
    """Whether somebody waits for the end of a commit: one of several whose commands are in it or are put off, or one
    whose message has come meanwhile. Asked on the writer's thread; the loop changes none of it but the mailbox."""

    __slots__ = ("_answer", "_commands", "_peek", "_seen", "_waiting")

    def __init__(
        self, commands: Sequence[Command], waiting: Turns[_Envelope], peek: Callable[[int], Sequence[RouterMessage]]
    ) -> None:
        self._commands = commands
        self._waiting = waiting
        self._peek = peek
        self._seen = 0
        # None until it was asked for the first time; most commits end before.
        self._answer: bool | None = None

    def __call__(self) -> bool:
        turn = _turn_of(self._commands[0])
        if self._answer is None:
            self._answer = len(self._waiting) > self._waiting.waiting(turn) or any(
                _turn_of(command) != turn for command in self._commands
            )
        if not self._answer:
            come = self._peek(self._seen)
            self._seen += len(come)
            self._answer = any(_turn_of(message) != turn for message in come)
        return self._answer


class Router(Actor[RouterMessage, RouterReply]):
    """See the module for the rules.

    Args:
        store: what commits.
        users: who is told.
        telemetry: counts and logs.
        batch_limit: commands in one commit.
        linger: seconds that a commit may wait for more commands.
        on_alert: is told the moment of an SLA alert or a summary that a commit made the earliest; must not wait.
    """

    def __init__(
        self,
        store: Store,
        users: Audience,
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
        # What is put off, which is `put_off` as well while there is any.
        self._waiting: Turns[_Envelope] = Turns()
        # How many notifications the newest command of each sender made or would have made, while some are put off.
        self._weights: dict[Turn, int] = {}
        # In how many more commits of what is put off messages that fill a commit are passed over if they can be.
        self._passes = 0
        # What came of the first commands of those that were asked for together and did not fit into a commit.
        self._partly: dict[_Envelope, list[Outcome | Exception]] = {}

    async def on_batch(self, batch: Sequence[_Envelope]) -> None:
        """One batch, one commit; what does not fit into it is put off."""
        if not self.put_off:
            messages = [envelope.message for envelope in batch]
            # Or the last of them would wait for all that one sender has sent before.
            in_turns = len(batch) > NOTICES_TOGETHER and len(set(map(_turn_of, messages))) > 1
            if not in_turns and PublishAll not in map(type, messages):
                # Nearly always: each message is a command, and all fit into a commit.
                done = await self._commit(batch, cast("list[Command]", messages))
                if done < len(batch):
                    self._put_off(batch[done:])
                    self.put_off = self._waiting
                return
        self._put_off(batch)
        self.put_off = self._waiting
        envelopes, commands = self._take()
        done = 0
        try:
            done = await self._commit(envelopes, commands)
        finally:
            # After a crash as well: whoever has not been answered is among those that were put off.
            for envelope in reversed(envelopes[done:]):
                self._waiting.give_back(_turn_of(envelope.message), envelope)
        if not self._waiting:
            self.put_off = ()
            self._weights.clear()

    def _put_off(self, envelopes: Sequence[_Envelope]) -> None:
        """Have messages wait for their turn; those for which there is no room are refused."""
        waiting = self._waiting
        for envelope in envelopes:
            turn = _turn_of(envelope.message)
            if turn != NOBODYS and (len(waiting) >= PUT_OFF or waiting.waiting_in(turn[0]) >= PUT_OFF_OF_A_TENANT):
                envelope.fail(MailboxFull("as many commands wait for their turn as may"))
            else:
                waiting.add(turn, envelope)

    def _take(self) -> tuple[list[_Envelope], list[Command]]:
        """The next commit: messages whose turn it is, and all of their commands that are still to be carried out.

        After a commit that was filled by one message, those that would fill one are passed over in the next `PASSES`
        commits, as long as others wait.
        """
        waiting = self._waiting
        envelopes: list[_Envelope] = []
        commands: list[Command] = []
        passed_over: dict[Turn, _Envelope] = {}
        notices = 0
        while len(envelopes) < self.batch_limit and notices < NOTICES_TOGETHER and len(passed_over) < PASSED_OVER:
            try:
                envelope = waiting.take(passed_over)
            except LookupError:
                break
            message = envelope.message
            turn = _turn_of(message)
            if type(message) is PublishAll:
                more: Sequence[Command] = message.commands[len(self._partly.get(envelope, ())) :]
            else:
                more = (cast("Command", message),)
            made = len(more) * self._weights.get(turn, 1)
            is_large = len(commands) + len(more) > self.batch_limit or notices + made > NOTICES_TOGETHER
            if is_large and (commands or self._passes):
                passed_over[turn] = envelope
                continue
            envelopes.append(envelope)
            commands += more
            notices += made
        for turn, envelope in reversed(passed_over.items()):
            waiting.give_back(turn, envelope)
        if not envelopes:
            # Only such as fill a commit wait: now it is their turn.
            self._passes = 0
            return self._take()
        self._passes = PASSES if notices > NOTICES_TOGETHER else max(0, self._passes - 1)
        return envelopes, commands

    async def _commit(self, envelopes: Sequence[_Envelope], commands: Sequence[Command]) -> int:
        """Have commands recorded, tell whom they concern, and answer; how many of the messages were dealt with."""
        number = self._users.number_commit()
        traces = self._telemetry.traces
        committing = None if traces.spans is None else traces.committing(commands)
        try:
            recorded = await self._store.record(commands, _Awaited(commands, self._waiting, self.peek))
        except StoreError as error:
            if committing is not None:
                committing.done(error)
            self._users.in_doubt()
            self._telemetry.refusals.repeated(
                "commit failed", type(error).__name__, commands=len(commands), error=str(error)
            )
            self._count((_kind_of(command), "unavailable") for command in commands)
            for envelope in envelopes:
                earlier = self._partly.pop(envelope, None) if self._partly else None
                if earlier is None:
                    envelope.fail(twin(error))
                else:
                    # The others are durable already, and their sender is to know.
                    left = len(cast("PublishAll", envelope.message).commands) - len(earlier)
                    envelope.answer([*earlier, *(twin(error) for _ in range(left))])
            return len(envelopes)
        if committing is not None:
            committing.done()
        self._telemetry.metrics.commit_items.observe(len(recorded.outcomes))
        await self._users.deliver(recorded, trio.current_time(), number)
        self._count_notifications(recorded)
        if recorded.next_alert is not None:
            self._on_alert(recorded.next_alert)
        self._count(map(self._judged, commands, recorded.outcomes))
        if self._telemetry.log.is_enabled_for(logging.DEBUG):
            for command, outcome in zip(commands, recorded.outcomes, strict=False):
                self._log(command, outcome)
        if len(recorded.outcomes) < len(commands) or self.put_off:
            self._weigh(commands, recorded.outcomes)
        outcomes: Iterator[Outcome | Exception] = iter(recorded.outcomes)
        for done, envelope in enumerate(envelopes):
            if type(envelope.message) is PublishAll:
                if not self._answer_all(envelope, envelope.message, outcomes):
                    return done
                continue
            reply = next(outcomes, None)
            if reply is None:
                # There was no room for this one.
                return done
            if isinstance(reply, Exception):
                envelope.fail(reply)
            elif type(reply) is Counted and isinstance(envelope.message, OwnCommand):
                envelope.answer(self._counted(envelope.message, reply, recorded))
            else:
                envelope.answer(reply)
        return len(envelopes)

    def _counted(self, command: OwnCommand, counted: Counted, recorded: Recorded) -> Counted:
        """The counts to answer a command with: no older ones than the user's sockets have been told by now. A client
        that shows them would be wrong until the next change."""
        key = command.tenant_id, command.user_id
        if key in recorded.unread:
            counted = Counted(recorded.unread[key], recorded.unseen[key])
        end = recorded.ends.get(command.tenant_id)
        # Another node's commit may have been told before the answer to this one.
        told = None if end is None else self._users.counts_behind(*key, end)
        return counted if told is None else Counted(*told)

    def _weigh(self, commands: Sequence[Command], outcomes: Sequence[Outcome | Exception]) -> None:
        for command, outcome in zip(commands, outcomes, strict=False):
            if type(outcome) is Published:
                self._weights[_turn_of(command)] = outcome.notified + outcome.suppressed

    def _answer_all(self, envelope: _Envelope, message: PublishAll, outcomes: Iterator[Outcome | Exception]) -> bool:
        """Answer what was asked for together, once all of it was carried out; whether it was."""
        gathered = self._partly.pop(envelope, [])
        gathered += islice(outcomes, len(message.commands) - len(gathered))
        if len(gathered) < len(message.commands):
            self._partly[envelope] = gathered
            return False
        envelope.answer(gathered)
        return True

    def _judged(self, command: Command, outcome: Outcome | Exception) -> tuple[type, str]:
        """What a command is counted as, by what came of it; a fault of ours is logged."""
        if type(command) is Publish and type(outcome) is Published:  # first: what comes in masses
            return type(command.event), "repeated" if outcome.repeated else "recorded"
        kind = _kind_of(command)
        if not isinstance(outcome, Exception):
            return kind, "recorded"
        if isinstance(outcome, Refused):
            return kind, "refused"
        self._telemetry.log.error(
            "command failed",
            command=type(command).__name__,
            tenant_id=_tenant_of(command),
            trace_id=_trace_id_of(command),
            exc_info=outcome,
        )
        return kind, "failed"

    def _count_notifications(self, recorded: Recorded) -> None:
        new = 0
        for changes in recorded.changes.values():
            for change in changes:
                new += change.name == NEW
        if new:
            self._telemetry.metrics.notifications.add(new)

    def _log(self, command: Command, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Published):
            self._telemetry.log.debug(
                "event recorded",
                trace_id=_trace_id_of(command),
                tenant_id=_tenant_of(command),
                event_id=outcome.event_id,
                repeated=outcome.repeated,
                notified=outcome.notified,
                suppressed=outcome.suppressed,
            )

    def _count(self, judged: Iterable[tuple[type, str]]) -> None:
        # Counted together first: a batch is mostly of one kind.
        counts: dict[tuple[type, str], int] = {}
        for each in judged:
            counts[each] = counts.get(each, 0) + 1
        metrics = self._telemetry.metrics
        for (kind, outcome), count in counts.items():
            if kind in TYPES:
                metrics.events.add(count, TYPES[kind], outcome)
            else:
                metrics.commands.add(count, kind.__name__, outcome)


def _turn_of(message: RouterMessage) -> Turn:
    """Whose turn a message is: that of a sender in a tenant."""
    if type(message) is PublishAll:
        message = message.commands[0]
    match message:
        case Publish():
            return message.event.tenant_id, message.sender
        case Introduce():
            return message.tenant_id, message.person.user_id
        case OwnCommand():
            return message.tenant_id, message.user_id
        case _:
            return NOBODYS


def _kind_of(command: Command) -> type:
    """What a command is counted as: the class of its event, or its own."""
    return type(command.event) if isinstance(command, Publish) else type(command)


def _tenant_of(command: Command) -> int | None:
    """Whose command it was; None for those of the clock and of retention, which are the whole installation's."""
    return command.event.tenant_id if isinstance(command, Publish) else getattr(command, "tenant_id", None)


def _trace_id_of(command: Command) -> str | None:
    """What the log calls the post that brought it; None for what no post brought."""
    return trace_id(command.trace) if isinstance(command, Publish) else None
