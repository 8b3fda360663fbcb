"""Folds texts so that a search finds what others write another way: `José`, `JOSE` and `jose` are the same.

Case does not count in any script, nor do the marks of Latin, Greek and Cyrillic letters. Those of other scripts do,
because there they are vowels or tones, or make another letter.

Source: Unicode Standard Annex #15 (normalization forms), and section 3.13 of the Unicode Standard (case folding).
"""

from __future__ import annotations

import re
import unicodedata

_MARKS = re.compile("(?<=[a-z\u00df-\u024f\u0370-\u03ff\u0400-\u052f])[\u0300-\u036f]+")
"""Marks behind a small letter of one of the three scripts, where the text is decomposed. A search folds hundreds of
texts, so no letter is looked at one by one."""


def folded(text: str) -> str:
    """The text without what does not count."""
    if text.isascii():
        return text.lower()
    # What is decomposed may have case again.
    decomposed = unicodedata.normalize("NFKD", text.casefold()).casefold()
    return unicodedata.normalize("NFC", _MARKS.sub("", decomposed))


def words_of(query: str) -> tuple[str, ...]:
    """The folded words of a query, each once."""
    return tuple(dict.fromkeys(folded(query).split()))
