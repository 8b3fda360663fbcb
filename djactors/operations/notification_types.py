"""What `djactors types` prints: the table of notification types as TOML, which is also the form of the file that
changes them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from msgspec import UNSET

from djactors.domain.notification_rules import Rules
from djactors.domain.notification_types import BUILT_IN_NAMES, FIELDS, REQUESTED, NotificationType, table_of

BUILT_IN = {each.name: each for each in table_of(())}


def lines(rules: Rules) -> Iterator[str]:
    """The lines of the table."""
    yield f"# Table {rules.digest}. Nodes that print the same one notify alike."
    for kind in rules.types:
        yield ""
        yield f"# {_origin(kind)}"
        yield f"[{kind.name}]"
        for field in FIELDS:
            value = getattr(kind, field)
            if value is not UNSET:
                yield f"{field} = {_toml(value)}"


def _origin(kind: NotificationType) -> str:
    if not kind.is_on:
        return "switched off"
    if kind.name in BUILT_IN_NAMES:
        return "comes with djactors" if kind == BUILT_IN[kind.name] else "comes with djactors, and is changed here"
    return "your own" if kind.is_worded else f"your own, in the words of the backend that posts {REQUESTED}"


def _toml(value: object) -> str:
    # What may be in these texts is written alike in JSON and in TOML.
    return json.dumps(value, ensure_ascii=False)
