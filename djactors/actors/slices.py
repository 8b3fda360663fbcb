"""How the clock and retention ask the router for a slice of work, and try again later if they cannot have it now.

A slice that cannot be recorded now (a full mailbox, a full disk, a busy store) does not crash the actor. What is due
stays due.
"""

from __future__ import annotations

from typing import overload

from djactors.actors.command_ref import CommandRef
from djactors.domain.commands import SliceCommand, Sliced
from djactors.domain.importing import AbandonImport, Imported
from djactors.kernel import KernelError
from djactors.store.errors import StoreError
from djactors.telemetry import Telemetry

ASK_SECONDS = 60.0
"""How long to wait for an answer: longer than any commit takes. Work that is asked for twice is done once."""

FIRST_PAUSE = 1.0
"""Seconds before the second try: a full mailbox is empty by then."""

LONGEST_PAUSE = 60.0
"""Seconds between later tries: a full disk is looked at by a person."""


class Unavailable(Exception):  # noqa: N818 - a state that passes
    """The slice was not recorded; try again in `pause` seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__(f"not now: again in {pause} s")
        self.pause = pause


class Asking:
    """Asks the router for slices; counts failures in a row."""

    def __init__(self, router: CommandRef, telemetry: Telemetry) -> None:
        self._router = router
        self._telemetry = telemetry
        self._pause = FIRST_PAUSE

    @overload
    async def __call__(self, command: SliceCommand) -> Sliced: ...
    @overload
    async def __call__(self, command: AbandonImport) -> Imported: ...

    async def __call__(self, command: SliceCommand | AbandonImport) -> Sliced | Imported:
        """Have a slice recorded.

        Raises:
            Unavailable: it was not, and may be later.
            Refused: an import is not there any more.
        """
        try:
            sliced: Sliced | Imported = await self._router.ask(command, ASK_SECONDS)
        except (KernelError, StoreError) as error:
            raise self.failed(type(command).__name__, error) from error
        self._pause = FIRST_PAUSE
        return sliced

    def failed(self, what: str, error: Exception) -> Unavailable:
        """Log a failure; how long to wait before the next try."""
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        self._telemetry.log.warning("slice not recorded", command=what, error=str(error), pause=pause)
        return Unavailable(pause)
