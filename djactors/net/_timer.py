"""Objects with deadlines, and their entries in the heap of a timekeeper, such as the heartbeat of `djactors.engine`."""

from typing import Protocol


class Timed(Protocol):
    """An object with a deadline. `timer` belongs to the heartbeat and is None at first."""

    timer: "Timer | None"

    @property
    def next_deadline(self) -> float:
        """When `tick` is due, by `trio.current_time`; infinity if never."""

    def tick(self, now: float) -> None:
        """Do what is due. `now` is the time by `trio.current_time`."""


class Timer:
    """One entry of the heap. A dead entry has no `timed` any more, so that it keeps no object alive."""

    __slots__ = ("deadline", "timed")

    def __init__(self, deadline: float, timed: Timed) -> None:
        self.deadline = deadline
        self.timed: Timed | None = timed
