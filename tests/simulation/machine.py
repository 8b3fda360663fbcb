"""The machine that the server runs on in a simulation: its processes, one after the other, its disk, and what is done
to both.

A *life* is one process of the server, in a folder of its own. A life that is killed goes on as a ghost for a moment,
because a task of Trio ends by being cancelled: what it still does reaches neither the network nor the disk that the
next life is given.
"""

from __future__ import annotations

import io
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import trio

from djactors.app import Server, ServerFailed
from djactors.config import Settings
from djactors.domain.commands import EraseSlice, PurgeSlice
from djactors.store.errors import DatabaseLocked, StoreError
from djactors.telemetry import Telemetry, make_logger
from tests.history import Ledger
from tests.history.archive import Archive
from tests.simulation.clocks import WallClock
from tests.simulation.disk import KEPT, OK, Content, Disk, Operation
from tests.simulation.executor import SimulatedThreads
from tests.simulation.network import Door, SimulatedNetwork
from tests.simulation.plan import DiskFault

RESTART_SECONDS = 1.0
"""After which whoever runs the server starts it again when it has ended by itself."""
RIVAL_SECONDS = 1.0
"""For a second server to leave."""


class Life:
    """One process of the server."""

    def __init__(self, number: int, disk: Disk) -> None:
        self.number = number
        self.disk = disk
        self.door = Door()
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.up = trio.Event()
        self.server: Server | None = None
        self.failure: BaseException | None = None
        self.log = io.StringIO()
        # Whether something was done to it that it need not survive.
        self.harmed = False


