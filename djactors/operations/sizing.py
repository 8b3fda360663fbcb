"""What an installation needs of its machine, by how many people use it: memory, descriptors, disk.

The figures were measured by `python -m bench sizing`, which measures them anew. `djactors check` compares the machine
with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 2**20
YEAR: Final = 365

NOTIFICATIONS_A_DAY: Final = 10
"""Notifications that a backend asks for, for each user on each day. It is a guess about busy office work, and so is the
next one; whoever knows better multiplies."""

JOBS_A_DAY: Final = 1
"""Jobs of each user on each day, from their creation to their end."""

EVENTS_A_JOB: Final = 6
"""Domain events in the life of a job: created with an assignee, two comments, submitted, approved, completed."""

USERS: Final = (100, 1_000, 10_000, 50_000)
"""The rows of the table."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    Attributes:
        notification_bytes: what one stored notification takes of the file, with its change and its event.
        held_a_notification: bytes of the file that one notification a day comes to, once old ones are purged as fast as
            new ones come.
        held_a_job: the same of one job a day, without what is kept of it for ever.
        kept_a_job: bytes that are kept of each job for ever, with its comments.
        idle_mib: memory of a server with nobody connected.
        user_kib: memory of each connected user.
        idle_descriptors: file descriptors of a server with nobody connected.
        user_descriptors: file descriptors of each connected user.
    """

    notification_bytes: float
    held_a_notification: float
    held_a_job: float
    kept_a_job: float
    idle_mib: float
    user_kib: float
    idle_descriptors: int
    user_descriptors: float

    def memory_mib(self, users: int) -> float:
        """Memory of a server with so many users connected."""
        return self.idle_mib + users * self.user_kib / 1024

    def descriptors(self, users: int) -> float:
        """File descriptors of a server with so many users connected."""
        return self.idle_descriptors + users * self.user_descriptors

    def disk_bytes(self, users: int) -> float:
        """Bytes of the database after a year."""
        held = NOTIFICATIONS_A_DAY * self.held_a_notification + JOBS_A_DAY * self.held_a_job
        return users * (held + JOBS_A_DAY * YEAR * self.kept_a_job)

    def yearly_bytes(self, users: int) -> float:
        """Bytes by which the database grows in each later year: the jobs and their comments."""
        return users * JOBS_A_DAY * YEAR * self.kept_a_job


MEASURED: Final = Measured(
    notification_bytes=754.0,
    held_a_notification=25_063.0,
    held_a_job=172_298.0,
    kept_a_job=717.0,
    idle_mib=47.8,
    user_kib=9.7,
    idle_descriptors=18,
    user_descriptors=1.0,
)
"""By `python -m bench sizing` of 2026-11-28."""

HEAD: Final = (
    "connected users",
    "events a day",
    "bytes a notification",
    "disk after a year",
    "more each year",
    "memory",
    "descriptors",
)


def rows(measured: Measured = MEASURED) -> Iterator[tuple[str, ...]]:
    """The table, row by row."""
    events = NOTIFICATIONS_A_DAY + JOBS_A_DAY * EVENTS_A_JOB
    for users in USERS:
        yield (
            f"{users:,}",
            f"{users * events:,}",
            f"{measured.notification_bytes:.0f}",
            amount(measured.disk_bytes(users)),
            amount(measured.yearly_bytes(users)),
            amount(measured.memory_mib(users) * MIB),
            f"{measured.descriptors(users):,.0f}",
        )


def amount(count: float) -> str:
    """Bytes with two digits that count, as a size that was estimated deserves."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            shown = count / size
            return f"{shown:.1f} {unit}" if shown < 10 else f"{float(f'{shown:.2g}'):.0f} {unit}"
    return f"{count / 1024:.0f} KiB"


CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how much memory a container may take."""


def memory_of_machine(meminfo: Path = Path("/proc/meminfo"), limits: tuple[Path, ...] = CGROUP_LIMITS) -> int | None:
    """Bytes of memory that this machine or container has; None if it does not say."""
    found: list[int] = []
    with suppress(OSError, ValueError):
        lines = meminfo.read_text().splitlines()
        found.extend(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    for limit in limits:
        try:
            found.append(int(limit.read_text()))
        except (OSError, ValueError):
            # There is none, or it says "max".
            continue
    return min(found, default=None)


def memory_shortage(max_connections: int, memory: int | None) -> str | None:
    """What is wrong with the memory of a machine on which so many may connect; None if it suffices or is not known."""
    if memory is None:
        return None
    wanted = MEASURED.memory_mib(max_connections) * MIB
    if wanted <= memory:
        return None
    return (
        f"{max_connections} connections take about {amount(wanted)}, and there are {amount(memory)}: have more memory, "
        "or lower DJACTORS_MAX_CONNECTIONS"
    )
