"""Looks at the disk under the database, so that nobody is surprised when it is full: metrics, a detail of `/readyz`, an
entry of the log and a notification to the admins. It also looks of what moment the newest checked copy is: a metric.

    every LOOK_SECONDS: how much is filled, how much is free ──► Horizon, metrics
    once a day, or when the admins are to be told: NoteRoom, through the router

What is noted and who is told is decided in the commit (`inbox/room.py`). So nobody is told twice, whichever nodes look.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import inf, nan
from typing import Protocol

from djactors.actors.sla import always
from djactors.actors.slices import Asking, Unavailable
from djactors.domain.commands import NoteRoom
from djactors.domain.room import UNKNOWN, Outlook, Size, is_due, left, outlook
from djactors.inbox.room import is_noted
from djactors.kernel import Actor
from djactors.store.errors import StoreError
from djactors.store.room import Room
from djactors.telemetry import Telemetry

FIRST_LOOK = 60.0
"""Seconds after a start, so that clients that come back go first."""

LOOK_SECONDS = 600.0
"""Between two looks. A disk that fills within ten minutes leaves nobody time anyway."""

MAX_TOLD = 1000
"""Admins who are told, in the order of tenants and ids: as much as a comment to a thousand watchers in one commit."""

MAILBOX = 1
"""One message is enough, because all messages mean the same."""


class Look:
    """Time to look."""


LOOK = Look()


class Horizon:
    """The newest outlook. It outlives the actor's restarts."""

    def __init__(self) -> None:
        self.outlook: Outlook = UNKNOWN

    def concern(self) -> str | None:
        """What there is to worry about, in words for everybody."""
        return self.outlook.concern


class Store(Protocol):
    """The inbox, as this actor sees it."""

    async def room(self) -> Room:
        """See `Inbox`."""

    async def copied_at(self) -> float | None:
        """See `Inbox`."""

    async def sizes(self) -> tuple[list[Size], str | None]:
        """See `Inbox`."""


class RoomWatch(Actor[Look, None]):
    """See the module for how it works.

    Args:
        ask: how to have commands recorded.
        store: where it looks.
        horizon: where the newest outlook is kept.
        limit: bytes that the database may take; 0 for as many as the disk has.
        telemetry: metrics and log.
        now: the wall clock, as an aware time.
        trusted: whether the clock is to be trusted.
    """

    def __init__(
        self,
        ask: Asking,
        store: Store,
        horizon: Horizon,
        limit: int,
        telemetry: Telemetry,
        now: Callable[[], datetime],
        trusted: Callable[[], bool] = always,
    ) -> None:
        self._ask = ask
        self._store = store
        self._horizon = horizon
        self._limit = limit
        self._log = telemetry.log
        self._metrics = telemetry.metrics
        self._now = now
        self._trusted = trusted

    async def on_start(self) -> None:
        """Begin when the rush of a start is over."""
        self.idle_after = FIRST_LOOK

    def on_idle(self) -> bool:
        """The sleep is over."""
        self.ref.tell_nowait(LOOK)
        return False

    async def on_message(self, message: Look) -> None:
        """One look."""
        self.idle_after = LOOK_SECONDS
        try:
            await self._look()
        except Unavailable as error:
            self.idle_after = max(error.pause, FIRST_LOOK)

    async def _look(self) -> None:
        try:
            room = await self._store.room()
            sizes, told_at = await self._store.sizes()
            copied_at = await self._store.copied_at()
        except StoreError as error:
            raise self._ask.failed("room", error) from error
        now, free = self._now(), left(room.taken, room.free, self._limit)
        before, found = self._horizon.outlook.concern, outlook(sizes, room.filled, free, now)
        self._horizon.outlook = found
        self._show(room, found)
        self._metrics.backup_timestamp.set(nan if copied_at is None else copied_at)
        if found.concern != before:
            self._tell_log(found)
        is_to_tell = found.concern is not None and is_due(told_at, now)
        if self._trusted() and (is_to_tell or not is_noted(sizes, now)):
            await self._ask(NoteRoom(room.filled, free, MAX_TOLD))

    def _show(self, room: Room, found: Outlook) -> None:
        self._metrics.database_bytes.set(room.taken)
        self._metrics.disk_free.set(nan if found.free is None else found.free)
        self._metrics.database_growth.set(nan if found.growth is None else found.growth)
        endless = found.free is not None and found.growth is not None
        self._metrics.disk_days_left.set(found.days_left if found.days_left is not None else inf if endless else nan)

    def _tell_log(self, found: Outlook) -> None:
        if found.concern is None:
            self._log.info("the disk has room again", free=found.free)
        else:
            self._log.warning("the disk fills up", reason=found.concern, free=found.free, growth_a_day=found.growth)
