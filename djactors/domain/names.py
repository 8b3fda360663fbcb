"""The names of people: shown beside an id, and folded, so that a person is found as others write the name. `José`,
`JOSE` and `jose` are the same.

A name is folded as a search folds any text (`domain/folding.py`). Only the beginning of a long name is used:
`MAX_WORDS` words, `MAX_TEXT` characters from the beginning of each.
"""

from __future__ import annotations

from typing import Final

import msgspec

from djactors.domain.folding import folded

MAX_TEXT: Final = 64
"""Characters of a folded text; the column holds no more. Names that are alike so far are found together."""

MAX_WORDS: Final = 8
"""Words of a name by which a person is found. Each is a row and two entries in indexes."""

_LAST: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)


class Named(msgspec.Struct, frozen=True, gc=False):
    """A person by id, with a name to show."""

    id: int
    name: str


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


def default_name(user_id: int) -> str:
    """The name of somebody whose name nobody has told yet."""
    return f"User {user_id}"
