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
    in the notifications that may quote them. These are all that an event with such a text has caused, whatever their
    type says now, because a type may have been worded in another way when they were written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from djactors.domain import lengths
from djactors.domain.notification_rules import BUILT_IN_RULES, RULES, Rule, Rules
from djactors.domain.notifications import encode

ERASED = "[erased]"
"""Stands in the place of what an erased person wrote."""

MAX_NAMES = 10
"""The most names by which a person is looked for beside the one that the tenant knows. Each is looked for in every text
of the tenant."""


def stand_in(user_id: int) -> str:
    """The name that an erased person has from then on."""
    return f"Erased user {user_id}"


class Rewording:
    """Puts a stand-in for a person's names into texts.

    Args:
        names: the names; without any, no text changes.
        stand_in: what takes their place.
        rules: by which titles and messages were worded.
    """

    def __init__(self, names: Iterable[str], stand_in: str, rules: Rules = BUILT_IN_RULES) -> None:
        self._stand_in = stand_in
        self._rules = rules
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

        The name in it may be an earlier one, so it is taken out by the rule that has put it in, if the rule begins with
        the name.
        """
        return self._worded([rule.title for rule in self._rules_of(kind)], title, lengths.TITLE)

    def message(self, kind: str, message: str) -> str:
        """The message of a notification that the person caused, likewise. Most messages do not name who caused them."""
        templates = [rule.message for rule in self._rules_of(kind) if "{actor}" in rule.message]
        return self._worded(templates, message, lengths.TEXT) if templates else message

    def _rules_of(self, kind: str) -> list[Rule]:
        """What may have worded a notification of a type: the rule that comes with djactors, and the installation's."""
        return [rules[kind] for rules in (RULES, self._rules.by_type) if kind in rules]

    def _worded(self, templates: Iterable[str], text: str, limit: int) -> str:
        for template in templates:
            before, actor, behind = template.partition("{actor}")
            between = behind.partition("{")[0]
            if actor and not before and between and between in text:
                # The last place, because a name may have the same words in it, and a job's number has not.
                return f"{self._stand_in}{between}{text.rpartition(between)[2]}"[:limit]
        return self.text(text, limit)

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


def quotes(data: Mapping[str, Any]) -> bool:
    """Whether a notification that a person has caused may quote what this person wrote."""
    return "commentId" in data or "reason" in data


def without_reason(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a notification without what somebody wrote."""
    return {key: ERASED if key == "reason" else value for key, value in data.items()}
