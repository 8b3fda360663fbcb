"""A batch post: many commands into the router's mailbox in order, their answers gathered in order."""

from __future__ import annotations

import trio

from djactors.domain.commands import Command, Published
from djactors.edge.errors import error_body, error_of
from djactors.kernel import ActorRef, AskTimeout, KernelError


class Batch:
    """Items in order; each ends as an answer or an error. One bad item does not sink the others."""

    def __init__(self, router: ActorRef[Command]) -> None:
        self._router = router
        self._results: list[bytes | None] = []
        self._open = 0
        # Made once somebody waits: before that, the items sent so far may all be done while others are still to come.
        self._done: trio.Event | None = None

    def add(self, command: Command) -> None:
        """Send the next item to the router. If that has no room, the item fails."""
        place = len(self._results)
        self._results.append(None)

        def settle(outcome: object, error: Exception | None) -> None:
            if error is not None:
                self._results[place] = error_body(*error_of(error))
            else:
                assert isinstance(outcome, Published)
                self._results[place] = outcome.answer
            self._open -= 1
            if not self._open and self._done is not None:
                self._done.set()

        try:
            self._router.request_nowait(command, settle)
        except KernelError as error:
            self._results[place] = error_body(*error_of(error))
        else:
            self._open += 1

    def refuse(self, error: Exception) -> None:
        """The next item is refused."""
        self._results.append(error_body(*error_of(error)))

    async def results(self, timeout: float) -> bytes:
        """The JSON of all results, once the last one is there.

        Raises:
            AskTimeout: not all were carried out within `timeout` seconds; what was, stays: a retry by id repeats it.
        """
        if self._open:
            self._done = trio.Event()
            with trio.move_on_after(timeout):
                await self._done.wait()
            if self._open:
                raise AskTimeout(f"the batch took longer than {timeout} s")
        return b'{"results":[%b]}' % b",".join(result for result in self._results if result is not None)
