"""What a run will do and when, all of it drawn from the seed before it begins.

The plan is the same for the same arguments; how far the clients have come when a step is due is not, for they run in
real time. A step names a device and a fraction where it cannot name a notification: the fraction is of the list that
the device then shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, TypeAlias

import msgspec

from tests.chaos.outages import Outage, Scenario, outages, seconds_of
from tests.history.records import Kind, Verb

FaultKind = Literal["cut", "reset", "stall", "half-up", "half-down", "orphan", "dark", "silence"]
"""What happens to a connection.

cut: closed on both sides, with FIN. reset: closed on both sides, with RST. stall: nothing passes for a while. half-up
and half-down: what comes from the client, or from the server, is swallowed from now on, the end of the connection too.
orphan: the client's side is closed and the server is not told. dark: all of the device's connections are cut, and it
reaches nothing for a while. silence: what any of the device's connections carries is swallowed for a while, and new
ones are taken and get no answer; when the while is over, all of them are reset.
"""

Phase = Literal["now", "polling", "upgrade", "websocket"]
"""When it happens: at once, to every connection of the device; else to the next one that gets there."""

BURST = 8
"""Events that a publisher may post at once."""

FIRST_SECONDS = 3.0
"""Time at the beginning without faults, for everybody to arrive."""


FIRST_WITH_DEADLINE = 1001
"""The numbers of jobs that have a deadline begin here."""

ALERTS_A_SECOND = 1.0
ALERT_SECONDS = 6.0
"""How long at most until a deadline, or the moment a day before it, comes."""

DAY_SECONDS = 86_400.0


class DevicePlan(msgspec.Struct, frozen=True):
    """One client. `seed` is for what it decides by itself.

    A client of the kind `recovery` is the stock one (`js`) or the project's own (`trio`). Both are judged alike.
    """

    name: str
    tenant_id: int
    user_id: int
    kind: Kind
    transports: list[str] | None
    seed: int
    client: Literal["js", "trio"] = "js"


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """A connection breaks, `chunks` pieces of data after the device's connections have come to the phase."""

    device: str
    kind: FaultKind
    phase: Phase
    chunks: int
    seconds: float


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """The server is killed and started again `seconds` later.

    Until then the time of the `expiring` oldest notifications is up.
    """

    seconds: float
    expiring: int


class BackUp(msgspec.Struct, frozen=True, tag="back-up"):
    """The database is copied while it is being written to. The copy takes the place of the one before."""


class PutBack(msgspec.Struct, frozen=True, tag="put-back"):
    """The server is killed, the copy is put in the place of its database, and it is started again `seconds` later."""

    seconds: float


class Publish(msgspec.Struct, frozen=True, tag="publish"):
    """A backend posts events, one after the other; with `again`, once more after each answer."""

    publisher: str
    events: list[tuple[str, dict[str, Any]]]
    again: bool = False
    due_in: float | None = None
    """Seconds from the moment at which it is posted to the deadline of the job in it."""


class Order(msgspec.Struct, frozen=True, tag="order"):
    """Somebody reads, moves or deletes."""

    device: str
    verb: Verb
    via: Literal["socket", "http"]
    pick: float


Action: TypeAlias = Fault | Kill | BackUp | PutBack | Publish | Order | Outage


class Step(msgspec.Struct, frozen=True):
    """An action and the second at which it is due."""

    at: float
    action: Action


@dataclass(frozen=True)
class Plan:
    """A whole run. `publishers` name their tenant.

    With `nodes`, so many serve one PostgreSQL database; with a standby, which is synchronous or not, where the scenario
    is one of a failover. Outages of different nodes, and of the database, may overlap. A pooler in
    transaction mode may stand between the nodes and the database: it keeps their connections over a failover.
    """

    seed: int
    seconds: float
    devices: list[DevicePlan]
    publishers: dict[str, int]
    steps: list[Step]
    nodes: int = 0
    standby: Literal["synchronous", "asynchronous"] | None = None
    outages_overlap: bool = False
    pooled: bool = False

    def __str__(self) -> str:
        """One line a device, one line a step."""
        lines = [
            f"plan of seed {self.seed}: {len(self.devices)} devices, {len(self.steps)} steps, {self.seconds:.0f} s"
        ]
        lines += [f"  {msgspec.json.encode(device).decode()}" for device in self.devices]
        lines += [f"  {step.at:8.3f} {msgspec.json.encode(step.action).decode()}" for step in self.steps]
        return "\n".join(lines)


