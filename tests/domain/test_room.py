"""When the disk will be full, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from djactors.domain.room import LOW_BYTES, Outlook, Size, is_due, left, notice, outlook
from djactors.domain.times import utc_text

NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
GIB = 2**30


def size(days_ago: float, count: float) -> Size:
    return Size(utc_text(NOW - timedelta(days=days_ago)), int(count * GIB))


@pytest.mark.parametrize(
    ("sizes", "growth", "days_left"),
    [
        ([], None, None),
        ([size(0.9, 1)], None, None),
        ([size(1, 9)], 1, 20),
        ([size(1, 9), size(5, 0)], 2, 10),
        # What was more than a week ago counts no more.
        ([size(4, 8), size(8, 0)], 0.5, 40),
        ([size(2, 12)], -1, None),
        ([size(2, 10)], 0, None),
        # A clock that was ahead.
        ([size(-3, 1)], None, None),
    ],
)
def test_the_growth_of_a_week_says_how_long_the_disk_lasts(
    sizes: list[Size], growth: float | None, days_left: float | None
) -> None:
    found = outlook(sizes, 10 * GIB, 20 * GIB, NOW)
    assert found == Outlook(20 * GIB, None if growth is None else growth * GIB, days_left)
    assert outlook(sizes, 10 * GIB, None, NOW).days_left is None


@pytest.mark.parametrize(
    ("found", "concern"),
    [
        (Outlook(None, None, None), None),
        (Outlook(GIB, None, None), None),
        (Outlook(GIB, 1.0, 14.1), None),
        (Outlook(GIB, 1.0, 13.9), "the disk of the database will be full in about 13 days"),
        (Outlook(GIB, 1.0, 1.5), "the disk of the database will be full in about 1 day"),
        (Outlook(GIB, 1.0, 0.5), "the disk of the database will be full today or tomorrow"),
        (Outlook(LOW_BYTES - 1, -1.0, None), "the disk of the database is nearly full"),
    ],
)
def test_what_there_is_to_worry_about(found: Outlook, concern: str | None) -> None:
    assert found.concern == concern


def test_an_admin_is_told_with_low_priority_and_with_the_numbers() -> None:
    draft = notice(7, Outlook(9 * GIB, 1.5 * GIB, 6.0))
    assert (draft.user_id, draft.type, draft.priority) == (7, "disk_filling", "LOW")
    assert draft.title == "The disk of the database will be full in about 6 days"
    assert draft.message is not None
    assert draft.message.startswith("It grew by 1.5 GiB a day lately. 9.0 GiB are left. ")
    assert draft.data is not None
    assert msgspec.json.decode(draft.data) == {
        "freeBytes": 9 * GIB,
        "growthBytesADay": 1.5 * GIB,
        "daysLeft": 6,
    }


def test_the_admins_are_told_once_a_day_also_where_the_clock_was_ahead() -> None:
    assert is_due(None, NOW)
    assert not is_due(utc_text(NOW - timedelta(hours=23)), NOW)
    assert is_due(utc_text(NOW - timedelta(hours=24)), NOW)
    assert is_due(utc_text(NOW + timedelta(days=3)), NOW)


@pytest.mark.parametrize(
    ("free", "limit", "expected"),
    [(100, 0, 100), (100, 50, 40), (20, 50, 20), (None, 50, 40), (None, 0, None), (None, 5, 0)],
)
def test_a_limit_counts_as_the_end_of_the_disk_does(free: int | None, limit: int, expected: int | None) -> None:
    assert left(10, free, limit) == expected
