"""An answer that is costly to make, and the same for all who ask at about the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

import trio

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")

KEPT: Final = 64
"""Answers that are kept, each to another question: as many as are made in half a second with 8 ms for each."""


class Shared(Generic[Key, Answer]):
    """Makes answers one at a time, and gives the same answer again to whoever asks for the same soon after.

    Args:
        make: makes the answer to a question.
        fresh: the seconds for which an answer serves everybody who asks the same.
    """

    def __init__(self, make: Callable[[Key], Awaitable[Answer]], fresh: float) -> None:
        self._make = make
        self._fresh = fresh
        self._turn = trio.Lock()
        # With the times at which they were made, the newest behind.
        self._made: dict[Key, tuple[float, Answer]] = {}

    def forget(self) -> None:
        """Have the next answers made anew: something has happened."""
        self._made.clear()

    async def get(self, key: Key) -> Answer:
        """The answer to the question `key`. Cancelled, it is left unmade."""
        async with self._turn:
            made = self._made.pop(key, None)
            if made is None or trio.current_time() - made[0] >= self._fresh:
                answer = await self._make(key)
                made = trio.current_time(), answer
            if len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = made
            return made[1]
