"""The two kinds of servant: the writer and the readers. Each has a connection of its own, used on its own thread only.

How one piece of work is written:

    BEGIN, the work, COMMIT                          the server answers when the commit is durable
      the work raises    -> ROLLBACK, the caller gets the exception
      another node was in the way -> ROLLBACK, and the work is run again
      the connection is lost before COMMIT was sent -> the work is run again on another one
      it is lost later   -> the caller gets a `StoreError`, and nobody knows whether the work was stored

A connection that is made anew may lead to a server that was restored, or that lost commits when it took over. So the
first transaction on it tells whoever remembers what was written (`on_others_wrote`).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from djactors.store.errors import StoreError, StoreUnavailable, twin
from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.failures import (
    READ_ONLY,
    is_conflict,
    is_connection_lost,
    is_duplicate,
    is_prepared_elsewhere,
    storage_failure,
)
from djactors.store.postgresql.pipeline import NothingSent
from djactors.store.postgresql.session import LOCK_TIMEOUT, Comebacks, Session, reading_begins, writing_begins
from djactors.store.threads import READ_BATCH, Call, Report

__all__ = ["Reader", "Writer"]

# How often work is run at most while other nodes are in its way.
TRIES = 5
# How often it is run where a row is there already. Once more, because another node may have made the row after the work
# had looked; a second time it is the work's own doing.
DUPLICATE_TRIES = 2


def _ignore() -> None:
    """The default callback: nobody remembers what was written."""


class Writer(Session):
    """The one connection of this process that writes.

    Attributes:
        retries: how often work was run again so far.
    """

    batch_limit = 1

    def __init__(
        self,
        conninfo: Conninfo,
        timer: Callable[[], float],
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        monotonic: Callable[[], float] = time.monotonic,
        comebacks: Comebacks | None = None,
    ) -> None:
        super().__init__(conninfo, writable=True, monotonic=monotonic, comebacks=comebacks)
        self._timer = timer
        self._begins = writing_begins(lock_timeout)
        # Whether the next transaction is the first one on another connection.
        self._others_may_have_written = False
        self.retries = 0
        # See `WriterServant`.
        self.on_rollback: Callable[[], None] = _ignore
        self.on_log_moving: Callable[[], None] = _ignore
        self.on_log_moved: Callable[[], None] = _ignore
        self.on_others_wrote: Callable[[], None] = _ignore

    def reconnected(self) -> None:
        """Have the next transaction tell that others may have written."""
        self._others_may_have_written = True

    def run(self, calls: Sequence[Call[Any]]) -> Report:
        """Run one call in a transaction and commit it, as the module describes. The batch has one call."""
        [call] = calls
        began, before = self._timer(), self.retries
        try:
            self._write(call)
        except StoreError as failure:
            call.error = twin(failure)
            return Report(0, 1, self._timer() - began, failure, self.retries - before)
        done = call.error is None
        return Report(int(done), int(not done), self._timer() - began, None, self.retries - before)

    def after(self) -> Report | None:
        """Nothing is left to do."""
        return None

    def idle(self) -> Report | None:
        """Nothing to tidy: the server does this by itself."""
        return None

    def _write(self, call: Call[Any]) -> None:
        """Run the work until it is committed, or the caller gets its error, or there is no use in trying.

        Raises:
            StoreError: the storage did not carry it out.
        """
        tries = losses = 0
        while True:
            tries += 1
            connection = self.connected()
            is_committing = False
            try:
                connection.begin(*self._begins)
                if self._others_may_have_written:
                    self.on_others_wrote()
                call.value = call.work(connection)
                is_committing = True
                connection.commit()
            except Exception as error:  # noqa: BLE001 -- the work's own error is for whoever asked
                in_doubt = is_committing and connection.is_closed and not isinstance(error, NothingSent)
                self._undo(connection)
                if is_prepared_elsewhere(error) and self._prepares:
                    self.stop_preparing()
                elif is_connection_lost(error) and not in_doubt and not losses:
                    self.drop()
                    losses += 1
                elif not (is_conflict(error) and tries < TRIES) and not (
                    is_duplicate(error) and tries < DUPLICATE_TRIES
                ):
                    self._give_up(call, error, in_doubt=in_doubt)
                    return
                self.retries += 1
            else:
                self._others_may_have_written = False
                return

    def _give_up(self, call: Call[Any], error: Exception, *, in_doubt: bool) -> None:
        if is_connection_lost(error):
            self.drop()
        if isinstance(error, StoreError):
            raise error
        if storage_failure(error) is None:
            call.error = error
            return
        failure = self.failure(error)
        if in_doubt:
            failure = StoreUnavailable(f"{failure}; it was lost during a commit, which may have been stored")
        raise failure from error

    def _undo(self, connection: PostgresConnection) -> None:
        self.on_rollback()
        try:
            connection.roll_back()
        except psycopg.Error:
            # The server undoes it when it notices that the connection is gone.
            self.drop()


class Reader(Session):
    """A connection whose transactions cannot write."""

    batch_limit = READ_BATCH

    def __init__(
        self,
        conninfo: Conninfo,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        comebacks: Comebacks | None = None,
    ) -> None:
        super().__init__(conninfo, writable=False, monotonic=monotonic, comebacks=comebacks)
        self._begins = reading_begins()

    def run(self, calls: Sequence[Call[Any]]) -> Report:
        """Run the calls in one read transaction, one snapshot for all, which begins after the last call was made.

        Behind a call that fails there is another transaction, because the server has ended the one before.
        """
        failure: StoreError | None = None
        failed = 0
        for call in calls:
            try:
                call.value = self._read(call)
            except StoreError as error:
                failed += 1
                failure = error
                call.error = twin(error)
            except Exception as error:  # noqa: BLE001 -- one caller's error is never another's
                failed += 1
                call.error = error
        return Report(len(calls) - failed, failed, error=failure)

    def after(self) -> Report | None:
        """End the transaction, so that the server may clean up behind it. The callers have their answers already."""
        connection = self._connection
        if connection is None or not connection.in_transaction:
            return None
        try:
            connection.roll_back()
        except psycopg.Error:
            # Nobody waits for it. The next call has another connection.
            self.drop()
        return None

    def idle(self) -> Report | None:
        """Nothing to tidy."""
        return None

    def _read(self, call: Call[Any]) -> Any:
        losses = 0
        while True:
            connection = self.connected()
            try:
                if not connection.in_transaction:
                    connection.begin(*self._begins)
                value = call.work(connection)
                # So that trying to write is found out, and is told to the one who tried.
                connection.settle()
            except Exception as error:
                self._end(connection)
                if is_prepared_elsewhere(error) and self._prepares:
                    self.stop_preparing()
                    continue
                # The transaction is read-only on purpose, so trying to write is the work's own mistake.
                if storage_failure(error) is None or getattr(error, "sqlstate", None) == READ_ONLY:
                    raise
                if is_connection_lost(error):
                    self.drop()
                    losses += 1
                    if losses == 1:
                        continue
                raise self.failure(error) from error
            return value

    def _end(self, connection: PostgresConnection) -> None:
        try:
            connection.roll_back()
        except psycopg.Error:
            self.drop()
