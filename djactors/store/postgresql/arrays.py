"""Columns of rows as PostgreSQL takes them fastest: binary arrays, one for each column.

The server reads such an array in a third of the time in which it reads the same rows as JSON.
https://www.postgresql.org/docs/current/xfunc-sql.html (arrays), and `array_recv` in PostgreSQL's arrayfuncs.c
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from djactors.store.postgresql.pipeline import Binary

__all__ = ["ARRAYS", "ArrayOf"]

ArrayOf = Callable[[Sequence[Any]], Binary]

_INT8, _TEXT, _BOOL = 20, 25, 16

# Dimensions, whether there are NULLs, the type of the elements, how many there are, and the number of the first one.
_HEAD = struct.Struct(">5i")
_NULL = b"\xff\xff\xff\xff"
_WHOLE = struct.Struct(">iq")
_TRUTHS = {None: _NULL, False: b"\0\0\0\1\0", True: b"\0\0\0\1\1"}


@lru_cache(maxsize=1024)
def _whole_numbers(count: int) -> struct.Struct:
    return struct.Struct(">" + "iq" * count)


def _of_whole_numbers(values: Sequence[int | None]) -> Binary:
    count = len(values)
    if None in values:
        parts = [_NULL if value is None else _WHOLE.pack(8, value) for value in values]
        return Binary(_HEAD.pack(1, 1, _INT8, count, 1) + b"".join(parts))
    elements: list[Any] = [8] * (2 * count)
    elements[1::2] = values
    return Binary(_HEAD.pack(1, 0, _INT8, count, 1) + _whole_numbers(count).pack(*elements))


def _of_texts(values: Sequence[str | None]) -> Binary:
    parts = [_HEAD.pack(1, None in values, _TEXT, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            text = value.encode()
            parts += (len(text).to_bytes(4, "big"), text)
    return Binary(b"".join(parts))


def _of_truths(values: Sequence[bool | None]) -> Binary:
    head = _HEAD.pack(1, None in values, _BOOL, len(values), 1)
    return Binary(head + b"".join([_TRUTHS[value] for value in values]))


ARRAYS: Mapping[str, tuple[str, ArrayOf]] = {
    "bigint": ("bigint[]", _of_whole_numbers),
    "text": ("text[]", _of_texts),
    "character varying": ("text[]", _of_texts),
    "boolean": ("boolean[]", _of_truths),
}
