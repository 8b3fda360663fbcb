"""Remembers what heads were parsed to, for senders that repeat their own to the last byte.

A head that comes once may never come again: each poll of a stock Socket.IO client has another `t` in its query. Were
all of them kept, a few hundred polling clients would push out, within a second, the heads of the backends for which
this memory is there. So a head is kept when it comes for the second time; of the first time no more is noted than that.
"""

from typing import Final

from djactors.net._http_messages import Head, Limits

REMEMBERED_HEADS: Final = 512
"""Heads that are kept parsed: a few senders, each with a few hundred lengths of body. With what they were parsed to,
they take 7 MiB at most, and those with the longest tokens 3."""

REMEMBERED_BYTES: Final = 2 * 1024
"""The longest head that is kept: one with a token signed by RSA has about half of that."""

REMEMBERED_FIELDS: Final = 32
"""The most headers and query parameters that a head may have and be kept: a browser behind a proxy sends fewer. Each
takes some hundred bytes parsed, however short it is, and a head of `REMEMBERED_BYTES` has room for hundreds."""

NOTED_HEADS: Final = 1024
"""A head is kept if it comes again before this many others that were new, and forgotten after twice as many: a second
of a busy server. What is noted of each is one number, 140 KiB of them in all."""

_MADE_FOR_ONE: Final = frozenset({"idempotency-key", "sec-websocket-key"})


class HeadMemory:
    """The heads that came again, by their bytes: a sender on a kept connection repeats its own to the last byte.

    To parse one takes 4 µs, to find it here a quarter of one. What a head says depends on nothing but its bytes and the
    limits, so that one is found only by exactly what it was parsed from, and under the limits that it was parsed under:
    whoever has the bytes has what is in them. Whether a token in it is good, still, is asked anew for each request.

    Tokens and cookies stay in it, good or not, until newer heads push them out (`REMEMBERED_HEADS`): in the memory of
    the process only, as verified tokens do anyhow, and never shown to anyone.
    """

    __slots__ = ("_heads", "_noted", "_noted_before")

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}
        # Hashes of heads that came once: those of late, and the `NOTED_HEADS` before them.
        self._noted: set[int] = set()
        self._noted_before: set[int] = set()

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, raw: bytes, limits: Limits) -> Head | None:
        """Return what these bytes were parsed to under the same limits, if that is remembered."""
        head = self._heads.get(raw)
        return head if head is not None and head.limits is limits else None

    def keep(self, raw: bytes, head: Head) -> None:
        """Remember what these bytes were parsed to, if that is little and they have come before."""
        if len(raw) > REMEMBERED_BYTES or len(head.headers) + len(head.query) > REMEMBERED_FIELDS:
            return
        if not _MADE_FOR_ONE.isdisjoint(head.headers) or not self._note(raw):
            return
        if len(self._heads) >= REMEMBERED_HEADS and raw not in self._heads:
            del self._heads[next(iter(self._heads))]
        self._heads[raw] = head

    def _note(self, raw: bytes) -> bool:
        """Note that these bytes have come; return whether they had come before."""
        # Two heads of one hash only mean that one of them is kept at its first time.
        number = hash(raw)
        if number in self._noted or number in self._noted_before:
            return True
        if len(self._noted) >= NOTED_HEADS:
            self._noted_before, self._noted = self._noted, set()
        self._noted.add(number)
        return False
