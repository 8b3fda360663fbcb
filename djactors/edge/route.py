"""What a route is: its method and path, who may call it, what it takes, what it answers, and the handler that does it.

The API's description is made from these declarations and from the types in them, which are the types that the handlers
read and answer. So nothing is described twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from djactors.domain import events
from djactors.domain.errors import Code
from djactors.domain.events import Role
from djactors.domain.permissions import OFFICE
from djactors.edge.api import Api
from djactors.edge.queries import NO_QUERY, QueryReader
from djactors.net import Request, Response

Handler: TypeAlias = Callable[[Api, Request, dict[str, str]], Awaitable[Response]]
"""Turns a request, with the ids in its path, into an answer."""

JSON = "application/json"

MAX_SMALL_BODY = 64 * 1024
"""Bytes of a body outside the batch route: one event with the largest texts that the schema takes."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who may call a route.

    Attributes:
        who: for people to read.
        needs_token: whether a token is needed at all.
        roles: the roles of which the token must have one; none if any will do.
        needs_person: whether the token must name a user.
        of_all: whether it must name no tenant.
    """

    who: str
    needs_token: bool = True
    roles: tuple[Role, ...] = ()
    needs_person: bool = False
    of_all: bool = False


ANYBODY = Caller("everybody", needs_token=False)
METRICS_READER = Caller("the networks of `DJACTORS_METRICS_ADDRESSES`", needs_token=False)
PERSON = Caller("whoever has a token that names a user, for that user", needs_person=True)
BACKEND = Caller("a service", roles=("service",))
INSTALLATION = Caller("a service whose token names no tenant", roles=("service",), of_all=True)
ADMIN = Caller("an admin", roles=("admin",), needs_person=True)
ADMIN_OR_BACKEND = Caller("an admin or a service", roles=OFFICE)

_B = TypeVar("_B")


class Body(Generic[_B]):
    """Reads JSON bodies of one kind. Made once for each route.

    A body that is missing is an empty one.
    """

    def __init__(self, kind: type[_B]) -> None:
        self.kind: Any = kind
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, request: Request) -> _B:
        """The body of a request. Raises Refused."""
        body: _B
        body, text = events.decode_with_ids(self._decoder, self.kind, request.body or b"{}")
        assert isinstance(body, msgspec.Struct)
        events.check_values(body, text)
        return body

    @property
    def is_required(self) -> bool:
        """Whether an empty body is refused."""
        return any(field.required for field in msgspec.structs.fields(self.kind))


@dataclass(frozen=True, slots=True)
class Shape:
    """What a body is, where the handler itself reads or writes its bytes."""

    kind: Any
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        method, path: with `{id}` in the path where there is an id.
        handler: does it.
        does: what it does, in a few words.
        caller: who may call it.
        answers: the type of the answer in JSON by status; a text is the media type of an answer that is no JSON, and
            None stands for an answer without a body.
        says: what is to be known besides.
        query: reads the query parameters.
        body: what is read from the body; None if nothing is.
        takes_key: whether an `Idempotency-Key` counts.
        refuses: with which codes it may refuse, beyond those that follow from the rest.
        examples: bodies that are answered without an error, by what they show.
    """

    method: str
    path: str
    handler: Handler
    does: str
    caller: Caller
    answers: Mapping[int, Any]
    says: str = ""
    query: QueryReader[Any] = NO_QUERY
    body: Body[Any] | Shape | None = None
    takes_key: bool = False
    refuses: tuple[Code, ...] = ()
    examples: Mapping[str, Any] = field(default_factory=dict)


Table: TypeAlias = tuple[Route, ...]
