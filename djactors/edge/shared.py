"""An answer that is costly to make, and the same for all who ask at about the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import trio

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class Shared(Generic[Key, Answer]):
    """Makes answers one at a time, and gives the newest one again to whoever asks for the same soon after.

    Args:
        make: makes the answer to a question.
        fresh: the seconds for which an answer serves everybody who asks the same.
    """

    def __init__(self, make: Callable[[Key], Awaitable[Answer]], fresh: float) -> None:
        self._make = make
        self._fresh = fresh
        self._turn = trio.Lock()
        self._newest: tuple[Key, float, Answer] | None = None

    def forget(self) -> None:
        """Have the next answer made anew: something has happened."""
        self._newest = None

    async def get(self, key: Key) -> Answer:
        """The answer to the question `key`. Cancelled, it is left unmade."""
        async with self._turn:
            newest = self._newest
            if newest is not None and newest[0] == key and trio.current_time() - newest[1] < self._fresh:
                return newest[2]
            answer = await self._make(key)
            self._newest = (key, trio.current_time(), answer)
            return answer
