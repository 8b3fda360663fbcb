"""The floor: the same job by a bare loop without actors, as the least that it can cost in this language."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load.commands import Target
from bench.process import running


@contextmanager
def floor_server(directory: Path) -> Iterator[Target]:
    """Run the floor with a new database in `directory`. Raises DidNotStartError."""
    directory.mkdir(parents=True, exist_ok=True)
    secret = secrets.token_hex(32)
    command: list[str | Path] = [sys.executable, Path(__file__).parent / "server.py", directory / "floor.db"]
    with running(command, directory / "floor.log", {"JWT_SECRET": secret}) as (pid, host, port):
        yield Target(name="floor", host=host, port=port, secret=secret, processes={"server": pid})
