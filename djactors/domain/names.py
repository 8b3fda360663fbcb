"""The names of people: shown beside an id, and folded, so that a person is found as others write the name. `José`,
`JOSE` and `jose` are the same.

Rules of folding:
  * Case does not count, in any script (Unicode's case folding). Neither does the width of a letter, or whether it is a
    ligature (Unicode's compatibility decomposition).
  * The marks of Latin, Greek and Cyrillic letters do not count. Those of Thai and of all other scripts do, because
    there they are vowels or tones, or make another letter. A letter that Unicode does not take apart, such as `ø`,
    stays what it is.
  * Words are parted by spaces, of any kind and number. Characters that are not seen, such as joiners, do not count.
  * Only the beginning of a long name is used: `MAX_WORDS` words, `MAX_TEXT` characters from the beginning of each.

Source: Unicode Standard Annex #15 (normalization forms), and section 3.13 of the Unicode Standard (case folding).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

import msgspec

MAX_TEXT: Final = 64
"""Characters of a folded text; the column holds no more. Names that are alike so far are found together."""

MAX_WORDS: Final = 8
"""Words of a name by which a person is found. Each is a row and two entries in indexes."""

RULES: Final = f"1 {unicodedata.unidata_version}"
"""What a folded name depends on: the rules above, by a number that changes with them, and the tables of Unicode."""

_FOLDED_SCRIPTS: Final = ("LATIN ", "GREEK ", "CYRILLIC ")
_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


class Named(msgspec.Struct, frozen=True, gc=False):
    """A person by id, with a name to show."""

    id: int
    name: str


def folded(name: str) -> str:
    """The name without what does not count, its words parted by single spaces. A folded name stays as it is."""
    if name.isascii() and name.isprintable():
        return " ".join(name.lower().split())
    text = _without_marks(unicodedata.normalize("NFKD", name))
    # A folded letter may come apart once more, and what it is made of may have case again.
    while True:
        again = _without_marks(unicodedata.normalize("NFKD", text.casefold()))
        if again == text:
            break
        text = again
    return unicodedata.normalize("NFC", " ".join(text.split()))


def parts(name: str) -> tuple[str, tuple[str, ...]]:
    """The folded name as it is sorted, and the texts by whose beginning it is found: from each of its words on."""
    whole = folded(name)
    words = whole.split(" ")[:MAX_WORDS] if whole else []
    texts = {" ".join(whole.split(" ")[place:])[:MAX_TEXT] for place in range(len(words))}
    return whole[:MAX_TEXT], tuple(sorted(texts))


def wanted(query: str) -> str:
    """What a folded text must begin with to be found by a query. It is empty if everybody is."""
    return folded(query)[:MAX_TEXT]


def above(text: str) -> str | None:
    """The least text above all that begin with `text`, in the order of code points; None if there is none above."""
    while text:
        last = ord(text[-1]) + 1
        text = text[:-1]
        if last in _SURROGATES:
            last = _SURROGATES.stop
        if last <= _LAST:
            return text + chr(last)
    return None


def _without_marks(text: str) -> str:
    kept: list[str] = []
    is_folded = False
    for character in text:
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            if not is_folded:
                kept.append(character)
        elif character.isspace():
            is_folded = False
            kept.append(" ")
        elif category not in ("Cc", "Cf"):
            is_folded = _is_folded(character)
            kept.append(character)
    return "".join(kept)


@lru_cache(maxsize=4096)  # the letters of a large installation; each takes some 100 bytes
def _is_folded(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith(_FOLDED_SCRIPTS)
