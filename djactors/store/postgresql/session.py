"""A servant's connection to the server: how it is made, what each transaction sets, and how it is made anew.

Where a pooler gives each transaction another connection, a setting of the session would be lost or would reach somebody
else. So every transaction sets for itself what it needs.
"""

import time
from collections.abc import Callable

import psycopg

from djactors.store.connection import Connection
from djactors.store.errors import StoreBroken, StoreError, StoreUnavailable
from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.failures import NotConnected, storage_failure, told
from djactors.store.postgresql.pipeline import Pipeline
from djactors.store.threads import Report

__all__ = [
    "COMMAND_TIMEOUT",
    "OLDEST_VERSION",
    "Comebacks",
    "Session",
    "command_begins",
    "connect",
    "reading_begins",
    "require_usable",
    "writing_begins",
]

# The oldest version that the schema is promised for.
OLDEST_VERSION = 15

# Seconds to wait for a row that another node holds, each time that the work is run. A commit takes some milliseconds,
# so whoever holds a row for longer stands still.
LOCK_TIMEOUT = 2.0
# Seconds that a transaction may stand still before the server ends it. A node that was frozen in the middle of a commit
# keeps the others waiting for so long.
IDLE_TIMEOUT = 3.0
# Seconds for one statement. The longest takes a few hundred milliseconds.
STATEMENT_TIMEOUT = 30.0

# The same two for a command such as `djactors check`, which reads whole tables, and may write to a file in between.
COMMAND_TIMEOUT = 600.0

# Seconds without an answer after which the server is given up, such as one that is frozen or a commit that waits for a
# standby. It gives a statement up earlier than that, if it can.
ANSWER_TIMEOUT = STATEMENT_TIMEOUT + 10.0

# Seconds until the next attempt to connect: the first time, and the most.
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0

# Every statement has an index that serves it. Of a table that was never analysed the planner does not know how large it
# is: 64 users out of 20,000 were looked up in 11 ms by reading the whole table, and in 0.2 ms by its key.
_BY_INDEX = "set_config('enable_seqscan', 'off', true)"

_SELECT_STATE = """SELECT current_setting('server_version_num')::int8, current_setting('server_encoding'),
    current_setting('transaction_read_only') = 'on', to_regclass('schema_migrations') IS NOT NULL"""


def _milliseconds(seconds: float) -> str:
    """A time as a setting takes it. 0 would be no limit at all."""
    return f"'{max(1, round(seconds * 1000))}ms'"


def writing_begins(lock_timeout: float = LOCK_TIMEOUT) -> tuple[str, ...]:
    """How a transaction that writes begins."""
    return (
        "BEGIN ISOLATION LEVEL READ COMMITTED",
        f"SELECT set_config('lock_timeout', {_milliseconds(lock_timeout)}, true), "
        f"set_config('statement_timeout', {_milliseconds(STATEMENT_TIMEOUT)}, true), "
        f"set_config('idle_in_transaction_session_timeout', {_milliseconds(IDLE_TIMEOUT)}, true), {_BY_INDEX}, "
        # What is acknowledged must survive, whatever the server's default is. Stricter settings stay.
        "set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' "
        "ELSE current_setting('synchronous_commit') END, true)",
    )


def reading_begins() -> tuple[str, ...]:
    """How a transaction that reads begins: what it reads is of one moment."""
    return (
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        f"SELECT set_config('statement_timeout', {_milliseconds(STATEMENT_TIMEOUT)}, true), "
        f"set_config('idle_in_transaction_session_timeout', {_milliseconds(IDLE_TIMEOUT)}, true), {_BY_INDEX}",
    )


def command_begins() -> tuple[str, ...]:
    """How the transaction of a command begins that reads beside the servers."""
    return (
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        f"SELECT set_config('statement_timeout', {_milliseconds(COMMAND_TIMEOUT)}, true), "
        f"set_config('idle_in_transaction_session_timeout', {_milliseconds(COMMAND_TIMEOUT)}, true)",
    )


