"""A batch post: its commands go into the router's mailbox in order, and their answers are gathered in the same
order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from djactors.actors.command_ref import CommandRef
from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Refused
from djactors.edge.errors import error_body, error_of
from djactors.kernel import AskTimeout, KernelError


class Batch:
    """The items of a batch, in order. Each ends as an answer or an error, and a bad item does not affect the others.

    Once the router has no room for an item, it is not asked to take those behind it, because a later event must not be
    recorded before an earlier one that its sender will repeat.

    Args:
        router: carries the items out.
        on_error: is told of each that ends as an error.
    """

    def __init__(self, router: CommandRef, on_error: Callable[[Exception], None]) -> None:
        self._router = router
        self._on_error = on_error
        self._results: list[bytes | None] = []
        self._open = 0
        self._full: KernelError | None = None
        # Made when `results` begins to wait. Before that, all items so far may be done while others are still to come.
        self._done: trio.Event | None = None

    def add(self, command: Publish) -> None:
        """Send the next item to the router. If the router's mailbox is full, the item fails, and so do all others."""
        if self._full is not None:
            self.refuse(self._full)
            return
        place = len(self._results)
        self._results.append(None)

        def settle(outcome: Published | Exception) -> None:
            if isinstance(outcome, Exception):
                self._results[place] = self._worded(outcome)
            else:
                self._results[place] = outcome.answer
            self._open -= 1
            if not self._open and self._done is not None:
                self._done.set()

        try:
            self._router.request_nowait(command, settle)
        except KernelError as error:
            self._full = error
            self._results[place] = self._worded(error)
        else:
            self._open += 1

    def refuse(self, error: Exception) -> None:
        """Refuse the next item with this error."""
        self._results.append(self._worded(error))

    def extend(self, items: Iterable[Publish | Refused]) -> None:
        """The next items: each is sent to the router, or is refused already."""
        for item in items:
            if isinstance(item, Refused):
                self.refuse(item)
            else:
                self.add(item)

    async def results(self, timeout: float) -> bytes:
        """The JSON of all results, as soon as the last one is there.

        Raises:
            AskTimeout: some items were not carried out within `timeout` seconds. Those that were stay recorded, and a
                retry with their ids repeats their answers.
        """
        if self._open:
            self._done = trio.Event()
            with trio.move_on_after(timeout):
                await self._done.wait()
            if self._open:
                raise AskTimeout(f"the batch took longer than {timeout} s")
        results = [result for result in self._results if result is not None]
        if not results:
            return b'{"results":[]}'
        # The whole is put together once: of comments to a thousand people each it has 18 MB, and takes 10 ms.
        results[0] = b'{"results":[' + results[0]
        results[-1] += b"]}"
        return b",".join(results)

    def _worded(self, error: Exception) -> bytes:
        self._on_error(error)
        return error_body(*error_of(error))
