"""Rows 1 to 3 and 32: kill -9, power loss and a failing fsync, at chosen system calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.faults.backend import ENVIRONMENT, Backend
from tests.faults.strace import tampering
from tests.serving import ServedProcess, serving

PATIENCE = 30
WAL = "-wal"
MIGRATE = (sys.executable, "-m", "djactors.cli", "migrate", "--database", "inbox.db")

pytestmark = pytest.mark.usefixtures("tracing")


def file_of(server: ServedProcess, suffix: str) -> Path:
    return server.database.with_name(server.database.name + suffix)


def complaint(server: ServedProcess) -> str:
    """The one line that says why it ended."""
    text = server.errors.read_text()
    assert "Traceback" not in text, text
    [line] = [line for line in text.splitlines() if line.startswith("djactors: ")]
    return line


async def take_up_again(tmp_path: Path, backend: Backend) -> None:
    """A restart is clean: the backend retries, and what it was acknowledged before has the answer of then."""
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        assert (await server.request("GET", "/readyz")).status == 200
        await backend.post_again(server)
        assert await server.stop() == 0
    assert "Traceback" not in server.errors.read_text()
    backend.judge(server.database)


@pytest.mark.parametrize(
    ("suffix", "call", "number"),
    [
        # An event writes some twenty pieces of the log, then syncs it once.
        pytest.param(WAL, "pwrite64", 1, id="first-write"),
        pytest.param(WAL, "pwrite64", 33, id="middle-of-a-commit"),
        pytest.param(WAL, "fdatasync", 3, id="fsync-of-a-commit"),
        # The log is moved into the database: by a quiet writer, or at the end.
        pytest.param("", "pwrite64", 2, id="middle-of-a-checkpoint"),
        pytest.param("", "fdatasync", 1, id="fsync-of-a-checkpoint"),
    ],
)
async def test_row_1_killed_at_a_write_or_an_fsync(tmp_path: Path, suffix: str, call: str, number: int) -> None:
    backend = Backend()
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        for _ in range(3):
            assert await backend.post(server) == 201
        async with tampering(server, call, f"signal=KILL:when={number}", file_of(server, suffix)):
            for _ in range(10):
                if await backend.post(server) is None:
                    break
            else:
                server.process.send_signal(signal.SIGTERM)
            with trio.fail_after(PATIENCE):
                assert await server.process.wait() == -signal.SIGKILL
    await take_up_again(tmp_path, backend)


@pytest.mark.parametrize(
    ("suffix", "call", "error"),
    [
        pytest.param(WAL, "fdatasync", "EIO:when=2", id="fsync-of-a-commit"),
        pytest.param(WAL, "pwrite64", "EIO:when=40", id="write-of-a-commit"),
        pytest.param("", "fdatasync", "EIO", id="fsync-of-a-checkpoint"),
        pytest.param("", "pwrite64", "EIO", id="write-of-a-checkpoint"),
    ],
)
async def test_row_3_a_disk_that_fails_ends_the_server_with_a_clear_line(
    tmp_path: Path, suffix: str, call: str, error: str
) -> None:
    backend = Backend()
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        assert await backend.post(server) == 201
        async with tampering(server, call, f"error={error}", file_of(server, suffix)):
            if suffix == WAL:
                # The commit that failed is answered 503.
                assert await backend.post_until(server, 503) == 503
            # A writer that has nothing to do moves the log into the database by itself.
            with trio.fail_after(PATIENCE):
                assert await server.process.wait() == 1
    line = complaint(server)
    assert str(server.database) in line
    assert "input/output error" in line
    await take_up_again(tmp_path, backend)


@pytest.mark.parametrize(("call", "number"), [("pwrite64", 2), ("pwrite64", 30), ("fdatasync", 1), ("fdatasync", 3)])
def test_row_32_killed_in_the_middle_of_the_migrations(tmp_path: Path, call: str, number: int) -> None:
    trace = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e"]
    inject = f"inject={call}:signal=KILL:when={number}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJACTORS_")}
    killed = subprocess.run([*trace, inject, *MIGRATE], cwd=tmp_path, env=environment, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed
    again = subprocess.run(MIGRATE, cwd=tmp_path, env=environment, check=False, capture_output=True)
    assert again.returncode == 0, again
    assert again.stdout.endswith(b"inbox.db is up to date\n")
