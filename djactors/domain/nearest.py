"""Finds what somebody meant who has mistyped a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

MAX_NAME = 80
"""Characters of a name that are compared. No name here is as long, and whoever sends a long one wants no hint."""

LIKELY = 0.6
"""How much alike two names are that may mean the same; 1 is the same name."""


def nearest(name: str, names: Iterable[str], likely: float = LIKELY) -> str | None:
    """Of some names the one that is the most like another; None if none is alike enough."""
    forms = {plain(each): each for each in names}
    found = difflib.get_close_matches(plain(name[:MAX_NAME]), forms, 1, cutoff=likely)
    return forms[found[0]] if found else None


def plain(name: str) -> str:
    """A name without what people get wrong in it most."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
