"""Deliberate bugs, each of which breaks one promise. A simulation that does not find them would find no others either.

Each is switched on for a run by its context manager and changes one thing of the server's code, as a careless change
might.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from math import ceil, log
from typing import Any

import msgspec

from djactors.actors import users as users_module
from djactors.actors.deliveries import Deliver, Outgoing
from djactors.actors.presence import Presence
from djactors.actors.user import UserActor
from djactors.actors.users import Users
from djactors.domain import marks
from djactors.domain.commands import Published, Recorded
from djactors.engine import Session
from djactors.inbox import alerts, recorder, unit
from djactors.inbox import log as inbox_log
from djactors.inbox.inbox import Inbox
from djactors.inbox.log import Replay
from djactors.inbox.recorder import Recorder
from djactors.inbox.unit import UnitOfWork
from djactors.kernel import ActorStopped, MailboxFull
from djactors.store.errors import StoreUnavailable
from djactors.store.sqlite.connections import Writer
from djactors.store.threads import Call
from tests.simulation.plan import draw
from tests.simulation.run import attempt


@contextmanager
def _instead(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)


def acknowledge_before_sync() -> AbstractContextManager[None]:
    """The writer leaves the sync to the system, which does it some time later."""
    original = Writer.open

    def open_(self: Writer) -> None:
        original(self)
        self._connection.execute("PRAGMA synchronous = OFF")

    return _instead(Writer, "open", open_)


def acknowledge_before_commit() -> AbstractContextManager[None]:
    """What was written is answered, and committed with what is written next."""

    def commit(self: Writer, call: Call[Any]) -> None:
        connection: sqlite3.Connection = self._connection
        if connection.in_transaction:
            connection.execute("COMMIT")
        version = self._begin()
        try:
            call.value = call.work(connection)
        except Exception as error:
            self._roll_back()
            call.error = error
        self._version = version

    return _instead(Writer, "_commit", commit)


def drop_a_change_of_a_replay() -> AbstractContextManager[None]:
    """Whoever comes back and missed several changes is not told of the first."""
    original = Inbox.replay

    async def replay(self: Inbox, *args: Any, **options: Any) -> Any:
        found = await original(self, *args, **options)
        if isinstance(found, Replay) and len(found.changes) > 1:
            return msgspec.structs.replace(found, changes=found.changes[1:])
        return found

    return _instead(Inbox, "replay", replay)


def count_one_too_few() -> AbstractContextManager[None]:
    """What is read all at once is counted less one."""
    original = UnitOfWork.count_unread

    def count_unread(self: UnitOfWork, user: Any, difference: int) -> Any:
        return original(self, user, difference + 1 if difference < -1 else difference)

    return _instead(UnitOfWork, "count_unread", count_unread)


def tell_another_user() -> AbstractContextManager[None]:
    """With a person's own changes somebody else of the tenant who is connected is told of them."""
    original = users_module.sort_out

    def sort_out(changes: Any, present: dict[int, Presence]) -> tuple[dict[int, list[Outgoing]], Sequence[Outgoing]]:
        own, shared = original(changes, present)
        for user_id in sorted(own):
            for other in sorted(present):
                if other not in own:
                    own[other] = list(own[user_id])
                    return own, shared
        return own, shared

    return _instead(users_module, "sort_out", sort_out)


def leave_the_payload_out_of_the_mark() -> AbstractContextManager[None]:
    """Two changes of the same number and kind have the same mark."""
    original = marks.mark_of

    def mark_of(before: int, seq: int, name: str, user_id: int | None, body: bytes) -> int:
        return original(before, seq, name, user_id, b"")

    return _instead(unit, "mark_of", mark_of)


def believe_any_number() -> AbstractContextManager[None]:
    """An offset is good if its number is in the log, whatever its mark."""

    def holds(_: Any, __: int, offset: marks.Offset, reach: inbox_log.Reach) -> bool:
        return reach.oldest.seq <= offset.seq <= reach.last.seq

    return _instead(inbox_log, "holds", holds)


def answer_a_retry_with_less() -> AbstractContextManager[None]:
    """After a restart a retry is answered without the notifications that it made."""
    original = recorder._stored_answer

    def stored_answer(*args: Any) -> tuple[int, str, bytes] | None:
        found = original(*args)
        if found is None:
            return None
        answer = msgspec.json.decode(found[2])
        return found[0], found[1], msgspec.json.encode({**answer, "notifications": []})

    return _instead(recorder, "_stored_answer", stored_answer)


def forget_what_a_full_mailbox_missed() -> AbstractContextManager[None]:
    """A delivery that does not fit into an actor's mailbox is dropped, and the actor is not told to look."""

    def tell(self: Users, presence: Presence, delivery: Deliver) -> None:
        if presence.stale or not (presence.sockets or presence.attaching):
            self._make_look(presence)
            return
        with suppress(MailboxFull, ActorStopped):
            presence.ref.tell_nowait(delivery)

    return _instead(Users, "_tell", tell)


def tell_what_the_snapshot_had() -> AbstractContextManager[None]:
    """An actor at rest writes what it is told without a look at the number that it has come to."""

    def on_tell_at_rest(self: UserActor, message: Any) -> bool:
        presence = self._presence
        if type(message) is not Deliver or presence.stale or not message.changes:
            return False
        presence.at = max(presence.at, message.changes[-1].at, key=lambda at: at.seq)
        self._write(message, self._counts if message.counts is None else message.counts)
        return True

    return _instead(UserActor, "on_tell_at_rest", on_tell_at_rest)


