"""Records commands: a batch of them in one commit, each carried out inside the writer's transaction. The inbox changes
nowhere else.

Rules:
  * A batch of commands is one unit of work. A refused command leaves nothing behind, because refusals come before the
    first staging. If a refusal comes later, or if anything else goes wrong, the whole batch is rolled back, and each
    command is carried out again behind a savepoint of its own (`record_each`). So the error of one command does not
    affect the others.
  * A commit is bounded by what it writes, not only by its commands, because a comment on a job with a thousand watchers
    is a thousand rows. Of a larger batch only the first commands are carried out, and the number of outcomes says how
    many. Only what reads many notifications at once is taken apart: a slice of it is carried out, the command has no
    outcome yet, and whoever asks for it again goes on with it.
  * A commit that somebody else waits for ends sooner. Whoever has it recorded says whether somebody waits, since only
    the layers above know whose a command is.
  * Everything is checked before it is recorded: what came in as bytes by its decoder, everything else here (`checked`).
  * Whatever a client can see changes only with a sequence number.
  * The answer to an event with an idempotency key is stored with the event, and a retry gets the same bytes.
  * On a database that several nodes share, the tenants of all commands are held from the start (`sharing`), and what
    the commands will ask for is fetched in few round trips (`prefetch`). After that the rules are the same.
  * What concerns the whole installation is done by one node at a time. It finds the tenants that it will touch, holds
    them, and looks again. A node whose turn it is not does nothing, and is told to ask again later.

`Recording` is used on the event loop, and `Recorder` runs on the writer's thread. Neither knows actors or sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import msgspec

from djactors.domain import events
from djactors.domain.commands import (
    Archive,
    Command,
    Delete,
    EraseSlice,
    ExpireSlice,
    Introduce,
    MarkAllRead,
    MarkJobRead,
    MarkRead,
    MarkSeen,
    MarkUnread,
    MuteJob,
    NoteRoom,
    Outcome,
    OwnCommand,
    Publish,
    Published,
    PurgeSlice,
    RaiseAlerts,
    Recorded,
    SendSummaries,
    SignOut,
    SliceCommand,
    Sliced,
    Snooze,
    Unarchive,
    UnmuteJob,
    Unsnooze,
    WakeSnoozed,
    checked,
)
from djactors.domain.errors import Code, Refused, importing
from djactors.domain.importing import AbandonImport, BeginImport, FinishImport, ImportCommand, ImportRows
from djactors.domain.limits import Limits
from djactors.domain.notification_rules import BUILT_IN_RULES, Rules
from djactors.domain.notifications import encode
from djactors.domain.times import WALL_CLOCK, utc_text
from djactors.inbox import accounts, alerts, erasure, mutes, notices, places, reading, retention, room, workflow
from djactors.inbox import importing as imports
from djactors.inbox.holding import Held, hold
from djactors.inbox.known import Known
from djactors.inbox.notices import Entry, Suppressed
from djactors.inbox.prefetch import prefetch
from djactors.inbox.sharing import Sharing
from djactors.inbox.unit import UnitOfWork
from djactors.store.connection import ChildrenFirst, Connection
from djactors.store.database import Database
from djactors.store.errors import StoreDamaged, StoreError

SELECT_KEY = """SELECT id, fingerprint, answer FROM domain_events
    WHERE tenant_id = ? AND sender = ? AND idempotency_key = ?"""


WRITES_A_COMMIT = 8000
"""Stagings of a commit, some 3 µs each: 25 ms. A batch post of a thousand ordinary events, six to eight stagings each,
fits into one commit, and half as many events with 2 KB of `data`. A command is taken as long as one more like the one
before it fits, so no commit is larger by more than one command."""

WRITES_WHILE_AWAITED = 800
"""The same while somebody else waits: 3 ms. Always as few would cost a batch of a thousand events more than half as
much CPU again, mostly because each commit makes a write to each socket."""


TURN_SECONDS = timedelta(seconds=5)
"""When to ask again for a slice of what concerns the whole installation while another node does it. If that node dies,
its turn ends with its transaction."""


def nobody_waits() -> bool:
    """The commit is nobody else's concern."""
    return False


class _LateRefusalError(Exception):
    """A command was refused after it had staged something, so the batch must be carried out one by one."""


class EventAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """An event is durable, as change `seq` of its tenant: who is notified of it, and who is not and why."""

    event_id: int
    seq: int
    notifications: list[Entry]
    suppressed: list[Suppressed]


