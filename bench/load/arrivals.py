"""What has come to the users: each notification once, each assignment at everybody."""

from collections import Counter


class Arrivals:
    """Shared by the users of one group; cleared before each phase."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}
        """By its number, when a notification came."""
        self.last: dict[int, float] = {}
        """By its job, when an assignment came to the last so far."""
        self.messages = 0
        self.faults: Counter[str] = Counter()
        self._told: Counter[int] = Counter()

    def clear(self) -> None:
        """Forget what was before."""
        self.at.clear()
        self.last.clear()
        self.faults.clear()
        self._told.clear()
        self.messages = 0

    def notified(self, number: int, now: float) -> None:
        """A notification came to its user."""
        if number in self.at:
            self.faults["a notification came twice"] += 1
        self.at[number] = now
        self.messages += 1

    def assigned(self, job: int, now: float) -> None:
        """An assignment came to one of everybody."""
        self.last[job] = now
        self._told[job] += 1
        self.messages += 1

    def told(self, job: int) -> int:
        """How many heard of the assignment of a job."""
        return self._told[job]

    def fault(self, what: str) -> None:
        """Something went wrong."""
        self.faults[what] += 1
