"""What a simulated run will do and when, all of it drawn from the seed before it begins.

It is the plan of a chaos run (`tests.chaos.plan`), with faults that only a simulation can bring about. Everything
else that is drawn during the run (the scheduler's order, how long data takes, what the disk keeps) comes from
generators that begin with the same seed, each for its own part of the world. A step can be taken out and the rest stays
as it is: that is how a plan shrinks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal, TypeAlias

import msgspec

from tests.chaos import plan as chaos
from tests.chaos.plan import BackUp, DevicePlan, Fault, Kill, Order, Publish, PutBack
from tests.simulation.clocks import START
from tests.simulation.disk import Operation
from tests.simulation.tuning import Tuning

FIRST_WITH_DEADLINE = chaos.FIRST_WITH_DEADLINE

FIRST_ERASED = 190
"""The numbers of people who are erased begin here."""

OFFICE = "office"
"""The name of what does to people what admins do; a tenant's number follows."""

BURST = 20
"""Notifications that come while somebody takes in little."""

EXPIRING_SECONDS = (8.0, 20.0, 60.0)


class PowerLoss(msgspec.Struct, frozen=True, tag="power-loss"):
    """The machine is switched off, and on again `seconds` later."""

    seconds: float


class DiskFault(msgspec.Struct, frozen=True, tag="disk"):
    """Something happens at the disk's operation of this kind that comes `skipping` others from now.

    error: the operation fails with an I/O error. full: all that would make a file longer fails for `seconds`. kill and
    power-loss: nothing happens any more, in the middle of whatever was under way.
    """

    operation: Operation
    skipping: int
    outcome: Literal["error", "full", "kill", "power-loss"]
    seconds: float


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """The server is told to stop, as by SIGTERM, and started again when it has."""


class ClockJump(msgspec.Struct, frozen=True, tag="clock"):
    """The wall clock is set forwards or backwards, and set right again `seconds` later."""

    distance: float
    seconds: float


class Crash(msgspec.Struct, frozen=True, tag="crash"):
    """The actor that is next to read from the store, or to write to it, meets a mistake of the program's: before that,
    or, where it is `recorded`, when the commit is done and nobody was told of it."""

    during: Literal["snapshot", "changes", "record", "recorded"]
    times: int


class SlowReader(msgspec.Struct, frozen=True, tag="slow"):
    """A device takes in a few bytes at a time only, for a while."""

    device: str
    seconds: float
    window: int


class Flood(msgspec.Struct, frozen=True, tag="flood"):
    """A device gives so many commands at once."""

    device: str
    commands: int


class SignOut(msgspec.Struct, frozen=True, tag="sign-out"):
    """A person is signed out everywhere."""

    tenant_id: int
    user_id: int


class Role(msgspec.Struct, frozen=True, tag="role"):
    """The tenant gives a person a role, whatever their tokens say."""

    tenant_id: int
    user_id: int
    role: Literal["user", "admin"]


class Erase(msgspec.Struct, frozen=True, tag="erase"):
    """A person is erased. Nothing is meant for them later."""

    tenant_id: int
    user_id: int


class Rival(msgspec.Struct, frozen=True, tag="rival"):
    """Somebody starts a second server on the same database."""


Action: TypeAlias = (
    Fault
    | Kill
    | Restart
    | BackUp
    | PutBack
    | Publish
    | Order
    | PowerLoss
    | DiskFault
    | ClockJump
    | Crash
    | SlowReader
    | Flood
    | SignOut
    | Role
    | Erase
    | Rival
)


class Step(msgspec.Struct, frozen=True):
    """An action and the second at which it is due."""

    at: float
    action: Action


