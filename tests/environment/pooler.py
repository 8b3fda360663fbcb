"""A throw-away PgBouncer that gives each transaction one of a few connections to the server.

It is a process of its own, on a Unix socket in a directory of its own, and it ends with the context manager.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

from bench.postgres import as_server_user, await_answer

START_SECONDS = 10.0

SETTINGS = """\
[databases]
pooled = host={host} port={port} dbname={dbname} user={user} connect_query='SET search_path TO {schema}'
[pgbouncer]
pool_mode = transaction
default_pool_size = {size}
listen_addr =
listen_port = 6432
unix_socket_dir = {directory}
auth_type = any
# After a server was not reached, it is tried again so many seconds later.
server_login_retry = 1
"""


@dataclass(frozen=True, slots=True)
class Pooler:
    """A pooler that was started. `url` is of what it serves, `socket` where it listens."""

    url: str
    socket: Path
    _process: "subprocess.Popen[bytes]"
    _log: Path

    def await_ready(self) -> None:
        """Wait until it has reached the server.

        Raises:
            RuntimeError: it does not.
        """
        await_ready(self._process, self.url, self._log)


@contextmanager
def running_pooler(url: str, size: int) -> Iterator[str]:
    """Run a pooler before the database of a URL, and give the URL of what it serves; see `started_pooler`."""
    with started_pooler(url, size) as pooler:
        pooler.await_ready()
        yield pooler.url


@contextmanager
def started_pooler(url: str, size: int) -> Iterator[Pooler]:
    """Start a pooler before the database of a URL. It ends with the context, and with the thread that started it.

    Args:
        url: with the search path among its options, which a pooler does not pass on.
        size: how many connections to the server it has.
    """
    server = conninfo_to_dict(url)
    directory = Path(tempfile.mkdtemp(prefix="djactors-pool-", dir="/tmp"))
    try:
        privileges = as_server_user(directory)
        settings = directory / "pgbouncer.ini"
        schema = str(server["options"]).rpartition("=")[2]
        settings.write_text(
            SETTINGS.format(
                host=server["host"],
                port=server.get("port", 5432),
                dbname=server["dbname"],
                user=server["user"],
                schema=schema,
                size=size,
                directory=directory,
            )
        )
        with (directory / "log").open("wb") as log:
            pooler = subprocess.Popen(
                [*privileges, "pgbouncer", settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
            )
        try:
            pooled = f"postgresql://anybody@{quote(str(directory), safe='')}:6432/pooled"
            yield Pooler(pooled, directory / ".s.PGSQL.6432", pooler, directory / "log")
        finally:
            pooler.kill()
            pooler.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def await_ready(pooler: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Wait until a pooler serves a URL."""
    await_answer(pooler, "PgBouncer", url, log, START_SECONDS)
