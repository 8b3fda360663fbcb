"""Processes that a benchmark starts, and that never outlive it: ended by pid on failure, Ctrl-C, and its own death."""

import os
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click

START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOOPBACK = "127.0.0.1"
READY = "listening on http://"


class DidNotStartError(click.ClickException):
    """A process ended or was silent; the message has its log."""


@contextmanager
def running(
    command: Sequence[str | Path], log: Path | None, environment: Mapping[str, str], port: int | None = None
) -> Iterator[tuple[int, str, int]]:
    """Run a server until the block ends; its pid, and the host and port from its line ``listening on http://…``.

    One that says no such line is given a `port`, and is up once that answers.

    Without a `log`, its standard error is a full pipe that nobody reads.

    It has a session of its own, so that a Ctrl-C comes to the benchmark alone, which then ends it.

    Raises:
        DidNotStartError: it did not say that line.
    """
    with (
        _full_pipe() if log is None else log.open("ab") as complaints,
        subprocess.Popen(
            [*_follow_us(), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=os.environ | dict(environment),
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process.pid, *(_address(process, log) if port is None else _answering(process, port, log))
        finally:
            stop(process)


@contextmanager
def _full_pipe() -> Iterator[int]:
    """A pipe that takes not a byte more."""
    unread, full = os.pipe()
    try:
        os.set_blocking(full, False)
        with suppress(BlockingIOError):
            while True:
                os.write(full, bytes(4096))
        os.set_blocking(full, True)
        yield full
    finally:
        os.close(unread)
        os.close(full)


def free_port() -> int:
    """A port of the loopback that was free a moment ago, for servers that cannot pick one."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then make it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _follow_us() -> list[str]:
    """What has the kernel end a process should its parent be killed (util-linux; not everywhere)."""
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "TERM"]


def _address(process: subprocess.Popen[bytes], log: Path | None) -> tuple[str, int]:
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    deadline = time.monotonic() + START_SECONDS
    said = b""
    while time.monotonic() < deadline and process.poll() is None:
        if select.select([descriptor], [], [], 0.1)[0]:
            said += os.read(descriptor, 65536)
        for line in said.decode(errors="replace").splitlines(keepends=True):
            if line.startswith(READY) and line.endswith("\n"):
                host, _, port = line.strip().removeprefix(READY).rpartition(":")
                return host, int(port)
    raise DidNotStartError(f"it did not start; it said:\n{said.decode(errors='replace')}\n{_end_of(log)}")


def _answering(process: subprocess.Popen[bytes], port: int, log: Path | None) -> tuple[str, int]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((LOOPBACK, port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return LOOPBACK, port
    raise DidNotStartError(f"it did not start: {_end_of(log)}")


def _end_of(log: Path | None) -> str:
    return "" if log is None else log.read_text()[-4000:]