class Plan(msgspec.Struct, frozen=True):
    """A whole run. `lives` are the seconds that each device's tokens are good for; others' outlive the run. Those that
    are `heedless` let them expire."""

    seed: int
    seconds: float
    settings: dict[str, Any]
    devices: list[DevicePlan]
    publishers: dict[str, int]
    lives: dict[str, float]
    steps: list[Step]
    tuning: Tuning = Tuning()
    heedless: list[str] = []

    def __str__(self) -> str:
        """One line a device, one line a step."""
        encode = msgspec.json.encode
        lines = [
            f"plan of seed {self.seed}: {len(self.devices)} devices, {len(self.steps)} steps, {self.seconds:g} s",
            f"  settings {encode(self.settings).decode()}",
            f"  tokens {encode(self.lives).decode()}, not renewed {encode(self.heedless).decode()}",
            f"  tuning {encode(self.tuning).decode()}",
        ]
        lines += [f"  {encode(device).decode()}" for device in self.devices]
        lines += [f"  {step.at:8.3f} {encode(step.action).decode()}" for step in self.steps]
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """Write it to a file."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Read what `save` wrote."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


def draw(seed: int, *, seconds: float = 20.0) -> Plan:
    """The plan of a seed."""
    random = Random(f"plan {seed}")
    people = [(1 + number % 2, 101 + number) for number in range(random.choice((2, 3, 4)))]
    tenants = sorted({tenant_id for tenant_id, _ in people})
    devices = list(chaos._devices(random, people))
    publishers = {f"{what}-{tenant_id}": tenant_id for tenant_id in tenants for what in ("news", "jobs")}
    steps = [Step(step.at, step.action) for step in _chaos_steps(random, seconds, devices, people)]
    # Each run has few kinds of the rarer faults, so that one of them meets a system that is otherwise at work.
    kinds = [
        _kills,
        _restarts,
        _power_losses,
        _double_losses,
        _disk_faults,
        _clock_jumps,
        _crashes,
        _slow_readers,
        _put_backs,
        _floods,
        _sign_outs,
        _roles,
        _erasures,
        _rivals,
    ]
    chosen = random.sample(kinds, random.choice((0, 1, 2, 3, 3, 4, 5)))
    if _clock_jumps in chosen and _sign_outs in chosen:
        # By a clock that is ahead somebody is signed out until the clock has come that far.
        chosen.remove(_sign_outs)
    for kind in chosen:
        steps += kind(random, seconds, devices)
    lives = {device.name: random.choice(EXPIRING_SECONDS) for device in devices if random.random() < 0.2}
    heedless = [device.name for device in devices if device.kind == "recovery" and random.random() < 0.15]
    lives |= dict.fromkeys(heedless, EXPIRING_SECONDS[0])
    tuning = _tuning(random)
    return Plan(
        seed,
        seconds,
        _settings(random) | tuning.settings,
        devices,
        publishers,
        lives,
        sorted(steps, key=lambda step: step.at),
        tuning,
        heedless,
    )


def _tuning(random: Random) -> Tuning:
    keeps = random.choice((4.0, 8.0)) if random.random() < 0.3 else None
    return Tuning(
        keeps=keeps,
        expires=random.choice((3.0, 10.0)) if keeps is not None and random.random() < 0.7 else None,
        slice=random.choice((3, 10)) if random.random() < 0.3 else None,
    )


def _settings(random: Random) -> dict[str, Any]:
    return {
        "ping_interval": 2.0,
        "ping_timeout": 3.0,
        "connect_timeout": 8.0,
        "upgrade_timeout": 4.0,
        "expiry_warning": 3.0,
        "expiry_grace": 2.0,
        "command_timeout": 5.0,
        "drain_timeout": 2.0,
        "passivate_after": random.choice((0.0, 1.0, 5.0)),
        "daily_limit": random.choice((5, 40, 1000)),
        "collapse_bursts": random.random() < 0.5,
        "replay_limit": random.choice((1, 5, 30, 1000)),
        "router_mailbox": random.choice((2, 16, 4096)),
        "user_mailbox": random.choice((1, 4, 256)),
        "commit_batch": random.choice((1, 4, 1024)),
        "commit_delay": random.choice((0.0, 0.002, 0.05)),
        # An answer is kept over any jump of a clock that is set right again.
        "event_days": 60,
        "emit_burst": random.choice((60, 60, 4)),
    }


def _chaos_steps(
    random: Random, seconds: float, devices: list[DevicePlan], people: list[tuple[int, int]]
) -> Iterator[chaos.Step]:
    if random.random() < 0.5:
        yield from _deadlines(random, seconds, people)
    if random.random() < 0.8:
        yield from chaos._faults(random, seconds, devices)
    yield from chaos._orders(random, seconds, devices)
    yield from chaos._news(random, seconds, people * random.choice((1, 1, 4)))
    for tenant_id in sorted({tenant_id for tenant_id, _ in people}):
        yield from chaos._jobs(random, seconds, tenant_id, [user_id for its, user_id in people if its == tenant_id])


def _moments(random: Random, seconds: float, most: int) -> list[float]:
    return sorted(round(random.uniform(0.0, seconds), 3) for _ in range(random.randint(1, most)))


def _kills(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 3):
        yield Step(at, Kill(random.choice((0.0, 0.2, 2.0)), 0))


def _restarts(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 3):
        yield Step(at, Restart())


def _double_losses(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    """The process dies where it has written and not synced; the next one has found that when the power is lost."""
    for at in _moments(random, seconds, 2):
        yield Step(at, DiskFault("sync", random.randrange(6), "kill", 0.0))
        yield Step(round(at + random.uniform(0.1, 3.0), 3), PowerLoss(0.5))


def _deadlines(random: Random, seconds: float, people: list[tuple[int, int]]) -> Iterator[chaos.Step]:
    """Jobs whose deadline comes while the run goes on. Nobody touches them again."""
    for number, at in enumerate(_moments(random, seconds, 4)):
        tenant_id, user_id = random.choice(people)
        deadline = START + timedelta(seconds=random.uniform(at, seconds + 5.0))
        event = {
            "type": "job.created",
            "tenantId": tenant_id,
            "jobId": FIRST_WITH_DEADLINE + number,
            "title": f"due {number}",
            "requesterId": user_id,
            "assigneeId": user_id,
            "deadline": deadline.isoformat(),
        }
        yield chaos.Step(at, Publish(f"jobs-{tenant_id}", [(f"due-{number}", event)]))


def _power_losses(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 3):
        yield Step(at, PowerLoss(random.choice((0.0, 0.5, 3.0))))


def _disk_faults(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 4):
        operation: Operation = random.choice(("write", "sync"))
        outcome: Any = random.choices(("error", "full", "kill", "power-loss"), (1, 1, 2, 3))[0]
        yield Step(at, DiskFault(operation, random.randrange(12), outcome, random.choice((0.5, 3.0))))


def _clock_jumps(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 3):
        distance = random.choice((-3600.0 * 24 * 40, -400.0, -20.0, 20.0, 250.0, 900.0, 3600.0 * 24 * 40))
        yield Step(at, ClockJump(distance, random.choice((0.5, 5.0))))


def _crashes(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 6):
        yield Step(at, Crash(random.choice(("snapshot", "changes", "record", "recorded")), random.choice((1, 1, 2, 8))))


def _slow_readers(random: Random, seconds: float, devices: list[DevicePlan]) -> Iterator[Step]:
    for number, at in enumerate(_moments(random, seconds, 4)):
        device = random.choice(devices)
        yield Step(at, SlowReader(device.name, random.choice((1.0, 6.0)), random.choice((1, 100, 2000))))
        # More comes meanwhile than may wait for somebody.
        burst = [
            (
                f"burst-{number}.{place}",
                {
                    "type": "notification.requested",
                    "tenantId": device.tenant_id,
                    "userId": device.user_id,
                    "notificationType": "news",
                    "priority": "CRITICAL",
                    "title": f"burst {number}.{place}",
                },
            )
            for place in range(BURST)
        ]
        yield Step(at, Publish(f"{OFFICE}-{device.tenant_id}", burst))


def _floods(random: Random, seconds: float, devices: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 3):
        yield Step(at, Flood(random.choice(devices).name, random.choice((5, 30, 100))))


def _sign_outs(random: Random, seconds: float, devices: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 4):
        device = random.choice(devices)
        yield Step(at, SignOut(device.tenant_id, device.user_id))


def _roles(random: Random, seconds: float, devices: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 6):
        device = random.choice(devices)
        yield Step(at, Role(device.tenant_id, device.user_id, random.choice(("user", "admin"))))


def _erasures(random: Random, seconds: float, devices: list[DevicePlan]) -> Iterator[Step]:
    """Somebody without a device is sent some news, and is erased."""
    tenant_id = random.choice(devices).tenant_id
    user_id = FIRST_ERASED + tenant_id
    moments = _moments(random, seconds, 4)
    for number, at in enumerate(moments):
        event = {
            "type": "notification.requested",
            "tenantId": tenant_id,
            "userId": user_id,
            "notificationType": "news",
            "priority": "LOW",
            "title": f"to be forgotten {number}",
        }
        yield Step(at, Publish(f"{OFFICE}-{tenant_id}", [(f"forgotten-{number}", event)]))
    yield Step(round(random.uniform(moments[-1], seconds), 3), Erase(tenant_id, user_id))


def _rivals(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds, 2):
        yield Step(at, Rival())


def _put_backs(random: Random, seconds: float, _: list[DevicePlan]) -> Iterator[Step]:
    for at in _moments(random, seconds * 0.6, 2):
        yield Step(at, BackUp())
        yield Step(round(random.uniform(at, seconds), 3), PutBack(random.choice((0.0, 0.5))))
