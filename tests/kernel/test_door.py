"""The front door of the kernel: its example runs as it stands."""

import subprocess
import sys

from tests.typing.test_typing import kernel_program

PATIENCE = 30


def test_the_example_runs_as_it_stands() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", kernel_program()],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ChildStarted",
        "Ada 2",
        "ChildCrashed",
        "ChildRestarting",
        "votes crashed on this message: ValueError: a vote for nobody",
        "ChildStarted",
        "Ada 3",
        "ChildStopped",
    ]
