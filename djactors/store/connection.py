"""What a piece of work sees of the database: a connection inside a transaction, of whichever engine.

Rules:

- A statement is one text for both engines. Its parameters are `?`, in order, or `:name`, from a mapping.
- The rows of a result are tuples. Integers, text and None come back as they were bound; a BOOLEAN comes back as 0 or 1
  from SQLite and as a bool from PostgreSQL, so whoever reads one says `bool`.
- A statement that returns no rows may be carried out later, together with others: before the next one that returns
  rows, at `settle`, and at the commit. Its error is then raised there. A piece of work that undoes what one statement
  did wrong says `settle` first.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from djactors.store.errors import StoreError

__all__ = ["Alike", "ChildrenFirst", "Connection", "Parameters", "Rows"]

T = TypeVar("T")
Q = TypeVar("Q")

Parameters = Sequence[object] | Mapping[str, object]


class Rows(Protocol):
    """What a statement returned."""

    def fetchone(self) -> Any:
        """The next row as a tuple, None behind the last one."""

    def fetchall(self) -> list[Any]:
        """The rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """The rows that are left, one by one."""


class Connection(Protocol):
    """A connection inside a transaction, used on one thread."""

    @property
    def in_transaction(self) -> bool:
        """Whether the transaction is still there. Some failures of the storage end it."""

    @property
    def is_shared(self) -> bool:
        """Whether other nodes write to the same database at the same time, so that rows must be locked."""

    def execute(self, statement: str, parameters: Parameters = (), /) -> Rows:
        """Run a statement.

        Raises:
            Exception: the engine's own error; `failure_of` tells what kind.
        """

    def foresee(self, statement: str, parameters: Parameters = (), /) -> Rows:
        """Run a statement whose rows are wanted a little later. A connection to a server sends it together with the
        next statement whose rows are asked for, which saves a round trip. Its error may be raised there."""

    def executemany(self, statement: str, rows: Iterable[Sequence[object]], /) -> object:
        """Run a statement that returns nothing, once for each of the rows, in their order."""

    def insert(self, statement: str, rows: Sequence[tuple[object, ...]], /) -> None:
        """Run an INSERT of one row, `VALUES (?, ...)`, for all the rows, in their order, in few statements. What
        follows the row, such as ON CONFLICT, is kept.

        If one of the statements fails, the rows of the ones before it are inserted already, so the caller must undo the
        transaction or the savepoint.
        """

    def start(self) -> None:
        """Have what was put off carried out from now on, while the caller goes on. It is worth it for many rows. Errors
        of those statements are raised later, as if they were still put off."""

    def settle(self) -> None:
        """Have everything carried out that was put off. The errors of those statements are raised here."""

    def failure_of(self, error: Exception) -> StoreError | None:
        """What an error says of the storage; None if it is the statement's or the caller's own fault."""


class Alike(msgspec.Struct, Generic[Q, T], frozen=True):
    """A piece of work of one statement, of which many are asked for at the same moment, such as where a user's inbox
    stands. Readers answer those that wait together from one statement.

    A statement is a snapshot of its own, so there is no transaction around it. And a thread lets go of the interpreter
    each time that it turns to SQLite, and has to get it back from a busy loop: two to three times for a statement of
    any number of rows, and as often for the beginning of a transaction and for its end.

    Attributes:
        answer: answers all of these questions, in their order. An exception among the answers is raised in the one who
            asked that. If it raises, or the engine does not know of this, each is answered by itself.
        question: what is asked.
    """

    answer: Callable[[Connection, Sequence[Q]], Sequence[T | Exception]]
    question: Q

    def __call__(self, connection: Connection) -> T:
        """Answer this one alone."""
        [answer] = self.answer(connection, [self.question])
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(frozen=True)
class ChildrenFirst(Generic[T]):
    """A piece of work that removes rows after those that point at them, so that the engine need not look for these.

    Where a table has no index for that, SQLite looks through all of the table for each row that is removed above it.
    """

    work: Callable[[Connection], T]

    def __call__(self, connection: Connection) -> T:
        """Do it."""
        return self.work(connection)
