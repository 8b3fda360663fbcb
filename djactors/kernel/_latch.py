"""A one-way event that costs nothing until somebody waits for it.

There are two latches for each actor and hardly anybody waits for one, so a `trio.Event` is only made on demand.
"""

import trio


class Latch:
    """Starts unset; once set it stays set."""

    __slots__ = ("_event", "_is_set")

    def __init__(self) -> None:
        self._event: trio.Event | None = None
        self._is_set = False

    def set(self) -> None:
        """Wake every waiting task. Later calls of `wait` return at once."""
        self._is_set = True
        if self._event is not None:
            self._event.set()

    async def wait(self) -> None:
        """Wait until the latch is set. This is a checkpoint even if the latch is already set."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
            return
        if self._event is None:
            self._event = trio.Event()
        await self._event.wait()
