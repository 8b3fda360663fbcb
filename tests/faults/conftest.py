"""What this machine allows. Each fault that it forbids is found by trying, and the test that needs it is skipped.

In CI, where the variable `CI` is set, such a test fails instead: a promise that nobody has tried is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.environment.preparation import find_faketime

TMPFS_BYTES = 8 * 2**20
"""Room for a new database with its log, and for some thousand events."""

CHILD = "import sys; print('up', flush=True); sys.stdin.read()"


def not_here(why: str) -> NoReturn:
    """Leave a test out, with the reason; in CI, fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"in CI no test of a fault is skipped, but {why}; unset CI to skip it", pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session")
def tracing() -> None:
    """Skip unless strace may look into a process that runs already."""
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        tracer = subprocess.Popen(["strace", "-f", "-p", str(child.pid)], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        tracer.terminate()
        tracer.communicate()
        child.communicate()
    if "attached" not in said:
        not_here(f"this machine lets nobody trace a process: {said.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own with little room; skip where nothing may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with _mounted(folder, mode="700"):
        yield folder


@pytest.fixture
def small_disk_for_all() -> Iterator[Path]:
    """The same, but where every user gets to."""
    with tempfile.TemporaryDirectory(prefix="djactors-disk-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        folder = Path(name) / "disk"
        folder.mkdir()
        with _mounted(folder, mode="711"):
            yield folder


@contextmanager
def _mounted(folder: Path, mode: str) -> Iterator[None]:
    options = f"size={TMPFS_BYTES},mode={mode}"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        not_here(f"this machine lets nobody mount a disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def faketime() -> Path:
    """The library that sets a process's clock."""
    library = find_faketime()
    assert library is not None, "`python -m tests --prepare` installs libfaketime"
    return library
