"""When the disk under the database will be full, and what the admins are told of it. This code is pure: it uses no
clock and no store.

Rules:
  * The growth of a day is that since the oldest size that is not older than `GROWTH`, so one large day counts for a
    week. It is known once there is a size that is a day old.
  * The admins are told as soon as the disk will be full within `WARN_DAYS` at this growth, or has less than `LOW_BYTES`
    left, and then once a day for as long as that holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from djactors.domain.notifications import Draft, encode
from djactors.domain.times import from_text

DISK_FILLING = "disk_filling"
"""The type of the notification, and of the domain event behind it."""

GROWTH = timedelta(days=7)
"""Over which the growth is taken, so that each day of the week is in it once."""

SHORTEST = timedelta(days=1)
"""The shortest time from which a growth is taken: a morning says nothing of a night."""

WARN_DAYS = 14
"""Days before the end at which the warnings begin: time to order a disk, or to keep less."""

LOW_BYTES = 200 * 2**20
"""With fewer free bytes than this, the disk counts as nearly full. SQLite's write-ahead log alone may keep 64 MiB."""

TOLD_EVERY = timedelta(days=1)
"""The shortest time between two notifications of this."""

DAY_SECONDS = 86400.0


class Size(msgspec.Struct, frozen=True):
    """How many bytes of the database were filled at a moment, which is a UTC text."""

    at: str
    bytes: int


class Outlook(msgspec.Struct, frozen=True):
    """How long the disk lasts.

    Attributes:
        free: bytes that are left for the database; None where nobody knows.
        growth: bytes a day by which the database grows; None while that is not known yet.
        days_left: days until nothing is left at this growth; None if it does not grow, or something is not known.
    """

    free: int | None
    growth: float | None
    days_left: float | None

    @property
    def concern(self) -> str | None:
        """What there is to worry about, in words for everybody; None if there is nothing."""
        if self.days_left is not None and self.days_left <= WARN_DAYS:
            days = int(self.days_left)
            when = "today or tomorrow" if days < 1 else f"in about {days} day{'s' if days > 1 else ''}"
            return f"the disk of the database will be full {when}"
        if self.free is not None and self.free < LOW_BYTES:
            return "the disk of the database is nearly full"
        return None


UNKNOWN = Outlook(None, None, None)


def outlook(sizes: Sequence[Size], filled: int, free: int | None, now: datetime) -> Outlook:
    """Find out how long the disk lasts.

    Args:
        sizes: of earlier days, in any order.
        filled: how many bytes of the database are filled now.
        free: how many bytes are left for it, None where nobody knows.
        now: the moment.
    """
    moments = [(from_text(size.at), size.bytes) for size in sizes]
    before = min((each for each in moments if now - GROWTH <= each[0] <= now - SHORTEST), default=None)
    if before is None:
        return Outlook(free, None, None)
    growth = (filled - before[1]) / ((now - before[0]).total_seconds() / DAY_SECONDS)
    days_left = None if free is None or growth <= 0 else free / growth
    return Outlook(free, growth, days_left)


def left(taken: int, free: int | None, limit: int) -> int | None:
    """How many bytes are left for the database, None where nobody knows.

    Args:
        taken: bytes that it takes.
        free: bytes that are free on its disk, None where nobody knows.
        limit: bytes that it may take, 0 where that is for the disk to say.
    """
    within = [] if limit == 0 else [max(limit - taken, 0)]
    on_disk = [] if free is None else [free]
    return min([*within, *on_disk], default=None)


def is_due(told_at: str | None, now: datetime) -> bool:
    """Whether the admins may be told again. A time in the future, because the clock was set back, does not delay it."""
    return told_at is None or not now - TOLD_EVERY < from_text(told_at) <= now


def notice(user_id: int, found: Outlook) -> Draft:
    """What an admin is told of an outlook that is of concern."""
    assert found.concern is not None
    assert found.free is not None
    known = found.growth is not None and found.growth > 0
    grows = f"It grew by {_amount(found.growth or 0)} a day lately. " if known else ""
    return Draft(
        user_id,
        DISK_FILLING,
        "LOW",
        f"{found.concern[0].upper()}{found.concern[1:]}",
        f"{grows}{_amount(found.free)} are left. Give it a larger disk, or keep less: see DJACTORS_HISTORY_DAYS.",
        encode(
            {
                "freeBytes": found.free,
                "growthBytesADay": None if found.growth is None else round(found.growth),
                "daysLeft": None if found.days_left is None else int(found.days_left),
            }
        ),
    )


def _amount(count: float) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 2**10:.0f} KiB"
