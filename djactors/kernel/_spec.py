"""How a child is to be started, restarted, given up and stopped: OTP's child spec, one class for each kind of child.

The terms are those of OTP's supervisor: restart types, and restart intensity, which is a number of restarts within a
period. Two things are added: a pause before each restart, and quarantine, which gives up one child for a while instead
of the whole supervisor.
"""

import enum
import random
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from djactors.kernel._actor import Actor, Service

M = TypeVar("M")
R = TypeVar("R")

DEFAULT_MAILBOX_CAPACITY = 256
"""Messages in one mailbox. A burst for one actor fits, and a thousand full mailboxes are still only a quarter of a
million messages."""

DEFAULT_START_TIMEOUT = 10.0
"""Seconds: enough to open a database after an unclean end."""

DEFAULT_STOP_TIMEOUT = 5.0
"""Seconds. A service manager usually waits 10 to 30 s before it kills a process, and several children stop in turn."""

DEFAULT_QUARANTINE_SECONDS = 60.0
"""Seconds: so long that a hopeless child costs next to nothing, and so short that no operator has to revive a child."""


class Restart(enum.Enum):
    """When a child is started again after it has ended."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After a crash only."""
    TEMPORARY = "temporary"
    """Never."""


class Exhausted(enum.Enum):
    """What happens once a child needs more restarts than its intensity allows."""

    ESCALATE = "escalate"
    """Its supervisor stops all its children and crashes."""
    QUARANTINE = "quarantine"
    """The child alone is set aside for a while and then tried again."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """At most `max_restarts` within `period` seconds."""

    max_restarts: int = 5
    period: float = 60.0

    def __post_init__(self) -> None:
        if self.max_restarts < 0:
            raise ValueError(f"max_restarts must not be negative: {self.max_restarts}")
        if self.period <= 0:
            raise ValueError(f"period must be more than 0 seconds: {self.period}")

    def admits(self, restarts: list[float], now: float) -> bool:
        """Whether one more restart, now, is within bounds.

        `restarts` holds the times of earlier restarts. This adds `now` and forgets the times that are older than the
        period, so that the list stays as short as the bound. `add_restart` in OTP's supervisor.erl does the same.
        """
        restarts.append(now)
        while restarts[0] < now - self.period:
            del restarts[0]
        return len(restarts) <= self.max_restarts


@dataclass(frozen=True, slots=True)
class Backoff:
    """How many seconds to pause before a restart. The pause grows with each restart in a row.

    Attributes:
        initial: seconds before the first restart.
        factor: how many times longer each pause is than the one before.
        maximum: the longest pause, in seconds.
        jitter: the part of a pause, 0 to 1, that is random, so that siblings that crashed for one reason do not all
            come back at the same moment.
    """

    initial: float = 0.1
    factor: float = 2.0
    maximum: float = 10.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.initial < 0 or self.maximum < self.initial:
            raise ValueError(f"pauses must satisfy 0 <= initial <= maximum: {self.initial}, {self.maximum}")
        if self.factor < 1:
            raise ValueError(f"factor must be at least 1: {self.factor}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1: {self.jitter}")

    def delay(self, earlier: int, rng: random.Random) -> float:
        """Seconds to pause after `earlier` restarts in a row."""
        try:
            pause = min(self.initial * self.factor**earlier, self.maximum)
        except OverflowError:
            pause = self.maximum
        return pause * (1 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """The settings that all children have. A child is made from an `ActorSpec` or a `ServiceSpec`.

    Attributes:
        name: unique among its siblings.
        restart: when to start again.
        start_timeout: seconds within which `on_start` must return, or a service must call `task_status.started()`. It
            may come a little late, but never early; see `Alarms`. An `on_start` that ends well after that has failed.
        stop_timeout: seconds that an orderly stop may take before the child is cancelled. A nested supervisor needs as
            many as its own children need together.
        intensity: restarts in a period before the child counts as exhausted. Pauses count as part of the period.
        backoff: the pause before each restart; it starts over after a whole period without a crash.
        when_exhausted: what happens when the child is exhausted.
        quarantine_seconds: how long `Exhausted.QUARANTINE` lasts. One fresh start follows; a crash within the period
            after that start means quarantine again.

    Raises:
        ValueError: a time or a capacity is not more than 0.
    """

    name: str
    _: KW_ONLY
    restart: Restart = Restart.PERMANENT
    start_timeout: float = DEFAULT_START_TIMEOUT
    stop_timeout: float = DEFAULT_STOP_TIMEOUT
    intensity: Intensity = Intensity()
    backoff: Backoff = Backoff()
    when_exhausted: Exhausted = Exhausted.ESCALATE
    quarantine_seconds: float = DEFAULT_QUARANTINE_SECONDS

    def __post_init__(self) -> None:
        for setting in ("mailbox_capacity", "start_timeout", "stop_timeout", "quarantine_seconds"):
            value = getattr(self, setting, 1)  # a service has no mailbox
            if not value > 0:
                raise ValueError(f"{setting} of {self.name} must be more than 0: {value}")


@dataclass(frozen=True, slots=True)
class ActorSpec(ChildSpec, Generic[M, R]):
    """A child that is an actor. `Supervisor.ref` takes the spec and returns the actor's ref, with the actor's types.

    Attributes:
        factory: makes a fresh instance for each start, without arguments or with those that `Supervisor.spawn_child`
            was given. It runs in the child's own task: it may raise, which is a crash, but it must not block.
        mailbox_capacity: messages that may wait for the actor.
        keeps_task: whether the actor keeps its task while it rests. An actor that gives it back takes 3.7 KiB less, and
            to wake it takes some 12 µs more. A message that is taken at rest wakes nobody. What belongs to a task ends
            with it: what the actor has set in a context variable is gone after a rest.
    """

    factory: Callable[..., Actor[M, R]]
    _: KW_ONLY
    mailbox_capacity: int = DEFAULT_MAILBOX_CAPACITY
    keeps_task: bool = True


@dataclass(frozen=True, slots=True)
class ServiceSpec(ChildSpec):
    """A child that is a service, such as a nested supervisor: it has no mailbox and no ref.

    Attributes:
        factory: like the factory of an `ActorSpec`.
    """

    factory: Callable[[], Service]


AnySpec: TypeAlias = ActorSpec[Any, Any] | ServiceSpec
"""The spec of any child."""
