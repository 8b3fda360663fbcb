"""Offsets, and the marks in them: an offset names a change of a tenant and everything that came before the change.

    mark of a change = BLAKE2b, 8 bytes, of: the mark before it, its number, its user, its name, its payload's bytes
    offset           = MARK.SEQ, for example NdgF4_3ogOI.57; before any change it is .0

Rules:
  * Marks form a chain, like the names of Git commits. If change 57 has the same mark in two databases, clients were
    shown the same changes up to 57 from both, so a client of one can go on with the other. If an older copy of a
    database was put back, however it was made, its marks differ from those of the changes that were lost.
  * A mark is made from all that a client sees of a change, and nothing else. A replay sends the same bytes again.
  * The parts of the hashed text cannot be confused: numbers have a fixed width, the name ends with the only zero byte
    in it, and the rest is the payload.
  * A mark is no secret, and does not prove to whom it was given. A pid proves this.

Source: the contract's section "Offsets and recovery"; RFC 7693 (BLAKE2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from struct import Struct

import msgspec

from djactors.domain.url_safe import from_url_safe, url_safe

MARK_BYTES = 8
"""Bytes of a mark. With 64 bits, lost changes practically never have the log's mark by chance, and the table keeps a
mark as one integer."""

_NUMBERS = Struct(">qqq")
_MARK = Struct(">q")
_EVERYBODY = 0
"""The number that stands for no user. Ids begin with 1."""

# Eleven characters of base64 are 66 bits. The last two bits must be zero, so that each mark has only one text. Every
# number up to 2^53 - 1 has at most 16 digits.
TEXT = r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]\.[1-9][0-9]{0,15}|\.0"
"""A regular expression for the text of an offset."""
_TEXT = re.compile(TEXT)


REMEMBERED_TEXTS = 256
"""Texts of offsets that are kept. Whoever connects gets the tenant's newest offset twice, as everybody of the tenant
does until something happens there. Only large installations have more busy tenants than that."""


class Offset(msgspec.Struct, frozen=True, gc=False):
    """A point in a tenant's log: right after the change `seq`, whose mark is `mark`, a signed integer of 64 bits."""

    mark: int
    seq: int

    def __str__(self) -> str:
        """`MARK.SEQ`, opaque to clients: at most 28 characters, none of which JSON or a URL would escape."""
        return _json_of(self.mark, self.seq)[1:-1].decode()


def json_of(offsets: Iterable[Offset]) -> list[bytes]:
    """The texts of offsets, as JSON. A badge is stamped as the change before it, so the same text often comes again."""
    return [_json_of(offset.mark, offset.seq) for offset in offsets]


@lru_cache(REMEMBERED_TEXTS)
def _json_of(mark: int, seq: int) -> bytes:
    # The bytes are put together by hand for speed, because each change that is sent has an offset.
    return b'"%b.%d"' % (url_safe(_MARK.pack(mark)), seq) if seq else b'".0"'


BEGINNING = Offset(0, 0)
"""The offset before any change. It names no past, so it is good only for a log that was never purged."""


def mark_of(before: int, seq: int, name: str, user_id: int | None, body: bytes) -> int:
    """The mark of a change: about 1 µs.

    Args:
        before: the mark of the tenant's change before this one; 0 for the first change.
        seq: the change's number in the tenant's log.
        name: the name of the Socket.IO event that a client gets.
        user_id: the user who sees the change; None if the whole tenant sees it.
        body: the JSON of the payload, byte for byte as it is sent.
    """
    numbers = _NUMBERS.pack(before, seq, _EVERYBODY if user_id is None else user_id)
    # Put together before it is hashed, because that costs less than telling the hash three times.
    hashed = blake2b(b"%b%b\0%b" % (numbers, name.encode(), body), digest_size=MARK_BYTES)
    mark: int = _MARK.unpack(hashed.digest())[0]
    return mark


def offset_of(text: object) -> Offset | None:
    """The offset that a client sent; None for a value that is no offset. Any value may be given."""
    if not isinstance(text, str) or _TEXT.fullmatch(text) is None:
        return None
    mark, _, seq = text.partition(".")
    if not mark:
        return BEGINNING
    return Offset(int.from_bytes(from_url_safe(mark.encode()), "big", signed=True), int(seq))
