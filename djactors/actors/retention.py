"""Retention: removes expired notifications from the inboxes, purges old rows, and gives the file's space back.

A round is a sequence of slices. Each is a commit of bounded size, and a pause follows it, so that others get a turn:

    remove imports that stand still ── expire
        ── purge changes, notifications, domain events, suppressions, days ── reclaim space ── sleep

History is not purged beyond what connected users were told. A user whom no change has concerned for a long time is told
where the log stands, so that the next round can purge further.

Retention sleeps until the next notification expires, but at least `SHORTEST_SLEEP`, so that notifications leave
together. When it is asked to stop, it stops after the current slice, and the next start goes on.

What retention does cannot be undone, so it waits while the clock is not to be trusted (`steady_clock`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import trio

from djactors.actors.sla import always
from djactors.actors.slices import Asking, Unavailable
from djactors.domain.commands import ExpireSlice, Purged, PurgeSlice, Sliced
from djactors.domain.errors import Refused
from djactors.domain.importing import AbandonImport
from djactors.domain.times import from_text
from djactors.kernel import Actor
from djactors.store.errors import StoreError

SLICE = 500
"""Rows that one commit purges: some 1.5 ms of the writer, in which others wait."""

PAUSE = 0.05
"""Seconds between slices: a small part of the writer's time, and still some 8,000 rows a second."""

EXPIRED_SLICE = 100
"""Notifications that one commit takes out of the inboxes: some 2.5 ms of the writer. Each changes more rows than one
that is purged, so with 500 others waited for 9 to 14 ms."""

EXPIRED_PAUSE = 0.02
"""Seconds between these slices: a tenth of the writer's time, and still some 4,000 notifications a second."""

SHORTEST_SLEEP = 60.0
"""Seconds. Nobody minds that a notification of 30 days stays a minute longer; a commit for each would be many."""

FIRST_ROUND = 10.0
"""Seconds after a start, so that clients that come back go first."""

LONGEST_SLEEP = 3600.0
"""Seconds. What is purged has no moment of its own, and a machine that was suspended notices within an hour."""

MAILBOX = 1
"""One message is enough, because all messages mean the same."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long things are kept, in days; the settings of the same names."""

    history_days: float
    event_days: float
    suppression_days: float

    def plan(self) -> tuple[tuple[Purged, timedelta], ...]:
        """What is purged, in this order: the log before the notifications that it points at."""
        history = timedelta(days=self.history_days)
        return (
            ("changes", history),
            ("notifications", history),
            ("domain_events", timedelta(days=self.event_days)),
            ("suppressions", timedelta(days=self.suppression_days)),
            ("user_days", history),
        )


class Audience(Protocol):
    """The users who are connected."""

    def standing(self) -> Mapping[int, int]:
        """For each tenant in which somebody is connected, the number of the change that the hindmost was told last."""

    async def bring_up(self, wanted: Mapping[int, int]) -> None:
        """Tell users whom no change has concerned where the log stands. `wanted`: by tenant, up to where to purge."""


class Round:
    """Time for the next round."""


ROUND = Round()


class Retention(Actor[Round, None]):
    """See the module for how it works.

    Args:
        ask: how to have commands recorded.
        stale_import: a tenant whose import has stood still for long, if there is one. May raise `StoreError`.
        reclaim_space: gives some free pages back; how many are left to give. May raise `StoreError`.
        audience: who is connected.
        keeping: how long things are kept.
        now: the wall clock, as an aware time.
        trusted: whether what is old by this clock may go.
    """

    def __init__(
        self,
        ask: Asking,
        stale_import: Callable[[], Awaitable[int | None]],
        reclaim_space: Callable[[], Awaitable[int]],
        audience: Audience,
        keeping: Keeping,
        now: Callable[[], datetime],
        trusted: Callable[[], bool] = always,
    ) -> None:
        self._trusted = trusted
        self._ask = ask
        self._stale_import = stale_import
        self._reclaim_space = reclaim_space
        self._audience = audience
        self._keeping = keeping
        self._now = now

    async def on_start(self) -> None:
        """Begin when the rush of a start is over."""
        self.idle_after = FIRST_ROUND

    def on_idle(self) -> bool:
        """The sleep is over."""
        self.ref.tell_nowait(ROUND)
        return False

    async def on_message(self, message: Round) -> None:
        """One round."""
        if not self._trusted():
            self.idle_after = SHORTEST_SLEEP
            return
        try:
            await self._remove_stale()
            next_expiry = await self._expire()
            for table, keep in self._keeping.plan():
                if not self._trusted():
                    break
                await self._purge(table, keep)
            await self._reclaim()
        except Unavailable as error:
            self.idle_after = error.pause
        else:
            self.idle_after = self._sleep_until(next_expiry)

    async def _remove_stale(self) -> None:
        """Remove what has arrived of imports that stand still: nothing else is removed while there is one."""
        try:
            while self.ref.alive and (tenant_id := await self._stale_import()) is not None:
                removed = await self._ask(AbandonImport(tenant_id, SLICE, stale=True))
                while not removed.done and self.ref.alive:
                    await trio.sleep(PAUSE)
                    removed = await self._ask(AbandonImport(tenant_id, SLICE, stale=True))
        except Refused:
            # Somebody else has removed it.
            pass
        except StoreError as error:
            raise self._ask.failed("stale_import", error) from error

    async def _expire(self) -> str | None:
        sliced = await self._ask(ExpireSlice(EXPIRED_SLICE))
        while sliced.more and self.ref.alive:
            await trio.sleep(EXPIRED_PAUSE)
            sliced = await self._ask(ExpireSlice(EXPIRED_SLICE))
        return sliced.next_due

    async def _purge(self, table: Purged, keep: timedelta) -> None:
        sliced = await self._purge_slice(table, keep, 0)
        while sliced.more and self.ref.alive:
            await trio.sleep(PAUSE)
            sliced = await self._purge_slice(table, keep, sliced.after)

    async def _purge_slice(self, table: Purged, keep: timedelta, after: int) -> Sliced:
        # Who comes back between this and the commit may be overtaken, and is then told to reload, as a little later.
        standing = self._audience.standing() if table == "changes" else {}
        sliced = await self._ask(PurgeSlice(table, keep, SLICE, after, standing))
        if sliced.held_up:
            await self._audience.bring_up(sliced.held_up)
        return sliced

    async def _reclaim(self) -> None:
        try:
            left = await self._reclaim_space()
            while left and self.ref.alive:
                await trio.sleep(PAUSE)
                left = await self._reclaim_space()
        except StoreError as error:
            raise self._ask.failed("reclaim_space", error) from error

    def _sleep_until(self, moment: str | None) -> float:
        if moment is None:
            return LONGEST_SLEEP
        left = (from_text(moment) - self._now()).total_seconds()
        return min(max(left, SHORTEST_SLEEP), LONGEST_SLEEP)
