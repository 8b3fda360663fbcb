"""Looks after files that the server reads again: when one of them changes, and when it is told to.

The files are looked at in a thread, every `POLL_SECONDS`, whatever happens to them.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

POLL_SECONDS = 0.5
"""How often the files are looked at. A key that was dropped is then of no use within a second, and a look costs 0.1 ms
of a thread."""

InThread = Callable[..., Awaitable[Any]]
"""Runs a function in a thread, as `trio.to_thread.run_sync` does."""


class WatchedFiles:
    """Calls `read` when a file has changed, with `told=False`, and after `reload`, with `told=True`.

    `read` is called once at the start as well, so that a change since the files were first read is seen.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        read: Callable[[bool], Awaitable[None]],
        in_thread: InThread = trio.to_thread.run_sync,
    ) -> None:
        self._paths = paths
        self._read = read
        self._in_thread = in_thread
        self._told = trio.Event()
        self._done = trio.Event()

    def reload(self) -> trio.Event:
        """Read the files again, changed or not. The event is set once they have been read. On the Trio thread."""
        self._told.set()
        return self._done

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the files until this is cancelled."""
        seen: object = None
        task_status.started()
        while True:
            with trio.move_on_after(POLL_SECONDS):
                await self._told.wait()
            told, self._told = self._told.is_set(), trio.Event()
            done = self._done
            if told:
                self._done = trio.Event()
            state = await self._in_thread(_states, self._paths)
            if told or state != seen:
                seen = state
                await self._read(told)
            if told:
                done.set()


def _states(paths: Sequence[Path]) -> tuple[object, ...]:
    """What tells changed files; None for one that cannot be looked at."""
    return tuple(map(_state, paths))


def _state(path: Path) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
