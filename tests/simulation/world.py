"""A whole run in one process, in one thread, in no time: server, clients, network, disk and clocks, from one seed.

    clients ── SimulatedNetwork ──► Server (net, engine, edge, actors, inbox, store, as `app` builds it)
                                      │ SimulatedThreads
                                    SQLite ──► Disk

A *life* is one process of the server, in a folder of its own. A life that is killed goes on as a ghost for a moment,
because a task of Trio ends by being cancelled: what it still does reaches neither the network nor the disk that the
next life is given.
"""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from djactors.actors.sla import LONGEST_SLEEP
from djactors.app import Server, ServerFailed
from djactors.config import Settings
from djactors.domain.commands import EraseSlice, PurgeSlice
from djactors.inbox.inbox import Inbox
from djactors.steady_clock import AGREEMENT
from djactors.store.errors import DatabaseLocked, StoreError
from djactors.telemetry import Telemetry, make_logger
from tests.chaos.device import Device
from tests.chaos.plan import BackUp, Fault, Kill, Order, Publish, PutBack
from tests.chaos.publisher import Publisher
from tests.chaos.rest import Waiting, late_ones, reload_all, send_last
from tests.history import Finding, History, Ledger, judge
from tests.history.alerts import judge_alerts
from tests.history.device import RESET
from tests.history.inboxes import judge_erased, judge_limits, judge_snoozes
from tests.history.ledger import Archive
from tests.history.records import Connected, Note, Paged, Received
from tests.serving import SECRET
from tests.simulation import devices
from tests.simulation.access import Access
from tests.simulation.clocks import Courier, WallClock, virtual_clock
from tests.simulation.disk import KEPT, OK, Content, Disk, Operation, disks
from tests.simulation.executor import SimulatedThreads
from tests.simulation.lanes import SimulatedLane
from tests.simulation.network import Door, SimulatedNetwork, SimulatedSocket, waiting_for_sockets
from tests.simulation.office import Office
from tests.simulation.plan import (
    FIRST_WITH_DEADLINE,
    OFFICE,
    Action,
    ClockJump,
    Crash,
    DiskFault,
    Erase,
    Flood,
    Plan,
    PowerLoss,
    Restart,
    Rival,
    Role,
    SignOut,
    SlowReader,
)
from tests.simulation.seeded import seeded
from tests.simulation.trace import Trace, TracedHistory
from tests.simulation.tuning import tuned

DRAIN_SECONDS = 120.0
"""For the publishers to have everything acknowledged once the faults have stopped."""
REST_SECONDS = 120.0
"""For all devices to come back and show the end."""
LOOK_SECONDS = 0.25
LATEST_ALERT_SECONDS = 5.0
"""An alert is this late at most: the clock looks soon after a start, and then when a deadline comes."""
DOUBT_SECONDS = AGREEMENT
"""The clock tells of nothing for so long, after a start at a time that is long after what is stored."""
RESTART_SECONDS = 1.0
"""After which whoever runs the server starts it again when it has ended by itself."""
RIVAL_SECONDS = 1.0
LONG_SECONDS = 86_400.0
MAX_SECONDS = 3600.0
"""Of simulated time: a run that takes longer hangs."""


class SimulatedMistake(Exception):
    """What an actor meets when the plan says so."""


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