def connect(
    conninfo: Conninfo, *, prepares: bool | None = None, answer_timeout: float | None = None
) -> PostgresConnection:
    """Connect to the server.

    Args:
        conninfo: where it is.
        prepares: whether statements may be prepared; as the URL says if None.
        answer_timeout: `ANSWER_TIMEOUT` if None.

    Raises:
        NotConnected: it cannot be reached, or refuses.
    """
    prepares = conninfo.prepares if prepares is None else prepares
    try:
        connection = psycopg.connect(**conninfo.parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise NotConnected(*error.args) from error
    return PostgresConnection(Pipeline(connection, prepares=prepares, answer_timeout=answer_timeout or ANSWER_TIMEOUT))


def require_usable(connection: Connection, *, writable: bool, migrated: bool = True) -> None:
    """Look at once at what would otherwise fail later.

    Raises:
        StoreBroken: the server is too old, or the database was never migrated.
        StoreUnavailable: it takes no writes.
        psycopg.Error: the connection was lost.
    """
    version, encoding, is_read_only, is_migrated = connection.execute(_SELECT_STATE).fetchone()
    if version // 10_000 < OLDEST_VERSION:
        raise StoreBroken(f"it is PostgreSQL {version // 10_000}: version {OLDEST_VERSION} or newer is needed")
    if encoding != "UTF8":
        raise StoreBroken(f"its encoding is {encoding}: create a database with ENCODING 'UTF8'")
    if writable and is_read_only:
        raise StoreUnavailable("it is read-only: name the primary server, or see why it takes no writes")
    if migrated and not is_migrated:
        raise StoreBroken("it was never migrated: run the migrations")


class Comebacks:
    """Counts how often a lost connection was made anew. All servants of a store share one.

    When one of them has reached the server again, the others need not wait for their own next attempts. Otherwise users
    whom the writer has just told to look would be refused by readers.
    """

    def __init__(self) -> None:
        self.count = 0


class Session:
    """The part of a servant that both kinds have: one connection, made anew when it was lost.

    While the server is away, whoever asks is refused at once, and now and then one of them pays for an attempt to
    connect. Nobody waits for the server to come back.

    Args:
        conninfo: where the server is.
        writable: whether it must take writes.
        monotonic: a clock in seconds, for the waits between attempts.
        comebacks: what the servants of a store share; None for one that is alone.
    """

    def __init__(
        self,
        conninfo: Conninfo,
        *,
        writable: bool,
        monotonic: Callable[[], float] = time.monotonic,
        comebacks: Comebacks | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._writable = writable
        self._monotonic = monotonic
        self._prepares = conninfo.prepares
        self._connection: PostgresConnection | None = None
        self._wait = FIRST_WAIT
        self._next_attempt = 0.0
        self._comebacks = comebacks or Comebacks()
        self._seen = self._comebacks.count
        self._refusal: StoreError = StoreUnavailable(f"{conninfo.shown}: not connected")

    def open(self) -> None:
        """Connect, and prove that the database can be used."""
        try:
            self._connection = self._connect()
        except psycopg.Error as error:
            raise self.failure(error) from error

    def connected(self) -> PostgresConnection:
        """The connection, made anew if it was lost.

        Raises:
            StoreError: the server is away, or is not the right one any more.
        """
        connection = self._connection
        if connection is not None and not connection.is_closed:
            return connection
        if self._monotonic() < self._next_attempt and self._seen == self._comebacks.count:
            raise type(self._refusal)(*self._refusal.args)
        self.drop()
        try:
            connection = self._connection = self._connect()
        except psycopg.Error as error:
            raise self._refused(self.failure(error)) from error
        except StoreError as error:
            raise self._refused(error) from error
        self._wait = FIRST_WAIT
        self._comebacks.count += 1
        self.reconnected()
        return connection

    def reconnected(self) -> None:
        """Called when the connection was made anew."""

    def drop(self) -> None:
        """Give the connection up; the next call makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def stop_preparing(self) -> None:
        """Do without prepared statements from now on, because a pooler mixes them up."""
        self._prepares = False
        self.drop()

    def failure(self, error: Exception) -> StoreError:
        """What an error of the connection says to whoever waits."""
        failure = storage_failure(error) or StoreError(told(error))
        return type(failure)(f"{self._conninfo.shown}: {failure}")

    def close(self) -> Report | None:
        """Close the connection."""
        self.drop()
        return None

    def _connect(self) -> PostgresConnection:
        connection = connect(self._conninfo, prepares=self._prepares)
        try:
            require_usable(connection, writable=self._writable)
        except StoreError as error:
            connection.close()
            raise type(error)(f"{self._conninfo.shown}: {error}") from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _refused(self, failure: StoreError) -> StoreError:
        self._refusal = failure
        self._seen = self._comebacks.count
        self._next_attempt = self._monotonic() + self._wait
        self._wait = min(LONGEST_WAIT, self._wait * 2)
        return failure