class Recording:
    """The writing half of an inbox: records a batch of commands in one commit.

    Args:
        database: is open and migrated.
        now: the wall clock, as an aware time.
        limits: how much a user is told.
        writes: stagings of a commit.
        node: this process's name among those that share the database; see `sharing`. One that is alone needs none.
        rules: who is notified of what.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime] = WALL_CLOCK,
        limits: Limits | None = None,
        writes: int = WRITES_A_COMMIT,
        node: str = "",
        rules: Rules = BUILT_IN_RULES,
    ) -> None:
        self._database = database
        self._now = now
        self._recorder = Recorder(now, limits, writes, node, rules)
        database.when_rolled_back(self._recorder.forget)
        database.when_others_wrote(self._recorder.others_wrote)

    async def give_way(self, seconds: float) -> None:
        """Let the commit that is under way, if there is one, be done first; see `Database.give_way`."""
        await self._database.give_way(seconds)

    async def record(self, commands: Sequence[Command], is_awaited: Callable[[], bool] = nobody_waits) -> Recorded:
        """Carry out commands in one commit, all or the first so many. They are durable when this returns.

        There are as many outcomes as commands were carried out: all of them if the commit does not become too large,
        and none if it has room only for a slice of the first one. Ask for the others again.

        What removes an import has a commit of its own, in which SQLite looks for nothing that points at its rows.

        The outcome of a command that was refused or failed is its exception; the other commands are not affected. If
        the caller is cancelled, the commit may still happen.

        A command that needs a damaged page of the database fails alone as well. SQLite commits nothing more of a
        transaction that has met one, so the others are carried out in other commits.

        `is_awaited` says whether somebody waits for the end of this commit who has no part in it. It is called on the
        writer's thread, once for each command after `WRITES_WHILE_AWAITED`.

        Raises:
            StoreError: nothing of the batch was recorded.
        """
        is_removal = False
        if AbandonImport in map(type, commands):
            place = [type(command) for command in commands].index(AbandonImport)
            is_removal, commands = place == 0, commands[: max(place, 1)]
        while True:
            try:
                try:
                    work = partial(self._recorder.record, commands=commands, is_awaited=is_awaited)
                    return await self._database.write(ChildrenFirst(work) if is_removal else work)
                except StoreError:
                    raise
                except Exception:  # noqa: BLE001 - behind a savepoint each, only the command at fault fails
                    work = partial(self._recorder.record_each, commands=commands, is_awaited=is_awaited)
                    return await self._database.write(ChildrenFirst(work) if is_removal else work)
            except StoreDamaged as damaged:
                if len(commands) == 1:
                    return Recorded([damaged], {}, {})
                commands = commands[: len(commands) // 2]


class Recorder:
    """Carries out commands on a connection that is inside a transaction.

    Args:
        now: the wall clock's aware time.
        limits: how much a user is told.
        writes: stagings of a commit.
        node: this process's name among those that share the database; see `sharing`.
        rules: who is notified of what.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        limits: Limits | None = None,
        writes: int = WRITES_A_COMMIT,
        node: str = "",
        rules: Rules = BUILT_IN_RULES,
    ) -> None:
        self._rules = rules
        self._writes = writes
        self._node = node
        self._now = now
        self._limits = Limits() if limits is None else limits
        self._known = Known()
        self._others_wrote = False

    def forget(self) -> None:
        """Forget what is known, because what was recorded since the last commit was rolled back."""
        self._known.forget()

    def others_wrote(self) -> None:
        """Note that another connection has written. What is recorded in the same transaction then says so as well."""
        self._known.forget()
        self._others_wrote = True

    def record(
        self,
        connection: Connection,
        commands: Sequence[Command],
        is_awaited: Callable[[], bool] = nobody_waits,
    ) -> Recorded:
        """Carry out a batch, all of it or the first so many commands, as one unit of work, without savepoints.

        Raises:
            Exception: whatever went wrong. The transaction must be rolled back, and `record_each` finds the command at
                fault.
        """
        self._known.trim()
        outcomes: list[Outcome | Exception] = []
        sharing = None
        try:
            if connection.is_shared:
                commands, needs, sharing = self._hold(connection, commands)
            unit = self._unit(connection, sharing)
            if sharing is not None:
                prefetch(unit, needs)
            for command in commands:
                before = unit.writes
                try:
                    outcome = self._carry_out(unit, command)
                    if outcome is None:
                        break
                    outcomes.append(outcome)
                except Refused as refused:
                    if unit.writes != before:
                        raise _LateRefusalError from refused
                    outcomes.append(refused)
                if self._is_full(2 * unit.writes - before, is_awaited):
                    break
                if sharing is not None:
                    unit.flush_ahead()
            if unit.wanted_summaries:
                # A summary is of what many posts have brought.
                unit.trace = None
                notices.settle_summaries(unit)
            others_wrote = self._take_others_wrote()
            ends = _ends(unit, commands[: len(outcomes)])
            unit.flush()
            if sharing is not None:
                sharing.tell(unit.changes, unit.accounts, unit.ended)
        except BaseException:
            self.forget()
            raise
        return Recorded(
            outcomes,
            unit.changes,
            unit.unread,
            unit.next_alert,
            others_wrote,
            unit.accounts,
            unit.unseen,
            frozenset() if sharing is None else frozenset(sharing.others_wrote_in),
            frozenset(unit.ended),
            ends,
        )

    def record_each(
        self,
        connection: Connection,
        commands: Sequence[Command],
        is_awaited: Callable[[], bool] = nobody_waits,
    ) -> Recorded:
        """Carry out a batch, all of it or the first so many commands, with a savepoint around each command. The outcome
        of a command that fails is its exception."""
        writes = 0
        whole = Recorded([], {}, {})
        next_alerts: list[str] = []
        ended: set[int] = set()
        self.forget()
        sharing = None
        if connection.is_shared:
            # Before any savepoint: to roll back to one would let go of what was locked since.
            commands, _, sharing = self._hold(connection, commands)
        for command in commands:
            connection.execute("SAVEPOINT command")
            unit = self._unit(connection, sharing)
            try:
                outcome: Outcome | Exception | None = self._carry_out(unit, command)
                notices.settle_summaries(unit)
                unit.flush()
                connection.settle()
            except Exception as error:  # the savepoint supervises: whatever a command does wrong is its own
                self.forget()
                if not connection.in_transaction or connection.failure_of(error) is not None:
                    raise  # the database itself gave up (disk full, I/O error): no command is to blame
                connection.execute("ROLLBACK TO command")
                if sharing is not None:
                    sharing.undone()
                outcome = error
            else:
                for tenant_id, changes in unit.changes.items():
                    whole.changes.setdefault(tenant_id, []).extend(changes)
                whole.unread.update(unit.unread)
                whole.unseen.update(unit.unseen)
                whole.accounts.update(unit.accounts)
                whole.ends.update(_ends(unit, [command]))
                ended |= unit.ended
                if unit.next_alert is not None:
                    next_alerts.append(unit.next_alert)
            connection.execute("RELEASE command")
            if outcome is None:
                break
            whole.outcomes.append(outcome)
            writes += unit.writes
            if self._is_full(writes + unit.writes, is_awaited):
                break
        if sharing is not None:
            sharing.tell(whole.changes, whole.accounts, ended)
        return msgspec.structs.replace(
            whole,
            next_alert=min(next_alerts, default=None),
            others_wrote=self._take_others_wrote(),
            others_wrote_in=frozenset() if sharing is None else frozenset(sharing.others_wrote_in),
            ended_in=frozenset(ended),
        )

    def _is_full(self, writes: int, is_awaited: Callable[[], bool]) -> bool:
        """Whether a commit ends here. `writes` is what it would write with one more command like the one before."""
        return writes > self._writes or (writes > WRITES_WHILE_AWAITED and is_awaited())

    def _take_others_wrote(self) -> bool:
        """Whether another connection has written. This is told once; if the commit fails, the store tells it again."""
        others_wrote, self._others_wrote = self._others_wrote, False
        return others_wrote

    def _unit(self, connection: Connection, sharing: Sharing | None) -> UnitOfWork:
        known = self._known
        if sharing is None and known.importing is None:
            known.importing = set(imports.under_way(connection))
        return UnitOfWork(connection, self._now(), self._limits, known, sharing, self._rules)

    def _hold(self, connection: Connection, commands: Sequence[Command]) -> Held:
        return hold(connection, self._known, self._node, commands, utc_text(self._now()))

    @staticmethod
    def _require_served(unit: UnitOfWork, command: Command) -> None:
        """Refuse what is about a tenant of which only a part is here."""
        if isinstance(command, (SliceCommand, ImportCommand)):
            return
        tenant_id = command.event.tenant_id if isinstance(command, Publish) else command.tenant_id
        if tenant_id in unit.importing:
            raise importing()

    def _carry_out(self, unit: UnitOfWork, command: Command) -> Outcome | None:
        """The outcome; None if only a slice of the command was carried out."""
        if unit.importing:
            self._require_served(unit, command)
        if type(command) is Publish and command.decoded:  # first: what comes in masses
            unit.trace = command.trace
            return _publish(unit, command)
        command = checked(command)
        unit.trace = command.trace if isinstance(command, Publish) else None
        if unit.sharing is not None and isinstance(command, SliceCommand) and not unit.sharing.take_turn(command):
            return _later(unit, command)
        if unit.has_imports and isinstance(command, (ExpireSlice, PurgeSlice)):
            return _later(unit, command)
        match command:
            case Publish():
                return _publish(unit, command)
            case MarkRead():
                return reading.mark_read(unit, command)
            case MarkAllRead():
                return reading.mark_all_read(unit, command)
            case Delete():
                return reading.delete(unit, command)
            case MarkUnread():
                return reading.mark_unread(unit, command)
            case MarkSeen():
                return reading.mark_seen(unit, command)
            case MarkJobRead():
                return reading.mark_job_read(unit, command)
            case Archive():
                return places.archive(unit, command)
            case Unarchive():
                return places.unarchive(unit, command)
            case Snooze():
                return places.snooze(unit, command)
            case Unsnooze():
                return places.unsnooze(unit, command)
            case MuteJob():
                return mutes.mute(unit, command)
            case UnmuteJob():
                return mutes.unmute(unit, command)
            case Introduce():
                return workflow.introduce(unit, command)
            case SignOut():
                return accounts.sign_out(unit, command)
            case EraseSlice():
                return erasure.erase_slice(unit, command)
            case BeginImport():
                return imports.begin(unit, command)
            case ImportRows():
                return imports.take_in(unit, command)
            case FinishImport():
                return imports.finish(unit, command)
            case AbandonImport():
                return imports.abandon(unit, command)
            case RaiseAlerts():
                return alerts.raise_alerts(unit, command)
            case SendSummaries():
                return alerts.send_summaries(unit, command)
            case WakeSnoozed():
                return places.wake(unit, command)
            case ExpireSlice():
                return retention.expire_slice(unit, command)
            case PurgeSlice():
                return retention.purge_slice(unit, command)
            case NoteRoom():
                return room.note(unit, command)


