"""What the kernel says that a process and its descendants used.

A database server is a tree: PostgreSQL has a process for each connection, and ended ones must count as well.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Memory(msgspec.Struct, frozen=True):
    """MiB of a tree. `resident` counts what processes share once for each, `proportional` once in all."""

    resident: float
    proportional: float


def tree(pid: int) -> Iterator[int]:
    """The process and its living descendants."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            children = (thread / "children").read_text().split()
        except OSError:  # the thread ended meanwhile
            continue
        for child in children:
            yield from tree(int(child))


class Activity(msgspec.Struct, frozen=True):
    """What the kernel did for process trees since they began.

    `slept` counts how often a thread gave its core away, to be woken again; `preempted` how often one was made to.
    `written` is in bytes: what was put into the system's cache to be written to a disk.
    """

    slept: int
    preempted: int
    written: int

    def since(self, before: "Activity") -> "Activity":
        """What was done after an earlier look."""
        return Activity(self.slept - before.slept, self.preempted - before.preempted, self.written - before.written)


class Cpu(msgspec.Struct, frozen=True):
    """Seconds of CPU of a tree, in its own code and in the kernel on its behalf."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """Both."""
        return self.user + self.system


def cpu(pid: int) -> Cpu:
    """User and system time of the tree: all threads, and the children that were waited for.

    Fields 14 to 17 of ``stat`` (proc(5)); their grain is a tick, usually 10 ms.
    """
    user = system = 0
    for each in tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended; whoever waits for it has its time
            continue
        user += int(fields[11]) + int(fields[13])
        system += int(fields[12]) + int(fields[14])
    return Cpu(user / _TICKS, system / _TICKS)


def activity(roots: Iterable[int]) -> Activity:
    """What these trees have done, as their living threads and processes tell (``status`` and ``io`` of proc(5))."""
    slept = preempted = written = 0
    for pid in (pid for root in roots for pid in tree(root)):
        try:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                told = dict(line.split(":", 1) for line in (thread / "status").read_text().splitlines())
                slept += int(told["voluntary_ctxt_switches"])
                preempted += int(told["nonvoluntary_ctxt_switches"])
            for line in Path(f"/proc/{pid}/io").read_text().splitlines():
                if line.startswith("write_bytes:"):
                    written += int(line.split()[1])
        except OSError:  # it ended meanwhile
            continue
    return Activity(slept, preempted, written)


def memory(pid: int) -> Memory:
    """What the tree occupies now."""
    resident = proportional = 0.0
    for each in tree(pid):
        try:
            resident += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE / 2**20
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    proportional += int(line.split()[1]) / 1024
        except OSError:
            continue
    return Memory(resident, proportional)


def descriptors(pid: int) -> int:
    """How many files and sockets the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
