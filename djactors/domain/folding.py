"""Folds texts so that a search finds what others write in another way: `José`, `JOSE` and `jose` are the same.

Rules:
  * Case does not count, in any script (Unicode's case folding). Neither does the width of a letter, or whether it is a
    ligature (Unicode's compatibility decomposition).
  * The marks of Latin, Greek and Cyrillic letters do not count. Those of Thai and of all other scripts do, because
    there they are vowels or tones, or make another letter. A letter that Unicode does not take apart, such as `ø`,
    stays what it is.
  * Words are parted by spaces, of any kind and number. Characters that are not seen, such as joiners, do not count.

A search folds hundreds of texts for one page, so no letter is looked at one by one: two regular expressions know what
Unicode's tables say of each character. They are made when they are first needed, which takes some 20 ms.

Source: Unicode Standard Annex #15 (normalization forms), and section 3.13 of the Unicode Standard (case folding).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import chain
from typing import Final

RULES: Final = f"2 {unicodedata.unidata_version}"
"""What a folded text depends on: the rules above, by a number that changes with them, and the tables of Unicode."""

_FOLDED_SCRIPTS: Final = ("LATIN ", "GREEK ", "CYRILLIC ")
_MARKS: Final = ("Mn", "Me")
_UNSEEN: Final = ("Cc", "Cf")
"""Unicode's categories of marks that take no room, and of what is not seen."""

_SIGNS: Final = (range(0x20000), range(0xE0000, 0xE0200))
"""Where Unicode has marks and characters that are not seen; a test looks at all others."""

_BASIC: Final = 0xFFFF
"""The last character of the basic plane. An expression that knows no other one is a table, and ten times as fast."""


def folded(text: str) -> str:
    """The text without what does not count, its words parted by single spaces. A folded text stays as it is."""
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    text = _without_signs(text)
    # A folded letter may come apart once more, and what it is made of may have case again.
    while (again := _without_signs(text.casefold())) != text:
        text = again
    return unicodedata.normalize("NFC", " ".join(text.split()))


def words_of(query: str) -> tuple[str, ...]:
    """The folded words of a query, each once."""
    return tuple(dict.fromkeys(folded(query).split()))


def _without_signs(text: str) -> str:
    unseen, marks = _expressions(_BASIC if _far_signs().isdisjoint(text) else sys.maxunicode)
    return marks.sub(_marks_that_count, unseen.sub("", unicodedata.normalize("NFKD", text)))


def _marks_that_count(marks: re.Match[str]) -> str:
    letter = marks.string[marks.start() - 1 : marks.start()]
    return "" if letter and _is_of_the_scripts(letter) else marks[0]


@lru_cache(maxsize=4096)  # the letters of a large installation; each takes some 100 bytes
def _is_of_the_scripts(letter: str) -> bool:
    if letter.isascii():
        return not letter.isspace()
    return unicodedata.name(letter, "").startswith(_FOLDED_SCRIPTS)


@cache
def _expressions(last: int) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What finds, up to the last character, one that is not seen, and marks that follow each other."""
    signs = [sign for sign in _signs() if ord(sign) <= last]
    marks = [sign for sign in signs if unicodedata.category(sign) in _MARKS]
    unseen = [sign for sign in signs if unicodedata.category(sign) in _UNSEEN]
    return re.compile(_class_of(unseen)), re.compile(f"{_class_of(marks)}+")


@cache
def _far_signs() -> frozenset[str]:
    return frozenset(sign for sign in _signs() if ord(sign) > _BASIC)


def _signs() -> Iterator[str]:
    """All marks, and all that is not seen."""
    for code in chain(*_SIGNS):
        sign = chr(code)
        if unicodedata.category(sign) in (*_MARKS, *_UNSEEN) and not sign.isspace():
            yield sign


def _class_of(signs: Iterable[str]) -> str:
    return f"[{re.escape(''.join(signs))}]"
