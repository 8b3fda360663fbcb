"""Tokens: a text, or a function that makes one. The one in use is kept until somebody says that it is no good."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeAlias

from djactors.client._errors import DjactorsError

BlockingToken: TypeAlias = str | Callable[[], str]
"""A token, or a function that returns a fresh one."""

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or a function, plain or async, that returns a fresh one."""


def checked(token: object) -> str:
    """The token, if it can stand in a header.

    Raises:
        DjactorsError: it cannot. The message does not show it.
    """
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise DjactorsError("token: is no JWT: give the text that your backend has signed, without `Bearer`")
    return token


class Tokens:
    """The token in use. `can_renew` says whether there is a function for another one."""

    def __init__(self, token: Token) -> None:
        self._make = token if callable(token) else None
        self._current = None if callable(token) else checked(token)

    @property
    def can_renew(self) -> bool:
        """Whether there is a function that makes tokens."""
        return self._make is not None

    def replace(self, token: str) -> None:
        """Use this one from now on."""
        self._current = checked(token)

    async def get(self, *, fresh: bool = False) -> str:
        """The one in use; a new one if it is the first time, or if a fresh one is asked for and can be had."""
        if self._make is not None and (fresh or self._current is None):
            made = self._make()
            self._current = checked(await made if isawaitable(made) else made)
        assert self._current is not None
        return self._current


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
