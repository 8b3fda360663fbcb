"""A throw-away PostgreSQL server: the real one, for as long as a test session or a benchmark.

Rules: it never touches a cluster of the machine; it has its own directory, listens on a Unix socket inside it and
nowhere else (so no port can collide). For tests it writes nothing through to disk (`QUICK`); for benchmarks it has its
defaults (`DURABLE`). It refuses to run as root, so root runs it as the package's user ``postgres``. It ends with the
context manager, and with the thread that started it should that be killed.
"""

import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

OLDEST_MAJOR = 15
"""What the schema is promised for."""

PACKAGED_SERVERS = Path("/usr/lib/postgresql")
"""Where Debian keeps servers, by major version. ``PATH`` comes second: it may hold wrappers, or clients only."""

DISK = "/var/tmp"
"""Where a benchmark's data goes: a disk, unlike /tmp on some machines, and open to the server's own user."""

START_SECONDS = 30.0
STOP_SECONDS = 10.0
INITDB_SECONDS = 120.0
SERVER_USER = "postgres"

_COMMON = (
    "listen_addresses=",
    # Containers are often given a /dev/shm of 64 MB or none.
    "dynamic_shared_memory_type=mmap",
)
QUICK = (
    *_COMMON,
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=20",
)
"""For tests: nothing is kept beyond them."""
DURABLE = _COMMON
"""For benchmarks: as PostgreSQL comes, which is an fsync before a commit is answered."""


class PostgresMissing(RuntimeError):  # noqa: N818 - named in tests and instructions
    """No server of a supported version is installed."""


def find_postgres() -> Path | None:
    """The ``bin`` directory of the newest PostgreSQL server from `OLDEST_MAJOR` on, or None."""
    versions = sorted(PACKAGED_SERVERS.glob("*/bin"), key=lambda found: _number(found.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    candidates = versions + ([Path(on_path).resolve().parent] if on_path else [])
    return next((found for found in candidates if _major_version(found) >= OLDEST_MAJOR), None)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server: its DSN, the directory of its socket, and the pid of its first process."""

    dsn: str
    directory: Path
    pid: int


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a fresh server for tests and give a psycopg DSN of its empty database; see `postgres_server`."""
    # Not tempfile's default: TMPDIR may be closed to the server's user, or too long for a socket's path (107 bytes).
    with postgres_server("/tmp", QUICK) as server:
        yield server.dsn


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server's files and its socket are, and how its programs are run there.

    Attributes:
        directory: holds everything; open to the server's user.
        binaries: the server's programs.
        owner: the user whose it is, None for the one who runs this.
        port: the name of the socket ends with it; no address is listened on unless the settings say so.
    """

    directory: Path
    binaries: Path
    owner: pwd.struct_passwd | None
    port: int = 5432

    @property
    def cluster(self) -> Path:
        """The server's data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "log"

    @property
    def dsn(self) -> str:
        """How to connect."""
        return f"host={self.directory} port={self.port} user={SERVER_USER} dbname=postgres"

    def create_cluster(self) -> None:
        """Make an empty database.

        Raises:
            RuntimeError: the program said why not.
        """
        options = [f"--username={SERVER_USER}", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        _run(self, [*_as_user(self.owner), self.binaries / "initdb", "-D", self.cluster, *options])

    def copy_cluster(self, conninfo: str) -> None:
        """Make a standby: copy the database of a server that runs, and follow it from then on.

        Raises:
            RuntimeError: the program said why not.
        """
        options = ["--checkpoint=fast", "--no-sync", "--write-recovery-conf", f"--dbname={conninfo}"]
        _run(self, [*_as_user(self.owner), self.binaries / "pg_basebackup", "-D", self.cluster, *options])

    def start(self, settings: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start the server, without waiting for it. The kernel ends it when the calling thread ends."""
        options = [argument for setting in (f"port={self.port}", *settings) for argument in ("-c", setting)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*_as_user(self.owner), self.binaries / "postgres", "-D", self.cluster, "-k", self.directory, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
            )

    def await_ready(self, server: subprocess.Popen[bytes]) -> None:
        """Wait until it takes connections.

        Raises:
            RuntimeError: it does not come up.
        """
        await_answer(server, "PostgreSQL", self.dsn, self.log, START_SECONDS)


def await_answer(process: subprocess.Popen[bytes], name: str, dsn: str, log: Path, seconds: float) -> None:
    """Wait until what was started serves a database, for at most so many seconds.

    Raises:
        RuntimeError: it does not come up; the message has its log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=5).close()
        except psycopg.OperationalError as refusal:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {refusal}\n{log.read_text()}") from refusal
            time.sleep(0.05)
        else:
            return


@contextmanager
def place_for_server(parent: str, port: int = 5432) -> Iterator[Place]:
    """A directory for a server, which is removed afterwards. `parent` is short, and open to the server's user.

    Raises:
        PostgresMissing: no server is installed.
    """
    binaries = find_postgres()
    if binaries is None:
        raise PostgresMissing(f"no PostgreSQL server >= {OLDEST_MAJOR}: run `python -m tests --prepare`")
    directory = Path(tempfile.mkdtemp(prefix="djactors-pg-", dir=parent))
    try:
        yield Place(directory, binaries, _give_away(directory), port)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def postgres_server(parent: str, settings: Sequence[str], port: int = 5432) -> Iterator[PostgresServer]:
    """Run a fresh server with an empty database ``postgres``, owned by a superuser of that name.

    Args:
        parent: where its directory is made; short, and open to the server's user.
        settings: ``name=value`` each.
        port: the name of the socket ends with it; no address is listened on unless the settings say so.

    Start it from a thread that outlives it (the kernel ends the server when that thread ends).
    Raises `PostgresMissing`, or RuntimeError with the server's log when it does not come up.
    """
    with place_for_server(parent, port) as place:
        place.create_cluster()
        server = place.start(settings)
        try:
            place.await_ready(server)
            yield PostgresServer(place.dsn, place.directory, server.pid)
        finally:
            stop(server)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _major_version(binaries: Path) -> int:
    server = binaries / "postgres"
    if not (server.is_file() and (binaries / "initdb").is_file()):
        return 0
    shown = subprocess.run([server, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"postgres \(PostgreSQL\) ([0-9]{1,3})", shown.stdout)
    return int(match[1]) if match else 0


def as_server_user(directory: Path) -> list[str]:
    """Hand the directory to the server's user; the command prefix that runs a program as that user."""
    return _as_user(_give_away(directory))


def _give_away(directory: Path) -> pwd.struct_passwd | None:
    """Hand the directory to the server's user, where that is somebody else."""
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise PostgresMissing(f"PostgreSQL refuses to run as root and there is no user {SERVER_USER!r}") from None
    os.chown(directory, account.pw_uid, account.pw_gid)
    return account


def _as_user(owner: pwd.struct_passwd | None) -> list[str]:
    """The command prefix that runs a program as this user, and ends it with the thread that started it."""
    prefix = ["setpriv", "--pdeathsig", "INT"]
    if owner is not None:
        prefix += [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--init-groups"]
    return prefix


def _run(place: Place, command: list[str | Path]) -> None:
    """Run one of the server's programs to its end."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=place.directory,
        timeout=INITDB_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server: a fast shutdown, then an immediate one, then the kernel's."""
    for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        server.send_signal(request)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
