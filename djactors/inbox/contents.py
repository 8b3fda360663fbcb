"""What the columns of a tenant's tables hold beyond a type: for rows that somebody else has written.

A number may fit its column and still leave no ids for the tenants beside it; a text may fit and be none of the times
that the clock of all tenants reads. So a row from outside is held to what this program writes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, get_args

import msgspec

from djactors.domain.events import Priority, Role
from djactors.domain.ids import MAX_ID
from djactors.domain.jobs import Status
from djactors.domain.times import from_text, utc_text
from djactors.inbox.pages import Place
from djactors.inbox.tenancy import IDS_OF_ALL

MAX_GIVEN = MAX_ID // 2
"""The largest id that a row may bring where ids are given out behind the largest one, for all tenants. No installation
comes near it by itself, and it leaves as many for the others."""

DEEPEST = 100
"""How deep a JSON text may be: some times deeper than what this program writes, and far from what a reader fails at."""

_SIGNED = frozenset({"mark", "oldest_mark"})
"""Numbers that are any of 64 bits."""

_LEAST: Mapping[str, int] = {"id": 1, "sender": -1}
"""The least number of a column; 0 for all others. A sender of -1 is a backend of the whole installation."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "job_numbering": ("djactors", "backend"),
    "role": get_args(Role),
    "status": get_args(Status),
    "priority": get_args(Priority),
    "removed_reason": ("deleted", "expired", "replaced"),
    "place": get_args(Place),
    "state": ("read", *get_args(Place)),
}
"""The columns that have one of some words."""

_DAYS = frozenset({"day", "sent_day", "earlier_day"})
_TIMES = frozenset({"at", "deadline", "summary_due", "snoozed_until"})
_JSON = frozenset({"answer", "data"})

FREE = frozenset(
    {"name", "time_zone", "dj_id", "title", "text", "message", "type", "kind", "reason", "fingerprint"}
    | {"idempotency_key", "alerted_24h", "alerted_overdue"}
)
"""The columns whose texts nothing has to understand: they are shown, or compared with others. A kind is looked at with
the mark of its change, and of a time zone that is not known here the server makes UTC."""

Rule = Callable[[Any], str | None]


def rule_of(table: str, column: str) -> Rule | None:
    """What says why a column does not take a value of the right type, or None if it does; None if all are right."""
    if column in _WORDS:
        return lambda value: None if value in _WORDS[column] else f"is none of {', '.join(_WORDS[column])}"
    if column in _DAYS:
        return _wrong_day
    if column in _TIMES or column.endswith("_at"):
        return _wrong_time
    if column in _JSON:
        return _wrong_json
    if column in FREE or column in _SIGNED:
        return None
    least = _LEAST.get(column, 0)
    most = MAX_GIVEN if column == "id" and table in IDS_OF_ALL else MAX_ID
    return lambda value: None if least <= value <= most else f"is not between {least} and {most}"


def _wrong_time(text: str) -> str | None:
    try:
        if utc_text(from_text(text)) == text:
            return None
    except (ValueError, OverflowError):
        pass
    return "is no time such as 2026-01-27T10:30:00.000000Z"


def _wrong_day(text: str) -> str | None:
    try:
        if date.fromisoformat(text).isoformat() == text:
            return None
    except ValueError:
        pass
    return "is no day such as 2026-01-27"


def _wrong_json(text: str) -> str | None:
    try:
        value = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return "is no JSON object"
    level: list[Any] = [value]
    for _ in range(DEEPEST):
        level = [each for one in level for each in (one.values() if isinstance(one, dict) else one)]
        level = [each for each in level if isinstance(each, (dict, list))]
        if not level:
            return None
    return f"is deeper than {DEEPEST}"
