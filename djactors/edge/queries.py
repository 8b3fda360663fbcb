"""Query parameters: a struct says which parameters a route takes, and this reads a request's query into one.

Rules:
  * A parameter that the struct does not have is refused like an unknown field, and so is a text that PostgreSQL cannot
    be asked for.
  * The struct's types say what a value may be, and the API's description says the same from the same types.
  * Whatever is wrong is `Refused`, with a message that names the parameter and says what it must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, inspect

from djactors.domain.errors import Code, Refused
from djactors.domain.events import check_text
from djactors.domain.ids import MAX_ID, Id
from djactors.net import Request

PAGE = 20
"""The default number of items in a page (seed: "20 per page")."""

MAX_PAGE = 100
"""The most items that one page may hold (contract)."""

Limit: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_PAGE, description="The most items in the page.")]
Before: TypeAlias = Annotated[Id | None, Meta(description="The `nextBefore` of the page before.")]


class Query(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all queries. This one has no parameters."""


class PageQuery(Query, frozen=True, kw_only=True):
    """Which page of a list is wanted."""

    limit: Limit = PAGE
    before: Before = None


Q = TypeVar("Q", bound=Query)

_Reader: TypeAlias = Callable[[str, str], Any]


class QueryReader(Generic[Q]):
    """Reads queries of one kind. Made once for each route."""

    def __init__(self, kind: type[Q]) -> None:
        self.kind = kind
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        self._readers = {field.encode_name: (field.name, _reader_of(field.type)) for field in info.fields}
        # Nearly all requests that change something have no query.
        self._without = None if any(field.required for field in info.fields) else kind()
        self._required = [(field.encode_name, _description_of(field.type)) for field in info.fields if field.required]

    def read(self, request: Request) -> Q:
        """The query of a request. Raises Refused."""
        query = request.query
        if not query and self._without is not None:
            return self._without
        values: dict[str, Any] = {}
        for name, text in query.items():
            found = self._readers.get(name)
            if found is None:
                allowed = ", ".join(self._readers) or "none"
                raise Refused(Code.INVALID, f"unknown query parameter {name[:50]!r}; allowed: {allowed}")
            check_text(text, name)
            field, reader = found
            values[field] = reader(name, text)
        for name, description in self._required:
            if name not in query:
                raise Refused(Code.INVALID, f"{name}: is missing: send {description}")
        return self.kind(**values)


NO_QUERY = QueryReader(Query)
"""Of a route that takes no parameters."""


def _bare(info: inspect.Type) -> inspect.Type:
    return info.type if isinstance(info, inspect.Metadata) else info


def _description_of(info: inspect.Type) -> str:
    schema = info.extra_json_schema if isinstance(info, inspect.Metadata) else None
    return str((schema or {}).get("description", "it"))


def _reader_of(info: inspect.Type) -> _Reader:
    match _bare(info):
        case inspect.BoolType():
            return _flag
        case inspect.IntType(ge=low, le=high):
            return _number(low or 0, MAX_ID if high is None else high)
        case inspect.LiteralType(values=values):
            return _choice(tuple(map(str, values)))
        case inspect.StrType(min_length=least, max_length=most):
            return _text(least or 0, most)
        case inspect.UnionType(types=types):
            kinds = [kind for kind in map(_bare, types) if not isinstance(kind, inspect.NoneType)]
            words = [str(word) for kind in kinds if isinstance(kind, inspect.LiteralType) for word in kind.values]
            others = [kind for kind in kinds if not isinstance(kind, inspect.LiteralType)]
            if len(others) == 1:
                other = _reader_of(others[0])
                return other if not words else lambda name, text: text if text in words else other(name, text)
            if not others:
                return _choice(tuple(words))
        case _:
            pass
    raise TypeError(f"no query parameter can be {info}")


def _number(low: int, high: int) -> _Reader:
    def read(name: str, text: str) -> int:
        if re.fullmatch(r"[0-9]{1,16}", text) is None or not low <= int(text) <= high:
            raise Refused(Code.INVALID, f"{name}: must be a whole number from {low} to {high}")
        return int(text)

    return read


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise Refused(Code.INVALID, f"{name}: must be true or false")
    return text == "true"


def _choice(choices: tuple[str, ...]) -> _Reader:
    def read(name: str, text: str) -> str:
        if text not in choices:
            raise Refused(Code.INVALID, f"{name}: must be one of {', '.join(choices)}")
        return text

    return read


def _text(least: int, most: int | None) -> _Reader:
    def read(name: str, text: str) -> str:
        if len(text) < least or (most is not None and len(text) > most):
            bounds = f"at least {least}" if most is None else f"{least} to {most}"
            raise Refused(Code.INVALID, f"{name}: must be {bounds} characters")
        return text

    return read
