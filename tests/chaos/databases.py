"""The PostgreSQL servers of a run: a primary, and a standby that follows it and takes over.

Nodes reach the primary through a `Proxy`, and so does the standby. Each server has a directory and a socket of its own,
and its processes are this program's children.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import trio

from bench.postgres import SERVER_USER, Place, place_for_server, stop
from tests.chaos.plan import Fault
from tests.chaos.proxy import Lane, Proxy
from tests.history import Ledger

Kind = Literal["synchronous", "asynchronous"]

SETTINGS = (
    "listen_addresses=",
    "dynamic_shared_memory_type=mmap",
    # The machine itself does not fail in a run: what a killed server has written is there.
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=60",
    "max_wal_senders=4",
    "wal_keep_size=64MB",
    "log_min_messages=warning",
)

SOCKET = ".s.PGSQL.5432"
LOOK_SECONDS = 0.02
ATTACH_SECONDS = 30.0
"""For a standby to follow, and for one to take over."""

REST_SECONDS = 0.3
"""Between the end of a primary and its successor's beginning: what nodes have told already reaches their clients."""


class _Server:
    """One server, which may be started several times."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.place.directory / SOCKET

    async def start(self) -> None:
        """Start, and wait until it answers."""
        # From this thread, because the kernel ends the server with the thread that started it.
        process = self._process = self.place.start(SETTINGS)
        await trio.to_thread.run_sync(self.place.await_ready, process)

    async def end(self, how: signal.Signals) -> None:
        """SIGINT ends it in order, SIGQUIT as if it had been killed; SIGINT tells its clients."""
        if self._process is not None:
            self._process.send_signal(how)
            await trio.to_thread.run_sync(self._process.wait)
            self._process = None

    def close(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            stop(self._process)

    async def ask(self, statement: str) -> str:
        """The only value that a statement returns, as text."""
        return await trio.to_thread.run_sync(self._ask, statement)

    def _ask(self, statement: str) -> str:
        with psycopg.connect(self.place.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return "" if row is None else str(row[0])

    async def until(self, question: str, answer: str) -> None:
        """Ask until it is answered so."""
        with trio.fail_after(ATTACH_SECONDS):
            while await self.ask(question) != answer:
                await trio.sleep(LOOK_SECONDS)


class Databases:
    """See the module.

    Args:
        proxy: leads to the primary; `upstream` is set here.
        kind: of the standby; None for a run without one.
        note: is told what happens.
    """

    def __init__(self, proxy: Proxy, kind: Kind | None, note: Callable[[str], None]) -> None:
        self._proxy = proxy
        self._kind = kind
        self._note = note
        self._stack = ExitStack()
        self._servers: list[_Server] = []
        self._primary = self._server()
        self._standby: _Server | None = None
        self._lane: Lane | None = None
        self.fail_overs = 0

    @property
    def dsn(self) -> str:
        """The primary, without the proxy."""
        return self._primary.place.dsn

    async def start(self) -> None:
        """Start the primary and, where there is one, the standby."""
        await trio.to_thread.run_sync(self._primary.place.create_cluster)
        await self._primary.start()
        self._proxy.upstream = self._primary.socket
        if self._kind is not None:
            self._lane = await self._proxy.open("standby")
            await self._add_standby()

    async def restart(self, seconds: float, *, crash: bool) -> None:
        """End the primary and start it again."""
        self._note("PostgreSQL is killed" if crash else "PostgreSQL is stopped")
        await self._primary.end(signal.SIGQUIT if crash else signal.SIGINT)
        self._proxy.upstream = None
        await trio.sleep(seconds)
        await self._primary.start()
        self._proxy.upstream = self._primary.socket
        self._note("PostgreSQL is up again")

    async def fail_over(self, behind: float) -> Ledger | None:
        """Kill the primary and have the standby take over, which has not heard anything for so many seconds.

        Returns what the primary held, if the standby lacks some of it.
        """
        assert self._standby is not None
        assert self._lane is not None
        if behind:
            # New connections of the standby get nowhere either, until this has come to its end.
            self._lane.strike(Fault("standby", "dark", "now", 0, 3600.0))
            self._note("the standby hears nothing more")
            await trio.sleep(behind)
        old, new = self._primary, self._standby
        await old.end(signal.SIGQUIT)
        self._proxy.upstream = None
        self._proxy.cut()
        self._note("the primary is killed")
        await trio.sleep(REST_SECONDS)
        lost = None
        if behind:
            await old.start()
            lost = await trio.to_thread.run_sync(Ledger.read, old.place.dsn)
            await old.end(signal.SIGINT)
        await new.ask("SELECT pg_promote()")
        await new.until("SELECT pg_is_in_recovery()", "False")
        await self._require_standby(new, "")
        self._primary, self._standby = new, None
        self.fail_overs += 1
        self._lane.heal()
        return lost

    async def open(self) -> None:
        """Let the nodes reach the new primary, and make another standby."""
        self._proxy.upstream = self._primary.socket
        self._note("the standby has taken over")
        await self._add_standby()
        self._note("there is another standby")

    def close(self) -> None:
        """End all servers and remove their directories."""
        for server in self._servers:
            server.close()
        self._stack.close()

    async def run(self, statement: str) -> None:
        """Run a statement beside all nodes."""
        await self._primary.ask(statement)

    def _server(self) -> _Server:
        # Not tempfile's default: TMPDIR may be closed to the server's user, or too long for a socket's path.
        server = _Server(self._stack.enter_context(place_for_server("/tmp")))
        self._servers.append(server)
        return server

    async def _add_standby(self) -> None:
        """Copy the primary, and follow it by the proxy."""
        assert self._lane is not None
        standby = self._server()
        host, port = self._lane.url.removeprefix("http://").split(":")
        conninfo = f"host={host} port={port} user={SERVER_USER} application_name=standby"
        await trio.to_thread.run_sync(standby.place.copy_cluster, conninfo)
        await standby.start()
        self._standby = standby
        await self._primary.until("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
        if self._kind == "synchronous":
            await self._require_standby(self._primary, "standby")
            await self._primary.until("SELECT max(sync_state) FROM pg_stat_replication", "sync")

    async def _require_standby(self, server: _Server, name: str) -> None:
        """Have commits wait for the standby of this name, or for none."""
        await server.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
        await server.ask("SELECT pg_reload_conf()")


@contextmanager
def databases(proxy: Proxy, kind: Kind | None, note: Callable[[str], None]) -> Iterator[Databases]:
    """The servers of a run, of which nothing is left afterwards."""
    made = Databases(proxy, kind, note)
    try:
        yield made
    finally:
        made.close()