def _ends(unit: UnitOfWork, commands: Sequence[Command]) -> dict[int, int]:
    """See `Recorded.ends`."""
    tenant_ids = {command.tenant_id for command in commands if isinstance(command, OwnCommand)}
    return {id_: tenant.last_seq for id_ in tenant_ids if (tenant := unit.tenant(id_)) is not None}


def _later(unit: UnitOfWork, command: SliceCommand) -> Sliced:
    """Nothing is done for the whole installation now; it is to be asked for again."""
    after = command.after if isinstance(command, PurgeSlice) else 0
    return Sliced(0, more=False, next_due=utc_text(unit.moment + TURN_SECONDS), after=after)


def _publish(unit: UnitOfWork, command: Publish) -> Published:
    event, key = command.event, command.key
    fingerprint = place = None
    if key is not None:
        fingerprint = events.fingerprint(event, with_job=command.with_job)
        place = event.tenant_id, command.sender, key
        earlier = unit.keys[place] if place in unit.keys else _stored_answer(unit, place)
        if earlier is not None:
            if earlier[1] != fingerprint:
                raise Refused(
                    Code.KEY_REUSED,
                    f"the key {key!r} was used for another event or route: send each event under its own key",
                )
            return Published(earlier[0], earlier[2], repeated=True)
    come = workflow.apply(unit, event, command.person)
    told, job_id = come.told, None if come.job is None else come.job.id
    tenant = unit.ensure_tenant(event.tenant_id)
    event_id = unit.next_id("domain_events")
    kind = events.TYPES[type(event)]
    by_person = command.person is not None and not command.person.is_backend
    entries, suppressed = notices.tell(unit, tenant, event_id, told.drafts, job_id, by_person=by_person)
    come.announce(tenant)
    if told.suppressed:
        by_rule = [notices.suppress(unit, tenant, user, event_id, type_, why) for user, why, type_ in told.suppressed]
        suppressed = by_rule + suppressed
    if command.with_job and come.job is not None:
        answer = encode(workflow.view(unit, come.job))
    else:
        answer = encode(EventAnswer(event_id, tenant.last_seq, entries, suppressed))
    occurred = unit.now if event.occurred_at is None else utc_text(event.occurred_at)
    keyed: tuple[object, ...] = ()
    if place is not None and fingerprint is not None:
        unit.keys[place] = event_id, fingerprint, answer
        keyed = command.sender, key, fingerprint, answer.decode()
    unit.add_event((event_id, tenant.id, kind, event.actor_id, job_id, tenant.last_seq, occurred, unit.now), keyed)
    return Published(event_id, answer, notified=len(entries), suppressed=len(suppressed))


def _stored_answer(unit: UnitOfWork, place: tuple[int, int, str]) -> tuple[int, str, bytes] | None:
    row = unit.connection.execute(SELECT_KEY, place).fetchone()
    return None if row is None else (row[0], row[1], row[2].encode())