def draw(seed: int, *, seconds: float, users: int = 50, tenants: int = 2, kills: int = 10, put_backs: int = 0) -> Plan:
    """Draw a plan.

    There are `users` in all, spread over the tenants. The kills are spread over the whole time, and so are the times
    that an old copy of the database is put back.
    """
    random = Random(seed)
    people = [(1 + number % tenants, 101 + number) for number in range(users)]
    devices = list(_devices(random, people))
    publishers = {f"{what}-{tenant_id}": tenant_id for tenant_id in range(1, tenants + 1) for what in ("news", "jobs")}
    steps = [
        *_kills(random, seconds, kills),
        *_put_backs(random, seconds, put_backs),
        *_faults(random, seconds, devices),
        *_orders(random, seconds, devices),
        *_news(random, seconds, people),
    ]
    for tenant_id in range(1, tenants + 1):
        steps += _jobs(random, seconds, tenant_id, [user_id for its, user_id in people if its == tenant_id])
    return Plan(seed, seconds, devices, publishers, sorted(steps, key=lambda step: step.at))


def draw_with_nodes(
    seed: int,
    scenario: Scenario,
    *,
    times: int = 1,
    nodes: int = 2,
    users: int = 16,
    tenants: int = 2,
) -> Plan:
    """Draw a plan with several nodes on one PostgreSQL database, to which outages of one kind happen so many times."""
    seconds = FIRST_SECONDS + seconds_of(scenario, times)
    base = draw(seed, seconds=seconds, users=users, tenants=tenants, kills=0)
    random = Random(f"{seed} {scenario}")
    people = sorted({(device.tenant_id, device.user_id) for device in base.devices})
    steps = [
        *base.steps,
        *_deadlines(random, seconds, people),
        *(Step(*each) for each in outages(random, scenario, first=FIRST_SECONDS, times=times, nodes=nodes)),
    ]
    standby: dict[Scenario, Literal["synchronous", "asynchronous"]] = {
        "failover-synchronous": "synchronous",
        "failover-asynchronous": "asynchronous",
        "failover-pooled": "asynchronous",
        "mixed": "asynchronous",
    }
    return Plan(
        seed,
        seconds,
        base.devices,
        base.publishers,
        sorted(steps, key=lambda step: step.at),
        nodes,
        standby.get(scenario),
        scenario == "mixed",
        scenario == "failover-pooled",
    )


def _deadlines(random: Random, seconds: float, people: list[tuple[int, int]]) -> Iterator[Step]:
    """Jobs whose deadline, or the moment a day before, comes while the run goes on. Nobody touches them again."""
    for number, at in enumerate(_moments(random, seconds - ALERT_SECONDS, rate=ALERTS_A_SECOND)):
        tenant_id, user_id = random.choice(people)
        soon = random.uniform(0.5, ALERT_SECONDS)
        event = {
            "type": "job.created",
            "tenantId": tenant_id,
            "jobId": FIRST_WITH_DEADLINE + number,
            "title": f"due {number}",
            "requesterId": user_id,
            "assigneeId": user_id,
        }
        due_in = round(soon + random.choice((0.0, DAY_SECONDS)), 3)
        yield Step(at, Publish(f"jobs-{tenant_id}", [(f"due-{number}", event)], due_in=due_in))


def _devices(random: Random, people: list[tuple[int, int]]) -> Iterator[DevicePlan]:
    for tenant_id, user_id in people:
        for number in range(random.choices((1, 2, 3), (5, 4, 1))[0]):
            kind: Kind = random.choices(("recovery", "since", "polling"), (6, 3, 1))[0]
            transports = random.choices((None, ["polling"], ["websocket"]), (3, 1, 1))[0]
            name = f"{kind}-{user_id}-{number + 1}"
            seed = random.getrandbits(32)
            # Nothing more is drawn for it, which would move all that is drawn after it.
            client: Literal["js", "trio"] = "trio" if kind == "recovery" and seed % 2 else "js"
            yield DevicePlan(name, tenant_id, user_id, kind, transports, seed, client)


def _moments(random: Random, seconds: float, rate: float, first: float = 0.0) -> Iterator[float]:
    """Arrivals at a rate, as independent people make them."""
    at = first
    while (at := at + random.expovariate(rate)) < seconds:
        yield round(at, 3)


def _kills(random: Random, seconds: float, kills: int) -> Iterator[Step]:
    every = (seconds - FIRST_SECONDS) / max(1, kills)
    for number in range(kills):
        at = FIRST_SECONDS + (number + random.uniform(0.1, 0.6)) * every
        yield Step(round(at, 3), Kill(random.choice((0.0, 0.2, 0.8)), random.choice((0, 0, 5, 20))))


def _put_backs(random: Random, seconds: float, put_backs: int) -> Iterator[Step]:
    every = (seconds - FIRST_SECONDS) / max(1, put_backs)
    for number in range(put_backs):
        begin = FIRST_SECONDS + number * every
        yield Step(round(begin + random.uniform(0.0, 0.3) * every, 3), BackUp())
        yield Step(round(begin + random.uniform(0.4, 0.9) * every, 3), PutBack(random.choice((0.0, 0.5))))


