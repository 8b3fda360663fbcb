"""One budget for the bytes of all who have not proved who they are: what is taken here is given back here.

    ByteStream.hold, unsent bytes ──┐
                                    ├──► UnprovenBytes.settle ──► room, or none
    a session's outbox ─────────────┘          └──► evict ──► the greediest

Whoever has proved who they are is bounded by limits of their own and takes nothing of this. The others are strangers:
each may send a bounded request, and there may be thousands of them, so that what they hold together is bounded, too.

Rules:

- A holder says how much it holds, not how much more: what it held before is given back by the same call.
- Only what is kept while its sender is waited for counts. What arrives whole and is answered at once takes nothing, so
  that a full budget holds up no client that sends its request in one piece.
- Over the budget the greediest give way. Those who hold more than the one who asks are evicted, the largest first,
  until an eighth is free; if nobody holds more, the one who asks is refused. So many who hold much, however slowly, do
  not keep out one who needs little.
- Each refusal and eviction is told to `on_refused`.
"""

from collections.abc import Callable
from heapq import nlargest
from typing import Final, Protocol

import trio

UNPROVEN_BYTES: Final = 64 * 1024 * 1024
"""The default budget: 2,730 requests of `UNPROVEN_MESSAGE` at the same moment, or 3.6 KiB for each of 12,000
connections (see `occupied`), which is more than a stock client's whole CONNECT."""

UNPROVEN_MESSAGE: Final = 16 * 1024
"""What one request or message of a stranger may have: the largest token that is taken has half of it, in a head that
has as much."""

_ROOM: Final = 8
"""The part of the budget that is made free at a time: to look for the greediest takes a millisecond at 12,000 holders,
and is then done once for some megabytes that arrive."""


def occupied(size: int) -> int:
    """The memory that so many kept bytes take. Half as much again: a buffer that grows has room for more, and what it
    had before is not given back at once. `python -m bench strangers` measures it."""
    return size + size // 2


class OverBudget(trio.BrokenResourceError):
    """The strangers hold too much, and this one gives way. The connection is still open for a last word."""


class Holder(Protocol):
    """Who holds bytes."""

    def evict(self) -> None:
        """Give way: let go of what is held, soon. It must not wait or raise."""


class UnprovenBytes:
    """The budget. `limit` is in bytes; `on_refused` must neither wait nor raise."""

    __slots__ = ("_holders", "_largest", "_on_refused", "held", "limit")

    def __init__(self, limit: int = UNPROVEN_BYTES, on_refused: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        # What all holders together hold.
        self.held = 0
        self._on_refused = on_refused
        self._holders: dict[Holder, int] = {}
        # Nobody holds more than this.
        self._largest = 0

    def settle(self, holder: Holder, size: int) -> bool:
        """The holder holds so many bytes from now on. False, and nothing changes, if there is no room for more."""
        before = self._holders.get(holder, 0)
        more = size - before
        if more > 0 and self.held + more > self.limit and not self._make_room(holder, size, more):
            self._on_refused()
            return False
        self.held += more
        if size:
            self._holders[holder] = size
            self._largest = max(self._largest, size)
        elif before:
            del self._holders[holder]
        return True

    def _make_room(self, asking: Holder, size: int, more: int) -> bool:
        """Evict those who hold more than the one who asks."""
        if size >= self._largest:
            return False
        greedier = [(held, number) for number, held in enumerate(self._holders.values()) if held > size]
        if not greedier:
            self._largest = size
            return False
        holders = list(self._holders)
        wanted = self.limit // _ROOM + more
        for held, number in nlargest(wanted // (size + 1) + 1, greedier):
            if self.held + wanted <= self.limit:
                break
            holder = holders[number]
            if holder is not asking:
                del self._holders[holder]
                self.held -= held
                self._on_refused()
                holder.evict()
        return self.held + more <= self.limit
