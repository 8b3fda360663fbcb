"""Brings a fresh Debian machine to where the whole suite runs: programs, libraries, the stock clients, the page.

Rules: `NEEDS` names every program and library that the tests use and that pip does not bring; `test_programs.py` holds
the sources to that. What is there is left alone, so a prepared machine costs a few process starts and no network. What
is missing is said before it is installed. Only root installs packages; anybody else is told which. No packaged
database cluster is created, and no service is started: the tests run their own.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.postgres import OLDEST_MAJOR, find_postgres
from djactors.web.build import build_page
from djactors.web.node import NpmFailed, install

CLIENTS = Path(__file__).parent.parent / "clients"
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
"""Where fontconfig looks."""

FAKETIME = "/usr/lib"
"""Where Debian has a folder for each kind of machine, and in that the library that sets the clock of a process."""

NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/djactors-tests.conf")
"""Read by the server package when it is installed; a drop-in, since the main file belongs to the package."""

NO_SERVICES = Path("/usr/sbin/policy-rc.d")
"""Asked by packages before they start a service; 101 stands for no. A machine may have one of its own."""

Say = Callable[[str], None]


class NotPrepared(RuntimeError):
    """Something is missing that cannot be installed from here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that the tests use: a program by the name that it is started by, or else `found` tells whether it is
    there. `package` is Debian's, `users` are those who use it."""

    name: str
    package: str
    users: str
    found: Callable[[], bool] | None = None

    def is_there(self) -> bool:
        """Whether the machine has it."""
        return shutil.which(self.name) is not None if self.found is None else self.found()


def find_chromium() -> str | None:
    """The browser of the browser tests: Debian's."""
    return shutil.which("chromium")


def _has_postgres() -> bool:
    return find_postgres() is not None


def _has_libatomic() -> bool:
    try:
        ctypes.CDLL("libatomic.so.1")
    except OSError:
        return False
    return True


def find_faketime() -> Path | None:
    """The library that sets the clock of a process it is loaded into."""
    return next(Path(FAKETIME).glob("*/faketime/libfaketimeMT.so.1"), None)


def _has_faketime() -> bool:
    return find_faketime() is not None


def _has_font() -> bool:
    folders = [Path(folder).expanduser() for folder in FONTS]
    return any(file.suffix in (".ttf", ".otf") for folder in folders for file in folder.rglob("*"))


NEEDS = (
    # Essential on Debian, and named all the same: another system may lack them.
    Need("sh", "dash", "the demo's lines, the build of the wheel, npm's scripts"),
    Need("bash", "bash", "README's commands, servers with a broken standard error"),
    Need("cat", "coreutils", "the page that the tests of the build make"),
    Need("mkdir", "coreutils", "the page that the tests of the build make"),
    Need("mktemp", "coreutils", "the demo's lines"),
    Need("sed", "sed", "the lines of the examples"),
    Need("chroot", "coreutils", "`.ci/container`, for the steps of the container file"),
    Need("setpriv", "util-linux", "PostgreSQL and the bench's servers, which end with whoever started them"),
    Need("mount", "mount", "the tests of faults: a small disk"),
    Need("umount", "mount", "the same"),
    # Not on every Debian.
    Need("git", "git", "the tests of README and of the wheel, which copy what is tracked"),
    Need("curl", "curl", "README's guides, the demo's lines, the tests that post as a backend developer would"),
    Need("strace", "strace", "the tests of faults: system calls that fail or kill"),
    Need("libfaketimeMT.so.1", "libfaketime", "the tests of faults: clocks that jump", _has_faketime),
    Need("systemd-analyze", "systemd", "the tests of the units for systemd, which are only read"),
    Need("openssl", "openssl", "README's guides"),
    Need("postgres", "postgresql", f"the schema's tests and the Express peer; from {OLDEST_MAJOR} on", _has_postgres),
    Need("initdb", "postgresql", "the same", _has_postgres),
    Need("pg_basebackup", "postgresql", "the chaos suite's standby", _has_postgres),
    Need("pgbouncer", "pgbouncer", "the tests of PostgreSQL behind a pooler"),
    Need("psql", "postgresql", "README's guide to PostgreSQL"),
    Need("pg_dump", "postgresql", "the tests of backups on PostgreSQL"),
    Need("pg_restore", "postgresql", "the same"),
    Need("nginx", "nginx", "the tests of servers behind a proxy"),
    Need("haproxy", "haproxy", "the same"),
    Need("apache2", "apache2-bin", "the same"),
    Need("caddy", "caddy", "the same"),
    Need("promtool", "prometheus", "the tests of the alert rules"),
    Need("prometheus", "prometheus", "the example for Prometheus"),
    Need("javac", "default-jdk-headless", "the example in Java"),
    Need("java", "default-jdk-headless", "the same"),
    Need("chromium", "chromium", "the tests of the page"),
    # Chromium only recommends a font, and text that no font has would be boxes on the screenshots.
    Need("a font", "fonts-dejavu-core", "Chromium", _has_font),
    Need("libatomic.so.1", "libatomic1", "the Node inside Playwright's wheel", _has_libatomic),
)
"""What must be installed. Node and npm are not among it: they come as a wheel (`djactors.web.node`)."""


def prepare(say: Say) -> None:
    """Install what the tests need and is missing, telling `say` one line for each step.

    Raises `NotPrepared` when it may not, or when an installation failed.
    """
    needs = missing()
    if needs:
        _install_packages(needs, say)
        if still := missing():
            raise NotPrepared(f"installed, but not to be found afterwards: {_listed(still)}")
    try:
        install(CLIENTS, say)
        build_page(say)
    except NpmFailed as failure:
        raise NotPrepared(str(failure)) from failure


def missing() -> list[Need]:
    """What the machine lacks."""
    return [need for need in NEEDS if not need.is_there()]


def _listed(needs: list[Need]) -> str:
    return "; ".join(f"{need.name} (for {need.users})" for need in needs)


def _install_packages(needs: list[Need], say: Say) -> None:
    packages = list(dict.fromkeys(need.package for need in needs))
    by_hand = f"as root: apt-get update && apt-get install -y {' '.join(packages)}"
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise NotPrepared(f"the tests need {_listed(needs)}; {by_hand}")
    say(f"installing Debian packages: {' '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _without_packaged_cluster(), _without_services():
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


@contextmanager
def _without_services() -> Iterator[None]:
    if NO_SERVICES.exists():
        yield
        return
    NO_SERVICES.write_text("#!/bin/sh\nexit 101\n")
    NO_SERVICES.chmod(0o755)
    try:
        yield
    finally:
        NO_SERVICES.unlink()
