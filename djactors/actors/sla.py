"""The clock: sends SLA alerts and daily summaries and brings back what was snoozed when that is due, and sleeps in
between.

    a commit brings a moment forward ──► Alarm ──┐
                                                 ├──► look: RaiseAlerts, SendSummaries, WakeSnoozed, through the router
    the moment of the alarm has come ────────────┘          │ the next moment
                                                 Alarm ◄────┘

Rules:
  * The database knows what is due, and the clock only knows when to look. So a crash, a restart or a needless nudge
    does no harm. Each alert is sent once, because it is recorded in the commit that sends it.
  * The clock compares with the wall clock and never sleeps longer than `LONGEST_SLEEP`, so it notices when that was
    set.
  * While the store cannot be written, the clock tries again, after a longer pause each time.
  * While the time is not to be trusted (`steady_clock`), the clock waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from djactors.actors.slices import Asking, Unavailable
from djactors.domain.commands import RaiseAlerts, SendSummaries, WakeSnoozed
from djactors.domain.times import from_text, utc_text
from djactors.kernel import Actor, ActorStopped, MailboxFull

LONGEST_SLEEP = 60.0
"""Seconds. A machine that was suspended, or whose clock was set, wakes up with timers that know nothing of it: alerts
are then at most this late. A look at the clock in between costs some microseconds and no query."""

FIRST_LOOK = 1.0
"""Seconds after a start, so that the clients that all come back then go first."""

ALERT_SLICE = 100
"""Jobs, or snoozed notifications, in one commit: some 200 rows, a few milliseconds in which others wait."""

MAILBOX = 1
"""A nudge says only that the alarm was brought forward: one is as good as many."""


class Nudge:
    """The alarm was brought forward, or its moment has come."""


NUDGE = Nudge()


class Address(Protocol):
    """Where nudges go."""

    def tell_nowait(self, message: Nudge) -> None:
        """See `ActorRef`."""


AT_ONCE = ""
"""Sorts before every time, wherever the wall clock is set."""


class Alarm:
    """When the clock is to look next, as a time text; None for no moment that is known.

    Whoever commits brings it forward. It outlives the clock's restarts. Touched on one thread, without a message for
    those moments that change nothing.
    """

    __slots__ = ("_address", "moment")

    def __init__(self, address: Address) -> None:
        self._address = address
        self.moment: str | None = None

    def bring_forward(self, moment: str) -> None:
        """Have the clock look no later than at this moment."""
        if self.set_no_later(moment):
            # One nudge waits already; or the clock is down, and looks when it is back.
            with suppress(MailboxFull, ActorStopped):
                self._address.tell_nowait(NUDGE)

    def set_no_later(self, moment: str | None) -> bool:
        """Take an earlier moment; whether it was one."""
        if moment is None or (self.moment is not None and self.moment <= moment):
            return False
        self.moment = moment
        return True


def always() -> bool:
    """The clock is always to be trusted."""
    return True


class SlaClock(Actor[Nudge, None]):
    """See the module for the rules.

    Args:
        alarm: when to look.
        ask: how to have commands recorded.
        now: the wall clock, as an aware time.
        longest_sleep: seconds.
        trusted: whether what is due by this clock may be told.
    """

    def __init__(
        self,
        alarm: Alarm,
        ask: Asking,
        now: Callable[[], datetime],
        longest_sleep: float = LONGEST_SLEEP,
        trusted: Callable[[], bool] = always,
    ) -> None:
        self._trusted = trusted
        self._alarm = alarm
        self._ask = ask
        self._now = now
        self._longest_sleep = longest_sleep

    async def on_start(self) -> None:
        """Look soon, because much may have become due in the meantime."""
        self._alarm.moment = AT_ONCE
        self.idle_after = FIRST_LOOK

    def on_idle(self) -> bool:
        """The sleep is over; look if the moment has come."""
        if self._is_due():
            self.ref.tell_nowait(NUDGE)
        else:
            self._set_sleep()
        return False

    async def on_message(self, message: Nudge) -> None:
        """Look, if the moment has come; else sleep until it comes."""
        if self._is_due():
            try:
                await self._look()
            except Unavailable as error:
                self._alarm.moment = AT_ONCE
                self.idle_after = error.pause
                return
        self._set_sleep()

    async def _look(self) -> None:
        # Moments that commits bring forward from now on count as well, whatever the answers say.
        self._alarm.moment = None
        for command in (RaiseAlerts(ALERT_SLICE), SendSummaries(ALERT_SLICE), WakeSnoozed(ALERT_SLICE)):
            sliced = await self._ask(command)
            while sliced.more and self.ref.alive:
                sliced = await self._ask(command)
            self._alarm.set_no_later(sliced.next_due)

    def _is_due(self) -> bool:
        # The time is looked at each time, so that a jump of the clock is noticed.
        now = utc_text(self._now())
        return self._alarm.moment is not None and self._alarm.moment <= now and self._trusted()

    def _set_sleep(self) -> None:
        if self._alarm.moment is None or not self._trusted():
            self.idle_after = self._longest_sleep
        else:
            left = (from_text(self._alarm.moment) - self._now()).total_seconds()
            self.idle_after = min(max(left, 0.0), self._longest_sleep)
