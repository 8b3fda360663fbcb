"""Folds texts so that a search finds what others write another way: `José`, `JOSE` and `jose` are the same.

Case does not count in any script, nor do the marks of Latin, Greek and Cyrillic letters. Those of other scripts do,
because there they are vowels or tones, or make another letter.

Source: Unicode Standard Annex #15 (normalization forms), and section 3.13 of the Unicode Standard (case folding).
"""

from __future__ import annotations

import unicodedata

_WITHOUT_MARKS = ("LATIN ", "GREEK ", "CYRILLIC ")


def folded(text: str) -> str:
    """The text without what does not count."""
    if text.isascii():
        return text.lower()
    kept: list[str] = []
    drops = False
    for letter in unicodedata.normalize("NFKD", text.casefold()):
        if not unicodedata.combining(letter):
            drops = unicodedata.name(letter, "").startswith(_WITHOUT_MARKS)
        elif drops:
            continue
        kept.append(letter)
    return unicodedata.normalize("NFC", "".join(kept).casefold())


def words_of(query: str) -> tuple[str, ...]:
    """The folded words of a query, each once."""
    return tuple(dict.fromkeys(folded(query).split()))
