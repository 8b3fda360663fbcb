"""Bytes as text that JSON and URLs take as it is: base64 with `-` and `_`, and without the `=` at its end.

Source: RFC 4648, sections 3.2 and 5. The standard library's functions of this name look four times at what they are
given before `binascii` does the work, and nine such texts are written or read for each user who connects.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_ORDINARY = bytes.maketrans(b"-_", b"+/")


def url_safe(data: bytes) -> bytes:
    """The letters for these bytes, in ASCII: four for each three bytes."""
    return b2a_base64(data, newline=False).rstrip(b"=").translate(_URL_SAFE)


def from_url_safe(letters: bytes) -> bytes:
    """The bytes that these letters stand for, which nobody need have checked; other letters are skipped.

    Several texts have the same bytes, so a caller for whom that matters compares with `url_safe`.

    Raises:
        ValueError: no bytes have so many letters.
    """
    # What is missing at the end is two signs at most, and those that are too many are skipped.
    return a2b_base64(letters.translate(_ORDINARY) + b"==")
