"""djactors itself as the target of a load: ``djactors serve`` as an operator starts it, on a free port; on an SQLite
file, or on a PostgreSQL server of its own with one node or several."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.load.commands import Target
from bench.postgres import DISK, DURABLE, postgres_server
from bench.process import running

_MAIN = "from djactors.cli import main; main()"

UNBOUND = {
    # What is measured is the delivery, of more than anybody gets in a day.
    "DJACTORS_DAILY_LIMIT": "1000000000",
    "DJACTORS_POST_RATE": "1000000",
    "DJACTORS_POST_BURST": "1000000000",
    "DJACTORS_READ_RATE": "1000000",
    "DJACTORS_READ_BURST": "1000000",
    # How fast the server can let users in, not how fast it wants to; and as many as there are descriptors for.
    "DJACTORS_ADMIT_RATE": "1000000",
    "DJACTORS_ADMIT_BURST": "1000000",
    "DJACTORS_MAX_CONNECTIONS": "1000000",
    "DJACTORS_MAX_CONNECTIONS_PER_ADDRESS": "1000000",
}
"""Limits on what one client may ask for; a load is a great many clients in one. All others are as they come."""


@contextmanager
def djactors_server(
    directory: Path,
    *,
    database: Path | str | None = None,
    secret: str | None = None,
    settings: Mapping[str, str] | None = None,
    checkout: Path | None = None,
    launcher: tuple[Path, Path] | None = None,
    is_log_unread: bool = False,
) -> Iterator[Target]:
    """Serve a new database in `directory`, or a given one; `settings` are added to the environment.

    `database` is a file or a URL. `secret` is what tokens are signed with, a new one by default.
    `checkout` is one of another build, with an environment in `.venv`. `launcher` is a program of the bench that
    serves and measures, such as `turns.py`, and the file in which it puts what it finds. With `is_log_unread` the
    server's standard error is a full pipe that nobody reads.

    Raises DidNotStartError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32) if secret is None else secret
    database = directory / "bench.db" if database is None else database
    # What is installed is served, whatever lies in the current directory.
    command: list[str | Path] = [
        sys.executable if checkout is None else checkout / ".venv" / "bin" / "python",
        "-P",
        *(("-c", _MAIN) if launcher is None else launcher),
        "serve",
        "--port",
        "0",
        "--database",
        database,
    ]
    environment = {"JWT_SECRET": secret, "DJACTORS_LOG_LEVEL": "warning", **UNBOUND, **(settings or {})}
    log = None if is_log_unread else directory / "server.log"
    with running(command, log, environment) as (pid, host, port):
        yield Target(name="djactors", host=host, port=port, secret=secret, processes={"server": pid})


@contextmanager
def djactors_nodes(directory: Path, nodes: int) -> Iterator[Target]:
    """Serve a new database of a PostgreSQL server as it comes, by so many nodes.

    Users connect to the first node; producers post to the last one.

    Raises DidNotStartError, PostgresMissing.
    """
    secret = secrets.token_hex(32)
    with postgres_server(DISK, DURABLE) as postgres, ExitStack() as stack:
        url = f"postgresql://postgres@/postgres?host={postgres.directory}"
        served = [
            stack.enter_context(djactors_server(directory / f"node-{number}", database=url, secret=secret))
            for number in range(1, nodes + 1)
        ]
        processes = {"database": postgres.pid}
        processes |= {f"node {number}": each.processes["server"] for number, each in enumerate(served, 1)}
        first, last = served[0], served[-1]
        yield Target(
            name=f"{nodes} on PostgreSQL",
            host=first.host,
            port=first.port,
            secret=secret,
            processes=processes,
            post_port=last.port,
        )
