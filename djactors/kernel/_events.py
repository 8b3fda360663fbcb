"""What a supervisor reports, for telemetry to log and to count.

An observer is called in the middle of supervision: it must not block. If it raises, the error is logged and supervision
goes on.
"""

import logging
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("djactors.kernel")


@dataclass(frozen=True, slots=True)
class SupervisorEvent:
    """Something happened to `child` of `supervisor`."""

    supervisor: str
    child: str


@dataclass(frozen=True, slots=True)
class ChildStarted(SupervisorEvent):
    """An instance is up: `on_start` has returned, or `started()` has been called."""


@dataclass(frozen=True, slots=True)
class ChildCrashed(SupervisorEvent):
    """An instance raised.

    Attributes:
        error: what it raised; a group with one member is given as that member.
        dropped: the messages that the instance had in hand and had not answered. They are lost.
    """

    error: Exception
    dropped: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ChildRestarting(SupervisorEvent):
    """A new instance will be made in `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class ChildQuarantined(SupervisorEvent):
    """A child is set aside for `seconds`; `dropped` are the messages that were waiting for it."""

    seconds: float
    dropped: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SupervisorEscalated(SupervisorEvent):
    """The child exceeded its restart intensity: the supervisor stops everything and crashes."""


@dataclass(frozen=True, slots=True)
class ChildStopped(SupervisorEvent):
    """A child is gone for good.

    Attributes:
        dropped: the messages that the child leaves unhandled.
        timed_out: whether the child had to be cancelled because it had not stopped within `stop_timeout`.
    """

    dropped: tuple[Any, ...]
    timed_out: bool


def log_event(event: SupervisorEvent) -> None:
    """Log trouble, with counts but without contents. This is the observer of a supervisor that is given none."""
    match event:
        case ChildCrashed(supervisor, child, error, dropped):
            logger.error("%s/%s crashed, messages dropped: %d", supervisor, child, len(dropped), exc_info=error)
        case ChildQuarantined(supervisor, child, seconds, dropped):
            logger.error("%s/%s set aside for %s s, messages dropped: %d", supervisor, child, seconds, len(dropped))
        case SupervisorEscalated(supervisor, child):
            logger.critical("%s gives up over %s", supervisor, child)
        case ChildStopped(supervisor, child, dropped, timed_out) if dropped or timed_out:
            logger.warning(
                "%s/%s stopped, messages dropped: %d, ran out of time: %s", supervisor, child, len(dropped), timed_out
            )