def keep_sockets_over_a_crash() -> AbstractContextManager[None]:
    """A user's sockets stay when their actor has crashed, and are told of what comes from then on."""
    original = Presence.disconnect

    def disconnect(self: Presence, reason: str) -> None:
        if reason not in ("actor_restarted", "actor_crashed"):
            original(self, reason)

    return _instead(Presence, "disconnect", disconnect)


def forget_a_commit_that_was_not_told() -> AbstractContextManager[None]:
    """A router that crashed between a commit and its telling has nobody look."""

    def reread(_: Users) -> None:
        pass

    return _instead(Users, "reread", reread)


def alert_twice() -> AbstractContextManager[None]:
    """The clock publishes each alert again in the same commit."""
    original = alerts._publish

    def publish(*args: Any) -> None:
        original(*args)
        original(*args)

    return _instead(alerts, "_publish", publish)


def remember_what_was_rolled_back() -> AbstractContextManager[None]:
    """The writer goes on from numbers and counts of a commit that failed."""

    def forget(_: Recorder) -> None:
        pass

    return _instead(Recorder, "forget", forget)


def lose_what_waits_for_a_poll() -> AbstractContextManager[None]:
    """A session that goes over to its WebSocket leaves behind what waited for the next poll."""
    original = Session._switch

    def switch(self: Session) -> None:
        assert self.outbox is not None
        self.outbox.clear()
        original(self)

    return _instead(Session, "_switch", switch)


def answer_before_the_batch_is_done() -> AbstractContextManager[None]:
    """What failed with the batch is answered as if it had been recorded."""
    original = Inbox.record

    async def record(self: Inbox, commands: Sequence[Any]) -> Any:
        try:
            recorded = await original(self, commands)
        except StoreUnavailable:
            return Recorded([Published(0, b"{}") for _ in commands], {}, {})
        return recorded

    return _instead(Inbox, "record", record)


def read_a_snapshot_of_before() -> AbstractContextManager[None]:
    """An actor that starts takes the count of a moment ago for the one at its offset."""
    original = Inbox.snapshot

    async def snapshot(self: Inbox, *args: Any, **options: Any) -> Any:
        before = await original(self, *args, **options)
        state = await original(self, *args, **options)
        return msgspec.structs.replace(state, unread=before.unread)

    return _instead(Inbox, "snapshot", snapshot)


def give_a_list_the_offset_of_later() -> AbstractContextManager[None]:
    """A list says that it is as new as the actor, however old it is."""
    original = Inbox.page

    async def page(self: Inbox, tenant_id: int, user_id: int, **options: Any) -> Any:
        found = await original(self, tenant_id, user_id, **options)
        later = await self.snapshot(tenant_id, user_id)
        return msgspec.structs.replace(found, at=later.at)

    return _instead(Inbox, "page", page)


def replay_a_change_twice() -> AbstractContextManager[None]:
    """The first change of a replay is told twice."""
    original = Inbox.replay

    async def replay(self: Inbox, tenant_id: int, user_id: int, since: marks.Offset, **options: Any) -> Any:
        found = await original(self, tenant_id, user_id, since, **options)
        if isinstance(found, Replay) and found.changes:
            return msgspec.structs.replace(found, changes=[found.changes[0], *found.changes])
        return found

    return _instead(Inbox, "replay", replay)


MUTANTS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    mutant.__name__: mutant
    for mutant in (
        acknowledge_before_sync,
        acknowledge_before_commit,
        drop_a_change_of_a_replay,
        count_one_too_few,
        tell_another_user,
        leave_the_payload_out_of_the_mark,
        believe_any_number,
        answer_a_retry_with_less,
        forget_what_a_full_mailbox_missed,
        tell_what_the_snapshot_had,
        keep_sockets_over_a_crash,
        forget_a_commit_that_was_not_told,
        alert_twice,
        remember_what_was_rolled_back,
        lose_what_waits_for_a_poll,
        answer_before_the_batch_is_done,
        read_a_snapshot_of_before,
        give_a_list_the_offset_of_later,
        replay_a_change_twice,
    )
}


def seeds_that_find(name: str, seeds: Sequence[int]) -> Iterator[int]:
    """Of these seeds those that find a mutant."""
    for seed in seeds:
        if attempt(draw(seed), MUTANTS[name]).findings:
            yield seed


def _main(seeds: int) -> None:
    """Print the table of the README: of each mutant the first seed that finds it, and how many it takes in the median.

    Where a share p of the seeds finds a mutant, half of all runs of ln(1/2) / ln(1 - p) seeds do.
    """
    print("| mutant | first seed | of " + str(seeds) + " | median |\n|---|---|---|---|")
    for name in MUTANTS:
        found = list(seeds_that_find(name, range(seeds)))
        share = len(found) / seeds
        median = "never" if not found else 1 if share >= 0.5 else ceil(log(0.5) / log(1 - share))
        print(f"| `{name}` | {found[0] if found else 'never'} | {len(found)} | {median} |", flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
