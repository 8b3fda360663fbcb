"""Sends several statements at once and takes their answers: libpq's pipeline mode, which is never left.

It is spoken to through `psycopg.pq` and not through psycopg's own pipeline, for two reasons. When psycopg leaves a
pipeline, it sends a Flush behind the Sync, and PostgreSQL then does not begin to count the time that a transaction
stands still (`idle_in_transaction_session_timeout`): a frozen node would hold its rows for ever. And a statement costs
a third of what it costs by way of a cursor.
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html

A statement is prepared under a name of its own at its third use. The types of its parameters belong to it.

Statements can be started before the others are known, so that the server carries them out meanwhile. Each part that is
started ends with a Sync as well. Otherwise a node that is frozen between two parts would hold its rows for ever, too.
"""

import secrets
import select
from collections.abc import Sequence
from contextlib import suppress
from itertools import compress
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.numeric import NumericLoader

__all__ = ["Binary", "NothingSent", "Pipeline", "Sent"]

Sent = tuple[str, Sequence[object]]
"""A statement with `$1` and so on, and its values."""

# Uses of a statement before it is prepared: one that is used once would be prepared in vain.
_UNPREPARED_USES = 2
# Statements that are prepared at most: more than the program has, with the types of their parameters.
_PREPARED_MAX = 1024

_INT8, _BOOL, _UNKNOWN = 20, 16, 0
# A text is of the type that its place in the statement asks for.
_OIDS: dict[type, int] = {int: _INT8, bool: _BOOL, str: _UNKNOWN, type(None): _UNKNOWN}

_TRUTHS = (b"f", b"t")

_TEXT, _BINARY = Format.TEXT, Format.BINARY

_Key = tuple[str, tuple[int, ...]]


# These are never prepared, so that a transaction can be ended on whichever connection a pooler gives.
_CONTROL = ("BEGIN", "COMMIT", "ROLLBACK")


class Binary(bytes):
    """A value in PostgreSQL's binary format. The statement says of which type it is."""

    __slots__ = ()


class NothingSent(psycopg.OperationalError):
    """The connection was lost already before any of the statements was sent."""


class _WholeNumber(NumericLoader):
    """Sums of whole numbers are of the type numeric. They come back as int, as from SQLite."""

    def load(self, data: Any) -> Any:
        number = super().load(data)
        return int(number) if number == number.to_integral_value() else number


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_loader("numeric", _WholeNumber)
    return adapters


_ADAPTERS = _adapters()