def _faults(random: Random, seconds: float, devices: list[DevicePlan]) -> Iterator[Step]:
    kinds: tuple[FaultKind, ...] = ("cut", "reset", "stall", "half-up", "half-down", "orphan", "dark")
    for at in _moments(random, seconds, rate=len(devices) / 12, first=FIRST_SECONDS):
        device = random.choice(devices)
        kind: FaultKind = random.choices(kinds, (4, 4, 3, 3, 3, 4, 1))[0]
        phase: Phase = "now"
        if device.kind != "polling" and kind != "dark":
            choices: dict[Phase, int] = {"now": 4}
            if device.transports != ["websocket"]:
                choices["polling"] = 3
            if device.transports != ["polling"]:
                choices |= {"upgrade": 3, "websocket": 1}
            phase = random.choices(list(choices), list(choices.values()))[0]
        held = random.uniform(0.2, 6.0) if kind in ("stall", "dark") else 0.0
        yield Step(at, Fault(device.name, kind, phase, random.randrange(6), round(held, 3)))


def _orders(random: Random, seconds: float, devices: list[DevicePlan]) -> Iterator[Step]:
    verbs: tuple[Verb, ...] = (
        *("read", "delete", "read-all", "seen", "unread"),
        *("archive", "unarchive", "snooze", "unsnooze"),
    )
    for at in _moments(random, seconds, rate=len(devices) / 6):
        device = random.choice(devices)
        verb = random.choices(verbs, (8, 4, 1, 2, 3, 3, 2, 3, 1))[0]
        via: Literal["socket", "http"] = "http" if device.kind == "polling" or random.random() < 0.3 else "socket"
        yield Step(at, Order(device.name, verb, via, random.random()))


def _news(random: Random, seconds: float, people: list[tuple[int, int]]) -> Iterator[Step]:
    noisy = random.sample(people, max(1, len(people) // 10))
    for number, at in enumerate(_moments(random, seconds, rate=len(people) / 12)):
        tenant_id, user_id = random.choice(noisy if random.random() < 0.3 else people)
        events: list[tuple[str, dict[str, Any]]] = []
        for place in range(random.randint(1, BURST) if random.random() < 0.2 else 1):
            event = {
                "type": "notification.requested",
                "tenantId": tenant_id,
                "userId": user_id,
                "notificationType": "news",
                "priority": random.choice(("LOW", "MEDIUM", "HIGH", "CRITICAL")),
                "title": f"news {number}.{place}",
                "data": {"number": number},
            }
            events.append((f"news-{number}.{place}", event))
        yield Step(at, Publish(f"news-{tenant_id}", events, again=random.random() < 0.2))


def _jobs(random: Random, seconds: float, tenant_id: int, people: list[int]) -> Iterator[Step]:
    """Jobs that go through the workflow, a step at a time; the tenant's backend numbers them."""
    lives: list[Iterator[tuple[str, dict[str, Any]]]] = []
    born = 0
    for at in _moments(random, seconds, rate=max(1.0, len(people) / 6)):
        step = None
        if lives and random.random() < 0.7:
            life = random.choice(lives)
            step = next(life, None)
            if step is None:
                lives.remove(life)
        if step is None:
            born += 1
            lives.append(_life(random, tenant_id, born, people))
            step = next(lives[-1])
        yield Step(at, Publish(f"jobs-{tenant_id}", [step], again=random.random() < 0.2))


def _life(random: Random, tenant_id: int, job_id: int, people: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    place = 0

    def event(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
        nonlocal place
        place += 1
        return f"job-{job_id}.{place}", {"type": kind, "tenantId": tenant_id, "jobId": job_id, **fields}

    requester, approver = random.choice(people), random.choice(people)
    watchers = random.sample(people, min(2, len(people)))
    yield event("job.created", title=f"job {job_id}", requesterId=requester, approverId=approver, watcherIds=watchers)
    assignee = random.choice(people)
    yield event("job.assigned", assigneeId=assignee)
    for round_ in range(random.randint(1, 3)):
        mentions = random.sample(people, random.randint(0, min(2, len(people))))
        yield event("comment.added", text=f"round {round_}", actorId=random.choice(people), mentions=mentions)
        if random.random() < 0.2:
            yield event("job.retitled", title=f"job {job_id}, round {round_}", actorId=requester)
        yield event("job.submitted", actorId=assignee)
        if random.random() < 0.5:
            yield event("job.approved", actorId=approver)
            break
        yield event("job.rejected", reason="again", actorId=approver)
        assignee = random.choice(people)
        yield event("job.assigned", assigneeId=assignee)
        if random.random() < 0.1:
            yield event("job.cancelled", reason=f"no round {round_ + 1}", actorId=requester)
            return
    yield event("job.completed", actorId=assignee)
