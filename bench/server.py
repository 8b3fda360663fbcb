"""The server under test as a process, and what the kernel says that it used."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 30.0
STOP_SECONDS = 20.0
_MAIN = "from djactors.cli import main; main()"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where it listens, and with what its tokens are signed."""

    pid: int
    host: str
    port: int
    secret: str


@contextmanager
def djactors_server(directory: Path) -> Iterator[RunningServer]:
    """Run ``djactors serve`` on a free port with a new database in `directory`.

    Raises RuntimeError with its log when it does not come up.
    """
    secret = secrets.token_hex(32)
    log = directory / "server.log"
    command = [sys.executable, "-c", _MAIN, "serve", "--port", "0", "--database", str(directory / "bench.db")]
    environment = os.environ | {
        "JWT_SECRET": secret,
        "DJACTORS_LOG_LEVEL": "warning",
        # What is measured is the delivery, of more than anybody gets in a day.
        "DJACTORS_DAILY_LIMIT": "1000000000",
        "DJACTORS_POST_RATE": "1000000",
    }
    with (
        log.open("wb") as complaints,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, env=environment
        ) as process,
    ):
        try:
            host, port = _address(process, log)
            yield RunningServer(process.pid, host, port, secret)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> tuple[str, int]:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + START_SECONDS
    said = b""
    while time.monotonic() < deadline and process.poll() is None:
        said += process.stdout.read() or b""
        for line in said.decode(errors="replace").splitlines(keepends=True):
            if line.startswith("listening on http://") and line.endswith("\n"):
                host, _, port = line.strip().removeprefix("listening on http://").rpartition(":")
                return host, int(port)
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start; it said:\n{said.decode(errors='replace')}\n{log.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads, ended ones too (proc(5), fields 14 and 15 of ``stat``)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mib(pid: int) -> float:
    """The memory that it occupies now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
