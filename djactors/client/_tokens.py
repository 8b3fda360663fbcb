"""Tokens: a text, or a function that makes one. The one in use is kept until somebody says that it is no good.

All tokens of an inbox are of one person. The claims are read without a key: only the server can tell whether they are
true, but what says itself that it is somebody else's need not be sent.
"""

from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import TypeAlias

import msgspec

from djactors.client._errors import ApiError, DjactorsError

BlockingToken: TypeAlias = str | Callable[[], str]
"""A token, or a function that returns a fresh one."""

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or a function, plain or async, that returns a fresh one."""


class SomebodyElsesError(ApiError):
    """A token says of itself that it is another person's than the first one was."""


def checked(token: object) -> str:
    """The token, if it can stand in a header.

    Raises:
        DjactorsError: it cannot. The message does not show it.
    """
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise DjactorsError("token: is no JWT: give the text that your backend has signed, without `Bearer`")
    return token


class _Person(msgspec.Struct, frozen=True, rename="camel"):
    """Whom a token names. A number may be written as a text, and each of the two may be missing."""

    user_id: int | str | None = None
    tenant_id: int | str | None = None

    def is_another_than(self, other: "_Person") -> bool:
        """Whether the two cannot be the same, as far as they are named."""
        pairs = ((self.user_id, other.user_id), (self.tenant_id, other.tenant_id))
        return any(None not in pair and str(pair[0]) != str(pair[1]) for pair in pairs)

    def __str__(self) -> str:
        return f"user {self.user_id} of tenant {self.tenant_id}"


_NOBODY = _Person()
_person_decoder = msgspec.json.Decoder(_Person)


def _person_of(token: str) -> _Person:
    """Whom the claims of a token name: nobody, if they cannot be read."""
    payload = token.partition(".")[2].partition(".")[0]
    try:
        return _person_decoder.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return _NOBODY


class Tokens:
    """The token in use. `can_renew` says whether there is a function for another one.

    Args:
        token: the first one, or a function that makes them.
        of_one_person: whether all of them must be of the person whom the first one names.
    """

    def __init__(self, token: Token, *, of_one_person: bool = False) -> None:
        self._make = token if callable(token) else None
        self._current: str | None = None
        self._of_one_person = of_one_person
        self._person = _NOBODY
        # Those that the server is being asked to take, the newest last.
        self._offered: list[str] = []
        if not callable(token):
            self.replace(token)

    @property
    def can_renew(self) -> bool:
        """Whether there is a function that makes tokens."""
        return self._make is not None

    def checked(self, token: object) -> str:
        """The token, if it can stand in a header and does not say that it is somebody else's.

        Raises:
            DjactorsError: it cannot.
            SomebodyElsesError: it does.
        """
        text = checked(token)
        if self._of_one_person and (person := _person_of(text)).is_another_than(self._person):
            told = f"the token is somebody else's: it is of {person}, and the first one was of {self._person}"
            raise SomebodyElsesError("unauthorized", told)
        return text

    def replace(self, token: str) -> None:
        """Use this one from now on."""
        self._current = self.checked(token)
        if self._person == _NOBODY:
            self._person = _person_of(token)

    @contextmanager
    def offering(self, token: str) -> Iterator[None]:
        """The server is being asked to take this token. Meanwhile the former one is in use, unless it is refused."""
        self._offered.append(token)
        try:
            yield
        finally:
            if token in self._offered:
                self._offered.remove(token)

    async def make(self) -> str:
        """A fresh token of the function. It is not in use yet."""
        assert self._make is not None
        made = self._make()
        return self.checked(await made if isawaitable(made) else made)

    async def get(self, *, fresh: bool = False) -> str:
        """The one in use; a new one if it is the first time, or if a fresh one is asked for and can be had."""
        offered = next(filter(self._is_surely_theirs, reversed(self._offered)), None) if fresh else None
        if offered is not None:
            # The one in use was refused, so nothing is lost with it.
            self._offered.remove(offered)
            self.replace(offered)
        elif self._make is not None and (fresh or self._current is None):
            self.replace(await self.make())
        assert self._current is not None
        return self._current

    def _is_surely_theirs(self, token: str) -> bool:
        person = _person_of(token)
        return None not in (person.user_id, person.tenant_id) and not person.is_another_than(self._person)


class BlockingTokens:
    """As `Tokens`, for programs without an event loop."""

    def __init__(self, token: BlockingToken) -> None:
        self._make = token if callable(token) else None
        self._current = None if callable(token) else checked(token)

    @property
    def can_renew(self) -> bool:
        """Whether there is a function that makes tokens."""
        return self._make is not None

    def get(self, *, fresh: bool = False) -> str:
        """See `Tokens.get`."""
        if self._make is not None and (fresh or self._current is None):
            self._current = checked(self._make())
        assert self._current is not None
        return self._current
