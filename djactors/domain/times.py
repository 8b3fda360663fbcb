"""Times are UTC texts of one width, such as `2026-01-27T10:30:00.000000Z`, so that they sort as texts in SQLite and
PostgreSQL alike.

Source: RFC 3339 for the form, the design notes for the width.
"""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """The text of an aware datetime.

    Raises:
        OverflowError: the moment leaves the years 1 to 9999 when it is turned into UTC.
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def from_text(text: str) -> datetime:
    """The aware datetime of a text that `utc_text` made."""
    return datetime.fromisoformat(text)
