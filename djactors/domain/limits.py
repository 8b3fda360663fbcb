"""How much an inbox holds: at most a set number of new notifications a day, and one summary of the rest. Each of them
stays for 30 days. This code is pure: it uses no clock and no store.

Rules:
  * A day is a day in the tenant's time zone. Every notification that was sent counts, even if it was deleted later.
  * CRITICAL notifications are sent beyond the limit, unless the setting says otherwise. They count as well.
  * What persons cause uses up at most half of the limit, so that a backend's notifications always find room, whatever
    colleagues do. CRITICAL ones that persons cause go beyond their half, but only `PERSONS_CRITICAL` of them a day.
  * Notifications that are held back are summed up in one notification, which does not count and which replaces the
    summary before it. It is sent at once, but not earlier than a minute after the summary before it.

Source: the seed's "Max 100 notifications per user per day" and "30-day notification history".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from djactors.domain.notifications import Draft, encode
from djactors.domain.times import from_text, zone_of

DAILY_LIMIT = "daily_limit"
PERSONS_LIMIT = "persons_limit"
PERSONS_CRITICAL_LIMIT = "persons_critical_limit"
"""The recorded reasons why somebody was not notified: the whole limit was used up, or the half that is for what persons
cause, or what persons may cause beyond that half with CRITICAL ones."""

PERSONS_CRITICAL = 50
"""CRITICAL notifications beyond their half of the limit that persons may cause to one user in one day. These are
approvals that are asked for and deadlines that are missed: one every ten minutes of a working day is more than anybody
can decide on, and so many do not bury what a backend sends."""

HISTORY = timedelta(days=30)
"""How long a notification stays in the inbox (seed)."""

SUMMARY_TYPE = "daily_summary"
"""The type of the notification that sums up what was held back."""

SUMMARY_INTERVAL = timedelta(minutes=1)
"""The shortest time between two summaries for one user, so that they are up to date and do not become a nuisance
themselves."""


@dataclass(frozen=True)
class Limits:
    """The limits' settings. djactors has settings of the same names, with the same defaults.

    Attributes:
        daily_limit: notifications for one user in one day.
        critical_beyond_limit: whether CRITICAL notifications are sent beyond the daily limit.
        collapse_bursts: whether a notification replaces the user's unread notification of the same type and job.
    """

    daily_limit: int = 100
    critical_beyond_limit: bool = True
    collapse_bursts: bool = False

    @property
    def persons_share(self) -> int:
        """How much of the limit persons may use up: half of it, and one where the limit is one."""
        return self.daily_limit // 2 or 1

    def refusal(self, priority: str, sent: int) -> str | None:
        """Why a user who got `sent` notifications today may not get one more of this priority; None if they may."""
        if sent < self.daily_limit or (self.critical_beyond_limit and priority == "CRITICAL"):
            return None
        return DAILY_LIMIT

    def persons_refusal(self, priority: str, sent: int, by_persons: int) -> str | None:
        """The same for one that a person causes, where `by_persons` of those of today were caused by persons."""
        share = self.persons_share
        if by_persons < share and sent < self.daily_limit:
            return None
        if self.critical_beyond_limit and priority == "CRITICAL":
            return None if by_persons < share + PERSONS_CRITICAL else PERSONS_CRITICAL_LIMIT
        return PERSONS_LIMIT if by_persons >= share else DAILY_LIMIT


def expires_at(created_at: str) -> str:
    """The moment at which a notification created at `created_at` leaves the inbox. Both are UTC texts."""
    return _expiry_day(created_at[:10]) + created_at[10:]


@lru_cache(maxsize=2)  # today, and yesterday around midnight
def _expiry_day(day: str) -> str:
    return (date.fromisoformat(day) + HISTORY).isoformat()


def day_of(time_zone: str, moment: datetime) -> str:
    """The day on which a moment falls in a time zone, such as `2026-01-27`. UTC is used if this machine does not know
    the zone."""
    return moment.astimezone(zone_of(time_zone)).date().isoformat()


def next_summary(sent_at: str | None, now: datetime) -> datetime:
    """The moment at which the next summary may be sent: `now` if there was none yet, or if the last one is old enough.

    A summary whose time is in the future, because the clock was set back, does not delay the next one.
    """
    if sent_at is None:
        return now
    before = from_text(sent_at)
    return before + SUMMARY_INTERVAL if before <= now < before + SUMMARY_INTERVAL else now


def summary(user_id: int, day: str, held: int, limits: Limits, *, used_up: bool) -> Draft:
    """The summary of the `held` notifications that the limit kept from a user on a day.

    `used_up` says whether that was the whole limit; else it was the persons' part of it.
    """
    reached = f"The daily limit of {limits.daily_limit} notifications is reached."
    if not used_up:
        reached = f"The daily limit of {limits.persons_share} notifications that people cause is reached."
    return Draft(
        user_id,
        SUMMARY_TYPE,
        "LOW",
        f"{held} more updates today",
        reached,
        encode({"count": held, "day": day}),
    )
