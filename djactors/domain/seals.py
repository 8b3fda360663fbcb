"""Seals: texts that a client brings back, and that are believed only as they were given.

A MAC needs no table, outlives restarts, and means nothing to a server with another database. Any node knows it, because
the key is the database's secret.
"""

from __future__ import annotations

import hmac

from djactors.domain.url_safe import url_safe

MAC_BYTES = 18
"""144 bits, so that nobody can guess a MAC."""

MAC = r"[A-Za-z0-9_-]{24}"
"""A regular expression for the text of a MAC: three bytes make four letters, so nothing is filled up."""


def mac_of(key: bytes, text: str) -> str:
    """The MAC of a text."""
    return url_safe(hmac.digest(key, text.encode(), "sha256")[:MAC_BYTES]).decode()


def is_mac_of(key: bytes, text: str, mac: str) -> bool:
    """Whether somebody with the key has made this MAC for the text. Takes as long for a wrong one."""
    return hmac.compare_digest(mac_of(key, text), mac)
