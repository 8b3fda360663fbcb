"""Builds the page: for a wheel or an editable install, as hatchling asks, and for the tests.

Rules: its tools run on the Node of `djactors.web.node`. Nothing is built where the page is newer than all its sources,
and what failed to build is not left behind.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from djactors.web.node import NpmFailed, install, npm

WEB = Path(__file__).parent
SOURCES = (
    *("src", "packages/react/src", "public", "scripts"),
    *("index.html", "vite.config.js", "package.json", "package-lock.json"),
)
"""What the built page depends on, files and folders."""


def for_wheel(target_name: str, version: str) -> None:
    """Build for hatch-jupyter-builder, whatever the target."""
    build_page(print)


def build_page(say: Callable[[str], None], web: Path = WEB) -> None:
    """Install the page's dependencies and build it, each only if needed. Raises `NpmFailed`."""
    install(web, say)
    if not is_built(web):
        say(f"building the page in {web}: npm run build")
        if npm("run", "build", folder=web).returncode != 0:
            # It may have got as far as a page that is over its budget, which would pass for a good one next time.
            shutil.rmtree(web / "dist", ignore_errors=True)
            raise NpmFailed(f"npm run build failed in {web}")


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