class World:
    """One run. `live` it inside `simulated`."""

    def __init__(self, plan: Plan, folder: Path, registered: dict[str, Disk], courier: Courier) -> None:
        self.plan = plan
        self.trace = Trace()
        self.history: History = TracedHistory(self.trace)
        self.random = Random(f"world {plan.seed}")
        self.settings = Settings(jwt_secret=SECRET, max_sockets_per_user=200, **plan.settings)
        self.network = SimulatedNetwork(Random(f"network {plan.seed}"), self._sent, courier)
        self.wall = WallClock()
        self.findings: list[Finding] = []
        self.lost: list[Ledger] = []
        self.counts: Counter[str] = Counter()
        self.lives: list[Life] = []
        self._folder = folder
        self._registered = registered
        self._contents: dict[str, Content] = {}
        self._down_until = 0.0
        self._stopping = False
        self._devices: dict[str, Device] = {}
        self._lanes: dict[str, SimulatedLane] = {}
        self._publishers: dict[str, Publisher | Office] = {}
        self.archive = Archive()
        self._copied = Archive()
        self._copy: bytes | None = None
        self._armed: list[list[Any]] = []
        self._full_until = 0.0
        self._crashing: Counter[str] = Counter()
        self.at_peace = False
        self._waited_until = ""
        self.seconds = 0.0
        # The server closes a session at the first heartbeat behind the grace.
        patience = self.settings.expiry_grace + self.settings.ping_interval + 1.0
        self._access = Access(self.history, self._find, lambda: not self.counts["clock jumps"], patience, plan.heedless)

    # The run

    async def live(self) -> None:
        """From the beginning to the server's end; then everything is judged."""
        with trio.move_on_after(MAX_SECONDS) as patience:
            async with trio.open_nursery() as house:
                house.start_soon(self._keep_serving, house)
                async with trio.open_nursery() as clients:
                    await self._act_out(clients)
                    clients.cancel_scope.cancel()
                await self._stop()
                house.cancel_scope.cancel()
        self.seconds = trio.current_time()
        if patience.cancelled_caught:
            self._find("liveness", "the run", f"did not end within {MAX_SECONDS:g} s")
            return
        self._judge(self.lives[-1].disk.folder / KEPT[0])

    def _judge(self, database: Path) -> None:
        self.findings += judge(self.history, Ledger.read(database, self.archive), self.lost)
        self.findings += judge_alerts(database, FIRST_WITH_DEADLINE, self._waited_until)
        for tenant_id, user_id in sorted(self._access.gone):
            self.findings += judge_erased(database, tenant_id, user_id)
        if not self.counts["clock jumps"]:
            self.findings += judge_snoozes(database, self._waited_until)
            self.findings += judge_limits(database, self.settings.daily_limit)

    async def _act_out(self, clients: trio.Nursery) -> None:
        async with trio.open_nursery() as backends:
            for name, tenant_id in self.plan.publishers.items():
                lane = self._lane(name, LONG_SECONDS)
                self._publishers[name] = Publisher(tenant_id, lane, self.history)
                backends.start_soon(self._publishers[name].run)
            for tenant_id in sorted(set(self.plan.publishers.values())):
                name = f"{OFFICE}-{tenant_id}"
                office = Office(tenant_id, self._lane(name, LONG_SECONDS), self.history, self._access, self._losses)
                self._publishers[name] = office
                backends.start_soon(office.run)
            for plan in self.plan.devices:
                lane = self._lane(plan.name, self.plan.lives.get(plan.name, LONG_SECONDS))
                device = devices.make(plan, lane, self.history, clients, self._access)
                self._devices[plan.name] = device
                clients.start_soon(device.start)
            for step in self.plan.steps:
                await trio.sleep_until(step.at)
                self._act(step.action, clients)
            await trio.sleep_until(self.plan.seconds)
            self._heal()
            for publisher in self._publishers.values():
                publisher.close()
            backends.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS
        if backends.cancel_scope.cancelled_caught:
            self._find("liveness", "the backends", f"were not answered within {DRAIN_SECONDS:g} s")
            return
        with trio.move_on_after(DRAIN_SECONDS) as patience:
            waiting = await send_last(self._devices.values(), self._lanes, self.history)
        if patience.cancelled_caught:
            self._find("liveness", "the backends", "their last notifications were not answered")
            return
        await self._come_to_rest(waiting)

    async def _wait_for_deadlines(self) -> None:
        """Until the clock has told of every deadline and brought back all that was snoozed, even a clock that did not
        believe the time until then."""
        self._waited_until = self.wall().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if not self.counts["clock jumps"]:
            await trio.sleep(LATEST_ALERT_SECONDS)
        elif any(type(step.action) is Publish and "due-" in str(step.action) for step in self.plan.steps):
            # A clock that was far off is followed in the end, which whoever sleeps until then notices when they wake.
            await trio.sleep(DOUBT_SECONDS + LONGEST_SLEEP + LATEST_ALERT_SECONDS)

    def _lane(self, name: str, life: float) -> SimulatedLane:
        lane = self._lanes[name] = SimulatedLane(self.network, self.settings, self.random, name, life)
        return lane

    async def _come_to_rest(self, waiting: Waiting) -> None:
        # A server that has started while the clock was wrong goes on by it for so long, and refuses tokens by it.
        doubt = DOUBT_SECONDS if self.counts["clock jumps"] else 0.0
        for name in await late_ones(waiting, patience=REST_SECONDS + doubt, look=LOOK_SECONDS):
            self._find("applied once", name, "never showed the last notification by itself")
        await self._hear_last_words(waiting)
        await self._wait_for_deadlines()
        await reload_all(self._devices.values(), patience=REST_SECONDS)
        for device in self._devices.values():
            for trouble in device.troubles:
                self._find("isolation", device.plan.name, f"was refused: {trouble}")

    async def _hear_last_words(self, waiting: Waiting) -> None:
        """Without faults every command is acknowledged."""

        async def hear(device: devices.Renewing, notification_id: int) -> None:
            if not await device.last_word(notification_id):
                self._find("commands", device.plan.name, "was never answered, though the faults have stopped")

        async with trio.open_nursery() as nursery:
            for device, notification_id, _ in waiting:
                if isinstance(device, devices.Renewing):
                    nursery.start_soon(hear, device, notification_id)

    # The server

    async def _keep_serving(self, house: trio.Nursery) -> None:
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
        random = Random(f"life {life.number} of {self.plan.seed}")
        with life.scope:
            async with trio.open_nursery() as nursery:
                life.server = server = self._server(life, random, nursery, life.door)
                self.network.door = life.door
                nursery.start_soon(self._serve, server, life)
        if life.over.is_set():
            return
        self._note(f"life {life.number} ended by itself: {life.failure}")
        if life.failure is not None and not life.harmed:
            self._find("liveness", "the server", f"ended by itself: {life.failure!r}")
        self._contents = life.disk.killed()
        self._end(life, RESTART_SECONDS)
        self.network.kill(life.door)

    def _server(self, life: Life, random: Random, nursery: trio.Nursery, door: Door) -> Server:
        return Server(
            replace(self.settings, database=str(life.disk.folder / KEPT[0])),
            telemetry=Telemetry(make_logger("json", "debug", life.log)),
            now=self.wall,
            random_bytes=random.randbytes,
            threads=SimulatedThreads(nursery, random),
            # The virtual clock jumps in the middle of turns, which would then look long.
            timer=lambda: 0.0,
            rng=random,
            network=door,
        )

    async def _send_rival(self) -> None:
        """A second server on the database that is served has to leave at once, and to leave everything as it is."""
        life = self._life
        if life is None or not life.door.is_open:
            return
        self.counts["rivals"] += 1
        random, door = Random(f"rival {self.plan.seed}"), Door()
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
    def _life(self) -> Life | None:
        """The process that runs."""
        return self.lives[-1] if self.lives and not self.lives[-1].over.is_set() else None

    def _kill(self, seconds: float) -> None:
        life = self._life
        if life is None:
            return
        self._note(f"kill -9 of life {life.number}")
        self.counts["kills"] += 1
        self._contents = life.disk.killed()
        self._end(life, seconds)
        self.network.kill(life.door)
        life.scope.cancel()

    def _restart(self) -> None:
        life = self._life
        if life is not None and life.server is not None and life.door.is_open:
            self._note(f"life {life.number} is told to stop")
            self.counts["restarts"] += 1
            life.server.request_stop()

    def _unplug(self, seconds: float) -> None:
        life = self._life
        # A machine whose server is down just now can lose its power as well.
        disk = self.lives[-1].disk if life is None else life.disk
        self._note("power loss")
        self.counts["power losses"] += 1
        if life is None:
            self._contents = {
                name: Content.of(content.after_power_loss(self.random))
                for name, content in sorted(self._contents.items())
            }
            return
        self._contents = disk.unplugged(self.random)
        self._end(life, seconds)
        self.network.unplug(life.door, self._down_until)
        life.scope.cancel()

    def _back_up(self) -> None:
        if self._life is None or not self._life.door.is_open:
            return
        path = self._folder / "copy.db"
        path.unlink(missing_ok=True)
        served = self._life.disk.folder / KEPT[0]
        with closing(sqlite3.connect(served)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)
        self._copy = path.read_bytes()
        self._copied = self.archive.copy()
        self._note("the database is copied")

    def _put_back(self, seconds: float) -> None:
        life = self._life
        if life is None or self._copy is None or not life.door.is_open:
            return
        self._kill(seconds)
        self._note("the copy is put back")
        self.counts["put back"] += 1
        # What is lost must not reach a client behind what it is told afterwards on another connection.
        self.network.forget(life.door)
        # In a folder of its own: the ghost closes the other one.
        folder = self._folder / f"lost-{len(self.lost)}"
        folder.mkdir()
        for name, content in self._contents.items():
            (folder / name).write_bytes(content.now)
        self.lost.append(Ledger.read(folder / KEPT[0], self.archive.copy()))
        self.archive.erased = self._copied.erased
        self._access.forget()
        self._contents = life.disk.replaced(self._copy)

    async def _stop(self) -> None:
        self._stopping = True
        life = self._life
        if life is None or life.server is None:
            return
        life.server.request_stop()
        await life.over.wait()

    # Faults

    def _act(self, action: Action, clients: trio.Nursery) -> None:
        self.trace.add(msgspec.json.encode(action).decode())
        match action:
            case Fault():
                self._lanes[action.device].strike(action)
            case SlowReader():
                self._lanes[action.device].slow(action)
            case Kill():
                self._kill(action.seconds)
            case Restart():
                self._restart()
            case PowerLoss():
                self._unplug(action.seconds)
            case DiskFault():
                self._armed.append([action.skipping, action])
            case ClockJump():
                clients.start_soon(self._jump, action)
            case Crash():
                self._crashing[action.during] += action.times
            case BackUp():
                self._back_up()
            case PutBack():
                self._put_back(action.seconds)
            case Publish():
                self._publishers[action.publisher].give(action)
            case SignOut() | Role() | Erase():
                self._office(action.tenant_id).give(action)
            case Rival():
                clients.start_soon(self._send_rival)
            case Order():
                clients.start_soon(self._devices[action.device].obey, action)
            case Flood():
                device = self._devices[action.device]
                via: Any = "http" if device.plan.kind == "polling" else "socket"
                for number in range(action.commands):
                    order = Order(action.device, "read", via, number / action.commands)
                    clients.start_soon(device.obey, order)

    def _office(self, tenant_id: int) -> Office:
        office = self._publishers[f"{OFFICE}-{tenant_id}"]
        assert isinstance(office, Office)
        return office

    def _losses(self) -> int:
        """How often an older copy was put back."""
        return len(self.lost)

    def look(self, commands: Sequence[Any]) -> None:
        """Called before commands are recorded: what they purge is kept for the judges."""
        life = self._life
        if life is None:
            return
        for command in commands:
            if isinstance(command, EraseSlice):
                self.archive.erased.add((command.tenant_id, command.user_id))
        if any(isinstance(command, EraseSlice | PurgeSlice) for command in commands):
            self.archive.look(life.disk.folder / KEPT[0])

    async def _jump(self, jump: ClockJump) -> None:
        self.counts["clock jumps"] += 1
        self.wall.ahead += jump.distance
        await trio.sleep(jump.seconds)
        if not self.at_peace:
            self.wall.ahead -= jump.distance

    def _heal(self) -> None:
        self._note("the faults have stopped")
        self.at_peace = True
        self._armed.clear()
        self._full_until = 0.0
        self._crashing.clear()
        self.wall.ahead = 0.0
        for lane in self._lanes.values():
            lane.heal()

    def _before_operation(self, operation: Operation, name: str) -> int:
        self.trace.add(f"disk {operation} {name}")
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
        life = self._life
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
                self._kill(fault.seconds)
            case "power-loss":
                self._unplug(fault.seconds)
        return OK

    def stumble(self, during: str) -> None:
        """Called before a read or a write of an actor's."""
        if self._crashing[during] > 0:
            self._crashing[during] -= 1
            self.counts["crashes"] += 1
            if self._life is not None:
                # A shared service that keeps failing ends the process, as it should.
                self._life.harmed = True
            self.trace.add(f"crash during {during}")
            raise SimulatedMistake(during)

    # What is told

    def _sent(self, what: str, sock: SimulatedSocket, data: bytes) -> None:
        self.trace.add(f"{what} {sock.name}{sock.number} {len(data)} {blake2b(data, digest_size=4).hexdigest()}")

    def _note(self, text: str) -> None:
        # Where the folder is differs between two runs of the same plan.
        self.history.add(Note(round(trio.current_time(), 6), text.replace(f"{self._folder}/", "")))

    def _find(self, rule: Any, who: str, text: str) -> None:
        self.findings.append(Finding(rule, who, text))

    def summary(self) -> str:
        """How much happened."""
        connects = [record for record in self.history if isinstance(record, Connected)]
        received = [record for record in self.history if isinstance(record, Received)]
        resets = sum(record.event == RESET for record in received) + sum(
            record.reset for record in self.history if isinstance(record, Paged)
        )
        counts = "".join(f", {count} {what}" for what, count in sorted(self.counts.items()))
        recovered = sum(record.recovered for record in connects)
        return (
            f"{len(self.lives)} lives, {len(received)} events received, {len(connects)} connects of which {recovered} "
            f"recovered, {resets} resets{counts}"
        )


@contextmanager
def _stumbling(world: World) -> Iterator[None]:
    """Actors meet mistakes where the world says so."""
    names = {"snapshot": "snapshot", "changes": "replay", "record": "record"}
    originals = {name: getattr(Inbox, name) for name in names.values()}

    def stumbling(during: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def call(self: Inbox, *args: Any, **options: Any) -> Any:
            world.stumble(during)
            if during == "record":
                world.look(args[0])
            result = await original(self, *args, **options)
            world.stumble(f"{during}ed")
            return result

        return call

    for during, name in names.items():
        setattr(Inbox, name, stumbling(during, originals[name]))
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(Inbox, name, original)


def simulate(plan: Plan, folder: Path) -> World:
    """Carry a plan out in an empty folder, which is empty again afterwards."""
    courier = Courier()
    with disks() as registered, waiting_for_sockets(), seeded(plan.seed):

        async def main() -> World:
            world = World(plan, folder, registered, courier)
            with _stumbling(world), tuned(plan.tuning, lambda: world.at_peace):
                await world.live()
            return world

        try:
            return trio.run(main, clock=virtual_clock(courier))
        finally:
            for each in folder.iterdir():
                shutil.rmtree(each) if each.is_dir() else each.unlink()
