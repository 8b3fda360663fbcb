"""Hears the notifications of a PostgreSQL database (LISTEN), on a connection and a thread of its own.

    the server ──► thread: waits for the socket ──► one hop ──► the hearer on the Trio thread

Rules:
  * The connection listens and does nothing else, so it is never inside a transaction. The server keeps all
    notifications of the database for the slowest transaction.
  * A connection that is lost is made again, after a longer pause each time. What was notified meanwhile is lost, so
    whoever listens is told of each new connection, and looks by other means whether there is something new.
  * Between two hops the payloads are kept. If they become too many because the event loop stands still, they are
    dropped, and the hearer is told so instead.
  * That a connection is open does not prove that it hears anything: behind a pooler that gives each transaction another
    connection, LISTEN is without effect. Whoever needs to know sends a notification and waits for it.

https://www.postgresql.org/docs/current/sql-listen.html
"""

import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg
import trio
from psycopg import sql
from psycopg.pq.abc import PGconn

from djactors.store.engine import Hearer
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.failures import told

__all__ = ["Listener"]

FIRST_WAIT = 0.1
"""Seconds until the second attempt to connect."""

LONGEST_WAIT = 5.0
"""Seconds between later attempts: as long as the store waits."""

MAX_PAYLOADS = 4096
"""Payloads that are kept for a hop: some 100 bytes each, and a few thousand commits."""

JOIN_SECONDS = 1.0
"""How long the end of `run` waits for the thread. Only a server that does not answer keeps it longer; then it is left
behind, and ends by itself."""


class Listener:
    """See the module for its rules.

    Args:
        conninfo: where the server is.
        channel: the channel to listen on.
        hearer: is told, on the Trio thread.
    """

    def __init__(self, conninfo: Conninfo, channel: str, hearer: Hearer) -> None:
        self._conninfo = conninfo
        self._listen = sql.SQL("LISTEN {}").format(sql.Identifier(channel))
        self._hearer = hearer
        self._token: trio.lowlevel.TrioToken
        self._stopping = threading.Event()
        self._wake: socket.socket | None = None
        self._lock = threading.Lock()
        self._payloads: list[str] = []
        self._overflown = False

    async def run(self) -> None:
        """Listen until this is cancelled."""
        self._token = trio.lowlevel.current_trio_token()
        self._stopping = threading.Event()
        self._wake, threads_end = socket.socketpair()
        thread = threading.Thread(
            target=self._serve, args=(threads_end, self._stopping), name="djactors-listen", daemon=True
        )
        thread.start()
        try:
            await trio.sleep_forever()
        finally:
            self._stopping.set()
            # This wakes the thread where it waits for the server.
            self._wake.close()
            self._wake = None
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(thread.join, JOIN_SECONDS)

    def reconnect(self) -> None:
        """Make another connection, because this one seems to hear nothing. Must be called on the Trio thread."""
        if self._wake is not None:
            # A full buffer has woken the thread already.
            with suppress(OSError):
                self._wake.send(b"!", socket.MSG_DONTWAIT)

    def _serve(self, wake: socket.socket, stopping: threading.Event) -> None:
        """The body of the thread."""
        wait = FIRST_WAIT
        with wake:
            while not stopping.is_set():
                try:
                    with psycopg.connect(**self._conninfo.parameters, autocommit=True) as connection:
                        connection.execute(self._listen)
                        wait = FIRST_WAIT
                        self._hop(stopping, self._hearer.connected)
                        self._hear(connection.pgconn, wake, stopping)
                except (psycopg.Error, OSError) as error:
                    reason = told(error) if isinstance(error, psycopg.Error) else str(error)
                    self._hop(stopping, self._hearer.lost, reason)
                    if stopping.wait(wait):
                        return
                    wait = min(2 * wait, LONGEST_WAIT)

    def _hear(self, pq: PGconn, wake: socket.socket, stopping: threading.Event) -> None:
        """Hear until the connection is lost, or the thread is woken."""
        # Not `Connection.notifies`: it could be ended by a timeout only, and the end of a server would wait for it.
        with selectors.DefaultSelector() as ready:
            ready.register(pq.socket, selectors.EVENT_READ)
            ready.register(wake, selectors.EVENT_READ, wake)
            while True:
                payloads = []
                while (notification := pq.notifies()) is not None:
                    payloads.append(notification.extra.decode(errors="replace"))
                if payloads:
                    self._keep(payloads, stopping)
                if any(key.data is wake for key, _ in ready.select()):
                    wake.recv(4096)
                    return
                pq.consume_input()

    def _keep(self, payloads: list[str], stopping: threading.Event) -> None:
        with self._lock:
            is_first = not self._payloads and not self._overflown
            if len(self._payloads) + len(payloads) > MAX_PAYLOADS:
                self._payloads.clear()
                self._overflown = True
            if not self._overflown:
                self._payloads += payloads
        if is_first:
            self._hop(stopping, self._give)

    def _give(self) -> None:
        with self._lock:
            payloads, self._payloads = self._payloads, []
            overflown, self._overflown = self._overflown, False
        if overflown:
            self._hearer.overflown()
        if payloads:
            self._hearer.heard(payloads)

    def _hop(self, stopping: threading.Event, function: Callable[..., None], *args: str) -> None:
        # If Trio has ended, nobody is left to tell; if `run` has, nobody wants to hear.
        if not stopping.is_set():
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(function, *args)
