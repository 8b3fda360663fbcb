"""Times are UTC texts of one width, such as `2026-01-27T10:30:00.000000Z`, so that they sort as texts in SQLite and
PostgreSQL alike.

Source: RFC 3339 for the form, the design notes for the width.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from functools import lru_cache, partial
from typing import Annotated, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Meta

WALL_CLOCK: Callable[[], datetime] = partial(datetime.now, UTC)
"""The machine's clock, which returns an aware datetime: the default for code that is given no other clock. Nothing in
the domain reads this clock. It is read several times for each event, so it is not wrapped in a function of ours."""


def utc_text(moment: datetime) -> str:
    """The text of an aware datetime.

    Raises:
        OverflowError: the moment leaves the years 1 to 9999 when it is turned into UTC.
    """
    moment = moment.astimezone(UTC)
    minute = _minute_text(moment.year, moment.month, moment.day, moment.hour, moment.minute)
    return "%s%02d.%06dZ" % (minute, moment.second, moment.microsecond)  # noqa: UP031 -- half of what an f-string takes


@lru_cache(maxsize=16)  # now, and what is reckoned from now
def _minute_text(year: int, month: int, day: int, hour: int, minute: int) -> str:
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:"


def from_text(text: str) -> datetime:
    """The aware datetime of a text that `utc_text` made."""
    return datetime.fromisoformat(text)


UtcText: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A text that `utc_text` made."""


def zone_of(name: str) -> tzinfo:
    """The time zone of an IANA name; UTC if this machine does not know it, because the database may come from one that
    knows more."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # ZoneInfoNotFoundError is a KeyError; a directory's name is an OSError, a path upwards a ValueError.
        return UTC


def local_text(text: str, time_zone: str) -> str:
    """A moment as people in a time zone write it, to the minute, such as `2026-01-28 17:30`."""
    moment = from_text(text)
    # On the first or the last day of the calendar it stays in UTC.
    with suppress(OverflowError):
        moment = moment.astimezone(zone_of(time_zone))
    return moment.replace(tzinfo=None).isoformat(" ", "minutes")
