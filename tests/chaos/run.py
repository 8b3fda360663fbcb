"""A run: carries a plan out, lets everybody come to rest, and has the checker judge what was seen.

Faults stop first; then the publishers finish what they retry, a last notification is sent to each user, and every
device is waited for until it shows that one and a count behind it. What is still missing then is the checker's to tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio

from tests.chaos import device as devices
from tests.chaos.copies import Copies
from tests.chaos.device import Device
from tests.chaos.nodes import Nodes
from tests.chaos.outages import CutOff, FailOver, Freeze, KillNode, RestartDatabase
from tests.chaos.plan import (
    DAY_SECONDS,
    FIRST_WITH_DEADLINE,
    Action,
    BackUp,
    Fault,
    Kill,
    Order,
    Plan,
    Publish,
    PutBack,
)
from tests.chaos.proxy import Lane, Proxy
from tests.chaos.publisher import Publisher
from tests.chaos.rest import late_ones, reload_all, send_last
from tests.chaos.server import KillableServer
from tests.clients.driver import stock_client
from tests.history import Finding, History, Ledger, judge
from tests.history.alerts import judge_alerts
from tests.history.device import RESET
from tests.history.records import Connected, Note, Paged, Received

DRAIN_SECONDS = 60
"""For the publishers to have everything acknowledged once the faults have stopped."""

REST_SECONDS = 60
"""For all devices to come back and show the end; they need one reconnect at most, on a busy machine."""

LOOK_SECONDS = 0.1

ALERT_SLACK = timedelta(seconds=2)
"""So late may an alert be: other nodes look at what is due once a second."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: nothing is wrong if there are no findings. `history` is where its file is.

    `recovered`, `kills`, `put_backs` and `resets` tell how much there was to be found: connects by which a stock client
    was recovered, the server's ends, how often the database lost something, and how often a client was told to reload.
    `outages` is what happened to nodes, `alerts` how many there were.
    """

    findings: list[Finding]
    history: Path
    recovered: int
    kills: int
    put_backs: int
    resets: int
    summary: str
    outages: int = 0
    alerts: int = 0


async def run(
    plan: Plan, folder: Path, say: Callable[[str], None] = lambda line: None, copies: Copies | None = None
) -> Outcome:
    """Carry a plan out in `folder`. `copies` says how the database is copied and put back, if not by SQLite alone.

    Raises:
        AssertionError: the run itself failed: a server did not start, or the publishers were never answered.
    """
    chaos = _Run(plan, folder, say, copies)
    path = folder / "history.jsonl"
    try:
        await chaos.live()
    finally:
        chaos.history.save(path)
    ledger, lost = chaos.ledger, chaos.lost
    findings = judge(chaos.history, ledger, lost)
    findings += chaos.alert_findings
    findings += [Finding("applied once", name, "never showed the last notification by itself") for name in chaos.late]
    findings += [Finding("isolation", "a client", f"was refused: {trouble}") for trouble in chaos.troubles()]
    alerts = sum(row.type.startswith("sla_alert") for row in ledger.notifications.values())
    summary = chaos.summary(ledger, alerts)
    kills = chaos.server.kills if chaos.nodes is None else chaos.nodes.kills
    outages = 0 if chaos.nodes is None else chaos.nodes.happened
    return Outcome(findings, path, chaos.recovered, kills, len(lost), chaos.resets, summary, outages, alerts)


class _Run:
    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None], copies: Copies | None) -> None:
        self.history = History()
        self.late: list[str] = []
        self.ledger = Ledger([])
        self.lost: list[Ledger] = []
        self.alert_findings: list[Finding] = []
        self.server = KillableServer(folder, self._told, copies=copies)
        self.nodes = None
        if plan.nodes:
            self.nodes = Nodes(
                folder,
                plan.nodes,
                plan.seed,
                plan.standby,
                outages_overlap=plan.outages_overlap,
                pooled=plan.pooled,
                note=self._note,
                cut_held=self._cut_held,
            )
        self._plan = plan
        self._say = say
        self._began = 0.0
        self._devices: dict[str, Device] = {}
        self._lanes: dict[str, Lane] = {}
        self._publishers: dict[str, Publisher] = {}
        self._proxy: Proxy | None = None

    async def live(self) -> None:
        """The run from its beginning to the server's end."""
        async with trio.open_nursery() as house:
            self._proxy = Proxy(house, None if self.nodes is None else self.nodes.balancer.route)
            place = self.server if self.nodes is None else self.nodes
            await house.start(place.run)
            self._began = trio.current_time()
            async with stock_client("js") as js, stock_client("python") as python, trio.open_nursery() as clients:
                async with trio.open_nursery() as backends:
                    for name, tenant_id in self._plan.publishers.items():
                        self._lanes[name] = await self._proxy.open(name)
                        self._publishers[name] = Publisher(tenant_id, self._lanes[name], self.history)
                        backends.start_soon(self._publishers[name].run)
                    for plan in self._plan.devices:
                        lane = self._lanes[plan.name] = await self._proxy.open(plan.name)
                        device = devices.make(plan, lane, self.history, clients, js, python)
                        self._devices[plan.name] = device
                        clients.start_soon(device.start)
                    await self._carry_out(clients)
                    await place.up()
                    self._proxy.heal()
                    self._note("the faults have stopped")
                    for publisher in self._publishers.values():
                        publisher.close()
                    backends.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS
                assert not backends.cancel_scope.cancelled_caught, "the publishers were not answered in time"
                await self._come_to_rest()
                clients.cancel_scope.cancel()
            await place.stop()
            await trio.to_thread.run_sync(self._read)
            house.cancel_scope.cancel()

    def _read(self) -> None:
        """Read the database, which nobody writes to any more."""
        if self.nodes is None:
            self.ledger, self.lost = Ledger.read(self.server.database), self.server.lost
            return
        self.ledger, self.lost = Ledger.read(self.nodes.place), self.nodes.lost
        now = datetime.now(UTC) - ALERT_SLACK
        texts = [f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" for moment in (now, now + timedelta(seconds=DAY_SECONDS))]
        self.alert_findings = list(
            judge_alerts(self.nodes.place, FIRST_WITH_DEADLINE, texts[0], must_warn_before=texts[1])
        )

    async def _carry_out(self, clients: trio.Nursery) -> None:
        for step in self._plan.steps:
            await trio.sleep_until(self._began + step.at)
            self._act(step.action, clients)
        await trio.sleep_until(self._began + self._plan.seconds)

    def _act(self, action: Action, clients: trio.Nursery) -> None:
        match action:
            case Fault():
                self._note(f"{action.kind} {action.phase} {action.device}")
                self._lanes[action.device].strike(action)
            case Kill():
                self._note("kill -9")
                clients.start_soon(self.server.kill, action.seconds, action.expiring)
            case BackUp():
                self._note("the database is copied")
                clients.start_soon(self.server.back_up)
            case PutBack():
                clients.start_soon(self._put_back, action.seconds)
            case KillNode() | Freeze() | CutOff() | RestartDatabase() | FailOver():
                assert self.nodes is not None
                clients.start_soon(self.nodes.suffer, action)
            case Publish():
                self._publishers[action.publisher].give(action)
            case Order():
                clients.start_soon(self._devices[action.device].obey, action)

    async def _put_back(self, seconds: float) -> None:
        await self.server.put_back(seconds)
        self._note("kill -9, and the copy is put back")
        # What is lost must not reach a client behind what it is told afterwards on another connection.
        assert self._proxy is not None
        self._proxy.cut()

    def _cut_held(self) -> None:
        assert self._proxy is not None
        self._proxy.cut_held()

    async def _come_to_rest(self) -> None:
        """Send each user a last notification and wait until every device shows it."""
        everybody = self._devices.values()
        waiting = await send_last(everybody, self._lanes, self.history)
        self._note("the last notifications are sent")
        self.late = await late_ones(waiting, patience=REST_SECONDS, look=LOOK_SECONDS)
        self._note(f"everybody is at rest, but for {self.late}" if self.late else "everybody is at rest")
        await reload_all(everybody, patience=REST_SECONDS)

    @property
    def recovered(self) -> int:
        """Connects by which a stock client was recovered."""
        return sum(isinstance(record, Connected) and record.recovered for record in self.history)

    @property
    def resets(self) -> int:
        """How often a client was told to reload."""
        received = (record.event == RESET for record in self.history if isinstance(record, Received))
        return sum(received) + sum(record.reset for record in self.history if isinstance(record, Paged))

    def troubles(self) -> list[str]:
        """What no fault explains."""
        return [trouble for device in self._devices.values() for trouble in device.troubles]

    def summary(self, ledger: Ledger, alerts: int) -> str:
        """How much happened, so that a run in which nothing did is not taken for a good one."""
        assert self._proxy is not None
        connects = [record for record in self.history if isinstance(record, Connected)]
        received = [record for record in self.history if isinstance(record, Received)]
        struck = ", ".join(f"{count} {what}" for what, count in sorted(self._proxy.struck.items()))
        return (
            f"{len(ledger.entries)} changes, {len(received)} events received, {len(connects)} connects of which "
            f"{self.recovered} recovered, {self.resets} resets, {self._what_happened(alerts)}; faults: {struck}"
        )

    def _what_happened(self, alerts: int) -> str:
        if self.nodes is None:
            return f"{self.server.kills} kills, {len(self.lost)} times put back"
        chosen = " and ".join(map(str, self.nodes.balancer.chosen))
        return (
            f"{self.nodes.happened} outages, {len(self.lost)} times commits were lost, {alerts} alerts, "
            f"{chosen} connections to the nodes"
        )

    def _told(self, url: str | None) -> None:
        assert self._proxy is not None
        self._proxy.upstream = None if url is None else ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self._note("the server is down" if url is None else f"the server is up at {url}")

    def _note(self, text: str) -> None:
        at = round(trio.current_time() - self._began, 3) if self._began else 0.0
        self.history.add(Note(at, text))
        self._say(f"{at:8.3f} {text}")
