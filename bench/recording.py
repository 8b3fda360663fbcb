"""What the threads of a process do, stretch by stretch: in a system call, or in their own code between two of them.

Linux' `perf` notes when a system call begins and ends, and when a thread loses and gets a core. Each note takes less
than a microsecond, and nothing is stopped, unlike under a tracer such as strace. It needs root, or
``kernel.perf_event_paranoid`` at -1.
"""

import os
import platform
import re
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec

OWN: Final = "own code"
"""The name of a stretch between two system calls: Python, and what it calls."""

NAMES: Final = {
    0: "read", 1: "write", 17: "pread64", 18: "pwrite64", 44: "sendto", 45: "recvfrom", 72: "fcntl", 75: "fdatasync",
    202: "futex", 232: "epoll_wait", 233: "epoll_ctl", 262: "newfstatat", 281: "epoll_wait",
}  # fmt: skip
"""System calls of x86-64 by their numbers; others are called by these. `epoll_pwait` stands for `epoll_wait`."""

_FUTEX_OPERATION: Final = 0x7F
"""The bits of a futex call's second argument that say what it does (futex(2)); 1 is to wake."""

_LINE = re.compile(
    r"\s*(?P<thread>\d+)\s+(?P<seconds>\d+)\.(?P<nanoseconds>\d{9}):\s+"
    r"(?:raw_syscalls:sys_(?P<end>enter|exit): NR (?P<number>\d+) (?:\((?P<arguments>[^)]*)\)|= (?P<result>-?\d+))"
    r"|PERF_RECORD_SWITCH (?P<switch>IN|OUT))"
)


class Stretch(msgspec.Struct):
    """A system call of a thread, or its own code between two of them.

    Attributes:
        thread: its number.
        name: the call's, or `OWN`.
        began, ended: in µs of the machine's clock.
        busy: µs of these in which it had a core.
        lost: how often it lost its core meanwhile, because it waits or has to give way.
        arguments: the call's.
        result: what the call returned; negative for an error.
    """

    thread: int
    name: str
    began: float
    arguments: tuple[int, ...] = ()
    ended: float = 0.0
    busy: float = 0.0
    lost: int = 0
    result: int = 0

    @property
    def wakes(self) -> bool:
        """Whether it is a futex call that wakes another thread; otherwise one waits."""
        return self.name == "futex" and self.arguments[1] & _FUTEX_OPERATION == 1


@contextmanager
def recording(pid: int, file: Path) -> Iterator[None]:
    """Record all threads of a process during the block; `stretches` reads the file.

    Raises:
        click.ClickException: `perf` is not there, or may not look, or this is another machine than an x86-64.
    """
    if platform.machine() != "x86_64":
        raise click.ClickException(f"knows the system calls of x86-64 only, not of {platform.machine()}")
    perf = shutil.which("perf")
    if perf is None:
        raise click.ClickException("needs Linux' perf (Debian: apt-get install linux-perf)")
    told, tell = os.pipe()
    hear, heard = os.pipe()
    with subprocess.Popen(
        [perf, "record", "-o", str(file), "-e", "raw_syscalls:sys_enter,raw_syscalls:sys_exit", "--switch-events",
         "-p", str(pid), "--delay=-1", f"--control=fd:{told},{heard}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=(told, heard), text=True,
    ) as process:  # fmt: skip
        os.close(told)
        os.close(heard)
        try:
            # It answers once it records, or its end of the pipe is closed because it has given up.
            os.write(tell, b"enable\n")
            os.read(hear, 16)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate()
            os.close(tell)
            os.close(hear)
    if not file.exists():
        raise click.ClickException(f"perf could not look: {complaint.strip()}")


def stretches(file: Path) -> list[Stretch]:
    """All whole stretches of a recording, by their ends."""
    told = subprocess.run(
        ["perf", "script", "--ns", "--show-switch-events", "-F", "tid,time,event,trace", "-i", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return parse(told.stdout)


def parse(text: str) -> list[Stretch]:
    """What `perf script` has told, as stretches. The first and the last of each thread are left out, since a part is
    missing."""
    done: list[Stretch] = []
    under_way: dict[int, Stretch] = {}
    # Since when a thread has its core; None while it has none.
    running: dict[int, float | None] = defaultdict(lambda: None)
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread = int(match["thread"])
        now = int(match["seconds"]) * 1e6 + int(match["nanoseconds"]) / 1e3
        stretch = under_way.get(thread)
        since = running[thread]
        if stretch is not None and since is not None:
            stretch.busy += now - since
        running[thread] = None if match["switch"] == "OUT" else now
        if match["switch"]:
            if stretch is not None and match["switch"] == "OUT":
                stretch.lost += 1
            continue
        if stretch is not None:
            stretch.ended = now
            stretch.result = int(match["result"] or 0)
            done.append(stretch)
        if match["end"] == "enter":
            number = int(match["number"])
            arguments = tuple(int(each, 16) for each in match["arguments"].split(", "))
            under_way[thread] = Stretch(thread, NAMES.get(number, f"call {number}"), now, arguments)
        else:
            under_way[thread] = Stretch(thread, OWN, now)
    done.sort(key=lambda each: each.ended)
    return done
