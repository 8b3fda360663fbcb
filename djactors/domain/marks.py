"""Offsets, and the marks in them: an offset names a change of a tenant and everything that came before the change.

    mark of a change = BLAKE2b, 8 bytes, of: the mark before it, its number, its user, its name, its payload's bytes
    offset           = MARK.SEQ, for example NdgF4_3ogOI.57; before any change it is .0

Rules:
  * A mark is a chain, as the name of a Git commit is: two databases in which change 57 has the same mark agree on all
    that clients were shown up to change 57, so a client that has seen one of them can go on with the other. A copy of a
    database that was put back is told apart from the future that it lost by this alone, however the copy was made.
  * Everything that a client sees of a change is in its mark, and nothing else. A replay sends the same bytes again.
  * The parts cannot be confused: numbers have one width, a name ends with the only zero byte in it, the rest is the
    payload.
  * A mark is no secret and proves nothing about whom it was given to: that is what a pid is for.

Source: the contract's section "Offsets and recovery"; RFC 7693 (BLAKE2).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct

import msgspec

MARK_BYTES = 8
"""64 bits: that a lost future agrees with the log by chance in one mark is as good as impossible, and the table keeps a
mark as one integer."""

_NUMBERS = Struct(">qqq")
_MARK = Struct(">q")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_EVERYBODY = 0
"""Stands for no user: ids begin with 1."""

# Eleven characters of base64 are 66 bits, of which the last two are zero: each mark has one text. 16 digits hold every
# number up to 2^53 - 1.
TEXT = r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]\.[1-9][0-9]{0,15}|\.0"
"""A regular expression for the text of an offset."""
_TEXT = re.compile(TEXT)


class Offset(msgspec.Struct, frozen=True, gc=False):
    """A point in a tenant's log: right after the change `seq`, whose mark is `mark`, a signed integer of 64 bits."""

    mark: int
    seq: int

    def __str__(self) -> str:
        """`MARK.SEQ`, opaque to clients: at most 28 characters, none of which JSON or a URL would escape."""
        return _text(self).decode()


def json_of(offsets: Iterable[Offset]) -> list[bytes]:
    """The texts of offsets, as JSON."""
    return [b'"%b"' % _text(offset) for offset in offsets]


def _text(offset: Offset) -> bytes:
    if offset.seq == 0:
        return b".0"
    # RFC 4648, section 5. Put together here, as each change that is told is stamped with one.
    mark = b2a_base64(_MARK.pack(offset.mark), newline=False)[:-1]
    return b"%b.%d" % (mark.translate(_URL_SAFE), offset.seq)


BEGINNING = Offset(0, 0)
"""Before any change. Nothing of the past is in it, so only a log that was never purged has it."""


def marks_of(before: int, changes: Iterable[tuple[int, str, int | None, bytes]]) -> list[int]:
    """The marks of a tenant's next changes, which are given in their order; the arguments are those of `mark_of`."""
    marks = []
    for seq, name, user_id, body in changes:
        before = mark_of(before, seq, name, user_id, body)
        marks.append(before)
    return marks


def mark_of(before: int, seq: int, name: str, user_id: int | None, body: bytes) -> int:
    """The mark of a change: about 1 µs.

    Args:
        before: the mark of the tenant's change before it; 0 for the first change.
        seq: its number in the tenant's log.
        name: the Socket.IO event that it is to a client.
        user_id: whose change it is, None where the whole tenant sees it.
        body: the JSON of its payload, as it is sent.
    """
    numbers = _NUMBERS.pack(before, seq, _EVERYBODY if user_id is None else user_id)
    hashed = blake2b(numbers, digest_size=MARK_BYTES)
    hashed.update(f"{name}\0".encode())
    hashed.update(body)
    return int.from_bytes(hashed.digest(), "big", signed=True)


def offset_of(text: object) -> Offset | None:
    """The offset that a client sent; None for anything that is no offset. Whatever was sent may be given."""
    if not isinstance(text, str) or _TEXT.fullmatch(text) is None:
        return None
    mark, _, seq = text.partition(".")
    if not mark:
        return BEGINNING
    return Offset(int.from_bytes(urlsafe_b64decode(mark + "="), "big", signed=True), int(seq))
