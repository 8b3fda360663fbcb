"""Reads the file of keys again when it changes, or when it is told to.

Rules:
  * A new file that is wrong changes nothing: the old keys stay, and the log says what is wrong, once for each change of
    the file.
  * Sockets that have proved who they are with a key that is gone are let go.
  * The file is read in a thread. It is looked at every `POLL_SECONDS`, whatever happens to it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import trio

from djactors.config import SettingError, Settings
from djactors.edge.auth import Authenticator
from djactors.edge.keys import file_of, load_keys
from djactors.telemetry import Telemetry

POLL_SECONDS = 0.5
"""How often the file is looked at. A key that was dropped is then of no use within a second, and a look costs 0.1 ms of
a thread."""

InThread = Callable[..., Awaitable[Any]]
"""Runs a function in a thread, as `trio.to_thread.run_sync` does."""


class KeyFile:
    """A service; see the module for its rules.

    Args:
        settings: name the file, if there is one.
        authenticator: is given the new keys.
        drop_keys: lets sockets go by the names of keys.
        telemetry: is told.
        in_thread: runs what waits for the disk.
    """

    def __init__(
        self,
        settings: Settings,
        authenticator: Authenticator,
        drop_keys: Callable[[Collection[str]], Awaitable[None]],
        telemetry: Telemetry,
        in_thread: InThread = trio.to_thread.run_sync,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._drop_keys = drop_keys
        self._log = telemetry.log
        self._in_thread = in_thread
        self._told = trio.Event()

    def reload(self) -> None:
        """Read the file again, whether it has changed or not. Must be called on the Trio thread."""
        if file_of(self._settings) is None:
            self._log.info("nothing to reload", reason="the settings name no file of keys")
        self._told.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the file until this is cancelled."""
        path = file_of(self._settings)
        if path is None:
            task_status.started()
            await trio.sleep_forever()
        # Not what it was when the keys were first read, so that a change since then is seen as well.
        seen: object = None
        task_status.started()
        while True:
            with trio.move_on_after(POLL_SECONDS):
                await self._told.wait()
            told, self._told = self._told.is_set(), trio.Event()
            state = await self._in_thread(_state, path)
            if told or state != seen:
                seen = state
                await self._read(told=told)

    async def _read(self, *, told: bool) -> None:
        try:
            keys = await self._in_thread(load_keys, self._settings)
        except SettingError as error:
            self._log.error("the new keys are refused, the old ones stay", reason=str(error))
            return
        before = self._authenticator.keys
        # With their kids: two keys that have changed theirs are other keys to every token.
        if [(key.name, key.kid) for key in keys.all] == [(key.name, key.kid) for key in before.all]:
            if told:
                self._log.info("the keys are the same as before", keys=keys.kids)
            return
        self._authenticator.replace(keys)
        self._log.info("new keys", keys=keys.kids, passed_over=keys.passed_over)
        gone = before.names - keys.names
        if gone:
            await self._drop_keys(gone)


def _state(path: Path) -> object:
    """What tells a changed file; None for one that cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
