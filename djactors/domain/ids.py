"""Ids: integers from 1 to 2^53 - 1, which JavaScript holds exactly, as numbers or as decimal text.

A client of PostgreSQL, such as node-postgres, hands a BIGINT over as text, and so does a browser's storage; such an id
is taken as the number that it is. Only the one way to write a number is taken: `"07"` or `" 7"` is no id.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

MAX_ID = 2**53 - 1
"""The largest integer that JavaScript holds exactly (Number.MAX_SAFE_INTEGER)."""

Id: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_ID)]
IdText: TypeAlias = Annotated[str, Meta(pattern=r"\A[1-9][0-9]{0,15}\Z")]
IdOrText: TypeAlias = Id | IdText


def id_of(value: object) -> int | None:
    """The id that a number or a decimal text is, or None."""
    if type(value) is str and value.isascii() and value.isdecimal() and value[0] != "0" and len(value) <= 16:
        value = int(value)
    # True is 1 to Python.
    return value if type(value) is int and 1 <= value <= MAX_ID else None


def with_numbers(value: Any, shape: Any) -> Any:
    """A JSON object with the ids that it has as text made numbers; None if there are none.

    Args:
        value: as JSON decodes to.
        shape: the struct, or the union of structs, whose fields say what is an id.
    """
    if not isinstance(value, dict):
        return None
    changed: dict[str, Any] = {}
    for name in _id_fields(shape):
        given = value.get(name)
        if isinstance(given, (list, tuple)):
            numbers = [_number(one) for one in given]
            if numbers != list(given):
                changed[name] = numbers
        elif isinstance(given, str) and (number := id_of(given)) is not None:
            changed[name] = number
    return {**value, **changed} if changed else None


def _number(value: Any) -> Any:
    number = id_of(value) if isinstance(value, str) else None
    return value if number is None else number


@cache
def _id_fields(shape: Any) -> frozenset[str]:
    """The names, as in JSON, of the fields that hold one id or several."""
    info = msgspec.inspect.type_info(shape)
    structs = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return frozenset(
        field.encode_name
        for struct in structs
        if isinstance(struct, msgspec.inspect.StructType)
        for field in struct.fields
        if _is_id(field.type)
    )


def _is_id(info: msgspec.inspect.Type) -> bool:
    match info:
        case msgspec.inspect.IntType(le=high):
            return high == MAX_ID
        case msgspec.inspect.UnionType(types=types):
            return any(_is_id(one) for one in types)
        case msgspec.inspect.VarTupleType(item_type=item):
            return _is_id(item)
        case _:
            return False
