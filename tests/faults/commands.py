"""Commands of an operator that must end by themselves, and what they say last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trio

from tests.serving import SECRET, ServedProcess

CLI = (sys.executable, "-W", "error", "-m", "djactors.cli")
PATIENCE = 30


# Root may write everything, unless this is taken from it.
NO_ROOT = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()


async def command(
    *arguments: str | Path, folder: Path, bound_by_rights: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """`djactors` with these arguments. `bound_by_rights`: it may write only what the rights of a file let its owner."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("DJACTORS_", "JWT_"))}
    variables |= {"JWT_SECRET": SECRET, "SOCKET_PORT": "0"}
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            [*(NO_ROOT if bound_by_rights else ()), *CLI, *map(str, arguments)],
            cwd=folder,
            env=variables,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


def refusal(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line by which a command that did nothing says why."""
    assert done.returncode == 1, done
    assert b"listening" not in done.stdout
    return last_words(done.stderr.decode())


def complaint(server: ServedProcess) -> str:
    """The one line by which a server said why it ended."""
    return last_words(server.errors.read_text())


def last_words(text: str) -> str:
    assert "Traceback" not in text, text
    [line] = [line for line in text.splitlines() if line.startswith("djactors: ")]
    return line
