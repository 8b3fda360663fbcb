"""Seals what a client is to bring back exactly as it was given, such as a cursor that the server believes."""

from __future__ import annotations

from djactors.domain.seals import MAC, is_mac_of, mac_of

SEALED = rf"\A[0-9-]{{1,80}}\.{MAC}\Z"
"""A regular expression for sealed numbers."""


class Seal:
    """Seals texts, each for one purpose. `key` is the database's secret."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, purpose: str, text: str) -> str:
        """The text with its MAC behind it."""
        return f"{text}.{mac_of(self._key, _claim(purpose, text))}"

    def open(self, purpose: str, sealed: str) -> str | None:
        """The text, or None if it was not sealed here for this purpose."""
        text, _, mac = sealed.rpartition(".")
        return text if is_mac_of(self._key, _claim(purpose, text), mac) else None


def _claim(purpose: str, text: str) -> str:
    return f"{purpose}\0{text}"
