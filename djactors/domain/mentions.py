"""Finds the mentions of people by name in a text. This code is pure: it does not know whether somebody has such a name.

Rules:
  * `@Name` mentions somebody if the `@` begins the text or follows anything but a letter, a digit or a mark. So the `@`
    of an address such as `a@example.com` mentions nobody.
  * The name follows at once and ends where a word ends. The longest name that somebody has is the one that is meant:
    `@Anna Lee` is never Anna.
  * Names are compared as they are folded (`domain/folding.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from djactors.domain.folding import folded

MAX_MENTIONS = 20
"""The most people whom one comment may mention, because each of them becomes a watcher and a notification in the same
commit, and the most `@` of a text that are looked at, because each is looked up."""

MAX_LENGTH = 64
MAX_ENDS = 8
"""How many characters behind an `@` are looked at, and how many ends of words in them. Nearly all names are shorter,
and whoever has a longer one can be mentioned by id. To fold so much takes at most 0.3 ms for each `@`."""


def mentions_in(text: str) -> Iterator[list[str]]:
    """For each mention in a text, the folded names that may be meant, the longest first."""
    at = -1
    for _ in range(MAX_MENTIONS):
        at = text.find("@", at + 1)
        if at < 0:
            return
        if at > 0 and _in_word(text[at - 1]):
            continue
        names = _names(text[at + 1 : at + 2 + MAX_LENGTH].partition("\n")[0])
        if names:
            yield names


def _names(text: str) -> list[str]:
    """What the text begins with, up to each end of a word, folded, the longest first."""
    if not text or text[0].isspace():
        return []
    found: dict[str, None] = {}
    for end in range(1, min(len(text), MAX_LENGTH) + 1):
        if text[end - 1].isspace() or (end < len(text) and _in_word(text[end - 1]) and _in_word(text[end])):
            continue
        found[folded(text[:end])] = None
        if len(found) == MAX_ENDS:
            break
    return sorted(found, key=len, reverse=True)


def _in_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")
