"""What has deadlines, and the entry that it has in the heap of whoever keeps the time, such as `djactors.engine`."""

from typing import Protocol


class Timed(Protocol):
    """What has deadlines. `timer` is the heartbeat's and starts as None."""

    timer: "Timer | None"

    @property
    def next_deadline(self) -> float:
        """When `tick` is due, by `trio.current_time`; infinity if never."""

    def tick(self, now: float) -> None:
        """Do what is due."""


class Timer:
    """One entry of the heap. It dies by losing whom it is for, so that the dead are not kept alive by it."""

    __slots__ = ("deadline", "timed")

    def __init__(self, deadline: float, timed: Timed) -> None:
        self.deadline = deadline
        self.timed: Timed | None = timed