class Pipeline:
    """A connection in pipeline mode.

    Args:
        connection: to the server, in autocommit mode; nobody else uses it from now on.
        prepares: whether statements may be prepared.
        answer_timeout: seconds without an answer after which the server is given up.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", *, prepares: bool, answer_timeout: float) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._poll = select.poll()
        self._transformer = Transformer(_ADAPTERS)
        self._prepares = prepares
        self._answer_timeout = answer_timeout
        # How often a statement was used, or the name under which it is prepared.
        self._known: dict[_Key, int | bytes] = {}
        # Parts that were sent and not answered yet, and the statements that are prepared in them.
        self._parts = 0
        self._preparing: list[_Key] = []
        # Of each answer that is to come, whether it is a statement's: to be prepared is answered as well.
        self._answered: list[bool] = []
        # Names of nobody else: behind a pooler, the name of another client's statement would run that one.
        self._prefix = f"djactors_{secrets.token_hex(8)}"
        self._named = 0
        self._last_words: str | None = None
        connection.add_notice_handler(self._hear)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is of no use any more."""
        return self._pgconn.status == ConnStatus.BAD

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def run(self, statements: Sequence[Sent]) -> PGresult:
        """Carry out some statements in their order. Returns what the last one returned.

        Raises:
            NothingSent: the connection had been lost before.
            psycopg.Error: the first error of a statement, of one that was started before or of one of these, behind
                which none was carried out; or the connection was lost.
            UnicodeEncodeError: a value that is no text was among them, and nothing was sent.
        """
        self.start(statements)
        return self.finish()[-1]

    def start(self, statements: Sequence[Sent]) -> None:
        """Send some statements, and let the server carry them out. Their errors are raised by `finish`.

        Raises:
            NothingSent: the connection had been lost before.
            psycopg.Error: the connection was lost.
            UnicodeEncodeError: a value that is no text was among them, and nothing was sent.
        """
        # Whatever cannot be sent is found before anything is.
        values = [[_dumped(value) for value in given] for _, given in statements]
        self._look()
        try:
            for (text, given), dumped in zip(statements, values, strict=True):
                self._send(text, [type(value) for value in given], dumped)
            self._pgconn.pipeline_sync()
        except BaseException:
            self._forget_preparing()
            raise
        self._parts += 1

    def finish(self) -> list[PGresult]:
        """Wait until everything that was started is carried out. Returns what each statement returned.

        Raises:
            psycopg.Error: the first error of a statement; or the connection was lost.
        """
        try:
            results = self._answers()
        except BaseException:
            self._forget_preparing()
            raise
        finally:
            self._parts = 0
            self._answered.clear()
        self._preparing.clear()
        return results

    def _forget_preparing(self) -> None:
        """Whether these statements were prepared, nobody knows. Their names are not used again."""
        for key in self._preparing:
            self._known.pop(key, None)
        self._preparing.clear()

    def rows(self, result: PGresult) -> list[tuple[Any, ...]]:
        """The rows of a result."""
        if not result.ntuples:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _look(self) -> None:
        """Take what the server has said by itself, which may be that it has ended the connection.

        Raises:
            NothingSent: it has.
        """
        try:
            self._poll.register(self._pgconn.socket, select.POLLIN)
            while self._poll.poll(0):
                self._pgconn.consume_input()
                self._pgconn.is_busy()  # has libpq look at what has come
                if self._last_words is not None:
                    self._connection.close()
                    raise NothingSent(self._last_words)
        except psycopg.OperationalError as error:
            raise NothingSent(*error.args) from error

    def _hear(self, said: "psycopg.errors.Diagnostic") -> None:
        """Take a notice of the server. While nothing is under way, an error that ends the connection comes as one."""
        if said.severity_nonlocalized in ("FATAL", "PANIC"):
            self._last_words = f"{said.message_primary} ({said.sqlstate})"

    def _send(self, text: str, kinds: Sequence[type], values: list[bytes | None]) -> None:
        oids = tuple([_OIDS.get(kind, _UNKNOWN) for kind in kinds])
        key = text, oids
        known = self._known.get(key, 0)
        formats = [_BINARY if kind is Binary else _TEXT for kind in kinds]
        if isinstance(known, bytes):
            self._pgconn.send_query_prepared(known, values, formats)
            self._answered.append(True)
            return
        is_alone = not self._prepares or (not oids and text.startswith(_CONTROL))
        if is_alone or (known == 0 and len(self._known) >= _PREPARED_MAX):
            self._pgconn.send_query_params(text.encode(), values, oids, formats)
        elif known < _UNPREPARED_USES:
            self._known[key] = known + 1
            self._pgconn.send_query_params(text.encode(), values, oids, formats)
        else:
            self._named += 1
            name = self._known[key] = f"{self._prefix}_{self._named}".encode()
            self._preparing.append(key)
            self._pgconn.send_prepare(name, text.encode(), oids)
            self._answered.append(False)
            self._pgconn.send_query_prepared(name, values, formats)
        self._answered.append(True)

    def _answers(self) -> list[PGresult]:
        """Take all answers. Returns those of statements, or raises the first error."""
        pgconn = self._pgconn
        answers: list[PGresult] = []
        error: psycopg.Error | None = None
        has_more = pgconn.flush()
        while True:
            while pgconn.status == ConnStatus.BAD or not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    if pgconn.status == ConnStatus.BAD:
                        raise error or self._lost()
                    continue
                status = result.status
                if status == ExecStatus.PIPELINE_SYNC:
                    self._parts -= 1
                    if self._parts:
                        continue
                    # The connection becomes idle when it is asked for what comes behind.
                    pgconn.get_result()
                    if error is not None:
                        raise error
                    return list(compress(answers, self._answered))
                if status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK, ExecStatus.EMPTY_QUERY):
                    answers.append(result)
                elif status != ExecStatus.PIPELINE_ABORTED and error is None:
                    error = error_from_result(result, encoding="utf-8")
                    if error.sqlstate is None:
                        # It is libpq's own: there is nobody at the other end.
                        error = psycopg.OperationalError(*error.args)
            self._wait(has_more)
            if has_more and pgconn.status != ConnStatus.BAD:
                has_more = pgconn.flush()

    def _wait(self, has_more: int) -> None:
        """Wait until the server has answered something, or takes more."""
        pgconn = self._pgconn
        wanted = select.POLLIN | select.POLLOUT if has_more else select.POLLIN
        self._poll.register(pgconn.socket, wanted)
        ready = self._poll.poll(self._answer_timeout * 1000)
        if not ready:
            self._connection.close()
            raise psycopg.OperationalError(f"the server did not answer within {self._answer_timeout:g} s")
        if ready[0][1] & ~select.POLLOUT:
            # Where it is the end, the server's last words come first. They are among the answers.
            with suppress(psycopg.OperationalError):
                pgconn.consume_input()

    def _lost(self) -> psycopg.OperationalError:
        return psycopg.OperationalError(self._pgconn.get_error_message())

    @property
    def is_under_way(self) -> bool:
        """Whether something was started whose end nobody has waited for."""
        return self._parts > 0

    @property
    def is_in_transaction(self) -> bool:
        """Whether the server has a transaction open for this connection, be it one that failed. Call `finish` first."""
        return self._pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def _dumped(value: object) -> bytes | None:
    """A value as libpq takes it.

    Raises:
        psycopg.DataError: a text with a NUL, which PostgreSQL does not store.
        psycopg.ProgrammingError: something else than a whole number, a text, a truth value, None or a `Binary`.
        UnicodeEncodeError: a text that is none in Unicode.
    """
    if value is None:
        return None
    if isinstance(value, Binary):
        return value
    if isinstance(value, str):
        if "\0" in value:
            raise psycopg.DataError("a text holds a NUL character, which PostgreSQL does not store")
        return value.encode()
    if isinstance(value, int):
        return _TRUTHS[value] if isinstance(value, bool) else b"%d" % value
    raise psycopg.ProgrammingError(f"a value of the type {type(value).__name__} cannot be sent")
