"""Reads what is in a request besides its body: query parameters, ids in the path, and the idempotency key.

Each function raises `Refused` with a message that names the parameter and says what it must be.
"""

from __future__ import annotations

import re

from djactors.domain import lengths
from djactors.domain.errors import Code, Refused, not_found
from djactors.domain.events import MAX_ID
from djactors.net import Request

PAGE = 20
"""The default number of items in a page (seed: "20 per page")."""

MAX_PAGE = 100
"""The most items that one page may hold (contract)."""

ID = r"(?P<id>[0-9]+)"
"""An id in a path. A number that is too long for an id still matches, so that it is answered like a missing id, not
like a missing route."""


def header_key(request: Request) -> str | None:
    """The `Idempotency-Key` header."""
    key = request.header("idempotency-key")
    if key is None:
        return None
    if not (1 <= len(key) <= lengths.KEY and key.isascii() and key.isprintable()):
        raise Refused(Code.INVALID, f"Idempotency-Key: must be 1 to {lengths.KEY} printable ASCII characters")
    return key


def query_of(request: Request, *known: str) -> dict[str, str]:
    """The query parameters. One that the route does not know is refused, like an unknown field."""
    for name in request.query:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise Refused(Code.INVALID, f"unknown query parameter {name[:50]!r}; allowed: {allowed}")
    return request.query


def number(query: dict[str, str], name: str, high: int = MAX_ID) -> int | None:
    """A whole number from 1 to `high`, or None if the parameter is missing."""
    text = query.get(name)
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,16}", text) is None or not 1 <= int(text) <= high:
        raise Refused(Code.INVALID, f"{name}: must be a whole number from 1 to {high}")
    return int(text)


def page_size(query: dict[str, str], default: int = PAGE) -> int:
    """The parameter `limit`."""
    return number(query, "limit", MAX_PAGE) or default


def flag(query: dict[str, str], name: str) -> bool:
    """A parameter that is true or false; false if it is missing."""
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(Code.INVALID, f"{name}: must be true or false")
    return text == "true"


def choice(query: dict[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    """One of a few words, or None if the parameter is missing."""
    text = query.get(name)
    if text is not None and text not in choices:
        raise Refused(Code.INVALID, f"{name}: must be one of {', '.join(choices)}")
    return text


def path_id(found: dict[str, str]) -> int:
    """The id in the path. A number that no id can be is answered like a missing id."""
    text = found["id"]
    # The length is checked first, because Python refuses to read a number of thousands of digits.
    if len(text) > len(str(MAX_ID)) or not 1 <= int(text) <= MAX_ID:
        raise not_found()
    return int(text)
