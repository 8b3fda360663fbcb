"""What takes days or thousands in production and has to happen within seconds here: bounds that the program has as
constants, made small for a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import msgspec

from djactors.actors import retention, user
from djactors.domain.times import from_text, utc_text
from djactors.inbox import unit
from tests.simulation.instead import instead

DAY_SECONDS = 86_400.0


class Tuning(msgspec.Struct, frozen=True):
    """What is made small; None leaves it as it is in production.

    Attributes:
        keeps: seconds of history that are kept. Retention then has a round every two seconds.
        expires: seconds after which a notification that came while faults went on leaves its inbox.
        slice: changes of a replay that are read and sent at a time.
    """

    keeps: float | None = None
    expires: float | None = None
    slice: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The server's settings that follow from it."""
        settings: dict[str, Any] = {}
        if self.keeps is not None:
            settings["history_days"] = self.keeps / DAY_SECONDS
        if self.slice is not None:
            # Two slices of a replay fit, as settings have to promise.
            settings |= {"outbox_packets": 3 * self.slice, "outbox_bytes": 3 * self.slice * BYTES_OF_A_CHANGE}
        return settings


BYTES_OF_A_CHANGE = 1000
"""A change of a run has at most so many, of a job with all its people."""

ROUND_SECONDS = 2.0


@contextmanager
def tuned(tuning: Tuning, is_at_peace: Callable[[], bool]) -> Iterator[None]:
    """Inside the block bounds are as the tuning says. In peace notifications stay, so that everybody can show them."""
    original = unit.expires_at

    def expires_at(created_at: str) -> str:
        if tuning.expires is None or is_at_peace():
            return original(created_at)
        return utc_text(from_text(created_at) + timedelta(seconds=tuning.expires))

    replacements: list[tuple[Any, str, Any]] = [(unit, "expires_at", expires_at)]
    if tuning.keeps is not None:
        replacements += [
            (retention, "FIRST_ROUND", ROUND_SECONDS / 2),
            (retention, "SHORTEST_SLEEP", ROUND_SECONDS),
            (retention, "LONGEST_SLEEP", ROUND_SECONDS),
        ]
    if tuning.slice is not None:
        replacements.append((user, "REPLAY_SLICE", tuning.slice))
    with ExitStack() as stack:
        for replacement in replacements:
            stack.enter_context(instead(*replacement))
        yield