class Machine:
    """Where the server runs.

    Attributes:
        lives: its processes, the first one first.
        lost: what the database held each time that an older copy was put in its place.
        archive: what was purged from the database.
        counts: how often what was done to it.

    Args:
        seed: what the plan was drawn from.
        settings: the server's, but for the place of its database.
        random: decides what a disk keeps.
        note: notes what happens.
        find: is told what is wrong: the rule, of what, and how.
        trace: notes each operation of the disk.
    """

    def __init__(
        self,
        seed: int,
        settings: Settings,
        folder: Path,
        registered: dict[str, Disk],
        network: SimulatedNetwork,
        wall: WallClock,
        random: Random,
        *,
        note: Callable[[str], None],
        find: Callable[[Any, str, str], None],
        trace: Callable[[str], None],
    ) -> None:
        self.lives: list[Life] = []
        self.lost: list[Ledger] = []
        self.archive = Archive()
        self.counts: Counter[str] = Counter()
        self._seed = seed
        self._settings = settings
        self._folder = folder
        self._registered = registered
        self._network = network
        self._wall = wall
        self._random = random
        self._note = note
        self._find = find
        self._trace = trace
        self._contents: dict[str, Content] = {}
        self._down_until = 0.0
        self._stopping = False
        self._copied = Archive()
        self._copy: bytes | None = None
        self._armed: list[list[Any]] = []
        self._full_until = 0.0

    @property
    def database(self) -> Path:
        """The file of the life that is or was the last."""
        return self.lives[-1].disk.folder / KEPT[0]

    async def keep_serving(self, house: trio.Nursery) -> None:
        """Start the server again and again, until `stop`."""
        while not self._stopping:
            await trio.sleep_until(self._down_until)
            disk = Disk(self._folder / str(len(self.lives) + 1), self._contents, self._before_operation)
            self._registered[str(disk.folder)] = disk
            life = Life(len(self.lives) + 1, disk)
            self.lives.append(life)
            self._note(f"life {life.number} begins")
            house.start_soon(self._run, life)
            await life.over.wait()
            # What the dead process still does on its own is none of anybody's business.

    async def _run(self, life: Life) -> None:
        random = Random(f"life {life.number} of {self._seed}")
        with life.scope:
            async with trio.open_nursery() as nursery:
                life.server = server = self._server(life, random, nursery, life.door)
                self._network.door = life.door
                nursery.start_soon(self._serve, server, life)
        if life.over.is_set():
            return
        self._note(f"life {life.number} ended by itself: {life.failure}")
        if life.failure is not None and not life.harmed:
            self._find("liveness", "the server", f"ended by itself: {life.failure!r}")
        self._contents = life.disk.killed()
        self._end(life, RESTART_SECONDS)
        self._network.kill(life.door)

    def _server(self, life: Life, random: Random, nursery: trio.Nursery, door: Door) -> Server:
        return Server(
            replace(self._settings, database=str(life.disk.folder / KEPT[0])),
            telemetry=Telemetry(make_logger("json", "debug", life.log)),
            now=self._wall,
            random_bytes=random.randbytes,
            threads=SimulatedThreads(nursery, random),
            # The virtual clock jumps in the middle of turns, which would then look long.
            timer=lambda: 0.0,
            rng=random,
            network=door,
        )

    async def send_rival(self) -> None:
        """A second server on the database that is served has to leave at once, and to leave everything as it is."""
        life = self.life
        if life is None or not life.door.is_open:
            return
        self.counts["rivals"] += 1
        random, door = Random(f"rival {self._seed}"), Door()
        with trio.move_on_after(RIVAL_SECONDS):
            async with trio.open_nursery() as nursery:
                with suppress(StoreError, ServerFailed, OSError, sqlite3.Error):
                    try:
                        await self._server(life, random, nursery, door).run()
                    except DatabaseLocked:
                        return
        if door.was_open:
            self._find("stored once", "a second server", "was let in while the first one served")

    async def _serve(self, server: Server, life: Life) -> None:
        try:
            await server.run()
        except (ServerFailed, StoreError, OSError, sqlite3.Error) as error:
            life.failure = error

    def _end(self, life: Life, seconds: float) -> None:
        life.disk.dead = True
        self._down_until = trio.current_time() + seconds
        life.over.set()

    @property
    def life(self) -> Life | None:
        """The process that runs."""
        return self.lives[-1] if self.lives and not self.lives[-1].over.is_set() else None

    def kill(self, seconds: float) -> None:
        """The process is killed, and another one begins so many seconds later."""
        life = self.life
        if life is None:
            return
        self._note(f"kill -9 of life {life.number}")
        self.counts["kills"] += 1
        self._contents = life.disk.killed()
        self._end(life, seconds)
        self._network.kill(life.door)
        life.scope.cancel()

    def restart(self) -> None:
        """The process is told to stop, as by SIGTERM."""
        life = self.life
        if life is not None and life.server is not None and life.door.is_open:
            self._note(f"life {life.number} is told to stop")
            self.counts["restarts"] += 1
            life.server.request_stop()

    def unplug(self, seconds: float) -> None:
        """The machine is switched off for so many seconds."""
        life = self.life
        # A machine whose server is down just now can lose its power as well.
        disk = self.lives[-1].disk if life is None else life.disk
        self._note("power loss")
        self.counts["power losses"] += 1
        if life is None:
            self._contents = {
                name: Content.of(content.after_power_loss(self._random))
                for name, content in sorted(self._contents.items())
            }
            return
        self._contents = disk.unplugged(self._random)
        self._end(life, seconds)
        self._network.unplug(life.door, self._down_until)
        life.scope.cancel()

    def back_up(self) -> None:
        """The database is copied."""
        if self.life is None or not self.life.door.is_open:
            return
        path = self._folder / "copy.db"
        path.unlink(missing_ok=True)
        served = self.life.disk.folder / KEPT[0]
        with closing(sqlite3.connect(served)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
        self._copy = path.read_bytes()
        self._copied = self.archive.copy()
        self._note("the database is copied")

    def put_back(self, seconds: float) -> None:
        """The copy takes the place of the database, and the server begins so many seconds later."""
        life = self.life
        if life is None or self._copy is None or not life.door.is_open:
            return
        self.kill(seconds)
        self._note("the copy is put back")
        self.counts["put back"] += 1
        # What is lost must not reach a client behind what it is told afterwards on another connection.
        self._network.forget(life.door)
        # In a folder of its own: the ghost closes the other one.
        folder = self._folder / f"lost-{len(self.lost)}"
        folder.mkdir()
        for name, content in self._contents.items():
            (folder / name).write_bytes(content.now)
        self.lost.append(Ledger.read(folder / KEPT[0], self.archive.copy()))
        self.archive.erased = self._copied.erased
        self._contents = life.disk.replaced(self._copy)

    async def stop(self) -> None:
        """The last process ends in good order."""
        self._stopping = True
        life = self.life
        if life is None or life.server is None:
            return
        life.server.request_stop()
        await life.over.wait()

    def look(self, commands: Sequence[Any]) -> None:
        """Called before commands are recorded: what they purge is kept for the judges."""
        life = self.life
        if life is None:
            return
        for command in commands:
            if isinstance(command, EraseSlice):
                self.archive.erased.add((command.tenant_id, command.user_id))
        if any(isinstance(command, EraseSlice | PurgeSlice) for command in commands):
            self.archive.look(self.database)

    def arm(self, fault: DiskFault) -> None:
        """Have this happen at the operation that it names."""
        self._armed.append([fault.skipping, fault])

    def heal(self) -> None:
        """Nothing happens to the disk any more."""
        self._armed.clear()
        self._full_until = 0.0

    def _before_operation(self, operation: Operation, name: str) -> int:
        self._trace(f"disk {operation} {name}")
        if trio.current_time() < self._full_until and operation == "write":
            return sqlite3.SQLITE_FULL
        for armed in self._armed:
            if armed[1].operation != operation:
                continue
            if armed[0] > 0:
                armed[0] -= 1
                continue
            self._armed.remove(armed)
            return self._break_disk(armed[1])
        return OK

    def _break_disk(self, fault: DiskFault) -> int:
        life = self.life
        assert life is not None
        life.harmed = True
        self._note(f"disk: {fault.outcome} at a {fault.operation}")
        self.counts[f"disk {fault.outcome}"] += 1
        match fault.outcome:
            case "error":
                return sqlite3.SQLITE_IOERR
            case "full":
                self._full_until = trio.current_time() + fault.seconds
                return sqlite3.SQLITE_FULL
            case "kill":
                self.kill(fault.seconds)
            case "power-loss":
                self.unplug(fault.seconds)
        return OK
