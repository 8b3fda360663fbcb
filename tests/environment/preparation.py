"""Brings a fresh Debian machine to where the whole suite runs: PostgreSQL, Node, Chromium, the stock clients, the page.

Rules: what is there is left alone, so a prepared machine costs a few process starts and no network. What is missing
is said before it is installed. Only root installs packages; anybody else is told which. No packaged database
cluster is created or started: the tests run their own.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.postgres import OLDEST_MAJOR, find_postgres
from djactors.web.build import PageNotBuilt, build_page

CLIENTS = Path(__file__).parent.parent / "clients"
INSTALLED_LOCK = CLIENTS / "node_modules" / ".installed-lock"
"""The hash of the package-lock.json that ``node_modules`` was made from."""

OLDEST_NODE = 18
"""Debian 12's; the clients themselves would run on older ones."""

NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/djactors-tests.conf")
"""Read by the server package when it is installed; a drop-in, since the main file belongs to the package."""

Say = Callable[[str], None]


class NotPrepared(RuntimeError):
    """Something is missing that cannot be installed from here; the message says what to do."""


def prepare(say: Say) -> None:
    """Install what the tests need and is missing, telling `say` one line for each step.

    Raises `NotPrepared` when it may not, or when an installation failed.
    """
    packages = missing_packages()
    if packages:
        _install_packages(packages, say)
        if still := missing_packages():
            raise NotPrepared(f"installed, but not to be found afterwards: {' '.join(still)}")
    _install_clients(say)
    try:
        build_page(say)
    except PageNotBuilt as failure:
        raise NotPrepared(str(failure)) from failure


def missing_packages() -> list[str]:
    """The Debian packages that the machine lacks."""
    packages = []
    if find_postgres() is None:
        packages.append("postgresql")
    if _node_major() < OLDEST_NODE or shutil.which("npm") is None:
        packages += ["ca-certificates", "nodejs", "npm"]
    if find_chromium() is None:
        # Chromium only recommends a font, and text that no font has would be boxes on the screenshots.
        packages += ["chromium", "fonts-dejavu-core"]
    return packages


def find_chromium() -> str | None:
    """The browser of the browser tests: Debian's."""
    return shutil.which("chromium")


def _node_major() -> int:
    node = shutil.which("node")
    if node is None:
        return 0
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"v([0-9]{1,4})\.", shown)
    return int(match[1]) if match else 0


def _install_packages(packages: list[str], say: Say) -> None:
    what = f"PostgreSQL >= {OLDEST_MAJOR}, Node >= {OLDEST_NODE} with npm, and Chromium"
    by_hand = f"the tests need {what}; as root: apt-get update && apt-get install -y {' '.join(packages)}"
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise NotPrepared(by_hand)
    say(f"installing Debian packages: {' '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _without_packaged_cluster():
        for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
            done = subprocess.run([apt, *arguments], stdin=subprocess.DEVNULL, env=environment, check=False)
            if done.returncode != 0:
                raise NotPrepared(f"apt-get {arguments[0]} failed; {by_hand}")


@contextmanager
def _without_packaged_cluster() -> Iterator[None]:
    if NO_CLUSTER.exists():
        yield
        return
    NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    NO_CLUSTER.write_text("create_main_cluster = false\n")
    try:
        yield
    finally:
        NO_CLUSTER.unlink()


def _install_clients(say: Say) -> None:
    lock = hashlib.sha256((CLIENTS / "package-lock.json").read_bytes()).hexdigest()
    if INSTALLED_LOCK.is_file() and INSTALLED_LOCK.read_text() == lock:
        return
    say(f"installing the stock JavaScript clients into {CLIENTS}: npm ci")
    npm = shutil.which("npm")
    assert npm is not None, "missing_packages() was empty"
    # No package's install script is needed, so none is run.
    arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    if subprocess.run([npm, *arguments], cwd=CLIENTS, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise NotPrepared(f"npm ci failed in {CLIENTS}; it needs the npm registry")
    INSTALLED_LOCK.write_text(lock)
