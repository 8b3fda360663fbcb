"""What `djactors export` does: carry a whole installation to another database, and prove that it is all there.

The copy is verified before it is kept. Every table is read on both sides in the order of its key and compared row by
row, a slice at a time. So a target is either not there, or empty, or whole and verified.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from djactors.domain.times import WALL_CLOCK
from djactors.inbox import moving as installation
from djactors.inbox import schema
from djactors.store.engines import Place, engine_at, is_url, names_folder
from djactors.store.errors import DatabaseLocked, RowRefused, StoreError
from djactors.store.moving import Row, Snapshot, Source, Table, Target, in_order

__all__ = ["Moved", "Step", "move"]


class NotMovedError(StoreError):
    """The installation was not carried; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is.

    Attributes:
        doing: what is done, such as "copying" or "verifying".
        table: which table is at work.
        rows: how many rows of all tables are done, in this half of the work.
        total: how many there are; None if nobody has counted them.
    """

    doing: str
    table: str
    rows: int
    total: int | None

    def __str__(self) -> str:
        if self.total is None:
            return f"{self.doing} {self.table}: {self.rows} rows"
        percent = 100 if self.total == 0 else self.rows * 100 // self.total
        return f"{self.doing} {self.table}: {self.rows} of {self.total} rows ({percent} %)"


@dataclass(frozen=True, slots=True)
class Moved:
    """What was carried.

    Attributes:
        source: where it was, without a password.
        target: where it is now.
        tables: how many tables were carried and compared.
        rows: how many rows they have.
        left_behind: tables of the source that are not the installation's.
    """

    source: str
    target: str
    tables: int
    rows: int
    left_behind: tuple[str, ...]


Report = Callable[[Step], None]


def move(source: Place, target: Place, report: Report, now: Callable[[], datetime] = WALL_CLOCK) -> Moved:
    """Carry an installation to a database that has none, and verify it there. Blocks.

    Args:
        source: where it is.
        target: where it shall be: an SQLite file that is not there yet, or a PostgreSQL database without rows.
        report: told of each step.
        now: the wall clock.

    Raises:
        DatabaseLocked: a server runs on one of the two.
        NotMovedError: there is no installation, or the target has one, or the copy differs.
        StoreError: one of the databases cannot be read or written, or does not take a row.
    """
    if not is_url(target):
        is_there = os.path.isdir(target)
        if is_there or names_folder(target):
            kind = "a folder" if is_there else "a folder that is not there"
            raise NotMovedError(f"--to: {os.fspath(target)} is {kind}: name a new file")
    leaving, arriving = engine_at(source), engine_at(target)
    if leaving.name == arriving.name:
        raise NotMovedError(f"{leaving.name} is both source and target: name another place with --to")
    require_installation(source, leaving.name)
    with (
        leaving.source() as origin,
        schema.target_at(target) as destination,
    ):
        for name, snapshot in ((leaving.name, origin), (arriving.name, destination)):
            require_no_nodes(name, snapshot, now())
        return _Move(origin, destination, report).done(leaving.name, arriving.name)


def require_installation(place: Place, name: str, *, may_be_new: bool = False) -> None:
    """Refuse a database that is not one of this version.

    Args:
        place: where it is.
        name: how it is called, without a password.
        may_be_new: whether one that has nothing in it yet would do, so that the message says how to make it.

    Raises:
        NotMovedError: it is another one, or behind.
    """
    behind = schema.inspect(place)
    if not behind:
        return
    lacks_all = len(behind) == len(schema.names())
    if lacks_all:
        kind = "database" if is_url(place) else "file"
        anew = f", or make a new one first with `djactors migrate --database {name}`" if may_be_new else ""
        raise NotMovedError(f"--database: {name} has no installation: name the {kind} that the server uses{anew}")
    raise NotMovedError(
        f"--database: {name} is behind by {', '.join(behind)}: run `djactors migrate --database {name}`"
    )


def require_no_nodes(name: str, snapshot: Snapshot, now: datetime) -> None:
    """Refuse a database on which a server was seen a moment ago.

    Raises:
        DatabaseLocked: one was.
    """
    seen = [f"{node} (at {at})" for node, at in installation.nodes_at_work(snapshot.connection, now)]
    if seen:
        raise DatabaseLocked(
            f"{name} is in use: {', '.join(seen)} was seen there less than {installation.SEEN_WITHIN.seconds} s ago: "
            "stop all servers on it first; after a server was killed, wait so long",
            None,
        )


class _Move:
    def __init__(self, source: Source, target: Target, report: Report) -> None:
        self._source = source
        self._target = target
        self._report = report
        self._rows = 0
        self._total = 0

    def done(self, source: str, target: str) -> Moved:
        tables, others = self._tables()
        self._require_empty(tables, target)
        tables = [table for table in tables if table.name not in installation.LEFT_BEHIND]
        counted = {table.name: self._source.count(table) for table in tables}
        self._total = sum(counted.values())
        for table in tables:
            self._copy(table)
        self._target.complete()
        self._rows = 0
        for table in tables:
            self._verify(table)
        given = installation.numbers_given(self._source.connection)
        installation.go_on_behind(self._target.connection, given)
        installation.add_walks(self._target.connection, from_shared=self._source.connection.is_shared)
        if installation.numbers_given(self._target.connection) != given:
            raise NotMovedError("the target would give out other ids than the source: report this as a bug")
        self._target.keep()
        return Moved(source, target, len(tables), self._total, others)

    def _tables(self) -> tuple[list[Table], tuple[str, ...]]:
        """The tables of the installation, parents first, and the names of what else the source has."""
        here = {table.name: table for table in self._source.tables()}
        there = in_order(self._target.tables())
        for table in there:
            twin = here.get(table.name)
            if twin is None or (set(twin.columns), twin.key) != (set(table.columns), table.key):
                raise NotMovedError(f"the table {table.name} is another one in the source: somebody has changed it")
        return there, tuple(sorted(here.keys() - {table.name for table in there}))

    def _require_empty(self, tables: Sequence[Table], target: str) -> None:
        for table in tables:
            if table.name not in installation.SEEDED and self._target.count(table):
                raise NotMovedError(
                    f"--to: {target} is not empty, {table.name} has rows: name an empty database, or a schema of its "
                    "own with ?options=-csearch_path%3DNAME at the end of the URL"
                )

    def _copy(self, table: Table) -> None:
        try:
            self._target.fill(table, self._counted("copying", table, self._source.rows(table)))
        except RowRefused as error:
            raise NotMovedError(self._why_refused(table, error)) from error

    def _why_refused(self, table: Table, error: RowRefused) -> str:
        """Find the row that was not taken. Many are on their way at a time, so the error may not know which it was."""
        try:
            for rows in self._source.rows(table):
                for row in rows:
                    wrong = self._target.why_refused(table, row)
                    if wrong is not None:
                        return f"{table.name}, {table.key_of(row)}: {wrong}"
        except RowRefused as unreadable:
            return str(unreadable)
        return f"{table.name}: {error}"

    def _verify(self, table: Table) -> None:
        copied = self._target.rows(table)
        for here in self._counted("verifying", table, self._source.rows(table)):
            there = next(copied, [])
            if here != there:
                raise NotMovedError(self._difference(table, here, there))
        for surplus in copied:
            raise NotMovedError(self._difference(table, [], surplus))

    def _counted(self, doing: str, table: Table, slices: Iterable[list[Row]]) -> Iterator[list[Row]]:
        """Hand slices on, and report when each is dealt with."""
        self._report(Step(doing, table.name, self._rows, self._total))
        for rows in slices:
            yield rows
            self._rows += len(rows)
            self._report(Step(doing, table.name, self._rows, self._total))

    def _difference(self, table: Table, here: list[Row], there: list[Row]) -> str:
        pairs = ((left, right) for left, right in zip_longest(here, there) if left != right)
        left, right = next(pairs, (None, None))
        wrong = None if left is None else self._target.why_refused(table, left)
        why = wrong or "the copy differs from the source, so it was thrown away: try again, and report this if it stays"
        return f"{table.name}, {table.key_of(left or right or ())}: {why}"
