"""How much an inbox holds: at most a set number of new notifications a day, and one summary of the rest. Each of them
stays for 30 days. This code is pure: it uses no clock and no store.

Rules:
  * A day is a day in the tenant's time zone. Every notification that was sent counts, even if it was deleted later.
  * CRITICAL notifications are sent beyond the limit, unless the setting says otherwise. They count as well.
  * Notifications that are held back are summed up in one notification, which does not count and which replaces the
    summary before it. It is sent at once, but not earlier than a minute after the summary before it.

Source: the seed's "Max 100 notifications per user per day" and "30-day notification history".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from djactors.domain.notifications import Draft, encode
from djactors.domain.times import from_text

DAILY_LIMIT = "daily_limit"
"""The recorded reason why somebody was not notified."""

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

    def admits(self, priority: str, sent: int) -> bool:
        """Whether a user who got `sent` notifications today may get one more of this priority."""
        return sent < self.daily_limit or (self.critical_beyond_limit and priority == "CRITICAL")


def expires_at(created_at: str) -> str:
    """The moment at which a notification created at `created_at` leaves the inbox. Both are UTC texts."""
    return _expiry_day(created_at[:10]) + created_at[10:]


@lru_cache(maxsize=2)  # today, and yesterday around midnight
def _expiry_day(day: str) -> str:
    return (date.fromisoformat(day) + HISTORY).isoformat()


def day_of(time_zone: str, moment: datetime) -> str:
    """The day on which a moment falls in a time zone, such as `2026-01-27`. UTC is used if this machine does not know
    the zone."""
    try:
        zone: ZoneInfo | None = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        # The database may come from a machine that knows more time zones. See `workflow` for the three kinds.
        zone = None
    return moment.astimezone(zone or UTC).date().isoformat()


def next_summary(sent_at: str | None, now: datetime) -> datetime:
    """The moment at which the next summary may be sent: `now` if there was none yet, or if the last one is old enough.

    A summary whose time is in the future, because the clock was set back, does not delay the next one.
    """
    if sent_at is None:
        return now
    before = from_text(sent_at)
    return before + SUMMARY_INTERVAL if before <= now < before + SUMMARY_INTERVAL else now


def summary(user_id: int, day: str, held: int, daily_limit: int) -> Draft:
    """The summary of the `held` notifications that the limit kept from a user on a day."""
    return Draft(
        user_id,
        SUMMARY_TYPE,
        "LOW",
        f"{held} more updates today",
        f"The daily limit of {daily_limit} notifications is reached.",
        encode({"count": held, "day": day}),
    )
