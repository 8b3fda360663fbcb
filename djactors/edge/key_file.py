"""Reads the file of keys again when it changes, or when it is told to.

Rules:
  * A new file that is wrong changes nothing: the old keys stay, and the log says what is wrong, once for each change of
    the file.
  * Sockets that have proved who they are with a key that is gone are let go.
  * The file is read in a thread; `watched_files` says when.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import trio

from djactors.config import SettingError, Settings
from djactors.edge.auth import Authenticator
from djactors.edge.keys import file_of, load_keys
from djactors.edge.watched_files import InThread, WatchedFiles
from djactors.telemetry import Telemetry


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
        path = file_of(settings)
        self._files = WatchedFiles([] if path is None else [path], self._read, in_thread)

    def reload(self) -> trio.Event:
        """Read the file again, whether it has changed or not. The event is set once that is done.

        Must be called on the Trio thread.
        """
        return self._files.reload()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the file until this is cancelled."""
        await self._files.run(task_status=task_status)

    async def _read(self, told: bool) -> None:
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
