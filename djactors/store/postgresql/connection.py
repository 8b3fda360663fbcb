"""PostgreSQL's connection as the layers above see it (`djactors.store.connection`).

A round trip to the server costs more than the statement itself. So what returns no rows is put off, and is sent
together with the next statement that returns some, in libpq's pipeline mode:

    BEGIN, SET …, UPDATE …, INSERT …     put off
    SELECT …                             all five are sent, and one wait answers all of them
    INSERT …, COMMIT                     the same

Whoever has put much off and goes on to make more says `start`, and the server carries it out meanwhile.

The first error of a pipeline is the one that is raised. The server skips what stands behind it.
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq.abc import PGresult

from djactors.store.connection import Parameters, Rows
from djactors.store.errors import StoreError
from djactors.store.postgresql.arrays import Column
from djactors.store.postgresql.failures import storage_failure
from djactors.store.postgresql.pipeline import Pipeline, Sent
from djactors.store.postgresql.statements import Kind, insert_of, statement_of

__all__ = ["FetchedRows", "PostgresConnection"]

# The types of a table's columns, without their lengths: these are checked when the rows are inserted.
_SELECT_TYPES = """SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = ?::regclass AND attnum > 0 AND NOT attisdropped"""

_ROLLBACK: Sent = ("ROLLBACK", ())

_SPOILED = "a piece of work went on after one of its statements had failed"


class FetchedRows:
    """The rows of an answer, all of which have come; see `djactors.store.connection.Rows`."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = iter(rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, None behind the last one."""
        return next(self._rows, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that are left."""
        return list(self._rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._rows


class ForeseenRows(FetchedRows):
    """Rows that come with those of the next statement that returns some, or when they are wanted."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "PostgresConnection") -> None:
        super().__init__([])
        self._connection: PostgresConnection | None = connection

    def come(self, rows: list[tuple[Any, ...]]) -> None:
        """Have them."""
        self._rows = iter(rows)
        self._connection = None

    def fetchone(self) -> tuple[Any, ...] | None:
        """See `FetchedRows`."""
        self._await()
        return super().fetchone()

    def fetchall(self) -> list[tuple[Any, ...]]:
        """See `FetchedRows`."""
        self._await()
        return super().fetchall()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        self._await()
        return super().__iter__()

    def _await(self) -> None:
        if self._connection is not None:
            self._connection.settle()
        if self._connection is not None:
            raise StoreError(_SPOILED)


class PostgresConnection:
    """See `djactors.store.connection.Connection`.

    Args:
        pipeline: to the server, used by nobody else.
    """

    is_shared = True

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._put_off: list[Sent] = []
        # How many statements were sent and not answered yet, and at which places of them somebody wants the rows.
        self._sent = 0
        self._foreseen: dict[int, ForeseenRows] = {}
        self._begun = False
        self._spoiled = False
        self._types: dict[str, dict[str, str]] = {}
        self._inserts: dict[str, tuple[str, list[Column]]] = {}

    @property
    def in_transaction(self) -> bool:
        """Whether the transaction is still there."""
        return self._begun and (bool(self._put_off) or self._is_open)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is of no use any more."""
        return self._pipeline.is_closed

    def begin(self, *statements: str) -> None:
        """Begin a transaction with these statements, once there is something to do in it."""
        self._put_off = [(statement, ()) for statement in statements]
        self._begun = True
        self._spoiled = False

    def commit(self) -> None:
        """Carry out what was put off, and commit.

        Raises:
            StoreError: the transaction was ended, or a statement of it failed, and the work went on.
            psycopg.Error: one of the statements, or the commit, failed.
        """
        if self._spoiled:
            raise StoreError(_SPOILED)
        if not self.in_transaction and not self.is_closed:
            raise StoreError("a piece of work ended the transaction it ran in")
        ended = self._send("COMMIT", ())
        self._begun = False
        if ended.command_status != b"COMMIT":
            raise StoreError(_SPOILED)

    def roll_back(self) -> None:
        """Undo the transaction, if there is one.

        Raises:
            psycopg.Error: the connection is lost, so the server has undone the transaction, or will.
        """
        self._put_off.clear()
        self._begun = self._spoiled = False
        self._end_parts()
        if self._pipeline.is_in_transaction:
            self._pipeline.run([_ROLLBACK])

    def close(self) -> None:
        """Close the connection; the server undoes what was not committed."""
        self._pipeline.close()

    def execute(self, statement: str, parameters: Parameters = (), /) -> Rows:
        """See `Connection.execute`."""
        ours = statement_of(statement)
        values = ours.values(parameters)
        match ours.kind:
            case Kind.ASKS:
                return FetchedRows(self._pipeline.rows(self._send(ours.text, values)))
            case Kind.WRITES | Kind.SAVES:
                self._put_off.append((ours.text, values))
            case Kind.UNDOES:
                self._undo(ours.text, ours.savepoint)
            case Kind.ENDS:
                self._send(ours.text, values)
        return FetchedRows([])

    def foresee(self, statement: str, parameters: Parameters = (), /) -> Rows:
        """See `Connection.foresee`."""
        ours = statement_of(statement)
        rows = self._foreseen[self._sent + len(self._put_off)] = ForeseenRows(self)
        self._put_off.append((ours.text, ours.values(parameters)))
        return rows

    def executemany(self, statement: str, rows: Iterable[Sequence[object]], /) -> None:
        """See `Connection.executemany`."""
        text = statement_of(statement).text
        self._put_off.extend([(text, row) for row in rows])

    def insert(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> None:
        """Run an INSERT of one row for all the rows, as one statement that takes an array for each column.

        An ON CONFLICT DO UPDATE must not meet the same row twice in one call.
        """
        if len(rows) == 1:
            self.execute(statement, rows[0])
            return
        if not rows:
            return
        text, columns = self._inserts.get(statement) or self._learn(statement)
        values = zip(*rows, strict=True)
        self._put_off.append((text, [column.array_of(its) for column, its in zip(columns, values, strict=True)]))

    def start(self) -> None:
        """See `Connection.start`."""
        # Only where the transaction has begun for certain: without it each part would be committed by itself.
        if self._put_off and self._is_open:
            self._send_off()

    def _learn(self, statement: str) -> tuple[str, list[Column]]:
        """An INSERT of one row as one of many rows, and its columns."""
        insert = insert_of(statement)
        types = self._types.get(insert.table)
        if types is None:
            types = self._types[insert.table] = dict(self.execute(_SELECT_TYPES, (insert.table,)).fetchall())
        columns = [Column(name, types[name]) for name in insert.columns]
        learned = self._inserts[statement] = insert.of_many([column.array for column in columns]), columns
        return learned

    def settle(self) -> None:
        """See `Connection.settle`."""
        if self._put_off:
            text, values = self._put_off.pop()
            self._send(text, values)
        elif self._pipeline.is_under_way:
            self._finish()

    def failure_of(self, error: Exception) -> StoreError | None:
        """See `storage_failure`."""
        return storage_failure(error)

    @property
    def _is_open(self) -> bool:
        """Whether the server has the transaction."""
        return self._pipeline.is_under_way or self._pipeline.is_in_transaction

    def _send(self, text: str, values: Sequence[object]) -> PGresult:
        """Carry out what was put off, and then this statement."""
        self._put_off.append((text, values))
        self._send_off()
        return self._finish()

    def _send_off(self) -> None:
        """Send what was put off."""
        statements, self._put_off = self._put_off, []
        try:
            self._pipeline.start(statements)
        except BaseException:
            # A value that cannot be sent leaves the transaction whole on the server, but what was put off is lost.
            self._spoiled = True
            self._foreseen.clear()
            raise
        self._sent += len(statements)

    def _finish(self) -> PGresult:
        """Wait until everything that was sent is carried out."""
        foreseen, self._foreseen, self._sent = self._foreseen, {}, 0
        try:
            results = self._pipeline.finish()
        except BaseException:
            self._spoiled = True
            raise
        for place, rows in foreseen.items():
            rows.come(self._pipeline.rows(results[place]))
        return results[-1]

    def _end_parts(self) -> None:
        """Let what was sent already come to its end, of which nobody wants to know any more."""
        self._foreseen, self._sent = {}, 0
        if self._pipeline.is_under_way:
            with suppress(psycopg.Error):
                self._pipeline.finish()

    def _undo(self, text: str, savepoint: str) -> None:
        """Go back to a savepoint. What was put off since then need not be sent at all."""
        for index in range(len(self._put_off) - 1, -1, -1):
            earlier = self._put_off[index][0].split()
            if earlier[0].upper() == "SAVEPOINT" and earlier[-1].lower() == savepoint:
                del self._put_off[index + 1 :]
                left = self._sent + len(self._put_off)
                self._foreseen = {place: rows for place, rows in self._foreseen.items() if place < left}
                return
        self._end_parts()
        self._put_off = [(text, ())]
        self._spoiled = False
