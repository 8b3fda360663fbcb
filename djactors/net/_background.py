"""A task that lives no longer than a block of code, without wrapping the block's own errors in a group.

A nursery opened inside a handler would turn every error of the handler into an `ExceptionGroup`. Here the task runs in
the nursery of the connection's supervisor instead, and the block cancels it and waits for it on the way out.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background(nursery: trio.Nursery, task: Callable[[], Awaitable[None]]) -> AsyncIterator[trio.Event]:
    """Run `task` beside the block. Yields an event that is set once the task has ended.

    Leaving the block, in whichever way, cancels the task and waits until it is gone. The task must handle its own
    errors, because an exception that leaves the task goes to `nursery`.
    """
    scope = trio.CancelScope()
    ended = trio.Event()

    async def run() -> None:
        try:
            with scope:
                await task()
        finally:
            ended.set()

    nursery.start_soon(run)
    try:
        yield ended
    finally:
        scope.cancel()
        with trio.CancelScope(shield=True):
            await ended.wait()
