"""What a figure was measured on; without it a figure says nothing."""

import os
import platform
import sqlite3
import statistics
import time
from pathlib import Path
from typing import TypedDict

FSYNC_SAMPLES = 50
PAGE = 4096


class Machine(TypedDict):
    """Shown with every result."""

    cpu: str
    cores: int
    memory_mib: int
    system: str
    python: str
    sqlite: str
    fsync_ms: float


def describe(directory: Path) -> Machine:
    """This machine, with the median time of an fsync of one page in `directory`: a commit costs at least that."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        system=platform.platform(),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        fsync_ms=round(_fsync_seconds(directory) * 1000, 3),
    )


def one_line(machine: Machine) -> str:
    """For a table's foot."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']} MiB; Python {machine['python']}, "
        f"SQLite {machine['sqlite']}; fsync {machine['fsync_ms']} ms"
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _fsync_seconds(directory: Path) -> float:
    path = directory / "fsync-probe"
    seconds = []
    with path.open("wb", buffering=0) as file:
        for _ in range(FSYNC_SAMPLES):
            file.write(bytes(PAGE))
            began = time.perf_counter()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(seconds)
