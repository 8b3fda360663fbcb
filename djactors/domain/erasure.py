"""What becomes of the words that name a person, or that the person wrote, when the person is erased. This code is pure:
it uses no clock and no store.

Rules:
  * The person's name gives way to a stand-in, which keeps two erased people apart: `Erased user 7`.
  * In the texts of others, the name is found as a whole and in any case: `ann example` in "@Ann Example, please". A
    name of one word is found only as it is written, or in any case behind an @, because `will` and `mark` are words as
    well. A name of one character is not looked for.
  * Where a script has no spaces between words, as Thai and Chinese, a name is found inside of a longer text.
  * A name that somebody else in the tenant has as well is left in the texts of others, because nobody can tell who was
    meant.
  * What the person wrote themselves gives way to `ERASED`: the text of a comment, the reason of a rejection, and both
    in the notifications that quote them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from djactors.domain import lengths
from djactors.domain.notification_rules import RULES
from djactors.domain.notifications import encode

ERASED = "[erased]"
"""Stands in the place of what an erased person wrote."""

MAX_NAMES = 10
"""The most names by which a person is looked for beside the one that the tenant knows. Each is looked for in every text
of the tenant."""

_QUOTING: frozenset[str] = frozenset(rule.type for rule in RULES.values() if rule.message == "{words}")
"""The types of notification whose message is what somebody wrote."""

_LEADING: Mapping[str, str] = {
    rule.type: rule.title.partition("{actor}")[2].partition("{")[0] for rule in RULES.values()
}
"""What stands between the actor's name and the job in a title that begins with the name."""


def stand_in(user_id: int) -> str:
    """The name that an erased person has from then on."""
    return f"Erased user {user_id}"


class Rewording:
    """Puts a stand-in for a person's names into texts.

    Args:
        names: the names; without any, no text changes.
        stand_in: what takes their place.
    """

    def __init__(self, names: Iterable[str], stand_in: str) -> None:
        self._stand_in = stand_in
        # As it may be written: é can be one character or two.
        forms = {unicodedata.normalize(form, " ".join(name.split())) for name in names for form in ("NFC", "NFD")}
        # The longest first, so that of "Ann Example" nothing is left if "Ann" is looked for as well.
        wanted = sorted((form for form in forms if len(form) > 1), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_pattern_of, wanted)), re.IGNORECASE) if wanted else None

    def text(self, text: str, limit: int | None = None) -> str:
        """A text without the names, at most `limit` characters of it."""
        if self._pattern is None:
            return text
        # As a function, so that no backslash in the stand-in is read as more.
        reworded = self._pattern.sub(lambda _: self._stand_in, text)
        return text if reworded == text else reworded[:limit]

    def json(self, text: str) -> str:
        """JSON whose texts are without the names. What names nobody stays as it is, byte for byte."""
        value = msgspec.json.decode(text)
        reworded = self._value(value)
        return text if reworded == value else encode(reworded).decode()

    def title(self, kind: str, title: str) -> str:
        """The title of a notification that the person caused.

        The name in it may be an earlier one, so it is taken out by the rule that has put it in.
        """
        between = _LEADING.get(kind)
        if between and between in title:
            # The last place, because a name may have the same words in it, and a job's number has not.
            return f"{self._stand_in}{between}{title.rpartition(between)[2]}"[: lengths.TITLE]
        return self.text(title, lengths.TITLE)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self._value(each) for each in value]
        if isinstance(value, dict):
            return {self.text(key): self._value(each) for key, each in value.items()}
        return value


_WITHOUT_SPACES = frozenset({"THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "CJK", "HIRAGANA", "KATAKANA"})
"""How the names of characters begin, in Unicode, of scripts that have no spaces between words."""


def _pattern_of(name: str) -> str:
    words = [re.escape(word) for word in name.split(" ")]
    found = r"\s+".join(words) if len(words) > 1 else f"(?:(?-i:{words[0]})|(?<=@){words[0]})"
    # Not \b: a name may begin or end with what is no letter, where \b would look for the contrary.
    before = "" if _has_no_spaces(name[0]) else r"(?<!\w)"
    behind = "" if _has_no_spaces(name[-1]) else r"(?!\w)"
    return f"{before}{found}{behind}"


def _has_no_spaces(character: str) -> bool:
    return unicodedata.name(character, "").split(" ")[0] in _WITHOUT_SPACES


def quotes(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether a notification quotes what the person who caused it wrote."""
    return kind in _QUOTING and ("commentId" in data or "reason" in data)


def without_reason(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a notification without what somebody wrote."""
    return {key: ERASED if key == "reason" else value for key, value in data.items()}
