"""Delivers an outbox for as long as a program runs, whatever happens to the server and to the database meanwhile."""

from __future__ import annotations

import logging
import random as randomness
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from djactors.client import ApiError
from djactors.outbox._databases import sentence_of
from djactors.outbox._outbox import Delivered, Outbox
from djactors.outbox._sending import Sender, is_importing

if TYPE_CHECKING:
    from djactors.client import BlockingToken, Client, DjactorsError

EVERY: Final = 0.5
"""Seconds between two looks into a table in which nothing waits. A look costs the database a fraction of a
millisecond, and a person who waits for a notification does not notice half a second."""

STANDBY: Final = 5.0
"""Seconds between two looks while another runner is at work."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
"""Seconds to wait after a failure; each wait is twice the one before, up to a minute."""

JITTER: Final = 0.5
"""The part of a wait that is random, so that many runners do not come back in one moment."""

LONGEST_RETRY_AFTER: Final = 3600.0
"""The longest wait in seconds that a `Retry-After` can ask for: a wrong one must not end the delivery for days."""

REPEAT: Final = 300.0
"""Seconds after which a trouble that lasts is logged again."""

REQUEST_SECONDS: Final = 10.0
"""The most time of one request with its retries. The runner itself waits between requests, and a program that is told
to end waits at most for one of them. On PostgreSQL the runner's transaction is open meanwhile."""

log = logging.getLogger("djactors.outbox")


class Stopped(Exception):  # noqa: N818 - it is told to the caller, and is no fault
    """The runner was told to stop while a request waited for its next attempt."""


class Runner:
    """Sends what waits in an outbox until it is told to stop. Several may run: one delivers, the others stand by.

    Args:
        connect: opens a connection for this runner alone. It is called again after an error of the database.
        client: what sends, best made by `client_for`.
        outbox: the table.
        errors: what the driver raises if the database is away or busy, such as `(psycopg.Error,)`; the runner then
            waits and tries again. Any other exception leaves `run`.
        every: seconds between two looks into a table in which nothing waits.
        stop: ends the runner when it is set, from any thread or from a signal's handler.
        random: gives numbers from 0 to 1 for the waits.
        now: a monotonic clock in seconds.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        client: Sender,
        outbox: Outbox | None = None,
        *,
        errors: tuple[type[Exception], ...],
        every: float = EVERY,
        stop: threading.Event | None = None,
        random: Callable[[], float] = randomness.random,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._connect, self._client, self._outbox = connect, client, outbox or Outbox()
        self._errors, self._every, self._random = errors, every, random
        self._connection: Any = None
        self._failures = 0
        self._trouble = _Trouble(now)
        self.stop = threading.Event() if stop is None else stop

    def run(self) -> None:
        """Deliver until `stop` is set."""
        try:
            with suppress(Stopped):
                while not self.stop.is_set():
                    self.stop.wait(self._pause(self._round()))
        finally:
            self._close()

    def run_until_empty(self) -> Delivered:
        """Deliver until nothing waits, or until a round meets with an error, and return what was done in all.

        Raises:
            Exception: an error of the driver.
        """
        sent = held = 0
        error: DjactorsError | None = None
        try:
            while True:
                done = self._deliver()
                sent, held, error = sent + done.sent, held + done.held, done.error or error
                if not done.more or self.stop.is_set():
                    return Delivered(sent, held, done.more, done.is_elsewhere, error, done.importing)
        except Stopped:
            return Delivered(sent, held, more=True)
        finally:
            self._close()

    def _round(self) -> Delivered | None:
        """One round; None if the database failed."""
        try:
            done = self._deliver()
        except self._errors as error:
            self._close()
            self._trouble.meet(f"the database of the outbox: {sentence_of(error)}")
            return None
        if _failed(done):
            self._trouble.meet(f"the server does not take the events now: {done.error}")
        elif done.importing:
            self._trouble.meet(f"events wait until their tenants are imported (tenants: {done.importing})")
        elif not done.is_elsewhere:
            self._trouble.end()
        return done

    def _deliver(self) -> Delivered:
        if self._connection is None:
            self._connection = self._connect()
        done = self._outbox.deliver(self._connection, self._client)
        if done.held:
            log.error("%d events are held, as the server will never take them: see Outbox.held", done.held)
        if done.sent:
            log.debug("%d events sent", done.sent)
        return done

    def _pause(self, done: Delivered | None) -> float:
        """The seconds to wait before the next round."""
        if done is not None and not _failed(done):
            self._failures = 0
            # Nobody has to be quick to see that another runner still works.
            seconds = 0.0 if done.more else max(self._every, STANDBY) if done.is_elsewhere else self._every
        else:
            seconds = min(FIRST_PAUSE * 2.0 ** min(self._failures, 30), LONGEST_PAUSE)
            self._failures += 1
        spread = seconds * (1 - JITTER * self._random())
        error = None if done is None else done.error
        if isinstance(error, ApiError) and error.retry_after is not None:
            # Never earlier than the server asks for.
            return min(error.retry_after, LONGEST_RETRY_AFTER) + spread
        return spread

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self._errors):
                connection.close()


def _failed(done: Delivered) -> bool:
    """Whether the next round has to wait. A tenant that is being imported keeps no other tenant waiting."""
    return done.error is not None and not is_importing(done.error)


class _Trouble:
    """Logs a trouble when it begins, when it changes, every few minutes while it lasts, and when it has ended."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told: str | None = None
        self._told_at = 0.0

    def meet(self, trouble: str) -> None:
        """There it is, or still is."""
        if trouble != self._told or self._now() - self._told_at >= REPEAT:
            self._told, self._told_at = trouble, self._now()
            log.warning("%s; what waits is kept and tried again", trouble)

    def end(self) -> None:
        """All is well."""
        if self._told is not None:
            self._told = None
            log.info("the outbox is delivered again")


def client_for(
    url: str, token: BlockingToken, stop: threading.Event, *, ssl_context: ssl.SSLContext | None = None
) -> Client:
    """A client whose waits end, by `Stopped`, when the runner is told to stop.

    Raises:
        ValueError, DjactorsError: as `djactors.Client`.
    """
    from djactors.client import Client, RetryPolicy

    def wait(seconds: float) -> None:
        if stop.wait(seconds):
            raise Stopped

    policy = RetryPolicy(timeout=REQUEST_SECONDS, attempt_timeout=REQUEST_SECONDS)
    return Client(url, token, retries=policy, ssl_context=ssl_context, wait=wait)
