"""Deliberate bugs of counts and of the inbox's other rules."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import msgspec

from djactors.actors.router import Router
from djactors.actors.user import UserActor
from djactors.domain.commands import Sliced
from djactors.domain.limits import Limits
from djactors.inbox import places
from djactors.inbox.inbox import Inbox
from djactors.inbox.unit import UnitOfWork
from tests.simulation.instead import instead


def count_one_too_few() -> AbstractContextManager[None]:
    """What is read all at once is counted less one."""
    original = UnitOfWork.count_unread

    def count_unread(self: UnitOfWork, user: Any, difference: int, unseen: int) -> Any:
        return original(self, user, difference + 1 if difference < -1 else difference, unseen)

    return instead(UnitOfWork, "count_unread", count_unread)


def read_a_snapshot_of_before() -> AbstractContextManager[None]:
    """An actor that starts takes the count of a moment ago for the one at its offset."""
    original = Inbox.snapshot

    async def snapshot(self: Inbox, *args: Any, **options: Any) -> Any:
        before = await original(self, *args, **options)
        state = await original(self, *args, **options)
        return msgspec.structs.replace(state, unread=before.unread)

    return instead(Inbox, "snapshot", snapshot)


def count_from_nothing() -> AbstractContextManager[None]:
    """An actor that starts begins to count at 0, as if its person had never been here."""
    original = UserActor.on_start

    async def on_start(self: UserActor) -> None:
        await original(self)
        self._presence.counts = 0, 0

    return instead(UserActor, "on_start", on_start)


def answer_with_the_count_of_before() -> AbstractContextManager[None]:
    """A command is answered with the count behind it, though its commit has another one, which is told before."""
    return instead(Router, "_counted", lambda self, command, counted, recorded: counted)


def count_what_was_archived() -> AbstractContextManager[None]:
    """What was archived or snoozed counts on."""

    def discount(*_: Any) -> None:
        pass

    return instead(places, "discount", discount)


def leave_out_what_came_back() -> AbstractContextManager[None]:
    """What comes back from the archive is not counted, though it may be unread."""
    return instead(places, "weight_of", lambda *_: (0, 0))


def forget_what_was_snoozed() -> AbstractContextManager[None]:
    """Nobody looks whether the moment has come to which something was snoozed."""
    return instead(places, "wake", lambda *_: Sliced(0, more=False))


def send_beyond_the_limit() -> AbstractContextManager[None]:
    """A person gets more in a day than the limit allows."""
    return instead(Limits, "refusal", lambda *_: None)
