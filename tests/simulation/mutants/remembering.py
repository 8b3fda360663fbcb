"""Deliberate bugs of the log: of marks and offsets, of replays, and of what is purged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec
import trio

from djactors.domain import marks
from djactors.inbox import log as inbox_log
from djactors.inbox import retention, unit
from djactors.inbox.inbox import Inbox
from djactors.inbox.log import Astray, Replay
from tests.simulation.instead import instead
from tests.simulation.tuning import ROUND_SECONDS


def _falsified(
    falsify: Callable[[Replay, int | None], Replay], *, keeps_limit: bool = True
) -> AbstractContextManager[None]:
    """What is read of the log is something else, which is made of it and of the most that may be replayed."""
    original = Inbox.replay

    async def replay(self: Inbox, *args: Any, make: Any, at_most: int | None = None, **options: Any) -> Any:
        limit = {"at_most": at_most} if keeps_limit else {}
        return await original(self, *args, make=lambda found: make(falsify(found, at_most)), **limit, **options)

    return instead(Inbox, "replay", replay)


def drop_a_change_of_a_replay() -> AbstractContextManager[None]:
    """Whoever comes back and missed several changes is not told of the first."""

    def without_the_first(replay: Replay, _: int | None) -> Replay:
        return msgspec.structs.replace(replay, changes=replay.changes[1:]) if len(replay.changes) > 1 else replay

    return _falsified(without_the_first)


def leave_the_payload_out_of_the_mark() -> AbstractContextManager[None]:
    """Two changes of the same number and kind have the same mark."""
    original = marks.mark_of

    def mark_of(before: int, seq: int, name: str, user_id: int | None, body: bytes) -> int:
        return original(before, seq, name, user_id, b"")

    return instead(unit, "mark_of", mark_of)


def believe_any_number() -> AbstractContextManager[None]:
    """An offset is good if its number is in the log, whatever its mark."""

    def holds(_: Any, __: int, offset: marks.Offset, reach: inbox_log.Reach) -> bool:
        return reach.oldest.seq <= offset.seq <= reach.last.seq

    return instead(inbox_log, "holds", holds)


def give_a_list_the_offset_of_later() -> AbstractContextManager[None]:
    """A list says that it is as new as the actor, however old it is."""
    original = Inbox.page

    async def page(self: Inbox, tenant_id: int, user_id: int, **options: Any) -> Any:
        found = await original(self, tenant_id, user_id, **options)
        later = await self.snapshot(tenant_id, user_id)
        return msgspec.structs.replace(found, at=later.at)

    return instead(Inbox, "page", page)


def replay_a_change_twice() -> AbstractContextManager[None]:
    """The first change of a replay is told twice."""

    def with_the_first_twice(replay: Replay, _: int | None) -> Replay:
        return msgspec.structs.replace(replay, changes=[*replay.changes[:1], *replay.changes])

    return _falsified(with_the_first_twice)


def leave_the_past_out_of_the_mark() -> AbstractContextManager[None]:
    """A mark is of its own change alone."""
    original = marks.mark_of

    def mark_of(_: int, seq: int, name: str, user_id: int | None, body: bytes) -> int:
        return original(0, seq, name, user_id, body)

    return instead(unit, "mark_of", mark_of)


def cut_a_replay_at_the_limit() -> AbstractContextManager[None]:
    """Who missed more than the limit is given so many, and goes on from the end."""

    def cut(replay: Replay, at_most: int | None) -> Replay:
        return msgspec.structs.replace(replay, changes=replay.changes[:at_most])

    return _falsified(cut, keeps_limit=False)


def judge_an_offset_on_an_older_snapshot() -> AbstractContextManager[None]:
    """Whether an offset is good is looked up first, and what comes behind it is read when there is time for that."""
    original, holds = Inbox.replay, inbox_log.holds
    judged: list[bool] = []

    def believe(*args: Any) -> bool:
        return bool(judged) or holds(*args)

    async def replay(self: Inbox, *args: Any, **options: Any) -> Any:
        found = await original(self, *args, **options)
        if isinstance(found, Astray):
            return found
        await trio.sleep(ROUND_SECONDS)
        judged.append(True)
        try:
            return await original(self, *args, **options)
        finally:
            judged.pop()

    @contextmanager
    def both() -> Iterator[None]:
        with instead(Inbox, "replay", replay), instead(inbox_log, "holds", believe):
            yield

    return both()


def purge_one_too_many() -> AbstractContextManager[None]:
    """The log says that it reaches back one change further than it does."""
    statement = "UPDATE tenants SET oldest_seq = ? - 1, oldest_mark = ? WHERE id = ?"
    return instead(retention, "UPDATE_OLDEST", statement)


def purge_what_is_young() -> AbstractContextManager[None]:
    """Events, and with them their keys, are kept no longer than the log."""
    original = retention.purge_slice
    keeps: list[Any] = []

    def purge_slice(unit_: Any, command: Any) -> Any:
        if command.table == "changes":
            keeps.append(command.keep)
        elif command.table == "domain_events" and keeps:
            command = msgspec.structs.replace(command, keep=keeps[-1])
        return original(unit_, command)

    return instead(retention, "purge_slice", purge_slice)


def expire_without_a_word() -> AbstractContextManager[None]:
    """What expires leaves the inbox without a change that says so."""
    original = retention._take_out

    def take_out(unit_: Any, expired: Any) -> None:
        log = unit_.log
        unit_.log = lambda tenant, *_: tenant.last_seq
        try:
            original(unit_, expired)
        finally:
            unit_.log = log

    return instead(retention, "_take_out", take_out)
