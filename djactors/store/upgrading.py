"""What an upgrade of a database's schema will do, about how long it will take, and how far it is.

Rules:

- The time is estimated from the numbers of rows and the bytes, with costs that were measured once on an ordinary
  machine (`Costs`). So the estimate is rough, and it is told in round numbers.
- While the upgrade runs, the time that is left is estimated anew from how long the steps took that are done. A machine
  that is ten times slower shows after the first step.
- An upgrade can be stopped. The migration that is under way is undone, and the next start goes on with it.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from djactors.store.errors import MigrationError
from djactors.store.migrations import Dialect, Migration, lines_for, statements

__all__ = [
    "COPY",
    "COPY_BYTES_A_SECOND",
    "UNWATCHED",
    "Contents",
    "Costs",
    "Course",
    "Plan",
    "Step",
    "UpgradeStopped",
    "Watcher",
    "about",
    "require_going_on",
    "steps_of",
]


class UpgradeStopped(MigrationError):  # noqa: N818 -- somebody asked for it
    """Somebody asked the upgrade to stop; nothing is half done, and the next start goes on."""


class Watcher(Protocol):
    """Who looks at an upgrade, on the thread that upgrades."""

    def begins(self, step: str) -> None:
        """The step of this name begins; the one before it is done."""

    def goes_on(self) -> bool:
        """Whether to go on. It is called every few milliseconds, as far as the engine can."""


class _Nobody:
    def begins(self, step: str) -> None:
        pass

    def goes_on(self) -> bool:
        return True


UNWATCHED: Watcher = _Nobody()


def require_going_on(watcher: Watcher, migration: str) -> None:
    """Raise before a migration that shall not begin.

    Raises:
        UpgradeStopped: the watcher asked for it.
    """
    if not watcher.goes_on():
        raise UpgradeStopped(f"stopped before {migration}: the next start goes on with it")


@dataclass(frozen=True, slots=True)
class Contents:
    """How much a database holds.

    Attributes:
        rows: how many rows each table has.
        bytes: what the database takes on the disk.
    """

    rows: Mapping[str, int]
    bytes: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What the parts of an upgrade take, in microseconds for each row.

    Attributes:
        check: to look whether the row points at rows that exist, after each migration.
        index: to put the row into a new index.
        write: to write the row anew.
    """

    check: float
    index: float
    write: float


STEP_SECONDS = 0.05
"""What a migration takes beside its rows: its transaction with two fsyncs, and the move of the log into the file."""

COPY_BYTES_A_SECOND = 40e6
"""How fast a file is copied and the copy checked, as measured with the same file."""

COPY = "the copy"
"""The name of the step that copies the database before anything is changed."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of an upgrade, and the seconds that it is expected to take."""

    name: str
    seconds: float


_COMMENT = re.compile(r"--[^\n]*")
_INDEX = re.compile(r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+\w+\s+ON\s+(\w+)", re.IGNORECASE)
_WRITE = re.compile(r"\s*(?:UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)
_FILL = re.compile(r"\s*INSERT\s+INTO\b.*\bFROM\s+(\w+)", re.IGNORECASE | re.DOTALL)


def steps_of(migrations: Sequence[Migration], engine: Dialect, contents: Contents, costs: Costs) -> list[Step]:
    """The steps of an upgrade by these migrations, one for each.

    New columns cost nothing for each row on either engine, and a table that a migration makes has no rows.
    """
    all_rows = sum(contents.rows.values())
    steps = []
    for migration in migrations:
        script = _COMMENT.sub("", lines_for(engine, migration.sql))
        micros = all_rows * costs.check
        for statement in statements(script):
            for pattern, cost in ((_INDEX, costs.index), (_WRITE, costs.write), (_FILL, costs.write)):
                if found := pattern.match(statement):
                    micros += contents.rows.get(found[1].lower(), 0) * cost
        steps.append(Step(migration.name, STEP_SECONDS + micros / 1e6))
    return steps


@dataclass(frozen=True, slots=True)
class Plan:
    """What an upgrade will do.

    Attributes:
        database: which database it is, as it may be shown.
        migrations: the names of the migrations that it lacks.
        contents: how much it holds.
        steps: the parts of the upgrade in order. The first one is `COPY` where a copy is made.
        copy: where the copy goes; None where none is made.
        left_out: why no copy is made.
    """

    database: str
    migrations: tuple[str, ...]
    contents: Contents
    steps: tuple[Step, ...]
    copy: Path | None
    left_out: str | None

    @property
    def seconds(self) -> float:
        """How long all of it is expected to take."""
        return sum(step.seconds for step in self.steps)

    def lines(self) -> Iterator[str]:
        """What will be done, in sentences for the person who upgrades."""
        first, last = self.migrations[0], self.migrations[-1]
        count = len(self.migrations)
        which = first if count == 1 else f"{first} to {last} ({count} migrations)"
        rows = sum(self.contents.rows.values())
        yield (
            f"{self.database} is of an older version: it will be upgraded by {which}; it has {rows} rows and "
            f"{self.contents.bytes / 2**20:.1f} MiB, so this takes {about(self.seconds)}"
        )
        if self.copy is None:
            yield f"no copy is made before: {self.left_out}"
        else:
            yield f"before anything is changed, it is copied to {self.copy}"


class Course:
    """How far an upgrade is. The thread that upgrades tells it, and any thread may read it.

    Args:
        steps: the steps of the plan.
        monotonic: a clock in seconds.
    """

    def __init__(self, steps: Sequence[Step], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._steps = steps
        self._monotonic = monotonic
        self._began = self._step_began = monotonic()
        self._at = -1
        self._stopped = False

    def begins(self, step: str) -> None:
        """See `Watcher`."""
        for number, each in enumerate(self._steps):
            if each.name == step:
                self._at = number
        self._step_began = self._monotonic()

    def goes_on(self) -> bool:
        """See `Watcher`."""
        return not self._stopped

    def stop(self) -> None:
        """Have the upgrade stop. May be called on any thread, and in a handler of a signal."""
        self._stopped = True

    @property
    def seconds_left(self) -> float:
        """About how long the rest takes."""
        now = self._monotonic()
        done = sum(step.seconds for step in self._steps[: max(self._at, 0)])
        pace = (self._step_began - self._began) / done if done else 1.0
        under_way, *later = self._steps[max(self._at, 0) :]
        rest = max(under_way.seconds * pace - (now - self._step_began), 0.0)
        return rest + pace * sum(step.seconds for step in later)

    def __str__(self) -> str:
        at = max(self._at, 0)
        passed = self._monotonic() - self._began
        return (
            f"upgrading: {self._steps[at].name} ({at + 1} of {len(self._steps)}), {passed:.0f} s so far, "
            f"{about(self.seconds_left)} left"
        )


def about(seconds: float) -> str:
    """A time as somebody says it who does not know it exactly."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {round(seconds, -1):.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.0f} h"
