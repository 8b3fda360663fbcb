"""djactors itself as the target of a load: ``djactors serve`` as an operator starts it, on a free port."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.load.commands import Target
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
    database: Path | None = None,
    settings: Mapping[str, str] | None = None,
    python: Path | None = None,
    turns: Path | None = None,
    is_log_unread: bool = False,
) -> Iterator[Target]:
    """Serve a new database in `directory`, or a given one; `settings` are added to the environment.

    `python` is the interpreter that has another build installed. `turns` is where the server's worst turns are put (see
    `turns.py`). With `is_log_unread` its standard error is a full pipe that nobody reads.

    Raises DidNotStartError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    database = directory / "bench.db" if database is None else database
    # What is installed is served, whatever lies in the current directory.
    command: list[str | Path] = [
        python or sys.executable,
        "-P",
        *(("-c", _MAIN) if turns is None else (Path(__file__).with_name("turns.py"), turns)),
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
