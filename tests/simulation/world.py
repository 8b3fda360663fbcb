"""A whole run in one process, in one thread, in no time: server, clients, network, disk and clocks, from one seed.

    clients ── SimulatedNetwork ──► Server (net, engine, edge, actors, inbox, store, as `app` builds it)
                                      │ SimulatedThreads
                                    SQLite ──► Disk

`machine.py` has the server's processes and their disk; what people and backends do, and what is made of it in the end,
is here.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from djactors.actors.sla import LONGEST_SLEEP
from djactors.config import Settings
from djactors.inbox.erasure import _Erasing
from djactors.inbox.inbox import Inbox
from djactors.steady_clock import AGREEMENT
from tests.chaos.device import Device
from tests.chaos.plan import BackUp, Fault, Kill, Order, Publish, PutBack
from tests.chaos.publisher import Publisher
from tests.chaos.rest import Waiting, late_ones, reload_all, send_last
from tests.history import Finding, History, Ledger, judge
from tests.history.alerts import judge_alerts
from tests.history.device import RESET
from tests.history.inboxes import judge_erased, judge_limits, judge_snoozes
from tests.history.records import Connected, Note, Paged, Received
from tests.serving import SECRET
from tests.simulation import devices
from tests.simulation.access import Access
from tests.simulation.clocks import Courier, WallClock, virtual_clock
from tests.simulation.disk import Disk, disks
from tests.simulation.instead import instead
from tests.simulation.lanes import SimulatedLane
from tests.simulation.machine import Machine
from tests.simulation.network import SimulatedNetwork, SimulatedSocket, waiting_for_sockets
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
LAST_WORD_SECONDS = 90.0
"""For a device to be answered once more. A user whose actor has crashed again and again is set aside for 60 of them."""
LOOK_SECONDS = 0.25
LATEST_ALERT_SECONDS = 5.0
"""An alert is this late at most: the clock looks soon after a start, and then when a deadline comes."""
DOUBT_SECONDS = AGREEMENT
"""The clock tells of nothing for so long, after a start at a time that is long after what is stored."""
LONG_SECONDS = 86_400.0
MAX_SECONDS = 3600.0
"""Of simulated time: a run that takes longer hangs."""


class SimulatedMistake(Exception):
    """What an actor meets when the plan says so."""


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
        self.machine = Machine(
            plan.seed,
            self.settings,
            folder,
            registered,
            self.network,
            self.wall,
            self.random,
            note=self._note,
            find=self._find,
            trace=self.trace.add,
        )
        self.counts = self.machine.counts
        self._folder = folder
        self._devices: dict[str, Device] = {}
        self._lanes: dict[str, SimulatedLane] = {}
        self._publishers: dict[str, Publisher | Office] = {}
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
                house.start_soon(self.machine.keep_serving, house)
                async with trio.open_nursery() as clients:
                    await self._act_out(clients)
                    clients.cancel_scope.cancel()
                await self.machine.stop()
                house.cancel_scope.cancel()
        self.seconds = trio.current_time()
        if patience.cancelled_caught:
            self._find("liveness", "the run", f"did not end within {MAX_SECONDS:g} s")
            return
        self._judge(self.machine.database)

    def _judge(self, database: Path) -> None:
        self.findings += judge(self.history, Ledger.read(database, self.machine.archive), self.machine.lost)
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
            drain = DRAIN_SECONDS + self._doubt
            backends.cancel_scope.deadline = trio.current_time() + drain
        if backends.cancel_scope.cancelled_caught:
            self._find("liveness", "the backends", f"were not answered within {drain:g} s")
            return
        with trio.move_on_after(drain) as patience:
            waiting = await send_last(self._devices.values(), self._lanes, self.history)
        if patience.cancelled_caught:
            self._find("liveness", "the backends", "their last notifications were not answered")
            return
        await self._come_to_rest(waiting)

    @property
    def _doubt(self) -> float:
        """Seconds. A server that has started while the clock was wrong goes on by it for so long, and refuses tokens by
        it, a backend's as well."""
        return DOUBT_SECONDS if self.counts["clock jumps"] else 0.0

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
        for name in await late_ones(waiting, patience=REST_SECONDS + self._doubt, look=LOOK_SECONDS):
            self._find("applied once", name, "never showed the last notification by itself")
        await self._hear_last_words(waiting)
        await self._wait_for_deadlines()
        await reload_all(self._devices.values(), patience=REST_SECONDS + self._doubt)
        async with trio.open_nursery() as nursery:
            for device in self._devices.values():
                if device.badge is not None:
                    nursery.start_soon(self._compare_badge, device)
        for device in self._devices.values():
            for trouble in device.troubles:
                self._find("isolation", device.plan.name, f"was refused: {trouble}")

    async def _hear_last_words(self, waiting: Waiting) -> None:
        """Without faults every command is acknowledged."""

        async def hear(device: devices.Renewing, notification_id: int) -> None:
            if not await device.last_word(notification_id, LAST_WORD_SECONDS + self._doubt):
                self._find("commands", device.plan.name, "was never answered, though the faults have stopped")

        async with trio.open_nursery() as nursery:
            for device, notification_id, _ in waiting:
                if isinstance(device, devices.Renewing):
                    nursery.start_soon(hear, device, notification_id)

    async def _compare_badge(self, device: Device) -> None:
        """What an application shows that takes the counts of events and of acks as they come is the count of the list
        in the end, though there is always something that expires."""
        with trio.move_on_after(REST_SECONDS + self._doubt):
            while device.badge != device.unread:
                await trio.sleep(LOOK_SECONDS)
                await device.reload()
            return
        self._find("counts", device.plan.name, f"shows {device.badge}, and {device.unread} are unread")

    # Faults

    def _act(self, action: Action, clients: trio.Nursery) -> None:
        self.trace.add(msgspec.json.encode(action).decode())
        match action:
            case Fault():
                self._lanes[action.device].strike(action)
            case SlowReader():
                self._lanes[action.device].slow(action)
            case Kill():
                self.machine.kill(action.seconds)
            case Restart():
                self.machine.restart()
            case PowerLoss():
                self.machine.unplug(action.seconds)
            case DiskFault():
                self.machine.arm(action)
            case ClockJump():
                clients.start_soon(self._jump, action)
            case Crash():
                self._crashing[action.during] += action.times
            case BackUp():
                self.machine.back_up()
            case PutBack():
                losses = self._losses()
                self.machine.put_back(action.seconds)
                if self._losses() > losses:
                    self._access.forget()
            case Publish():
                self._publishers[action.publisher].give(action)
            case SignOut() | Role() | Erase():
                self._office(action.tenant_id).give(action)
            case Rival():
                clients.start_soon(self.machine.send_rival)
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
        return len(self.machine.lost)

    async def _jump(self, jump: ClockJump) -> None:
        self.counts["clock jumps"] += 1
        self.wall.ahead += jump.distance
        await trio.sleep(jump.seconds)
        if not self.at_peace:
            self.wall.ahead -= jump.distance

    def _heal(self) -> None:
        self._note("the faults have stopped")
        self.at_peace = True
        self.machine.heal()
        self._crashing.clear()
        self.wall.ahead = 0.0
        for lane in self._lanes.values():
            lane.heal()

    def stumble(self, during: str) -> None:
        """Called before a read or a write of an actor's."""
        if self._crashing[during] > 0:
            self._crashing[during] -= 1
            self.counts["crashes"] += 1
            if self.machine.life is not None:
                # A shared service that keeps failing ends the process, as it should.
                self.machine.life.harmed = True
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
            f"{len(self.machine.lives)} lives, {len(received)} events received, {len(connects)} connects of which "
            f"{recovered} recovered, {resets} resets{counts}"
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
                world.machine.look(args[0])
            result = await original(self, *args, **options)
            world.stumble(f"{during}ed")
            return result

        return call

    sweep = _Erasing.sweep

    def looking(self: _Erasing) -> bool:
        # An event whose changes it purges may be in the same commit, where nobody could look beforehand.
        world.machine.archive.note(self._connection)
        return sweep(self)

    for during, name in names.items():
        setattr(Inbox, name, stumbling(during, originals[name]))
    try:
        with instead(_Erasing, "sweep", looking):
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
