"""A server that is killed and started again on the same port and the same file."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path

import trio

from tests.chaos.copies import Copies, SqliteCopies
from tests.history import Ledger
from tests.serving import ServedProcess, serving

SETTINGS: Mapping[str, str] = {
    # Half-open connections are to be found within a few seconds; below that, a busy machine looks like one.
    "DJACTORS_PING_INTERVAL": "2",
    "DJACTORS_PING_TIMEOUT": "3",
    "DJACTORS_CONNECT_TIMEOUT": "8",
    "DJACTORS_UPGRADE_TIMEOUT": "4",
    # Actors come and go while their users are away.
    "DJACTORS_PASSIVATE_AFTER": "1",
    # Small enough that noisy users reach them and long absences are reset; a replay may still take several slices.
    "DJACTORS_DAILY_LIMIT": "40",
    "DJACTORS_REPLAY_LIMIT": "250",
    "DJACTORS_COLLAPSE_BURSTS": "true",
    # Everybody comes from one address.
    "DJACTORS_MAX_SOCKETS_PER_USER": "200",
}


START_PAUSE = 0.5
"""Between two attempts to start, as of whoever runs the server."""

LONG_AGO = "2020-01-01T00:00:00.000000Z"
EXPIRE = """UPDATE notifications SET expires_at = ? WHERE id IN
    (SELECT id FROM notifications WHERE removed_seq IS NULL ORDER BY id LIMIT ?)"""


class KillableServer:
    """The server of a run.

    `database` is its file, `lost` what was in that each time that an older copy was put in its place. `told` is called
    with each new address, and with None at its end. `environment` is added to its settings. `expire` has the time of so
    many notifications be up, where the database is not the file. One that is patient is started once more if its start
    fails, as where the database is away. `copies` makes the copies and puts them back.
    """

    def __init__(
        self,
        folder: Path,
        told: Callable[[str | None], None],
        *,
        environment: Mapping[str, str] | None = None,
        expire: Callable[[int], Awaitable[None]] | None = None,
        patient: bool = False,
        copies: Copies | None = None,
    ) -> None:
        self.database = folder / "inbox.db"
        self.kills = 0
        self.lost: list[Ledger] = []
        self._copies = copies or SqliteCopies(folder)
        self._copying = trio.Lock()
        self._putting_back = False
        self._folder = folder
        self._environment = {**SETTINGS, **(environment or {})}
        self._patient = patient
        self._expire = expire or self._expire_in_file
        self._told = told
        self._process: ServedProcess | None = None
        self._up = trio.Event()
        self._again_after = 0.0
        self._expiring = 0
        self._stopping = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve, as often as it is killed, until `stop`.

        Raises:
            AssertionError: it did not start, or ended by itself.
        """
        port = "0"
        while not self._stopping:
            try:
                async with serving(self._folder, environment={**self._environment, "SOCKET_PORT": port}) as server:
                    port = server.url.rsplit(":", 1)[1]
                    self._process = server
                    self._told(server.url)
                    self._up.set()
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    expected = self.kills
                    code = await server.process.wait()
                    said = server.errors.read_text()[-2000:]
            except AssertionError:
                # It did not start.
                if not self._patient:
                    raise
                await trio.sleep(START_PAUSE)
                continue
            if self.kills == expected and not self._stopping:
                raise AssertionError(f"the server ended by itself with {code}: {said}")
            if self._putting_back:
                self.lost.append(await trio.to_thread.run_sync(Ledger.read, self.database))
                async with self._copying:
                    await trio.to_thread.run_sync(self._copies.put_back, self.database)
                self._putting_back = False
            await self._expire(self._expiring)
            self._expiring = 0
            await trio.sleep(self._again_after)

    async def kill(self, again_after: float, expiring: int) -> None:
        """kill -9; it starts again so many seconds later, and finds so many notifications expired."""
        await self._up.wait()
        assert self._process is not None
        self._up = trio.Event()
        self._again_after, self._expiring = again_after, expiring
        self.kills += 1
        self._told(None)
        self._process.kill()

    def send(self, what: signal.Signals) -> None:
        """Send it a signal, if it is up."""
        if self._up.is_set() and self._process is not None:
            self._process.process.send_signal(what)

    async def back_up(self) -> None:
        """Copy the database, whether it is served now or not."""
        async with self._copying:
            await trio.to_thread.run_sync(self._copies.make, self.database)

    async def put_back(self, again_after: float) -> None:
        """kill -9; it starts again so many seconds later, with the database as it was when it was copied."""
        # A copy that is under way is the one to put back.
        async with self._copying:
            pass
        await self._up.wait()
        self._putting_back = True
        await self.kill(again_after, 0)

    async def up(self) -> str:
        """Its address, once it is up."""
        await self._up.wait()
        assert self._process is not None
        return self._process.url

    async def stop(self) -> None:
        """Let it end in its own time."""
        await self._up.wait()
        assert self._process is not None
        self._stopping = True
        await self._process.stop()

    async def _expire_in_file(self, count: int) -> None:
        await trio.to_thread.run_sync(_expire, self.database, count)


def _expire(database: Path, count: int) -> None:
    """Thirty days pass for some: the server's own clock cannot be set from here."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(EXPIRE, (LONG_AGO, count))
        connection.commit()
