"""Seals what a client is to bring back exactly as it was given.

A cursor that the server believes must be one that the server gave. Its MAC lives as long as the database's key, so any
node knows it, and a restart changes nothing.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

MAC_BYTES = 18
"""144 bits, so that nobody can guess a MAC."""

SEALED = r"\A[0-9-]{1,80}\.[A-Za-z0-9_-]{24}\Z"
"""A regular expression for sealed numbers."""


class Seal:
    """Seals texts, each for one purpose. `key` is the database's secret."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, purpose: str, text: str) -> str:
        """The text with its MAC behind it."""
        return f"{text}.{self._mac(purpose, text)}"

    def open(self, purpose: str, sealed: str) -> str | None:
        """The text, or None if it was not sealed here for this purpose."""
        text, _, mac = sealed.rpartition(".")
        return text if hmac.compare_digest(self._mac(purpose, text), mac) else None

    def _mac(self, purpose: str, text: str) -> str:
        digest = hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256")
        return urlsafe_b64encode(digest[:MAC_BYTES]).decode()
