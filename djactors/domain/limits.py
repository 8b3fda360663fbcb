"""How much a user is told: so many notifications a day, and one summary of the rest. Pure.

Rules:
  * A day is a day in the tenant's time zone. What was sent counts, whatever became of it: deleting frees nothing.
  * CRITICAL notifications pass beyond the limit, unless the setting says otherwise. They count as well.
  * What is held back is summed up in one notification, beside the limit, that replaces the one before it: at once, but
    never less than a minute after its predecessor.

Source: the seed's "Max 100 notifications per user per day".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from djactors.domain.notifications import Draft, encode
from djactors.domain.times import from_text

DAILY_LIMIT = "daily_limit"
"""Why somebody was not told: the reason that is recorded."""

SUMMARY_TYPE = "daily_summary"
"""The type of the notification that sums up what was held back."""

SUMMARY_INTERVAL = timedelta(minutes=1)
"""Between two summaries for one user: often enough to be right, seldom enough not to be noise itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of the same names.

    Attributes:
        daily_limit: notifications for one user in one day.
        critical_beyond_limit: whether CRITICAL ones pass beyond it.
        collapse_bursts: whether a notification takes the place of the unread one of the same type and job before it.
    """

    daily_limit: int = 100
    critical_beyond_limit: bool = True
    collapse_bursts: bool = False

    def admits(self, priority: str, sent: int) -> bool:
        """Whether a user who got `sent` notifications today gets one more of this priority."""
        return sent < self.daily_limit or (self.critical_beyond_limit and priority == "CRITICAL")


def day_of(time_zone: str, moment: datetime) -> str:
    """The day, `2026-01-27`, on which a moment falls in a time zone; UTC where this machine does not know the zone."""
    try:
        zone: ZoneInfo | None = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        # The database may come from a machine that knows more zones. See `workflow` for the three kinds.
        zone = None
    return moment.astimezone(zone or UTC).date().isoformat()


def next_summary(sent_at: str | None, now: datetime) -> datetime:
    """When the next summary may be sent: `now` where none was, or long enough ago.

    One that was sent in the future (the clock was set back) stands in nobody's way.
    """
    if sent_at is None:
        return now
    before = from_text(sent_at)
    return before + SUMMARY_INTERVAL if before <= now < before + SUMMARY_INTERVAL else now


def summary(user_id: int, day: str, held: int, daily_limit: int) -> Draft:
    """What a user is told of the `held` notifications that the limit kept back on a day."""
    return Draft(
        user_id,
        SUMMARY_TYPE,
        "LOW",
        f"{held} more updates today",
        f"The daily limit of {daily_limit} notifications is reached.",
        encode({"count": held, "day": day}),
    )
