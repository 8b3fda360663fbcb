"""What an engine offers to whoever carries a whole database from one place to another, table by table.

Rules:

- A source is quiet while it is read: nobody else can write to it, and all rows are of one moment.
- A target is seen by nobody until it is kept, whole. What is left of an attempt that was killed is either nothing or
  thrown away by the next attempt.
- Rows come in the order of the table's primary key, in which texts are compared by their bytes. So two databases can be
  compared without holding either in memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from djactors.store.connection import Connection
from djactors.store.errors import StoreError

__all__ = ["ROWS_AT_A_TIME", "Addition", "Row", "Snapshot", "Source", "Table", "Target", "in_order"]

ROWS_AT_A_TIME = 500
"""Rows that are in memory at a time. The largest row has a body of some 100 KiB, so these are 50 MB at worst."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, as the catalogue of its database describes it.

    Attributes:
        key: the columns of the primary key, in its order.
        texts: the columns of the key that are texts.
        parents: the tables that its foreign keys point at.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    texts: frozenset[str]
    parents: frozenset[str]

    def key_of(self, row: Row) -> str:
        """A row's primary key, for messages."""
        values = dict(zip(self.columns, row, strict=True))
        return ", ".join(f"{name} = {values[name]!r}" for name in self.key)


class Snapshot(Protocol):
    """A database inside a transaction, with its tables."""

    @property
    def connection(self) -> Connection:
        """For single statements."""

    def tables(self) -> list[Table]:
        """The tables of the database, in no order."""

    def count(self, table: Table) -> int:
        """How many rows a table has."""

    def rows(self, table: Table) -> Iterator[list[Row]]:
        """All rows in the order of the primary key, `ROWS_AT_A_TIME` at a time.

        Raises:
            RowRefused: a row cannot be read.
        """


class Source(Snapshot, Protocol):
    """A database that is read."""


class Addition(Snapshot, Protocol):
    """A database that takes rows in beside those that it has. Nobody sees them before they are kept."""

    def add(self, table: Table, slices: Iterable[Sequence[Row]]) -> None:
        """Put rows into a table.

        Raises:
            RowRefused: a row is not taken.
        """

    def keep(self) -> None:
        """Make the rows durable and let them be seen."""


class Target(Snapshot, Protocol):
    """A database that is written, which nobody sees yet."""

    def fill(self, table: Table, slices: Iterable[Sequence[Row]]) -> None:
        """Put rows into a table in the place of those that it has.

        Raises:
            RowRefused: a row is not taken; `why_refused` says which.
        """

    def why_refused(self, table: Table, row: Row) -> str | None:
        """What is wrong with a row by itself, and None if nothing is."""

    def complete(self) -> None:
        """Say that every row is there: what holds between tables is proved, and the planner is told of the sizes.

        Raises:
            StoreError: rows point nowhere.
        """

    def keep(self) -> None:
        """Make the database durable and let it be seen."""


def in_order(tables: Iterable[Table]) -> list[Table]:
    """Put tables behind those that their foreign keys point at, and otherwise in the order of their names."""
    left = {table.name: table for table in sorted(tables, key=lambda table: table.name)}
    done: list[Table] = []
    while left:
        ready = [table for table in left.values() if not (table.parents - {table.name}) & left.keys()]
        if not ready:
            raise StoreError(f"the foreign keys of {', '.join(left)} go round in a circle")
        done += ready
        for table in ready:
            del left[table.name]
    return done
