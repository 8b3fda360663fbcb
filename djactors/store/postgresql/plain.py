"""A connection that speaks to the server one statement at a time, for what pipelines cannot do: COPY, cursors, and
statements that take as long as they take.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from djactors.store.connection import Parameters, Rows
from djactors.store.errors import StoreError
from djactors.store.postgresql.connection import FetchedRows
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.failures import storage_failure
from djactors.store.postgresql.statements import statement_of

__all__ = ["PlainConnection"]


class PlainConnection:
    """See `djactors.store.connection.Connection`. Nothing is put off.

    Args:
        conninfo: where the server is.
        application_name: as it is shown to whoever looks at the server.

    Raises:
        psycopg.Error: the server cannot be reached, or refuses.
    """

    is_shared = True

    def __init__(self, conninfo: Conninfo, application_name: str) -> None:
        self._connection = psycopg.connect(
            **(conninfo.parameters | {"application_name": application_name}),
            autocommit=True,
            cursor_factory=psycopg.RawCursor,
            # None is ever run often, and behind a pooler none must be prepared.
            prepare_threshold=None,
        )

    @property
    def in_transaction(self) -> bool:
        """Whether the transaction is still there."""
        return self._connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    def execute(self, statement: str, parameters: Parameters = (), /) -> Rows:
        """See `Connection.execute`."""
        ours = statement_of(statement)
        with self._connection.cursor() as cursor:
            cursor.execute(ours.text.encode(), ours.values(parameters))
            return FetchedRows([] if cursor.description is None else cursor.fetchall())

    def foresee(self, statement: str, parameters: Parameters = (), /) -> Rows:
        """See `Connection.foresee`. Each statement has a round trip of its own."""
        return self.execute(statement, parameters)

    def executemany(self, statement: str, rows: Iterable[Sequence[object]], /) -> None:
        """See `Connection.executemany`."""
        for row in rows:
            self.execute(statement, row)

    def insert(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> None:
        """See `Connection.insert`. Whoever has many rows uses `copy`."""
        self.executemany(statement, rows)

    def start(self) -> None:
        """Nothing was put off."""

    def settle(self) -> None:
        """Nothing was put off."""

    def failure_of(self, error: Exception) -> StoreError | None:
        """See `storage_failure`."""
        return storage_failure(error)

    def stream(self, statement: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a statement, `size` at a time, by a cursor of the server. One at a time on a connection."""
        with self._connection.cursor(name="djactors_stream") as cursor:
            cursor.execute(statement.encode())
            while rows := cursor.fetchmany(size):
                yield rows

    def copy(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Send rows to a COPY … FROM STDIN."""
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def close(self) -> None:
        """Close the connection; the server undoes what was not committed."""
        self._connection.close()
