"""One costly piece of work in a turn of the loop, whoever has asked for it.

    async with costly:
        ...  # some milliseconds of work for one client's bytes, without a pause

What one client sends is worked off in slices, with a turn for all others after each. That alone would not do where many
clients send much: Trio runs whoever is ready in one turn, and a hundred slices together are a long one. So slices wait
here for each other, in the order in which they came. Whatever is quick does not ask here, and is not held up.
"""

from types import TracebackType

import trio


class CostlyWork:
    """Lets one block in at a time, and everybody else have a turn before the next.

    Cancelled while it waits, a block is not begun; what cancels it while it gives others their turn comes after it.
    """

    __slots__ = ("_lock", "slices")

    def __init__(self) -> None:
        self._lock = trio.Lock()
        # Blocks that were let in: what tests and operators count.
        self.slices = 0

    async def __aenter__(self) -> None:
        await self._lock.acquire()
        self.slices += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await trio.lowlevel.checkpoint()
        finally:
            self._lock.release()
