"""Peers: the same work as a competent team would do it with the usual tools, for `python -m bench compare`.

Each is a small server in a directory of its own that speaks the same HTTP and Socket.IO: it checks the producer's
token, stores the notification and the unread count durably before it answers, and tells the user. Their versions are
locked; what they need is installed on first use, and again when a lock changes.
"""

import hashlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import psycopg

from bench.load.commands import Target
from bench.peers.nchan import find_nchan, nchan_server
from bench.postgres import DISK, DURABLE, PostgresMissing, postgres_server
from bench.process import running
from djactors.web.node import NODE, NpmFailed, install

__all__ = ["express_server", "find_nchan", "nchan_server", "python_socketio_server"]

EXPRESS = Path(__file__).parent / "express_socketio"
PYTHON = Path(__file__).parent / "python_socketio"
VENV = PYTHON / ".venv"
INSTALL_SECONDS = 300.0


class PeerMissingError(click.ClickException):
    """A peer cannot run here; the message says what it needs."""


@contextmanager
def express_server(directory: Path) -> Iterator[Target]:
    """The seed's stack: Express, Socket.IO and a PostgreSQL of its own.

    Raises PeerMissingError, DidNotStartError.
    """
    try:
        install(EXPRESS, partial(click.echo, err=True))
    except NpmFailed as failure:
        raise PeerMissingError(str(failure)) from failure
    directory.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    try:
        with postgres_server(DISK, DURABLE) as database:
            with psycopg.connect(database.dsn) as connection:
                connection.execute((EXPRESS / "schema.sql").read_bytes())
            environment = {
                "JWT_SECRET": secret,
                "NODE_ENV": "production",
                "PGHOST": str(database.directory),
                "PGUSER": "postgres",
                "PGDATABASE": "postgres",
            }
            command: list[str | Path] = [NODE, EXPRESS / "server.mjs"]
            with running(command, directory / "express.log", environment) as (pid, host, port):
                processes = {"server": pid, "database": database.pid}
                yield Target(name="Express", host=host, port=port, secret=secret, processes=processes)
    except PostgresMissing as missing:
        raise PeerMissingError(str(missing)) from missing


@contextmanager
def python_socketio_server(directory: Path) -> Iterator[Target]:
    """python-socketio on uvicorn and uvloop, with SQLite, in a virtual environment of its own.

    Raises PeerMissingError, DidNotStartError.
    """
    python = _python_with(PYTHON / "requirements.txt")
    directory.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    command: list[str | Path] = [python, PYTHON / "server.py", directory / "peer.db"]
    # Ours are other versions.
    environment = {"JWT_SECRET": secret, "PYTHONPATH": ""}
    with running(command, directory / "python.log", environment) as (pid, host, port):
        yield Target(name="python-socketio", host=host, port=port, secret=secret, processes={"server": pid})


def _python_with(lock: Path) -> Path:
    """The interpreter of `VENV`, which is made, and given the packages of the lock, unless that was done already."""
    python = VENV / "bin" / "python"
    mark = VENV / ".installed-lock"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return python
    click.echo(f"installing what {lock.parent.name} needs", err=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True, timeout=INSTALL_SECONDS)
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", lock],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode:
        raise PeerMissingError(f"{lock.parent.name} could not be installed; it needs a package registry")
    mark.write_text(wanted)
    return python
