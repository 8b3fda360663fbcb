"""An example as somebody has it who follows its README: its files in a folder of their own, and its two lines.

The lines run as they are written, in a shell in which djactors is installed and its virtual environment active. That
environment is made from the one of the tests, which is seen through it: pip finds djactors and what it needs there, and
installs the rest. So an example takes seconds. `test_wheel` installs djactors itself into an empty environment.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.serving import STOP_SECONDS, make_token
from tests.web.site import Site

EXAMPLES = Path(__file__).parents[2] / "djactors" / "examples"
INSTALL_SECONDS = 180
POLL_SECONDS = 0.1
"""Between two looks at what tells nobody that it has changed."""

PATIENCE = 60
"""Seconds for what a program is waited for: far above what is slow on a busy machine."""


def shell_blocks(name: str) -> list[str]:
    """The shell's blocks in the README of an example. The first one has its two lines, the second one tries it."""
    return re.findall(r"^```sh\n(.*?)\n```$", (EXAMPLES / name / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def two_lines(name: str) -> tuple[str, str]:
    """The line that installs an example and the line that runs it."""
    install, run = shell_blocks(name)[0].split("\n")
    return install, run


class Program:
    """A program that is running; `output` is what it has said so far, standard error among it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.output = ""

    def expect(self, text: str, times: int = 1) -> None:
        """Wait until it has said this so often. Raises `AssertionError`."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while self.output.count(text) < times and selector.select(max(0.0, deadline - time.monotonic())):
                if not (chunk := os.read(self.process.stdout.fileno(), 1 << 16)):
                    break
                self.output += chunk.decode()
        assert self.output.count(text) >= times, f"it does not say {text!r}: {self.output[-4000:]}"


class Example:
    """A copy of an example, with the shell that its lines are typed into."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self.folder = folder / name
        shutil.copytree(EXAMPLES / name, self.folder)
        self._variables = dict(variables)

    def run(self, line: str) -> str:
        """Run a line to its end, which must be a good one; returns what it printed."""
        done = subprocess.run(
            ["bash", "-euc", line],
            cwd=self.folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-4000:]}"
        return done.stdout

    def install(self) -> None:
        """Type the first line."""
        self.run(two_lines(self.name)[0])

    @contextmanager
    def running(self, line: str | None = None) -> Iterator[Program]:
        """Type the second line, or another one, and have it run. The program and its children are gone afterwards."""
        process = subprocess.Popen(
            ["bash", "-euc", line or two_lines(self.name)[1]],
            cwd=self.folder,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Program(process)
        finally:
            # Those of its own session, by its id.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)
            if process.stdout is not None:
                process.stdout.close()

    def try_it(self, port: int) -> str:
        """Type what the README says next; the example listens on this port instead of its usual one."""
        line = re.sub(r"http://127\.0\.0\.1:\d+", f"http://127.0.0.1:{port}", shell_blocks(self.name)[1])
        return self.run(line)


Installed = Callable[[str], Example]
"""Makes a copy of the example of that name, and types its first line."""


def active_environment(folder: Path) -> Path:
    """Make a virtual environment through which the tests' own is seen; returns its `bin`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    binaries = folder / "bin"
    [packages] = folder.glob("lib/python*/site-packages")
    own = sysconfig.get_path("purelib")
    (packages / "tests.pth").write_text(f"import site; site.addsitedir({own!r})\n")
    for name, module in (("pip", "pip"), ("djactors", "djactors.cli")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{binaries / "python"}" -m {module} "$@"\n')
        (binaries / name).chmod(0o755)
    return binaries


def inbox(site: Site, user: int = 2) -> list[str]:
    """The titles of a user's notifications, newest first."""
    listed = site.request("GET", "/api/notifications", make_token(tenant_id=1, user_id=user))
    return [item["title"] for item in listed["items"]]


def wait_for(condition: Callable[[], bool]) -> None:
    """Look until it holds, of those who tell nobody when it does."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    assert condition()
